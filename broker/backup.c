#include "broker/backup.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/app_snapshot.h"
#include "broker/backup_store.h"
#include "broker/broker.h"
#include "broker/change.h"
#include "broker/event_log.h"
#include "broker/record.h"
#include "broker/restore.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/loop/loop.h"
#include "lib/store/store_key.h"

enum { LOOK_MS = 1000, RUNS_MAX = 2, RETRY_S = 600, DROPS_MAX = 50 };

struct asker {
	struct asker *next;
	backup_done_fn *done;
	void *arg;
};

/* One backup under way, then what is beyond its number. */
struct run {
	struct backups *all;
	char *app_id;
	char *to;
	struct wire_backup_item item; /* to be */
	int64_t every_s;
	struct app_snapshot *snapshot;
	struct backup_op *op;
	struct asker *askers;
	struct str_list surplus; /* names to delete */
	struct err e;
};

struct backups {
	struct broker *b;
	struct map *runs; /* app id → struct run, owned */
	struct loop_timer *timer;
};

static int64_t
now_s(void)
{
	return (int64_t)time(NULL);
}

/* --- the record --- */

int
backup_get(const struct broker *b, const char *app_id, struct wire_backup *out, struct err *e)
{
	struct err why = { 0 };

	if (record_get(b->store, store_key_backup(app_id), &wire_backup_codec, out, NULL, &why) ==
	        0 ||
	    why.code == ERR_NOT_FOUND)
		return 0;
	*e = why;
	return -1;
}

/* A change of the record. */
struct edit {
	char *app_id;
	int (*apply)(struct wire_backup *r, struct edit *ed, struct err *e);
	struct wire_backup with;
	struct wire_backup_item item;
	struct str_list names;
	bool creates;
	backup_done_fn *done;
	void *arg;
};

static int
edit_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct edit *ed = arg;
	AUTO_FINI(wire_backup_fini) struct wire_backup r = { 0 };
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct err why = { 0 };
	int64_t rev = 0;

	if (record_app_by_id(b->store, ed->app_id, &a, NULL, e) < 0)
		return -1;
	if (record_get(b->store, store_key_backup(ed->app_id), &wire_backup_codec, &r, &rev, &why) <
	    0) {
		if (why.code != ERR_NOT_FOUND || !ed->creates)
			return err_set(e, ERR_NOT_FOUND, "backup",
			    "Backups of '%s' are not enabled: pinion backup enable %s.", a.name,
			    a.name);
		rev = 0;
		r.app_id = xstrdup(ed->app_id);
	}
	if (ed->apply(&r, ed, e) < 0)
		return -1;
	record_put_cas(t, store_key_backup(ed->app_id), rev, &wire_backup_codec, &r);
	return 0;
}

static void
edit_done(const struct err *e, void *arg)
{
	struct edit *ed = arg;

	if (ed->done != NULL)
		ed->done(e, ed->arg);
	else if (e != NULL)
		log_warn("backup_not_recorded", LOG_STR("app", ed->app_id), LOG_ERR(e));
	free(ed->app_id);
	wire_backup_fini(&ed->with);
	wire_backup_item_fini(&ed->item);
	str_list_fini(&ed->names);
	free(ed);
}

static struct edit *
edit_new(const char *app_id, int (*apply)(struct wire_backup *, struct edit *, struct err *),
    backup_done_fn *done, void *arg)
{
	struct edit *ed = xcalloc(1, sizeof *ed);

	ed->app_id = xstrdup(app_id);
	ed->apply = apply;
	ed->done = done;
	ed->arg = arg;
	return ed;
}

/* --- schedule --- */

static int
apply_enable(struct wire_backup *r, struct edit *ed, struct err *e)
{
	if (r->items.n > 0 && r->to != NULL && strcmp(r->to, ed->with.to) != 0)
		return err_set(e, ERR_CONFLICT, "to",
		    "%zu backups lie in %s: backups of one application stay in one place.",
		    r->items.n, r->to);
	r->enabled = true;
	r->every_s = ed->with.every_s;
	r->keep = ed->with.keep;
	mem_set_str(&r->to, ed->with.to);
	if (r->next == 0 || r->next > now_s() + r->every_s)
		r->next = now_s();
	return 0;
}

