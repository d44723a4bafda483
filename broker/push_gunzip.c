#include "broker/push_gunzip.h"

#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>

#include "lib/base/mem.h"

enum { PIECE = 32 * 1024, GZIP_ONLY = 16 };

struct push_gunzip {
	z_stream z;
	int64_t total;
	bool is_over;
};

struct push_gunzip *
push_gunzip_new(void)
{
	struct push_gunzip *g = xcalloc(1, sizeof *g);

	if (inflateInit2(&g->z, MAX_WBITS + GZIP_ONLY) != Z_OK)
		abort(); /* out of memory */
	return g;
}

void
push_gunzip_free(struct push_gunzip *take_g)
{
	if (take_g == NULL)
		return;
	(void)inflateEnd(&take_g->z);
	free(take_g);
}

int
push_gunzip_feed(struct push_gunzip *g, const char *p, size_t n, int64_t max, push_gunzip_fn *fn,
    void *arg, struct err *e)
{
	char out[PIECE];

	g->z.next_in = (Bytef *)(uintptr_t)p;
	g->z.avail_in = (uInt)n;
	while (g->z.avail_in > 0) {
		int rc;

		if (g->is_over)
			return err_set(e, ERR_INVALID, NULL, "the gzip body goes on after its end");
		g->z.next_out = (Bytef *)out;
		g->z.avail_out = sizeof out;
		rc = inflate(&g->z, Z_NO_FLUSH);
		if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
			return err_set(e, ERR_INVALID, NULL, "the body is not valid gzip");
		g->is_over = rc == Z_STREAM_END;
		n = sizeof out - g->z.avail_out;
		g->total += (int64_t)n;
		if (g->total > max)
			return err_set(e, ERR_LIMIT, NULL,
			    "the body unpacks to more than %lld bytes", (long long)max);
		if (n > 0)
			fn(out, n, arg);
		else if (rc == Z_BUF_ERROR)
			break;
	}
	return 0;
}
