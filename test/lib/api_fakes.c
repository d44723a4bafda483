/* Nodes, routers, builds, rollouts and git as the API sees them. */
#include <stdint.h>
#include <string.h>

#include "broker/app.h"
#include "broker/app_cart.h"
#include "broker/blob.h"
#include "broker/build.h"
#include "broker/cart_fetch.h"
#include "broker/cart_source.h"
#include "broker/change.h"
#include "broker/drain.h"
#include "broker/idler.h"
#include "broker/node_act.h"
#include "broker/node_link.h"
#include "broker/quota.h"
#include "broker/record.h"
#include "broker/repo.h"
#include "broker/restore.h"
#include "broker/rollout.h"
#include "broker/router_link.h"
#include "broker/app_snapshot.h"
#include "broker/backup.h"
#include "broker/backup_store.h"
#include "broker/session.h"
#include "lib/base/mem.h"
#include "lib/http/stream.h"
#include "lib/loop/loop.h"
#include "lib/store/store_key.h"
#include "test/lib/api_world.h"

struct api_world_fakes api_world_fakes;
static struct broker *world; /* of the last call: the fakes are given none */

/* --- sleep --- */

void
idler_touch(struct broker *b, const char *app_id)
{
	(void)b;
	(void)app_id;
}

int64_t
idler_order(const struct wire_app *a)
{
	return a->spec.sleep_order + 1;
}

struct node_act *
node_act_start(struct broker *b, const char *node, const char *gear,
    const struct wire_act_order *order, node_act_out_fn *on_out, node_act_done_fn *done, void *arg,
    struct err *e)
{
	(void)b;
	(void)gear;
	(void)order;
	(void)on_out;
	(void)done;
	(void)arg;
	(void)err_set(e, ERR_BUSY, NULL, "The node %s is away.", node);
	return NULL;
}

void
node_act_cancel(struct node_act *take_a)
{
	(void)take_a;
}

int
drain_sink_check(const char *url, struct err *e)
{
	return strncmp(url, "https://", 8) == 0
	           ? 0
	           : err_set(e, ERR_INVALID, "url", "A drain is an https:// URL.");
}

bool
drains_status(
    const struct drains *d, const char *app_id, const char *id, struct drain_sink_status *out)
{
	(void)d;
	(void)app_id;
	(void)id;
	(void)out;
	return false;
}

/* --- nodes and routers --- */

bool
node_link_is_alive(const struct node_link *nl, const char *node)
{
	(void)nl;
	(void)node;
	return !api_world_fakes.no_node;
}

const struct wire_node_facts *
node_link_facts(const struct node_link *nl, const char *node)
{
	(void)nl;
	(void)node;
	return NULL;
}

void
node_link_when_alive(struct node_link *nl, int64_t ms, node_link_wait_fn *fn, void *arg)
{
	(void)nl;
	(void)ms;
	loop_post(world->loop, fn, arg);
}

void
node_link_each(const struct node_link *nl, node_link_visit_fn *fn, void *arg)
{
	struct wire_node_facts f = { .id = (char *)(uintptr_t) "n1",
		.version = (char *)(uintptr_t) "0" };

	(void)nl;
	(void)fn(&f, true, arg);
}

int
node_link_call(const struct node_link *nl, const char *node, const char *path,
    struct http_call_opts *o, char **out_url, struct err *e)
{
	(void)nl;
	(void)path;
	(void)o;
	(void)out_url;
	return err_set(e, ERR_BUSY, NULL, "The node %s is away.", node);
}

void
router_link_each(const struct router_link *rl, router_link_visit_fn *fn, void *arg)
{
	(void)rl;
	(void)fn("r1", 7, true, arg);
}

/* --- rollouts: what the spec wants is so; a deleted application goes --- */

struct wait {
	char *app_id; /* owned */
	rollout_done_fn *done;
	void *arg;
	struct err e;
	bool fails;
};

