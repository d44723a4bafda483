/* The entry point: what can be called at all, and facts of the installation. */
#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_link.h"
#include "broker/broker.h"

#define END_PARAMS                                                                                 \
	{                                                                                          \
		NULL, NULL, NULL, NULL, NULL                                                       \
	}

enum {
	EXIT_TEAMS = 193,
};

static const struct api_link_param domain_name[] = {
	{ "name", "string", "Name of the domain", NULL, NULL },
	END_PARAMS,
};
static const struct api_link_param domain_id[] = {
	{ "id", "string", "Name of the domain", NULL, NULL },
	END_PARAMS,
};
static const struct api_link_param domain_optional[] = {
	{ "allowed_gear_sizes", "array", "Gear sizes allowed in this domain",
	    "[\"small\",\"medium\",\"large\"]", NULL },
	END_PARAMS,
};
static const struct api_link_param owner_param[] = {
	{ "owner", "string", "Return only domains or applications that this user owns",
	    "[\"@self\"]", NULL },
	END_PARAMS,
};
static const struct api_link_param show_domain[] = {
	{ ":name", "string", "Unique name of the domain", NULL, NULL },
	END_PARAMS,
};
static const struct api_link_param show_app[] = {
	{ ":domain_name", "string", "Unique name of the domain", NULL, NULL },
	{ ":name", "string", "Name of the application", NULL, NULL },
	END_PARAMS,
};
static const struct api_link_param show_app_id[] = {
	{ ":id", "string", "Unique id of the application", NULL, NULL },
	END_PARAMS,
};
static const struct api_link_param show_cart[] = {
	{ ":name", "string", "Name of the cartridge", NULL, NULL },
	END_PARAMS,
};
static const struct api_link_param cart_optional[] = {
	{ "category", "string", "Filter the cartridges by category", NULL, NULL },
	END_PARAMS,
};
static const struct api_link_param token_optional[] = {
	{ "scope", "string",
	    "Select one or more scopes that this authorization will grant access to:\n\n"
	    "*  session\n   Grants a client the authority to perform all API actions against your "
	    "account.\n"
	    "*  read\n   Allows the client to access resources you own without making changes.\n"
	    "*  userinfo\n   Allows a client to view your login name and unique id.\n"
	    "*  domain/:id/view\n   View access to a single domain.\n"
	    "*  domain/:id/edit\n   Edit access to a single domain and all its applications.\n"
	    "*  domain/:id/admin\n   Full administrative access to a single domain.\n"
	    "*  application/:id/view\n   View access to a single application.\n"
	    "*  application/:id/edit\n   Edit access to a single application.\n"
	    "*  application/:id/admin\n   Full administrative access to a single application.\n",
	    NULL, "\"userinfo\"" },
	{ "note", "string", "A description to remind you what this authorization is for.", NULL,
	    NULL },
	{ "expires_in", "integer", "The number of seconds before this authorization expires.", NULL,
	    "-1" },
	{ "reuse", "boolean",
	    "Attempt to locate and reuse an authorization that matches the scope "
	    "and note and has not yet expired.",
	    "[true,false]", "false" },
	END_PARAMS,
};

static const struct api_link_param team_name[] = {
	{ "name", "string", "Name of the team", NULL, NULL },
	END_PARAMS,
};

#define LINK(key, rel, method, path, req, opt, min)                                                \
	{                                                                                          \
		key, rel, method, path, req, opt, min, 0                                           \
	}
static const struct api_link links[] = {
	LINK("API", "API entry point", "GET", "api", NULL, NULL, 0),
	LINK("GET_ENVIRONMENT", "Get environment information", "GET", "environment", NULL, NULL, 0),
	LINK("GET_USER", "Get user information", "GET", "user", NULL, NULL, 0),
	{ "ADD_DOMAIN", "Create new domain", "POST", "domains", domain_id, domain_optional, 0, 5 },
	LINK("ADD_DOMAIN", "Create new domain", "POST", "domains", domain_name, domain_optional, 6),
	LINK(
	    "LIST_DOMAINS", "List all domains you have access to", "GET", "domains", NULL, NULL, 0),
	LINK("LIST_DOMAINS_BY_OWNER", "List domains", "GET", "domains", owner_param, NULL, 0),
	LINK("SHOW_DOMAIN", "Retrieve a domain by its name", "GET", "domain/:name", show_domain,
	    NULL, 0),
	LINK("SHOW_APPLICATION_BY_DOMAIN", "Retrieve an application by its name", "GET",
	    "domain/:domain_name/application/:name", show_app, NULL, 0),
	LINK("LIST_CARTRIDGES", "List cartridges", "GET", "cartridges", NULL, cart_optional, 0),
	LINK("SHOW_CARTRIDGE", "Retrieve a cartridge by name", "GET", "cartridge/:name", show_cart,
	    NULL, 0),
	LINK("ADD_TEAM", "Create new team", "POST", "teams", team_name, NULL, 0),
	LINK("LIST_TEAMS", "List all teams you are a member of", "GET", "teams", NULL, NULL, 0),
	LINK("LIST_TEAMS_BY_OWNER", "List teams", "GET", "teams", owner_param, NULL, 0),
	LINK("LIST_REGIONS", "List all regions", "GET", "regions", NULL, NULL, 0),
	LINK("LIST_APPLICATIONS", "List application you have access to", "GET", "applications",
	    NULL, NULL, 5),
	LINK("LIST_APPLICATIONS_BY_OWNER", "List applications", "GET", "applications", owner_param,
	    NULL, 5),
	LINK("SHOW_APPLICATION", "Retrieve application by id", "GET", "application/:id",
	    show_app_id, NULL, 5),
	LINK("LIST_AUTHORIZATIONS", "List authorizations", "GET", "user/authorizations", NULL, NULL,
	    2),
	LINK("SHOW_AUTHORIZATION", "Retrieve authorization :id", "GET", "user/authorization/:id",
	    show_app_id, NULL, 2),
	LINK("ADD_AUTHORIZATION", "Add new authorization", "POST", "user/authorizations", NULL,
	    token_optional, 2),
	LINK("LIST_QUICKSTARTS", "List quickstarts", "GET", "quickstarts", NULL, NULL, 0),
	{ NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

void
api_entry_links(struct api_call *c)
{
	api_link_map(c, api_data(c, "links"), NULL, links, "");
	api_send(c, 200);
}

void
api_entry_environment(struct api_call *c)
{
	struct api_json *j = api_data(c, "environment");

	api_json_obj(j, NULL);
	api_json_str(j, "domain_suffix", c->b->conf.app_domain);
	api_json_bool(j, "download_cartridges_enabled", c->b->conf.download_cartridges);
	api_json_end_obj(j);
	api_send(c, 200);
}

static void
send_nothing(struct api_call *c, const char *type)
{
	struct api_json *j = api_data(c, type);

	api_json_arr(j, NULL);
	api_json_end_arr(j);
	api_send(c, 200);
}

/* One machine has no regions. */
void
api_entry_regions(struct api_call *c)
{
	send_nothing(c, "regions");
}

/* The operator gave none. */
void
api_entry_quickstarts(struct api_call *c)
{
	send_nothing(c, "quickstarts");
}

void
api_entry_teams(struct api_call *c)
{
	send_nothing(c, "teams");
}

/* As of an account that may own none, which is v2's default. */
void
api_entry_team_add(struct api_call *c)
{
	api_fail(c, 403, EXIT_TEAMS, NULL,
	    "You may not own more than 0 teams: this version of Pinion has none. Add people to "
	    "the domain instead.");
}
