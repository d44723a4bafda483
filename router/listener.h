/* router/listener.h: listening sockets: one for each lane on the same port (SO_REUSEPORT), so that
 * the kernel spreads connections and lanes share nothing. */
#pragma once

#include "lib/base/err.h"

struct lane;
struct listener;

/* address: "ADDR:PORT" or "[ADDR]:PORT". *port 0: the one of the address, which is put there
 * (a free one for 0); others then listen on that. Sockets only; serves after listener_start.
 * NULL: ERR_INVALID (address), ERR_SYSTEM. */
struct listener *listener_open(const char *address, int *port, struct err *e);
/* On the lane's thread: accepts into lane l. */
void listener_start(struct listener *ls, struct lane *l);
/* Accepts what is in the queue and closes. NULL is fine. */
void listener_close(struct listener *take_ls);
