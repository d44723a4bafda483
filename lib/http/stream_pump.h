/* lib/http/stream_pump.h: connects the channels of a stream with file descriptors: pipes,
 * terminals, sockets. What cannot be written waits in the window, what cannot be sent is not read.
 * Loop thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/mem.h"

struct loop;
struct stream;
struct stream_sink;
struct stream_source;

/* A channel's bytes go to a descriptor, which is taken and made non-blocking; is_socket: its end is
 * a shutdown of that direction, and the descriptor is borrowed. */
struct stream_sink *stream_sink_new(struct stream *s, int channel, int take_fd, bool is_socket);
/* From on_data; n 0: the end, once all is written. Nobody reads: the rest is dropped. */
void stream_sink_data(struct stream_sink *k, const char *p, size_t n);
void stream_sink_free(struct stream_sink *take_k);
DEFINE_AUTO(struct stream_sink *, stream_sink_free)

typedef void stream_source_fn(struct stream_source *o, void *arg);
/* A descriptor's bytes go to a channel; the descriptor is taken unless it is borrowed. on_end:
 * once, when it came to its end (END was sent). */
struct stream_source *stream_source_new(
    struct stream *s, int channel, int fd, bool is_borrowed, stream_source_fn *on_end, void *arg);
void stream_source_room(struct stream_source *o);             /* from on_room; NULL is fine */
bool stream_source_is_waiting(const struct stream_source *o); /* for room; NULL: no */
/* The stream is gone: what comes is read and dropped. */
void stream_source_discard(struct stream_source *o);
void stream_source_free(struct stream_source *take_o);
DEFINE_AUTO(struct stream_source *, stream_source_free)
