#include "broker/tls_keys.h"

#include <string.h>
#include <time.h>

#include "broker/broker.h"
#include "broker/change.h"
#include "broker/record.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/tls_cert.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_cert.h"

enum {
	LOOK_MS = 3600 * 1000,
	NEW_S = 12 * 3600, /* a key makes tickets for so long */
	OLD_S = 36 * 3600, /* and is taken for a day more */
	KEY_BYTES = 80,
	FILE_MAX = 128 * 1024,
};

struct tls_keys {
	struct broker *b; /* borrowed */
	struct loop_timer *timer;
	struct worker_job *job; /* borrowed; NULL: none */
};

static void
log_failure(const struct err *e, void *arg)
{
	if (e != NULL)
		log_error("tls_keys_failed", LOG_STR("of", arg), LOG_ERR(e));
}

/* --- tickets --- */

static int
build_tickets(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	AUTO_FINI(wire_tickets_fini) struct wire_tickets old = { 0 };
	AUTO_FINI(wire_tickets_fini) struct wire_tickets next = { 0 };
	int64_t now = (int64_t)time(NULL), rev = 0;
	unsigned char fresh[KEY_BYTES];
	struct wire_ticket_key *k;
	struct err none = { 0 };

	(void)arg;
	(void)e;
	(void)!record_get(b->store, store_key_tickets(), &wire_tickets_codec, &old, &rev, &none);
	if (old.keys.n > 0 && now - old.keys.v[0].made_at < NEW_S)
		return 0;
	secret_random(fresh, sizeof fresh);
	k = codec_list_add(&wire_ticket_key_codec, &next.keys);
	k->key = str_base64(fresh, sizeof fresh);
	k->made_at = now;
	secret_wipe(fresh, sizeof fresh);
	for (size_t i = 0; i < old.keys.n && next.keys.n < WIRE_TICKET_KEYS_MAX; i++) {
		if (now - old.keys.v[i].made_at < OLD_S)
			codec_copy(&wire_ticket_key_codec,
			    codec_list_add(&wire_ticket_key_codec, &next.keys), &old.keys.v[i]);
	}
	record_put_cas(t, store_key_tickets(), rev, &wire_tickets_codec, &next);
	return 0;
}

/* --- the certificate of the applications' domain --- */

struct work {
	struct tls_keys *k; /* borrowed; detached when that goes */
	char *path;         /* owned or NULL: one is made */
	char *host;         /* owned: "*.domain" */
	struct tls_cert cert;
	bool is_good;
	struct err e;
};

static void
work_free(void *p)
{
	struct work *w = p;

	free(w->path);
	free(w->host);
	tls_cert_fini(&w->cert);
	free(w);
}

static void
run_cert(void *p)
{
	struct work *w = p;
	AUTO_FINI(buf_fini) struct buf pem = { 0 };
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };

	if (w->path == NULL) {
		str_list_add(&names, w->host);
		str_list_add(&names, w->host + 2);
		w->is_good = tls_cert_make(&names, &w->cert, &w->e) == 0;
		return;
	}
	w->is_good = file_read(w->path, FILE_MAX, &pem, &w->e) == 0 &&
	             tls_cert_read_own(pem.p == NULL ? "" : pem.p, &w->cert, &w->e) == 0;
	secret_wipe(pem.p, pem.n);
}

struct put {
	struct wire_cert cert;
};

static int
build_cert(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct put *p = arg;
	AUTO_FINI(wire_cert_fini) struct wire_cert old = { 0 };
	int64_t rev = 0;
	struct err none = { 0 };

	(void)e;
	if (record_get(
	        b->store, store_key_cert(p->cert.host), &wire_cert_codec, &old, &rev, &none) == 0 &&
	    str_same(old.chain, p->cert.chain) && str_same(old.key, p->cert.key))
		return 0;
	record_put_cas(t, store_key_cert(p->cert.host), rev, &wire_cert_codec, &p->cert);
	return 0;
}

static void
cert_put(const struct err *e, void *arg)
{
	struct put *p = arg;

	log_failure(e, (void *)(uintptr_t) "app-cert");
	wire_cert_fini(&p->cert);
	free(p);
}

static void
done_cert(void *arg)
{
	struct work *w = arg;
	struct put *p;

	w->k->job = NULL;
	if (!w->is_good) {
		log_error("app_cert_unusable", LOG_STR("path", w->path), LOG_ERR(&w->e));
		work_free(w);
		return;
	}
	p = xcalloc(1, sizeof *p);
	p->cert = (struct wire_cert){ .host = STEAL(w->host),
		.chain = STEAL(w->cert.chain),
		.key = STEAL(w->cert.key),
		.source = xstrdup(w->path == NULL ? "self" : "admin"),
		.added_at = (int64_t)time(NULL),
		.not_before = w->cert.not_before,
		.not_after = w->cert.not_after };
	change_start(w->k->b, build_cert, cert_put, p);
	work_free(w);
}

static void
look_at_cert(struct tls_keys *k)
{
	const char *path = k->b->conf.app_cert;
	AUTO(free) char *host = xasprintf("*.%s", k->b->conf.app_domain);
	AUTO(free) char *key = store_key_cert(host);
	bool is_made = path == NULL || *path == '\0';
	struct store_kv kv;
	struct work *w;

	if (k->job != NULL || (is_made && store_get(k->b->store, key, &kv)))
		return;
	w = xcalloc(1, sizeof *w);
	*w = (struct work){ .k = k, .path = is_made ? NULL : xstrdup(path), .host = STEAL(host) };
	k->job = worker_submit(k->b->worker, run_cert, done_cert, work_free, w);
}

static void
look(void *arg)
{
	struct tls_keys *k = arg;

	change_start(k->b, build_tickets, log_failure, (void *)(uintptr_t) "tickets");
	look_at_cert(k);
}

struct tls_keys *
tls_keys_start(struct broker *b)
{
	struct tls_keys *k = xcalloc(1, sizeof *k);

	k->b = b;
	k->timer = loop_timer_start(b->loop, LOOK_MS, true, look, k);
	look(k);
	return k;
}

void
tls_keys_stop(struct tls_keys *take_k)
{
	if (take_k == NULL)
		return;
	loop_timer_cancel(take_k->timer);
	worker_detach(take_k->job);
	free(take_k);
}
