#include "broker/api_route.h"

#include <string.h>

#include "broker/api_handlers.h"
#include "broker/api_param.h"
#include "lib/base/mem.h"

enum { SEGMENTS_MAX = 12 };

static const struct api_route routes[] = {
	{ "GET", "api", API_SCOPE_OPEN, api_entry_links },
	{ "GET", "environment", API_SCOPE_OPEN, api_entry_environment },
	{ "GET", "regions", API_SCOPE_OPEN, api_entry_regions },
	{ "GET", "quickstarts", API_SCOPE_OPEN, api_entry_quickstarts },
	{ "GET", "cartridges", API_SCOPE_OPEN, api_cart_list },
	{ "GET", "cartridges/:name", API_SCOPE_OPEN, api_cart_list_by },
	{ "GET", "cartridge/:name", API_SCOPE_OPEN, api_cart_show },

	{ "GET", "user", API_SCOPE_USERINFO, api_account_show },
	{ "PUT", "user/password", API_SCOPE_SESSION, api_account_password },
	{ "GET", "user/authorizations", API_SCOPE_SESSION, api_token_list },
	{ "POST", "user/authorizations", API_SCOPE_SESSION, api_token_create },
	{ "DELETE", "user/authorizations", API_SCOPE_SESSION, api_token_delete_all },
	{ "GET", "user/authorization|authorizations/:id", API_SCOPE_SESSION, api_token_show },
	{ "PUT", "user/authorization|authorizations/:id", API_SCOPE_SESSION, api_token_update },
	{ "DELETE", "user/authorization|authorizations/:id", API_SCOPE_SESSION, api_token_delete },

	{ "GET", "user/keys", API_SCOPE_READ, api_key_list },
	{ "POST", "user/keys", API_SCOPE_SESSION, api_key_add },
	{ "GET", "user/key|keys/:name", API_SCOPE_READ, api_key_show },
	{ "PUT", "user/key|keys/:name", API_SCOPE_SESSION, api_key_update },
	{ "DELETE", "user/key|keys/:name", API_SCOPE_SESSION, api_key_delete },
	{ "GET", "teams", API_SCOPE_READ, api_entry_teams },
	{ "POST", "teams", API_SCOPE_SESSION, api_entry_team_add },

	{ "GET", "users", API_SCOPE_ADMIN, api_admin_users },
	{ "POST", "users", API_SCOPE_ADMIN, api_admin_user_create },
	{ "PUT", "users/:login", API_SCOPE_ADMIN, api_admin_user_update },
	{ "DELETE", "user|users/:login", API_SCOPE_ADMIN, api_admin_user_delete },
	{ "GET", "status", API_SCOPE_ADMIN, api_admin_status },
	{ "GET", "traffic", API_SCOPE_ADMIN, api_traffic_show },
	{ "GET", "gear_profiles", API_SCOPE_ADMIN, api_profile_list },
	{ "PUT", "gear_profiles/:name", API_SCOPE_ADMIN, api_profile_set },
	{ "DELETE", "gear_profiles/:name", API_SCOPE_ADMIN, api_profile_remove },
	{ "PUT", "gear|gears/:gear/node", API_SCOPE_ADMIN, api_move_gear },
	{ "GET", "admin/cartridges", API_SCOPE_ADMIN, api_cart_admin_list },
	{ "POST", "admin/cartridges", API_SCOPE_ADMIN, api_cart_admin_import },
	{ "PUT", "admin/cartridges", API_SCOPE_RAW, api_cart_admin_upload },
	{ "GET", "admin/cartridge|cartridges/:id", API_SCOPE_ADMIN, api_cart_admin_show },
	{ "PUT", "admin/cartridge|cartridges/:id", API_SCOPE_ADMIN, api_cart_admin_update },
	{ "DELETE", "admin/cartridge|cartridges/:id", API_SCOPE_ADMIN, api_cart_admin_remove },
	{ "POST", "admin/cartridge-upgrades", API_SCOPE_ADMIN, api_cart_admin_upgrade },

	{ "GET", "domains", API_SCOPE_OBJECT, api_domain_list },
	{ "POST", "domains", API_SCOPE_SESSION, api_domain_create },
	{ "GET", "user/domains", API_SCOPE_OBJECT, api_domain_list },
	{ "POST", "user/domains", API_SCOPE_SESSION, api_domain_create },
	{ "GET", "domain|domains/:domain", API_SCOPE_OBJECT, api_domain_show },
	{ "PUT", "domain|domains/:domain", API_SCOPE_OBJECT, api_domain_update },
	{ "DELETE", "domain|domains/:domain", API_SCOPE_OBJECT, api_domain_delete },
	{ "GET", "domain|domains/:domain/members", API_SCOPE_OBJECT, api_member_list },
	{ "POST", "domain|domains/:domain/members", API_SCOPE_OBJECT, api_member_change },
	{ "PATCH", "domain|domains/:domain/members", API_SCOPE_OBJECT, api_member_change },
	{ "DELETE", "domain|domains/:domain/members", API_SCOPE_OBJECT, api_member_remove_many },
	{ "GET", "domain|domains/:domain/member|members/:id", API_SCOPE_OBJECT, api_member_show },
	{ "PUT", "domain|domains/:domain/member|members/:id", API_SCOPE_OBJECT, api_member_update },
	{ "DELETE", "domain|domains/:domain/member|members/:id", API_SCOPE_OBJECT,
	    api_member_remove },

	{ "GET", "domain|domains/:domain/applications", API_SCOPE_OBJECT, api_app_list },
	{ "POST", "domain|domains/:domain/applications", API_SCOPE_OBJECT, api_create_app },
	{ "GET", "applications", API_SCOPE_OBJECT, api_app_list },
	{ "POST", "applications", API_SCOPE_OBJECT, api_create_app },
	{ "GET", "APP", API_SCOPE_OBJECT, api_app_show },
	{ "PUT", "APP", API_SCOPE_OBJECT, api_app_update },
	{ "DELETE", "APP", API_SCOPE_OBJECT, api_app_delete },
	{ "GET", "APP/descriptor", API_SCOPE_OBJECT, api_app_descriptor },
	{ "GET", "APP/dns_resolvable", API_SCOPE_OBJECT, api_app_dns },
	{ "GET", "APP/members", API_SCOPE_OBJECT, api_app_members },
	{ "GET", "APP/gear_groups|gear-groups", API_SCOPE_OBJECT, api_app_gear_groups },
	{ "GET", "APP/gear_group|gear_groups|gear-group|gear-groups/:id", API_SCOPE_OBJECT,
	    api_app_gear_group },
	{ "GET", "APP/gears", API_SCOPE_OBJECT, api_app_gears },
	{ "GET", "APP/gear|gears/:id", API_SCOPE_OBJECT, api_app_gears },
	{ "GET", "APP/drains", API_SCOPE_OBJECT, api_drain_list },
	{ "POST", "APP/drains", API_SCOPE_OBJECT, api_drain_add },
	{ "DELETE", "APP/drain|drains/:id", API_SCOPE_OBJECT, api_drain_remove },
	{ "GET", "APP/processes", API_SCOPE_OBJECT, api_process_list },
	{ "POST", "APP/processes", API_SCOPE_OBJECT, api_process_scale },
	{ "GET", "APP/events", API_SCOPE_OBJECT, api_history_app },
	{ "POST", "APP/events", API_SCOPE_OBJECT, api_event_app },
	{ "GET", "APP/cartridges", API_SCOPE_OBJECT, api_cart_of_app },
	{ "GET", "APP/cartridge|cartridges/:cartridge", API_SCOPE_OBJECT, api_cart_of_app_show },
	{ "POST", "APP/cartridge|cartridges/:cartridge/events", API_SCOPE_OBJECT, api_event_cart },
	{ "GET", "APP/aliases", API_SCOPE_OBJECT, api_alias_list },
	{ "GET", "APP/alias|aliases/:alias", API_SCOPE_OBJECT, api_alias_show },
	{ "GET", "APP/environment-variables|environment_variables", API_SCOPE_OBJECT,
	    api_env_list },
	{ "POST", "APP/environment-variables|environment_variables", API_SCOPE_OBJECT,
	    api_env_set },
	{ "PATCH", "APP/environment-variables|environment_variables", API_SCOPE_OBJECT,
	    api_env_set },
	{ "GET",
	    "APP/"
	    "environment-variable|environment-variables|environment_variable|environment_variables/"
	    ":name",
	    API_SCOPE_OBJECT, api_env_show },
	{ "PUT",
	    "APP/"
	    "environment-variable|environment-variables|environment_variable|environment_variables/"
	    ":name",
	    API_SCOPE_OBJECT, api_env_update },
	{ "DELETE",
	    "APP/"
	    "environment-variable|environment-variables|environment_variable|environment_variables/"
	    ":name",
	    API_SCOPE_OBJECT, api_env_delete },
	{ "POST", "APP/aliases", API_SCOPE_OBJECT, api_alias_add },
	{ "PUT", "APP/alias|aliases/:alias", API_SCOPE_OBJECT, api_alias_update },
	{ "DELETE", "APP/alias|aliases/:alias", API_SCOPE_OBJECT, api_alias_remove },
	{ "POST", "APP/cartridges", API_SCOPE_OBJECT, api_cart_add },
	{ "PUT", "APP/cartridge|cartridges/:cartridge", API_SCOPE_OBJECT, api_cart_update },
	{ "DELETE", "APP/cartridge|cartridges/:cartridge", API_SCOPE_OBJECT, api_cart_remove },
	{ "GET", "APP/deployments", API_SCOPE_OBJECT, api_deployment_list },
	{ "POST", "APP/deployments", API_SCOPE_OBJECT, api_deployment_create },
	{ "GET", "APP/deployment|deployments/:id", API_SCOPE_OBJECT, api_deployment_show },
	{ "GET", "APP/logs", API_SCOPE_OBJECT, api_log_app },
	{ "POST", "APP/exec", API_SCOPE_OBJECT, api_exec_app },
	{ "GET", "APP/routing", API_SCOPE_OBJECT, api_routing_show },
	{ "PUT", "APP/routing", API_SCOPE_OBJECT, api_routing_set },
	{ "PATCH", "APP/routing", API_SCOPE_OBJECT, api_routing_change },
	{ "DELETE", "APP/routing", API_SCOPE_OBJECT, api_routing_unset },
	{ "GET", "APP/storage", API_SCOPE_OBJECT, api_storage_list },
	{ "POST", "APP/storage", API_SCOPE_OBJECT, api_storage_add },
	{ "DELETE", "APP/storage", API_SCOPE_OBJECT, api_storage_remove },
	{ "GET", "APP/backup", API_SCOPE_OBJECT, api_backup_show },
	{ "PUT", "APP/backup", API_SCOPE_OBJECT, api_backup_enable },
	{ "DELETE", "APP/backup", API_SCOPE_OBJECT, api_backup_disable },
	{ "POST", "APP/backup/runs", API_SCOPE_OBJECT, api_backup_run },
	{ "POST", "APP/backup/restores", API_SCOPE_OBJECT, api_backup_restore },
	{ "GET", "APP/snapshot", API_SCOPE_OBJECT, api_snapshot_save },
	{ "PUT", "APP/snapshot", API_SCOPE_RAW, api_snapshot_restore },
};

