#include "router/compress.h"

#include <brotli/encode.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "lib/base/mem.h"
#include "lib/http/http_head.h"
#include "router/head_edit.h"
#include "router/lane.h"
#include "router/proxy_relay.h"

enum {
	GZIP_LEVEL = 4,
	GZIP_BITS = 15 + 16, /* 32 KiB, with gzip's frame */
	GZIP_MEMORY = 8,
	BROTLI_LEVEL = 4,
	BROTLI_WINDOW = 18,
	FRAME = 32, /* room for a chunk's size in front */
	Q_ONE = 1000,
};

struct compress {
	struct lane *lane; /* borrowed: counts us */
	enum compress_coding coding;
	bool flushes;
	z_stream gzip;
	BrotliEncoderState *brotli; /* owned */
	struct buf out;             /* FRAME bytes, then what came of the last call */
};

/* --- what the client takes --- */

/* "0.5" as thousandths; malformed is 0: not wanted. */
static int
quality(struct str s)
{
	int q = 0, unit = 100;

	if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1') || (s.n > 1 && s.p[1] != '.'))
		return 0;
	q = (s.p[0] - '0') * Q_ONE;
	for (size_t i = 2; i < s.n; i++, unit /= 10) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return 0;
		q += (s.p[i] - '0') * unit;
	}
	return q > Q_ONE ? 0 : q;
}

/* The q of "gzip;q=0.5", whose name goes into *name. */
static int
parse_item(struct str item, struct str *name)
{
	struct str rest = str_cut(item, ';', name);

	*name = str_trim(*name);
	while (rest.p != NULL) {
		struct str one;

		rest = str_cut(rest, ';', &one);
		one = str_trim(one);
		if (one.n >= 2 && (one.p[0] | 0x20) == 'q' && one.p[1] == '=')
			return quality((struct str){ one.p + 2, one.n - 2 });
	}
	return Q_ONE;
}

enum compress_coding
compress_choose(struct str accept)
{
	int gzip = -1, brotli = -1, identity = -1, any = -1;

	while (accept.p != NULL && accept.n != 0) {
		struct str item, name;
		int q;

		accept = str_cut(accept, ',', &item);
		q = parse_item(item, &name);
		if (str_eq_nocase(name, "gzip") || str_eq_nocase(name, "x-gzip"))
			gzip = q;
		else if (str_eq_nocase(name, "br"))
			brotli = q;
		else if (str_eq_nocase(name, "identity"))
			identity = q;
		else if (str_eq(name, "*"))
			any = q;
	}
	gzip = gzip < 0 ? any : gzip;
	brotli = brotli < 0 ? any : brotli;
	if (gzip <= 0 && brotli <= 0)
		return COMPRESS_NONE;
	if (identity > gzip && identity > brotli)
		return COMPRESS_NONE;
	return brotli >= gzip ? COMPRESS_BROTLI : COMPRESS_GZIP;
}

/* --- what may be --- */

static bool
is_type(struct str type)
{
	static const char *const types[] = { "application/json", "application/javascript",
		"application/xml", "application/wasm", "application/manifest+json",
		"application/x-javascript", "application/graphql", "application/x-ndjson",
		"application/vnd.ms-fontobject", "font/ttf", "font/otf", "image/svg+xml",
		"image/x-icon", "image/bmp" };
	struct str name;

	(void)str_cut(type, ';', &name);
	name = str_trim(name);
	if (str_eq_nocase(name, "text/event-stream"))
		return false;
	if (name.n > 5 && strncasecmp(name.p, "text/", 5) == 0)
		return true;
	if (name.n > 5 && (strncasecmp(name.p + name.n - 5, "+json", 5) == 0 ||
	                      strncasecmp(name.p + name.n - 4, "+xml", 4) == 0))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (str_eq_nocase(name, types[i]))
			return true;
	}
	return false;
}

static bool
has_word(struct str list, const char *word)
{
	while (list.p != NULL && list.n != 0) {
		struct str one;

		list = str_cut(list, ',', &one);
		if (str_eq_nocase(str_trim(one), word))
			return true;
	}
	return false;
}

bool
compress_is_type(const struct http_head *h)
{
	for (size_t i = 0; i < h->n; i++) {
		struct str name = h->headers[i].name, value = h->headers[i].value;

		if (str_eq_nocase(name, "content-encoding") && !str_eq_nocase(value, "identity"))
			return false;
		if (str_eq_nocase(name, "cache-control") && has_word(value, "no-transform"))
			return false;
		if (str_eq_nocase(name, "content-range"))
			return false;
	}
	return h->status >= 200 && h->status != 206 && is_type(http_head_get(h, "content-type"));
}

bool
compress_may(const struct http_head *h)
{
	return (h->framing == HTTP_BODY_CHUNKED ||
	           (h->framing == HTTP_BODY_LENGTH && h->length >= COMPRESS_MIN)) &&
	       compress_is_type(h);
}

/* --- doing it --- */

