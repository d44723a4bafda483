/* POST applications: from parameters to a serving application, or to nothing. */
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_cart_ask.h"
#include "broker/api_cart_lines.h"
#include "broker/api_env.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/app.h"
#include "broker/app_cart.h"
#include "broker/broker.h"
#include "broker/build.h"
#include "broker/cart_resolve.h"
#include "broker/catalog.h"
#include "broker/node_link.h"
#include "broker/domain.h"
#include "broker/gear_group.h"
#include "broker/profile.h"
#include "broker/record.h"
#include "broker/repo.h"
#include "lib/base/fault.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

enum {
	TEXT_MAX = 2048,
	UNDO_MS = 20 * 1000, /* what is left then is seen by nobody */
	KEEP_MAX = 1000,
	NODE_WAIT_MS = 10000,
	EXIT_NAME_TAKEN = 100,
	EXIT_DOMAIN_LIMIT = 103,
	EXIT_GEARS = 104,
	EXIT_NAME = 105,
	EXIT_DOMAIN_NAME = 106,
	EXIT_CART = 109,
	EXIT_DOMAIN = 127,
	EXIT_SIZE = 134,
	EXIT_SIZES_DIFFER = 142,
	EXIT_CONFIGURE = 157,
	EXIT_BOOL = 167,
	EXIT_GIT_URL = 216,
};

struct create {
	struct broker *b; /* borrowed */
	char *name;       /* owned, lower case */
	char *domain;     /* owned, lower case */
	char *id;         /* owned; of the application to be */
	char *clone_url;  /* owned or NULL; with user and #ref */
	char *stored_url; /* owned or NULL; without user; "empty" */
	char *profile;    /* owned */
	struct cart_ask_list asks;
	struct cart_pick pick;
	struct wire_gear_cart_list carts;
	struct wire_var_list vars;
	struct str_list lines; /* CLIENT_… of the scripts */
	bool scalable;
	bool auto_deploy;
	char *branch; /* owned or NULL */
	char *type;   /* owned */
	int64_t keep;
	int64_t idle_freeze_s;
	char *ref, *sha1;     /* owned; of the import */
	bool has_waited;      /* for the end of an old one of that name */
	bool has_waited_node; /* for a node */
	struct err failure;
	int failure_exit;
};

static void
create_free(void *p)
{
	struct create *s = p;

	cart_ask_list_fini(&s->asks);
	cart_resolve_release(s->b, &s->pick);
	cart_pick_fini(&s->pick);
	app_cart_list_fini(&s->carts);
	str_list_fini(&s->lines);
	api_env_fini(&s->vars);
	free(s->name);
	free(s->domain);
	free(s->id);
	free(s->clone_url);
	free(s->stored_url);
	free(s->profile);
	free(s->branch);
	free(s->type);
	free(s->ref);
	free(s->sha1);
	free(s);
}

/* --- parameters; each false: the call has ended --- */

static bool
fail_param(struct api_call *c, const struct err *e, int exit_code)
{
	api_fail_err(c, e, exit_code);
	return false;
}

static bool
read_flags(struct api_call *c, struct create *s)
{
	struct err e = { 0 };
	const char *region = NULL;
	bool ha = false;

	if (api_param_bool(c->params, "scale", &s->scalable, &e) < 0 ||
	    api_param_bool(c->params, "ha", &ha, &e) < 0)
		return fail_param(c, &e, EXIT_BOOL);
	if (api_param_str(c->params, "region", TEXT_MAX, &region, &e) < 0)
		return fail_param(c, &e, API_NO_EXIT);
	if (region != NULL && *region != '\0') {
		api_fail(c, 422, API_NO_EXIT, "region",
		    "There is no region '%.64s': this installation has none. Leave it out.",
		    region);
		return false;
	}
	if (ha) {
		api_fail(c, 422, API_NO_EXIT, "ha",
		    "High availability is not a property of single applications here. Leave 'ha' "
		    "out.");
		return false;
	}
	return true;
}