static const char *const app_forms[] = {
	"domain|domains/:domain/application|applications/:app",
	"application|applications/:app_id",
};

struct segments {
	struct str v[SEGMENTS_MAX];
	size_t n;
};

/* false: too many to be anything. Empty ones are dropped. */
static bool
split(struct str path, struct segments *out)
{
	out->n = 0;
	while (path.n > 0) {
		struct str s;

		path = str_cut(path, '/', &s);
		if (s.n == 0)
			continue;
		if (out->n == SEGMENTS_MAX)
			return false;
		out->v[out->n++] = s;
	}
	return true;
}

static bool
is_one_of(struct str words, struct str s)
{
	while (words.n > 0) {
		struct str word;

		words = str_cut(words, '|', &word);
		if (word.n == s.n && memcmp(word.p, s.p, s.n) == 0)
			return true;
	}
	return false;
}

/* Matches the pattern at *at on; moves *at behind what it took. params NULL: only looks. */
static bool
match(const char *pattern, const struct segments *s, size_t *at, struct api_param *params)
{
	struct str rest = str_of(pattern);

	while (rest.n > 0) {
		struct str part;

		rest = str_cut(rest, '/', &part);
		if (*at == s->n)
			return false;
		if (part.p[0] != ':' && !is_one_of(part, s->v[*at]))
			return false;
		if (part.p[0] == ':' && params != NULL)
			api_param_path(params, (struct str){ part.p + 1, part.n - 1 }, s->v[*at]);
		(*at)++;
	}
	return true;
}

