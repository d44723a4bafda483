#include "broker/storage.h"

#include <string.h>

#include "broker/broker.h"
#include "broker/change.h"
#include "broker/event_log.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/store/store_key.h"

struct op {
	char *app_id; /* owned */
	struct wire_storage path;
	bool removes;
	storage_done_fn *done;
	void *arg;
};

static void
op_done(const struct err *e, void *arg)
{
	struct op *op = arg;

	op->done(e, op->arg);
	free(op->app_id);
	wire_storage_fini(&op->path);
	free(op);
}

/* --- the application --- */

static bool
is_path(const struct wire_storage *a, const struct wire_storage *b)
{
	return str_same(a->path, b->path) && str_same(a->cartridge, b->cartridge);
}

static int
put_path(struct wire_app *a, const struct wire_storage *s, struct err *e)
{
	struct wire_storage *new;

	if (s->cartridge != NULL && *s->cartridge != '\0' &&
	    wire_gear_find(&a->cartridges, s->cartridge) == NULL)
		return err_set(e, ERR_INVALID, "cartridge",
		    "Application '%s' has no cartridge '%s'.", a->name, s->cartridge);
	for (size_t i = 0; i < a->storage.n; i++) {
		struct wire_storage *old = &a->storage.v[i];

		if (is_path(old, s) && old->exclusive == s->exclusive && !old->is_going)
			return err_set(e, ERR_CONFLICT, "path",
			    "'%s' is a persistent path of '%s' already.", s->path, a->name);
		if (is_path(old, s)) {
			old->exclusive = s->exclusive;
			old->is_going = false;
			return 0;
		}
		if (wire_storage_overlap(old, s))
			return err_set(e, ERR_INVALID, "path",
			    "'%s' and the persistent path '%s' lie within each other: one of them "
			    "is enough.",
			    s->path, old->path);
	}
	if (a->storage.n >= WIRE_STORAGE_MAX)
		return err_set(e, ERR_LIMIT, "path",
		    "An application can have %d persistent paths. Remove one, or use "
		    "app-root/data.",
		    WIRE_STORAGE_MAX);
	new = codec_list_add(&wire_storage_codec, &a->storage);
	codec_copy(&wire_storage_codec, new, s);
	new->is_new = true;
	new->gen = a->spec.restart_gen + 1;
	return 0;
}

static int
drop_path(struct wire_app *a, const struct wire_storage *s, struct err *e)
{
	for (size_t i = 0; i < a->storage.n; i++) {
		struct wire_storage *old = &a->storage.v[i];

		if (!is_path(old, s))
			continue;
		old->is_going = true;
		old->gen = a->spec.restart_gen + 1;
		return 0;
	}
	return err_set(e, ERR_NOT_FOUND, "path",
	    "'%s' is no persistent path of '%s': see pinion storage list.", s->path, a->name);
}

void
storage_set_replace(struct wire_app *a)
{
	a->spec.replace = a->spec.hands_over;
	for (size_t i = 0; i < a->storage.n; i++)
		a->spec.replace = a->spec.replace || a->storage.v[i].exclusive;
}

static void
change_spec(struct wire_app *a, bool removes)
{
	storage_set_replace(a);
	a->spec.restart_gen++;
	if (!removes)
		a->spec.replace_gen = a->spec.restart_gen;
}

/* --- its gears --- */

struct gears {
	const struct wire_app *app;
	struct store_txn *t;
};

static bool
put_gear(const char *key, int64_t rev, void *rec, void *arg)
{
	struct wire_gear *g = rec;
	const struct gears *gs = arg;

	if (strcmp(g->app_id, gs->app->id) != 0 || g->want == WIRE_WANT_GONE)
		return true;
	wire_storage_list_copy(&g->storage, &gs->app->storage);
	record_put_cas(gs->t, xstrdup(key), rev, &wire_gear_codec, g);
	return true;
}

bool
storage_is_pending(const struct wire_app *a)
{
	for (size_t i = 0; i < a->storage.n; i++) {
		if (a->storage.v[i].is_new || a->storage.v[i].is_going)
			return a->spec.restart_gen == a->status.restart_gen;
	}
	return false;
}

void
storage_settle(struct broker *b, struct store_txn *t, struct wire_app *a)
{
	struct wire_storage_list *l = &a->storage;
	struct gears gs = { .app = a, .t = t };

	for (size_t i = 0; i < l->n;) {
		struct wire_storage *s = &l->v[i];
		bool is_done = a->status.restart_gen >= s->gen;

		if (s->is_going ? is_done : s->is_new && !is_done) {
			wire_storage_fini(s);
			memmove(s, s + 1, (l->n - i - 1) * sizeof *s);
			l->n--;
			continue;
		}
		s->is_new = s->is_going = false;
		s->gen = 0;
		i++;
	}
	storage_set_replace(a);
	record_each_with(b->store, STORE_PREFIX_GEAR, a->id, &wire_gear_codec, put_gear, &gs);
}

static int
build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct op *op = arg;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct gears gs = { .app = &a, .t = t };
	int64_t rev;
	int rc;

	if (record_app_by_id(b->store, op->app_id, &a, &rev, e) < 0)
		return -1;
	if (a.spec.deleted)
		return err_set(
		    e, ERR_NOT_FOUND, "application", "Application '%s' not found.", a.name);
	rc = op->removes ? drop_path(&a, &op->path, e) : put_path(&a, &op->path, e);
	if (rc < 0)
		return -1;
	change_spec(&a, op->removes);
	record_each_with(b->store, STORE_PREFIX_GEAR, a.id, &wire_gear_codec, put_gear, &gs);
	record_put_cas(t, store_key_app(a.domain, a.name), rev, &wire_app_codec, &a);
	event_log_put(t, b->store, a.id, NULL, NULL, op->removes ? "removed" : "added",
	    op->removes ? "'%s' is no persistent path any more." : "'%s' is a persistent path.",
	    op->path.path);
	return 0;
}

static void
start(struct broker *b, const char *app_id, const struct wire_storage *s, bool removes,
    storage_done_fn *done, void *arg)
{
	struct op *op = xcalloc(1, sizeof *op);

	*op = (struct op){
		.app_id = xstrdup(app_id),
		.removes = removes,
		.done = done,
		.arg = arg,
	};
	codec_copy(&wire_storage_codec, &op->path, s);
	change_start(b, build, op_done, op);
}

void
storage_put(struct broker *b, const char *app_id, const struct wire_storage *s,
    storage_done_fn *done, void *arg)
{
	start(b, app_id, s, false, done, arg);
}

void
storage_remove(struct broker *b, const char *app_id, const struct wire_storage *s,
    storage_done_fn *done, void *arg)
{
	start(b, app_id, s, true, done, arg);
}
