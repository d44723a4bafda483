/* Applications and cartridges as the API shows them. */
#include "broker/api_view.h"

#include <string.h>

#include "broker/api_call.h"
#include "broker/api_link.h"
#include "broker/app.h"
#include "broker/broker.h"
#include "broker/gear_group.h"
#include "lib/base/mem.h"

#define END_PARAMS                                                                                 \
	{                                                                                          \
		NULL, NULL, NULL, NULL, NULL                                                       \
	}
enum { SSH_PORT = 22 };

#define EVENT(word)                                                                                \
	{                                                                                          \
		{ "event", "string", "event", "[\"" word "\"]", NULL }, END_PARAMS                 \
	}

static const struct api_link_param ev_start[] = EVENT("start");
static const struct api_link_param ev_stop[] = EVENT("stop");
static const struct api_link_param ev_force_stop[] = EVENT("force-stop");
static const struct api_link_param ev_restart[] = EVENT("restart");
static const struct api_link_param ev_scale_up[] = EVENT("scale-up");
static const struct api_link_param ev_scale_down[] = EVENT("scale-down");
static const struct api_link_param ev_tidy[] = EVENT("tidy");
static const struct api_link_param ev_reload[] = EVENT("reload");
static const struct api_link_param ev_thread_dump[] = EVENT("thread-dump");
static const struct api_link_param ev_activate[] = {
	{ "event", "string", "event", "[\"activate\"]", NULL },
	{ "deployment_id", "string", "The deployment ID to activate the application", NULL, NULL },
	END_PARAMS,
};
static const struct api_link_param scale_optional[] = {
	{ "by", "integer", "The number of gears to scale by", NULL, "1" },
	{ "to", "integer", "The number of gears to scale to", NULL, NULL },
	END_PARAMS,
};
static const struct api_link_param var_required[] = {
	{ "name", "string", "Name of the environment variable", NULL, NULL },
	{ "value", "string", "Value of the environment variable", NULL, NULL },
	END_PARAMS,
};
static const struct api_link_param vars_optional[] = {
	{ "environment_variables", "array",
	    "Add/Update/Delete application environment variables, e.g. "
	    "[{'name':'FOO', 'value':'123'}, {'name':'BAR'}]",
	    NULL, NULL },
	{ "restart", "boolean", "Roll the application so that it sees them", "[true,false]",
	    "true" },
	END_PARAMS,
};
static const struct api_link_param deploy_optional[] = {
	{ "ref", "string", "Git ref (tag, branch, commit id)", NULL, "\"master\"" },
	{ "hot_deploy", "boolean", "Indicates whether this is a hot deployment", "[true,false]",
	    "false" },
	{ "force_clean_build", "boolean", "Indicates whether a clean build should be performed",
	    "[true,false]", "false" },
	END_PARAMS,
};
static const struct api_link_param update_optional[] = {
	{ "auto_deploy", "boolean", "Deploy on each push to the deployment branch", "[true,false]",
	    "true" },
	{ "deployment_branch", "string", "The branch that is deployed", NULL, "\"master\"" },
	{ "keep_deployments", "integer", "The number of deployments to keep", NULL, "10" },
	{ "deployment_type", "string", "git or binary", "[\"git\",\"binary\"]", "\"git\"" },
	END_PARAMS,
};
static const struct api_link_param log_optional[] = {
	{ "lines", "integer", "How many of the last lines", NULL, "100" },
	{ "follow", "boolean", "Send new lines as they come", "[true,false]", "false" },
	END_PARAMS,
};

static const struct api_link_param event_optional[] = {
	{ "lines", "integer", "How many of the last events", NULL, "200" },
	{ "follow", "boolean", "Send new events as they come", "[true,false]", "false" },
	END_PARAMS,
};

#define EV(key, rel, params, opt)                                                                  \
	{                                                                                          \
		key, rel, "POST", "/events", params, opt, 0, 0                                     \
	}
