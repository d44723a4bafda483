#include "broker/staple.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "broker/broker.h"
#include "broker/change.h"
#include "broker/event_log.h"
#include "broker/net_guard.h"
#include "broker/record.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/http/tls_ocsp.h"
#include "lib/loop/loop.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_cert.h"

enum {
	CALLS_MAX = 4,
	TURN_MS = 10,
	PER_TURN = 8, /* certificates that are looked at in one turn */
	LOOK_MS = 20 * 1000,
	CALL_MS = 15 * 1000,
	AGAIN_S = 30,     /* from one ask to the next, at least */
	AGAIN_MIN_S = 60, /* after a failure */
	AGAIN_MAX_S = 3600,
	DOUBLINGS_MAX = 8,
};

/* A certificate that may have a staple. */
struct entry {
	TAILQ_ENTRY(entry) link; /* is_queued */
	int64_t due_at;          /* Unix time; INT64_MAX: not before it changes */
	int64_t asked_at;        /* Unix time; 0: never */
	int tries;               /* that failed in a row */
	bool is_queued, is_asking, is_gone;
	char host[];
};

struct ask {
	LIST_ENTRY(ask) link;
	struct staples *s;
	struct entry *entry; /* borrowed: lives as long as is_asking */
	char *chain;         /* owned: of which certificate */
	struct http_call *call;
};

struct staples {
	struct broker *b; /* borrowed */
	struct map *entries;
	TAILQ_HEAD(, entry) queue;
	LIST_HEAD(, ask) asks;
	int asking;
	struct store_watch *watch;
	struct loop_timer *turn, *look;
};

static int64_t
now_s(void)
{
	return (int64_t)time(NULL);
}

/* --- what the record gets --- */

struct put {
	char *host;   /* owned, as all strings */
	char *chain;  /* of the certificate that it is for */
	char *staple; /* base64; NULL: none any more */
	bool is_revoked;
};

static int
build_put(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct put *p = arg;
	AUTO_FINI(wire_cert_fini) struct wire_cert c = { 0 };
	int64_t rev;

	if (record_get(b->store, store_key_cert(p->host), &wire_cert_codec, &c, &rev, e) < 0)
		return e->code == ERR_NOT_FOUND ? 0 : -1;
	if (!str_same(c.chain, p->chain))
		return 0; /* it is another by now */
	if (p->is_revoked && c.app_id != NULL)
		event_log_put(t, b->store, c.app_id, NULL, NULL, "revoked",
		    "The certificate of alias %s was revoked by its authority. Give another.",
		    p->host);
	if (str_same(c.staple, p->staple))
		return 0;
	mem_set_str(&c.staple, p->staple);
	record_put_cas(t, store_key_cert(p->host), rev, &wire_cert_codec, &c);
	return 0;
}

static void
on_put(const struct err *e, void *arg)
{
	struct put *p = arg;

	if (e != NULL)
		log_error("staple_not_kept", LOG_STR("host", p->host), LOG_ERR(e));
	else
		log_info("staple", LOG_STR("host", p->host),
		    LOG_STR("state", p->is_revoked       ? "revoked"
		                     : p->staple == NULL ? "gone"
		                                         : "good"));
	free(p->host);
	free(p->chain);
	free(p->staple);
	free(p);
}

static void
put(struct staples *s, const char *host, const char *chain, char *take_staple, bool is_revoked)
{
	struct put *p = xcalloc(1, sizeof *p);

	*p = (struct put){ .host = xstrdup(host),
		.chain = xstrdup(chain),
		.staple = take_staple,
		.is_revoked = is_revoked };
	change_start(s->b, build_put, on_put, p);
}

/* --- asking --- */

static void
enqueue(struct staples *s, struct entry *en)
{
	if (en->is_queued || en->is_asking)
		return;
	en->is_queued = true;
	TAILQ_INSERT_TAIL(&s->queue, en, link);
	loop_timer_again(s->turn, TURN_MS);
}

