#include "router/cert_table.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "router/tls_ctx.h"

enum { TICKET_NAME = 16 };

/* The certificates behind a server's own: few, and the same of many hosts. */
struct chain_rest {
	unsigned refs;
	char *text; /* owned; the key in the map */
};

struct cert {
	TAILQ_ENTRY(cert) ready_link; /* the longest unused last */
	TAILQ_ENTRY(cert) link;       /* in the order of their coming */
	struct chain_rest *rest;      /* one reference */
	struct ssl_ctx_st *ready;     /* owned; NULL: not asked for, or thrown out */
	char *staple, *app_id;        /* owned or NULL */
	int64_t not_after;
	uint64_t change; /* no two texts have the same */
	bool is_swept;   /* was not put since begin_sweep */
	bool is_fixed;   /* of a file: never swept */
	bool is_bad;     /* cannot be made ready */
	char *leaf;      /* owned: PEM of the certificate */
	char *key;       /* owned: PEM; wiped */
	char host[];
};

struct cert_table {
	pthread_mutex_t lock; /* guards all below */
	cert_make_fn *make;
	void *arg;
	struct map *certs; /* host → struct cert, owned */
	struct map *rests; /* text → struct chain_rest, counted */
	TAILQ_HEAD(cert_ready_list, cert) ready;
	size_t ready_n;
	TAILQ_HEAD(cert_list, cert) all; /* the control thread's, as the next */
	struct cert *walk;               /* the next one of a walk; NULL: none */
	uint64_t changes;
	struct wire_tickets tickets;
	unsigned char keys[WIRE_TICKET_KEYS_MAX][CERT_TICKET_KEY]; /* of tickets, decoded */
};

/* --- entries --- */

static struct chain_rest *
rest_get(struct cert_table *t, const char *text)
{
	struct chain_rest *r = map_get(t->rests, text);

	if (r == NULL) {
		r = xcalloc(1, sizeof *r);
		r->text = xstrdup(text);
		map_set(t->rests, text, r);
	}
	r->refs++;
	return r;
}

static void
rest_drop(struct cert_table *t, struct chain_rest *r)
{
	if (--r->refs > 0)
		return;
	(void)map_take(t->rests, r->text);
	free(r->text);
	free(r);
}

static void
unready(struct cert_table *t, struct cert *c)
{
	if (c->ready == NULL)
		return;
	TAILQ_REMOVE(&t->ready, c, ready_link);
	t->ready_n--;
	tls_ctx_drop(STEAL(c->ready));
}

static void
cert_free(struct cert_table *t, struct cert *c)
{
	if (t->walk == c)
		t->walk = TAILQ_NEXT(c, link);
	TAILQ_REMOVE(&t->all, c, link);
	unready(t, c);
	rest_drop(t, c->rest);
	free(c->leaf);
	secret_free(c->key);
	free(c->staple);
	free(c->app_id);
	free(c);
}

/* Length of the first certificate in the chain, 0: there is none. */
static size_t
leaf_length(const char *chain)
{
	static const char end[] = "-----END CERTIFICATE-----";
	const char *at = strstr(chain, end);

	if (at == NULL)
		return 0;
	at += sizeof end - 1;
	return (size_t)(at - chain) + (*at == '\n' ? 1 : 0);
}

static struct cert *
cert_new(struct cert_table *t, const struct wire_cert *w, size_t leaf_n)
{
	size_t host_n = strlen(w->host) + 1;
	struct cert *c = xcalloc(1, sizeof *c + host_n);

	c->leaf = xstrndup(w->chain, leaf_n);
	c->rest = rest_get(t, w->chain + leaf_n);
	c->key = xstrdup(w->key);
	c->staple = xstrdup_null(w->staple);
	c->app_id = xstrdup_null(w->app_id);
	c->not_after = w->not_after;
	c->change = ++t->changes;
	c->is_fixed = str_same(w->source, "file");
	memcpy(c->host, w->host, host_n);
	return c;
}

static bool
is_same(const struct cert *c, const struct wire_cert *w, size_t leaf_n)
{
	return strlen(c->leaf) == leaf_n && memcmp(c->leaf, w->chain, leaf_n) == 0 &&
	       strcmp(c->rest->text, w->chain + leaf_n) == 0 && strcmp(c->key, w->key) == 0 &&
	       str_same(c->staple, w->staple);
}

/* --- changes --- */

