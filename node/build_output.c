#include "node/build_output.h"

#include <string.h>

#include "lib/base/mem.h"
#include "lib/http/http_server.h"
#include "lib/wire/wire_node.h"

enum { LINE_BYTES_MAX = 8 * 1024 };

void
build_output_fini(struct build_output *o)
{
	buf_fini(&o->line);
}

static void
send_json(struct build_output *o, struct buf *json)
{
	buf_addc(json, '\n');
	if (o->r != NULL && !http_req_write(o->r, json->p, json->n))
		o->is_full = true;
}

static void
send_line(struct build_output *o, const char *p, size_t n)
{
	AUTO_FINI(buf_fini) struct buf json = { 0 };
	AUTO_FINI(buf_fini) struct buf text = { 0 };

	str_clean(p, n, &text);
	buf_adds(&json, "{\"line\":");
	buf_add_json_strn(&json, text.n == 0 ? "" : text.p, text.n);
	buf_addc(&json, '}');
	send_json(o, &json);
}

void
build_output_say(struct build_output *o, const char *text)
{
	send_line(o, text, strlen(text));
}

static void
flush_line(struct build_output *o)
{
	if (o->line.n > 0)
		send_line(o, o->line.p, o->line.n);
	buf_clear(&o->line);
}

static void
add_byte(struct build_output *o, char c, bool is_before_newline)
{
	if (c == '\n') {
		if (o->line.n == 0)
			build_output_say(o, "");
		flush_line(o);
	} else if (c == '\r') {
		if (!is_before_newline)
			buf_clear(&o->line);
	} else {
		buf_addc(&o->line, c);
		if (o->line.n >= LINE_BYTES_MAX)
			flush_line(o);
	}
}

void
build_output_write(struct build_output *o, const char *p, size_t n)
{
	if ((int64_t)n > o->left) {
		n = (size_t)o->left;
		if (!o->is_cut) {
			o->is_cut = true;
			flush_line(o);
			build_output_say(o, "Warning: the output is longer than its limit: what "
			                    "follows is not shown");
		}
	}
	o->left -= (int64_t)n;
	for (size_t i = 0; i < n; i++)
		add_byte(o, p[i], i + 1 >= n || p[i + 1] == '\n');
}

void
build_output_end(struct build_output *o, const struct wire_build_result *result)
{
	AUTO_FINI(buf_fini) struct buf json = { 0 };

	flush_line(o);
	if (o->r == NULL)
		return;
	buf_adds(&json, "{\"has_result\":true,\"result\":");
	codec_encode(&wire_build_result_codec, result, &json);
	buf_addc(&json, '}');
	send_json(o, &json);
	http_req_on_close(o->r, NULL, NULL);
	http_req_on_drain(o->r, NULL, NULL);
	http_req_end(STEAL(o->r));
}