static bool
match_all(const char *form, const char *pattern, const struct segments *s, struct api_param *params)
{
	size_t at = 0;

	return (form == NULL || match(form, s, &at, params)) && match(pattern, s, &at, params) &&
	       at == s->n;
}

/* The form of an application's path, "" for other routes; NULL: no match. */
static const char *
match_route(const struct api_route *r, const struct segments *s)
{
	if (!str_has_prefix(r->path, "APP"))
		return match_all(NULL, r->path, s, NULL) ? "" : NULL;
	for (size_t i = 0; i < ARRAY_LEN(app_forms); i++) {
		const char *rest = r->path[3] == '/' ? r->path + 4 : "";

		if (match_all(app_forms[i], rest, s, NULL))
			return app_forms[i];
	}
	return NULL;
}

static void
take_params(
    const struct api_route *r, const char *form, const struct segments *s, struct api_param *params)
{
	if (*form == '\0')
		(void)match_all(NULL, r->path, s, params);
	else
		(void)match_all(form, r->path[3] == '/' ? r->path + 4 : "", s, params);
}

static void
strip_suffix(struct segments *s, bool *out_is_xml)
{
	static const char *const suffixes[] = { ".json", ".xml", ".yml", ".yaml", ".xhtml" };
	struct str *last = s->n == 0 ? NULL : &s->v[s->n - 1];

	*out_is_xml = false;
	for (size_t i = 0; last != NULL && i < ARRAY_LEN(suffixes); i++) {
		size_t n = strlen(suffixes[i]);

		if (last->n <= n || memcmp(last->p + last->n - n, suffixes[i], n) != 0)
			continue;
		last->n -= n;
		*out_is_xml = strcmp(suffixes[i], ".xml") == 0;
		return;
	}
}

const struct api_route *
api_route_find(struct str method, const char *path, struct api_param *params, bool *out_has_path,
    bool *out_is_xml)
{
	struct segments s = { 0 };

	*out_has_path = false;
	*out_is_xml = false;
	if (!split(str_of(path), &s))
		return NULL;
	strip_suffix(&s, out_is_xml);
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		const char *form = match_route(&routes[i], &s);

		if (form == NULL)
			continue;
		*out_has_path = true;
		if (!str_eq(method, routes[i].method))
			continue;
		take_params(&routes[i], form, &s, params);
		return &routes[i];
	}
	return NULL;
}