static void
ask_free(struct ask *a)
{
	http_call_cancel(a->call);
	LIST_REMOVE(a, link);
	a->s->asking--;
	a->entry->is_asking = false;
	if (a->entry->is_gone)
		free(a->entry);
	free(a->chain);
	free(a);
}

static void
note_failure(struct entry *en, const struct err *e)
{
	int doublings = en->tries < DOUBLINGS_MAX ? en->tries : DOUBLINGS_MAX;
	int64_t wait = (int64_t)AGAIN_MIN_S << doublings;

	en->tries++;
	en->due_at = now_s() + (wait < AGAIN_MAX_S ? wait : AGAIN_MAX_S);
	log_warn("staple_not_got", LOG_STR("host", en->host), LOG_ERR(e));
}

static void
on_answer(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct ask *a = arg;
	struct entry *en = a->entry;
	struct tls_ocsp o = { 0 };
	struct err why = { 0 };

	(void)c;
	a->call = NULL;
	if (e != NULL)
		why = *e;
	else if (status != 200)
		(void)err_set(&why, ERR_INVALID, "staple", "the responder answers %d", status);
	else
		(void)!tls_ocsp_read(a->chain, body.p, body.n, &o, &why);
	if (why.code != ERR_NONE) {
		note_failure(en, &why);
	} else {
		en->tries = 0;
		en->due_at = o.from_at + (o.until_at - o.from_at) / 2;
		put(a->s, en->host, a->chain, o.is_revoked ? NULL : str_base64(body.p, body.n),
		    o.is_revoked);
	}
	loop_timer_again(a->s->turn, TURN_MS);
	ask_free(a);
}

static void
ask(struct staples *s, struct entry *en, const char *chain)
{
	static const char *const headers[] = { "Content-Type: application/ocsp-request",
		"Accept: application/ocsp-response", NULL };
	AUTO_FINI(buf_fini) struct buf request = { 0 };
	AUTO(free) char *url = NULL;
	struct err e = { 0 };
	struct ask *a;

	if (tls_ocsp_ask(chain, &url, &request, &e) < 0) {
		en->due_at = INT64_MAX; /* nobody to ask about this one */
		return;
	}
	a = xcalloc(1, sizeof *a);
	*a = (struct ask){ .s = s, .entry = en, .chain = xstrdup(chain) };
	LIST_INSERT_HEAD(&s->asks, a, link);
	s->asking++;
	en->is_asking = true;
	en->asked_at = now_s();
	const struct http_call_opts o = { .method = "POST",
		.url = url,
		.headers = headers,
		.body = request.p,
		.body_n = request.n,
		.body_max = TLS_OCSP_MAX,
		.timeout_ms = CALL_MS,
		.allows = net_guard_allows,
		.allows_arg = s->b->guard };

	a->call = http_call_start(s->b->client, &o, on_answer, a, &e);
	if (a->call == NULL) {
		note_failure(en, &e);
		ask_free(a);
	}
}

/* --- looking --- */

/* Is there a staple that is good for the first half of its life? */
static bool
is_fresh(struct staples *s, struct entry *en, const struct wire_cert *c)
{
	AUTO(free) char *der = NULL;
	struct tls_ocsp o = { 0 };
	struct err none = { 0 };
	int64_t half;
	size_t n = 0;

	if (c->staple == NULL)
		return false;
	der = str_base64_decode(str_of(c->staple), &n);
	if (der == NULL || tls_ocsp_read(c->chain, der, n, &o, &none) < 0) {
		put(s, en->host, c->chain, NULL, false); /* it is over, or of another certificate */
		return false;
	}
	half = o.from_at + (o.until_at - o.from_at) / 2;
	if (half <= now_s())
		return false;
	en->due_at = half;
	return true;
}

