/* cli/up_takeover.h: a `pinion up` takes the place of one that runs on the same directory: broker
 * and node are started anew, while the old router serves; the new router takes over from that, and
 * the old `pinion up` ends with its last connection. If the new one fails before, the old one goes
 * on. They speak by takeover.sock in the run directory. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"

struct codec_value;
struct loop;
struct up_takeover;

/* --- the new one --- */

struct up_place {
	int fd;                    /* owned: to the other; -1: there is none */
	int lock_fd;               /* owned, until taken: both have the lock now */
	struct codec_value *facts; /* owned: what up_takeover_opts.facts of the other said */
};

/* Asks who runs. Nobody: out->fd is -1. Blocks for some seconds at most. */
int up_takeover_ask(const char *run, struct up_place *out, struct err *e) MUST_CHECK;
/* Lets it stop broker and node; returns when they are gone. */
int up_takeover_clear(struct up_place *p, struct err *e) MUST_CHECK;
/* The router is about to be taken over. */
int up_takeover_router(struct up_place *p, struct err *e) MUST_CHECK;
/* All serves: the other may end. */
void up_takeover_done(struct up_place *p);
void up_takeover_place_fini(struct up_place *p);

/* --- the one that runs --- */

struct up_takeover_opts {
	const char *run;
	int lock_fd;
	char *(*facts)(void *arg);    /* a JSON object, the caller's */
	void (*on_ask)(void *arg);    /* broker and node are to end; then up_takeover_cleared */
	void (*on_router)(void *arg); /* it is not to be started again */
	void (*on_done)(void *arg);   /* the other serves */
	void (*on_failed)(void *arg); /* the other is gone: all as before */
	void *arg;
};

/* Answers from now on, instead of who did. NULL: it cannot. */
struct up_takeover *up_takeover_new(
    struct loop *l, const struct up_takeover_opts *o, struct err *e);
void up_takeover_cleared(struct up_takeover *t);
void up_takeover_free(struct up_takeover *take_t); /* NULL is fine */
