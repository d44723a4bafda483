/* node/resolver_tcp.h: queries by TCP (RFC 7766, one at a time on a connection). */
#pragma once

struct resolver_instance;

void resolver_tcp_start(struct resolver_instance *in);
void resolver_tcp_stop(struct resolver_instance *in); /* closes its connections */