struct rollout {
	struct broker *b;
};

struct rollout *
rollout_new(struct broker *b)
{
	struct rollout *r = xcalloc(1, sizeof *r);

	r->b = b;
	world = b;
	return r;
}

void
rollout_free(struct rollout *take_r)
{
	free(take_r);
}

struct removal {
	struct store_txn *t;
	const char *app_id;
	int64_t present, keep, removed;
};

static bool
remove_gear(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_gear *g = rec;
	struct removal *r = arg;

	if (strcmp(g->app_id, r->app_id) == 0 && ++r->present > r->keep) {
		record_delete_cas(r->t, xstrdup(key), rev);
		r->removed++;
	}
	return true;
}

static void
remove_app(struct broker *b, struct store_txn *t, const struct wire_app *a, int64_t rev)
{
	AUTO(free) char *id_key = store_key_app_id(a->id);
	AUTO(free) char *env = store_key_env(a->id);
	AUTO(free) char *host = xasprintf("%s-%s.%s", a->name, a->domain, b->conf.app_domain);
	AUTO(free) char *route = store_key_route(host);
	struct err e = { 0 };

	record_delete_cas(t, store_key_app(a->domain, a->name), rev);
	store_txn_delete(t, id_key);
	store_txn_delete(t, env);
	store_txn_delete(t, route);
	(void)!quota_apps(b, t, a->domain, -1, &e);
}

static int
rollout_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct wait *w = arg;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct removal r = { .t = t, .app_id = w->app_id };
	int64_t rev;

	if (record_app_by_id(b->store, w->app_id, &a, &rev, e) < 0)
		return -1;
	r.keep = a.spec.deleted ? 0 : a.spec.gears;
	record_each(b->store, STORE_PREFIX_GEAR, &wire_gear_codec, remove_gear, &r);
	if (r.removed > 0 && quota_user(b, t, a.owner, -r.removed, 0, e) < 0)
		return -1;
	if (a.spec.deleted) {
		remove_app(b, t, &a, rev);
		return 0;
	}
	if (api_world_fakes.rollout_failure != NULL) {
		if (app_cart_is_pending(&a))
			app_cart_put_back(b, t, &a);
		else
			app_put_back_vars(b, t, &a);
		mem_set_str(&a.spec.deployment, a.status.deployment);
		a.spec.env_rev = a.status.env_rev;
		w->fails = true;
	}
	mem_set_str(&a.status.deployment, a.spec.deployment);
	a.status.env_rev = a.spec.env_rev;
	a.status.cart_rev = a.spec.cart_rev;
	record_put_cas(t, store_key_app(a.domain, a.name), rev, &wire_app_codec, &a);
	return 0;
}

static void
rollout_ended(const struct err *e, void *arg)
{
	struct wait *w = arg;
	struct err failure = { 0 };

	if (e == NULL && w->fails) {
		(void)err_set(&failure, ERR_CONFLICT, NULL, "%s", api_world_fakes.rollout_failure);
		e = &failure;
	}
	w->done(e, w->arg);
	free(w->app_id);
	free(w);
}

struct rollout_wait *
rollout_wait(struct rollout *r, const char *app_id, rollout_line_fn *on_line, rollout_done_fn *done,
    void *arg)
{
	struct wait *w = xcalloc(1, sizeof *w);

	*w = (struct wait){ .app_id = xstrdup(app_id), .done = done, .arg = arg };
	api_world_fakes.rollouts++;
	if (on_line != NULL)
		on_line("Rolling", arg);
	change_start(r->b, rollout_build, rollout_ended, w);
	return (struct rollout_wait *)(void *)w;
}

void
rollout_wait_cancel(struct rollout_wait *take_w)
{
	(void)take_w;
}

/* --- builds --- */

struct order {
	char *app_id, *ref, *sha1, *id; /* owned */
	build_done_fn *done;
	void *arg;
};

