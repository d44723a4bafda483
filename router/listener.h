/* router/listener.h: listening sockets: one for each lane on the same port (SO_REUSEPORT), so that
 * the kernel spreads connections and lanes share nothing. */
#pragma once

#include "lib/base/err.h"

struct lane;
struct listener;
struct tls_ctx;

/* One of the router's ports: what is so of all who come by it. */
struct entry {
	const char *proto;   /* "http" or "https"; also the setting with the address */
	const char *address; /* borrowed: "ADDR:PORT" or "[ADDR]:PORT"; NULL: there is none */
	struct tls_ctx *tls; /* owned; NULL: without */
	int port;            /* 0: not known yet */
	char port_text[8];
};

/* The first one of an entry sets its port (a free one for 0); others then listen on that. Sockets
 * only; serves after listener_start. entry: borrowed, outlives all its connections. NULL:
 * ERR_INVALID (address), ERR_SYSTEM. */
struct listener *listener_open(struct entry *entry, struct err *e);
/* On the lane's thread: accepts into lane l. */
void listener_start(struct listener *ls, struct lane *l);
/* Accepts what is in the queue and closes. NULL is fine. */
void listener_close(struct listener *take_ls);
