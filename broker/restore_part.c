#include "broker/restore_part.h"

#include <stdlib.h>
#include <string.h>

#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/node_link.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/loop/loop.h"

enum { QUEUE_MAX = 1024 * 1024, TIMEOUT_MS = 6 * 3600 * 1000, ERROR_MAX = 500 };

struct restore_part {
	struct broker *b;  /* borrowed */
	char *node, *gear; /* it goes to */
	struct http_call *from, *to;
	struct loop_timer *begin; /* calls are not made in callbacks of others */
	struct buf queue;
	size_t at;
	bool has_all;
	int status;
	restore_part_fn *fn;
	void *arg;
};

void
restore_part_cancel(struct restore_part *take_p)
{
	if (take_p == NULL)
		return;
	http_call_cancel(take_p->from);
	http_call_cancel(take_p->to);
	loop_timer_cancel(take_p->begin);
	buf_fini(&take_p->queue);
	free(take_p->node);
	free(take_p->gear);
	free(take_p);
}

static void
finish(struct restore_part *p, bool was_there, const struct err *e)
{
	p->fn(was_there, e, p->arg);
	restore_part_cancel(p);
}

/* --- to the gear's node --- */

static ssize_t
on_read(struct http_call *c, char *to, size_t n, void *arg)
{
	struct restore_part *p = arg;
	size_t left = p->queue.n - p->at;

	(void)c;
	if (left == 0)
		return p->has_all ? 0 : HTTP_CALL_PAUSE;
	if (n > left)
		n = left;
	memcpy(to, p->queue.p + p->at, n);
	p->at += n;
	if (p->at == p->queue.n) {
		buf_clear(&p->queue);
		p->at = 0;
		if (p->from != NULL)
			http_call_resume(p->from);
	}
	return (ssize_t)n;
}

static void
on_unpacked(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct restore_part *p = arg;
	struct err bad = { 0 };

	(void)c;
	p->to = NULL;
	if (e == NULL && status == 200) {
		finish(p, true, NULL);
		return;
	}
	if (e != NULL)
		(void)err_set(&bad, ERR_BUSY, NULL, "the node broke off: %s", e->text);
	else
		(void)err_set(&bad, status == 422 ? ERR_INVALID : ERR_CONFLICT, NULL,
		    "the gear %s: %.*s", p->gear, (int)(body.n < ERROR_MAX ? body.n : ERROR_MAX),
		    body.p);
	finish(p, true, &bad);
}

static void
on_begin(void *arg)
{
	static const char *const headers[] = { "Content-Type: application/gzip", "Expect:", NULL };
	struct restore_part *p = arg;
	AUTO(free) char *path = xasprintf("/v1/gears/%s/restore?git=0", p->gear);
	AUTO(free) char *url = NULL;
	struct http_call_opts o = {
		.method = "POST", .headers = headers, .read = on_read, .timeout_ms = TIMEOUT_MS
	};
	struct err e = { 0 };

	loop_timer_cancel(STEAL(p->begin));
	if (node_link_call(p->b->nodes, p->node, path, &o, &url, &e) == 0)
		p->to = http_call_start(p->b->client, &o, on_unpacked, p, &e);
	if (p->to == NULL)
		finish(p, true, &e);
	else if (p->from != NULL)
		http_call_resume(p->from);
}

/* --- from the head's --- */

static void
on_head(struct http_call *c, int status, void *arg)
{
	struct restore_part *p = arg;

	(void)c;
	p->status = status;
}

static bool
on_data(struct http_call *c, const char *bytes, size_t n, void *arg)
{
	struct restore_part *p = arg;

	(void)c;
	if (p->status != 200)
		return true;
	if (p->to == NULL) {
		if (p->begin == NULL)
			p->begin = loop_timer_start(p->b->loop, 0, false, on_begin, p);
		return false;
	}
	if (p->queue.n - p->at > QUEUE_MAX)
		return false;
	buf_add(&p->queue, bytes, n);
	http_call_resume(p->to);
	return true;
}

static void
on_sent(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct restore_part *p = arg;
	struct err bad = { 0 };

	(void)c;
	(void)body;
	p->from = NULL;
	p->has_all = true;
	if (e == NULL && status == 200 && p->to != NULL) {
		http_call_resume(p->to);
	} else if (e == NULL && status == 404) {
		finish(p, false, NULL);
	} else {
		(void)err_set(
		    &bad, ERR_BUSY, NULL, "the node broke off within the service's snapshot");
		finish(p, true, &bad);
	}
}

struct restore_part *
restore_part_start(struct broker *b, const struct app_view_gear *head, const char *cart,
    const struct app_view_gear *gear, restore_part_fn *fn, void *arg, struct err *e)
{
	struct restore_part *p = xcalloc(1, sizeof *p);
	AUTO(free)
	char *path = xasprintf("/v1/gears/%s/restore/part?cart=%s", head->gear.uuid, cart);
	AUTO(free) char *url = NULL;
	struct http_call_opts o = {
		.on_head = on_head, .on_data = on_data, .timeout_ms = TIMEOUT_MS
	};

	*p = (struct restore_part){ .b = b,
		.node = xstrdup(gear->node),
		.gear = xstrdup(gear->gear.uuid),
		.fn = fn,
		.arg = arg };
	if (node_link_call(b->nodes, head->node, path, &o, &url, e) == 0)
		p->from = http_call_start(b->client, &o, on_sent, p, e);
	if (p->from != NULL)
		return p;
	restore_part_cancel(p);
	return NULL;
}
