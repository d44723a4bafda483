/* router/takeover.h: a router takes the place of another with the same state directory: it asks by
 * a socket there (takeover.sock), gets the very sockets that the other listens on, serves, says so,
 * and the other ends. Nobody is refused: who waits in a queue is accepted by one of the two. */
#pragma once

#include <stddef.h>

#include "lib/base/err.h"

struct entry;
struct fleet;
struct loop;
struct takeover;

enum { TAKEOVER_NAME_MAX = 300 };

struct takeover_socket {
	char name[TAKEOVER_NAME_MAX]; /* "http 127.0.0.1:80" */
	int fd;                       /* owned; -1: taken */
};
struct takeover_sockets {
	struct takeover_socket *v; /* owned */
	size_t n;
};

void takeover_sockets_fini(struct takeover_sockets *s); /* closes what nobody took */
/* One of its address (port 0: any of that host), the caller's; -1: none is left. s: NULL is fine.
 */
int takeover_sockets_take(struct takeover_sockets *s, const struct entry *entry);

/* --- the new one --- */

/* Asks the router that runs with the state directory. Returns the connection, the caller's, or -1
 * with e->code ERR_NONE when none runs. Blocks, with a deadline. */
int takeover_ask(const char *dir, struct takeover_sockets *out, struct err *e);
/* It serves: the other may end. */
void takeover_done(int take_fd);

/* --- the one that runs --- */

struct takeover_opts {
	const char *dir;
	struct fleet *fleet;
	/* Another wants to serve: nothing more is written into the directory, then takeover_give.
	 */
	void (*on_ask)(void *arg);
	void (*on_done)(void *arg);   /* it serves */
	void (*on_failed)(void *arg); /* it is gone: all as before */
	void *arg;
};

/* Answers in the directory from now on, instead of who did. NULL: it cannot. */
struct takeover *takeover_new(struct loop *l, const struct takeover_opts *o, struct err *e);
void takeover_give(struct takeover *t);
void takeover_free(struct takeover *take_t); /* NULL is fine */