static int
order_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct order *o = arg;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	int64_t rev;

	if (api_world_fakes.build_failure != NULL)
		return err_set(e, ERR_CONFLICT, NULL, "%s", api_world_fakes.build_failure);
	if (record_app_by_id(b->store, o->app_id, &a, &rev, e) < 0)
		return -1;
	d.id = xstrdup(o->id);
	d.app_id = xstrdup(o->app_id);
	d.ref = xstrdup_null(o->ref);
	d.sha1 = xstrdup_null(o->sha1);
	d.created_at = 1700000000 + api_world_fakes.builds;
	((struct wire_activation *)codec_list_add(&wire_activation_codec, &d.activations))->at_ms =
	    1700000000000;
	record_put_cas(t, store_key_deployment(o->app_id, o->id), 0, &wire_deployment_codec, &d);
	mem_set_str(&a.spec.deployment, o->id);
	mem_set_str(&a.status.deployment, o->id);
	record_put_cas(t, store_key_app(a.domain, a.name), rev, &wire_app_codec, &a);
	return 0;
}

static void
order_ended(const struct err *e, void *arg)
{
	struct order *o = arg;

	o->done(e == NULL ? o->id : NULL, e, o->arg);
	free(o->app_id);
	free(o->ref);
	free(o->sha1);
	free(o->id);
	free(o);
}

struct build *
build_start(struct build_queue *q, const struct build_source *src, build_line_fn *on_line,
    build_done_fn *done, void *arg)
{
	struct order *o = xcalloc(1, sizeof *o);

	(void)q;
	api_world_fakes.builds++;
	*o = (struct order){
		.app_id = xstrdup(src->app_id),
		.ref = xstrdup_null(src->ref),
		.sha1 = xstrdup_null(src->sha1),
		.id = xasprintf("%08x", (unsigned)api_world_fakes.builds),
		.done = done,
		.arg = arg,
	};
	on_line("Building", arg);
	change_start(world, order_build, order_ended, o);
	return (struct build *)(void *)o;
}

/* --- downloads: the outside is not there --- */

struct fetch {
	cart_fetch_fn *fn;
	void *arg;
};

static void
fetch_end(void *arg)
{
	struct fetch *f = arg;
	struct err e = { 0 };

	(void)err_set(&e, ERR_INVALID, "url", "The URL does not answer.");
	f->fn(NULL, &e, f->arg);
	free(f);
}

void
cart_fetch_start(
    struct broker *b, const struct cart_ask *ask, bool is_admin, cart_fetch_fn *fn, void *arg)
{
	struct fetch *f = xcalloc(1, sizeof *f);

	(void)ask;
	(void)is_admin;
	*f = (struct fetch){ fn, arg };
	loop_post(b->loop, fetch_end, f);
}

void
cart_fetch_file(
    struct broker *b, const char *path, const struct cart_ask *ask, cart_fetch_fn *fn, void *arg)
{
	(void)path;
	cart_fetch_start(b, ask, true, fn, arg);
}

char *
blob_store_tmp(struct blob_store *s)
{
	(void)s;
	return xstrdup("/nonexistent/blob");
}

void
blob_store_release(struct blob_store *s, const char *digest)
{
	(void)s;
	(void)digest;
}

/* --- git: "main" is there, nothing else --- */

struct ask {
	repo_resolve_fn *fn;
	void *arg;
	bool found;
};

static void
ask_end(void *arg)
{
	struct ask *a = arg;
	struct err e = { 0 };

	if (!a->found)
		(void)err_set(&e, ERR_NOT_FOUND, "ref", "There is no such branch, tag or commit.");
	a->fn(a->found ? "refs/heads/main" : NULL,
	    a->found ? "0123456789012345678901234567890123456789" : NULL, a->found ? NULL : &e,
	    a->arg);
	free(a);
}

