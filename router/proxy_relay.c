#include "router/proxy_relay.h"

#include "lib/base/str.h"
#include "router/proxy_trailers.h"

static const char tail[] = "\r\n0\r\n\r\n";

/* The last chunk, with the trailers that pass. */
static void
add_tail(struct proxy_relay *r, struct buf *trailers)
{
	size_t skip = r->data != 0 ? 0 : 2;

	if (trailers == NULL || trailers->n <= 2) {
		r->v[r->n++] = (struct iovec){ (char *)tail + skip, sizeof tail - 1 - skip };
		return;
	}
	proxy_trailers_clean(trailers);
	r->v[r->n++] = (struct iovec){ (char *)tail + skip, sizeof tail - 3 - skip };
	r->v[r->n++] = (struct iovec){ trailers->p, trailers->n };
}

static size_t
add_size_line(char *to, size_t v)
{
	char digits[16];
	size_t n = 0, k = 0;

	do
		digits[n++] = "0123456789abcdef"[v & 15];
	while ((v >>= 4) != 0);
	while (n > 0)
		to[k++] = digits[--n];
	to[k++] = '\r';
	to[k++] = '\n';
	return k;
}

void
proxy_relay_fill(struct proxy_relay *r, struct http_body *b, const char *p, size_t n, bool chunked)
{
	r->n = 2;
	r->data = 0;
	r->used = 0;
	r->v[0] = (struct iovec){ 0 };
	r->v[1] = (struct iovec){ 0 };
	do {
		struct str out;
		size_t used;

		r->result = http_body_next(b, p + r->used, n - r->used, &used, &out);
		r->used += used;
		if (out.n != 0) {
			r->v[r->n++] = (struct iovec){ (char *)out.p, out.n };
			r->data += out.n;
		}
		if (used == 0)
			break;
	} while (r->result == HTTP_BODY_MORE && r->used < n && r->n < PROXY_RELAY_SLICES + 2);
	if (!chunked)
		return;
	if (r->data != 0)
		r->v[1] = (struct iovec){ r->size_line, add_size_line(r->size_line, r->data) };
	if (r->result == HTTP_BODY_DONE)
		add_tail(r, b->trailers);
	else if (r->data != 0)
		r->v[r->n++] = (struct iovec){ (char *)tail, 2 };
}