static const struct api_link app_links[] = {
	{ "GET", "Get application", "GET", "", NULL, NULL, 0, 0 },
	{ "GET_DESCRIPTOR", "Get application descriptor", "GET", "/descriptor", NULL, NULL, 0, 0 },
	{ "GET_GEAR_GROUPS", "Get application gear groups", "GET", "/gear_groups", NULL, NULL, 0,
	    0 },
	EV("START", "Start application", ev_start, NULL),
	EV("STOP", "Stop application", ev_stop, NULL),
	EV("FORCE_STOP", "Force stop application", ev_force_stop, NULL),
	EV("RESTART", "Restart application", ev_restart, NULL),
	EV("SCALE_UP", "Scale up application", ev_scale_up, scale_optional),
	EV("SCALE_DOWN", "Scale down application", ev_scale_down, scale_optional),
	EV("TIDY", "Tidy the application framework", ev_tidy, NULL),
	EV("RELOAD", "Reload the application", ev_reload, NULL),
	EV("THREAD_DUMP", "Trigger thread dump", ev_thread_dump, NULL),
	{ "LIST_CARTRIDGES", "List embedded cartridges", "GET", "/cartridges", NULL, NULL, 0, 0 },
	{ "DNS_RESOLVABLE", "Resolve DNS", "GET", "/dns_resolvable", NULL, NULL, 0, 0 },
	{ "LIST_ALIASES", "List application aliases", "GET", "/aliases", NULL, NULL, 4, 0 },
	{ "LIST_MEMBERS", "List members of this application", "GET", "/members", NULL, NULL, 4, 0 },
	{ "ADD_ENVIRONMENT_VARIABLE", "Add an environment variable", "POST",
	    "/environment-variables", var_required, NULL, 6, 0 },
	{ "SET_UNSET_ENVIRONMENT_VARIABLES", "Add/Update/Delete environment variables", "PATCH",
	    "/environment-variables", NULL, vars_optional, 6, 0 },
	{ "SET_UNSET_ENVIRONMENT_VARIABLES", "Add/Update/Delete environment variables", "POST",
	    "/environment-variables", NULL, vars_optional, 0, 5 },
	{ "LIST_ENVIRONMENT_VARIABLES", "List environment variables", "GET",
	    "/environment-variables", NULL, NULL, 0, 0 },
	{ "DEPLOY", "Deploy the application", "POST", "/deployments", NULL, deploy_optional, 0, 0 },
	EV("ACTIVATE", "Activate a specific deployment of the application", ev_activate, NULL),
	{ "LIST_DEPLOYMENTS", "List all deployments", "GET", "/deployments", NULL, NULL, 0, 0 },
	{ "LOGS", "Read the application's output", "GET", "/logs", NULL, log_optional, 0, 0 },
	{ "EVENTS", "Read what happened", "GET", "/events", NULL, event_optional, 0, 0 },
	{ "UPDATE", "Update application", "PUT", "", NULL, update_optional, 0, 0 },
	{ "DELETE", "Delete application", "DELETE", "", NULL, NULL, 0, 0 },
	{ NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

char *
api_view_app_base(const struct api_call *c, const struct wire_app *a)
{
	if (c->minor >= 6)
		return xasprintf("application/%s", a->id);
	return xasprintf("domain/%s/application/%s", a->domain, a->name);
}

char *
api_view_app_url(const struct broker *b, const struct wire_app *a)
{
	AUTO_FINI(str_url_fini) struct str_url u = { 0 };
	AUTO(free) char *host = app_host(b, a->name, a->domain);
	struct err e = { 0 };
	const char *router = b->conf.router_url;
	int standard;

	if (router == NULL || *router == '\0' || str_url_parse(router, "router_url", &u, &e) < 0)
		return xasprintf("http://%s/", host);
	standard = strcmp(u.scheme, "https") == 0 ? 443 : 80;
	if (u.port == 0 || u.port == standard)
		return xasprintf("%s://%s/", u.scheme, host);
	return xasprintf("%s://%s:%d/", u.scheme, host, u.port);
}

const struct wire_gear_cart *
api_view_web(const struct wire_app *a)
{
	for (size_t i = 0; i < a->cartridges.n; i++) {
		if (a->cartridges.v[i].is_web)
			return &a->cartridges.v[i];
	}
	return NULL;
}

char *
api_view_cart_name(const struct broker *b, const struct wire_gear_cart *g)
{
	const struct catalog_cart *cc = g == NULL ? NULL : catalog_of(b->catalog, g);

	if (cc != NULL)
		return xstrdup(cc->full_name);
	return g == NULL ? xstrdup("") : xasprintf("%s-%s", g->name, g->version);
}

static const char *
app_state(const struct wire_app *a)
{
	const char *phase = a->status.phase == NULL ? "" : a->status.phase;

	if (a->spec.deleted)
		return "deleting";
	if (strcmp(phase, "rolling") == 0)
		return "deploying";
	if (!a->spec.running)
		return "stopped";
	if (a->spec.sleep != WIRE_SLEEP_AWAKE)
		return "idle";
	return a->status.deployment == NULL || a->status.deployment[0] == '\0' ? "new" : "started";
}

static void
write_embedded(const struct api_call *c, struct api_json *j, const struct wire_app *a)
{
	api_json_obj(j, "embedded");
	for (size_t i = 0; i < a->cartridges.n; i++) {
		AUTO(free) char *name = api_view_cart_name(c->b, &a->cartridges.v[i]);

		if (!a->cartridges.v[i].is_web)
			api_json_raw(j, name, "{}");
	}
	api_json_end_obj(j);
}

char *
api_view_ssh_url(const struct broker *b, const struct wire_app *a, const char *gear)
{
	if (b->ssh_port == 0)
		return NULL;
	if (b->ssh_port == SSH_PORT)
		return xasprintf("ssh://%s@%s-%s.%s", gear, a->name, a->domain, b->conf.app_domain);
	return xasprintf(
	    "ssh://%s@%s-%s.%s:%d", gear, a->name, a->domain, b->conf.app_domain, b->ssh_port);
}

static void
write_urls(const struct api_call *c, struct api_json *j, const struct wire_app *a)
{
	AUTO(free) char *git = xasprintf("%s/git/%s/%s.git", c->root, a->domain, a->name);
	AUTO(free) char *url = api_view_app_url(c->b, a);
	bool is_empty = a->initial_git_url != NULL && strcmp(a->initial_git_url, "empty") == 0;

	AUTO(free) char *ssh = api_view_ssh_url(c->b, a, a->id);
	AUTO(free) char *git_ssh = ssh == NULL ? NULL : xasprintf("%s/~/git/%s.git/", ssh, a->name);

	api_json_str(j, "git_url", git_ssh == NULL ? git : git_ssh);
	api_json_str(j, "git_http_url", git);
	api_json_str(j, "ssh_url", ssh);
	api_json_str(j, "app_url", url);
	if (c->minor >= 1)
		api_json_str(j, "initial_git_url", is_empty ? NULL : a->initial_git_url);
}

/* Those of services count as well. */
static int64_t
count_gears(const struct api_call *c, const struct wire_app *a)
{
	AUTO_FINI(gear_group_fini) struct gear_group_list groups = { 0 };

	if (!a->scalable)
		return a->spec.gears;
	gear_group_plan(c->b, a, &groups);
	return a->spec.gears + gear_group_others(&groups);
}

void
api_view_app(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_app *a, bool cartridges)
{
	AUTO(free) char *base = api_view_app_base(c, a);
	AUTO(free) char *framework = api_view_cart_name(c->b, api_view_web(a));

	api_json_obj(j, key);
	api_json_str(j, c->minor >= 6 ? "id" : "uuid", a->id);
	api_json_str(j, "name", a->name);
	api_json_str(j, "domain_id", a->domain);
	api_json_time(j, "creation_time", a->created_at);
	api_json_str(j, "framework", framework);
	api_json_str(j, "gear_profile", a->profile);
	api_json_int(j, "gear_count", count_gears(c, a));
	api_json_bool(j, "scalable", a->scalable);
	if (c->minor >= 6)
		api_json_bool(j, "ha", false);
	write_urls(c, j, a);
	api_json_raw(j, "aliases", "[]");
	write_embedded(c, j, a);
	api_json_str(j, "health_check_path", a->health_path == NULL ? "" : a->health_path);
	api_json_null(j, "building_with");
	api_json_null(j, "building_app");
	api_json_null(j, "build_job_url");
	api_json_bool(j, "auto_deploy", a->auto_deploy);
	api_json_str(j, "deployment_branch", a->deployment_branch);
	api_json_int(j, "keep_deployments", a->keep_deployments);
	api_json_str(j, "deployment_type", a->deployment_type);
	api_json_str(j, "state", app_state(a));
	api_json_str(j, "sleep", wire_sleep_names[a->spec.sleep].name);
	api_json_int(j, "idle_freeze", a->idle_freeze_s);
	api_json_int(j, "idle_reclaim", a->idle_reclaim_s);
	api_json_int(j, "idle_stop", a->idle_stop_s);
	api_json_str(j, "deployment_id",
	    a->status.deployment == NULL || *a->status.deployment == '\0' ? NULL
	                                                                  : a->status.deployment);
	if (c->minor >= 4)
		api_view_members(c, j, "members", a->domain, a->owner);
	if (cartridges)
		api_view_app_carts(c, j, "cartridges", a);
	if (c->minor == 0) {
		api_json_int(j, "scale_min", 1);
		api_json_int(j, "scale_max", a->scalable ? APP_GEARS_MAX : 1);
	}
	api_link_write(c, j, app_links, base);
	api_json_end_obj(j);
}

/* --- cartridges --- */

static void
write_requires(struct api_json *j, const struct wire_cart *k)
{
	if (k->requires.n == 0)
		return;
	api_json_arr(j, "requires");
	for (size_t i = 0; i < k->requires.n; i++) {
		api_json_arr(j, NULL);
		api_json_str(j, NULL, k->requires.v[i]);
		api_json_end_arr(j);
	}
	api_json_end_arr(j);
}

static void
write_help(struct api_json *j, const struct wire_cart *k)
{
	api_json_obj(j, "help_topics");
	for (size_t i = 0; i < k->help_topics.n; i++)
		api_json_str(j, k->help_topics.v[i].key, k->help_topics.v[i].text);
	api_json_end_obj(j);
}

/* Members that a catalogue entry and a cartridge of an application share. */
static void
write_cart(const struct api_call *c, struct api_json *j, const struct catalog_cart *cc)
{
	const struct wire_cart *k = &cc->cart;
	const struct wire_cart_scaling *s =
	    k->components.n == 0 ? NULL : &k->components.v[0].scaling;

	api_json_str(j, "id", cc->id);
	api_json_str(j, "name", cc->full_name);
	api_json_str(j, "type", cc->is_web ? "standalone" : "embedded");
	if (c->minor == 0)
		return;
	api_json_str(j, "version", k->version);
	api_json_str(j, "display_name", k->display_name);
	api_json_str(j, "description", k->description);
	api_json_str(j, "license", k->license);
	api_json_str(j, "license_url", k->license_url);
	api_json_str(j, "website", k->website);
	api_json_strs(j, "tags", &k->categories);
	write_help(j, k);
	api_json_int(j, "supported_scales_from", s == NULL ? 1 : s->min);
	api_json_int(j, "supported_scales_to", s == NULL ? -1 : s->max);
	api_json_raw(j, "usage_rates", "[]");
	api_json_bool(j, "automatic_updates", !wire_cart_has_category(k, "no_updates"));
	write_requires(j, k);
	api_json_str(j, "maintained_by", k->cart_vendor);
	if (k->is_obsolete)
		api_json_bool(j, "obsolete", true);
}

void
api_view_cart(
    const struct api_call *c, struct api_json *j, const char *key, const struct catalog_cart *cc)
{
	api_json_obj(j, key);
	write_cart(c, j, cc);
	if (c->minor == 0) {
		api_json_raw(j, "status_messages", "null");
		api_json_raw(j, "properties", "{}");
	}
	api_json_end_obj(j);
}

static const struct api_link_param cart_events[] = {
	{ "event", "string", "event", "[\"start\",\"stop\",\"restart\",\"reload\"]", NULL },
	END_PARAMS,
};
static const struct api_link cart_links[] = {
	{ "GET", "Get cartridge", "GET", "", NULL, NULL, 0, 0 },
	EV("START", "Start cartridge", cart_events, NULL),
	EV("STOP", "Stop cartridge", cart_events, NULL),
	EV("RESTART", "Restart cartridge", cart_events, NULL),
	EV("RELOAD", "Reload cartridge", cart_events, NULL),
	{ NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

static void
write_scale(const struct api_call *c, struct api_json *j, const struct wire_app *a,
    const struct wire_gear_cart *g)
{
	AUTO_FINI(gear_group_fini) struct gear_group_list groups = { 0 };
	const struct gear_group *own;
	size_t k = 0;

	gear_group_plan(c->b, a, &groups);
	while (k + 1 < groups.n && !str_list_has(&groups.v[k].carts, g->name))
		k++;
	own = &groups.v[k];
	api_json_int(j, "scales_from", own->gears);
	api_json_int(j, "scales_to", a->scalable ? own->max : 1);
	api_json_int(j, "current_scale", own->is_web ? a->spec.gears : own->gears);
	api_json_null(j, "scales_with");
}

void
api_view_app_cart(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_app *a, const struct wire_gear_cart *g)
{
	const struct catalog_cart *cc = catalog_of(c->b->catalog, g);
	AUTO(free) char *app = api_view_app_base(c, a);
	AUTO(free) char *name = api_view_cart_name(c->b, g);
	AUTO(free) char *base = xasprintf("%s/cartridge/%s", app, name);

	api_json_obj(j, key);
	if (cc != NULL) {
		write_cart(c, j, cc);
	} else { /* no longer in the catalogue */
		api_json_str(j, "name", name);
		api_json_str(j, "type", g->is_web ? "standalone" : "embedded");
		api_json_str(j, "version", g->version);
		api_json_raw(j, "tags", "[]");
	}
	api_json_null(j, "status_messages");
	api_json_raw(j, "properties", c->minor == 0 ? "{}" : "[]");
	if (c->minor > 0) {
		write_scale(c, j, a, g);
		api_json_str(j, "gear_profile", a->profile);
		api_json_int(j, "base_gear_storage", 1);
		api_json_int(j, "additional_gear_storage", 0);
		api_json_raw(j, "collocated_with", "[]");
		api_json_time(j, "added_time", a->created_at);
	}
	api_link_write(c, j, cart_links, base);
	api_json_end_obj(j);
}

void
api_view_app_carts(
    const struct api_call *c, struct api_json *j, const char *key, const struct wire_app *a)
{
	api_json_arr(j, key);
	for (size_t i = 0; i < a->cartridges.n; i++)
		api_view_app_cart(c, j, NULL, a, &a->cartridges.v[i]);
	api_json_end_arr(j);
}