static bool
read_name(struct api_call *c, struct create *s)
{
	const char *name = NULL;
	struct err e = { 0 };

	if (api_param_str(c->params, "name", TEXT_MAX, &name, &e) < 0)
		return fail_param(c, &e, EXIT_NAME);
	if (name == NULL || *name == '\0') {
		api_fail(c, 422, EXIT_NAME, "name",
		    "The parameter 'name' is required: the name of the application.");
		return false;
	}
	if (!str_is_name(name, APP_NAME_LEN_MAX)) {
		api_fail(c, 422, EXIT_NAME, "name",
		    "Invalid application name '%.40s'. It must be 1 to %d letters and digits, "
		    "nothing else.",
		    name, APP_NAME_LEN_MAX);
		return false;
	}
	s->name = xstrdup(name);
	str_lower(s->name);
	return true;
}

static bool
is_git_url(const char *url)
{
	static const char *const schemes[] = { "git://", "http://", "https://", "ftp://", "ftps://",
		"ssh://", "git@" };
	const char *colon = strchr(url, ':');
	const char *at = strchr(url, '@');

	for (const char *p = url; *p != '\0'; p++) {
		if ((unsigned char)*p <= 0x20 || *p == 0x7f)
			return false;
	}
	if (*url == '-')
		return false;
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		size_t n = strlen(schemes[i]);

		if (strncmp(url, schemes[i], n) == 0)
			return url[n] != '\0' && url[n] != '-' && url[n] != '/';
	}
	/* user@host:path */
	return at != NULL && colon != NULL && at < colon && at > url && at[1] != '-' &&
	       colon[1] != '\0' && colon[1] != ':' && strncmp(colon, "://", 3) != 0;
}

/* The URL without "user:password@", for the record; caller owns. */
static char *
without_user(const char *url)
{
	const char *host = strstr(url, "://");
	const char *at;
	size_t n;

	if (host == NULL)
		return xstrdup(url);
	host += 3;
	n = strcspn(host, "/?#");
	at = memrchr(host, '@', n);
	return at == NULL ? xstrdup(url) : xasprintf("%.*s%s", (int)(host - url), url, at + 1);
}

static bool
read_git_url(struct api_call *c, struct create *s)
{
	const char *url = NULL;
	const char *branch = NULL;
	const char *hash;
	struct err e = { 0 };

	if (api_param_str(c->params, "initial_git_url", TEXT_MAX, &url, &e) < 0 ||
	    api_param_str(c->params, "initial_git_branch", 256, &branch, &e) < 0)
		return fail_param(c, &e, EXIT_GIT_URL);
	if (url != NULL && *url == '\0')
		url = NULL;
	if (url == NULL && branch != NULL && *branch != '\0') {
		api_fail(c, 422, API_NO_EXIT, "initial_git_branch",
		    "'initial_git_branch' needs 'initial_git_url'.");
		return false;
	}
	if (url == NULL)
		return true;
	if (strcmp(url, "empty") == 0) {
		s->stored_url = xstrdup(url);
		return true;
	}
	hash = strchr(url, '#');
	if (branch == NULL || *branch == '\0')
		branch = hash == NULL ? NULL : hash + 1;
	if (!is_git_url(url) || (branch != NULL && !app_is_ref(branch))) {
		api_fail(c, 422, EXIT_GIT_URL, "initial_git_url",
		    "Invalid initial git URL '%.100s'. Give a URL that begins with git://, http:// "
		    "or "
		    "https:// (with #BRANCH behind it, if you like), or 'empty'.",
		    url);
		return false;
	}
	s->clone_url =
	    xasprintf("%.*s%s%s", (int)(hash == NULL ? strlen(url) : (size_t)(hash - url)), url,
	        branch == NULL ? "" : "#", branch == NULL ? "" : branch);
	s->stored_url = without_user(s->clone_url);
	return true;
}

static bool
fail_web(struct api_call *c)
{
	AUTO_FINI(buf_fini) struct buf names = { 0 };

	for (size_t i = 0; i < catalog_count(c->b->catalog); i++) {
		const struct catalog_cart *cc = catalog_at(c->b->catalog, i);

		if (cc->is_web && cc->is_active && !cc->is_obsolete)
			buf_addf(&names, "%s%s", names.n == 0 ? "" : ", ", cc->full_name);
	}
	api_fail(c, 422, EXIT_CART, "cartridge",
	    "Each application needs exactly one web cartridge. Choose one of: %s.",
	    names.n == 0 ? "(there are none)" : names.p);
	return false;
}

