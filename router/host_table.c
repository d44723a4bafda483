#include "router/host_table.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "router/route_options.h"

/* A growing array of routes. */
struct routes {
	struct host_route **v;
	size_t n, cap;
};

struct host_table {
	struct host_root *root;              /* owned */
	struct host_endpoint_set *endpoints; /* owned */
	struct routes old;                   /* replaced since the last publication */
	struct host_gone *gone;
	struct route_options *old_options;
	struct map *options; /* see route_options_all */
	bool has_changed;    /* since the last publication */
	size_t n;
	uint8_t mark; /* of the sweep under way, or the last one */
};

static void
add(struct routes *l, struct host_route *r)
{
	if (l->n == l->cap) {
		l->cap = l->cap == 0 ? 4 : l->cap * 2;
		l->v = xreallocarray(l->v, l->cap, sizeof(l->v[0]));
	}
	l->v[l->n++] = r;
}

/* --- reading --- */

const struct host_route *
host_table_get(const struct host_table *t, const char *host, size_t n)
{
	return host_root_get(t->root, host, n);
}

size_t
host_table_count(const struct host_table *t)
{
	return t->n;
}

struct visit {
	host_table_visit_fn *fn;
	void *arg;
};

static void
see(struct host_route *r, void *arg)
{
	struct visit *v = arg;

	v->fn(r, v->arg);
}

uint64_t
host_table_step(const struct host_table *t, uint64_t from, host_table_visit_fn *fn, void *arg)
{
	struct visit v = { fn, arg };

	return host_root_step(t->root, from, see, &v);
}

void
host_table_each(const struct host_table *t, host_table_visit_fn *fn, void *arg)
{
	uint64_t at = HOST_ROOT_FIRST;

	do
		at = host_table_step(t, at, fn, arg);
	while (at != HOST_ROOT_FIRST);
}

bool
host_table_has_instance(const struct host_table *t, const struct host_endpoint *ep)
{
	return host_endpoint_is_routed(t->endpoints, ep);
}

/* --- changes --- */

static void
leave(struct host_table *t, struct host_route *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct host_gone *g = host_endpoint_unref(t->endpoints, r->ep[i]);

		if (g == NULL)
			continue;
		g->next = t->gone;
		t->gone = g;
	}
}

static void
retire(struct host_table *t, struct host_route *r)
{
	leave(t, r);
	if (r->rare != NULL && r->rare->canary != NULL)
		leave(t, r->rare->canary);
	if (route_options_drop(t->options, host_route_opts(r))) {
		r->rare->opts->next = t->old_options;
		t->old_options = r->rare->opts;
	}
	add(&t->old, r);
}

int
host_table_put(struct host_table *t, const struct wire_route *w, struct err *e)
{
	struct host_route *r;

	if (host_route_check(w, e) < 0)
		return -1;
	r = host_root_get(t->root, w->host, strlen(w->host));
	if (r != NULL && host_route_is(r, w)) {
		r->mark = t->mark; /* lanes do not look at it */
		return 0;
	}
	r = host_route_new(w, t->endpoints, t->options);
	r->mark = t->mark;
	t->has_changed = true;
	r = host_root_put(t->root, r);
	if (r != NULL)
		retire(t, r);
	else
		t->n++;
	return 0;
}

bool
host_table_delete(struct host_table *t, const char *host)
{
	struct host_route *r = host_root_remove(t->root, host, strlen(host));

	if (r == NULL)
		return false;
	t->has_changed = true;
	retire(t, r);
	t->n--;
	return true;
}

void
host_table_set_woken(struct host_table *t, const char *host, int64_t order, bool is_woken)
{
	struct host_route *r = host_root_get(t->root, host, strlen(host));

	if (r != NULL && r->rare != NULL && r->rare->sleep == order)
		atomic_store(&r->rare->is_woken, is_woken);
}

/* --- sweeps --- */

static void
unmark(const struct host_route *r, void *arg)
{
	(void)arg;
	((struct host_route *)r)->mark = 0;
}

void
host_table_begin_sweep(struct host_table *t)
{
	if (++t->mark != 0)
		return;
	host_table_each(t, unmark, NULL); /* marks of long ago would look new */
	t->mark = 1;
}

struct sweep {
	uint8_t mark;
	struct routes unmarked;
};

static void
note_unmarked(const struct host_route *r, void *arg)
{
	struct sweep *s = arg;

	if (r->mark != s->mark)
		add(&s->unmarked, (struct host_route *)r);
}

void
host_table_sweep(struct host_table *t)
{
	struct sweep s = { .mark = t->mark };

	host_table_each(t, note_unmarked, &s);
	for (size_t i = 0; i < s.unmarked.n; i++)
		(void)host_table_delete(t, host_route_host(s.unmarked.v[i]));
	free(s.unmarked.v);
}

/* --- publication --- */

void
host_table_show(struct host_table *t)
{
	(void)host_root_show(t->root);
}

struct host_publication *
host_table_publish(struct host_table *t)
{
	struct host_publication *p;

	if (!host_root_show(t->root) && !t->has_changed)
		return NULL;
	p = xcalloc(1, sizeof *p);
	p->root = t->root;
	p->old = host_root_take_old(t->root);
	p->old_n = t->old.n;
	p->old_route = STEAL(t->old.v);
	p->gone = STEAL(t->gone);
	p->old_options = STEAL(t->old_options);
	t->old = (struct routes){ 0 };
	t->has_changed = false;
	return p;
}

static void
free_options(struct route_options *o)
{
	while (o != NULL) {
		struct route_options *next = o->next;

		route_options_unref(o);
		o = next;
	}
}

static void
free_option(const char *key, void *value, void *arg)
{
	(void)key;
	(void)arg;
	route_options_unref(value);
}

void
host_publication_free(struct host_publication *take_p)
{
	if (take_p == NULL)
		return;
	for (size_t i = 0; i < take_p->old_n; i++)
		host_route_free(take_p->old_route[i]);
	free(take_p->old_route);
	free_options(take_p->old_options);
	host_old_free(take_p->old);
	free(take_p);
}

struct host_table *
host_table_new(int lanes)
{
	struct host_table *t = xcalloc(1, sizeof *t);

	t->root = host_root_new();
	t->endpoints = host_endpoint_set_new(lanes);
	t->options = route_options_all();
	return t;
}

void
host_table_free(struct host_table *take_t)
{
	struct host_table *t = take_t;

	if (t == NULL)
		return;
	for (size_t i = 0; i < t->old.n; i++)
		host_route_free(t->old.v[i]);
	free(t->old.v);
	while (t->gone != NULL) {
		struct host_gone *g = t->gone;

		t->gone = g->next;
		host_gone_free(g);
	}
	free_options(t->old_options);
	map_each(t->options, free_option, NULL);
	map_free(t->options);
	host_root_free(t->root);
	host_endpoint_set_free(t->endpoints);
	free(t);
}
