#include "node/act_http.h"

#include <stdlib.h>

#include "lib/base/mem.h"
#include "lib/http/http_server.h"
#include "node/gear_act.h"

enum { BODY_MAX = 256 * 1024, PART_MAX = 32 * 1024 };

struct act_call {
	struct gear_act_opts o;
	struct http_req *r;
	struct gear_act *act; /* NULL: the order is being read */
	char *gear;           /* owned */
};

static void
free_call(struct act_call *c)
{
	gear_act_cancel(c->act);
	free(c->gear);
	free(c);
}

static void
on_close(struct http_req *r, void *arg)
{
	(void)r;
	free_call(arg);
}

static void
on_drain(struct http_req *r, void *arg)
{
	struct act_call *c = arg;

	(void)r;
	if (c->act != NULL)
		gear_act_pause(c->act, false);
}

static bool
write_line(struct act_call *c, const struct wire_act_line *line)
{
	AUTO_FINI(buf_fini) struct buf out = { 0 };

	codec_encode(&wire_act_line_codec, line, &out);
	buf_addc(&out, '\n');
	return http_req_write(c->r, out.p, out.n);
}

static void
on_out(const char *cart, int fd, const char *p, size_t n, void *arg)
{
	struct act_call *c = arg;

	while (n > 0) {
		size_t part = n < PART_MAX ? n : PART_MAX;
		AUTO(free) char *text = xstrndup(p, part);
		const struct wire_act_line line = { .cart = (char *)cart, .fd = fd, .text = text };

		if (!write_line(c, &line) && c->act != NULL)
			gear_act_pause(c->act, true);
		p += part;
		n -= part;
	}
}

static void
on_done(const struct wire_act_result *result, void *arg)
{
	struct act_call *c = arg;
	const struct wire_act_line line = { .has_result = true, .result = *result };

	(void)write_line(c, &line);
	http_req_end(c->r);
	c->act = NULL; /* it frees itself */
	free_call(c);
}

static void
on_body(struct http_req *r, struct str body, const struct err *e, void *arg)
{
	static const char *const headers[] = { "Content-Type: application/x-ndjson", NULL };
	AUTO_FINI(wire_act_order_fini) struct wire_act_order order = { 0 };
	struct act_call *c = arg;
	struct err failed = { 0 };

	if (e != NULL) { /* answered already */
		free_call(c);
		return;
	}
	if (codec_decode(&wire_act_order_codec, body.p, body.n, &order, 0, &failed) == 0)
		c->act = gear_act_start(&c->o, c->gear, &order, on_out, on_done, c, &failed);
	if (c->act == NULL) {
		http_req_reply_text(r, err_http_status(failed.code), "%s\n", failed.text);
		free_call(c);
		return;
	}
	http_req_begin(r, 200, headers);
	http_req_on_drain(r, on_drain, c);
}

void
act_http_handle(const struct gear_act_opts *o, struct http_req *r, const char *gear)
{
	struct act_call *c = xcalloc(1, sizeof *c);

	*c = (struct act_call){ .o = *o, .r = r, .gear = xstrdup(gear) };
	http_req_on_close(r, on_close, c);
	http_req_read_all(r, BODY_MAX, on_body, c);
}
