/* Trailer sections on their way: of one that the parser of chunks takes, what passes is a section
 * again, has no field that a head must have, and becomes as many fields of HTTP/2. */
#include "test/fuzz/fuzz.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/http/http_body.h"
#include "router/h2_head.h"
#include "router/proxy_trailers.h"

/* false: it is none. */
static bool
read_section(const char *p, size_t n, struct buf *out)
{
	const struct http_head h = { .framing = HTTP_BODY_CHUNKED };
	struct http_body b;
	struct str data;
	size_t used;

	http_body_init(&b, &h);
	b.trailers = out;
	(void)http_body_next(&b, "0\r\n", 3, &used, &data);
	return http_body_next(&b, p, n, &used, &data) == HTTP_BODY_DONE;
}

static size_t
check_lines(const struct buf *b)
{
	static const char *const never[] = { "host:", "content-length:", "transfer-encoding:",
		"authorization:", "cookie:", "set-cookie:", "x-forwarded-for:", "connection:",
		"x_forwarded_for:", "content_length:", "te:", "trailer:", "expect:" };
	size_t n = 0;

	for (struct str rest = buf_str(b), line; rest.n != 0;) {
		rest = str_cut(rest, '\n', &line);
		n += line.n > 1;
		for (size_t i = 0; i < ARRAY_LEN(never); i++) {
			size_t k = strlen(never[i]);

			check(line.n < k || strncasecmp(line.p, never[i], k) != 0);
		}
	}
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FINI(buf_fini) struct buf section = { 0 }, again = { 0 }, text = { 0 };
	nghttp2_nv nv[H2_HEAD_FIELDS_MAX];
	size_t lines, fields;

	if (!read_section((const char *)data, size, &section))
		return 0;
	proxy_trailers_clean(&section);
	check(read_section(section.p, section.n, &again) && again.n == section.n);
	lines = check_lines(&section);
	fields = h2_head_trailers(&section, &text, nv);
	check(fields == (lines < H2_HEAD_FIELDS_MAX ? lines : H2_HEAD_FIELDS_MAX));
	for (size_t i = 0; i < fields; i++) {
		check(nv[i].namelen != 0);
		for (size_t k = 0; k < nv[i].namelen; k++)
			check(nv[i].name[k] < 'A' || nv[i].name[k] > 'Z');
	}
	return 0;
}
