/* For administrators: users, and how nodes and routers are. */
#include <string.h>

#include "broker/account.h"
#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_view.h"
#include "broker/app.h"
#include "broker/broker.h"
#include "broker/domain.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "broker/rollout.h"
#include "broker/router_link.h"
#include "config.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

enum {
	TEXT_MAX = 2048,
	EXIT_NO_USER = 99,
	EXIT_USER = 107,
	EXIT_HAS_DOMAINS = 139,
	EXIT_BOOL = 167,
};

/* --- users --- */

static bool
list_user(const char *key, int64_t rev, void *rec, void *arg)
{
	struct api_call *c = arg;

	(void)key;
	(void)rev;
	api_view_user(c, &c->json, NULL, rec);
	return true;
}

void
api_admin_users(struct api_call *c)
{
	bool no_links = c->no_links;

	c->no_links = true; /* those of `user` are about oneself */
	api_json_arr(api_data(c, "users"), NULL);
	record_each(c->b->store, STORE_PREFIX_USER, &wire_user_codec, list_user, c);
	api_json_end_arr(&c->json);
	c->no_links = no_links;
	api_send(c, 200);
}

struct user_new {
	char *login; /* owned */
	bool is_admin;
};

static void
user_new_free(void *p)
{
	struct user_new *s = p;

	free(s->login);
	free(s);
}

static void
user_stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct user_new *s = c->state;
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct err why = { 0 };

	if (e != NULL) {
		api_fail_err(c, e, EXIT_USER);
		return;
	}
	if (record_get(c->b->store, store_key_user(s->login), &wire_user_codec, &u, NULL, &why) <
	    0) {
		api_fail_err(c, &why, EXIT_NO_USER);
		return;
	}
	c->no_links = true;
	api_message(c, "info", 0, NULL, "User %s was created.", s->login);
	api_view_user(c, api_data(c, "user"), NULL, &u);
	api_send(c, 201);
}

static void
user_hashed(const char *hash, const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct user_new *s = c->state;

	if (e != NULL)
		api_fail_err(c, e, EXIT_USER);
	else
		account_create(c->b, s->login, hash, s->is_admin, user_stored, c);
}

void
api_admin_user_create(struct api_call *c)
{
	const char *login = NULL;
	const char *password = NULL;
	bool is_admin = false;
	struct err e = { 0 };
	struct user_new *s;

	if (api_param_str(c->params, "login", TEXT_MAX, &login, &e) < 0 ||
	    (login == NULL && api_param_str(c->params, "name", TEXT_MAX, &login, &e) < 0) ||
	    api_param_str(c->params, "password", TEXT_MAX, &password, &e) < 0) {
		api_fail_err(c, &e, EXIT_USER);
		return;
	}
	if (api_param_bool(c->params, "admin", &is_admin, &e) < 0) {
		api_fail_err(c, &e, EXIT_BOOL);
		return;
	}
	if (login == NULL || password == NULL) {
		api_fail(c, 422, EXIT_USER, login == NULL ? "login" : "password",
		    "The parameter '%s' is required.", login == NULL ? "login" : "password");
		return;
	}
	if (auth_check_login(login, &e) < 0 || auth_check_password(password, &e) < 0) {
		api_fail_err(c, &e, EXIT_USER);
		return;
	}
	s = xcalloc(1, sizeof *s);
	*s = (struct user_new){ xstrdup(login), is_admin };
	api_call_keep(c, s, user_new_free);
	auth_hash(c->b->auth, password, user_hashed, c);
}

static void
user_updated(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct err why = { 0 };

	if (e == NULL &&
	    record_get(c->b->store, store_key_user(api_param_of_path(c->params, "login")),
	        &wire_user_codec, &u, NULL, &why) < 0)
		e = &why;
	if (e != NULL) {
		api_fail_err(c, e, e->code == ERR_NOT_FOUND ? EXIT_NO_USER : EXIT_USER);
		return;
	}
	c->no_links = true;
	api_view_user(c, api_data(c, "user"), NULL, &u);
	api_send(c, 200);
}

