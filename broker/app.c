#include "broker/app.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "broker/app_cart.h"
#include "broker/broker.h"
#include "broker/event_log.h"
#include "broker/gear_disk.h"
#include "broker/idler.h"
#include "broker/catalog.h"
#include "broker/change.h"
#include "broker/gear_group.h"
#include "broker/placement.h"
#include "broker/profile.h"
#include "broker/quota.h"
#include "broker/record.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/loop/loop.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_route.h"
#include "lib/wire/wire_user.h"

enum {
	SECRET_TOKEN_LEN = 128,
	STOP_TIMEOUT_S = 30,
	START_TIMEOUT_S = 60,
	DOMAINS_OF_ONE = 1,
	REF_MAX = 256,
};

/* One operation; what it needs beyond the application's id. */
struct op {
	struct broker *b; /* borrowed */
	char *app_id;     /* owned */
	app_done_fn *done;
	void *arg; /* borrowed, handed back */
	/* create */
	struct wire_app app;
	struct wire_env env;
	/* change */
	app_change_fn *change;
	void *change_arg; /* borrowed */
	/* scale */
	int64_t gears;
	/* variables */
	struct wire_var_list vars; /* value NULL: unset */
	bool rolls;
};

static void
vars_fini(struct wire_var_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		wire_var_fini(&l->v[i]);
	free(l->v);
	*l = (struct wire_var_list){ 0 };
}

static void
vars_add(struct wire_var_list *l, const char *name, const char *value)
{
	struct wire_var *v = codec_list_add(&wire_var_codec, l);

	v->name = xstrdup(name);
	v->value = xstrdup_null(value);
}

static struct op *
op_new(struct broker *b, const char *app_id, app_done_fn *done, void *arg)
{
	struct op *op = xcalloc(1, sizeof *op);

	*op = (struct op){ .b = b, .app_id = xstrdup(app_id), .done = done, .arg = arg };
	idler_touch(b, app_id); /* what changes is used */
	return op;
}

static void
op_done(const struct err *e, void *arg)
{
	struct op *op = arg;

	op->done(e, op->arg);
	free(op->app_id);
	wire_app_fini(&op->app);
	wire_env_fini(&op->env);
	vars_fini(&op->vars);
	free(op);
}

char *
app_host(const struct broker *b, const char *name, const char *domain)
{
	return xasprintf("%s-%s.%s", name, domain, b->conf.app_domain);
}

bool
app_is_ref(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > REF_MAX || s[0] == '-' || s[0] == '/' || s[n - 1] == '/' ||
	    s[n - 1] == '.' || strcmp(s, "@") == 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned char ch = (unsigned char)s[i];

		if (ch <= 0x20 || ch == 0x7f || strchr("~^:?*[\\", ch) != NULL)
			return false;
		if (ch == '.' && (i == 0 || s[i - 1] == '/' || s[i + 1] == '.'))
			return false;
		if ((ch == '/' && s[i + 1] == '/') || (ch == '@' && s[i + 1] == '{'))
			return false;
	}
	return !str_has_suffix(s, ".lock") && strstr(s, ".lock/") == NULL;
}

int
app_vars(const struct broker *b, const char *app_id, struct wire_env *out, int64_t *out_rev,
    struct err *e)
{
	struct err why = { 0 };
	int64_t rev = 0;

	if (record_get(b->store, store_key_env(app_id), &wire_env_codec, out, &rev, &why) < 0 &&
	    why.code != ERR_NOT_FOUND)
		return *e = why, -1;
	if (out_rev != NULL)
		*out_rev = rev;
	return 0;
}

/* --- gears --- */

struct own_gear {
	struct wire_gear gear;
	char *node; /* owned */
	int64_t rev;
};

struct own_gears {
	const char *app_id; /* borrowed */
	struct own_gear *v; /* owned */
	size_t n;
};

static void
own_gears_fini(struct own_gears *l)
{
	for (size_t i = 0; i < l->n; i++) {
		wire_gear_fini(&l->v[i].gear);
		free(l->v[i].node);
	}
	free(l->v);
	*l = (struct own_gears){ 0 };
}

static bool
collect_gear(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_gear *g = rec;
	struct own_gears *l = arg;
	const char *node = key + strlen(STORE_PREFIX_GEAR);
	struct own_gear *own;

	if (strcmp(g->app_id, l->app_id) != 0 || g->want == WIRE_WANT_GONE)
		return true;
	l->v = xreallocarray(l->v, l->n + 1, sizeof *l->v);
	own = &l->v[l->n++];
	memset(own, 0, sizeof *own);
	codec_copy(&wire_gear_codec, &own->gear, g);
	own->node = xstrndup(node, strcspn(node, "/"));
	own->rev = rev;
	return true;
}

