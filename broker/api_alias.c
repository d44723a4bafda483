/* Aliases of an application, and their certificates. */
#include "broker/api_alias.h"

#include <string.h>

#include "broker/acme_rule.h"
#include "broker/alias.h"
#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/api_view.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/tls_cert.h"
#include "lib/loop/worker.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_acme.h"
#include "lib/wire/wire_cert.h"

enum {
	NAME_MAX_IN = 512,
	DAY_S = 86400,
	EXIT_NAME = 105,
	EXIT_EVENT = 126,
	EXIT_TAKEN = 140,
	EXIT_KEY = 172,
	EXIT_ALIAS = 173,
	EXIT_CERT = 174,
	EXIT_NO_CERTS = 175,
};

const struct api_link_param api_alias_cert_params[] = {
	{ "ssl_certificate", "string", "Content of SSL Certificate", NULL, NULL },
	{ "private_key", "string",
	    "Private key for the certificate. Required if adding a "
	    "certificate",
	    NULL, NULL },
	{ "pass_phrase", "string", "Optional passphrase for the private key", NULL, NULL },
	{ "acme", "string",
	    "How the platform gets the certificate itself: any, http-01, tls-alpn-01; or none",
	    NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static const struct api_link alias_links[] = {
	{ "GET", "Get alias", "GET", "", NULL, NULL, 0, 0 },
	{ "UPDATE", "Update alias", "PUT", "", NULL, api_alias_cert_params, 0, 0 },
	{ "DELETE", "Delete alias", "DELETE", "", NULL, NULL, 0, 0 },
	{ NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

/* --- as they are shown --- */

static void
str_or_null(struct api_json *j, const char *key, const char *value)
{
	if (value != NULL)
		api_json_str(j, key, value);
	else
		api_json_null(j, key);
}

static void
time_or_null(struct api_json *j, const char *key, int64_t at)
{
	if (at != 0)
		api_json_time(j, key, at);
	else
		api_json_null(j, key);
}

/* Beside what v2 has: until when it is good, and what the platform does for it. */
static void
write_cert(const struct api_call *c, struct api_json *j, const struct wire_app *a,
    const struct wire_alias *al)
{
	AUTO_FINI(wire_cert_fini) struct wire_cert cert = { 0 };
	AUTO_FINI(wire_acme_fini) struct wire_acme w = { 0 };
	struct err none = { 0 };
	bool by_acme;

	if (al->cert_at != 0)
		(void)!record_get(
		    c->b->store, store_key_cert(al->host), &wire_cert_codec, &cert, NULL, &none);
	by_acme = record_get(c->b->store, store_key_acme(al->host), &wire_acme_codec, &w, NULL,
	              &none) == 0 &&
	          str_same(w.app_id, a->id);
	time_or_null(j, "certificate_expires_at", cert.not_after);
	str_or_null(j, "acme", by_acme ? w.challenge : NULL);
	str_or_null(j, "acme_status",
	    !by_acme           ? NULL
	    : w.error != NULL  ? "failed"
	    : al->cert_at == 0 ? "pending"
	                       : "certified");
	str_or_null(j, "acme_error", by_acme ? w.error : NULL);
	time_or_null(j, "acme_next_at", by_acme && w.due_at != 0 ? w.due_at : 0);
}

static void
write_alias(const struct api_call *c, struct api_json *j, const char *key, const struct wire_app *a,
    const struct wire_alias *al)
{
	AUTO(free) char *base = api_view_app_base(c, a);
	AUTO(free) char *own = xasprintf("%s/alias/%s", base, al->host);

	api_json_obj(j, key);
	api_json_str(j, "id", al->host);
	api_json_bool(j, "has_private_ssl_certificate", al->cert_at != 0);
	if (al->cert_at != 0)
		api_json_time(j, "certificate_added_at", al->cert_at - al->cert_at % DAY_S);
	else
		api_json_null(j, "certificate_added_at");
	write_cert(c, j, a, al);
	api_link_write(c, j, alias_links, own);
	api_json_end_obj(j);
}

void
api_alias_write_all(
    const struct api_call *c, struct api_json *j, const char *key, const struct wire_app *a)
{
	api_json_arr(j, key);
	for (size_t i = 0; i < a->aliases.n; i++) {
		if (c->minor >= 4)
			write_alias(c, j, NULL, a, &a->aliases.v[i]);
		else
			api_json_str(j, NULL, a->aliases.v[i].host);
	}
	api_json_end_arr(j);
}

void
api_alias_list(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };

	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	api_json_arr(api_data(c, "aliases"), NULL);
	for (size_t i = 0; i < a.aliases.n; i++)
		write_alias(c, &c->json, NULL, &a, &a.aliases.v[i]);
	api_json_end_arr(&c->json);
	api_send(c, 200);
}

/* The one that the path names; NULL: the call has ended. */
static const struct wire_alias *
of_path(struct api_call *c, const struct wire_app *a)
{
	const char *name = api_param_of_path(c->params, "alias");
	AUTO(free) char *host = xstrdup(name);
	const struct wire_alias *al;

	str_lower(host);
	al = alias_find(a, host);
	if (al == NULL)
		api_fail(c, 404, EXIT_ALIAS, NULL, "Alias '%.80s' not found in application '%s'.",
		    name, a->name);
	return al;
}

void
api_alias_show(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	const struct wire_alias *al;

	if (!api_load_app(c, ACCESS_VIEW, &a) || (al = of_path(c, &a)) == NULL)
		return;
	write_alias(c, api_data(c, "alias"), NULL, &a, al);
	api_send(c, 200);
}

/* --- changes --- */

struct work {
	struct api_call *c; /* borrowed */
	char *app_id;       /* owned, as all strings */
	char *host;
	enum alias_word word;
	bool is_event; /* the application is the answer */
	/* the certificate as it was given, and as it is */
	char *chain, *key, *pass; /* NULL: none */
	char *acme;               /* how the platform gets it; NULL: not */
	struct tls_cert cert;
	struct err e;
	bool is_read;
};

struct wait {
	struct worker_job *job; /* borrowed; NULL: not on a worker */
	struct work *work;      /* owned then by the worker */
};

static void
work_free(void *p)
{
	struct work *w = p;

	free(w->app_id);
	free(w->host);
	free(w->chain);
	secret_free(w->key);
	secret_free(w->pass);
	free(w->acme);
	tls_cert_fini(&w->cert);
	free(w);
}

static void
wait_free(void *p)
{
	struct wait *x = p;

	if (x->job != NULL)
		worker_detach(x->job);
	else
		work_free(x->work);
	free(x);
}

static void
send_alias(struct api_call *c, const struct work *w)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	const struct wire_alias *al;

	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	al = alias_find(&a, w->host);
	if (al == NULL) {
		api_fail(c, 404, EXIT_ALIAS, NULL, "Alias '%s' is gone again.", w->host);
		return;
	}
	write_alias(c, api_data(c, "alias"), NULL, &a, al);
	api_message(c, "result", 0, NULL, "Alias %s leads to application %s%s.", w->host, a.name,
	    al->cert_at != 0 ? ", with its certificate" : "");
	api_send(c, w->word == ALIAS_ADD ? 201 : 200);
}

static void
on_changed(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct work *w = ((struct wait *)c->state)->work;

	if (e != NULL) {
		api_fail_err(c, e,
		    e->code == ERR_CONFLICT    ? EXIT_TAKEN
		    : e->code == ERR_NOT_FOUND ? EXIT_ALIAS
		                               : EXIT_NAME);
	} else if (w->is_event) {
		AUTO(free)
		char *text = xasprintf(
		    "Alias %s was %s.", w->host, w->word == ALIAS_ADD ? "added" : "removed");
		AUTO(free) char *id = xstrdup(w->app_id);

		api_load_send_app(c, id, 200, text);
	} else if (w->word == ALIAS_REMOVE) {
		api_send_deleted(c, "Alias %s was removed.", w->host);
	} else {
		send_alias(c, w);
	}
}

static void
submit(struct api_call *c)
{
	struct work *w = ((struct wait *)c->state)->work;

	alias_change(c->b, w->app_id,
	    &(struct alias_order){ .word = w->word,
	        .host = w->host,
	        .cert = w->chain == NULL ? NULL : &w->cert,
	        .acme = w->acme },
	    on_changed, c);
}

/* On a worker: a key may be encrypted. */
static void
run_read(void *p)
{
	struct work *w = p;

	w->is_read = tls_cert_read(w->chain, w->key, w->pass, &w->cert, &w->e) == 0;
}

static void
done_read(void *p)
{
	struct work *w = p;
	struct api_call *c = w->c;

	((struct wait *)c->state)->job = NULL;
	if (w->is_read)
		submit(c);
	else
		api_fail_err(
		    c, &w->e, strcmp(w->e.field, "private_key") == 0 ? EXIT_KEY : EXIT_CERT);
}

/* false: the call has ended. */
static bool
take_cert(struct api_call *c, struct work *w)
{
	const char *chain = NULL, *key = NULL, *pass = NULL;
	struct err e = { 0 };

	if (api_param_str(c->params, "ssl_certificate", TLS_CERT_CHAIN_MAX, &chain, &e) < 0) {
		api_fail_err(c, &e, EXIT_CERT);
		return false;
	}
	if (api_param_str(c->params, "private_key", TLS_CERT_KEY_MAX, &key, &e) < 0 ||
	    api_param_str(c->params, "pass_phrase", TLS_CERT_PASS_MAX, &pass, &e) < 0) {
		api_fail_err(c, &e, EXIT_KEY);
		return false;
	}
	if (chain == NULL || *chain == '\0')
		return true;
	if (!c->b->conf.private_certs) {
		api_fail(c, 403, EXIT_NO_CERTS, "ssl_certificate",
		    "Certificates of one's own are not permitted here. Leave ssl_certificate out.");
		return false;
	}
	if (key == NULL || *key == '\0') {
		api_fail(c, 422, EXIT_KEY, "private_key",
		    "A certificate needs its private key: give private_key.");
		return false;
	}
	w->chain = xstrdup(chain);
	w->key = xstrdup(key);
	w->pass = xstrdup_null(pass);
	return true;
}

/* false: the call has ended. */
static bool
take_acme(struct api_call *c, struct work *w)
{
	const char *acme = NULL;
	struct err e = { 0 };

	if (api_param_str(c->params, "acme", NAME_MAX_IN, &acme, &e) < 0) {
		api_fail_err(c, &e, EXIT_CERT);
		return false;
	}
	if (acme == NULL || *acme == '\0') {
		if (c->b->conf.acme_all && c->b->conf.acme_directory != NULL &&
		    w->word == ALIAS_ADD && w->chain == NULL && w->host[0] != '*')
			w->acme = xstrdup(WIRE_ACME_ANY);
		return true;
	}
	if (strcmp(acme, "none") == 0)
		return true;
	if (w->chain != NULL)
		(void)err_set(&e, ERR_INVALID, "acme",
		    "Give either a certificate or acme: the platform's would replace yours.");
	if (e.code != ERR_NONE || acme_rule_check(c->b, w->host, acme, &e) < 0) {
		api_fail_err(c, &e, EXIT_CERT);
		return false;
	}
	w->acme = xstrdup(acme);
	return true;
}

static struct work *
begin(struct api_call *c, const struct wire_app *a, enum alias_word word, const char *host)
{
	struct wait *x = xcalloc(1, sizeof *x);

	x->work = xcalloc(1, sizeof *x->work);
	*x->work =
	    (struct work){ .c = c, .app_id = xstrdup(a->id), .word = word, .host = xstrdup(host) };
	api_call_keep(c, x, wait_free);
	return x->work;
}

static void
change(struct api_call *c, const struct wire_app *a, enum alias_word word, const char *host)
{
	struct work *w = begin(c, a, word, host);

	if (!take_cert(c, w) || !take_acme(c, w))
		return;
	if (w->chain == NULL)
		submit(c);
	else
		((struct wait *)c->state)->job =
		    worker_submit(c->b->worker, run_read, done_read, work_free, w);
}

/* The parameter of that name, as an alias is called; NULL: the call has ended. Caller owns. */
static char *
name_param(struct api_call *c, const char *param)
{
	const char *name = NULL;
	struct err e = { 0 };
	char *host;

	if (api_param_str(c->params, param, NAME_MAX_IN, &name, &e) < 0 ||
	    (host = alias_name(c->b, name == NULL ? "" : name, &e)) == NULL) {
		api_fail_err(c, &e, EXIT_NAME);
		return NULL;
	}
	return host;
}

void
api_alias_add(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO(free) char *host = NULL;

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	host = name_param(c, api_param_has(c->params, "id") ? "id" : "alias");
	if (host != NULL)
		change(c, &a, ALIAS_ADD, host);
}

void
api_alias_update(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	const struct wire_alias *al;

	if (api_load_app(c, ACCESS_EDIT, &a) && (al = of_path(c, &a)) != NULL)
		change(c, &a, ALIAS_UPDATE, al->host);
}

void
api_alias_remove(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	const struct wire_alias *al;

	if (!api_load_app(c, ACCESS_EDIT, &a) || (al = of_path(c, &a)) == NULL)
		return;
	(void)begin(c, &a, ALIAS_REMOVE, al->host);
	submit(c);
}

/* --- as events of the application --- */

static void
by_event(struct api_call *c, const struct wire_app *a, enum alias_word word)
{
	AUTO(free) char *host = NULL;

	if (!api_param_has(c->params, "alias")) {
		api_fail(c, 422, EXIT_EVENT, "alias",
		    "This event needs the parameter 'alias': a host name such as "
		    "www.example.com.");
		return;
	}
	host = name_param(c, "alias");
	if (host == NULL)
		return;
	begin(c, a, word, host)->is_event = true;
	submit(c);
}

void
api_alias_event_add(struct api_call *c, const struct wire_app *a)
{
	by_event(c, a, ALIAS_ADD);
}

void
api_alias_event_remove(struct api_call *c, const struct wire_app *a)
{
	by_event(c, a, ALIAS_REMOVE);
}
