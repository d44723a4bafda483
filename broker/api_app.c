/* Applications: list, show, settings, delete, and what hangs on them. */
#include <inttypes.h>
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_domain.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/api_view.h"
#include "broker/app.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "broker/storage.h"
#include "lib/base/map.h"
#include "lib/base/fault.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/store/store_key.h"

enum {
	DELETE_MS = 120 * 1000,
	BRANCH_MAX = 256,
	KEEP_MAX = 1000,
	EXIT_APP = 101,
	EXIT_DOMAIN = 127,
	IDLE_SETTINGS = 3,
};

/* --- lists --- */

struct listing {
	struct api_call *c;
	bool owned;                       /* only of the user's own domains */
	struct omap *by_name;             /* owned; values: struct wire_app, owned */
	const struct wire_domain *domain; /* that is walked; borrowed */
};

static void
free_app(void *p)
{
	wire_app_fini(p);
	free(p);
}

static bool
collect(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_app *a = rec;
	struct listing *l = arg;
	AUTO(free) char *order = NULL;
	struct wire_app *copy;

	(void)key;
	(void)rev;
	if (access_is_ghost(a) || !access_app_may(&l->c->who, l->domain, a, ACCESS_VIEW))
		return true;
	order = xasprintf("%s %s", a->name, a->domain);
	copy = xcalloc(1, sizeof *copy);
	codec_copy(&wire_app_codec, copy, a);
	omap_set(l->by_name, order, copy);
	return true;
}

static bool
collect_of(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_domain *d = rec;
	struct listing *l = arg;
	AUTO(free) char *prefix = store_key_app(d->name, "");

	(void)key;
	(void)rev;
	if (!access_is_member(&l->c->who, d) ||
	    (l->owned && strcmp(d->owner, l->c->who.login) != 0))
		return true;
	l->domain = d;
	record_each(l->c->b->store, prefix, &wire_app_codec, collect, l);
	return true;
}

/* Those of all domains that one may see, or of the one in the path; by name. */
void
api_app_list(struct api_call *c)
{
	const char *domain = api_param_of_path(c->params, "domain");
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	struct listing l = { .c = c };
	void *value = NULL;
	bool cartridges = api_domain_includes(c, "cartridges");

	if (!api_domain_owner_is_self(c, &l.owned) ||
	    (domain != NULL && !api_domain_load(c, ACCESS_VIEW, &d)))
		return;
	l.by_name = omap_new(free_app);
	if (domain != NULL)
		(void)collect_of(NULL, 0, &d, &l);
	else
		record_each_with(c->b->store, STORE_PREFIX_DOMAIN, c->who.login, &wire_domain_codec,
		    collect_of, &l);
	api_json_arr(api_data(c, "applications"), NULL);
	for (const char *k = omap_seek(l.by_name, "", false, &value); k != NULL;
	     k = omap_seek(l.by_name, k, true, &value))
		api_view_app(c, &c->json, NULL, value, cartridges);
	api_json_end_arr(&c->json);
	omap_free(l.by_name);
	api_send(c, 200);
}

void
api_app_show(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };

	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	api_view_app(c, api_data(c, "application"), NULL, &a, api_domain_includes(c, "cartridges"));
	api_send(c, 200);
}

/* --- settings --- */

struct settings {
	char *app_id; /* owned */
	bool has_auto, has_keep, has_scale, has_canary;
	bool auto_deploy, scalable;
	int64_t keep, canary_percent;
	char *branch; /* owned or NULL */
	char *type;   /* owned or NULL */
	bool has_rollout, hands_over;
	struct {
		bool is_given;
		int64_t s;
	} idle[IDLE_SETTINGS];
};

/* Seconds without a request; 0: as the platform's; -1: never. */
static const char *const idle_names[IDLE_SETTINGS] = { "idle_freeze", "idle_reclaim", "idle_stop" };

static void
settings_free(void *p)
{
	struct settings *s = p;

	free(s->app_id);
	free(s->branch);
	free(s->type);
	free(s);
}

static int
settings_apply(struct wire_app *a, void *arg, struct err *e)
{
	const struct settings *s = arg;

	if (s->has_auto)
		a->auto_deploy = s->auto_deploy;
	if (s->has_scale && !s->scalable && a->spec.gears > 1)
		return err_set(e, ERR_INVALID, "scale",
		    "Application '%s' has %" PRId64 " gears: scale it down to 1 first.", a->name,
		    a->spec.gears);
	if (s->has_scale)
		a->scalable = s->scalable;
	if (s->has_keep)
		a->keep_deployments = s->keep;
	if (s->has_canary)
		a->canary_percent = s->canary_percent;
	if (s->branch != NULL) {
		mem_set_str(&a->deployment_branch, s->branch);
		a->branch_by_user = true;
	}
	if (s->type != NULL)
		mem_set_str(&a->deployment_type, s->type);
	if (s->has_rollout) {
		a->spec.hands_over = s->hands_over;
		storage_set_replace(a);
	}
	if (s->idle[0].is_given)
		a->idle_freeze_s = s->idle[0].s;
	if (s->idle[1].is_given)
		a->idle_reclaim_s = s->idle[1].s;
	if (s->idle[2].is_given)
		a->idle_stop_s = s->idle[2].s;
	return 0;
}

static void
settings_stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct settings *s = c->state;

	if (e != NULL)
		api_fail_err(c, e, 1);
	else
		api_load_send_app(c, s->app_id, 200, NULL);
}

