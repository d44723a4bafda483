/* router/listener.h: listening sockets: one for each lane on the same port (SO_REUSEPORT), so that
 * the kernel spreads connections and lanes share nothing. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"

struct lane;
struct listener;
struct origin_rules;
struct tls_ctx;

/* One of the router's ports: what is so of all who come by it. */
struct entry {
	const char *proto;         /* "http" or "https"; also the setting with the address */
	char *address;             /* owned: "ADDR:PORT" or "[ADDR]:PORT" */
	struct tls_ctx *tls;       /* borrowed; NULL: without */
	const struct entry *https; /* borrowed: the first of the router; NULL: it has none */
	const struct origin_rules *origin; /* borrowed */
	bool greets;                       /* connections begin with the PROXY protocol */
	int port;                          /* 0: not known yet */
	char port_text[8];
};

/* The first one of an entry sets its port (a free one for 0); others then listen on that. Sockets
 * only; serves after listener_start_all. entry: borrowed, outlives all its connections. take_fd: a
 * socket that listens there already; -1: a new one. NULL: ERR_INVALID (address), ERR_SYSTEM. */
struct listener *listener_open(struct entry *entry, int take_fd, struct err *e);
/* Puts it into a lane's list. */
void listener_add(struct listener **list, struct listener *take_ls);
/* On the lane's thread: accepts into lane l. */
void listener_start_all(struct listener *list, struct lane *l);
/* The sockets, which stay the list's. */
typedef void listener_fn(const struct entry *entry, int fd, void *arg);
void listener_each(struct listener *list, listener_fn *fn, void *arg);
/* Accepts what is in the queue, unless another process does that from now on, and closes. */
void listener_close_all(struct listener **list, bool is_handed_over);
