#include "broker/wish.h"

#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/change.h"
#include "broker/record.h"
#include "broker/ssh_key.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_env.h"

enum {
	VARS_MAX = 100, /* of a cartridge */
	KEYS_MAX = 20,
	VALUE_MAX = 8192,
};

/* --- one cartridge's wishes --- */

struct wire_wish *
wish_find(const struct wire_app *a, const char *cart)
{
	for (size_t i = 0; i < a->wishes.n; i++) {
		if (strcmp(a->wishes.v[i].cart, cart) == 0)
			return &a->wishes.v[i];
	}
	return NULL;
}

const char *
wish_value(const struct wire_app *a, const char *name)
{
	const char *value = NULL;

	for (size_t i = 0; i < a->wishes.n && value == NULL; i++)
		value = wire_env_get(&a->wishes.v[i].env, name);
	return value;
}

static void
drop_var(struct wire_var_list *l, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].name, name) == 0)
			wire_var_fini(&l->v[i]);
		else
			l->v[n++] = l->v[i];
	}
	l->n = n;
}

/* A variable is the application's: whoever says it last has it. */
static void
put_var(struct wire_app *a, struct wire_wish *w, const struct wire_var *v)
{
	if (wire_env_is_reserved(v->name) || strlen(v->value) > VALUE_MAX || w->env.n >= VARS_MAX) {
		log_warn("wish_refused", LOG_STR("app", a->id), LOG_STR("cartridge", w->cart),
		    LOG_STR("variable", v->name));
		return;
	}
	for (size_t i = 0; i < a->wishes.n; i++)
		drop_var(&a->wishes.v[i].env, v->name);
	codec_copy(&wire_var_codec, codec_list_add(&wire_var_codec, &w->env), v);
}

static void
drop_key(struct wire_app *a, const char *name)
{
	AUTO(free) char *begin = xasprintf("%s ", name);

	for (size_t i = 0; i < a->wishes.n; i++) {
		struct str_list *l = &a->wishes.v[i].ssh_keys;

		for (size_t k = l->n; k > 0; k--) {
			AUTO(free) char *key = xstrdup(l->v[k - 1]);

			if (str_has_prefix(key, begin))
				str_list_remove(l, key);
		}
	}
}

/* "NAME CONTENT": an RSA key, as v2 has them, or of any type that says itself what it is. */
static void
put_key(struct wire_app *a, struct wire_wish *w, const char *key)
{
	const char *content = key + strcspn(key, " ");
	AUTO(free) char *name = xstrndup(key, (size_t)(content - key));
	struct err e = { 0 };

	content += *content == ' ';
	if (ssh_key_check_name(name, &e) < 0 || ssh_key_check_content(NULL, content, &e) < 0 ||
	    w->ssh_keys.n >= KEYS_MAX) {
		log_warn("wish_refused", LOG_STR("app", a->id), LOG_STR("cartridge", w->cart),
		    LOG_STR("key", name));
		return;
	}
	drop_key(a, name);
	str_list_add(&w->ssh_keys, key);
}

static void
drop_domain_key(struct wire_app *a)
{
	for (size_t i = 0; i < a->wishes.n; i++)
		mem_set_str(&a->wishes.v[i].domain_key, NULL);
}

/* Of an RSA key alone, as in v2 (cartridge format, section 12). */
static void
put_domain_key(struct wire_app *a, struct wire_wish *w, const char *content)
{
	struct err e = { 0 };

	if (ssh_key_check_content("ssh-rsa", content, &e) < 0) {
		log_warn("wish_refused", LOG_STR("app", a->id), LOG_STR("cartridge", w->cart),
		    LOG_STR("key", "of the domain"));
		return;
	}
	drop_domain_key(a);
	mem_set_str(&w->domain_key, content);
}

