#include "broker/api_view.h"

#include <string.h>
#include <time.h>

#include "broker/api_call.h"
#include "broker/api_link.h"
#include "broker/app.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

static const struct api_link_param valid_password[] = {
	{ "old", "string", "The present password", NULL, NULL },
	{ "new", "string", "The new password", NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};
static const struct api_link_param key_params[] = {
	{ "name", "string", "Name of the key", NULL, NULL },
	{ "type", "string", "Type of Key",
	    "[\"ssh-rsa\",\"ssh-dss\",\"ssh-ed25519\",\"ecdsa-sha2-nistp256\","
	    "\"ecdsa-sha2-nistp384\",\"ecdsa-sha2-nistp521\",\"sk-ssh-ed25519@openssh.com\","
	    "\"sk-ecdsa-sha2-nistp256@openssh.com\",\"ssh-rsa-cert-v01@openssh.com\","
	    "\"ssh-dss-cert-v01@openssh.com\",\"ssh-rsa-cert-v00@openssh.com\","
	    "\"ssh-dss-cert-v00@openssh.com\",\"krb5-principal\"]",
	    NULL },
	{ "content", "string", "The key portion of the public key (excluding type and comment)",
	    NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};
static const struct api_link user_links[] = {
	{ "ADD_KEY", "Add new SSH key", "POST", "/keys", key_params, NULL, 0, 0 },
	{ "LIST_KEYS", "List SSH keys", "GET", "/keys", NULL, NULL, 0, 0 },
	{ "GET", "Get user", "GET", "", NULL, NULL, 0, 0 },
	{ "CHANGE_PASSWORD", "Change the password", "PUT", "/password", valid_password, NULL, 0,
	    0 },
	{ NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

void
api_view_user(
    const struct api_call *c, struct api_json *j, const char *key, const struct wire_user *u)
{
	api_json_obj(j, key);
	if (c->minor > 0) {
		api_json_str(j, "id", u->id);
		api_json_null(j, "email");
	}
	api_json_str(j, "login", u->login);
	api_json_int(j, "consumed_gears", u->consumed_gears);
	api_json_int(j, "max_gears", u->max_gears);
	api_json_obj(j, "capabilities");
	api_json_bool(j, "subaccounts", false);
	api_json_strs(j, "gear_sizes", &u->gear_sizes);
	api_json_bool(j, "ha", false);
	api_json_bool(j, "view_global_teams", false);
	api_json_bool(j, "private_ssl_certificates", c->b->conf.private_certs);
	api_json_int(j, "max_storage_per_gear", u->max_storage_gb);
	api_json_bool(j, "download_cartridges", c->b->conf.download_cartridges && !u->no_downloads);
	api_json_end_obj(j);
	api_json_null(j, "plan_id");
	api_json_null(j, "usage_account_id");
	if (c->minor > 0) {
		api_json_int(j, "max_domains", u->max_domains);
		api_json_int(j, "max_teams", 0);
		api_json_null(j, "plan_state");
		api_json_null(j, "plan_expiration_date");
		api_json_null(j, "plan_quantity");
		api_json_raw(j, "usage_rates", "{}");
		api_json_null(j, "currency_cd");
		api_json_time(j, "created_at", u->created_at);
		api_json_bool(j, "admin", u->is_admin);
		api_json_int(j, "domain_count", u->domains);
	}
	api_link_write(c, j, user_links, "user");
	api_json_end_obj(j);
}

static const struct api_link_param note_param[] = {
	{ "note", "string", "A description to remind you what this authorization is for.", NULL,
	    NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};
static const struct api_link token_links[] = {
	{ "GET", "Get authorization", "GET", "", NULL, NULL, 0, 0 },
	{ "UPDATE", "Update authorization", "PUT", "", note_param, NULL, 0, 0 },
	{ "DELETE", "Delete authorization", "DELETE", "", NULL, NULL, 0, 0 },
	{ NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

void
api_view_token(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_token *t, const char *token)
{
	AUTO(free) char *base = xasprintf("user/authorization/%s", t->id);
	int64_t left = t->expires_at - (int64_t)time(NULL);

	api_json_obj(j, key);
	api_json_str(j, "id", t->id);
	api_json_str(j, "identity", t->login);
	api_json_str(j, "token", token);
	api_json_str(j, "note", t->note);
	api_json_str(j, "scopes", t->scopes);
	api_json_time(j, "created_at", t->created_at);
	api_json_int(j, "expires_in", t->expires_at - t->created_at);
	api_json_int(j, "expires_in_seconds", left < 0 ? 0 : left);
	api_link_write(c, j, token_links, base);
	api_json_end_obj(j);
}

/* --- domains and members --- */

static const struct api_link_param app_required[] = {
	{ "name", "string", "Name of the application", NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};
static const struct api_link_param app_optional[] = {
	{ "cartridges", "array", "Array of one or more cartridge names", NULL, NULL },
	{ "scale", "boolean", "Mark application as scalable", "[true,false]", "false" },
	{ "gear_size", "string", "The size of the gear", NULL, "\"small\"" },
	{ "initial_git_url", "string",
	    "A URL to a Git source code repository that will be the basis for this application.",
	    "[\"\",\"empty\"]", NULL },
	{ "cartridges[][name]", "string", "Name of a cartridge.", NULL, NULL },
	{ "cartridges[][url]", "string", "A URL to a downloadable cartridge.", NULL, NULL },
	{ "cartridges[][gear_size]", "string", "Gear size for the cartridge.", NULL, "\"small\"" },
	{ "environment_variables", "array", "Add or Update application environment variables", NULL,
	    NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};
static const struct api_link_param rename_optional[] = {
	{ "name", "string", "Name of the domain", NULL, NULL },
	{ "allowed_gear_sizes", "array", "Gear sizes allowed in this domain", NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};
static const struct api_link_param members_optional[] = {
	{ "id", "string", "Unique identifier of the user", NULL, NULL },
	{ "login", "string", "Login of the user", NULL, NULL },
	{ "role", "string", "The role the member should have",
	    "[\"view\",\"edit\",\"admin\",\"none\"]", NULL },
	{ "members", "array", "An array of members with the fields above", NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};
static const struct api_link_param force_optional[] = {
	{ "force", "boolean", "Force delete domain. i.e. delete any applications under this domain",
	    "[true,false]", "false" },
	{ NULL, NULL, NULL, NULL, NULL },
};
static const struct api_link domain_links[] = {
	{ "GET", "Get domain", "GET", "", NULL, NULL, 0, 0 },
	{ "LIST_APPLICATIONS", "List applications for a domain", "GET", "/applications", NULL, NULL,
	    0, 0 },
	{ "ADD_APPLICATION", "Create new application", "POST", "/applications", app_required,
	    app_optional, 0, 0 },
	{ "LIST_MEMBERS", "List members of this domain", "GET", "/members", NULL, NULL, 0, 0 },
	{ "UPDATE_MEMBERS", "Add or remove one or more members to this domain.", "POST", "/members",
	    NULL, members_optional, 0, 5 },
	{ "UPDATE_MEMBERS", "Add or remove one or more members to this domain.", "PATCH",
	    "/members", NULL, members_optional, 6, 0 },
	{ "LEAVE", "Leave this domain", "DELETE", "/members/self", NULL, NULL, 0, 0 },
	{ "UPDATE", "Update domain", "PUT", "", NULL, rename_optional, 0, 0 },
	{ "DELETE", "Delete domain", "DELETE", "", NULL, force_optional, 0, 0 },
	{ NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

static const struct api_link_param member_required[] = {
	{ "role", "string", "New role for the member", "[\"view\",\"edit\",\"admin\",\"none\"]",
	    NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static void
write_member(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_domain *d, bool of_app, const struct wire_member *m)
{
	static const struct api_link links[] = {
		{ "GET", "Get member", "GET", "", NULL, NULL, 0, 0 },
		{ "UPDATE", "Update member", "PUT", "", member_required, NULL, 0, 0 },
		{ "DELETE", "Delete member", "DELETE", "", NULL, NULL, 0, 0 },
		{ NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 },
	};
	AUTO(free) char *base = xasprintf("domain/%s/member/%s", d->name, m->id);
	bool is_owner = strcmp(m->login, d->owner) == 0;

	api_json_obj(j, key);
	api_json_str(j, "id", m->id);
	api_json_str(j, "type", "user");
	api_json_str(j, "login", m->login);
	api_json_str(j, "role", m->role);
	api_json_str(j, "explicit_role", of_app ? NULL : m->role);
	if (of_app) {
		api_json_arr(j, "from");
		api_json_obj(j, NULL);
		api_json_str(j, "type", "domain");
		api_json_str(j, "role", m->role);
		api_json_end_obj(j);
		api_json_end_arr(j);
	}
	api_json_bool(j, "owner", is_owner);
	api_link_write(c, j, links, base);
	api_json_end_obj(j);
}

static void
owner_of(const struct api_call *c, const struct wire_domain *d, struct wire_member *out)
{
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct err e = { 0 };

	if (record_get(c->b->store, store_key_user(d->owner), &wire_user_codec, &u, NULL, &e) == 0)
		out->id = STEAL(u.id);
	else
		out->id = xstrdup(d->owner);
	out->login = xstrdup(d->owner);
	out->role = xstrdup("admin");
}

void
api_view_member(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_domain *d, const struct wire_member *m)
{
	AUTO_FINI(wire_member_fini) struct wire_member owner = { 0 };

	owner_of(c, d, &owner);
	write_member(c, j, key, d, false, m == NULL ? &owner : m);
}

void
api_view_members(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_domain *d, bool of_app)
{
	AUTO_FINI(wire_member_fini) struct wire_member owner = { 0 };

	owner_of(c, d, &owner);
	api_json_arr(j, key);
	write_member(c, j, NULL, d, of_app, &owner);
	for (size_t i = 0; i < d->members.n; i++)
		write_member(c, j, NULL, d, of_app, &d->members.v[i]);
	api_json_end_arr(j);
}

void
api_view_app_members(
    const struct api_call *c, struct api_json *j, const char *key, const struct wire_app *a)
{
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	struct err e = { 0 };

	if (record_get(c->b->store, store_key_domain(a->domain), &wire_domain_codec, &d, NULL, &e) <
	    0) {
		d.name = xstrdup(a->domain);
		d.owner = xstrdup(a->owner);
	}
	api_view_members(c, j, key, &d, true);
}

struct counts {
	const char *domain; /* borrowed */
	struct str_list sizes;
	int64_t gears[8];
};

static bool
count_app(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_app *a = rec;
	struct counts *n = arg;
	size_t i = 0;

	(void)key;
	(void)rev;
	while (i < n->sizes.n && strcmp(n->sizes.v[i], a->profile) != 0)
		i++;
	if (i == n->sizes.n && i < ARRAY_LEN(n->gears))
		str_list_add(&n->sizes, a->profile);
	if (i < ARRAY_LEN(n->gears))
		n->gears[i] += a->spec.gears;
	return true;
}

static void
write_counts(const struct api_call *c, struct api_json *j, const struct wire_domain *d)
{
	AUTO(free) char *prefix = store_key_app(d->name, "");
	struct counts n = { .domain = d->name };

	record_each(c->b->store, prefix, &wire_app_codec, count_app, &n);
	api_json_int(j, "application_count", d->apps);
	api_json_obj(j, "gear_counts");
	for (size_t i = 0; i < n.sizes.n; i++)
		api_json_int(j, n.sizes.v[i], n.gears[i]);
	api_json_end_obj(j);
	str_list_fini(&n.sizes);
}

void
api_view_domain(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_domain *d, bool counts)
{
	AUTO(free) char *base = xasprintf("domain/%s", d->name);
	AUTO_FINI(wire_user_fini) struct wire_user owner = { 0 };
	struct err e = { 0 };
	int64_t left = 0;

	if (record_get(c->b->store, store_key_user(d->owner), &wire_user_codec, &owner, NULL, &e) ==
	    0)
		left = owner.max_gears - owner.consumed_gears;
	api_json_obj(j, key);
	api_json_str(j, "id", c->minor >= 6 ? d->id : d->name);
	if (c->minor >= 6)
		api_json_str(j, "name", d->name);
	api_json_str(j, "suffix", c->b->conf.app_domain);
	if (c->minor >= 3) {
		api_json_time(j, "creation_time", d->created_at);
		api_view_members(c, j, "members", d, false);
		api_json_strs(j, "allowed_gear_sizes", &d->allowed_gear_sizes);
	}
	if (c->minor >= 6) {
		api_json_int(j, "available_gears", left < 0 ? 0 : left);
		api_json_int(j, "max_storage_per_gear", owner.max_storage_gb);
		api_json_raw(j, "usage_rates", "{}");
		api_json_bool(j, "private_ssl_certificates", c->b->conf.private_certs);
	}
	if (counts && c->minor >= 1)
		write_counts(c, j, d);
	api_link_write(c, j, domain_links, base);
	api_json_end_obj(j);
}

/* --- variables, deployments --- */

static const struct api_link_param value_param[] = {
	{ "value", "string", "Value of the environment variable", NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};
static const struct api_link var_links[] = {
	{ "GET", "Get environment variable", "GET", "", NULL, NULL, 0, 0 },
	{ "UPDATE", "Update environment variable", "PUT", "", value_param, NULL, 0, 0 },
	{ "DELETE", "Delete environment variable", "DELETE", "", NULL, NULL, 0, 0 },
	{ NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

void
api_view_var(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_app *a, const struct wire_var *v)
{
	AUTO(free) char *app = api_view_app_base(c, a);
	AUTO(free) char *base = xasprintf("%s/environment-variable/%s", app, v->name);

	api_json_obj(j, key);
	api_json_str(j, "name", v->name);
	api_json_str(j, "value", v->value);
	api_link_write(c, j, var_links, base);
	api_json_end_obj(j);
}

void
api_view_deployment(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_app *a, const struct wire_deployment *d)
{
	AUTO(free)
	char *short_sha =
	    xstrndup(d->sha1 == NULL ? "" : d->sha1, d->sha1 == NULL       ? 0
	                                             : strlen(d->sha1) > 7 ? 7
	                                                                   : strlen(d->sha1));

	(void)c;
	api_json_obj(j, key);
	api_json_str(j, "id", d->id);
	api_json_str(j, "ref", d->ref);
	api_json_str(j, "sha1", short_sha);
	api_json_str(j, "commit", d->sha1);
	api_json_time(j, "created_at", d->created_at);
	api_json_bool(j, "hot_deploy", d->hot_deploy);
	api_json_bool(j, "force_clean_build", d->force_clean_build);
	api_json_bool(j, "disable_auto_scaling", d->disable_auto_scaling);
	api_json_bool(j, "is_template", d->is_template);
	api_json_int(j, "share", app_share(a, d->id));
	if (d->canary_ms > 0)
		api_json_time(j, "canary_at", d->canary_ms / 1000);
	else
		api_json_null(j, "canary_at");
	api_json_arr(j, "activations");
	for (size_t i = 0; i < d->activations.n; i++)
		api_json_time(j, NULL, d->activations.v[i].at_ms / 1000);
	api_json_end_arr(j);
	api_json_end_obj(j);
}
