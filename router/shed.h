/* router/shed.h: what a lane gives up when descriptors or memory end, so that what is under way
 * goes on: idle connections, the oldest first, then clients that do not read, then who comes anew.
 * Nothing of it costs a request anything while there is enough. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "router/peer.h"

struct lane;
struct shed;

/* How short memory is: each does what those before it do. */
enum shed_level {
	SHED_NONE,
	SHED_IDLE,    /* idle connections close; bodies are read in small pieces */
	SHED_STALLED, /* answers that nobody takes are cut */
	SHED_NEW,     /* clients that come are refused */
};

/* Why a client was refused. */
enum shed_why {
	SHED_BUSY,    /* no room for it: all connections have requests under way */
	SHED_MEMORY,  /* no memory for it */
	SHED_CROWD,   /* its address has as many connections or streams as it may */
	SHED_HURRIED, /* its address makes them faster than it may */
	SHED_WHYS,
};

const char *shed_why_name(enum shed_why why);

struct shed *shed_new(struct lane *l);
void shed_free(struct shed *take_s); /* NULL is fine */

/* Whether one more client may come; makes room for it if there is none. */
bool shed_room(struct lane *l);
/* A descriptor could not be had. true: that is since there are none left (sys is the errno), and
 * now there are some: it may work when it is tried again. May be called within an exchange. */
bool shed_retry(struct lane *l, int sys);
/* Takes who waits longest in the queue of a listening socket, and refuses it: with no descriptor
 * left, too. false: nobody waits, or it cannot be done. */
bool shed_refuse_next(struct lane *l, int listen_fd, bool is_tls);
/* Counts and logs a client that is refused, and tells it, if it speaks plain HTTP there (fd: -1
 * when it does not). The caller closes. */
void shed_refuse(struct lane *l, int fd, const struct peer *p, enum shed_why why);
/* The lane's part of what there is; INT64_MAX: any. */
void shed_set_memory(struct lane *l, int64_t bytes);
/* How short memory is now; again while it is. */
void shed_memory(struct lane *l, enum shed_level level);
