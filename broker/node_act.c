#include "broker/node_act.h"

#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/node_link.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/http/http_watch.h"

enum { LINE_LEN_MAX = 1 << 20, ERROR_TEXT_MAX = 800, TIMEOUT_S = 600, GRACE_S = 30 };

struct node_act {
	struct http_call *call;
	struct http_lines lines;
	struct buf error_text; /* body of an answer that is not 200 */
	int status;
	struct wire_act_result result;
	bool has_result;
	node_act_out_fn *on_out;
	node_act_done_fn *done;
	void *arg;
};

void
node_act_cancel(struct node_act *take_a)
{
	if (take_a == NULL)
		return;
	http_call_cancel(take_a->call);
	http_lines_fini(&take_a->lines);
	buf_fini(&take_a->error_text);
	wire_act_result_fini(&take_a->result);
	free(take_a);
}
DEFINE_AUTO(struct node_act *, node_act_cancel)

static void
on_line(struct str text, void *arg)
{
	AUTO_FINI(wire_act_line_fini) struct wire_act_line line = { 0 };
	struct node_act *a = arg;
	struct err e = { 0 };

	if (codec_decode(&wire_act_line_codec, text.p, text.n, &line, CODEC_IGNORE, &e) < 0) {
		log_warn("act_line_broken", LOG_ERR(&e));
		return;
	}
	if (line.has_result) {
		wire_act_result_fini(&a->result);
		a->result = line.result;
		line.result = (struct wire_act_result){ 0 };
		a->has_result = true;
	} else if (line.text != NULL && a->on_out != NULL) {
		a->on_out(line.cart == NULL ? "" : line.cart, (int)line.fd, line.text, a->arg);
	}
}

static void
on_head(struct http_call *c, int status, void *arg)
{
	struct node_act *a = arg;

	(void)c;
	a->status = status;
}

static bool
on_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct node_act *a = arg;
	struct err e = { 0 };

	(void)c;
	if (a->status != 200) {
		if (a->error_text.n < ERROR_TEXT_MAX)
			buf_add(&a->error_text, p, n < ERROR_TEXT_MAX ? n : ERROR_TEXT_MAX);
	} else if (http_lines_feed(&a->lines, p, n, LINE_LEN_MAX, on_line, a, &e) < 0) {
		log_warn("act_line_broken", LOG_ERR(&e));
	}
	return true;
}

static enum err_code
code_of(int status)
{
	return status == 404                    ? ERR_NOT_FOUND
	       : status == 400 || status == 422 ? ERR_INVALID
	                                        : ERR_BUSY;
}

static void
on_call_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	AUTO(node_act_cancel) struct node_act *a = arg;
	const char *text = a->error_text.p == NULL ? "" : a->error_text.p;
	struct err bad = { 0 };

	(void)c;
	(void)body;
	a->call = NULL;
	if (a->has_result) {
		a->done(&a->result, NULL, a->arg);
		return;
	}
	if (e != NULL)
		(void)err_set(&bad, ERR_BUSY, NULL, "the node broke off: %s", e->text);
	else if (status != 200)
		(void)err_set(&bad, code_of(status), NULL, "%.*s", (int)strcspn(text, "\n"), text);
	else
		(void)err_set(&bad, ERR_BUSY, NULL, "the node broke off before its result");
	a->done(NULL, &bad, a->arg);
}

struct node_act *
node_act_start(struct broker *b, const char *node, const char *gear,
    const struct wire_act_order *order, node_act_out_fn *on_out, node_act_done_fn *done, void *arg,
    struct err *e)
{
	static const char *const headers[] = { "Content-Type: application/json", "Expect:", NULL };
	AUTO(node_act_cancel) struct node_act *a = xcalloc(1, sizeof *a);
	AUTO(free) char *path = xasprintf("/v1/gears/%s/actions", gear);
	AUTO(free) char *body = codec_to_json(&wire_act_order_codec, order);
	AUTO(free) char *url = NULL;
	int64_t timeout_s = order->timeout_s > 0 ? order->timeout_s : TIMEOUT_S;
	struct http_call_opts opts = {
		.method = "POST",
		.headers = headers,
		.body = body,
		.body_n = strlen(body),
		.on_head = on_head,
		.on_data = on_data,
		.timeout_ms = (timeout_s + GRACE_S) * 1000,
	};

	a->on_out = on_out;
	a->done = done;
	a->arg = arg;
	if (node_link_call(b->nodes, node, path, &opts, &url, e) < 0)
		return NULL;
	a->call = http_call_start(b->client, &opts, on_call_end, a, e);
	return a->call == NULL ? NULL : STEAL(a);
}