void
backup_enable(struct broker *b, const char *app_id, int64_t every_s, int64_t keep, const char *to,
    backup_done_fn *done, void *arg)
{
	struct edit *ed = edit_new(app_id, apply_enable, done, arg);

	ed->creates = true;
	ed->with.every_s = every_s;
	ed->with.keep = keep;
	ed->with.to = xstrdup(to);
	change_start(b, edit_build, edit_done, ed);
}

static int
apply_disable(struct wire_backup *r, struct edit *ed, struct err *e)
{
	(void)ed;
	(void)e;
	r->enabled = false;
	return 0;
}

void
backup_disable(struct broker *b, const char *app_id, backup_done_fn *done, void *arg)
{
	change_start(b, edit_build, edit_done, edit_new(app_id, apply_disable, done, arg));
}

/* --- a run --- */

static void
run_free(void *p)
{
	struct run *r = p;

	app_snapshot_cancel(r->snapshot);
	backup_op_free(r->op);
	while (r->askers != NULL) {
		struct asker *a = r->askers;

		r->askers = a->next;
		free(a);
	}
	wire_backup_item_fini(&r->item);
	str_list_fini(&r->surplus);
	free(r->app_id);
	free(r->to);
	free(r);
}

static void
run_end(struct run *r)
{
	struct asker *a = STEAL(r->askers);
	struct err e = r->e;

	(void)map_take(r->all->runs, r->app_id);
	if (e.code == ERR_NONE)
		log_info("backup_done", LOG_STR("app", r->app_id), LOG_STR("name", r->item.name),
		    LOG_INT("bytes", r->item.size));
	else
		log_warn("backup_failed", LOG_STR("app", r->app_id), LOG_ERR(&e));
	run_free(r);
	while (a != NULL) {
		struct asker *next = a->next;

		a->done(e.code == ERR_NONE ? NULL : &e, a->arg);
		free(a);
		a = next;
	}
}

static void delete_next(struct run *r);

static int
apply_drop(struct wire_backup *b, struct edit *ed, struct err *e)
{
	size_t n = 0;

	(void)e;
	for (size_t i = 0; i < b->items.n; i++) {
		if (str_list_has(&ed->names, b->items.v[i].name))
			wire_backup_item_fini(&b->items.v[i]);
		else
			b->items.v[n++] = b->items.v[i];
	}
	b->items.n = n;
	return 0;
}

static void
on_dropped(const struct err *e, void *arg)
{
	struct run *r = arg;

	if (e != NULL)
		log_warn("backup_not_recorded", LOG_STR("app", r->app_id), LOG_ERR(e));
	free(r->surplus.v[--r->surplus.n]);
	delete_next(r);
}

static void
on_deleted(int64_t size, const char *sha256, const struct err *e, void *arg)
{
	struct run *r = arg;
	struct edit *ed;

	(void)size;
	(void)sha256;
	backup_op_free(STEAL(r->op));
	if (e != NULL) { /* it stays in the record; the next run tries again */
		log_warn("backup_not_deleted", LOG_STR("app", r->app_id), LOG_ERR(e));
		run_end(r);
		return;
	}
	ed = edit_new(r->app_id, apply_drop, on_dropped, r);
	str_list_add(&ed->names, r->surplus.v[r->surplus.n - 1]);
	change_start(r->all->b, edit_build, edit_done, ed);
}

static void
delete_next(struct run *r)
{
	if (r->surplus.n == 0) {
		run_end(r);
		return;
	}
	r->op = backup_store_delete(
	    r->all->b, r->to, r->app_id, r->surplus.v[r->surplus.n - 1], on_deleted, r);
}

static void
on_noted(const struct err *e, void *arg)
{
	struct run *r = arg;
	AUTO_FINI(wire_backup_fini) struct wire_backup b = { 0 };
	struct err bad = { 0 };

	if (e != NULL && r->e.code == ERR_NONE)
		r->e = *e;
	if (backup_get(r->all->b, r->app_id, &b, &bad) == 0 && b.keep > 0 &&
	    r->e.code == ERR_NONE) {
		/* The oldest last: it is taken from the end. */
		for (size_t i = b.items.n > (size_t)b.keep ? b.items.n - (size_t)b.keep : 0;
		     i > 0 && r->surplus.n < DROPS_MAX; i--)
			str_list_add(&r->surplus, b.items.v[i - 1].name);
	}
	delete_next(r);
}

