#include "broker/app_traffic.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/wire/wire_route.h"

enum {
	SILENT_MS = 5000,          /* a router is believed so long */
	FORGET_MS = 60000,         /* a router */
	REPORT_MS_MAX = FORGET_MS, /* that one report can stand for */
	SWEEP_MS = 10000,
};
static_assert(WIRE_TOOK_PLACES <= 64, "places are bits of a mask");

/* What was told in a second, or in as many as are put together. */
struct slot {
	struct slot *next; /* a later one */
	int64_t s;         /* the first second */
	uint64_t requests, errors, us, bytes, active_ms;
	uint64_t places;   /* bit i: place i has a count */
	uint32_t counts[]; /* of those, in order */
};

struct reporter {
	int64_t at_ms;
	int64_t look, look_before;
	bool is_whole; /* all of the look has come */
};

/* What one router has under way of an application. */
struct part {
	struct part *next;
	const struct reporter *of; /* borrowed */
	int64_t look;
	uint64_t active;
};

struct had {
	struct slot *slots; /* owned, by time */
	struct part *parts; /* owned */
};

struct app_traffic {
	struct map *apps;      /* id → struct had, owned */
	struct map *reporters; /* router → struct reporter, owned */
	int64_t sweep_ms;      /* when to forget what is too old */
};

/* --- slots --- */

static struct slot *
slot_new(int64_t s)
{
	struct slot *n = xcalloc(1, sizeof *n);

	n->s = s;
	return n;
}

/* Makes room for the counts of these places. */
static struct slot *
widen(struct slot *take_s, uint64_t places)
{
	struct slot *s = take_s, *wide;
	uint64_t all = s->places | places;
	size_t n = 0, had = 0;

	if (all == s->places)
		return s;
	wide =
	    xcalloc(1, sizeof *wide + (size_t)__builtin_popcountll(all) * sizeof wide->counts[0]);
	*wide = *s;
	wide->places = all;
	for (unsigned i = 0; i < WIRE_TOOK_PLACES; i++) {
		if ((s->places >> i & 1) != 0)
			wide->counts[n] = s->counts[had++];
		n += all >> i & 1;
	}
	free(s);
	return wide;
}

static void
add_took(const struct slot *s, uint64_t took[WIRE_TOOK_PLACES])
{
	size_t n = 0;

	for (uint64_t left = s->places; left != 0; left &= left - 1)
		took[__builtin_ctzll(left)] += s->counts[n++];
}

/* Adds counts to the slot at *at, which may move. */
static void
count(struct slot **at, const uint64_t took[WIRE_TOOK_PLACES])
{
	uint64_t places = 0;
	size_t n = 0;

	for (unsigned i = 0; i < WIRE_TOOK_PLACES; i++)
		places |= (uint64_t)(took[i] != 0) << i;
	*at = widen(*at, places);
	for (uint64_t left = (*at)->places; left != 0; left &= left - 1, n++) {
		uint64_t sum = (*at)->counts[n] + took[__builtin_ctzll(left)];

		(*at)->counts[n] = sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
	}
}

/* The slot behind *at becomes a part of it. */
static void
join(struct slot **at)
{
	struct slot *next = (*at)->next;
	uint64_t took[WIRE_TOOK_PLACES] = { 0 };

	add_took(next, took);
	count(at, took);
	(*at)->requests += next->requests;
	(*at)->errors += next->errors;
	(*at)->us += next->us;
	(*at)->bytes += next->bytes;
	(*at)->active_ms += next->active_ms;
	(*at)->next = next->next;
	free(next);
}

/* --- windows --- */

/* The first second of a window. */
static int64_t
start_of(int seconds, int64_t now_s)
{
	int64_t s = now_s - seconds;

	return seconds <= APP_TRAFFIC_FINE ? s : s - s % APP_TRAFFIC_FINE;
}

static void
drop_old(struct had *h, int64_t now_s)
{
	int64_t start = start_of(APP_TRAFFIC_WINDOW_MAX, now_s);

	while (h->slots != NULL && h->slots->s < start) {
		struct slot *s = h->slots;

		h->slots = s->next;
		free(s);
	}
}