int
cert_table_put(struct cert_table *t, const struct wire_cert *w, struct err *e)
{
	size_t leaf_n = leaf_length(w->chain);
	struct cert *old;

	if (leaf_n == 0)
		return err_set(e, ERR_INVALID, "chain", "holds no certificate in PEM");
	pthread_mutex_lock(&t->lock);
	old = map_get(t->certs, w->host);
	if (old != NULL && is_same(old, w, leaf_n)) {
		old->is_swept = false;
	} else {
		struct cert *c = cert_new(t, w, leaf_n);

		if (old != NULL)
			cert_free(t, map_take(t->certs, w->host));
		map_set(t->certs, w->host, c);
		TAILQ_INSERT_TAIL(&t->all, c, link);
	}
	pthread_mutex_unlock(&t->lock);
	return 0;
}

bool
cert_table_delete(struct cert_table *t, const char *host)
{
	struct cert *c;

	pthread_mutex_lock(&t->lock);
	c = map_take(t->certs, host);
	if (c != NULL)
		cert_free(t, c);
	pthread_mutex_unlock(&t->lock);
	return c != NULL;
}

size_t
cert_table_count(struct cert_table *t)
{
	size_t n;

	pthread_mutex_lock(&t->lock);
	n = map_count(t->certs);
	pthread_mutex_unlock(&t->lock);
	return n;
}

static void
mark(const char *host, void *value, void *arg)
{
	struct cert *c = value;

	(void)host;
	(void)arg;
	c->is_swept = !c->is_fixed;
}

void
cert_table_begin_sweep(struct cert_table *t)
{
	pthread_mutex_lock(&t->lock);
	map_each(t->certs, mark, NULL);
	pthread_mutex_unlock(&t->lock);
}

static void
sweep(const char *host, void *value, void *arg)
{
	struct cert_table *t = arg;
	struct cert *c = value;

	if (c->is_swept)
		cert_free(t, map_take(t->certs, host));
}

void
cert_table_sweep(struct cert_table *t)
{
	pthread_mutex_lock(&t->lock);
	map_each(t->certs, sweep, t);
	pthread_mutex_unlock(&t->lock);
}

static void
visit(const struct cert *c, cert_visit_fn *fn, void *arg)
{
	AUTO(free) char *chain = xasprintf("%s%s", c->leaf, c->rest->text);
	const struct wire_cert w = { .host = (char *)(uintptr_t)c->host,
		.app_id = c->app_id,
		.chain = chain,
		.key = c->key,
		.not_after = c->not_after,
		.staple = c->staple };

	fn(&w, arg);
}

void
cert_table_begin_walk(struct cert_table *t)
{
	t->walk = TAILQ_FIRST(&t->all);
}

bool
cert_table_walk(struct cert_table *t, int n, cert_visit_fn *fn, void *arg)
{
	for (; n > 0 && t->walk != NULL; n--) {
		const struct cert *c = t->walk;

		t->walk = TAILQ_NEXT(c, link);
		if (!c->is_fixed)
			visit(c, fn, arg);
	}
	return t->walk != NULL;
}

/* --- handshakes --- */

/* Of a look-up under the lock: what is ready, or the texts to make it of. */
struct found {
	struct ssl_ctx_st *ready; /* a reference */
	char *chain, *key, *staple, *host;
	uint64_t change;
};

static void
found_fini(struct found *f)
{
	free(f->chain);
	secret_free(f->key);
	free(f->staple);
	free(f->host);
}

static struct cert *
look_up(const struct cert_table *t, const char *host)
{
	struct cert *c = map_get(t->certs, host);
	const char *rest = strchr(host, '.');
	char star[260];

	/* what has a space is the certificate of a challenge: of that host alone */
	if (c != NULL || rest == NULL || strchr(host, ' ') != NULL ||
	    strlen(rest) + 2 > sizeof star)
		return c;
	star[0] = '*';
	memcpy(star + 1, rest, strlen(rest) + 1);
	return map_get(t->certs, star);
}

/* false: there is none. */
static bool
find(struct cert_table *t, const char *host, struct found *out)
{
	struct cert *c;

	pthread_mutex_lock(&t->lock);
	c = look_up(t, host);
	if (c != NULL && c->is_bad)
		c = NULL;
	if (c != NULL && c->ready != NULL) {
		out->ready = tls_ctx_keep(c->ready);
		if (c != TAILQ_FIRST(&t->ready)) {
			TAILQ_REMOVE(&t->ready, c, ready_link);
			TAILQ_INSERT_HEAD(&t->ready, c, ready_link);
		}
	} else if (c != NULL) {
		out->chain = xasprintf("%s%s", c->leaf, c->rest->text);
		out->key = xstrdup(c->key);
		out->staple = xstrdup_null(c->staple);
		out->host = xstrdup(c->host);
		out->change = c->change;
	}
	pthread_mutex_unlock(&t->lock);
	return c != NULL;
}