struct repo_ask *
repo_resolve(
    struct repo_store *rs, const char *app_id, const char *word, repo_resolve_fn *fn, void *arg)
{
	struct ask *a = xcalloc(1, sizeof *a);

	(void)rs;
	(void)app_id;
	*a = (struct ask){ fn, arg, strcmp(word, "main") == 0 };
	loop_post(world->loop, ask_end, a);
	return NULL;
}

void
repo_import(
    struct repo_store *rs, const char *app_id, const char *url, repo_resolve_fn *fn, void *arg)
{
	struct ask *a = xcalloc(1, sizeof *a);

	(void)rs;
	(void)app_id;
	*a = (struct ask){ fn, arg, strstr(url, "missing") == NULL };
	loop_post(world->loop, ask_end, a);
}

/* --- backups: no store --- */

char *
backup_store_target(const struct broker *b, const char *to, struct err *e)
{
	(void)b;
	(void)e;
	return xstrdup(to == NULL ? "/backups" : to);
}

int
backup_get(const struct broker *b, const char *app_id, struct wire_backup *out, struct err *e)
{
	(void)b;
	(void)e;
	out->app_id = xstrdup(app_id);
	return 0;
}

void
backup_enable(struct broker *b, const char *app_id, int64_t every_s, int64_t keep, const char *to,
    backup_done_fn *done, void *arg)
{
	(void)b;
	(void)app_id;
	(void)every_s;
	(void)keep;
	(void)to;
	done(NULL, arg);
}

void
backup_disable(struct broker *b, const char *app_id, backup_done_fn *done, void *arg)
{
	(void)b;
	(void)app_id;
	done(NULL, arg);
}

void
backup_run(struct broker *b, const char *app_id, backup_done_fn *done, void *arg)
{
	(void)b;
	(void)app_id;
	done(NULL, arg);
}

int
backup_restore(struct broker *b, const char *name, const struct restore_opts *o, struct err *e)
{
	(void)b;
	(void)name;
	(void)o;
	return err_set(e, ERR_NOT_FOUND, "name", "There is no backup yet.");
}

/* --- downloads: the network is away --- */

struct cart_source *
cart_source_start(struct broker *b, const char *url, const char *checksum, cart_source_file_fn *fn,
    void *arg, struct err *e)
{
	(void)b;
	(void)url;
	(void)checksum;
	(void)fn;
	(void)arg;
	(void)err_set(e, ERR_INVALID, "url", "nothing can be fetched");
	return NULL;
}

void
cart_source_cancel(struct cart_source *take_s)
{
	(void)take_s;
}

/* --- snapshots: their node is away --- */

struct app_snapshot *
app_snapshot_start(struct broker *b, const char *app_id, app_snapshot_data_fn *on_data,
    app_snapshot_done_fn *done, void *arg, struct err *e)
{
	(void)b;
	(void)app_id;
	(void)on_data;
	(void)done;
	(void)arg;
	(void)err_set(e, ERR_BUSY, NULL, "The node is away.");
	return NULL;
}

void
app_snapshot_resume(struct app_snapshot *s)
{
	(void)s;
}

void
app_snapshot_cancel(struct app_snapshot *take_s)
{
	(void)take_s;
}

struct restore *
restore_start(struct broker *b, const struct restore_opts *o, struct err *e)
{
	(void)b;
	(void)o;
	(void)err_set(e, ERR_BUSY, NULL, "The node is away.");
	return NULL;
}

bool
restore_write(struct restore *r, const void *p, size_t n)
{
	(void)r;
	(void)p;
	(void)n;
	return true;
}

void
restore_close(struct restore *r)
{
	(void)r;
}

void
restore_detach(struct restore *take_r)
{
	(void)take_r;
}

struct session *
session_start(struct session_set *all, struct stream *take_s, const struct session_opts *o,
    session_end_fn *on_end, void *arg)
{
	(void)all;
	(void)o;
	(void)on_end;
	(void)arg;
	stream_free(take_s);
	return NULL;
}
