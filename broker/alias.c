#include "broker/alias.h"

#include <string.h>
#include <time.h>

#include "broker/acme_rule.h"
#include "broker/app.h"
#include "broker/broker.h"
#include "broker/change.h"
#include "broker/event_log.h"
#include "broker/record.h"
#include "broker/route_record.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/http/tls_cert.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_acme.h"
#include "lib/wire/wire_cert.h"

enum { HOST_MAX = 255, LABEL_MAX = 63 };

/* --- names --- */

/* [a-z0-9-]{1,63}, at least two, dots between; no hyphen at an end; the last one is no number. */
static bool
is_host(const char *s)
{
	size_t labels = 0;
	bool is_number = true;

	for (;; s++) {
		size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");

		if (n == 0 || n > LABEL_MAX || s[0] == '-' || s[n - 1] == '-')
			return false;
		is_number = strspn(s, "0123456789") == n;
		labels++;
		s += n;
		if (*s == '\0')
			return labels > 1 && !is_number;
		if (*s != '.')
			return false;
	}
}

/* v2's clients cut these off a path. */
static bool
has_format(const char *s)
{
	static const char *const ends[] = { ".json", ".xml", ".yml", ".yaml", ".html", ".xhtml" };

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		if (str_has_suffix(s, ends[i]))
			return true;
	}
	return false;
}

static bool
is_below(const char *host, const char *domain)
{
	size_t n = strlen(host), d = strlen(domain);

	return n >= d && strcmp(host + n - d, domain) == 0 && (n == d || host[n - d - 1] == '.');
}

/* Names as applications have them, application-domain, and all of them at once are not for aliases.
 */
static bool
is_taken_form(const struct broker *b, const char *host)
{
	size_t first = strcspn(host, ".");

	if (host[0] == '*' || host[first] == '\0' || strcmp(host, b->conf.app_domain) == 0)
		return true;
	return strcmp(host + first + 1, b->conf.app_domain) == 0 &&
	       memchr(host, '-', first) != NULL;
}

char *
alias_name(const struct broker *b, const char *name, struct err *e)
{
	AUTO(free) char *host = xstrdup(name);
	size_t n = strlen(host);
	const char *rest;

	str_lower(host);
	if (n > 0 && host[n - 1] == '.')
		host[n - 1] = '\0';
	rest = str_has_prefix(host, "*.") ? host + 2 : host;
	if (n == 0 || n > HOST_MAX || !is_host(rest) || has_format(rest)) {
		(void)err_set(e, ERR_INVALID, "id",
		    "Invalid alias '%.80s'. Give a host name such as www.example.com, or "
		    "*.example.com.",
		    name);
		return NULL;
	}
	if (is_below(rest, b->conf.app_domain) &&
	    (!b->conf.allow_alias_in_domain || is_taken_form(b, host))) {
		(void)err_set(e, ERR_INVALID, "id",
		    "Invalid alias '%.80s': names below %s belong to the platform. Give one of "
		    "your own domain.",
		    name, b->conf.app_domain);
		return NULL;
	}
	return STEAL(host);
}

const struct wire_alias *
alias_find(const struct wire_app *a, const char *host)
{
	for (size_t i = 0; i < a->aliases.n; i++) {
		if (strcmp(a->aliases.v[i].host, host) == 0)
			return &a->aliases.v[i];
	}
	return NULL;
}

/* --- changes --- */

struct op {
	struct broker *b; /* borrowed */
	char *app_id;     /* owned, as host */
	char *host;
	char *acme; /* NULL: not wished */
	enum alias_word word;
	bool has_cert;
	struct wire_cert cert;
	alias_done_fn *done;
	void *arg; /* borrowed, handed back */
};

static void
op_done(const struct err *e, void *arg)
{
	struct op *op = arg;

	op->done(e, op->arg);
	wire_cert_fini(&op->cert);
	free(op->app_id);
	free(op->host);
	free(op->acme);
	free(op);
}

static struct wire_alias *
own_alias(struct wire_app *a, const char *host)
{
	return (struct wire_alias *)(uintptr_t)alias_find(a, host);
}

static int
add(const struct op *op, struct store_txn *t, struct wire_app *a, struct err *e)
{
	AUTO(free) char *key = store_key_route(op->host);
	struct store_kv kv;

	if (alias_find(a, op->host) != NULL || store_get(op->b->store, key, &kv))
		return err_set(e, ERR_CONFLICT, "id",
		    "Alias '%s' is already registered. Remove it where it is, or choose another.",
		    op->host);
	if (a->aliases.n >= WIRE_ALIASES_MAX)
		return err_set(e, ERR_LIMIT, "id",
		    "An application can have %d aliases at most. Remove one first.",
		    WIRE_ALIASES_MAX);
	((struct wire_alias *)codec_list_add(&wire_alias_codec, &a->aliases))->host =
	    xstrdup(op->host);
	event_log_put(t, op->b->store, a->id, NULL, NULL, "added", "Alias %s was added.", op->host);
	return route_record_add(op->b, t, a, op->host, e);
}