void
api_admin_user_update(struct api_call *c)
{
	struct account_limits l = { -1, -1, -1, -1 };
	bool downloads = false;
	struct err e = { 0 };

	if (api_param_int(c->params, "max_gears", 0, INT32_MAX, &l.gears, &e) < 0 ||
	    api_param_int(c->params, "max_domains", 0, INT32_MAX, &l.domains, &e) < 0 ||
	    api_param_int(c->params, "max_storage_per_gear", 0, WIRE_USER_STORAGE_MAX,
	        &l.storage_gb, &e) < 0 ||
	    api_param_bool(c->params, "download_cartridges", &downloads, &e) < 0) {
		api_fail_err(c, &e, EXIT_USER);
		return;
	}
	if (api_param_value(c->params, "download_cartridges") != NULL)
		l.downloads = downloads;
	if (l.gears < 0 && l.domains < 0 && l.storage_gb < 0 && l.downloads < 0) {
		api_fail(c, 422, EXIT_USER, "max_gears",
		    "Give max_gears, max_domains, max_storage_per_gear or download_cartridges.");
		return;
	}
	account_set_limits(c->b, api_param_of_path(c->params, "login"), &l, user_updated, c);
}

/* --- deleting a user: with force, applications and domains first --- */

struct user_removal {
	char *login; /* owned */
	struct str_list apps, domains;
	size_t app_at, domain_at;
};

static void
user_removal_free(void *p)
{
	struct user_removal *s = p;

	free(s->login);
	str_list_fini(&s->apps);
	str_list_fini(&s->domains);
	free(s);
}

static void remove_next(struct api_call *c);

static void
user_gone(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct user_removal *s = c->state;

	if (e != NULL && e->code == ERR_CONFLICT)
		api_fail(c, 422, EXIT_HAS_DOMAINS, "force", "%s", e->text);
	else if (e != NULL)
		api_fail_err(c, e, EXIT_NO_USER);
	else
		api_send_deleted(c, "User %s was deleted.", s->login);
}

static void
part_gone(const struct err *e, void *arg)
{
	struct api_call *c = arg;

	if (e != NULL && e->code != ERR_NOT_FOUND)
		api_fail_err(c, e, 1);
	else
		remove_next(c);
}

static void
app_marked(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct user_removal *s = c->state;

	if (e != NULL)
		part_gone(e, c);
	else
		(void)rollout_wait(c->b->rollout, s->apps.v[s->app_at - 1], NULL, part_gone, c);
}

static void
remove_next(struct api_call *c)
{
	struct user_removal *s = c->state;

	if (s->app_at < s->apps.n)
		app_delete(c->b, s->apps.v[s->app_at++], app_marked, c);
	else if (s->domain_at < s->domains.n)
		domain_delete(c->b, s->domains.v[s->domain_at++], part_gone, c);
	else
		account_delete(c->b, s->login, user_gone, c);
}

static bool
collect_app(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_app *a = rec;
	struct user_removal *s = arg;

	(void)key;
	(void)rev;
	if (strcmp(a->owner, s->login) == 0)
		str_list_add(&s->apps, a->id);
	return true;
}

static bool
collect_domain(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_domain *d = rec;
	struct user_removal *s = arg;

	(void)key;
	(void)rev;
	if (strcmp(d->owner, s->login) == 0)
		str_list_add(&s->domains, d->name);
	return true;
}

void
api_admin_user_delete(struct api_call *c)
{
	const char *login = api_param_of_path(c->params, "login");
	AUTO(free) char *key = store_key_user(login);
	bool force = false;
	struct err e = { 0 };
	struct user_removal *s;
	struct store_kv kv;

	if (api_param_bool(c->params, "force", &force, &e) < 0) {
		api_fail_err(c, &e, EXIT_BOOL);
		return;
	}
	if (!store_get(c->b->store, key, &kv)) {
		api_fail(c, 404, EXIT_NO_USER, NULL, "There is no user '%.80s'.", login);
		return;
	}
	if (strcmp(login, c->who.login) == 0) {
		api_fail(c, 403, 138, NULL, "You cannot delete the user you are logged in as.");
		return;
	}
	s = xcalloc(1, sizeof *s);
	s->login = xstrdup(login);
	api_call_keep(c, s, user_removal_free);
	if (force) {
		record_each(c->b->store, STORE_PREFIX_APP, &wire_app_codec, collect_app, s);
		record_each(
		    c->b->store, STORE_PREFIX_DOMAIN, &wire_domain_codec, collect_domain, s);
	}
	remove_next(c);
}