static void
look_at(struct staples *s, struct entry *en)
{
	AUTO_FINI(wire_cert_fini) struct wire_cert c = { 0 };
	struct err none = { 0 };

	en->due_at = INT64_MAX;
	if (record_get(s->b->store, store_key_cert(en->host), &wire_cert_codec, &c, NULL, &none) ==
	        0 &&
	    c.not_after > now_s() && !is_fresh(s, en, &c)) {
		if (now_s() - en->asked_at < AGAIN_S)
			en->due_at = en->asked_at + AGAIN_S;
		else
			ask(s, en, c.chain);
	}
}

static void
on_turn(void *arg)
{
	struct staples *s = arg;
	struct entry *en;

	for (int i = 0; i < PER_TURN && s->asking < CALLS_MAX; i++) {
		en = TAILQ_FIRST(&s->queue);
		if (en == NULL)
			return;
		TAILQ_REMOVE(&s->queue, en, link);
		en->is_queued = false;
		look_at(s, en);
	}
	if (s->asking < CALLS_MAX && !TAILQ_EMPTY(&s->queue))
		loop_timer_again(s->turn, TURN_MS);
}

static void
enqueue_due(const char *host, void *value, void *arg)
{
	struct entry *en = value;

	(void)host;
	if (en->due_at <= now_s())
		enqueue(arg, en);
}

static void
on_look(void *arg)
{
	struct staples *s = arg;

	map_each(s->entries, enqueue_due, s);
}

/* --- what there is --- */

/* A challenge has a blank in its name, and no authority. */
static bool
is_ours(const char *host)
{
	return strchr(host, ' ') == NULL;
}

static void
drop(struct staples *s, const char *host)
{
	struct entry *en = map_take(s->entries, host);

	if (en == NULL)
		return;
	if (en->is_queued)
		TAILQ_REMOVE(&s->queue, en, link);
	en->is_queued = false;
	en->is_gone = en->is_asking;
	if (!en->is_gone)
		free(en);
}

static void
take(struct staples *s, const char *host)
{
	struct entry *en = map_get(s->entries, host);
	size_t n = strlen(host) + 1;

	if (!is_ours(host))
		return;
	if (en == NULL) {
		en = xcalloc(1, sizeof *en + n);
		memcpy(en->host, host, n);
		map_set(s->entries, host, en);
	}
	en->tries = 0;
	en->due_at = 0; /* if it is asked about just now, the next look takes it */
	enqueue(s, en);
}

static void
on_event(const struct store_event *ev, void *arg)
{
	struct staples *s = arg;
	const char *host = ev->kv.key + strlen(STORE_PREFIX_CERT);

	if (ev->type == STORE_DELETE)
		drop(s, host);
	else if (ev->type == STORE_PUT)
		take(s, host);
}

static bool
take_key(const struct store_kv *kv, void *arg)
{
	take(arg, kv->key + strlen(STORE_PREFIX_CERT));
	return true;
}

struct staples *
staple_start(struct broker *b)
{
	struct staples *s = xcalloc(1, sizeof *s);

	s->b = b;
	s->entries = map_new(NULL);
	TAILQ_INIT(&s->queue);
	LIST_INIT(&s->asks);
	s->turn = loop_timer_start(b->loop, TURN_MS, false, on_turn, s);
	s->look = loop_timer_start(b->loop, LOOK_MS, true, on_look, s);
	store_range(b->store, STORE_PREFIX_CERT, take_key, s);
	s->watch = store_watch_start(b->store, STORE_PREFIX_CERT, 0, on_event, s);
	return s;
}

static void
drop_visited(const char *host, void *value, void *arg)
{
	(void)value;
	drop(arg, host);
}

void
staple_stop(struct staples *take_s)
{
	struct staples *s = take_s;

	if (s == NULL)
		return;
	while (!LIST_EMPTY(&s->asks))
		ask_free(LIST_FIRST(&s->asks));
	store_watch_cancel(s->watch);
	loop_timer_cancel(s->turn);
	loop_timer_cancel(s->look);
	map_each(s->entries, drop_visited, s);
	map_free(s->entries);
	free(s);
}
