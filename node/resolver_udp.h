/* node/resolver_udp.h: queries by UDP: answered or forwarded, each from a port and with an id of
 * its own, so that nobody can guess an answer. */
#pragma once

struct resolver_instance;

void resolver_udp_start(struct resolver_instance *in);
void resolver_udp_stop(struct resolver_instance *in); /* drops what was asked */
