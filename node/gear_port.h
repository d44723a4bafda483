/* node/gear_port.h: forwarded ports: a byte stream to an address inside an instance's network
 * namespace: its own loopback addresses, which include the private addresses of the gear and of the
 * application's services, and nothing else. */
#pragma once

#include "lib/base/err.h"

struct gear_exec_opts;
struct gear_port_set;
struct http_req;

struct gear_port_set *gear_port_set_new(const struct gear_exec_opts *o);
void gear_port_set_free(struct gear_port_set *take_s);
void gear_port_handle(struct gear_port_set *s, struct http_req *r, const char *gear);