static int
settings_read(const struct api_call *c, struct settings *s, struct err *e)
{
	const char *branch = NULL;
	const char *type = NULL, *rollout = NULL;
	bool any = false;

	s->has_auto = api_param_has(c->params, "auto_deploy");
	s->has_keep = api_param_has(c->params, "keep_deployments");
	s->has_scale = api_param_has(c->params, "scale");
	s->has_canary = api_param_has(c->params, "canary_percent");
	if (api_param_bool(c->params, "scale", &s->scalable, e) < 0 ||
	    api_param_bool(c->params, "auto_deploy", &s->auto_deploy, e) < 0 ||
	    api_param_int(c->params, "keep_deployments", 1, KEEP_MAX, &s->keep, e) < 0 ||
	    api_param_int(c->params, "canary_percent", 0, 100, &s->canary_percent, e) < 0 ||
	    api_param_str(c->params, "deployment_branch", BRANCH_MAX, &branch, e) < 0 ||
	    api_param_str(c->params, "deployment_type", BRANCH_MAX, &type, e) < 0 ||
	    api_param_str(c->params, "rollout", BRANCH_MAX, &rollout, e) < 0)
		return -1;
	if (branch != NULL && !app_is_ref(branch))
		return err_set(e, ERR_INVALID, "deployment_branch",
		    "'%s' is not a name that git allows for a branch.", branch);
	if (type != NULL && strcmp(type, "git") != 0 && strcmp(type, "binary") != 0)
		return err_set(e, ERR_INVALID, "deployment_type",
		    "The deployment type must be 'git' or 'binary'.");
	if (rollout != NULL && strcmp(rollout, "overlap") != 0 && strcmp(rollout, "replace") != 0)
		return err_set(
		    e, ERR_INVALID, "rollout", "The rollout must be 'overlap' or 'replace'.");
	s->has_rollout = any = rollout != NULL;
	s->hands_over = any && strcmp(rollout, "replace") == 0;
	for (int i = 0; i < IDLE_SETTINGS; i++) {
		s->idle[i].is_given = api_param_has(c->params, idle_names[i]);
		any = any || s->idle[i].is_given;
		if (api_param_int(
		        c->params, idle_names[i], -1, WIRE_APP_IDLE_S_MAX, &s->idle[i].s, e) < 0)
			return -1;
	}
	if (!any && !s->has_auto && !s->has_keep && !s->has_scale && !s->has_canary &&
	    branch == NULL && type == NULL)
		return err_set(e, ERR_INVALID, NULL,
		    "No changes were given: send auto_deploy, deployment_branch, keep_deployments, "
		    "deployment_type, canary_percent, rollout, idle_freeze, idle_reclaim or "
		    "idle_stop.");
	s->branch = xstrdup_null(branch);
	s->type = xstrdup_null(type);
	return 0;
}

void
api_app_update(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct settings *s;
	struct err e = { 0 };

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	s = xcalloc(1, sizeof *s);
	api_call_keep(c, s, settings_free);
	s->app_id = xstrdup(a.id);
	if (settings_read(c, s, &e) < 0)
		api_fail_err(c, &e, 1);
	else
		app_change(c->b, a.id, settings_apply, s, settings_stored, c);
}

/* --- delete --- */

struct removal {
	char *app_id; /* owned */
	char *name;   /* owned */
};

static void
removal_free(void *p)
{
	struct removal *r = p;

	free(r->app_id);
	free(r->name);
	free(r);
}

static void
delete_gone(struct api_call *c, const struct err *e)
{
	const struct removal *r = c->state;

	if (e != NULL && e->code != ERR_NOT_FOUND)
		api_load_fail_rollout(c, e);
	else
		api_send_deleted(c, "Application %s was deleted.", r->name);
}

static void
delete_marked(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct removal *r = c->state;

	if (e != NULL) {
		api_fail_err(c, e, EXIT_APP);
		return;
	}
	fault_point("app_delete_marked");
	api_load_settle_within(c, r->app_id, DELETE_MS, delete_gone);
}

void
api_app_delete(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct removal *r;

	if (!api_load_app(c, ACCESS_ADMIN, &a))
		return;
	r = xcalloc(1, sizeof *r);
	*r = (struct removal){ xstrdup(a.id), xstrdup(a.name) };
	api_call_keep(c, r, removal_free);
	app_delete(c->b, a.id, delete_marked, c);
}

/* --- members, descriptor, DNS --- */

void
api_app_members(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };

	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	api_view_app_members(c, api_data(c, "members"), NULL, &a);
	api_send(c, 200);
}

/* YAML in one string. */
void
api_app_descriptor(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(buf_fini) struct buf yaml = { 0 };

	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	buf_addf(&yaml, "---\nName: %s\nRequires:\n", a.name);
	for (size_t i = 0; i < a.cartridges.n; i++) {
		AUTO(free) char *name = api_view_cart_name(c->b, &a.cartridges.v[i]);

		buf_addf(&yaml, "- %s\n", name);
	}
	api_json_str(api_data(c, "descriptor"), NULL, yaml.p);
	api_send(c, 200);
}

/* Routed as soon as it exists: names below the suffix need no record of their own. */
void
api_app_dns(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };

	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	api_json_bool(api_data(c, "boolean"), NULL, true);
	api_send(c, 200);
}