struct compress *
compress_new(struct lane *l, enum compress_coding coding, bool flushes)
{
	struct compress *z;

	if (l->compressors >= COMPRESS_LANE_MAX)
		return NULL;
	z = xcalloc(1, sizeof *z);
	z->coding = coding;
	z->flushes = flushes;
	if (coding == COMPRESS_BROTLI) {
		z->brotli = BrotliEncoderCreateInstance(NULL, NULL, NULL);
		if (z->brotli == NULL ||
		    !BrotliEncoderSetParameter(z->brotli, BROTLI_PARAM_QUALITY, BROTLI_LEVEL) ||
		    !BrotliEncoderSetParameter(z->brotli, BROTLI_PARAM_LGWIN, BROTLI_WINDOW)) {
			compress_free(z);
			return NULL;
		}
	} else if (deflateInit2(&z->gzip, GZIP_LEVEL, Z_DEFLATED, GZIP_BITS, GZIP_MEMORY,
	               Z_DEFAULT_STRATEGY) != Z_OK) {
		free(z);
		return NULL;
	}
	z->lane = l;
	l->compressors++;
	return z;
}

void
compress_free(struct compress *take_z)
{
	struct compress *z = take_z;

	if (z == NULL)
		return;
	if (z->lane != NULL)
		z->lane->compressors--;
	if (z->brotli != NULL)
		BrotliEncoderDestroyInstance(z->brotli);
	else if (z->coding == COMPRESS_GZIP)
		(void)deflateEnd(&z->gzip);
	buf_fini(&z->out);
	free(z);
}

static bool
add_gzip(struct compress *z, const void *p, size_t n, int flush)
{
	z->gzip.next_in = (Bytef *)p;
	z->gzip.avail_in = (uInt)n;
	do {
		buf_reserve(&z->out, 16 * 1024);
		z->gzip.next_out = (Bytef *)z->out.p + z->out.n;
		z->gzip.avail_out = (uInt)(z->out.cap - z->out.n);
		if (deflate(&z->gzip, flush) == Z_STREAM_ERROR)
			return false;
		z->out.n = (size_t)((char *)z->gzip.next_out - z->out.p);
	} while (z->gzip.avail_out == 0 || z->gzip.avail_in != 0);
	return true;
}

static bool
add_brotli(struct compress *z, const void *p, size_t n, BrotliEncoderOperation op)
{
	const uint8_t *in = p;
	size_t out_n = 0;

	do {
		size_t got = 0;
		const uint8_t *out;

		if (!BrotliEncoderCompressStream(z->brotli, op, &n, &in, &out_n, NULL, NULL))
			return false;
		out = BrotliEncoderTakeOutput(z->brotli, &got);
		buf_add(&z->out, out, got);
	} while (n != 0 || BrotliEncoderHasMoreOutput(z->brotli));
	return true;
}

static bool
add(struct compress *z, const void *p, size_t n)
{
	return z->coding == COMPRESS_BROTLI ? add_brotli(z, p, n, BROTLI_OPERATION_PROCESS)
	                                    : add_gzip(z, p, n, Z_NO_FLUSH);
}

static bool
push(struct compress *z, bool is_end)
{
	if (!is_end && !z->flushes)
		return true;
	return z->coding == COMPRESS_BROTLI
	           ? add_brotli(z, "", 0, is_end ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_FLUSH)
	           : add_gzip(z, "", 0, is_end ? Z_FINISH : Z_SYNC_FLUSH);
}

bool
compress_relay(struct compress *z, struct proxy_relay *r)
{
	static const char room[FRAME] = "";
	bool is_end = r->result == HTTP_BODY_DONE;
	char size[FRAME];
	size_t at;
	int k;

	buf_clear(&z->out);
	buf_add(&z->out, room, FRAME);
	for (int i = 2; i < r->n; i++) {
		if (!add(z, r->v[i].iov_base, r->v[i].iov_len))
			return false;
	}
	if ((r->data != 0 || is_end) && !push(z, is_end))
		return false;
	r->data = z->out.n - FRAME;
	r->n = 1;
	if (r->data == 0 && !is_end)
		return true;
	k = snprintf(size, sizeof size, "%zx\r\n", r->data);
	at = FRAME - (size_t)k;
	memcpy(z->out.p + at, size, (size_t)k);
	if (r->data == 0)
		at = z->out.n; /* nothing but the end: no empty chunk */
	else
		buf_adds(&z->out, "\r\n");
	if (is_end)
		buf_adds(&z->out, "0\r\n\r\n");
	r->v[r->n++] = (struct iovec){ z->out.p + at, z->out.n - at };
	return true;
}

static void
weaken_etag(struct buf *b, size_t from)
{
	struct str tag = head_edit_get(b, from, "etag");
	AUTO(free) char *weak = NULL;

	if (tag.n == 0 || tag.p[0] != '"')
		return;
	weak = xasprintf("W/%.*s", (int)tag.n, tag.p);
	head_edit_remove(b, from, "etag");
	head_edit_add(b, "ETag", weak);
}

void
compress_edit_head(const struct compress *z, struct buf *b, size_t from)
{
	struct str vary = head_edit_get(b, from, "vary");

	if (!has_word(vary, "accept-encoding") && !has_word(vary, "*"))
		head_edit_add(b, "Vary", "Accept-Encoding");
	if (z == NULL)
		return;
	head_edit_remove(b, from, "content-encoding");
	head_edit_remove(b, from, "accept-ranges");
	head_edit_remove(b, from, "content-md5");
	weaken_etag(b, from);
	head_edit_add(b, "Content-Encoding", z->coding == COMPRESS_BROTLI ? "br" : "gzip");
}