/* Puts seconds together that no fine window asks for any more. */
static void
join_old(struct had *h, int64_t now_s)
{
	struct slot **at = &h->slots;

	while (*at != NULL && (*at)->next != NULL) {
		struct slot *s = *at;
		int64_t step = s->s - s->s % APP_TRAFFIC_FINE;

		if (s->next->s >= start_of(APP_TRAFFIC_FINE, now_s))
			return;
		if (s->next->s < step + APP_TRAFFIC_FINE) {
			join(at);
			continue;
		}
		at = &s->next;
	}
}

/* Where the slot of this second is. */
static struct slot **
slot_at(struct had *h, int64_t now_s)
{
	struct slot **at = &h->slots;

	while (*at != NULL && (*at)->next != NULL)
		at = &(*at)->next;
	if (*at != NULL && (*at)->s >= now_s)
		return at;
	drop_old(h, now_s);
	join_old(h, now_s);
	for (at = &h->slots; *at != NULL;)
		at = &(*at)->next;
	*at = slot_new(now_s);
	return at;
}

static void
sum_up(const struct had *h, int seconds, int64_t now_s, struct app_traffic_window *out)
{
	int64_t start = start_of(seconds, now_s);

	*out = (struct app_traffic_window){ .seconds = now_s - start };
	for (const struct slot *s = h == NULL ? NULL : h->slots; s != NULL && s->s < now_s;
	     s = s->next) {
		if (s->s < start)
			continue;
		out->requests += s->requests;
		out->errors += s->errors;
		out->us += s->us;
		out->bytes += s->bytes;
		out->active_ms += s->active_ms;
		add_took(s, out->took);
	}
}

void
app_traffic_window(const struct app_traffic *t, const char *app_id, int seconds, int64_t now_ms,
    struct app_traffic_window *out)
{
	sum_up(map_get(t->apps, app_id), seconds, now_ms / 1000, out);
}

double
app_traffic_concurrency(const struct app_traffic_window *w)
{
	return (double)w->active_ms / 1000 / (double)w->seconds;
}

/* --- reports --- */

static void
had_free(void *p)
{
	struct had *h = p;

	while (h->slots != NULL) {
		struct slot *s = h->slots;

		h->slots = s->next;
		free(s);
	}
	while (h->parts != NULL) {
		struct part *r = h->parts;

		h->parts = r->next;
		free(r);
	}
	free(h);
}

/* NULL: there are too many. */
static struct had *
had_of(struct app_traffic *t, const char *app_id)
{
	struct had *h = map_get(t->apps, app_id);

	if (h != NULL || map_count(t->apps) >= APP_TRAFFIC_APPS_MAX)
		return h;
	h = xcalloc(1, sizeof *h);
	map_set(t->apps, app_id, h);
	return h;
}

/* NULL: there are too many. */
static struct reporter *
reporter_of(struct app_traffic *t, const struct wire_traffic *in, int64_t now_ms)
{
	struct reporter *r = map_get(t->reporters, in->router);
	int64_t look;

	if (r == NULL && map_count(t->reporters) >= APP_TRAFFIC_ROUTERS_MAX)
		return NULL;
	if (r == NULL) {
		r = xcalloc(1, sizeof *r);
		map_set(t->reporters, in->router, r);
	}
	look = in->look != 0 ? in->look : r->look + 1;
	if (look != r->look)
		r->look_before = r->look;
	r->look = look;
	r->is_whole = !in->more;
	r->at_ms = now_ms;
	return r;
}

static void
set_active(struct had *h, const struct reporter *r, uint64_t active)
{
	struct part *p = h->parts;

	while (p != NULL && p->of != r)
		p = p->next;
	if (p == NULL && active == 0)
		return;
	if (p == NULL) {
		p = xcalloc(1, sizeof *p);
		*p = (struct part){ .next = h->parts, .of = r };
		h->parts = p;
	}
	p->look = r->look;
	p->active = active;
}

static uint64_t
active_of(const struct had *h, int64_t now_ms)
{
	uint64_t n = 0;

	for (const struct part *p = h->parts; p != NULL; p = p->next) {
		bool is_told =
		    p->look == p->of->look || (!p->of->is_whole && p->look == p->of->look_before);

		if (is_told && now_ms - p->of->at_ms < SILENT_MS)
			n += p->active;
	}
	return n;
}

