#include "broker/acme.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "broker/acme_rule.h"
#include "broker/acme_run.h"
#include "broker/alias.h"
#include "broker/broker.h"
#include "broker/change.h"
#include "broker/event_log.h"
#include "broker/record.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/http/http_server.h"
#include "lib/http/tls_cert.h"
#include "lib/loop/loop.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_cert.h"

enum {
	RUNS_MAX = 4,
	LOOK_MAX_S = 3600,
	BACKOFF_MAX_S = 12 * 3600,
	DOUBLINGS_MAX = 16,
	WORD_MAX = 4096, /* bytes of a call of the hook */
};

/* A host that gets its certificate so. */
struct entry {
	int64_t due_at;
	bool is_running;
};

struct run {
	LIST_ENTRY(run) link;
	struct acme *a;
	struct acme_run *run; /* owned by itself until on_end */
	char *host;           /* owned */
};

struct acme {
	struct broker *b;  /* borrowed */
	struct map *hosts; /* host → struct entry, owned */
	struct store_watch *watch;
	struct loop_timer *timer;
	LIST_HEAD(, run) runs;
	int running;
	bool has_account;
	bool is_making_account; /* no other begins meanwhile */
};

static int64_t
now_s(void)
{
	return (int64_t)time(NULL);
}

/* --- what goes wrong --- */

struct failure {
	char *host; /* owned */
	struct err e;
};

static int64_t
backoff(const struct broker *b, int64_t tries)
{
	int64_t s = b->conf.acme_retry_s << (tries > DOUBLINGS_MAX ? DOUBLINGS_MAX : tries - 1);
	uint32_t random;

	secret_random(&random, sizeof random);
	if (s > BACKOFF_MAX_S)
		s = BACKOFF_MAX_S;
	return s + random % (s / 4 + 1); /* many that failed together come apart */
}

static int
build_failure(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct failure *f = arg;
	AUTO_FINI(wire_acme_fini) struct wire_acme w = { 0 };
	int64_t rev, wait;

	if (record_get(b->store, store_key_acme(f->host), &wire_acme_codec, &w, &rev, e) < 0)
		return e->code == ERR_NOT_FOUND ? 0 : -1; /* nobody wants one any more */
	wait = backoff(b, ++w.tries);
	w.failed_at = now_s();
	w.due_at = w.failed_at + wait;
	mem_set_str(&w.error, f->e.text);
	event_log_put(t, b->store, w.app_id, NULL, NULL, "failed",
	    "Alias %s got no certificate: %s. It is tried again.", w.host, w.error);
	record_put_cas(t, store_key_acme(f->host), rev, &wire_acme_codec, &w);
	return 0;
}

static void
on_failure_kept(const struct err *e, void *arg)
{
	struct failure *f = arg;

	if (e != NULL)
		log_error("acme_failure_not_kept", LOG_STR("host", f->host), LOG_ERR(e));
	free(f->host);
	free(f);
}

static void
note_failure(struct broker *b, const char *host, const struct err *e)
{
	struct failure *f = xcalloc(1, sizeof *f);

	log_warn("certificate_not_got", LOG_STR("host", host), LOG_ERR(e));
	f->host = xstrdup(host);
	f->e = *e;
	change_start(b, build_failure, on_failure_kept, f);
}

/* --- one by one --- */

static void look(void *arg);

static void
run_free(struct run *r)
{
	struct entry *entry = map_get(r->a->hosts, r->host);

	if (entry != NULL)
		entry->is_running = false;
	LIST_REMOVE(r, link);
	r->a->running--;
	free(r->host);
	free(r);
}

static void
on_account(struct acme_run *run, void *arg)
{
	struct run *r = arg;

	(void)run;
	r->a->has_account = true;
	r->a->is_making_account = false;
	loop_timer_again(r->a->timer, 0);
}

struct certified {
	struct broker *b; /* borrowed */
	char *host;       /* owned */
};

static void
on_certified(const struct err *e, void *arg)
{
	struct certified *c = arg;

	if (e == NULL)
		log_info("certificate_got", LOG_STR("host", c->host));
	else if (e->code != ERR_NOT_FOUND)
		note_failure(c->b, c->host, e);
	free(c->host);
	free(c);
}

static void
certify(struct broker *b, const char *host, const struct tls_cert *cert)
{
	AUTO_FINI(wire_acme_fini) struct wire_acme w = { 0 };
	struct err none = { 0 };
	struct certified *c;

	if (record_get(b->store, store_key_acme(host), &wire_acme_codec, &w, NULL, &none) < 0)
		return;
	c = xcalloc(1, sizeof *c);
	*c = (struct certified){ b, xstrdup(host) };
	alias_change(b, w.app_id,
	    &(struct alias_order){ .word = ALIAS_CERTIFY, .host = host, .cert = cert },
	    on_certified, c);
}