/* For the next ones, unless the certificate is another by now. */
static void
remember(struct cert_table *t, const struct found *f, struct ssl_ctx_st *made)
{
	struct cert *c;

	pthread_mutex_lock(&t->lock);
	c = map_get(t->certs, f->host);
	if (c != NULL && c->change == f->change && c->ready == NULL) {
		c->is_bad = made == NULL;
		if (made != NULL) {
			c->ready = tls_ctx_keep(made);
			TAILQ_INSERT_HEAD(&t->ready, c, ready_link);
			t->ready_n++;
		}
		if (t->ready_n > CERT_READY_MAX)
			unready(t, TAILQ_LAST(&t->ready, cert_ready_list));
	}
	pthread_mutex_unlock(&t->lock);
}

struct ssl_ctx_st *
cert_table_find(struct cert_table *t, const char *host)
{
	AUTO_FINI(found_fini) struct found f = { 0 };
	struct ssl_ctx_st *made;

	if (!find(t, host, &f))
		return NULL;
	if (f.ready != NULL)
		return f.ready;
	made = t->make(f.host, f.chain, f.key, f.staple, t->arg);
	remember(t, &f, made);
	if (made == NULL)
		log_error("certificate_unusable", LOG_STR("host", f.host));
	return made;
}

/* --- tickets --- */

int
cert_table_set_tickets(struct cert_table *t, const struct wire_tickets *keys, struct err *e)
{
	unsigned char plain[WIRE_TICKET_KEYS_MAX][CERT_TICKET_KEY];

	for (size_t i = 0; i < keys->keys.n; i++) {
		size_t n = 0;
		unsigned char *p = str_base64_decode(str_of(keys->keys.v[i].key), &n);

		if (p == NULL || n != CERT_TICKET_KEY) {
			free(p);
			return err_set(e, ERR_INVALID, "keys", "a ticket key has 80 bytes, base64");
		}
		memcpy(plain[i], p, n);
		secret_wipe(p, n);
		free(p);
	}
	pthread_mutex_lock(&t->lock);
	wire_tickets_fini(&t->tickets);
	codec_copy(&wire_tickets_codec, &t->tickets, keys);
	memcpy(t->keys, plain, sizeof plain);
	pthread_mutex_unlock(&t->lock);
	secret_wipe(plain, sizeof plain);
	return 0;
}

void
cert_table_tickets(const struct cert_table *t, struct wire_tickets *out)
{
	codec_copy(&wire_tickets_codec, out, &t->tickets);
}

void
cert_table_rotate(struct cert_table *t)
{
	AUTO_FINI(wire_tickets_fini) struct wire_tickets next = { 0 };
	struct wire_ticket_key *k = codec_list_add(&wire_ticket_key_codec, &next.keys);
	unsigned char fresh[CERT_TICKET_KEY];
	struct err e = { 0 };

	secret_random(fresh, sizeof fresh);
	k->key = str_base64(fresh, sizeof fresh);
	k->made_at = (int64_t)time(NULL);
	for (size_t i = 0; i < t->tickets.keys.n && i + 1 < WIRE_TICKET_KEYS_MAX; i++)
		codec_copy(&wire_ticket_key_codec,
		    codec_list_add(&wire_ticket_key_codec, &next.keys), &t->tickets.keys.v[i]);
	if (cert_table_set_tickets(t, &next, &e) < 0)
		log_error("tickets_not_made", LOG_ERR(&e));
	secret_wipe(fresh, sizeof fresh);
}

int
cert_table_ticket(
    struct cert_table *t, const unsigned char *name, unsigned char out[CERT_TICKET_KEY])
{
	int which = 0;

	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < t->tickets.keys.n && which == 0; i++) {
		if (name != NULL && memcmp(t->keys[i], name, TICKET_NAME) != 0)
			continue;
		memcpy(out, t->keys[i], CERT_TICKET_KEY);
		which = i == 0 ? 1 : 2;
	}
	pthread_mutex_unlock(&t->lock);
	return which;
}

/* --- life --- */

static void
clear(const char *host, void *value, void *arg)
{
	(void)host;
	cert_free(arg, value);
}

struct cert_table *
cert_table_new(cert_make_fn *make, void *arg)
{
	struct cert_table *t = xcalloc(1, sizeof *t);

	pthread_mutex_init(&t->lock, NULL);
	t->make = make;
	t->arg = arg;
	t->certs = map_new(NULL);
	t->rests = map_new(NULL);
	TAILQ_INIT(&t->ready);
	TAILQ_INIT(&t->all);
	return t;
}

void
cert_table_free(struct cert_table *take_t)
{
	struct cert_table *t = take_t;

	if (t == NULL)
		return;
	map_each(t->certs, clear, t);
	map_free(t->certs);
	map_free(t->rests);
	wire_tickets_fini(&t->tickets);
	secret_wipe(t->keys, sizeof t->keys);
	pthread_mutex_destroy(&t->lock);
	free(t);
}
