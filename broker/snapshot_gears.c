#include "broker/snapshot_gears.h"

#include <stdlib.h>
#include <string.h>

#include "broker/app_view.h"
#include "broker/backup_file.h"
#include "broker/broker.h"
#include "broker/node_link.h"
#include "broker/rollout.h"
#include "broker/scratch.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/wire/wire_snapshot.h"

enum { TIMEOUT_MS = 6 * 3600 * 1000, ERROR_MAX = 800 };

/* --- which --- */

static bool
has_service(const struct wire_gear *g, const char *cart)
{
	for (size_t i = 0; i < g->cartridges.n; i++) {
		if (g->cartridges.v[i].is_service &&
		    (cart == NULL || strcmp(g->cartridges.v[i].name, cart) == 0))
			return true;
	}
	return false;
}

/* A gear before it has one of its services. */
static bool
is_covered(const struct snapshot_gears *l, const struct app_view_app *v, const struct wire_gear *g)
{
	for (size_t i = 0; i < g->cartridges.n; i++) {
		if (!g->cartridges.v[i].is_service)
			continue;
		for (size_t k = 0; k < l->n; k++) {
			const struct app_view_gear *o = snapshot_gears_find(v, l->v[k].uuid);

			if (o != NULL && has_service(&o->gear, g->cartridges.v[i].name))
				return true;
		}
	}
	return false;
}

void
snapshot_gears_list(const struct app_view_app *v, struct snapshot_gears *out)
{
	for (size_t i = 1; i < v->gears_n; i++) {
		const struct wire_gear *g = &v->gears[i]->gear;
		size_t first = 0;

		if (g->want == WIRE_WANT_GONE || !has_service(g, NULL) || is_covered(out, v, g))
			continue;
		while (!g->cartridges.v[first].is_service)
			first++;
		out->v = xreallocarray(out->v, out->n + 1, sizeof *out->v);
		out->v[out->n++] =
		    (struct snapshot_gear){ .cart = xstrdup(g->cartridges.v[first].name),
			    .uuid = xstrdup(g->uuid) };
	}
}

void
snapshot_gears_fini(struct snapshot_gears *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].cart);
		free(l->v[i].uuid);
	}
	free(l->v);
	*l = (struct snapshot_gears){ 0 };
}

const struct app_view_gear *
snapshot_gears_find(const struct app_view_app *v, const char *uuid)
{
	for (size_t i = 0; i < v->gears_n; i++) {
		if (strcmp(v->gears[i]->gear.uuid, uuid) == 0)
			return v->gears[i];
	}
	return NULL;
}

bool
snapshot_gears_runs(const struct app_view_app *v, const char *uuid, const char *cart)
{
	for (size_t i = 0; i < v->instances_n; i++) {
		const struct app_view_instance *in = v->instances[i];

		if (in->rec.spec.kind == WIRE_INSTANCE_SERVICE &&
		    strcmp(in->rec.spec.gear, uuid) == 0 && strcmp(in->rec.spec.cart, cart) == 0 &&
		    app_view_is(in, WIRE_INSTANCE_READY))
			return true;
	}
	return false;
}

/* --- saving them --- */

struct snapshot_save {
	struct broker *b; /* borrowed */
	char *app_id, *app_name, *dir;
	struct snapshot_gears gears;
	size_t at;
	struct loop_timer *begin;
	struct http_call *call;
	struct backup_file *file;
	struct buf error_text;
	int status;
	bool is_full;
	snapshot_save_fn *fn;
	void *arg;
};

void
snapshot_save_free(struct snapshot_save *take_s)
{
	struct snapshot_save *s = take_s;

	if (s == NULL)
		return;
	http_call_cancel(s->call);
	backup_file_free(s->file);
	loop_timer_cancel(s->begin);
	scratch_remove(s->b, STEAL(s->dir));
	snapshot_gears_fini(&s->gears);
	buf_fini(&s->error_text);
	free(s->app_id);
	free(s->app_name);
	free(s);
}

static void save_next(struct snapshot_save *s);

static void
on_written(int64_t size, const char *sha256, const struct err *e, void *arg)
{
	struct snapshot_save *s = arg;

	(void)size;
	(void)sha256;
	backup_file_free(STEAL(s->file));
	if (e != NULL) {
		s->fn(NULL, e, s->arg);
		return;
	}
	s->at++;
	save_next(s);
}

