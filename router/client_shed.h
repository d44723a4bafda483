/* router/client_shed.h: which clients of a lane have to go when there is too little for all. */
#pragma once

#include <stddef.h>

struct lane;

enum {
	CLIENT_SHED_MOST = 64,             /* closed by one call */
	CLIENT_SHED_YOUNG_MS = 20,         /* who came since then may still send its first head */
	CLIENT_SHED_USED_MS = 400,         /* who had an answer since then may ask again */
	CLIENT_SHED_STALLED_MS = 5 * 1000, /* who took nothing for so long does not read */
};

/* Closes up to n connections, at most CLIENT_SHED_MOST, that have no request under way (a head that
 * is not complete is none), those first that are longest so. Returns how many. May be called within
 * an exchange. */
size_t client_shed_idle(struct lane *l, size_t n);
/* Cuts up to CLIENT_SHED_MOST answers that their clients do not read. Returns how many. */
size_t client_shed_stalled(struct lane *l);
