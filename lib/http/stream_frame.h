/* lib/http/stream_frame.h: the frames of an upgraded byte stream (doc/protocol.md): 8 bytes of head
 * (type, channel, two zero bytes, length in network order), then at most STREAM_FRAME_MAX bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/str.h"

enum {
	STREAM_HEAD = 8,
	STREAM_FRAME_MAX = 32 * 1024,  /* of data */
	STREAM_ORDER_MAX = 256 * 1024, /* of an order, the one frame that may be longer */
	STREAM_CHANNELS = 4,
	STREAM_SIGNAL_MAX = 16, /* of a signal's name */
	STREAM_TEXT_MAX = 4096, /* of an error's text */
};

enum stream_type {
	STREAM_DATA,   /* bytes of a channel */
	STREAM_END,    /* of a channel, in this direction */
	STREAM_WINDOW, /* 4 bytes: so many more bytes of the channel may be sent */
	STREAM_ORDER,  /* JSON: what is wanted; the client's first frame */
	STREAM_READY,  /* the server: the order is under way */
	STREAM_RESIZE, /* columns, rows: 2 bytes each */
	STREAM_SIGNAL, /* name without SIG */
	STREAM_EXIT, /* 4 bytes: exit status; then the name of the signal that killed it, or none */
	STREAM_ERROR, /* 1 byte: enum err_code; then a sentence. Nothing follows. */
	STREAM_PING,
	STREAM_PONG,
	STREAM_TYPES
};

struct stream_frame {
	enum stream_type type;
	int channel;
	struct str data; /* slice of the input */
	size_t size;     /* head and data */
};

enum stream_result { STREAM_OK, STREAM_MORE, STREAM_BAD };

/* p[0..n) begins at a frame. Checks type, channel, lengths and the shape of each payload. */
enum stream_result stream_frame_parse(const char *p, size_t n, struct stream_frame *out);
void stream_frame_add(struct buf *b, enum stream_type type, int channel, const void *p, size_t n);

uint32_t stream_frame_u32(const char *p);
struct stream_size {
	int columns, rows;
};
/* Payloads of checked frames. */
struct stream_size stream_frame_size(const struct stream_frame *f);
void stream_frame_error(const struct stream_frame *f, struct err *e);