/* The outcome: the archive is named, the next time set. */
static int
apply_outcome(struct wire_backup *b, struct edit *ed, struct err *e)
{
	int64_t now = now_s();

	(void)e;
	mem_set_str(&b->last_error, ed->with.last_error);
	if (ed->with.last_error != NULL && *ed->with.last_error != '\0') {
		b->next = now + (b->every_s < RETRY_S ? b->every_s : RETRY_S);
		return 0;
	}
	codec_copy(
	    &wire_backup_item_codec, codec_list_add(&wire_backup_item_codec, &b->items), &ed->item);
	while (b->every_s > 0 && b->next <= now) /* those that were missed are one */
		b->next += b->next + b->every_s > now ? b->every_s
		                                      : (now - b->next) / b->every_s * b->every_s;
	return 0;
}

static void
note_outcome(struct run *r)
{
	struct edit *ed = edit_new(r->app_id, apply_outcome, on_noted, r);

	backup_op_free(STEAL(r->op));
	fault_point("backup_stored");
	ed->with.last_error = xstrdup(r->e.code == ERR_NONE ? "" : r->e.text);
	codec_copy(&wire_backup_item_codec, &ed->item, &r->item);
	if (r->e.code == ERR_NONE)
		event_log_add(r->all->b, r->app_id, "saved", "A backup was made.");
	else
		event_log_add(
		    r->all->b, r->app_id, "failed", "A backup could not be made: %s", r->e.text);
	change_start(r->all->b, edit_build, edit_done, ed);
}

static void
on_stored(int64_t size, const char *sha256, const struct err *e, void *arg)
{
	struct run *r = arg;

	if (e != NULL) {
		app_snapshot_cancel(STEAL(r->snapshot));
		r->e = *e;
	}
	r->item.size = size;
	mem_set_str(&r->item.sha256, sha256);
	note_outcome(r);
}

static void
on_room(void *arg)
{
	struct run *r = arg;

	if (r->snapshot != NULL)
		app_snapshot_resume(r->snapshot);
}

static bool
on_archive(const char *p, size_t n, void *arg)
{
	struct run *r = arg;

	return backup_store_add(r->op, p, n);
}

static void
on_archived(const struct err *e, void *arg)
{
	struct run *r = arg;

	r->snapshot = NULL;
	if (e == NULL) {
		backup_store_end(r->op);
		return;
	}
	r->e = *e;
	note_outcome(r);
}

static struct run *
run_start(struct backups *all, const char *app_id, const struct wire_backup *rec)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO(free) char *word = secret_random_hex(4);
	struct run *r = xcalloc(1, sizeof *r);
	time_t now = (time_t)now_s();
	char text[32] = "";
	struct tm tm;

	gmtime_r(&now, &tm);
	(void)strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &tm);
	r->all = all;
	r->app_id = xstrdup(app_id);
	r->to = xstrdup(rec->to);
	map_set(all->runs, app_id, r);
	if (record_app_by_id(all->b->store, app_id, &a, NULL, &r->e) == 0)
		r->item.name = xasprintf("%s-%s-%s.tar.gz", a.name, text, word);
	else
		r->item.name = xasprintf("%s-%s.tar.gz", text, word);
	r->item.at = (int64_t)now;
	if (r->e.code == ERR_NONE) {
		r->op =
		    backup_store_put(all->b, r->to, app_id, r->item.name, on_room, on_stored, r);
		r->snapshot = app_snapshot_start(all->b, app_id, on_archive, on_archived, r, &r->e);
	}
	if (r->snapshot == NULL)
		note_outcome(r);
	return r;
}

void
backup_run(struct broker *b, const char *app_id, backup_done_fn *done, void *arg)
{
	struct run *r = map_get(b->backups->runs, app_id);
	AUTO_FINI(wire_backup_fini) struct wire_backup rec = { 0 };
	struct asker *a;
	struct err e = { 0 };

	if (r == NULL && backup_get(b, app_id, &rec, &e) == 0 && rec.to == NULL)
		(void)err_set(
		    &e, ERR_NOT_FOUND, "backup", "Backups are not enabled: pinion backup enable.");
	if (e.code != ERR_NONE) {
		done(&e, arg);
		return;
	}
	if (r == NULL)
		r = run_start(b->backups, app_id, &rec);
	a = xcalloc(1, sizeof *a);
	*a = (struct asker){ r->askers, done, arg };
	r->askers = a;
}

