#include "broker/routing.h"

#include <stdlib.h>
#include <string.h>

#include "broker/app.h"
#include "broker/broker.h"
#include "broker/change.h"
#include "broker/event_log.h"
#include "broker/record.h"
#include "broker/route_record.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/loop/worker.h"
#include "lib/store/store_key.h"

enum { PASSWORDS_MAX = 10 /* hashed in one call: a millisecond each */ };

struct op {
	char *app_id, *change; /* owned */
	bool is_whole;
	struct str_list unset;
	struct str_list passwords, hashes; /* new ones, before anything is built */
	struct broker *b;                  /* borrowed */
	routing_done_fn *done;
	void *arg;
};

static void
op_free(void *arg)
{
	struct op *op = arg;

	free(op->app_id);
	secret_free(op->change);
	str_list_fini(&op->unset);
	for (size_t i = 0; i < op->passwords.n; i++)
		secret_wipe(op->passwords.v[i], strlen(op->passwords.v[i]));
	str_list_fini(&op->passwords);
	str_list_fini(&op->hashes);
	free(op);
}

static void
op_done(const struct err *e, void *arg)
{
	struct op *op = arg;

	op->done(e, op->arg);
	op_free(op);
}

static int
decode(const char *json, unsigned flags, struct wire_routing *out, struct err *e)
{
	return codec_decode(&wire_routing_codec, json, strlen(json), out, flags, e);
}

void
routing_get(const struct wire_app *a, struct wire_routing *out)
{
	struct err e = { 0 };

	if (a->routing != NULL)
		(void)decode(a->routing, CODEC_IGNORE, out, &e);
	for (size_t i = 0; i < out->auth_users.n; i++)
		mem_set_str(&out->auth_users.v[i].hash, NULL);
}

static bool
is_option(const char *name)
{
	for (const struct codec_field *f = wire_routing_codec.fields; f->kind != CODEC_KIND_END;
	     f++) {
		if (strcmp(f->name, name) == 0)
			return true;
	}
	return false;
}

static void
add_member(struct buf *out, const char *name, const struct codec_value *v)
{
	buf_addc(out, out->n == 0 ? '{' : ',');
	buf_add_json_str(out, name);
	buf_addc(out, ':');
	codec_dump(v, false, out);
}

/* Those of v that are in neither of the others. */
static void
add_others(struct buf *out, const struct codec_value *v, const struct codec_value *but,
    const struct str_list *nor)
{
	const char *name;

	for (size_t i = 0; v != NULL && i < codec_count(v); i++) {
		const struct codec_value *m = codec_member(v, i, &name);

		if (codec_type(m) != CODEC_NULL && !str_list_has(nor, name) &&
		    strcmp(name, "unset") != 0 &&
		    (but == NULL || codec_type(codec_get(but, name)) == CODEC_NULL))
			add_member(out, name, m);
	}
}

/* What was set before and what the call says, as one object. */
static int
merge(const struct op *op, const char *before, struct wire_routing *out, struct err *e)
{
	struct codec_value *old =
	    before == NULL || op->is_whole ? NULL : codec_parse(before, strlen(before), e);
	struct codec_value *new = codec_parse(op->change, strlen(op->change), e);
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	for (size_t i = 0; i < op->unset.n; i++) {
		if (!is_option(op->unset.v[i])) {
			codec_value_free(old);
			codec_value_free(new);
			return err_set(e, ERR_INVALID, "unset", "\"%.64s\" is no option of a route",
			    op->unset.v[i]);
		}
	}
	add_others(&b, old, new, &op->unset);
	add_others(&b, new, NULL, &op->unset);
	codec_value_free(old);
	codec_value_free(new);
	buf_adds(&b, b.n == 0 ? "{}" : "}");
	return decode(b.p, CODEC_LAX, out, e);
}

/* --- what is made of it --- */

static const char *
old_hash(const struct wire_routing *before, const char *name)
{
	for (size_t i = 0; i < before->auth_users.n; i++) {
		if (strcmp(before->auth_users.v[i].name, name) == 0)
			return before->auth_users.v[i].hash;
	}
	return NULL;
}

/* On a worker. */
static void
hash_passwords(void *arg)
{
	struct op *op = arg;

	for (size_t i = 0; i < op->passwords.n; i++) {
		AUTO(free) char *hash = secret_quick_hash(op->passwords.v[i]);

		str_list_add(&op->hashes, hash);
	}
}

/* What is wrong with them is said when the whole is read. */
static void
collect_passwords(struct op *op, const struct codec_value *change)
{
	const struct codec_value *users = codec_get(change, "auth_users");

	for (size_t i = 0; i < codec_count(users) && op->passwords.n < PASSWORDS_MAX; i++) {
		const char *password = codec_string(codec_get(codec_at(users, i), "password"));

		if (password != NULL && *password != '\0')
			str_list_add(&op->passwords, password);
	}
}

static const char *
new_hash(const struct op *op, const char *password)
{
	for (size_t i = 0; i < op->passwords.n; i++) {
		if (strcmp(op->passwords.v[i], password) == 0)
			return op->hashes.v[i];
	}
	return NULL;
}

