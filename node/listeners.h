/* node/listeners.h: which TCP port an application listens on, from the kernel's tables. Pure but
 * for listeners_read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct listener_addr {
	int port;
	bool is_any;      /* 0.0.0.0 or ::, or the instance's own address */
	bool is_loopback; /* 127.0.0.0/8, or ::1 */
	bool is_v6_only;  /* ::1: not reachable by the IPv4 that carries our requests */
	char address[46]; /* as text */
};
struct listeners {
	struct listener_addr *v; /* owned; by port, any address before loopback */
	size_t n;
};
void listeners_fini(struct listeners *l);

/* Adds the listeners (state 0A) of one table in the format of /proc/PID/net/tcp (is_v6: tcp6).
 * Lines that are no entries are skipped; at most 4096 are kept. own: the instance's address, or
 * NULL. */
void listeners_parse(struct str text, bool is_v6, const char *own, struct listeners *l);
/* Asks the kernel, in the network namespace of that process. Blocks. ERR_NOT_FOUND: it is gone. */
int listeners_read(pid_t pid, const char *own, struct listeners *l, struct err *e) MUST_CHECK;
/* Says with one number how many TCP sockets of IPv4 and of IPv6 are in use there, at little cost;
 * -1: unknown. */
int64_t listeners_sockets(pid_t pid);

/* The one to route to: preferred port if anyone listens there, else the lowest reachable; never the
 * resolver's 127.0.0.53:53. NULL: none yet. Borrowed from l. */
const struct listener_addr *listeners_pick(const struct listeners *l, int preferred);

/* When none can be picked: the lowest that IPv4 does not reach, to say so; or NULL. Borrowed. */
const struct listener_addr *listeners_unreachable(const struct listeners *l);
