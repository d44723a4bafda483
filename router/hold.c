#include "router/hold.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "router/host_table.h"
#include "router/lane.h"
#include "router/route_options.h"
#include "router/router_conf.h"

enum { BATCH = 64 };

/* All that wait for one host. */
struct hold_group {
	struct hold_group *next, **pprev;
	struct hold *hold; /* borrowed: has it */
	struct hold_link *first, **last;
	const struct route_options *opts; /* a reference; NULL: they do not matter */
	size_t n;
	char host[];
};

struct hold {
	struct lane *lane;            /* borrowed */
	const struct hold_kind *kind; /* borrowed */
	hold_fn *on_release;
	struct map *by_host;       /* owned: host → struct hold_group, borrowed */
	struct hold_group *groups; /* owned */
	struct hold_group *cursor; /* the next to be looked at by release */
	size_t n, bytes;
	size_t max, host_max, bytes_max;
	bool is_releasing, is_posted;
};

static size_t
share(int64_t of, int lanes)
{
	size_t n = (size_t)of / (size_t)lanes;

	return n == 0 ? 1 : n;
}

struct hold *
hold_new(struct lane *l, const struct router_conf *conf, int lanes, const struct hold_kind *kind,
    hold_fn *on_release)
{
	struct hold *h = xcalloc(1, sizeof *h);

	h->lane = l;
	h->kind = kind;
	h->on_release = on_release;
	h->by_host = map_new(NULL);
	h->max = share(conf->hold_max, lanes);
	h->host_max = share(conf->hold_app_max, lanes);
	h->bytes_max = share(conf->hold_mb * 1024 * 1024, lanes);
	return h;
}

void
hold_free(struct hold *take_h)
{
	struct hold *h = take_h;

	if (h == NULL)
		return;
	while (h->groups != NULL) {
		struct hold_group *g = h->groups;

		h->groups = g->next;
		free(g);
	}
	map_free(h->by_host);
	free(h);
}

bool
hold_waits(const struct host_route *r)
{
	return r->state == WIRE_ROUTE_PARKED;
}

static void
on_first_asleep(struct lane *l, const struct host_route *r)
{
	if (l->on_hold != NULL)
		l->on_hold(l, r);
}

const struct hold_kind hold_asleep = {
	.waits = hold_waits,
	.on_first = on_first_asleep,
	.late = "The application did not become ready in time.",
};

size_t
hold_count(const struct hold *h)
{
	return h->n;
}

static struct hold_group *
group_of(struct hold *h, const struct host_route *r)
{
	struct hold_group *g = map_get(h->by_host, host_route_host(r));

	if (g != NULL)
		return g;
	g = xcalloc(1, sizeof *g + r->host_n + 1u);
	memcpy(g->host, host_route_host(r), r->host_n);
	g->hold = h;
	if (h->kind->is_of_options)
		g->opts = route_options_ref(host_route_opts(r));
	g->last = &g->first;
	g->next = h->groups;
	g->pprev = &h->groups;
	if (g->next != NULL)
		g->next->pprev = &g->next;
	h->groups = g;
	map_set(h->by_host, g->host, g);
	h->kind->on_first(h->lane, r);
	return g;
}

static void
drop_group(struct hold_group *g)
{
	struct hold *h = g->hold;

	(void)map_take(h->by_host, g->host);
	if (h->cursor == g)
		h->cursor = g->next;
	*g->pprev = g->next;
	if (g->next != NULL)
		g->next->pprev = g->pprev;
	if (h->kind->on_last != NULL)
		h->kind->on_last(h->lane, g->opts);
	route_options_unref(g->opts);
	free(g);
}

bool
hold_add(
    struct hold *h, struct hold_link *k, const struct host_route *r, size_t bytes, bool is_first)
{
	struct hold_group *g;

	if (h->n >= h->max || bytes > h->bytes_max - h->bytes)
		return false;
	g = map_get(h->by_host, host_route_host(r));
	if (g != NULL && g->n >= h->host_max)
		return false;
	if (h->kind->join != NULL && !h->kind->join(host_route_opts(r), is_first))
		return false;
	g = group_of(h, r);
	*k = (struct hold_link){ .group = g, .bytes = bytes };
	k->pprev = is_first ? &g->first : g->last;
	k->next = *k->pprev;
	if (k->next != NULL)
		k->next->pprev = &k->next;
	else
		g->last = &k->next;
	*k->pprev = k;
	g->n++;
	h->n++;
	h->bytes += bytes;
	return true;
}

void
hold_remove(struct hold_link *k)
{
	struct hold_group *g = k->group;
	struct hold *h;

	if (g == NULL)
		return;
	h = g->hold;
	if (h->kind->leave != NULL)
		h->kind->leave(g->opts);
	*k->pprev = k->next;
	if (k->next != NULL)
		k->next->pprev = k->pprev;
	else
		g->last = k->pprev;
	g->n--;
	h->n--;
	h->bytes -= k->bytes;
	*k = (struct hold_link){ 0 };
	if (g->n == 0)
		drop_group(g);
}

const char *
hold_late(const struct hold_link *k)
{
	return k->group->hold->kind->late;
}

static bool
still_waits(const struct hold *h, const struct hold_group *g)
{
	const struct host_root *root = h->lane->root;
	const struct host_route *r =
	    root == NULL ? NULL : host_find(root, g->host, strlen(g->host));

	if (r == NULL || (h->kind->is_of_options && host_route_opts(r) != g->opts))
		return false;
	return h->kind->waits(r);
}

static void
go_on(struct lane *l, void *arg)
{
	struct hold *h = arg;

	(void)l;
	h->is_posted = false;
	hold_changed(h);
}

/* o: only those with it; NULL: all. */
static void
release(struct hold *h, const struct route_options *o)
{
	int left = BATCH;

	if (h->is_releasing)
		return;
	h->is_releasing = true;
	h->cursor = h->groups;
	while (h->cursor != NULL && left > 0) {
		struct hold_group *g = h->cursor;
		struct hold_link *k = g->first;

		if ((o != NULL && g->opts != o) || still_waits(h, g)) {
			h->cursor = g->next;
			continue;
		}
		left--;
		hold_remove(k); /* with the last one the group goes, and the cursor on */
		h->on_release(k);
	}
	h->is_releasing = false;
	if (left == 0 && h->n > 0 && !h->is_posted) {
		h->is_posted = true;
		lane_post(h->lane, go_on, h);
	}
}

void
hold_changed(struct hold *h)
{
	release(h, NULL);
}

void
hold_open(struct hold *h, const struct route_options *o)
{
	release(h, o);
}