/* Gears that are not on their way out. */
static void
own_gears_collect(const struct broker *b, const char *app_id, struct own_gears *out)
{
	*out = (struct own_gears){ .app_id = app_id };
	record_each_with(b->store, STORE_PREFIX_GEAR, app_id, &wire_gear_codec, collect_gear, out);
}

static void
gear_fill(const struct broker *b, const struct wire_app *a, const struct wire_env *env,
    const char *uuid, const struct gear_group *grp, const struct wire_limits *limits,
    struct wire_gear *g)
{
	bool is_head = strcmp(uuid, a->id) == 0;
	const char *name = is_head ? a->name : uuid;
	struct wire_gear_cart_list carts = { 0 };

	*g = (struct wire_gear){
		.uuid = xstrdup(uuid),
		.app_id = xstrdup(a->id),
		.app_name = xstrdup(a->name),
		.domain = xstrdup(a->domain),
		.gear_name = xstrdup(name),
		.app_dns = app_host(b, a->name, a->domain),
		.gear_dns = app_host(b, name, a->domain),
		.profile = xstrdup(gear_group_profile(grp, a)),
		.limits = *limits,
		.secret_token = xstrdup(a->secret_token),
		.deployment_branch = xstrdup(a->deployment_branch),
		.auto_deploy = a->auto_deploy,
		.keep_deployments = a->keep_deployments,
		.env_rev = a->spec.env_rev,
		.is_scalable = a->scalable,
		.cart_rev = a->spec.cart_rev,
		.want = WIRE_WANT_PRESENT,
	};
	gear_disk_set_extra(g, a, grp);
	gear_group_carts(grp, a, &carts);
	app_cart_copy_to_gear(&g->cartridges, &carts);
	app_cart_list_fini(&carts);
	for (size_t i = 0; i < env->vars.n; i++)
		vars_add(&g->env, env->vars.v[i].name, env->vars.v[i].value);
	wire_storage_list_copy(&g->storage, &a->storage);
}

/* The one that a node must have: the web framework, else the first. */
static const struct wire_gear_cart *
main_cart(const struct wire_app *a, const struct gear_group *grp)
{
	const struct wire_gear_cart *first = NULL;

	for (size_t i = 0; i < a->cartridges.n; i++) {
		const struct wire_gear_cart *c = &a->cartridges.v[i];

		if (!str_list_has(&grp->carts, c->name))
			continue;
		if (c->is_web)
			return c;
		first = first == NULL ? c : first;
	}
	return first;
}

/* Places one more gear and puts its record. Web gears are spread; those of services come near the
 * first where there is room: *near, which the first gear sets. */
static int
put_new_gear(const struct broker *b, struct store_txn *t, const struct wire_app *a,
    const struct wire_env *env, const char *uuid, const struct gear_group *grp, char **near,
    struct err *e)
{
	const struct wire_gear_cart *web = main_cart(a, grp);
	bool is_archive = web != NULL && web->digest != NULL && web->digest[0] != '\0';
	AUTO(free)
	char *cart = web == NULL || is_archive ? NULL : xasprintf("%s-%s", web->name, web->version);
	AUTO(free) char *node = NULL;
	AUTO_FINI(wire_gear_fini) struct wire_gear g = { 0 };
	struct wire_limits limits = { 0 };
	struct placement_need need = { .cartridge = cart, .app_id = a->id };

	if (!profile_get(b, gear_group_profile(grp, a), &limits))
		return err_set(e, ERR_INVALID, "gear_size", "The gear size '%s' is not known.",
		    gear_group_profile(grp, a));
	gear_fill(b, a, env, uuid, grp, &limits, &g);
	need.disk_mb = g.limits.disk_mb;
	if (!grp->is_web && *near != NULL) {
		struct err full = { 0 };

		need.near = *near;
		node = placement_pick(b, &need, &full);
		need.near = NULL;
	}
	if (node == NULL)
		node = placement_pick(b, &need, e);
	if (node == NULL)
		return -1;
	if (*near == NULL)
		*near = xstrdup(node);
	record_put_cas(t, store_key_gear(node, uuid), 0, &wire_gear_codec, &g);
	return 0;
}

