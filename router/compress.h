/* router/compress.h: an answer's body compressed on its way, by gzip or brotli. Pieces are small
 * and levels low, so that a lane is never kept long; of compressors at once there is a limit in
 * each lane, beyond which answers go out as they are. */
#pragma once

#include <stdbool.h>

#include "lib/base/buf.h"
#include "lib/base/str.h"

struct compress;
struct http_head;
struct lane;
struct proxy_relay;

enum {
	COMPRESS_MIN = 860,         /* bytes; less is not worth it */
	COMPRESS_PIECE = 32 * 1024, /* taken at once: a millisecond at most */
	COMPRESS_ROUNDS = 2,        /* pieces before other connections have their turn */
	COMPRESS_LANE_MAX = 128,
};

enum compress_coding { COMPRESS_NONE, COMPRESS_GZIP, COMPRESS_BROTLI };

/* What of Accept-Encoding (RFC 9110 12.5.3) we do and it likes best. */
enum compress_coding compress_choose(struct str accept);
/* Whether the answer is of a type that compresses, with a body that may change. */
bool compress_is_type(const struct http_head *h);
/* The same, and long enough. */
bool compress_may(const struct http_head *h);

/* flushes: what was given goes out at once, of an application that streams. NULL: too many are
 * there already. */
struct compress *compress_new(struct lane *l, enum compress_coding coding, bool flushes);
void compress_free(struct compress *take_z); /* NULL is fine */
/* Replaces what proxy_relay_fill took by a chunk of what comes of it, valid until the next call.
 * false: out of memory. */
bool compress_relay(struct compress *z, struct proxy_relay *r);
/* The fields of an answer's head at the end of b; z NULL: it is not compressed for this client. */
void compress_edit_head(const struct compress *z, struct buf *b, size_t from);
