#include "router/stats.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "router/client_conn.h"
#include "router/lane.h"
#include "router/proxy.h"
#include "router/proxy_log.h"
#include "router/upstream.h"

/* --- times --- */

void
stats_time(struct stats_times *t, int64_t us)
{
	t->n++;
	t->sum_us += us > 0 ? (uint64_t)us : 0;
	t->bucket[wire_took_place(us)]++;
}

void
stats_add_times(struct stats_times *to, const struct stats_times *from)
{
	to->n += from->n;
	to->sum_us += from->sum_us;
	for (size_t i = 0; i < WIRE_TOOK_PLACES; i++)
		to->bucket[i] += from->bucket[i];
}

/* --- applications --- */

struct stats *
stats_new(void)
{
	struct stats *s = xcalloc(1, sizeof *s);

	s->by_id = map_new(NULL);
	s->generation = 1;
	return s;
}

void
stats_free(struct stats *take_s)
{
	struct stats *s = take_s;

	if (s == NULL)
		return;
	while (s->apps != NULL) {
		struct stats_app *a = s->apps;

		s->apps = a->next;
		free(a);
	}
	map_free(s->by_id);
	free(s);
}

/* In a table without applications a host stands for one. */
static const char *
id_of(const struct proxy *x)
{
	return x->app_id[0] != '\0' ? x->app_id : x->names.p;
}

/* NULL: there are too many. */
static struct stats_app *
app_of(struct stats *s, const struct proxy *x)
{
	const char *id = id_of(x), *name = "";
	struct stats_app *a = map_get(s->by_id, id);
	bool is_host = x->app_id[0] == '\0';
	size_t id_n = strlen(id), name_n;

	if (a != NULL || map_count(s->by_id) >= STATS_APPS_MAX)
		return a;
	if (!is_host && x->names.n > x->host_n + 1)
		name = x->names.p + x->host_n + 1;
	name_n = strlen(name);
	a = xcalloc(1, sizeof *a + id_n + name_n + 2);
	memcpy(a->id, id, id_n);
	memcpy(a->id + id_n + 1, name, name_n);
	a->name_n = (uint32_t)name_n;
	a->is_host = is_host;
	a->next = s->apps;
	s->apps = a;
	map_set(s->by_id, a->id, a);
	return a;
}

void
stats_take(struct proxy *x, struct upstream_pool *p)
{
	struct lane *l = p->lane;
	struct stats *s = l->stats;

	if (x->app != NULL) {
		x->app->used_ms = l->now_ms;
		return; /* another attempt */
	}
	if (p->stats_generation != s->generation || strcmp(p->stats->id, id_of(x)) != 0) {
		p->stats = app_of(s, x);
		p->stats_generation = p->stats == NULL ? 0 : s->generation;
	}
	x->app = p->stats;
	if (x->app == NULL)
		return;
	x->app->active++;
	x->app->started++;
	x->app->used_ms = l->now_ms;
}

void
stats_look(struct stats *s, stats_visit_fn *fn, void *arg)
{
	struct stats_app **at = &s->apps;

	s->generation += s->generation == UINT32_MAX ? 2 : 1; /* 0 is nobody's */
	while (*at != NULL) {
		struct stats_app *a = *at;

		fn(a, arg);
		if (a->active == 0) {
			*at = a->next;
			(void)map_take(s->by_id, a->id);
			free(a);
			continue;
		}
		a->started = a->retries = 0;
		a->us = a->bytes = 0;
		memset(a->requests, 0, sizeof a->requests);
		memset(a->took, 0, sizeof a->took);
		at = &a->next;
	}
}

/* --- the end of an exchange --- */

static unsigned
class_of(int status)
{
	return status >= 100 && status < 600 ? (unsigned)status / 100 : 0;
}

static void
end_app(struct stats *s, struct proxy *x, int64_t took_us)
{
	struct stats_app *a = x->app;
	bool had_instance = a != NULL;

	if (a == NULL && x->app_id[0] != '\0')
		a = app_of(s, x);
	if (a == NULL)
		return;
	a->requests[class_of(x->status)]++;
	a->bytes += (uint64_t)(x->bytes + x->body_in);
	a->retries += x->tries;
	if (!x->tunnel) { /* its time is no latency */
		a->us += (uint64_t)took_us;
		a->took[wire_took_place(took_us)]++;
	}
	if (!had_instance)
		return;
	a->active--;
	a->used_ms = x->client->sock.lane->now_ms;
	x->app = NULL;
}

void
stats_end(struct proxy *x, int64_t took_us)
{
	struct stats *s = x->client->sock.lane->stats;
	struct stats_all *all = &s->all;
	struct proxy_log_times t = proxy_log_times(x, took_us);

	all->requests[class_of(x->status)]++;
	all->retries += x->tries;
	all->bytes_in += (uint64_t)x->body_in;
	all->bytes_out += (uint64_t)x->bytes;
	if (x->tunnel) {
		all->tunnels++;
		all->tunnels_us += (uint64_t)took_us;
	} else
		stats_time(&all->total, took_us);
	stats_time(&all->router, t.router_us);
	if (x->first_us != 0)
		stats_time(&all->app, t.app_us);
	if (t.queue_us != 0)
		stats_time(&all->queue, t.queue_us);
	if (t.connect_us != 0)
		stats_time(&all->connect, t.connect_us);
	end_app(s, x, took_us);
}
