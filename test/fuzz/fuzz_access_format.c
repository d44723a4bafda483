/* Lines of the access log: the first byte chooses the format, what follows is a request's parts
 * with line ends between them. Each gives one line of bounded length without control characters;
 * that of JSON is an object. */
#include "test/fuzz/fuzz.h"

#include <string.h>

#include "lib/base/str.h"
#include "lib/codec/codec.h"
#include "router/access_format.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = { (const char *)data + 1, size - 1 };
	struct access_line a = { .proto = "https", .version = "1.1", .status = 200, .took_us = 12 };
	struct str *parts[] = { &a.host, &a.method, &a.path, &a.instance, &a.app, &a.id, &a.peer };
	static struct access_format_text out;
	struct access_format_time t = { 0 };
	enum access_format f;
	struct codec_value *v;
	struct err e = { 0 };

	if (size == 0 || memchr(data, 0, size) != NULL)
		return 0; /* no head has a NUL */
	f = data[0] % 3;
	a.unix_us = data[0] / 3 * INT64_C(1000000000000);
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		rest = str_cut(rest, '\n', parts[i]);
	a.head = rest;
	access_format_line(&out, f, &t, &a);
	check(out.n > 0 && out.n <= sizeof out.p && out.p[out.n - 1] == '\n');
	for (size_t i = 0; i + 1 < out.n; i++)
		check((unsigned char)out.p[i] >= 0x20 && (unsigned char)out.p[i] < 0x7f);
	if (f != ACCESS_FORMAT_JSON)
		return 0;
	v = codec_parse(out.p, out.n, &e);
	check(v != NULL);
	codec_value_free(v);
	return 0;
}