static void
on_room(void *arg)
{
	struct snapshot_save *s = arg;

	s->is_full = false;
	if (s->call != NULL)
		http_call_resume(s->call);
}

static void
on_head(struct http_call *c, int status, void *arg)
{
	struct snapshot_save *s = arg;

	(void)c;
	s->status = status;
}

static bool
on_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct snapshot_save *s = arg;

	(void)c;
	if (s->status != 200) {
		if (s->error_text.n < ERROR_MAX)
			buf_add(&s->error_text, p, n < ERROR_MAX ? n : ERROR_MAX);
		return true;
	}
	if (s->is_full)
		return false;
	s->is_full = !backup_file_add(s->file, p, n);
	return true;
}

static void
on_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct snapshot_save *s = arg;
	const char *text = s->error_text.p == NULL ? "" : s->error_text.p;
	struct err bad = { 0 };

	(void)c;
	(void)body;
	(void)status;
	s->call = NULL;
	if (e == NULL && s->status == 200) {
		backup_file_end(s->file);
		return;
	}
	if (e == NULL || (s->status != 0 && s->status != 200))
		(void)err_set(&bad, s->status == 409 ? ERR_CONFLICT : ERR_SYSTEM, NULL, "%.*s",
		    (int)strcspn(text, "\n"), text);
	else
		(void)err_set(&bad, ERR_BUSY, NULL, "the node broke off: %s", e->text);
	s->fn(NULL, &bad, s->arg);
}

static int
save_one(struct snapshot_save *s, const struct snapshot_gear *one, struct err *e)
{
	const struct app_view_app *v = app_view_get(rollout_view(s->b->rollout), s->app_id);
	const struct app_view_gear *g = snapshot_gears_find(v, one->uuid);
	const struct wire_snapshot_order order = { .app_name = s->app_name };
	AUTO(free)
	char *to = xasprintf("%s/%s/app-root/data/%s.tar.gz", s->dir, s->app_id, one->cart);
	AUTO(free) char *path = xasprintf("/v1/gears/%s/snapshot", one->uuid);
	AUTO(free) char *url = NULL;
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	struct http_call_opts o = {
		.method = "POST", .on_head = on_head, .on_data = on_data, .timeout_ms = TIMEOUT_MS
	};

	if (g == NULL)
		return err_set(e, ERR_NOT_FOUND, NULL, "The gear of %s is gone.", one->cart);
	codec_encode(&wire_snapshot_order_codec, &order, &body);
	buf_addc(&body, '\n');
	o.body = body.p;
	o.body_n = body.n;
	if (node_link_call(s->b->nodes, g->node, path, &o, &url, e) < 0)
		return -1;
	s->status = 0;
	s->is_full = false;
	buf_clear(&s->error_text);
	s->file = backup_file_write_start(s->b->worker, to, on_room, on_written, s);
	s->call = http_call_start(s->b->client, &o, on_end, s, e);
	return s->call == NULL ? -1 : 0;
}

static void
save_next(struct snapshot_save *s)
{
	struct err e = { 0 };

	if (s->at >= s->gears.n)
		s->fn(s->gears.n == 0 ? NULL : s->dir, NULL, s->arg);
	else if (save_one(s, &s->gears.v[s->at], &e) < 0)
		s->fn(NULL, &e, s->arg);
}

static void
on_begin(void *arg)
{
	struct snapshot_save *s = arg;

	loop_timer_cancel(STEAL(s->begin));
	save_next(s);
}

struct snapshot_save *
snapshot_save_start(
    struct broker *b, const char *app_id, const char *app_name, snapshot_save_fn *fn, void *arg)
{
	struct snapshot_save *s = xcalloc(1, sizeof *s);

	*s = (struct snapshot_save){ .b = b,
		.app_id = xstrdup(app_id),
		.app_name = xstrdup(app_name),
		.dir = scratch_path(b),
		.fn = fn,
		.arg = arg };
	snapshot_gears_list(app_view_get(rollout_view(b->rollout), app_id), &s->gears);
	s->begin = loop_timer_start(b->loop, 0, false, on_begin, s);
	return s;
}