static bool
read_carts(struct api_call *c, struct create *s)
{
	if (!api_cart_ask(c, false, &s->asks))
		return false;
	if (s->asks.n == 0)
		return fail_web(c);
	for (size_t i = 0; i < s->asks.n; i++) {
		if (s->asks.v[i].gear_size != NULL && s->profile == NULL)
			s->profile = xstrdup(s->asks.v[i].gear_size);
	}
	return true;
}

/* Rules, once all is known of each. */
static bool
plan_carts(struct api_call *c, struct create *s)
{
	AUTO_FINI(gear_group_fini) struct gear_group_list groups = { 0 };
	struct wire_app a = { .domain = s->domain, .scalable = s->scalable };
	struct err e = { 0 };
	int exit_code = EXIT_CART;
	size_t webs = 0;

	if (cart_pick_with(c->b, &a, &s->pick, &s->carts, &exit_code, &e) < 0) {
		api_fail_as(c, &e, 422, exit_code);
		return false;
	}
	for (size_t i = 0; i < s->carts.n; i++)
		webs += s->carts.v[i].is_web;
	if (webs != 1)
		return fail_web(c);
	a.profile = s->profile;
	a.cartridges = s->carts; /* borrowed, like the rest */
	gear_group_plan(c->b, &a, &groups);
	if (gear_group_check(&groups, &a, &e) == 0)
		return true;
	api_fail_as(c, &e, 422, EXIT_SIZES_DIFFER);
	return false;
}

static bool
has_two_webs(const struct cart_pick *p)
{
	const char *web = NULL;

	for (size_t i = 0; i < p->n; i++) {
		const struct wire_gear_cart *g = &p->v[i].gear;

		if (g->is_web && web != NULL && strcmp(web, g->name) != 0)
			return true;
		web = g->is_web ? g->name : web;
	}
	return false;
}

/* The sizes that the domain allows, or, when it is yet to be made, its owner-to-be. */
static bool
load_sizes(struct api_call *c, struct create *s, struct str_list *out)
{
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	AUTO(free) char *key = store_key_domain(s->domain);
	struct err e = { 0 };
	struct store_kv kv;

	if (store_get(c->b->store, key, &kv)) {
		if (access_domain(c->b, &c->who, s->domain, ACCESS_EDIT, &d, NULL, &e) < 0) {
			e.field[0] = '\0';
			return fail_param(c, &e, EXIT_DOMAIN);
		}
		str_list_copy(out, &d.allowed_gear_sizes);
		return true;
	}
	if (!access_has_scope(&c->who, "session")) {
		api_fail(c, 404, EXIT_DOMAIN, NULL, "Domain '%s' not found.", s->domain);
		return false;
	}
	if (record_get(c->b->store, store_key_user(c->who.login), &wire_user_codec, &u, NULL, &e) <
	    0)
		return fail_param(c, &e, 1);
	str_list_copy(out, &u.gear_sizes);
	return true;
}

static bool
read_domain(struct api_call *c, struct create *s)
{
	const char *domain = api_param_of_path(c->params, "domain");
	struct err e = { 0 };

	if (domain == NULL && api_param_str(c->params, "domain_id", TEXT_MAX, &domain, &e) < 0)
		return fail_param(c, &e, EXIT_DOMAIN_NAME);
	if (domain == NULL && api_param_str(c->params, "domain_name", TEXT_MAX, &domain, &e) < 0)
		return fail_param(c, &e, EXIT_DOMAIN_NAME);
	if (domain == NULL) {
		api_fail(c, 422, EXIT_DOMAIN_NAME, "domain_id",
		    "The parameter 'domain_id' is required: the domain of the application.");
		return false;
	}
	if (domain_check_name(domain, &e) < 0) {
		api_fail(c, 422, EXIT_DOMAIN_NAME, "domain_id", "%s", e.text);
		return false;
	}
	s->domain = xstrdup(domain);
	str_lower(s->domain);
	return true;
}