/* --- create --- */

/* The domain's record with one application more; a new one for `login` when there is none. */
static int
put_domain(const struct broker *b, struct store_txn *t, const char *name, const char *login,
    bool *out_is_new, char **out_owner, struct err *e)
{
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct err why = { 0 };
	int64_t rev = 0;

	if (record_get(b->store, store_key_domain(name), &wire_domain_codec, &d, &rev, &why) < 0) {
		if (why.code != ERR_NOT_FOUND)
			return *e = why, -1;
		if (record_get(b->store, store_key_user(login), &wire_user_codec, &u, NULL, e) < 0)
			return -1;
		d = (struct wire_domain){
			.id = record_new_id(),
			.name = xstrdup(name),
			.owner = xstrdup(login),
			.created_at = (int64_t)time(NULL),
		};
		str_list_copy(&d.allowed_gear_sizes, &u.gear_sizes);
	}
	d.apps++;
	*out_is_new = rev == 0;
	*out_owner = xstrdup(d.owner);
	record_put_cas(t, store_key_domain(name), rev, &wire_domain_codec, &d);
	return 0;
}

static int
put_route(const struct broker *b, struct store_txn *t, const struct wire_app *a, struct err *e)
{
	AUTO_FINI(wire_route_fini)
	struct wire_route r = {
		.host = app_host(b, a->name, a->domain),
		.app_id = xstrdup(a->id),
		.app = xstrdup(a->name),
		.domain = xstrdup(a->domain),
		.state = WIRE_ROUTE_EMPTY,
		.timeout_s = a->request_timeout_s,
	};
	AUTO(free) char *key = store_key_route(r.host);
	struct store_kv kv;

	if (store_get(b->store, key, &kv))
		return err_set(e, ERR_CONFLICT, "name",
		    "The host name %s is in use. Choose another name.", r.host);
	record_put_cas(t, store_key_route(r.host), 0, &wire_route_codec, &r);
	return 0;
}

/* The head gear first: its id is the application's. */
static int
put_all_gears(const struct broker *b, struct store_txn *t, const struct wire_app *a,
    const struct wire_env *env, const struct gear_group_list *groups, struct err *e)
{
	AUTO(free) char *near = NULL;

	for (size_t k = 0; k < groups->n; k++) {
		const struct gear_group *grp = &groups->v[k];
		int64_t n = grp->is_web ? a->spec.gears : grp->gears;

		for (int64_t i = 0; i < n; i++) {
			AUTO(free)
			char *uuid = k == 0 && i == 0 ? xstrdup(a->id) : record_new_id();

			if (put_new_gear(b, t, a, env, uuid, grp, &near, e) < 0)
				return -1;
		}
	}
	return 0;
}

static int
create_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct op *op = arg;
	struct wire_app *a = &op->app;
	AUTO(free) char *key = store_key_app(a->domain, a->name);
	AUTO(free) char *id_key = store_key_app_id(a->id);
	AUTO(free) char *id_val = xasprintf("%s/%s", a->domain, a->name);
	AUTO(free) char *owner = NULL;
	AUTO_FINI(gear_group_fini) struct gear_group_list groups = { 0 };
	struct store_kv kv;
	bool is_new_domain;

	/* also while an old one of that name is being deleted */
	if (store_get(b->store, key, &kv))
		return err_set(e, ERR_CONFLICT, "name",
		    "The supplied application name '%s' already exists in domain '%s'. Choose "
		    "another "
		    "name, or delete that application.",
		    a->name, a->domain);
	gear_group_plan(b, a, &groups);
	if (a->spec.gears < groups.v[0].gears)
		a->spec.gears = groups.v[0].gears;
	if (put_domain(b, t, a->domain, op->app.owner, &is_new_domain, &owner, e) < 0 ||
	    quota_user(b, t, owner, a->spec.gears + gear_group_others(&groups),
	        is_new_domain ? DOMAINS_OF_ONE : 0, e) < 0 ||
	    put_route(b, t, a, e) < 0)
		return -1;
	mem_set_str(&a->owner, owner);
	if (put_all_gears(b, t, a, &op->env, &groups, e) < 0)
		return -1;
	record_put_cas(t, STEAL(key), 0, &wire_app_codec, a);
	event_log_put(t, op->b->store, a->id, NULL, NULL, "created", "Created by %s.", a->owner);
	store_txn_if_rev(t, id_key, 0);
	store_txn_put(t, id_key, id_val, strlen(id_val));
	if (op->env.vars.n > 0)
		record_put_cas(t, store_key_env(a->id), 0, &wire_env_codec, &op->env);
	return 0;
}

