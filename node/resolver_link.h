/* node/resolver_link.h: the node's side of pinion-resolver: hands it each instance's DNS sockets
 * and writes the names it answers. Blocking, short (a Unix socket with a deadline); thread-safe: no
 * state but the path. */
#pragma once

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/str.h"

enum { RESOLVER_PORT = 53 };
#define RESOLVER_ADDRESS "127.0.0.53"

/* The listening socket that a new resolver gets as fd 3, made at path (mode 0600; what lay there is
 * replaced). Start pinion-resolver with it when the calls below say ERR_BUSY. Returns the fd or -1.
 */
int resolver_link_listen(const char *path, struct err *e) MUST_CHECK;

/* Who asks. Its own name is its own address from the first process on, whatever the app's other
 * instances say of it. */
struct resolver_who {
	const char *instance;
	const char *app;     /* whose names it sees */
	const char *host;    /* its host name, or NULL */
	const char *address; /* IPv4 of it, or NULL */
};

/* An instance's sockets keep its network namespace alive: remove it when the instance is gone.
 *
 * Gives the resolver listening on path the two sockets (borrowed) of an instance. Known already:
 * replaced. ERR_BUSY: no resolver answers there (start it, try again). */
int resolver_link_add(const char *path, const struct resolver_who *who, int udp_fd, int tcp_fd,
    struct err *e) MUST_CHECK;
/* Unknown is fine. */
int resolver_link_remove(const char *path, const char *instance, struct err *e) MUST_CHECK;
/* Instances whose sockets it holds: after a restart of either side, give it the others. */
int resolver_link_list(const char *path, struct str_list *out, struct err *e) MUST_CHECK;

/* One name that the instances of an app may resolve. */
struct resolver_name {
	const char *app;
	const char *name;    /* lower case, without a dot at the end */
	const char *address; /* IPv4 */
};
/* Adds the name to what resolver_link_names takes. */
void resolver_link_add_name(struct buf *out, const struct resolver_name *n);
/* Replaces the resolver's table (a file it watches), whole. */
int resolver_link_names(const char *file, const struct buf *names, struct err *e) MUST_CHECK;