static bool
read_size(struct api_call *c, struct create *s)
{
	AUTO_FINI(str_list_fini) struct str_list sizes = { 0 };
	AUTO_FINI(buf_fini) struct buf words = { 0 };
	const char *size = NULL;
	struct err e = { 0 };
	struct wire_limits limits;

	if (api_param_str(c->params, "gear_size", 64, &size, &e) < 0 ||
	    (size == NULL && api_param_str(c->params, "gear_profile", 64, &size, &e) < 0))
		return fail_param(c, &e, EXIT_SIZE);
	if (!load_sizes(c, s, &sizes))
		return false;
	if (sizes.n == 0) {
		api_fail(c, 403, EXIT_SIZE, "gear_size",
		    "No gear sizes are allowed in this domain, so no application can be made in "
		    "it.");
		return false;
	}
	if (size != NULL && *size != '\0')
		mem_set_str(&s->profile, size);
	if (s->profile == NULL)
		s->profile = xstrdup(str_list_has(&sizes, "small") ? "small" : sizes.v[0]);
	str_lower(s->profile);
	if (str_list_has(&sizes, s->profile) && profile_get(c->b, s->profile, &limits))
		return true;
	for (size_t i = 0; i < sizes.n; i++)
		buf_addf(&words, "%s%s", i == 0 ? "" : ", ", sizes.v[i]);
	api_fail(c, 422, EXIT_SIZE, "gear_size",
	    "The gear size '%.64s' is not valid for this domain. Allowed sizes: %s.", s->profile,
	    words.p);
	return false;
}

static bool
read_vars(struct api_call *c, struct create *s)
{
	const struct codec_value *v = api_param_value(c->params, "environment_variables");
	struct err e = { 0 };
	int exit_code;

	if (v == NULL || api_env_parse(v, false, &s->vars, &exit_code, &e) == 0)
		return true;
	api_fail(c, 422, exit_code, e.field, "%s", e.text);
	return false;
}

static int
read_config(const struct codec_value *v, struct create *s, struct err *e)
{
	const struct codec_value *x;
	const char *branch = NULL;
	const char *type = NULL;

	if (codec_type(v) != CODEC_OBJECT)
		return err_set(
		    e, ERR_INVALID, "config", "The parameter 'config' must be an object.");
	if ((x = codec_get(v, "auto_deploy")) != NULL &&
	    api_param_as_bool(x, "auto_deploy", &s->auto_deploy, e) < 0)
		return -1;
	if ((x = codec_get(v, "deployment_branch")) != NULL &&
	    api_param_as_str(x, "deployment_branch", 256, &branch, e) < 0)
		return -1;
	if ((x = codec_get(v, "deployment_type")) != NULL &&
	    api_param_as_str(x, "deployment_type", 16, &type, e) < 0)
		return -1;
	if ((x = codec_get(v, "keep_deployments")) != NULL) {
		s->keep = codec_int(x, 0);
		if (s->keep < 1 || s->keep > KEEP_MAX)
			return err_set(e, ERR_INVALID, "keep_deployments",
			    "The parameter 'keep_deployments' must be between 1 and %d.", KEEP_MAX);
	}
	if (branch != NULL && !app_is_ref(branch))
		return err_set(e, ERR_INVALID, "deployment_branch",
		    "'%s' is not a name that git allows for a branch.", branch);
	if (type != NULL && strcmp(type, "git") != 0 && strcmp(type, "binary") != 0)
		return err_set(e, ERR_INVALID, "deployment_type",
		    "The deployment type must be 'git' or 'binary'.");
	s->branch = xstrdup_null(branch);
	if (type != NULL)
		mem_set_str(&s->type, type);
	return 0;
}

static bool
read_settings(struct api_call *c, struct create *s)
{
	const struct codec_value *v = api_param_value(c->params, "config");
	struct err e = { 0 };

	s->auto_deploy = true;
	s->type = xstrdup("git");
	s->keep = c->b->conf.keep_deployments;
	if ((v == NULL || read_config(v, s, &e) == 0) &&
	    api_param_int(
	        c->params, "idle_freeze", -1, WIRE_APP_IDLE_S_MAX, &s->idle_freeze_s, &e) == 0)
		return true;
	return fail_param(c, &e, 1);
}