static void
add_app(struct app_traffic *t, const struct wire_traffic_app *a, const struct reporter *r,
    int64_t ms, int64_t now_ms)
{
	struct had *h = had_of(t, a->id);
	uint64_t took[WIRE_TOOK_PLACES] = { 0 };
	struct err e = { 0 };
	struct slot **at;

	if (h == NULL)
		return;
	if (r != NULL)
		set_active(h, r, (uint64_t)a->active);
	if (wire_took_read(a->took, took, &e) < 0) {
		log_warn("traffic_not_read", LOG_STR("app", a->id), LOG_ERR(&e));
		memset(took, 0, sizeof took);
	}
	at = slot_at(h, now_ms / 1000);
	count(at, took);
	(*at)->requests += (uint64_t)a->requests;
	(*at)->errors += (uint64_t)a->errors;
	(*at)->us += (uint64_t)a->us;
	(*at)->bytes += (uint64_t)a->bytes;
	(*at)->active_ms += (uint64_t)a->active * (uint64_t)ms;
}

/* --- what is too old --- */

struct sweep {
	struct app_traffic *t;
	int64_t now_ms;
};

static bool
is_lost(const struct reporter *r, int64_t now_ms)
{
	return now_ms - r->at_ms >= FORGET_MS;
}

static void
sweep_app(const char *key, void *value, void *arg)
{
	const struct sweep *w = arg;
	struct had *h = value;
	struct part **at = &h->parts;

	drop_old(h, w->now_ms / 1000);
	while (*at != NULL) {
		struct part *p = *at;

		if (p->look == p->of->look && !is_lost(p->of, w->now_ms)) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		free(p);
	}
	if (h->slots == NULL && h->parts == NULL)
		(void)map_remove(w->t->apps, key);
}

static void
sweep_reporter(const char *key, void *value, void *arg)
{
	const struct sweep *w = arg;

	if (is_lost(value, w->now_ms))
		(void)map_remove(w->t->reporters, key);
}

static void
sweep(struct app_traffic *t, int64_t now_ms)
{
	struct sweep w = { t, now_ms };

	if (now_ms < t->sweep_ms)
		return;
	map_each(t->apps, sweep_app, &w); /* first: they point to reporters */
	map_each(t->reporters, sweep_reporter, &w);
	t->sweep_ms = now_ms + SWEEP_MS;
}

void
app_traffic_add(struct app_traffic *t, const struct wire_traffic *in, int64_t now_ms)
{
	const struct reporter *r = reporter_of(t, in, now_ms);
	int64_t ms = in->ms > REPORT_MS_MAX ? REPORT_MS_MAX : in->ms;

	for (size_t i = 0; i < in->apps.n; i++)
		add_app(t, &in->apps.v[i], r, ms, now_ms);
	sweep(t, now_ms);
}

/* --- all of them --- */

struct visit {
	app_traffic_visit_fn *fn;
	void *arg;
	int seconds;
	int64_t now_ms;
};

static void
visit_app(const char *key, void *value, void *arg)
{
	const struct visit *v = arg;
	struct app_traffic_window w;

	sum_up(value, v->seconds, v->now_ms / 1000, &w);
	v->fn(key, active_of(value, v->now_ms), &w, v->arg);
}

void
app_traffic_each(
    const struct app_traffic *t, int seconds, int64_t now_ms, app_traffic_visit_fn *fn, void *arg)
{
	map_each(t->apps, visit_app, &(struct visit){ fn, arg, seconds, now_ms });
}

uint64_t
app_traffic_active(const struct app_traffic *t, const char *app_id, int64_t now_ms)
{
	const struct had *h = map_get(t->apps, app_id);

	return h == NULL ? 0 : active_of(h, now_ms);
}

size_t
app_traffic_count(const struct app_traffic *t)
{
	return map_count(t->apps);
}

struct app_traffic *
app_traffic_new(void)
{
	struct app_traffic *t = xcalloc(1, sizeof *t);

	t->apps = map_new(had_free);
	t->reporters = map_new(free);
	return t;
}

void
app_traffic_free(struct app_traffic *take_t)
{
	if (take_t == NULL)
		return;
	map_free(take_t->apps);
	map_free(take_t->reporters);
	free(take_t);
}