static void
on_end(struct acme_run *run, const struct tls_cert *cert, const struct err *e, void *arg)
{
	struct run *r = arg;
	struct acme *a = r->a;
	struct entry *entry = map_get(a->hosts, r->host);

	(void)run;
	if (a->is_making_account && !a->has_account)
		a->is_making_account = false;
	/* until the watch tells what the store says of it */
	if (entry != NULL)
		entry->due_at = now_s() + BACKOFF_MAX_S;
	if (cert != NULL)
		certify(a->b, r->host, cert);
	else
		note_failure(a->b, r->host, e);
	run_free(r);
	loop_timer_again(a->timer, 0);
}

/* How its owner, or the platform, wants it; NULL: the alias is gone. */
static char *
way_of(const struct acme *a, const char *host)
{
	AUTO_FINI(wire_acme_fini) struct wire_acme w = { 0 };
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	struct err e = { 0 };

	if (record_get(a->b->store, store_key_acme(host), &wire_acme_codec, &w, NULL, &e) < 0 ||
	    record_app_by_id(a->b->store, w.app_id, &app, NULL, &e) < 0 || app.spec.deleted ||
	    alias_find(&app, host) == NULL)
		return NULL;
	return acme_rule_is_way(w.challenge) ? STEAL(w.challenge)
	                                     : xstrdup(a->b->conf.acme_challenge);
}

static void
forget(struct acme *a, const char *host, struct entry *entry)
{
	AUTO(free) char *key = store_key_acme(host);
	struct store_txn *t = store_txn_new();

	entry->due_at = now_s() + BACKOFF_MAX_S; /* until the watch tells that it is gone */
	store_txn_delete(t, key);
	store_txn_submit(a->b->store, t, NULL, NULL);
}

static void
start(struct acme *a, const char *host, struct entry *entry)
{
	AUTO(free) char *way = way_of(a, host);
	struct run *r;

	if (way == NULL) {
		forget(a, host, entry);
		return;
	}
	r = xcalloc(1, sizeof *r);
	*r = (struct run){ .a = a, .host = xstrdup(host) };
	LIST_INSERT_HEAD(&a->runs, r, link);
	a->running++;
	entry->is_running = true;
	a->is_making_account = !a->has_account;
	r->run = acme_run_start(a->b, &(struct acme_run_opts){ .host = host,
	                                  .challenge = way,
	                                  .makes_account = !a->has_account,
	                                  .on_account = on_account,
	                                  .on_end = on_end,
	                                  .arg = r });
}

struct next {
	struct acme *a;
	int64_t now, at;
};

static void
look_at(const char *host, void *value, void *arg)
{
	struct next *n = arg;
	struct entry *entry = value;
	struct acme *a = n->a;

	if (entry->is_running)
		return;
	if (entry->due_at > n->now)
		n->at = entry->due_at < n->at ? entry->due_at : n->at;
	else if (a->running < RUNS_MAX && !a->is_making_account)
		start(a, host, entry);
}

/* Begins what is due, as far as there is room: what ends makes room and looks again. */
static void
look(void *arg)
{
	struct acme *a = arg;
	struct next n = { a, now_s(), now_s() + LOOK_MAX_S };

	map_each(a->hosts, look_at, &n);
	loop_timer_again(a->timer, (n.at - n.now) * 1000);
}

/* --- what there is --- */

static void
take(struct acme *a, const struct wire_acme *w)
{
	struct entry *entry = map_get(a->hosts, w->host);

	if (entry == NULL) {
		entry = xcalloc(1, sizeof *entry);
		map_set(a->hosts, w->host, entry);
	}
	entry->due_at = w->due_at;
}

static bool
take_record(const char *key, int64_t rev, void *rec, void *arg)
{
	(void)key;
	(void)rev;
	take(arg, rec);
	return true;
}

static void
on_event(const struct store_event *ev, void *arg)
{
	struct acme *a = arg;
	AUTO_FINI(wire_acme_fini) struct wire_acme w = { 0 };
	struct err e = { 0 };

	if (ev->type == STORE_DELETE)
		free(map_take(a->hosts, ev->kv.key + strlen(STORE_PREFIX_ACME)));
	else if (ev->type == STORE_PUT &&
	         codec_decode(&wire_acme_codec, ev->kv.val, ev->kv.n, &w, CODEC_KEEP, &e) == 0)
		take(a, &w);
	loop_timer_again(a->timer, 0);
}