/* Passwords become hashes; who is named without one keeps his. */
static int
hash_users(
    const struct op *op, const struct wire_routing *before, struct wire_routing *r, struct err *e)
{
	for (size_t i = 0; i < r->auth_users.n; i++) {
		struct wire_routing_user *u = &r->auth_users.v[i];
		const char *hash = old_hash(before, u->name);

		mem_set_str(&u->hash, hash);
		if (u->password == NULL && hash == NULL)
			return err_set(e, ERR_INVALID, "auth_users",
			    "item %zu: password is required for %s, who is new", i, u->name);
		if (u->password == NULL)
			continue;
		hash = new_hash(op, u->password);
		if (hash == NULL)
			return err_set(e, ERR_INVALID, "auth_users",
			    "item %zu: password must not be empty, and %d can be set in one call",
			    i, PASSWORDS_MAX);
		mem_set_str(&u->hash, hash);
		secret_free(STEAL(u->password));
	}
	return 0;
}

/* The host of an application of a's domain ("NAME"), or of another of its owner's. */
static int
host_of(const struct broker *b, const struct wire_app *a, const char *field, const char *name,
    char **out, struct err *e)
{
	AUTO_FINI(wire_app_fini) struct wire_app to = { 0 };
	struct str domain, rest = str_cut(str_of(name), '/', &domain);
	AUTO(free) char *of = rest.p == NULL ? xstrdup(a->domain) : xstrndup(domain.p, domain.n);
	AUTO(free) char *app = xstrdup(rest.p == NULL ? name : rest.p);

	str_lower(of);
	str_lower(app);
	if (!str_is_name(of, APP_DOMAIN_LEN_MAX) || !str_is_name(app, APP_NAME_LEN_MAX) ||
	    record_get(b->store, store_key_app(of, app), &wire_app_codec, &to, NULL, e) < 0 ||
	    !str_same(to.owner, a->owner) || strcmp(to.id, a->id) == 0)
		return err_set(e, ERR_INVALID, field,
		    "there is no other application '%.64s' of the same owner", name);
	free(*out);
	*out = app_host(b, to.name, to.domain);
	return 0;
}

static int
find_hosts(const struct broker *b, const struct wire_app *a, struct wire_routing *r, struct err *e)
{
	for (size_t i = 0; i < r->paths.n; i++) {
		mem_set_str(&r->paths.v[i].host, NULL);
		if (r->paths.v[i].app != NULL &&
		    host_of(b, a, "paths", r->paths.v[i].app, &r->paths.v[i].host, e) < 0)
			return -1;
	}
	for (size_t i = 0; i < r->weights.n; i++) {
		mem_set_str(&r->weights.v[i].host, NULL);
		if (r->weights.v[i].app != NULL &&
		    host_of(b, a, "weights", r->weights.v[i].app, &r->weights.v[i].host, e) < 0)
			return -1;
	}
	return 0;
}

static int
set(const struct broker *b, const struct op *op, struct wire_app *a, struct err *e)
{
	AUTO_FINI(wire_routing_fini) struct wire_routing before = { 0 };
	AUTO_FINI(wire_routing_fini) struct wire_routing r = { 0 };
	AUTO(free) char *json = NULL;

	if ((a->routing != NULL && decode(a->routing, CODEC_IGNORE, &before, e) < 0) ||
	    merge(op, a->routing, &r, e) < 0 || find_hosts(b, a, &r, e) < 0 ||
	    wire_routing_check(&r, e) < 0 || hash_users(op, &before, &r, e) < 0)
		return -1;
	json = codec_to_json(&wire_routing_codec, &r);
	if (strlen(json) > WIRE_ROUTING_MAX)
		return err_set(e, ERR_LIMIT, NULL, "All options of a route can have %d bytes.",
		    WIRE_ROUTING_MAX);
	mem_set_str(&a->routing, wire_routing_is_empty(&r) ? NULL : json);
	return 0;
}

static int
build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct op *op = arg;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO(free) char *host = NULL;
	int64_t rev;

	if (record_app_by_id(b->store, op->app_id, &a, &rev, e) < 0)
		return -1;
	if (a.spec.deleted)
		return err_set(
		    e, ERR_NOT_FOUND, "application", "Application '%s' not found.", a.name);
	if (set(b, op, &a, e) < 0)
		return -1;
	record_put_cas(t, store_key_app(a.domain, a.name), rev, &wire_app_codec, &a);
	host = app_host(b, a.name, a.domain);
	route_record_set_options(b, t, host, a.routing);
	for (size_t i = 0; i < a.aliases.n; i++)
		route_record_set_options(b, t, a.aliases.v[i].host, a.routing);
	event_log_put(t, b->store, a.id, NULL, NULL, "changed", "Options of its routes were set.");
	return 0;
}

static void
on_hashed(void *arg)
{
	struct op *op = arg;

	change_start(op->b, build, op_done, op);
}

void
routing_change(struct broker *b, const char *app_id, const struct codec_value *change,
    bool is_whole, const struct str_list *unset, routing_done_fn *done, void *arg)
{
	struct op *op = xcalloc(1, sizeof *op);
	AUTO_FINI(buf_fini) struct buf text = { 0 };

	if (change == NULL)
		buf_adds(&text, "{}");
	else
		codec_dump(change, false, &text);
	*op = (struct op){ .app_id = xstrdup(app_id),
		.change = buf_steal(&text),
		.is_whole = is_whole,
		.b = b,
		.done = done,
		.arg = arg };
	if (unset != NULL)
		str_list_copy(&op->unset, unset);
	collect_passwords(op, change);
	if (op->passwords.n == 0)
		change_start(b, build, op_done, op);
	else
		(void)worker_submit(b->worker, hash_passwords, on_hashed, op_free, op);
}