void
wish_merge(struct wire_app *a, struct wire_wish *w, const struct wire_asks *asks)
{
	for (size_t i = 0; i < asks->env_gone.n; i++) {
		for (size_t k = 0; k < a->wishes.n; k++)
			drop_var(&a->wishes.v[k].env, asks->env_gone.v[i]);
	}
	for (size_t i = 0; i < asks->env.n; i++)
		put_var(a, w, &asks->env.v[i]);
	for (size_t i = 0; i < asks->env_unique.n; i++) {
		if (wish_value(a, asks->env_unique.v[i].name) == NULL)
			put_var(a, w, &asks->env_unique.v[i]);
	}
	for (size_t i = 0; i < asks->ssh_keys_gone.n; i++)
		drop_key(a, asks->ssh_keys_gone.v[i]);
	for (size_t i = 0; i < asks->ssh_keys.n; i++)
		put_key(a, w, asks->ssh_keys.v[i]);
	if (asks->drops_domain_key)
		drop_domain_key(a);
	if (asks->domain_key != NULL)
		put_domain_key(a, w, asks->domain_key);
	w->wants_auth = asks->wants_auth || (w->wants_auth && !asks->drops_auth);
}

struct wire_wish *
wish_find_or_add(struct wire_app *a, const char *cart)
{
	struct wire_wish *w = wish_find(a, cart);

	if (w == NULL) {
		w = codec_list_add(&wire_wish_codec, &a->wishes);
		w->cart = xstrdup(cart);
		w->ident = xstrdup("");
	}
	return w;
}

/* --- the token --- */

char *
wish_token_key(const struct wire_app *a)
{
	char hex[65];

	secret_sha256_hex(a->auth_token, strlen(a->auth_token), hex);
	return store_key_token(hex);
}

void
wish_forget(struct store_txn *t, const struct wire_app *a)
{
	AUTO(free) char *key = a->auth_token == NULL ? NULL : wish_token_key(a);

	if (key != NULL)
		store_txn_delete(t, key);
}

/* --- what an action asked for --- */

struct addition {
	char *app_id;                 /* owned */
	struct wire_act_result asked; /* owned: asked alone */
};

static int
put_addition(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct addition *x = arg;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	int64_t rev = 0;

	if (record_app_by_id(b->store, x->app_id, &a, &rev, e) < 0)
		return -1;
	for (size_t i = 0; i < x->asked.asked.n; i++) {
		const struct wire_asked *w = &x->asked.asked.v[i];

		if (wire_gear_find(&a.cartridges, w->cart) != NULL)
			wish_merge(&a, wish_find_or_add(&a, w->cart), &w->asks);
	}
	record_put_cas(t, store_key_app(a.domain, a.name), rev, &wire_app_codec, &a);
	return 0;
}

static void
addition_done(const struct err *e, void *arg)
{
	struct addition *x = arg;

	if (e != NULL)
		log_warn("wish_lost", LOG_STR("app", x->app_id), LOG_ERR(e));
	free(x->app_id);
	wire_act_result_fini(&x->asked);
	free(x);
}

void
wish_add(struct broker *b, const char *app_id, const struct wire_asked_list *asked)
{
	struct addition *x;

	if (asked->n == 0)
		return;
	x = xcalloc(1, sizeof *x);
	x->app_id = xstrdup(app_id);
	for (size_t i = 0; i < asked->n; i++)
		codec_copy(&wire_asked_codec, codec_list_add(&wire_asked_codec, &x->asked.asked),
		    &asked->v[i]);
	change_start(b, put_addition, addition_done, x);
}

static bool
has_app_key(const struct wire_app *a, const char *content)
{
	for (size_t i = 0; i < a->wishes.n; i++) {
		const struct str_list *l = &a->wishes.v[i].ssh_keys;

		for (size_t k = 0; k < l->n; k++) {
			if (strcmp(l->v[k] + strcspn(l->v[k], " ") + 1, content) == 0)
				return true;
		}
	}
	return false;
}

struct key_search {
	const char *content;
	bool is_found;
};

static bool
look_for_key(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_app *a = rec;
	struct key_search *s = arg;

	(void)key;
	(void)rev;
	for (size_t i = 0; i < a->wishes.n && !a->spec.deleted; i++) {
		const char *k = a->wishes.v[i].domain_key;

		s->is_found = s->is_found || (k != NULL && strcmp(k, s->content) == 0);
	}
	return !s->is_found;
}

bool
wish_has_key(const struct broker *b, const struct wire_app *a, const char *content)
{
	AUTO(free) char *prefix = store_key_app(a->domain, "");
	struct key_search s = { .content = content };

	if (has_app_key(a, content))
		return true;
	record_each_with(b->store, prefix, "\"domain_key\":", &wire_app_codec, look_for_key, &s);
	return s.is_found;
}
