/* Applications and cartridges as the API shows them. */
#include "broker/api_view.h"

#include <string.h>

#include "broker/api_alias.h"
#include "broker/api_call.h"
#include "broker/api_link.h"
#include "broker/app.h"
#include "broker/api_env.h"
#include "broker/broker.h"
#include "broker/cart_names.h"
#include "broker/cart_pick.h"
#include "broker/cart_status.h"
#include "broker/catalog.h"
#include "broker/gear_disk.h"
#include "broker/gear_group.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"
#include "lib/store/store.h"
#include "broker/record.h"

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
static const struct api_link_param ev_canary[] = EVENT("canary");
static const struct api_link_param ev_promote[] = EVENT("promote");
static const struct api_link_param ev_abort[] = EVENT("abort");
static const struct api_link_param canary_optional[] = {
	{ "deployment_id", "string", "The deployment; without it the canary there is", NULL, NULL },
	{ "percent", "integer", "Of the clients get it", NULL, "10" },
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
	{ "artifact_url", "string", "URL of an archive (deployment type binary)", NULL, NULL },
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
	{ "canary_percent", "integer", "Of the clients get what is deployed, until it is promoted",
	    NULL, "0" },
	END_PARAMS,
};
static const struct api_link_param add_cart_required[] = {
	{ "name", "string", "Name of the cartridge, e.g.: postgresql-15", NULL, NULL },
	END_PARAMS,
};
static const struct api_link_param add_cart_optional[] = {
	{ "colocate_with", "string", "The component to colocate with", NULL, NULL },
	{ "scales_from", "integer", "Minimum number of gears", NULL, NULL },
	{ "scales_to", "integer", "Maximum number of gears", NULL, NULL },
	{ "additional_gear_storage", "integer", "Additional GB of space to request on all gears",
	    NULL, NULL },
	{ "gear_size", "string", "Gear size for the cartridge", NULL, NULL },
	{ "url", "string", "A URL to a downloadable cartridge", NULL, NULL },
	{ "environment_variables", "array", "Add or Update application environment variables", NULL,
	    NULL },
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

static const struct api_link_param alias_required[] = {
	{ "id", "string", "Alias for application", NULL, NULL },
	END_PARAMS,
};
static const struct api_link_param alias_event[] = {
	{ "event", "string", "event", "[\"add-alias\"]", NULL },
	{ "alias", "string", "The server alias for the application", NULL, NULL },
	END_PARAMS,
};
static const struct api_link_param unalias_event[] = {
	{ "event", "string", "event", "[\"remove-alias\"]", NULL },
	{ "alias", "string", "The application alias to be removed", NULL, NULL },
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
	{ "ADD_CARTRIDGE", "Add one or more embedded cartridges", "POST", "/cartridges",
	    add_cart_required, add_cart_optional, 0, 0 },
	{ "LIST_CARTRIDGES", "List embedded cartridges", "GET", "/cartridges", NULL, NULL, 0, 0 },
	{ "DNS_RESOLVABLE", "Resolve DNS", "GET", "/dns_resolvable", NULL, NULL, 0, 0 },
	{ "ADD_ALIAS", "Create new alias", "POST", "/aliases", alias_required,
	    api_alias_cert_params, 4, 0 },
	{ "ADD_ALIAS", "Create new alias", "POST", "/events", alias_event, NULL, 0, 3 },
	{ "REMOVE_ALIAS", "Remove alias", "POST", "/events", unalias_event, NULL, 0, 3 },
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
	EV("CANARY", "Serve a deployment to some of the clients", ev_canary, canary_optional),
	EV("PROMOTE", "Serve the canary to all clients", ev_promote, NULL),
	EV("ABORT", "Serve the canary to nobody any more", ev_abort, NULL),
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

char *
api_view_cart_name(const struct broker *b, const struct wire_gear_cart *g)
{
	AUTO_FINI(wire_cart_fini) struct wire_cart k = { 0 };

	if (g == NULL)
		return xstrdup("");
	cart_pick_load(b, g, &k);
	return wire_cart_full_name(&k);
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

/* v2's shape: properties by name, and a sentence with the address. */
static void
write_embedded(const struct api_call *c, struct api_json *j, const struct wire_app *a)
{
	api_json_obj(j, "embedded");
	for (size_t i = 0; i < a->cartridges.n; i++) {
		const struct wire_gear_cart *g = &a->cartridges.v[i];
		AUTO(free) char *name = api_view_cart_name(c->b, g);
		AUTO_FINI(api_env_fini) struct wire_var_list l = { 0 };

		if (g->is_web)
			continue;
		cart_status_properties(c->b, a->id, g->name, &l);
		api_json_obj(j, name);
		for (size_t k = 0; k < l.n; k++) {
			api_json_str(j, l.v[k].name, l.v[k].value);
			if (strcmp(l.v[k].name, "connection_url") == 0)
				api_json_fmt(j, "info", "Connection URL: %s", l.v[k].value);
		}
		api_json_end_obj(j);
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

bool
api_view_disk(const struct api_call *c, struct api_json *j, const char *node, const char *gear)
{
	AUTO_FINI(wire_gear_status_fini) struct wire_gear_status st = { 0 };
	struct err e = { 0 };

	if (record_get(c->b->store, store_key_gear_status(node, gear), &wire_gear_status_codec, &st,
	        NULL, &e) < 0)
		return false;
	api_json_str(j, "quota",
	    st.quota != NULL && strcmp(st.quota, "advisory") == 0 ? "advisory" : "enforced");
	api_json_str(j, "notice", st.notice);
	return true;
}

struct disk_search {
	const struct api_call *c;
	struct api_json *j;
	const char *gear;
	bool is_found;
};

static bool
find_disk(const struct store_kv *node, void *arg)
{
	struct disk_search *s = arg;

	s->is_found = api_view_disk(s->c, s->j, node->key + strlen(STORE_PREFIX_NODE), s->gear);
	return !s->is_found;
}

/* The head gear's. */
static void
write_disk(const struct api_call *c, struct api_json *j, const struct wire_app *a)
{
	struct disk_search s = { .c = c, .j = j, .gear = a->id };

	store_range(c->b->store, STORE_PREFIX_NODE, find_disk, &s);
	if (!s.is_found)
		api_json_null(j, "quota");
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

/* What the marker of the deployment that serves says. */
static void
write_scaling(const struct api_call *c, struct api_json *j, const struct wire_app *a)
{
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	struct err e = { 0 };

	if (a->scalable && a->status.deployment != NULL && *a->status.deployment != '\0' &&
	    record_get(c->b->store, store_key_deployment(a->id, a->status.deployment),
	        &wire_deployment_codec, &d, NULL, &e) == 0 &&
	    d.disable_auto_scaling)
		api_json_str(j, "auto_scaling", "disabled");
	else
		api_json_null(j, "auto_scaling");
}

static void
write_canary(struct api_json *j, const struct wire_app *a)
{
	api_json_int(j, "canary_percent", a->canary_percent);
	if (a->spec.canary == NULL) {
		api_json_null(j, "canary");
		return;
	}
	api_json_obj(j, "canary");
	api_json_str(j, "deployment_id", a->spec.canary);
	api_json_int(j, "percent", a->spec.canary_percent);
	api_json_str(
	    j, "state", str_same(a->spec.canary, a->status.canary) ? "serving" : "starting");
	api_json_end_obj(j);
}

void
api_view_app(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_app *a, bool cartridges)
{
	AUTO(free) char *base = api_view_app_base(c, a);
	AUTO(free) char *framework = api_view_cart_name(c->b, wire_gear_web(&a->cartridges));

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
	api_alias_write_all(c, j, "aliases", a);
	write_embedded(c, j, a);
	api_json_str(j, "health_check_path", a->health_path == NULL ? "" : a->health_path);
	api_json_null(j, "building_with");
	api_json_null(j, "building_app");
	api_json_null(j, "build_job_url");
	api_json_bool(j, "auto_deploy", a->auto_deploy);
	api_json_str(j, "deployment_branch", a->deployment_branch);
	api_json_int(j, "keep_deployments", a->keep_deployments);
	api_json_str(j, "deployment_type", a->deployment_type);
	api_json_str(j, "rollout", a->spec.replace ? "replace" : "overlap");
	api_json_str(j, "state", app_state(a));
	write_disk(c, j, a);
	api_json_str(j, "sleep", wire_sleep_names[a->spec.sleep].name);
	api_json_int(j, "idle_freeze", a->idle_freeze_s);
	api_json_int(j, "idle_reclaim", a->idle_reclaim_s);
	api_json_int(j, "idle_stop", a->idle_stop_s);
	write_scaling(c, j, a);
	api_json_str(j, "deployment_id",
	    a->status.deployment == NULL || *a->status.deployment == '\0' ? NULL
	                                                                  : a->status.deployment);
	write_canary(j, a);
	if (c->minor >= 4)
		api_view_app_members(c, j, "members", a);
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

/* What a cartridge is: in the catalogue, or in an application (g, a). */
struct shown {
	const struct wire_cart *k;
	const char *id;                 /* or NULL */
	const struct catalog_cart *cc;  /* or NULL */
	const struct wire_gear_cart *g; /* or NULL */
	const struct wire_app *a;       /* or NULL */
};

static void
write_times(struct api_json *j, const struct shown *x)
{
	if (x->cc == NULL)
		return;
	api_json_time(j, "creation_time", x->cc->created_at);
	if (x->cc->is_active)
		api_json_time(j, "activation_time", x->cc->activated_at);
}

/* In the catalogue, with the v2 names that lead here: rhc looks for "php-5.4" by itself, in names,
 * tags and descriptions, and never sends a name that it has not found. */
static void
write_description(const struct api_call *c, struct api_json *j, const struct shown *x)
{
	AUTO(free) char *before = cart_names_before(x->k->name);
	AUTO(free) char *text = NULL;
	struct err e = { 0 };

	if (before != NULL && x->cc != NULL && x->a == NULL &&
	    catalog_find(c->b->catalog, x->k->name, &e) == x->cc)
		text = xasprintf("%s%sTakes the place of %s.",
		    x->k->description == NULL ? "" : x->k->description,
		    x->k->description == NULL ? "" : " ", before);
	api_json_str(j, "description", text == NULL ? x->k->description : text);
}

/* Members that a catalogue entry and a cartridge of an application share. */
static void
write_cart(const struct api_call *c, struct api_json *j, const struct shown *x)
{
	const struct wire_cart *k = x->k;
	AUTO(free) char *full = wire_cart_full_name(k);
	const struct wire_cart_scaling *s =
	    k->components.n == 0 ? NULL : &k->components.v[0].scaling;
	const char *url = x->g != NULL ? x->g->source_url : x->cc != NULL ? x->cc->url : NULL;
	int64_t max = s == NULL ? -1 : s->max;

	if (x->id != NULL)
		api_json_str(j, "id", x->id);
	api_json_str(j, "name", full);
	api_json_str(j, "type", wire_cart_is_web(k) ? "standalone" : "embedded");
	if (c->minor == 0)
		return;
	api_json_str(j, "version", k->version);
	api_json_str(j, "display_name", k->display_name);
	write_description(c, j, x);
	api_json_str(j, "license", k->license);
	api_json_str(j, "license_url", k->license_url);
	api_json_str(j, "website", k->website);
	api_json_strs(j, "tags", &k->categories);
	write_help(j, k);
	api_json_int(j, "supported_scales_from", s == NULL ? 1 : s->min);
	api_json_int(
	    j, "supported_scales_to", x->a != NULL && !x->a->scalable && max == -1 ? 1 : max);
	api_json_raw(j, "usage_rates", "[]");
	api_json_bool(
	    j, "automatic_updates", url == NULL && !wire_cart_has_category(k, "no_updates"));
	write_times(j, x);
	write_requires(j, k);
	if (url == NULL)
		api_json_str(j, "maintained_by", k->cart_vendor);
	else
		api_json_str(j, "url", url);
	if (k->is_obsolete || (x->cc != NULL && x->cc->is_obsolete))
		api_json_bool(j, "obsolete", true);
}

void
api_view_cart(
    const struct api_call *c, struct api_json *j, const char *key, const struct catalog_cart *cc)
{
	const struct shown x = { .k = &cc->cart, .id = cc->id, .cc = cc };

	api_json_obj(j, key);
	write_cart(c, j, &x);
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
static const struct api_link_param cart_update[] = {
	{ "scales_from", "integer", "Minimum scale for the component", NULL, "1" },
	{ "scales_to", "integer", "Maximum scale for the component", NULL, "-1" },
	{ "additional_gear_storage", "integer", "Additional GB of space to request on all gears",
	    NULL, NULL },
	END_PARAMS,
};
static const struct api_link cart_links[] = {
	{ "GET", "Get cartridge", "GET", "", NULL, NULL, 0, 0 },
	{ "UPDATE", "Update cartridge configuration", "PUT", "", NULL, cart_update, 0, 0 },
	EV("START", "Start cartridge", cart_events, NULL),
	EV("STOP", "Stop cartridge", cart_events, NULL),
	EV("RESTART", "Restart cartridge", cart_events, NULL),
	EV("RELOAD", "Reload cartridge", cart_events, NULL),
	{ "DELETE", "Delete cartridge", "DELETE", "", NULL, NULL, 0, 0 },
	{ NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

static const struct wire_var *
find_property(const struct wire_var_list *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].name, name) == 0)
			return &l->v[i];
	}
	return NULL;
}

static void
write_property(struct api_json *j, const char *name, const char *type, const char *text,
    const struct wire_var *value)
{
	api_json_obj(j, NULL);
	api_json_str(j, "name", name);
	api_json_str(j, "type", type);
	api_json_str(j, "description", text);
	if (value != NULL)
		api_json_str(j, "value", value->value);
	api_json_end_obj(j);
}

/* What the manifest announces, with its value once there is one; then what came beyond that. */
static void
write_properties(const struct api_call *c, struct api_json *j, const struct wire_app *a,
    const struct wire_cart *k)
{
	AUTO_FINI(api_env_fini) struct wire_var_list l = { 0 };

	cart_status_properties(c->b, a->id, k->name, &l);
	if (c->minor == 0) {
		api_json_obj(j, "properties");
		for (size_t i = 0; i < l.n; i++)
			api_json_str(j, l.v[i].name, l.v[i].value);
		api_json_end_obj(j);
		return;
	}
	api_json_arr(j, "properties");
	for (size_t i = 0; i < k->cart_data.n; i++) {
		const struct wire_cart_datum *d = &k->cart_data.v[i];

		write_property(j, d->key, d->type, d->text, find_property(&l, d->key));
	}
	for (size_t i = 0; i < l.n; i++) {
		bool is_told = false;

		for (size_t n = 0; n < k->cart_data.n; n++)
			is_told = is_told || strcmp(k->cart_data.v[n].key, l.v[i].name) == 0;
		if (!is_told)
			write_property(j, l.v[i].name, "cart_data", "", &l.v[i]);
	}
	api_json_end_arr(j);
}

/* Where it is: its group of gears, and who else is there. */
static void
write_place(const struct api_call *c, struct api_json *j, const struct wire_app *a,
    const struct wire_gear_cart *g)
{
	AUTO_FINI(gear_group_fini) struct gear_group_list groups = { 0 };
	const struct gear_group *own;
	/* category external: known by its manifest, and nowhere */
	bool is_outside = g->manifest != NULL && (g->digest == NULL || g->digest[0] == '\0');
	size_t k = 0;

	gear_group_plan(c->b, a, &groups);
	while (k + 1 < groups.n && !str_list_has(&groups.v[k].carts, g->name))
		k++;
	own = &groups.v[k];
	api_json_int(j, "scales_from",
	    is_outside           ? 0
	    : g->scales_from > 0 ? g->scales_from
	                         : own->gears);
	api_json_int(j, "scales_to",
	    is_outside          ? 0
	    : !a->scalable      ? 1
	    : g->scales_to != 0 ? g->scales_to
	                        : own->max);
	api_json_int(j, "current_scale", is_outside ? 0 : own->is_web ? a->spec.gears : own->gears);
	api_json_null(j, "scales_with");
	api_json_str(j, "gear_profile", gear_group_profile(own, a));
	api_json_int(j, "base_gear_storage", gear_disk_base_gb(c->b, gear_group_profile(own, a)));
	api_json_int(j, "additional_gear_storage", gear_disk_extra_gb(a, own));
	api_json_arr(j, "collocated_with");
	for (size_t i = 0; i < a->cartridges.n; i++) {
		AUTO(free) char *name = NULL;

		if (&a->cartridges.v[i] == g || !str_list_has(&own->carts, a->cartridges.v[i].name))
			continue;
		name = api_view_cart_name(c->b, &a->cartridges.v[i]);
		api_json_str(j, NULL, name);
	}
	api_json_end_arr(j);
	api_json_time(j, "added_time", g->added_at > 0 ? g->added_at : a->created_at);
}

void
api_view_app_cart_with(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_app *a, const struct wire_gear_cart *g, const char *status_messages)
{
	const struct catalog_cart *cc = catalog_of(c->b->catalog, g);
	AUTO_FINI(wire_cart_fini) struct wire_cart k = { 0 };
	AUTO(free) char *app = api_view_app_base(c, a);
	AUTO(free) char *name = api_view_cart_name(c->b, g);
	AUTO(free) char *base = xasprintf("%s/cartridge/%s", app, name);

	cart_pick_load(c->b, g, &k);
	const struct shown x = {
		.k = &k, .id = cc == NULL ? NULL : cc->id, .cc = cc, .g = g, .a = a
	};
	api_json_obj(j, key);
	write_cart(c, j, &x);
	api_json_raw(j, "status_messages", status_messages);
	write_properties(c, j, a, &k);
	if (c->minor > 0)
		write_place(c, j, a, g);
	api_link_write(c, j, cart_links, base);
	api_json_end_obj(j);
}

void
api_view_app_cart(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_app *a, const struct wire_gear_cart *g)
{
	api_view_app_cart_with(c, j, key, a, g, "null");
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