/* --- undoing --- */

static void
undo_gone(struct api_call *c, const struct err *e)
{
	const struct create *s = c->state;

	if (e != NULL && e->code != ERR_NOT_FOUND)
		api_message(c, "warning", 0, NULL,
		    "What was left of application %s is still being removed: %s", s->name, e->text);
	if (s->failure.code == ERR_SYSTEM)
		api_load_fail_rollout(c, &s->failure);
	else
		api_fail_as(c, &s->failure, 422, s->failure_exit);
}

static void
undo_marked(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct create *s = c->state;

	if (e != NULL)
		undo_gone(c, e);
	else
		api_load_settle_within(c, s->id, UNDO_MS, undo_gone);
}

/* A create that fails leaves no application. */
static void
undo(struct api_call *c, const struct err *e, int exit_code)
{
	struct create *s = c->state;

	s->failure = *e;
	s->failure_exit = exit_code;
	(void)api_cart_lines(c, &s->lines, true);
	api_progress(c, "Removing what was made");
	app_delete(c->b, s->id, undo_marked, c);
}

/* --- the steps --- */

static void
serves(struct api_call *c, const struct err *e)
{
	const struct create *s = c->state;

	if (e != NULL) {
		undo(c, e, 1);
		return;
	}
	api_message(c, "info", 0, NULL, "Application %s was created.", s->name);
	for (size_t i = 0; i < s->pick.notices.n; i++)
		api_message(c, "warning", 0, "cartridges", "%s", s->pick.notices.v[i]);
	for (size_t i = 0; i < s->carts.n; i++)
		api_cart_messages(c, s->id, s->carts.v[i].name);
	api_load_send_app(c, s->id, 201, NULL);
}

static void
on_line(const char *line, void *arg)
{
	api_progress(arg, line);
}

static void
built(const char *deployment_id, const struct err *e, void *arg)
{
	(void)deployment_id;
	serves(arg, e);
}

static void
build(struct api_call *c, const struct create *s)
{
	AUTO(free) char *git = xasprintf("%s/git/%s/%s.git", c->root, s->domain, s->name);
	struct build_source src = {
		.app_id = s->id,
		.ref = s->ref,
		.sha1 = s->sha1,
		.is_template = s->sha1 == NULL,
		.login = c->who.login,
		.git_url = git,
	};

	(void)build_start(c->b->builds, &src, on_line, built, c);
}

/* The imported branch is what is deployed from now on. */
static int
take_branch(struct wire_app *a, void *arg, struct err *e)
{
	const struct create *s = arg;

	(void)e;
	a->pushed = true;
	if (!a->branch_by_user && str_has_prefix(s->ref, "refs/heads/"))
		mem_set_str(&a->deployment_branch, s->ref + strlen("refs/heads/"));
	return 0;
}

static void
branch_taken(const struct err *e, void *arg)
{
	struct api_call *c = arg;

	if (e != NULL)
		undo(c, e, 1);
	else
		build(c, c->state);
}

static void
imported(const char *ref, const char *sha1, const struct err *e, void *arg)
{
	struct api_call *c = arg;
	struct create *s = c->state;

	if (e != NULL) {
		undo(c, e, EXIT_GIT_URL);
		return;
	}
	fault_point("app_imported");
	s->ref = xstrdup(ref);
	s->sha1 = xstrdup(sha1);
	app_change(c->b, s->id, take_branch, s, branch_taken, c);
}

/* The gears have their cartridges: fill the application. */
static void
configured(struct api_call *c, const struct err *e)
{
	struct create *s = c->state;

	if (e != NULL) {
		undo(c, e, EXIT_CONFIGURE);
		return;
	}
	if (s->clone_url != NULL) {
		api_progress(c, "Cloning the repository");
		repo_import(c->b->repos, s->id, s->clone_url, imported, c);
	} else if (s->stored_url != NULL) {
		serves(c, NULL);
	} else {
		build(c, s);
	}
}

/* The record is there. */
static void
begin(struct api_call *c, struct create *s)
{
	api_progress(c, "Setting the cartridges up");
	api_load_settle_lines(c, s->id, &s->lines, configured);
}

