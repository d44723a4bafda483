#include "node/gear_move.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_server.h"
#include "lib/loop/worker.h"
#include "node/gear.h"
#include "node/gear_table.h"
#include "node/layer_fetch.h"
#include "node/tree_stream.h"
#include "node/volume.h"

enum { RECORD_MAX = 64 * 1024 };

/* The old node's record, at the top of the volume, where only root writes. */
#define RECORD_NAME "moved.json"

/* --- the node that it leaves --- */

struct serving {
	struct loop *loop;
	struct gear_table *table;
	struct gear *gear;  /* held */
	struct http_req *r; /* NULL: nobody waits any more */
	char *dir, *json;   /* owned */
	struct err e;
};

static void
free_serving(void *p)
{
	struct serving *s = p;

	free(s->dir);
	free(s->json);
	free(s);
}

static void
end_serving(void *arg)
{
	struct serving *s = arg;

	gear_table_release(s->table, s->gear);
	free_serving(s);
}

static void
run_write_record(void *p)
{
	struct serving *s = p;
	AUTO(free) char *path = file_join(s->dir, RECORD_NAME);

	if (file_replace(path, s->json, strlen(s->json), 0600, &s->e) < 0)
		log_warn("gear_move", LOG_STR("dir", s->dir), LOG_ERR(&s->e));
}

static void
on_record_written(void *p)
{
	struct serving *s = p;

	if (s->r == NULL) {
		end_serving(s);
		return;
	}
	http_req_on_close(s->r, NULL, NULL);
	if (s->e.code != ERR_NONE) {
		http_req_reply_text(s->r, err_http_status(s->e.code), "%s\n", s->e.text);
		end_serving(s);
		return;
	}
	tree_stream_send(s->loop, s->r, s->dir, true, end_serving, s);
}

static void
on_lost(struct http_req *r, void *arg)
{
	struct serving *s = arg;

	(void)r;
	s->r = NULL;
}

void
gear_move_serve(
    struct loop *l, struct worker *w, struct gear_table *t, const char *uuid, struct http_req *r)
{
	struct gear *g = gear_table_find(t, uuid);
	struct serving *s;

	if (g == NULL || !g->record.is_made) {
		http_req_reply_text(r, 404, "This node has no gear %s.\n", uuid);
		return;
	}
	if (gear_table_users(t, g) > 0 || g->state == GEAR_CONFIGURING) {
		http_req_reply_text(r, 409, "The gear %s is in use.\n", uuid);
		return;
	}
	s = xcalloc(1, sizeof *s);
	*s = (struct serving){ .loop = l,
		.table = t,
		.gear = g,
		.r = r,
		.dir = xstrdup(g->dir),
		.json = codec_to_json(&gear_record_codec, &g->record) };
	gear_table_hold(t, g);
	http_req_on_close(r, on_lost, s);
	worker_submit(w, run_write_record, on_record_written, free_serving, s);
}

/* --- the node that it comes to --- */

struct gear_move {
	const struct layer_fetch_opts *o; /* borrowed */
	struct volumes *volumes;
	struct gear *gear;
	struct worker_job *job;
	struct tree_fetch *tree;
	bool is_stopped;
	gear_move_fn *fn;
	void *arg;
};

struct move_job {
	struct gear_move *move; /* done only */
	struct volumes *volumes;
	struct gear gear;       /* record copied, dir owned */
	struct gear_record old; /* as the old node has it */
	struct err e;
};

static void
free_job(void *p)
{
	struct move_job *j = p;

	codec_fini(&gear_record_codec, &j->old);
	codec_fini(&gear_record_codec, &j->gear.record);
	free(j->gear.dir);
	free(j);
}

void
gear_move_cancel(struct gear_move *take_m)
{
	if (take_m == NULL)
		return;
	tree_fetch_cancel(take_m->tree);
	worker_detach(take_m->job);
	free(take_m);
}

static void
finish(struct gear_move *m, const struct err *e)
{
	gear_move_fn *fn = m->fn;
	void *arg = m->arg;
	struct err stopped = { 0 };

	if (m->is_stopped) {
		(void)err_set(&stopped, ERR_BUSY, NULL, "the move was given up");
		e = &stopped;
	}
	gear_move_cancel(m);
	fn(e, arg);
}