char *
app_create(struct broker *b, const struct app_new *n, app_done_fn *done, void *arg)
{
	AUTO(free) char *id = record_new_id();
	struct op *op = op_new(b, id, done, arg);
	struct wire_app *a = &op->app;

	*a = (struct wire_app){
		.id = xstrdup(id),
		.name = xstrdup(n->name),
		.domain = xstrdup(n->domain),
		.owner = xstrdup(n->login), /* the domain's, once that is known */
		.created_at = (int64_t)time(NULL),
		.profile = xstrdup(n->profile),
		.scalable = n->scalable,
		.initial_git_url = xstrdup_null(n->initial_git_url),
		.deployment_branch =
		    xstrdup(n->deployment_branch == NULL ? "master" : n->deployment_branch),
		.branch_by_user = n->deployment_branch != NULL,
		.auto_deploy = n->auto_deploy,
		.keep_deployments = n->keep_deployments,
		.idle_freeze_s = n->idle_freeze_s,
		.deployment_type = xstrdup(n->deployment_type),
		.health_path = xstrdup(""),
		.stop_timeout_s = STOP_TIMEOUT_S,
		.start_timeout_s = START_TIMEOUT_S,
		.secret_token = secret_random_text(SECRET_TOKEN_LEN),
		/* the cartridges are a change that is to be made: nothing is rolled before */
		.spec = { .running = true,
		    .gears = n->gears,
		    .deployment = xstrdup(""),
		    .cart_rev = 1,
		    .cart_at = (int64_t)time(NULL) },
		.status = { .deployment = xstrdup(""),
		    .phase = xstrdup("idle"),
		    .failure = xstrdup("") },
	};
	for (size_t i = 0; i < n->cartridges->n; i++)
		codec_copy(&wire_gear_cart_codec,
		    codec_list_add(&wire_gear_cart_codec, &a->cartridges), &n->cartridges->v[i]);
	for (size_t i = 0; n->vars != NULL && i < n->vars->n; i++)
		vars_add(&op->env.vars, n->vars->v[i].name, n->vars->v[i].value);
	op->gears = n->gears;
	change_start(b, create_build, op_done, op);
	return STEAL(id);
}

/* --- change, scale, variables, delete --- */

static int
load(struct broker *b, const struct op *op, struct wire_app *a, int64_t *rev, struct err *e)
{
	if (record_app_by_id(b->store, op->app_id, a, rev, e) < 0)
		return -1;
	if (a->spec.deleted)
		return err_set(
		    e, ERR_NOT_FOUND, "application", "Application '%s' not found.", a->name);
	return 0;
}

static void
put_app(struct store_txn *t, const struct wire_app *a, int64_t rev)
{
	record_put_cas(t, store_key_app(a->domain, a->name), rev, &wire_app_codec, a);
}

static int
change_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct op *op = arg;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	int64_t rev;

	if (load(b, op, &a, &rev, e) < 0 || op->change(&a, op->change_arg, e) < 0)
		return -1;
	put_app(t, &a, rev);
	return 0;
}

void
app_change(struct broker *b, const char *app_id, app_change_fn *change, void *change_arg,
    app_done_fn *done, void *arg)
{
	struct op *op = op_new(b, app_id, done, arg);

	op->change = change;
	op->change_arg = change_arg;
	change_start(b, change_build, op_done, op);
}

/* Of its first gear. Caller owns. */
static char *
node_of(const struct broker *b, const struct wire_app *a)
{
	AUTO_FINI(own_gears_fini) struct own_gears own = { 0 };

	own_gears_collect(b, a->id, &own);
	return own.n == 0 ? NULL : xstrdup(own.v[0].node);
}

int
app_put_gears(struct broker *b, struct store_txn *t, const struct wire_app *a,
    const struct gear_group *grp, struct err *e)
{
	AUTO_FINI(wire_env_fini) struct wire_env env = { 0 };
	AUTO(free) char *near = node_of(b, a);

	if (app_vars(b, a->id, &env, NULL, e) < 0 ||
	    quota_user(b, t, a->owner, grp->gears, 0, e) < 0)
		return -1;
	for (int64_t i = 0; i < grp->gears; i++) {
		AUTO(free) char *uuid = record_new_id();

		if (put_new_gear(b, t, a, &env, uuid, grp, &near, e) < 0)
			return -1;
	}
	return 0;
}