/* --- status --- */

struct status {
	const struct api_call *c;
	struct api_json *j;
};

static int64_t
count_gears(const struct api_call *c, const char *node)
{
	AUTO(free) char *prefix = store_key_gear(node, "");

	return (int64_t)store_count(c->b->store, prefix);
}

static bool
write_notice(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_gear_status *st = rec;
	struct api_json *j = arg;

	(void)key;
	(void)rev;
	if (st->notice == NULL)
		return true;
	api_json_obj(j, NULL);
	api_json_str(j, "gear", st->uuid);
	api_json_str(j, "notice", st->notice);
	api_json_end_obj(j);
	return true;
}

static bool
write_node(const struct wire_node_facts *f, bool is_alive, void *arg)
{
	const struct status *s = arg;
	AUTO(free) char *prefix = store_key_gear_status(f->id, "");
	struct api_json *j = s->j;

	api_json_obj(j, NULL);
	api_json_str(j, "id", f->id);
	api_json_str(j, "version", f->version);
	api_json_str(j, "state", is_alive ? "connected" : "away");
	api_json_int(j, "gears", count_gears(s->c, f->id));
	api_json_str(j, "arch", f->arch);
	api_json_int(j, "cores", f->cores);
	api_json_int(j, "memory_mb", f->memory_mb);
	api_json_int(j, "disk_total_mb", f->disk_total_mb);
	api_json_int(j, "disk_free_mb", f->disk_free_mb);
	api_json_str(j, "quota", f->quota);
	api_json_str(j, "reclaim", f->reclaim);
	api_json_str(j, "addresses", f->addresses);
	api_json_arr(j, "notices");
	record_each_with(
	    s->c->b->store, prefix, "\"notice\"", &wire_gear_status_codec, write_notice, j);
	api_json_end_arr(j);
	api_json_strs(j, "cartridges", &f->cartridges);
	api_json_end_obj(j);
	return true;
}

static bool
write_router(const char *router, int64_t rev, bool is_alive, void *arg)
{
	struct api_json *j = arg;

	api_json_obj(j, NULL);
	api_json_str(j, "id", router);
	api_json_str(j, "state", is_alive ? "connected" : "away");
	api_json_int(j, "revision", rev);
	api_json_end_obj(j);
	return true;
}

void
api_admin_status(struct api_call *c)
{
	const struct store *st = c->b->store;
	struct api_json *j = api_data(c, "status");

	api_json_obj(j, NULL);
	api_json_str(j, "version", PACKAGE_VERSION);
	api_json_str(j, "cluster", store_cluster_id(st));
	api_json_int(j, "epoch", store_epoch(st));
	api_json_int(j, "revision", store_rev(st));
	api_json_int(j, "users", (int64_t)store_count(st, STORE_PREFIX_USER));
	api_json_int(j, "domains", (int64_t)store_count(st, STORE_PREFIX_DOMAIN));
	api_json_int(j, "applications", (int64_t)store_count(st, STORE_PREFIX_APP));
	api_json_int(j, "gears", (int64_t)store_count(st, STORE_PREFIX_GEAR));
	api_json_arr(j, "nodes");
	node_link_each(c->b->nodes, write_node, &(struct status){ c, j });
	api_json_end_arr(j);
	api_json_arr(j, "routers");
	router_link_each(c->b->routers, write_router, j);
	api_json_end_arr(j);
	api_json_end_obj(j);
	api_send(c, 200);
}
