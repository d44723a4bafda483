/* lib/http/stream_child.h: a child process on the other side of a stream: stdin, stdout and stderr
 * are its channels (or a terminal), RESIZE and SIGNAL reach it, its end is sent as EXIT once all
 * output is. Loop thread. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/http/stream.h"

struct child;
struct child_end;
struct stream_child;

/* The child's ends: stdin, stdout, stderr; -1: none. */
struct stream_ends {
	int fd[3];
};
#define STREAM_ENDS_NONE                                                                           \
	{                                                                                          \
		{                                                                                  \
			-1, -1, -1                                                                 \
		}                                                                                  \
	}
void stream_ends_fini(struct stream_ends *f);

struct stream_child_calls {
	/* The client is gone and the child runs on: its input has ended, its output is dropped. Let
	 * it go on, or stream_child_hang_up. May be NULL: hang up. */
	void (*on_lost)(struct stream_child *c, void *arg);
	/* The client is gone, the child got HUP and had its time: what is left of it may be killed
	 * (the child itself is). May be NULL. */
	void (*on_kill)(struct stream_child *c, void *arg);
	/* Once: it is over; free it. end: borrowed; NULL: it was killed. */
	void (*on_over)(struct stream_child *c, const struct child_end *end, void *arg);
};

/* Takes the stream; its callbacks are this module's from now on. */
struct stream_child *stream_child_new(
    struct stream *take_s, const struct stream_child_calls *calls, void *arg);
/* Kills what runs; no callback after it. */
void stream_child_free(struct stream_child *take_c);
DEFINE_AUTO(struct stream_child *, stream_child_free)

/* Before the start, one of: pipes, whose other ends are the caller's, to be given to the child; or
 * the master of a terminal. */
int stream_child_pipes(struct stream_child *c, struct stream_ends *out, struct err *e) MUST_CHECK;
void stream_child_terminal(struct stream_child *c, int take_master, struct stream_size size);
/* The child runs; it was started with stream_child_ended and the stream_child as its argument. */
void stream_child_started(struct stream_child *c, struct child *take_child);
void stream_child_ended(struct child *child, const struct child_end *end, void *arg);
/* It could not be started. */
void stream_child_refuse(struct stream_child *take_c, const struct err *e);

/* Text for the user: on stderr, or the terminal. Dropped when there is no room. */
void stream_child_tell(struct stream_child *c, const char *text);
/* HUP now, KILL in 5 s. */
void stream_child_hang_up(struct stream_child *c);
struct child *stream_child_process(const struct stream_child *c); /* borrowed; NULL: none */