static int64_t
count_webs(const struct own_gears *own)
{
	int64_t n = 0;

	for (size_t i = 0; i < own->n; i++) {
		const struct wire_gear_cart_list *l = &own->v[i].gear.cartridges;
		bool is_web = false;

		for (size_t k = 0; k < l->n; k++)
			is_web = is_web || l->v[k].is_web;
		n += is_web;
	}
	return n;
}

static int
scale_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct op *op = arg;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(wire_env_fini) struct wire_env env = { 0 };
	AUTO_FINI(own_gears_fini) struct own_gears own = { 0 };
	AUTO_FINI(gear_group_fini) struct gear_group_list groups = { 0 };
	AUTO(free) char *near = NULL;
	int64_t more;
	int64_t rev;

	if (load(b, op, &a, &rev, e) < 0 || app_vars(b, a.id, &env, NULL, e) < 0)
		return -1;
	own_gears_collect(b, a.id, &own);
	a.spec.gears = op->gears;
	gear_group_plan(b, &a, &groups);
	more = op->gears - count_webs(&own);
	for (size_t i = 0; more > 0 && i < own.n; i++) {
		AUTO(free) char *key = store_key_gear(own.v[i].node, own.v[i].gear.uuid);

		store_txn_if_rev(t, key, own.v[i].rev);
	}
	if (more > 0 && quota_user(b, t, a.owner, more, 0, e) < 0)
		return -1;
	for (int64_t i = 0; i < more; i++) {
		AUTO(free) char *uuid = record_new_id();

		if (put_new_gear(b, t, &a, &env, uuid, &groups.v[0], &near, e) < 0)
			return -1;
	}
	put_app(t, &a, rev);
	return 0;
}

void
app_scale(struct broker *b, const char *app_id, int64_t gears, app_done_fn *done, void *arg)
{
	struct op *op = op_new(b, app_id, done, arg);

	op->gears = gears;
	change_start(b, scale_build, op_done, op);
}

static int
apply_vars(struct wire_var_list *to, const struct wire_var_list *changes, struct err *e)
{
	for (size_t i = 0; i < changes->n; i++) {
		const struct wire_var *c = &changes->v[i];
		size_t at = 0;

		while (at < to->n && strcmp(to->v[at].name, c->name) != 0)
			at++;
		if (at < to->n && c->value != NULL) {
			mem_set_str(&to->v[at].value, c->value);
		} else if (at < to->n) {
			wire_var_fini(&to->v[at]);
			memmove(&to->v[at], &to->v[at + 1], (to->n - at - 1) * sizeof *to->v);
			to->n--;
		} else if (c->value != NULL) {
			vars_add(to, c->name, c->value);
		}
	}
	if (to->n > APP_VARS_MAX)
		return err_set(e, ERR_INVALID, "environment_variables",
		    "An application can have %d environment variables; this would make %zu.",
		    APP_VARS_MAX, to->n);
	return 0;
}

static void
vars_copy(struct wire_var_list *to, const struct wire_var_list *from)
{
	vars_fini(to);
	for (size_t i = 0; i < from->n; i++)
		vars_add(to, from->v[i].name, from->v[i].value);
}

/* Each gear's record with these variables. */
static void
put_gear_vars(const struct broker *b, struct store_txn *t, const char *app_id,
    const struct wire_var_list *vars)
{
	AUTO_FINI(own_gears_fini) struct own_gears own = { 0 };

	own_gears_collect(b, app_id, &own);
	for (size_t i = 0; i < own.n; i++) {
		struct wire_gear *g = &own.v[i].gear;

		vars_copy(&g->env, vars);
		g->env_rev++;
		record_put_cas(
		    t, store_key_gear(own.v[i].node, g->uuid), own.v[i].rev, &wire_gear_codec, g);
	}
}

/* What is served stays known until the rollout that the change begins has ended. */
static int
note_previous(const struct wire_app *a, struct wire_env *env, const struct op *op, struct err *e)
{
	bool is_pending = a->spec.env_rev != a->status.env_rev;

	if (op->rolls && !is_pending) {
		vars_copy(&env->previous, &env->vars);
		env->previous_rev = a->status.env_rev;
	} else if (!op->rolls && is_pending && env->previous_rev == a->status.env_rev) {
		return apply_vars(&env->previous, &op->vars, e);
	}
	return 0;
}