/* --- words of the clients --- */

static void
on_body(struct http_req *q, struct str body, const struct err *e, void *arg)
{
	struct broker *b = arg;
	AUTO_FINI(wire_acme_word_fini) struct wire_acme_word w = { 0 };
	const char *auth = http_req_header(q, "Authorization");
	struct err bad = { 0 };
	struct run *r = NULL;

	if (e != NULL)
		return;
	if (b->acme != NULL && auth != NULL && str_has_prefix(auth, "Bearer ")) {
		LIST_FOREACH (r, &b->acme->runs, link)
			if (acme_run_has(r->run, auth + strlen("Bearer ")))
				break;
	}
	if (r == NULL)
		http_req_reply_text(q, 403, "No certificate is being asked for by this token.\n");
	else if (codec_decode(&wire_acme_word_codec, body.p, body.n, &w, 0, &bad) < 0)
		http_req_reply_text(q, 400, "%s: %s\n", bad.field, bad.text);
	else
		acme_run_hear(r->run, &w, q);
}

void
acme_handle(struct broker *b, struct http_req *q)
{
	http_req_read_all(q, WORD_MAX, on_body, b);
}

/* --- life --- */

struct leftovers {
	struct str_list keys;
};

static bool
note_leftover(const struct store_kv *kv, void *arg)
{
	struct leftovers *l = arg;

	str_list_add(&l->keys, kv->key);
	return l->keys.n < STORE_TXN_MAX;
}

/* Challenges of a broker that died meanwhile. */
static void
drop_leftovers(struct broker *b)
{
	static const char *const prefixes[] = { STORE_PREFIX_CHALLENGE,
		STORE_PREFIX_CERT "acme-tls/1 " };
	AUTO_FINI(str_list_fini) struct str_list keys = { 0 };
	struct leftovers l = { { 0 } };
	struct store_txn *t = store_txn_new();

	for (size_t i = 0; i < ARRAY_LEN(prefixes) && l.keys.n < STORE_TXN_MAX; i++)
		store_range(b->store, prefixes[i], note_leftover, &l);
	keys = l.keys;
	for (size_t i = 0; i < keys.n; i++)
		store_txn_delete(t, keys.v[i]);
	store_txn_submit(b->store, t, NULL, NULL);
}

static int
check_conf(const struct broker_conf *c, struct err *e)
{
	if (!acme_rule_is_way(c->acme_challenge))
		return err_set(e, ERR_INVALID, "acme-challenge",
		    "is \"%s\": give http-01 or tls-alpn-01", c->acme_challenge);
	if (!str_has_prefix(c->acme_directory, "https://") &&
	    !str_has_prefix(c->acme_directory, "http://"))
		return err_set(e, ERR_INVALID, "acme-directory",
		    "is \"%s\": give the URL of a directory, https://...", c->acme_directory);
	if (!file_exists(c->acme_program))
		return err_set(e, ERR_NOT_FOUND, "acme-program",
		    "there is no %s: install uacme, or leave acme-directory out", c->acme_program);
	return 0;
}

struct acme *
acme_start(struct broker *b, struct err *e)
{
	AUTO(free) char *dir = file_join(b->conf.data, "acme");
	AUTO(free) char *runs = file_join(dir, "run");
	struct acme *a;

	if (check_conf(&b->conf, e) < 0 || file_remove_tree(runs, e) < 0 ||
	    file_mkdirs(dir, 0700, e) < 0)
		return NULL;
	drop_leftovers(b);
	a = xcalloc(1, sizeof *a);
	a->b = b;
	a->hosts = map_new(free);
	LIST_INIT(&a->runs);
	record_each(b->store, STORE_PREFIX_ACME, &wire_acme_codec, take_record, a);
	a->watch = store_watch_start(b->store, STORE_PREFIX_ACME, 0, on_event, a);
	a->timer = loop_timer_start(b->loop, 0, false, look, a);
	return a;
}

void
acme_stop(struct acme *take_a)
{
	struct acme *a = take_a;

	if (a == NULL)
		return;
	while (!LIST_EMPTY(&a->runs)) {
		struct run *r = LIST_FIRST(&a->runs);

		acme_run_cancel(r->run);
		run_free(r);
	}
	store_watch_cancel(a->watch);
	loop_timer_cancel(a->timer);
	map_free(a->hosts);
	free(a);
}