/* --- the clock --- */

static bool
look_one(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_backup *b = rec;
	struct backups *all = arg;

	(void)key;
	(void)rev;
	if (map_count(all->runs) >= RUNS_MAX)
		return false;
	if (b->enabled && b->to != NULL && b->next <= now_s() &&
	    map_get(all->runs, b->app_id) == NULL)
		(void)run_start(all, b->app_id, b);
	return true;
}

static void
on_look(void *arg)
{
	struct backups *all = arg;

	record_each(all->b->store, STORE_PREFIX_BACKUP, &wire_backup_codec, look_one, all);
}

struct backups *
backups_new(struct broker *b)
{
	struct backups *s = xcalloc(1, sizeof *s);

	s->b = b;
	s->runs = map_new(run_free);
	s->timer = loop_timer_start(b->loop, LOOK_MS, true, on_look, s);
	return s;
}

void
backups_free(struct backups *take_s)
{
	if (take_s == NULL)
		return;
	loop_timer_cancel(take_s->timer);
	map_free(take_s->runs);
	free(take_s);
}

/* --- restore --- */

struct load {
	struct restore *restore;
	struct backup_op *op;
	char *sha256; /* as it was made */
	restore_line_fn *on_line;
	restore_done_fn *done;
	void *arg;
};

static void
load_free(struct load *l)
{
	backup_op_free(l->op);
	free(l->sha256);
	free(l);
}

static void
on_load_line(const char *line, void *arg)
{
	const struct load *l = arg;

	if (l->on_line != NULL)
		l->on_line(line, l->arg);
}

static void
on_load_room(void *arg)
{
	struct load *l = arg;

	if (l->op != NULL)
		backup_store_resume(l->op);
}

static void
on_load_done(const struct err *e, void *arg)
{
	struct load *l = arg;

	l->done(e, l->arg);
	load_free(l);
}

static bool
on_load_data(const char *p, size_t n, void *arg)
{
	struct load *l = arg;

	return restore_write(l->restore, p, n);
}

static void
on_loaded(int64_t size, const char *sha256, const struct err *e, void *arg)
{
	struct load *l = arg;
	struct err bad = { 0 };

	(void)size;
	if (e != NULL)
		bad = *e;
	else if (l->sha256 != NULL && *l->sha256 != '\0' && strcmp(l->sha256, sha256) != 0)
		(void)err_set(&bad, ERR_INVALID, NULL,
		    "The backup is not what was saved: its checksum differs.");
	backup_op_free(STEAL(l->op));
	if (bad.code == ERR_NONE) {
		restore_close(l->restore);
		return;
	}
	restore_abort(l->restore, &bad);
}

int
backup_restore(struct broker *b, const char *name, const struct restore_opts *o, struct err *e)
{
	AUTO_FINI(wire_backup_fini) struct wire_backup rec = { 0 };
	const struct wire_backup_item *item = NULL;
	struct restore_opts mine = *o;
	struct load *l;

	if (backup_get(b, o->app_id, &rec, e) < 0)
		return -1;
	for (size_t i = 0; i < rec.items.n; i++) {
		if (name == NULL || strcmp(rec.items.v[i].name, name) == 0)
			item = &rec.items.v[i];
	}
	if (item == NULL)
		return err_set(e, ERR_NOT_FOUND, "name",
		    name == NULL ? "There is no backup yet."
		                 : "There is no backup of that name: see pinion backup list.");
	l = xcalloc(1, sizeof *l);
	*l = (struct load){
		.sha256 = xstrdup_null(item->sha256),
		.on_line = o->on_line,
		.done = o->done,
		.arg = o->arg,
	};
	mine.on_line = on_load_line;
	mine.on_room = on_load_room;
	mine.done = on_load_done;
	mine.arg = l;
	l->restore = restore_start(b, &mine, e);
	if (l->restore == NULL) {
		load_free(l);
		return -1;
	}
	l->op = backup_store_get(b, rec.to, o->app_id, item->name, on_load_data, on_loaded, l);
	return 0;
}