static int
vars_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct op *op = arg;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(wire_env_fini) struct wire_env env = { 0 };
	int64_t rev;
	int64_t env_rev;

	if (load(b, op, &a, &rev, e) < 0 || app_vars(b, a.id, &env, &env_rev, e) < 0 ||
	    note_previous(&a, &env, op, e) < 0 || apply_vars(&env.vars, &op->vars, e) < 0)
		return -1;
	put_gear_vars(b, t, a.id, &env.vars);
	if (op->rolls)
		a.spec.env_rev++;
	record_put_cas(t, store_key_env(a.id), env_rev, &wire_env_codec, &env);
	put_app(t, &a, rev);
	return 0;
}

void
app_put_back_vars(struct broker *b, struct store_txn *t, const struct wire_app *a)
{
	AUTO_FINI(wire_env_fini) struct wire_env env = { 0 };
	struct err e = { 0 };
	int64_t rev;

	if (a->spec.env_rev == a->status.env_rev || app_vars(b, a->id, &env, &rev, &e) < 0 ||
	    rev == 0 || env.previous_rev != a->status.env_rev)
		return;
	vars_copy(&env.vars, &env.previous);
	vars_fini(&env.previous);
	env.previous_rev = -1;
	put_gear_vars(b, t, a->id, &env.vars);
	record_put_cas(t, store_key_env(a->id), rev, &wire_env_codec, &env);
}

void
app_set_vars(struct broker *b, const char *app_id, const struct wire_var_list *vars, bool rolls,
    app_done_fn *done, void *arg)
{
	struct op *op = op_new(b, app_id, done, arg);

	for (size_t i = 0; i < vars->n; i++)
		vars_add(&op->vars, vars->v[i].name, vars->v[i].value);
	op->rolls = rolls;
	change_start(b, vars_build, op_done, op);
}

/* Deleting what is being deleted is fine: the asker waits for the same end. */
static int
delete_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct op *op = arg;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct err why = { 0 };
	int64_t rev;

	if (record_app_by_id(b->store, op->app_id, &a, &rev, &why) < 0)
		return why.code == ERR_NOT_FOUND ? 0 : (*e = why, -1);
	if (a.spec.deleted)
		return 0;
	a.spec.deleted = true;
	put_app(t, &a, rev);
	return 0;
}

void
app_delete(struct broker *b, const char *app_id, app_done_fn *done, void *arg)
{
	change_start(b, delete_build, op_done, op_new(b, app_id, done, arg));
}

/* --- after a restart --- */

static bool
find_unfinished(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_app *a = rec;

	(void)key;
	(void)rev;
	if (!a->spec.deleted && (a->spec.deployment == NULL || a->spec.deployment[0] == '\0') &&
	    (a->initial_git_url == NULL || strcmp(a->initial_git_url, "empty") != 0))
		str_list_add(arg, a->id);
	return true;
}

struct recovery {
	struct broker *b; /* borrowed */
	struct str_list ids;
	size_t next;
	app_done_fn *done;
	void *arg; /* borrowed, handed back */
};

static void recover_next(void *arg);

static void
recover_marked(const struct err *e, void *arg)
{
	struct recovery *r = arg;

	if (e != NULL)
		log_error("app_recover_failed", LOG_STR("app", r->ids.v[r->next - 1]), LOG_ERR(e));
	recover_next(r);
}

static void
recover_next(void *arg)
{
	struct recovery *r = arg;

	if (r->next < r->ids.n) {
		log_warn("app_create_unfinished", LOG_STR("app", r->ids.v[r->next]));
		app_delete(r->b, r->ids.v[r->next++], recover_marked, r);
		return;
	}
	r->done(NULL, r->arg);
	str_list_fini(&r->ids);
	free(r);
}

void
app_recover(struct broker *b, app_done_fn *done, void *arg)
{
	struct recovery *r = xcalloc(1, sizeof *r);

	*r = (struct recovery){ .b = b, .done = done, .arg = arg };
	record_each(b->store, STORE_PREFIX_APP, &wire_app_codec, find_unfinished, &r->ids);
	loop_post(b->loop, recover_next, r);
}

int64_t
app_share(const struct wire_app *a, const char *deployment)
{
	int64_t percent = a->status.canary == NULL ? 0 : a->spec.canary_percent;

	if (deployment == NULL || *deployment == '\0' || !a->spec.running)
		return 0;
	if (str_same(deployment, a->status.canary))
		return percent;
	return str_same(deployment, a->status.deployment) ? 100 - percent : 0;
}