static void make_record(struct api_call *c);

static void
old_one_gone(struct api_call *c, const struct err *e)
{
	if (e != NULL && e->code != ERR_NOT_FOUND)
		api_load_fail_rollout(c, e);
	else
		make_record(c);
}

/* Is the name taken by an application that is being deleted? Then its end is waited for, once. */
static bool
waits_for_old(struct api_call *c, struct create *s)
{
	AUTO_FINI(wire_app_fini) struct wire_app old = { 0 };
	struct err e = { 0 };

	if (s->has_waited || record_app(c->b->store, s->domain, s->name, &old, NULL, &e) < 0 ||
	    !old.spec.deleted)
		return false;
	s->has_waited = true;
	api_progress(c, "Waiting until the old application of that name is gone");
	api_load_settle(c, old.id, old_one_gone);
	return true;
}

static void
node_came(void *arg)
{
	make_record(arg);
}

/* No node is connected: one that is just being started again is waited for, once. */
static void
wait_for_node(struct api_call *c, struct create *s)
{
	s->has_waited_node = true;
	api_progress(c, "Waiting for a node");
	node_link_when_alive(c->b->nodes, NODE_WAIT_MS, node_came, c);
}

static void
recorded(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	struct create *s = c->state;

	if (e != NULL && e->code == ERR_BUSY && !s->has_waited_node) {
		wait_for_node(c, s);
		return;
	}
	if (e != NULL && e->code == ERR_CONFLICT && waits_for_old(c, s))
		return;
	if (e != NULL && e->code == ERR_CONFLICT) {
		api_fail(c, 422, EXIT_NAME_TAKEN, "name", "%s", e->text);
	} else if (e != NULL && e->code == ERR_LIMIT && strcmp(e->field, "domains") == 0) {
		api_fail(c, 409, EXIT_DOMAIN_LIMIT, NULL, "%s", e->text);
	} else if (e != NULL && e->code == ERR_LIMIT) {
		api_fail(c, 422, EXIT_GEARS, NULL, "%s", e->text);
	} else if (e != NULL && e->code == ERR_BUSY) {
		api_fail(c, 500, 140, NULL, "%s", e->text);
	} else if (e != NULL) {
		api_fail_err(c, e, 1);
	} else {
		fault_point("app_created");
		begin(c, s);
	}
}

static void
make_record(struct api_call *c)
{
	struct create *s = c->state;

	free(s->id);
	s->id = app_create(c->b,
	    &(struct app_new){
	        .domain = s->domain,
	        .name = s->name,
	        .login = c->who.login,
	        .cartridges = &s->carts,
	        .profile = s->profile,
	        .gears = 1,
	        .scalable = s->scalable,
	        .initial_git_url = s->stored_url,
	        .vars = &s->vars,
	        .auto_deploy = s->auto_deploy,
	        .deployment_branch = s->branch,
	        .keep_deployments = s->keep,
	        .idle_freeze_s = s->idle_freeze_s,
	        .deployment_type = s->type,
	    },
	    recorded, c);
}

/* All cartridges are known. */
static void
resolved(struct cart_pick *pick, const struct err *e, int exit_code, void *arg)
{
	struct api_call *c = arg;
	struct create *s = c->state;

	if (e != NULL) {
		api_fail_as(c, e, 422, exit_code);
		return;
	}
	s->pick = *pick;
	*pick = (struct cart_pick){ 0 };
	if (has_two_webs(&s->pick) ? fail_web(c) : plan_carts(c, s))
		make_record(c);
}

void
api_create_app(struct api_call *c)
{
	struct create *s = xcalloc(1, sizeof *s);

	s->b = c->b;
	api_call_keep(c, s, create_free);
	if (read_flags(c, s) && read_name(c, s) && read_git_url(c, s) && read_carts(c, s) &&
	    read_domain(c, s) && read_size(c, s) && api_cart_ask_storage(c, s->domain, &s->asks) &&
	    read_vars(c, s) && read_settings(c, s))
		cart_resolve_start(c->b, &s->asks, c->who.login, NULL, resolved, c);
}
