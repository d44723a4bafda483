#include "broker/event_log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/log.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

enum { TRIM_MAX = 2 }; /* a transaction: one comes, so these suffice */

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* What there is of an application. */
struct history {
	size_t n;
	struct str_list oldest; /* keys: at most TRIM_MAX */
	char *last_key;
	int64_t last_rev;
	struct wire_event last; /* id NULL: none */
};

static bool
take_key(const struct store_kv *kv, void *arg)
{
	struct history *h = arg;

	if (h->oldest.n < TRIM_MAX)
		str_list_add(&h->oldest, kv->key);
	mem_set_str(&h->last_key, kv->key);
	h->n++;
	return true;
}

static void
history_load(struct history *h, const struct store *s, const char *app_id)
{
	AUTO(free) char *prefix = store_key_event(app_id, "");
	struct err e = { 0 };

	*h = (struct history){ 0 };
	store_range(s, prefix, take_key, h);
	if (h->last_key != NULL &&
	    record_get(s, xstrdup(h->last_key), &wire_event_codec, &h->last, &h->last_rev, &e) < 0)
		log_warn("event_unreadable", LOG_STR("key", h->last_key), LOG_ERR(&e));
}

static void
history_fini(struct history *h)
{
	str_list_fini(&h->oldest);
	free(h->last_key);
	wire_event_fini(&h->last);
}

static bool
is_again(const struct wire_event *last, const struct wire_event *ev)
{
	return last->id != NULL && str_same(last->kind, ev->kind) &&
	       str_same(last->text, ev->text) && str_same(last->gear, ev->gear) &&
	       str_same(last->instance, ev->instance);
}

/* Ids of one process rise; those of the next begin where the clock stands. */
static char *
new_id(int64_t ms)
{
	static int64_t last;
	AUTO(free) char *salt = secret_random_hex(3);

	last = ms > last ? ms : last + 1;
	return xasprintf("%013" PRId64 "-%s", last, salt);
}

/* Takes ev's members. */
static void
put(struct store_txn *t, const struct store *s, const char *app_id, struct wire_event *ev)
{
	AUTO_FINI(history_fini) struct history h = { 0 };

	history_load(&h, s, app_id);
	if (is_again(&h.last, ev)) {
		h.last.count++;
		h.last.last_ms = ev->at_ms;
		record_put(t, xstrdup(h.last_key), &wire_event_codec, &h.last);
	} else {
		ev->id = new_id(ev->at_ms);
		record_put(t, store_key_event(app_id, ev->id), &wire_event_codec, ev);
	}
	for (size_t i = 0; i < h.oldest.n && h.n - i >= EVENT_LOG_KEPT; i++)
		store_txn_delete(t, h.oldest.v[i]);
	wire_event_fini(ev);
}

static struct wire_event
make(const char *gear, const char *instance, const char *kind, const char *fmt, va_list ap)
{
	char text[WIRE_EVENT_TEXT_MAX + 1];
	struct wire_event ev = { .at_ms = now_ms(), .count = 1 };

	(void)vsnprintf(text, sizeof text, fmt, ap);
	ev.last_ms = ev.at_ms;
	ev.kind = xstrdup(kind);
	ev.text = xstrdup(text);
	ev.gear = xstrdup(gear == NULL ? "" : gear);
	ev.instance = xstrdup(instance == NULL ? "" : instance);
	return ev;
}

static void
on_stored(int64_t rev, const struct err *e, void *arg)
{
	(void)rev;
	(void)arg;
	if (e != NULL && e->code != ERR_CONFLICT) /* the application is gone */
		log_warn("event_not_kept", LOG_ERR(e));
}

static void
submit(struct broker *b, const char *app_id, struct wire_event *ev)
{
	AUTO(free) char *by_id = store_key_app_id(app_id);
	struct store_txn *t = store_txn_new();

	store_txn_if_exists(t, by_id);
	log_info("app_event", LOG_STR("app", app_id), LOG_STR("kind", ev->kind),
	    LOG_STR("text", ev->text));
	put(t, b->store, app_id, ev);
	store_txn_submit(b->store, t, on_stored, NULL);
}

void
event_log_add(struct broker *b, const char *app_id, const char *kind, const char *fmt, ...)
{
	struct wire_event ev;
	va_list ap;

	va_start(ap, fmt);
	ev = make(NULL, NULL, kind, fmt, ap);
	va_end(ap);
	submit(b, app_id, &ev);
}

void
event_log_add_of(struct broker *b, const char *app_id, const char *gear, const char *instance,
    const char *kind, const char *fmt, ...)
{
	struct wire_event ev;
	va_list ap;

	va_start(ap, fmt);
	ev = make(gear, instance, kind, fmt, ap);
	va_end(ap);
	submit(b, app_id, &ev);
}

void
event_log_put(struct store_txn *t, const struct store *s, const char *app_id, const char *gear,
    const char *instance, const char *kind, const char *fmt, ...)
{
	struct wire_event ev;
	va_list ap;

	va_start(ap, fmt);
	ev = make(gear, instance, kind, fmt, ap);
	va_end(ap);
	put(t, s, app_id, &ev);
}

struct newest {
	size_t skip;
	event_log_visit_fn *fn;
	void *arg;
};

static bool
visit(const char *key, int64_t rev, void *rec, void *arg)
{
	struct newest *n = arg;

	(void)key;
	(void)rev;
	if (n->skip > 0)
		n->skip--;
	else
		n->fn(rec, n->arg);
	return true;
}

void
event_log_each(
    const struct store *s, const char *app_id, int64_t n, event_log_visit_fn *fn, void *arg)
{
	AUTO(free) char *prefix = store_key_event(app_id, "");
	size_t have = store_count(s, prefix);
	struct newest newest = { .fn = fn, .arg = arg };

	newest.skip = n >= 0 && (size_t)n < have ? have - (size_t)n : 0;
	record_each(s, prefix, &wire_event_codec, visit, &newest);
}
