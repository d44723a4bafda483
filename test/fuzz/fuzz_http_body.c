/* Bodies: the first byte chooses the framing, the second the size of pieces. Whole and in pieces
 * they decode to the same; encoded anew as chunks they decode to the same again. */
#include "test/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/http/http_body.h"

static enum http_body_result
decode(
    const struct http_head *h, const char *p, size_t n, size_t step, struct buf *out, size_t *used)
{
	enum http_body_result r = HTTP_BODY_MORE;
	struct http_body b;

	http_body_init(&b, h);
	*used = 0;
	while (*used < n && r == HTTP_BODY_MORE) {
		size_t piece = n - *used < step ? n - *used : step, k;
		struct str data;

		r = http_body_next(&b, p + *used, piece, &k, &data);
		check(k <= piece && data.n <= k);
		check(k > 0 || r != HTTP_BODY_MORE);
		check(data.n == 0 || (data.p >= p + *used && data.p + data.n <= p + *used + k));
		buf_addstr(out, data);
		*used += k;
	}
	return r;
}

static void
check_chunked_anew(const struct buf *data)
{
	const struct http_head h = { .framing = HTTP_BODY_CHUNKED };
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	AUTO_FINI(buf_fini) struct buf again = { 0 };
	size_t used;

	if (data->n > 0) {
		buf_addf(&b, "%zx\r\n", data->n);
		buf_add(&b, data->p, data->n);
		buf_adds(&b, "\r\n");
	}
	buf_adds(&b, "0\r\n\r\n");
	check(decode(&h, b.p, b.n, b.n, &again, &used) == HTTP_BODY_DONE);
	check(used == b.n && again.n == data->n);
	check(data->n == 0 || memcmp(again.p, data->p, data->n) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	AUTO_FINI(buf_fini) struct buf whole = { 0 };
	AUTO_FINI(buf_fini) struct buf pieces = { 0 };
	struct http_head h = { 0 };
	enum http_body_result r, again;
	size_t used, used_again;
	const char *p;

	if (n < 2)
		return 0;
	p = (const char *)data + 2;
	n -= 2;
	if (n == 0)
		return 0;
	h.framing = data[0] < 224 ? HTTP_BODY_CHUNKED : (enum http_framing)(data[0] % 4);
	h.length = data[0];
	r = decode(&h, p, n, n, &whole, &used);
	again = decode(&h, p, n, data[1] % 17 + 1u, &pieces, &used_again);
	check(r == again);
	check(used == used_again);
	check(whole.n == pieces.n);
	check(whole.n == 0 || memcmp(whole.p, pieces.p, whole.n) == 0);
	if (r == HTTP_BODY_DONE)
		check_chunked_anew(&whole);
	return 0;
}
