#include "lib/http/http_watch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/http_client.h"
#include "lib/loop/loop.h"

enum {
	LINE_MAX_BYTES = 16 * 1024 * 1024,
	SILENCE_MS = 15 * 1000,
	BACKOFF_FIRST_MS = 50,
	BACKOFF_MAX_MS = 2000,
};

/* --- lines --- */

static int
too_long(size_t max, struct err *e)
{
	return err_set(e, ERR_LIMIT, NULL, "a line may have at most %zu bytes", max);
}

static void
give(struct str line, http_line_fn *fn, void *arg)
{
	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	if (line.n > 0)
		fn(line, arg);
}

/* Keeps the start of a line whose end is not there yet. */
static int
keep(struct http_lines *l, const char *p, size_t n, size_t max, struct err *e)
{
	if (n > max || l->n > max - n)
		return too_long(max, e);
	if (l->n + n > l->cap) {
		l->cap = (l->n + n) * 3 / 2 + 64;
		l->p = xreallocarray(l->p, l->cap, 1);
	}
	memcpy(l->p + l->n, p, n);
	l->n += n;
	return 0;
}

int
http_lines_feed(struct http_lines *l, const char *p, size_t n, size_t max, http_line_fn *fn,
    void *arg, struct err *e)
{
	while (n > 0) {
		const char *lf = memchr(p, '\n', n);
		size_t k = lf == NULL ? n : (size_t)(lf - p);

		if (lf == NULL)
			return keep(l, p, n, max, e);
		if (l->n > 0) {
			struct http_lines whole;

			if (keep(l, p, k, max, e) < 0)
				return -1;
			whole = *l;
			*l = (struct http_lines){ 0 };
			give((struct str){ whole.p, whole.n }, fn, arg);
			free(whole.p);
		} else if (k > max) {
			return too_long(max, e);
		} else {
			give((struct str){ p, k }, fn, arg);
		}
		p += k + 1;
		n -= k + 1;
	}
	return 0;
}

void
http_lines_fini(struct http_lines *l)
{
	free(l->p);
	*l = (struct http_lines){ 0 };
}

/* --- the resuming client --- */

struct http_watch {
	struct loop *loop;          /* borrowed */
	struct http_client *client; /* borrowed */
	char *url, *bearer;         /* owned */
	int64_t from, silence_ms, backoff_ms;
	http_watch_from_fn *from_fn;
	http_watch_line_fn *on_line;
	http_watch_state_fn *on_state;
	void *arg;
	struct http_call *call;   /* owned, or NULL between two */
	struct loop_timer *retry; /* owned */
	struct http_lines lines;
	struct buf refusal; /* the start of an answer other than 200 */
	int status;
	bool has_asked;    /* a first call was made */
	bool has_failed;   /* on_line or a line's length ended this connection */
	bool is_cancelled; /* freed after the present turn */
	struct err err;
};

static void connect_watch(void *arg);

static void
tell(struct http_watch *w, bool connected, const struct err *e)
{
	if (w->on_state != NULL && !w->is_cancelled)
		w->on_state(connected, e, w->arg);
}

static void
retry_later(struct http_watch *w)
{
	uint32_t random;
	int64_t ms = w->backoff_ms;

	secret_random(&random, sizeof random);
	ms = ms / 2 + (int64_t)random % (ms / 2 + 1);
	w->backoff_ms = w->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : w->backoff_ms * 2;
	loop_timer_again(w->retry, ms);
}

static void
on_head(struct http_call *c, int status, void *arg)
{
	struct http_watch *w = arg;

	(void)c;
	w->status = status;
	if (status == 200)
		tell(w, true, NULL);
}

static void
on_one_line(struct str line, void *arg)
{
	struct http_watch *w = arg;

	if (w->has_failed || w->is_cancelled)
		return;
	w->backoff_ms = BACKOFF_FIRST_MS;
	if (w->on_line(line, w->arg) == 0)
		return;
	w->has_failed = true;
	(void)err_set(&w->err, ERR_BUSY, NULL, "a line was refused");
}