static void
put_cert(const struct op *op, struct store_txn *t, struct wire_alias *al)
{
	AUTO(free) char *key = store_key_cert(op->host);
	AUTO(free) char *json = NULL;
	struct store_kv kv;

	al->cert_at = op->has_cert ? op->cert.added_at : 0;
	if (op->has_cert) {
		json = codec_to_json(&wire_cert_codec, &op->cert);
		store_txn_put(t, key, json, strlen(json));
		secret_wipe(json, strlen(json));
	} else if (store_get(op->b->store, key, &kv)) {
		store_txn_delete(t, key);
	}
}

/* What is left undone of it is forgotten: the next try is at due. */
static void
put_acme(const struct op *op, struct store_txn *t, const char *challenge, int64_t due)
{
	record_put(t, store_key_acme(op->host), &wire_acme_codec,
	    &(struct wire_acme){ .host = op->host,
	        .app_id = op->app_id,
	        .challenge = (char *)(uintptr_t)challenge,
	        .due_at = due });
}

static void
drop_acme(const struct op *op, struct store_txn *t)
{
	AUTO(free) char *key = store_key_acme(op->host);
	struct store_kv kv;

	if (store_get(op->b->store, key, &kv))
		store_txn_delete(t, key);
}

/* The owner's word about the certificate. */
static void
set_cert(const struct op *op, struct store_txn *t, struct wire_alias *al)
{
	if (op->acme == NULL) {
		put_cert(op, t, al);
		drop_acme(op, t);
	} else {
		put_acme(op, t, op->acme, 0);
	}
}

/* Renewed once two thirds of its life are over; unless the owner changed their mind meanwhile. */
static int
certify(const struct op *op, struct store_txn *t, const struct wire_app *a, struct wire_alias *al,
    struct err *e)
{
	AUTO_FINI(wire_acme_fini) struct wire_acme w = { 0 };

	if (record_get(op->b->store, store_key_acme(op->host), &wire_acme_codec, &w, NULL, e) < 0)
		return -1;
	put_cert(op, t, al);
	put_acme(op, t, w.challenge, acme_rule_renewal(op->cert.not_before, op->cert.not_after));
	event_log_put(t, op->b->store, a->id, NULL, NULL, "certified",
	    "Alias %s has a new certificate.", op->host);
	return 0;
}

static void
remove_alias(const struct op *op, struct store_txn *t, struct wire_app *a, struct wire_alias *al)
{
	size_t left = (size_t)(a->aliases.v + a->aliases.n - al) - 1;

	put_cert(op, t, al);
	drop_acme(op, t);
	route_record_remove(op->b, t, op->host);
	wire_alias_fini(al);
	memmove(al, al + 1, left * sizeof *al);
	a->aliases.n--;
	event_log_put(
	    t, op->b->store, a->id, NULL, NULL, "removed", "Alias %s was removed.", op->host);
}

static int
build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct op *op = arg;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct wire_alias *al;
	int64_t rev;

	if (record_app_by_id(b->store, op->app_id, &a, &rev, e) < 0)
		return -1;
	if (a.spec.deleted)
		return err_set(
		    e, ERR_NOT_FOUND, "application", "Application '%s' not found.", a.name);
	if (op->word == ALIAS_ADD && add(op, t, &a, e) < 0)
		return -1;
	al = own_alias(&a, op->host);
	if (al == NULL)
		return err_set(e, ERR_NOT_FOUND, NULL, "Alias '%s' not found in application '%s'.",
		    op->host, a.name);
	if (op->word == ALIAS_CERTIFY && certify(op, t, &a, al, e) < 0)
		return -1;
	if (op->word == ALIAS_REMOVE)
		remove_alias(op, t, &a, al);
	else if (op->word != ALIAS_CERTIFY)
		set_cert(op, t, al);
	record_put_cas(t, store_key_app(a.domain, a.name), rev, &wire_app_codec, &a);
	return 0;
}

void
alias_change(struct broker *b, const char *app_id, const struct alias_order *order,
    alias_done_fn *done, void *arg)
{
	struct op *op = xcalloc(1, sizeof *op);

	*op = (struct op){ .b = b,
		.app_id = xstrdup(app_id),
		.host = xstrdup(order->host),
		.acme = xstrdup_null(order->acme),
		.word = order->word,
		.has_cert = order->cert != NULL,
		.done = done,
		.arg = arg };
	if (order->cert != NULL)
		op->cert = (struct wire_cert){ .host = xstrdup(order->host),
			.app_id = xstrdup(app_id),
			.chain = xstrdup(order->cert->chain),
			.key = xstrdup(order->cert->key),
			.source = xstrdup(order->word == ALIAS_CERTIFY ? "acme" : "user"),
			.added_at = (int64_t)time(NULL),
			.not_before = order->cert->not_before,
			.not_after = order->cert->not_after };
	change_start(b, build, op_done, op);
}

void
alias_put_none(const struct broker *b, struct store_txn *t, const struct wire_app *a)
{
	for (size_t i = 0; i < a->aliases.n; i++) {
		AUTO(free) char *key = store_key_cert(a->aliases.v[i].host);
		struct store_kv kv;

		route_record_remove(b, t, a->aliases.v[i].host);
		if (store_get(b->store, key, &kv))
			store_txn_delete(t, key);
	}
}