void
gear_move_stop(struct gear_move *m)
{
	m->is_stopped = true;
	if (m->job == NULL)
		finish(m, NULL);
}

static void
submit(struct gear_move *m, worker_fn *run, worker_fn *done)
{
	struct move_job *j = xcalloc(1, sizeof *j);

	*j = (struct move_job){ .move = m, .volumes = m->volumes };
	j->gear.dir = xstrdup(m->gear->dir);
	codec_copy(&gear_record_codec, &j->gear.record, &m->gear->record);
	m->job = worker_submit(m->o->worker, run, done, free_job, j);
}

/* A volume of its own size, with an owner; what of the skeleton comes with the stream is taken
 * away. */
static void
run_make(void *p)
{
	static const char *const parts[] = { "base", "env", "data", "logs", "svc" };
	struct move_job *j = p;
	const struct gear_record *r = &j->gear.record;

	if (gear_save(&j->gear, &j->e) < 0 ||
	    volume_make(j->volumes, r->uuid, r->disk_mb, j->gear.spec.limits.files, &j->e) < 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		AUTO(free) char *path = file_join(j->gear.dir, parts[i]);

		if (file_remove_tree(path, &j->e) < 0)
			return;
	}
	fault_point("move_volume");
}

static void
run_adopt(void *p)
{
	struct move_job *j = p;
	AUTO(free) char *path = file_join(j->gear.dir, RECORD_NAME);
	AUTO_FINI(buf_fini) struct buf text = { 0 };

	if (file_read(path, RECORD_MAX, &text, &j->e) < 0 ||
	    codec_decode(&gear_record_codec, text.p, text.n, &j->old, CODEC_IGNORE, &j->e) < 0)
		return;
	fault_point("move_adopted");
	if (unlink(path) < 0)
		(void)err_set(&j->e, ERR_SYSTEM, NULL, "remove %s", path);
}

static void
on_adopted(void *p)
{
	struct move_job *j = p;
	struct gear_move *m = j->move;
	struct gear_record *r = &m->gear->record;
	struct err e = j->e;

	m->job = NULL;
	if (e.code == ERR_NONE && !m->is_stopped) {
		/* All but what is this node's own. */
		j->old.uid_base = r->uid_base;
		j->old.disk_mb = r->disk_mb;
		j->old.is_made = false;
		mem_set_str(&j->old.volume, r->volume);
		codec_fini(&gear_record_codec, r);
		*r = j->old;
		j->old = (struct gear_record){ 0 };
	}
	free_job(j);
	finish(m, e.code == ERR_NONE ? NULL : &e);
}

static void
on_tree(const struct err *e, void *arg)
{
	struct gear_move *m = arg;

	m->tree = NULL;
	if (e != NULL)
		finish(m, e);
	else
		submit(m, run_adopt, on_adopted);
}

static void
on_made(void *p)
{
	struct move_job *j = p;
	struct gear_move *m = j->move;
	AUTO(free)
	char *url = xasprintf("%s/internal/node/volume?gear=%s&node=%s", m->o->broker,
	    m->gear->record.uuid, m->gear->spec.moved_from);
	const struct tree_fetch_opts o = { m->o->loop, m->o->http, url, m->o->token, j->gear.dir };
	struct err e = j->e;

	m->job = NULL;
	if (e.code == ERR_NONE && !m->is_stopped)
		m->tree = tree_fetch_start(&o, on_tree, m, &e);
	free_job(j);
	if (m->tree == NULL)
		finish(m, &e);
}

struct gear_move *
gear_move_start(const struct layer_fetch_opts *o, struct volumes *volumes, struct gear *g,
    gear_move_fn *fn, void *arg)
{
	struct gear_move *m = xcalloc(1, sizeof *m);

	*m = (struct gear_move){ .o = o, .volumes = volumes, .gear = g, .fn = fn, .arg = arg };
	log_info(
	    "gear_comes", LOG_STR("gear", g->record.uuid), LOG_STR("from", g->spec.moved_from));
	submit(m, run_make, on_made);
	return m;
}