static void
end_call(void *arg)
{
	struct http_watch *w = arg;

	http_call_cancel(STEAL(w->call));
	tell(w, false, &w->err);
	if (!w->is_cancelled)
		retry_later(w);
}

static bool
on_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct http_watch *w = arg;

	(void)c;
	if (w->has_failed || w->is_cancelled)
		return true;
	if (w->status != 200) {
		if (w->refusal.n + n <= 512)
			buf_add(&w->refusal, p, n);
		return true;
	}
	if (http_lines_feed(&w->lines, p, n, LINE_MAX_BYTES, on_one_line, w, &w->err) < 0)
		w->has_failed = true;
	if (w->has_failed && !w->is_cancelled)
		loop_timer_again(w->retry, 0);
	return true;
}

static void
on_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct http_watch *w = arg;
	struct err why = { 0 };

	(void)c;
	(void)body;
	w->call = NULL;
	if (w->has_failed)
		why = w->err;
	else if (e != NULL)
		why = *e;
	else if (status == 200)
		(void)err_set(&why, ERR_BUSY, NULL, "%s ended the stream", w->url);
	else
		(void)err_set(&why, status == 401 || status == 403 ? ERR_DENIED : ERR_BUSY, NULL,
		    "%s answered %d: %.*s", w->url, status,
		    (int)strcspn(w->refusal.p == NULL ? "" : w->refusal.p, "\r\n"),
		    w->refusal.p == NULL ? "" : w->refusal.p);
	w->err = why;
	end_call(w);
}

static void
connect_watch(void *arg)
{
	struct http_watch *w = arg;
	struct http_call_opts o = { .bearer = w->bearer, .idle_timeout_ms = w->silence_ms };
	AUTO(free) char *url = NULL;
	int64_t from = w->from;

	if (w->call != NULL) { /* a line was refused */
		end_call(w);
		return;
	}
	if (w->has_asked && w->from_fn != NULL)
		from = w->from_fn(w->arg);
	w->has_asked = true;
	url = from <= 0 ? xstrdup(w->url)
	                : xasprintf("%s%cfrom=%" PRId64, w->url,
	                      strchr(w->url, '?') == NULL ? '?' : '&', from);
	o.url = url;
	o.on_head = on_head;
	o.on_data = on_data;
	http_lines_fini(&w->lines);
	buf_clear(&w->refusal);
	w->status = 0;
	w->has_failed = false;
	w->err = (struct err){ 0 };
	w->call = http_call_start(w->client, &o, on_end, w, &w->err);
	if (w->call == NULL) {
		tell(w, false, &w->err);
		if (!w->is_cancelled)
			retry_later(w);
	}
}

struct http_watch *
http_watch_start(struct loop *l, struct http_client *c, const struct http_watch_opts *o,
    http_watch_from_fn *from, http_watch_line_fn *on_line, http_watch_state_fn *on_state, void *arg)
{
	struct http_watch *w = xcalloc(1, sizeof *w);

	w->loop = l;
	w->client = c;
	w->url = xstrdup(o->url);
	w->bearer = xstrdup_null(o->bearer);
	w->from = o->from;
	w->silence_ms = o->silence_ms > 0 ? o->silence_ms : SILENCE_MS;
	w->backoff_ms = BACKOFF_FIRST_MS;
	w->from_fn = from;
	w->on_line = on_line;
	w->on_state = on_state;
	w->arg = arg;
	w->retry = loop_timer_start(l, 0, false, connect_watch, w);
	return w;
}

static void
free_watch(void *p)
{
	struct http_watch *w = p;

	http_lines_fini(&w->lines);
	buf_fini(&w->refusal);
	free(w->url);
	secret_free(w->bearer);
	free(w);
}

void
http_watch_cancel(struct http_watch *take_w)
{
	if (take_w == NULL || take_w->is_cancelled)
		return;
	take_w->is_cancelled = true;
	http_call_cancel(STEAL(take_w->call));
	loop_timer_cancel(STEAL(take_w->retry));
	loop_free_later(take_w->loop, free_watch, take_w);
}
