#include "node/peer_table.h"

#include <stdlib.h>

#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/loop/worker.h"
#include "node/net.h"

struct peer_table {
	struct peer_table_opts o;
	struct map *apps;      /* id → struct wire_peers, owned */
	struct str_list dirty; /* applications whose firewall is to follow */
	struct worker_job *job;
};

struct admit_job {
	struct peer_table *owner; /* done only */
	struct net *net;
	char *app; /* owned */
	struct str_list addresses;
};

static void
peers_free(void *p)
{
	codec_fini(&wire_peers_codec, p);
	free(p);
}

static void
free_admit(void *take_job)
{
	struct admit_job *j = take_job;

	free(j->app);
	str_list_fini(&j->addresses);
	free(j);
}

static void
run_admit(void *job)
{
	const struct admit_job *j = job;
	struct err e = { 0 };

	fault_point("peers_admit");
	if (net_set_peers(j->net, j->app, &j->addresses, &e) < 0)
		log_error("peers_not_admitted", LOG_STR("app", j->app), LOG_ERR(&e));
}

static void admit_next(struct peer_table *t);

static void
done_admit(void *job)
{
	struct admit_job *j = job;
	struct peer_table *t = j->owner;

	t->job = NULL;
	t->o.on_change(j->app, t->o.arg);
	free_admit(j);
	admit_next(t);
}

/* One at a time: the last word about an application counts. */
static void
admit_next(struct peer_table *t)
{
	const struct wire_peers *p;
	struct admit_job *j;

	if (t->job != NULL || t->dirty.n == 0)
		return;
	j = xcalloc(1, sizeof *j);
	*j = (struct admit_job){ .owner = t, .net = t->o.net, .app = xstrdup(t->dirty.v[0]) };
	str_list_remove(&t->dirty, j->app);
	p = map_get(t->apps, j->app);
	for (size_t k = 0; p != NULL && k < p->gears.n; k++) {
		const struct str_list *l = &p->gears.v[k].addresses;

		for (size_t m = 0; m < l->n; m++)
			str_list_add(&j->addresses, l->v[m]);
	}
	t->job = worker_submit(t->o.worker, run_admit, done_admit, free_admit, j);
}

static void
changed(struct peer_table *t, const char *app_id)
{
	if (!str_list_has(&t->dirty, app_id))
		str_list_add(&t->dirty, app_id);
	admit_next(t);
}

struct peer_table *
peer_table_new(const struct peer_table_opts *o)
{
	struct peer_table *t = xcalloc(1, sizeof *t);

	t->o = *o;
	t->apps = map_new(peers_free);
	return t;
}

void
peer_table_free(struct peer_table *take_t)
{
	if (take_t == NULL)
		return;
	worker_detach(take_t->job);
	map_free(take_t->apps);
	str_list_fini(&take_t->dirty);
	free(take_t);
}

void
peer_table_apply(struct peer_table *t, const struct wire_peers *p)
{
	const struct wire_peers *old = map_get(t->apps, p->app_id);
	struct wire_peers *copy;

	if (old != NULL && codec_equal(&wire_peers_codec, old, p))
		return;
	copy = xcalloc(1, sizeof *copy);
	codec_copy(&wire_peers_codec, copy, p);
	map_set(t->apps, p->app_id, copy);
	changed(t, p->app_id);
}

void
peer_table_forget(struct peer_table *t, const char *app_id)
{
	if (map_remove(t->apps, app_id))
		changed(t, app_id);
}

const struct wire_peers *
peer_table_find(const struct peer_table *t, const char *app_id)
{
	return map_get(t->apps, app_id);
}

struct visit {
	peer_table_each_fn *fn;
	void *arg;
};

static void
visit_one(const char *key, void *value, void *arg)
{
	const struct visit *v = arg;

	(void)key;
	v->fn(value, v->arg);
}

void
peer_table_each(const struct peer_table *t, peer_table_each_fn *fn, void *arg)
{
	struct visit v = { fn, arg };

	map_each(t->apps, visit_one, &v);
}
