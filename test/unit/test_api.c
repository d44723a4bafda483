/* The API as a client sees it: resources, versions, rights, and every kind of bad input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/api_param.h"
#include "lib/base/mem.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_user.h"
#include "test/lib/api_world.h"

enum { NULL_EXIT = -99 };
#define NONE INT64_MIN

static void
make_domain_and_app(struct api_world *w)
{
	assert_int_equal(api_world_as(w, "ann", "POST", "/domains", "{\"name\":\"Shop\"}"), 201);
	assert_string_equal(api_world_data(w, "name"), "shop");
	assert_int_equal(api_world_as(w, "ann", "POST", "/domain/shop/applications",
	                     "{\"name\":\"Web\",\"cartridges\":[\"nodejs\"],\"scale\":true}"),
	    201);
}

static void
create_show_delete(void **state)
{
	struct api_world *w = *state;
	AUTO(free) char *path = NULL;
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct store_kv kv;
	AUTO(free) char *key = store_key_user("ann");
	struct err e = { 0 };

	make_domain_and_app(w);
	assert_string_equal(api_world_data(w, "name"), "web");
	assert_string_equal(api_world_data(w, "domain_id"), "shop");
	assert_string_equal(api_world_data(w, "framework"), "nodejs-18");
	assert_string_equal(api_world_data(w, "app_url"), "http://web-shop.apps.test:8080/");
	assert_true(str_has_suffix(api_world_data(w, "git_http_url"), "/git/shop/web.git"));
	assert_int_equal(strlen(api_world_data(w, "id")), 24);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_GEAR), 1);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_ROUTE), 1);
	path = xasprintf("/application/%s", api_world_data(w, "id"));
	assert_int_equal(api_world_as(w, "ann", "GET", path, NULL), 200);
	assert_int_equal(
	    api_world_as(w, "ann", "GET", "/domains/SHOP/applications/WEB.json", NULL), 200);
	assert_string_equal(api_world_data(w, "state"), "started");
	assert_int_equal(api_world_as(w, "ann", "GET", "/applications", NULL), 200);
	assert_int_equal(codec_count(codec_get(w->json, "data")), 1);
	assert_int_equal(api_world_as(w, "ann", "DELETE", path, NULL), 200);
	assert_int_equal(codec_type(codec_get(w->json, "data")), CODEC_NULL);
	assert_int_equal(api_world_as(w, "ann", "GET", path, NULL), 404);
	assert_int_equal(api_world_exit(w), 101);
	assert_int_equal(api_world_as(w, "ann", "DELETE", "/domain/shop", NULL), 200);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_GEAR), 0);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_ROUTE), 0);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_DOMAIN), 0);
	assert_true(store_get(w->b.store, key, &kv));
	assert_int_equal(codec_decode(&wire_user_codec, kv.val, kv.n, &u, CODEC_KEEP, &e), 0);
	assert_int_equal(u.consumed_gears, 0);
	assert_int_equal(u.domains, 0);
}

static void
bad_input_of_create(void **state)
{
	struct api_world *w = *state;
	static const char apps[] = "/domain/shop/applications";
	static const struct api_world_row rows[] = {
		{ "no name", "ann", "POST", apps, "{}", 422, 105, "name", "required" },
		{ "bad name", "ann", "POST", apps, "{\"name\":\"a-b\"}", 422, 105, "name",
		    "letters" },
		{ "long name", "ann", "POST", apps,
		    "{\"name\":\"a12345678901234567890123456789012\"}", 422, 105, "name", "32" },
		{ "name of the wrong type", "ann", "POST", apps, "{\"name\":[1]}", 422, 105, "name",
		    "string" },
		{ "no cartridge", "ann", "POST", apps, "{\"name\":\"x\"}", 422, 109, "cartridge",
		    "nodejs-18" },
		{ "unknown cartridge", "ann", "POST", apps,
		    "{\"name\":\"x\",\"cartridge\":\"cobol\"}", 422, 109, "cartridge", "cobol" },
		{ "cartridge of the wrong type", "ann", "POST", apps,
		    "{\"name\":\"x\",\"cartridges\":[{}]}", 422, 109, "cartridge", "name" },
		{ "two web cartridges", "ann", "POST", apps,
		    "{\"name\":\"x\",\"cartridges\":[\"nodejs\",\"php\"]}", 422, 109, "cartridge",
		    "exactly one" },
		{ "the same twice", "ann", "POST", apps,
		    "{\"name\":\"x\",\"cartridges\":[\"nodejs\",\"nodejs-18\"]}", 422, 136,
		    "cartridge", "twice" },
		{ "from a URL", "ann", "POST", apps,
		    "{\"name\":\"x\",\"cartridges\":[{\"url\":\"http://x/m.yml\"}]}", 422, 109,
		    "url", "not allowed" },
		{ "bad scale", "ann", "POST", apps, "{\"name\":\"x\",\"scale\":\"maybe\"}", 422,
		    167, "scale", "true or false" },
		{ "bad git URL", "ann", "POST", apps,
		    "{\"name\":\"x\",\"cartridge\":\"php\",\"initial_git_url\":\"file:///etc\"}",
		    422, 216, "initial_git_url", "git://" },
		{ "git option", "ann", "POST", apps,
		    "{\"name\":\"x\",\"cartridge\":\"php\",\"initial_git_url\":\"--upload-pack="
		    "x\"}",
		    422, 216, "initial_git_url", "Invalid" },
		{ "branch alone", "ann", "POST", apps,
		    "{\"name\":\"x\",\"cartridge\":\"php\",\"initial_git_branch\":\"b\"}", 422,
		    NONE, "initial_git_branch", "needs" },
		{ "gear size", "ann", "POST", apps,
		    "{\"name\":\"x\",\"cartridge\":\"php\",\"gear_size\":\"huge\"}", 422, 134,
		    "gear_size", "Allowed sizes: small" },
		{ "size not allowed", "ann", "POST", apps,
		    "{\"name\":\"x\",\"cartridge\":\"php\",\"gear_profile\":\"LARGE\"}", 422, 134,
		    "gear_size", "'large'" },
		{ "region", "ann", "POST", apps,
		    "{\"name\":\"x\",\"cartridge\":\"php\",\"region\":\"mars\"}", 422, NONE,
		    "region", "mars" },
		{ "unset at create", "ann", "POST", apps,
		    "{\"name\":\"x\",\"cartridge\":\"php\",\"environment_variables\":[{\"name\":"
		    "\"A\"}]}",
		    422, 186, "environment_variables", "value" },
		{ "bad variable", "ann", "POST", apps,
		    "{\"name\":\"x\",\"cartridge\":\"php\",\"environment_variables\":[{\"name\":"
		    "\"1\","
		    "\"value\":\"\"}]}",
		    422, 188, "name", "digit" },
		{ "keep", "ann", "POST", apps,
		    "{\"name\":\"x\",\"cartridge\":\"php\",\"config\":{\"keep_deployments\":0}}",
		    422, 1, "keep_deployments", "1000" },
		{ "taken", "ann", "POST", apps, "{\"name\":\"WEB\",\"cartridge\":\"php\"}", 422,
		    100, "name", "exists" },
		{ "someone else's domain", "bob", "POST", apps,
		    "{\"name\":\"x\",\"cartridge\":\"php\"}", 404, 127, "", "not found" },
		{ "bad domain", "bob", "POST", "/domain/a_b/applications",
		    "{\"name\":\"x\",\"cartridge\":\"php\"}", 422, 106, "domain_id", "letters" },
		{ "no domain", "bob", "POST", "/applications",
		    "{\"name\":\"x\",\"cartridge\":\"php\"}", 422, 106, "domain_id", "required" },
		{ "array as body", "ann", "POST", apps, "[]", 400, NONE, "", "object" },
		{ "no JSON", "ann", "POST", apps, "{\"name\":", 400, NONE, "", "JSON" },
		{ "not UTF-8", "ann", "POST", apps, "{\"name\":\"\xff\"}", 400, NONE, "", "UTF-8" },
		{ "not UTF-8 in the query", "ann", "GET", "/applications?owner=%ff", NULL, 400,
		    NONE, "", "UTF-8" },
	};

	make_domain_and_app(w);
	api_world_rows(w, rows, ARRAY_LEN(rows));
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_APP), 1);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_DOMAIN), 1);
}

static void
bad_input_elsewhere(void **state)
{
	struct api_world *w = *state;
	static const struct api_world_row rows[] = {
		{ "unknown path", "ann", "GET", "/nothing", NULL, 404, 1, "", "not found" },
		{ "wrong method", "ann", "DELETE", "/cartridges", NULL, 405, 1, "", "DELETE" },
		{ "no such domain", "ann", "GET", "/domain/none", NULL, 404, 127, "", "none" },
		{ "malformed domain", "ann", "GET", "/domain/..%2f..", NULL, 404, 1, "",
		    "not found" },
		{ "malformed domain 2", "ann", "GET", "/domain/a_b", NULL, 404, 127, "", "a_b" },
		{ "other's domain", "bob", "GET", "/domain/shop", NULL, 404, 127, "", "shop" },
		{ "other's app", "bob", "GET", "/domain/shop/application/web", NULL, 404, 127, "",
		    "shop" },
		{ "other's delete", "bob", "DELETE", "/domain/shop/application/web", NULL, 404, 127,
		    "", "shop" },
		{ "other's event", "bob", "POST", "/domain/shop/application/web/events",
		    "{\"event\":\"stop\"}", 404, 127, "", "shop" },
		{ "no such app", "ann", "GET", "/domain/shop/application/none", NULL, 404, 101, "",
		    "none" },
		{ "no such id", "ann", "GET", "/application/0123", NULL, 404, 101, "", "0123" },
		{ "no such cartridge", "ann", "GET", "/cartridge/cobol", NULL, 404, 1, "",
		    "cobol" },
		{ "domain name", "bob", "POST", "/domains", "{\"name\":\"a b\"}", 422, 106, "name",
		    "letters" },
		{ "domain too long", "bob", "POST", "/domains", "{\"name\":\"a1234567890123456\"}",
		    422, 106, "name", "16" },
		{ "domain taken", "bob", "POST", "/domains", "{\"id\":\"SHOP\"}", 422, 103, "id",
		    "in use" },
		{ "domain sizes", "bob", "POST", "/domains",
		    "{\"name\":\"b\",\"allowed_gear_sizes\":[\"nope\"]}", 422, 110,
		    "allowed_gear_sizes", "The following gear sizes are invalid: nope" },
		{ "domain sizes denied", "bob", "POST", "/domains",
		    "{\"name\":\"b\",\"allowed_gear_sizes\":[\"large\"]}", 422, 110,
		    "allowed_gear_sizes", "not available to this account: large" },
		{ "no change", "ann", "PUT", "/domain/shop", "{}", 422, 133, "", "No changes" },
		{ "rename with apps", "ann", "PUT", "/domain/shop", "{\"id\":\"store\"}", 422, 128,
		    "", "applications" },
		{ "delete with apps", "ann", "DELETE", "/domain/shop", NULL, 422, 128, "",
		    "force" },
		{ "bad force", "ann", "DELETE", "/domain/shop", "{\"force\":\"x\"}", 422, 167,
		    "force", "true or false" },
		{ "owner", "ann", "GET", "/domains?owner=bob", NULL, 400, 1, "owner", "@self" },
		{ "no event", "ann", "POST", "/domain/shop/application/web/events", "{}", 422, 126,
		    "event", "required" },
		{ "bad event", "ann", "POST", "/domain/shop/application/web/events",
		    "{\"event\":\"explode\"}", 422, 126, "event", "explode" },
		{ "thread dump", "ann", "POST", "/domain/shop/application/web/events",
		    "{\"event\":\"thread-dump\"}", 422, 180, "event", "thread dump" },
		{ "show-port", "ann", "POST", "/domain/shop/application/web/events",
		    "{\"event\":\"show-port\"}", 410, 112, "event", "" },
		{ "activate nothing", "ann", "POST", "/domain/shop/application/web/events",
		    "{\"event\":\"activate\"}", 422, 126, "deployment_id", "needs" },
		{ "activate unknown", "ann", "POST", "/domain/shop/application/web/events",
		    "{\"event\":\"activate\",\"deployment_id\":\"ffffffff\"}", 404, 1,
		    "deployment_id", "ffffffff" },
		{ "scale what is not scalable", "ann", "POST",
		    "/domain/shop/application/other/events", "{\"event\":\"scale-up\"}", 422, NONE,
		    "event", "not scalable" },
		{ "scale to 0", "ann", "POST", "/domain/shop/application/web/events",
		    "{\"event\":\"scale-down\"}", 422, 168, "by", "1 to 64" },
		{ "scale by text", "ann", "POST", "/domain/shop/application/web/events",
		    "{\"event\":\"scale-up\",\"to\":\"many\"}", 422, 168, "to", "whole number" },
		{ "quota", "ann", "POST", "/domain/shop/application/web/events",
		    "{\"event\":\"scale-up\",\"to\":6}", 422, 104, "", "gear limit" },
		{ "no ref", "ann", "POST", "/domain/shop/application/web/deployments", "{}", 422,
		    -1, "ref", "required" },
		{ "bad ref", "ann", "POST", "/domain/shop/application/web/deployments",
		    "{\"ref\":\"a..b\"}", 422, -1, "ref", "a..b" },
		{ "option as ref", "ann", "POST", "/domain/shop/application/web/deployments",
		    "{\"ref\":\"--output=x\"}", 422, -1, "ref", "git" },
		{ "unknown ref", "ann", "POST", "/domain/shop/application/web/deployments",
		    "{\"ref\":\"nope\"}", 422, -1, "ref", "no such" },
		{ "no deployment", "ann", "GET", "/domain/shop/application/web/deployment/zz", NULL,
		    404, 1, "", "zz" },
		{ "update nothing", "ann", "PUT", "/domain/shop/application/web", "{}", 422, 1, "",
		    "No changes" },
		{ "update branch", "ann", "PUT", "/domain/shop/application/web",
		    "{\"deployment_branch\":\"a b\"}", 422, 1, "deployment_branch", "git" },
		{ "update keep", "ann", "PUT", "/domain/shop/application/web",
		    "{\"keep_deployments\":100000}", 422, 1, "keep_deployments", "1000" },
		{ "update type", "ann", "PUT", "/domain/shop/application/web",
		    "{\"deployment_type\":\"tape\"}", 422, 1, "deployment_type", "binary" },
		{ "env both", "ann", "POST", "/domain/shop/application/web/environment-variables",
		    "{\"name\":\"A\",\"environment_variables\":[]}", 422, 186, "", "either" },
		{ "env neither", "ann", "PATCH",
		    "/domain/shop/application/web/environment-variables", "{}", 422, 186, "",
		    "either" },
		{ "env no value", "ann", "POST",
		    "/domain/shop/application/web/environment-variables", "{\"name\":\"A\"}", 422,
		    190, "value", "required" },
		{ "env bad name", "ann", "POST",
		    "/domain/shop/application/web/environment-variables",
		    "{\"name\":\"A-B\",\"value\":\"\"}", 422, 188, "name", "letters" },
		{ "env reserved", "ann", "PATCH",
		    "/domain/shop/application/web/environment-variables",
		    "{\"environment_variables\":[{\"name\":\"OPENSHIFT_APP_NAME\",\"value\":\"x\"}]"
		    "}",
		    422, 188, "name", "platform" },
		{ "env twice", "ann", "PATCH", "/domain/shop/application/web/environment-variables",
		    "{\"environment_variables\":[{\"name\":\"A\",\"value\":\"x\"},{\"name\":\"A\"}]"
		    "}",
		    422, 188, "environment_variables", "twice" },
		{ "env foreign key", "ann", "PATCH",
		    "/domain/shop/application/web/environment-variables",
		    "{\"environment_variables\":[{\"name\":\"A\",\"val\":\"x\"}]}", 422, 186,
		    "environment_variables", "nothing else" },
		{ "env no array", "ann", "PATCH",
		    "/domain/shop/application/web/environment-variables",
		    "{\"environment_variables\":\"A=1\"}", 422, 186, "environment_variables",
		    "array" },
		{ "env value type", "ann", "PATCH",
		    "/domain/shop/application/web/environment-variables",
		    "{\"environment_variables\":[{\"name\":\"A\",\"value\":1}]}", 422, 190,
		    "environment_variables", "string" },
		{ "env missing", "ann", "GET",
		    "/domain/shop/application/web/environment-variable/NO", NULL, 404, 188, "",
		    "NO" },
		{ "gears", "ann", "GET", "/domain/shop/application/web/gears", NULL, 301, 112, "",
		    "gear_groups" },
		{ "embedded missing", "ann", "GET",
		    "/domain/shop/application/web/cartridge/mysql-5.5", NULL, 404, 129, "",
		    "mysql" },
		{ "other's members", "bob", "PATCH", "/domain/shop/members", "{}", 404, 127, "",
		    "shop" },
		{ "add a team", "ann", "POST", "/teams", "{\"name\":\"ops\"}", 403, 193, "",
		    "0 teams" },
		{ "key without anything", "ann", "POST", "/user/keys", "{}", 422, 117, "name",
		    "letters" },
		{ "key of no type", "ann", "POST", "/user/keys",
		    "{\"name\":\"a\",\"type\":\"x\",\"content\":\"AAAA\"}", 422, 116, "type",
		    "ssh-ed25519" },
		{ "key that is another", "ann", "POST", "/user/keys",
		    "{\"name\":\"a\",\"type\":\"ssh-rsa\",\"content\":\"AAAA\"}", 422, 108,
		    "content", "ssh-rsa" },
		{ "key with a comment", "ann", "POST", "/user/keys",
		    "{\"name\":\"a\",\"type\":\"ssh-rsa\",\"content\":\"AAAA me@x\"}", 422, 108,
		    "content", "comment" },
		{ "key named like a format", "ann", "POST", "/user/keys",
		    "{\"name\":\"a.json\",\"type\":\"krb5-principal\",\"content\":\"x\"}", 422, 117,
		    "name", "format" },
		{ "key missing", "ann", "GET", "/user/key/none", NULL, 404, 118, "", "none" },
		{ "key to change missing", "ann", "PUT", "/user/keys/none",
		    "{\"type\":\"krb5-principal\",\"content\":\"x\"}", 404, 118, "", "none" },
		{ "key to delete missing", "ann", "DELETE", "/user/keys/none", NULL, 404, 118,
		    "name", "none" },
		{ "token scope", "ann", "POST", "/user/authorizations", "{\"scope\":\"root\"}", 422,
		    1, "scopes", "session" },
		{ "token missing", "ann", "GET", "/user/authorization/none", NULL, 404, 129, "",
		    "none" },
		{ "users not for all", "ann", "GET", "/users", NULL, 403, 1, "", "administrators" },
		{ "status not for all", "ann", "GET", "/status", NULL, 403, 1, "",
		    "administrators" },
		{ "user taken", "admin", "POST", "/users",
		    "{\"login\":\"ann\",\"password\":\"long-enough\"}", 422, 107, "login",
		    "already" },
		{ "login with slash", "admin", "POST", "/users",
		    "{\"login\":\"a/b\",\"password\":\"long-enough\"}", 422, 107, "login",
		    "letters" },
		{ "short password", "admin", "POST", "/users",
		    "{\"login\":\"c\",\"password\":\"x\"}", 422, 107, "password", "8" },
		{ "no such user", "admin", "DELETE", "/user/none", NULL, 404, 99, "", "none" },
		{ "user with domains", "admin", "DELETE", "/user/ann", NULL, 422, 139, "force",
		    "domains" },
		{ "oneself", "admin", "DELETE", "/user/admin", NULL, 403, 138, "", "logged in" },
		{ "wrong old password", "bob", "PUT", "/user/password",
		    "{\"old\":\"nope-nope\",\"new\":\"long-enough\"}", 422, 107, "old", "wrong" },
		{ "short new password", "bob", "PUT", "/user/password",
		    "{\"old\":\"bob-password\",\"new\":\"x\"}", 422, 107, "new", "8" },
		{ "no new password", "bob", "PUT", "/user/password", "{\"old\":\"bob-password\"}",
		    422, 107, "new", "required" },
		{ "logs while the node is away", "ann", "GET", "/domain/shop/application/web/logs",
		    NULL, 503, 143, "", "away" },
		{ "log lines", "ann", "GET", "/domain/shop/application/web/logs?lines=-1", NULL,
		    422, 1, "lines", "between" },
	};

	make_domain_and_app(w);
	assert_int_equal(api_world_as(w, "ann", "POST", "/domain/shop/applications",
	                     "{\"name\":\"other\",\"cartridge\":\"php\"}"),
	    201);
	api_world_rows(w, rows, ARRAY_LEN(rows));
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_GEAR), 2);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_USER), 3);
}

static void
login_is_needed(void **state)
{
	struct api_world *w = *state;

	assert_int_equal(api_world_call(w, "GET", "/user", NULL), 401);
	assert_string_equal(w->body.p, "HTTP Basic: Access denied.\n");
	assert_int_equal(api_world_call(w, "GET", "/api", NULL), 200);
	assert_int_equal(api_world_call(w, "GET", "/cartridges", NULL), 200);
	w->bearer = "0000000000000000000000000000000000000000000000000000000000000000";
	assert_int_equal(api_world_call(w, "GET", "/user", NULL), 401);
	w->bearer = NULL;
	w->user = "ann";
	w->password = "wrong";
	assert_int_equal(api_world_call(w, "GET", "/user", NULL), 401);
	w->user = "nobody";
	assert_int_equal(api_world_call(w, "GET", "/user", NULL), 401);
	/* a bad version wins over a missing login */
	w->user = NULL;
	w->headers[0] = "Accept: application/json;version=9.9";
	w->headers[1] = NULL;
	assert_int_equal(api_world_call(w, "GET", "/user", NULL), 406);
	assert_non_null(strstr(api_world_text(w), "1.7"));
}

static void
failed_logins_are_limited(void **state)
{
	struct api_world *w = *state;

	w->user = "ann";
	w->password = "wrong";
	for (int i = 0; i < 10; i++)
		assert_int_equal(api_world_call(w, "GET", "/user", NULL), 401);
	assert_int_equal(api_world_call(w, "GET", "/user", NULL), 429);
	w->password = "ann-password"; /* even the right one: no guessing meanwhile */
	assert_int_equal(api_world_call(w, "GET", "/user", NULL), 429);
	assert_int_equal(api_world_as(w, "bob", "GET", "/user", NULL), 200);
}

static void
password_change_forgets(void **state)
{
	struct api_world *w = *state;
	AUTO(free) char *token = NULL;

	assert_int_equal(
	    api_world_as(w, "bob", "POST", "/user/authorizations", "{\"scope\":\"session\"}"), 201);
	token = xstrdup(api_world_data(w, "token"));
	assert_int_equal(strlen(token), 64);
	assert_int_equal(api_world_as(w, "bob", "PUT", "/user/password",
	                     "{\"old\":\"bob-password\",\"new\":\"new-password\"}"),
	    200);
	assert_int_equal(api_world_as(w, "bob", "GET", "/user", NULL), 401);
	w->user = "bob";
	w->password = "new-password";
	assert_int_equal(api_world_call(w, "GET", "/user", NULL), 200);
	w->bearer = token;
	assert_int_equal(api_world_call(w, "GET", "/user", NULL), 401);
	/* the token that changes the password lives on */
	w->bearer = NULL;
	assert_int_equal(
	    api_world_call(w, "POST", "/user/authorizations", "{\"scope\":\"session\"}"), 201);
	free(token);
	token = xstrdup(api_world_data(w, "token"));
	w->bearer = token;
	assert_int_equal(api_world_call(w, "PUT", "/user/password",
	                     "{\"old\":\"new-password\",\"new\":\"bob-password\"}"),
	    200);
	assert_int_equal(api_world_call(w, "GET", "/user/authorizations", NULL), 200);
	assert_int_equal(codec_count(codec_get(w->json, "data")), 1);
	/* a new user of the same name inherits no token */
	assert_int_equal(api_world_as(w, "admin", "DELETE", "/user/bob", NULL), 200);
	assert_int_equal(api_world_as(w, "admin", "POST", "/users",
	                     "{\"login\":\"bob\",\"password\":\"bob-password\"}"),
	    201);
	w->bearer = token;
	assert_int_equal(api_world_call(w, "GET", "/user", NULL), 401);
}

static void
tokens_and_scopes(void **state)
{
	struct api_world *w = *state;
	AUTO(free) char *token = NULL;
	AUTO(free) char *id = NULL;
	AUTO(free) char *path = NULL;

	make_domain_and_app(w);
	assert_int_equal(api_world_as(w, "ann", "POST", "/user/authorizations",
	                     "{\"scope\":\"read, READ\",\"note\":\"ci\",\"expires_in\":60}"),
	    201);
	assert_string_equal(api_world_data(w, "scopes"), "read");
	token = xstrdup(api_world_data(w, "token"));
	id = xstrdup(api_world_data(w, "id"));
	w->bearer = token;
	assert_int_equal(api_world_call(w, "GET", "/domain/shop/application/web", NULL), 200);
	assert_int_equal(api_world_call(w, "GET", "/user", NULL), 200);
	assert_int_equal(api_world_call(w, "GET", "/user/authorizations", NULL), 403);
	assert_int_equal(api_world_call(w, "DELETE", "/domain/shop/application/web", NULL), 403);
	assert_int_equal(api_world_call(w, "POST", "/domains", "{\"name\":\"x\"}"), 403);
	/* git clients send it as a password */
	w->bearer = NULL;
	w->user = "ann";
	w->password = token;
	assert_int_equal(api_world_call(w, "GET", "/user", NULL), 200);
	w->user = "bob";
	assert_int_equal(api_world_call(w, "GET", "/user", NULL), 401);
	path = xasprintf("/user/authorization/%s", id);
	assert_int_equal(api_world_as(w, "ann", "PUT", path, "{\"note\":\"build\"}"), 200);
	assert_string_equal(api_world_data(w, "note"), "build");
	assert_int_equal(api_world_as(w, "ann", "DELETE", path, NULL), 200);
	w->bearer = token;
	assert_int_equal(api_world_call(w, "GET", "/user", NULL), 401);
}

static void
scope_of_one_application(void **state)
{
	struct api_world *w = *state;
	AUTO(free) char *body = NULL;
	AUTO(free) char *token = NULL;

	make_domain_and_app(w);
	body = xasprintf("{\"scope\":\"application/%s/edit\"}", api_world_data(w, "id"));
	assert_int_equal(api_world_as(w, "ann", "POST", "/domain/shop/applications",
	                     "{\"name\":\"other\",\"cartridge\":\"php\"}"),
	    201);
	assert_int_equal(api_world_as(w, "ann", "POST", "/user/authorizations", body), 201);
	token = xstrdup(api_world_data(w, "token"));
	w->bearer = token;
	assert_int_equal(api_world_call(w, "POST", "/domain/shop/application/web/events",
	                     "{\"event\":\"restart\"}"),
	    200);
	assert_int_equal(api_world_call(w, "DELETE", "/domain/shop/application/web", NULL), 403);
	assert_int_equal(api_world_call(w, "GET", "/domain/shop/application/other", NULL), 404);
	assert_int_equal(api_world_call(w, "GET", "/applications", NULL), 200);
	assert_int_equal(codec_count(codec_get(w->json, "data")), 1);
}

static void
failed_create_leaves_nothing(void **state)
{
	struct api_world *w = *state;

	api_world_fakes.build_failure = "The template does not build.";
	assert_int_equal(api_world_as(w, "ann", "POST", "/domain/shop/applications",
	                     "{\"name\":\"web\",\"cartridge\":\"php\"}"),
	    422);
	assert_string_equal(api_world_text(w), "The template does not build.");
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_APP), 0);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_GEAR), 0);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_ROUTE), 0);
	api_world_fakes.build_failure = NULL;
	assert_int_equal(api_world_as(w, "ann", "POST", "/domain/shop/applications",
	                     "{\"name\":\"web\",\"cartridge\":\"php\",\"initial_git_url\":"
	                     "\"https://u:p@example.org/missing.git\"}"),
	    422);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_APP), 0);
	assert_int_equal(api_world_as(w, "ann", "POST", "/domain/shop/applications",
	                     "{\"name\":\"web\",\"cartridge\":\"php\",\"initial_git_url\":"
	                     "\"https://u:p@example.org/x.git#main\"}"),
	    201);
	assert_string_equal(api_world_data(w, "initial_git_url"), "https://example.org/x.git#main");
	assert_string_equal(api_world_data(w, "deployment_branch"), "main");
	api_world_fakes.no_node = true;
	assert_int_equal(api_world_as(w, "ann", "POST", "/domain/shop/applications",
	                     "{\"name\":\"two\",\"cartridge\":\"php\"}"),
	    500);
	assert_int_equal(api_world_exit(w), 140);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_APP), 1);
}

static void
variables(void **state)
{
	struct api_world *w = *state;
	static const char path[] = "/domain/shop/application/web/environment-variables";

	make_domain_and_app(w);
	assert_int_equal(api_world_as(w, "ann", "PATCH", path,
	                     "{\"environment_variables\":[{\"name\":\"A\",\"value\":\"1\"},"
	                     "{\"name\":\"B\",\"value\":\"\"}]}"),
	    201);
	assert_int_equal(codec_count(codec_get(w->json, "data")), 2);
	assert_int_equal(api_world_as(w, "ann", "PATCH", path,
	                     "{\"environment_variables\":[{\"name\":\"B\"}],\"restart\":false}"),
	    201);
	assert_int_equal(codec_count(codec_get(w->json, "data")), 0);
	assert_int_equal(
	    api_world_as(w, "ann", "POST", path, "{\"name\":\"A\",\"value\":\"2\"}"), 422);
	assert_int_equal(
	    api_world_as(w, "ann", "PUT", "/domain/shop/application/web/environment-variable/A",
	        "{\"value\":\"2\"}"),
	    200);
	assert_string_equal(api_world_data(w, "value"), "2");
	/* a rollout that fails puts the old value back */
	api_world_fakes.rollout_failure = "exited with status 1";
	assert_int_equal(
	    api_world_as(w, "ann", "PUT", "/domain/shop/application/web/environment-variable/A",
	        "{\"value\":\"3\"}"),
	    422);
	api_world_fakes.rollout_failure = NULL;
	assert_int_equal(api_world_as(w, "ann", "GET",
	                     "/domain/shop/application/web/environment-variable/A", NULL),
	    200);
	assert_string_equal(api_world_data(w, "value"), "2");
	assert_int_equal(api_world_as(w, "ann", "DELETE",
	                     "/domain/shop/application/web/environment-variable/A", NULL),
	    200);
	assert_int_equal(api_world_as(w, "ann", "GET", path, NULL), 200);
	assert_int_equal(codec_count(codec_get(w->json, "data")), 0);
}

static void
scaling_and_quota(void **state)
{
	struct api_world *w = *state;
	static const char events[] = "/domain/shop/application/web/events";

	make_domain_and_app(w);
	assert_int_equal(
	    api_world_as(w, "ann", "POST", events, "{\"event\":\"scale-up\",\"to\":3}"), 200);
	assert_int_equal(codec_int(codec_get(codec_get(w->json, "data"), "gear_count"), 0), 3);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_GEAR), 3);
	assert_int_equal(
	    api_world_as(w, "ann", "GET", "/domain/shop/application/web/gear_groups", NULL), 200);
	assert_int_equal(
	    codec_count(codec_get(codec_at(codec_get(w->json, "data"), 0), "gears")), 3);
	assert_int_equal(
	    api_world_as(w, "ann", "POST", events, "{\"event\":\"scale-up\",\"by\":3}"), 422);
	assert_int_equal(api_world_exit(w), 104);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_GEAR), 3);
	api_world_fakes.rollout_failure = "never listened";
	assert_int_equal(api_world_as(w, "ann", "POST", events, "{\"event\":\"scale-up\"}"), 422);
	api_world_fakes.rollout_failure = NULL;
	assert_int_equal(api_world_as(w, "ann", "GET", "/domain/shop/application/web", NULL), 200);
	assert_int_equal(codec_int(codec_get(codec_get(w->json, "data"), "gear_count"), 0), 3);
	assert_int_equal(
	    api_world_as(w, "ann", "POST", events, "{\"event\":\"scale-down\",\"to\":1}"), 200);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_GEAR), 1);
	assert_int_equal(api_world_as(w, "ann", "GET", "/user", NULL), 200);
	assert_int_equal(codec_int(codec_get(codec_get(w->json, "data"), "consumed_gears"), 0), 1);
}

static void
old_versions(void **state)
{
	struct api_world *w = *state;
	AUTO(free) char *user = xstrdup("ann");

	make_domain_and_app(w);
	w->user = user;
	w->password = "ann-password";
	w->headers[0] = "Accept: application/json;version=1.5";
	w->headers[1] = NULL;
	assert_int_equal(api_world_call(w, "GET", "/domain/shop", NULL), 200);
	assert_string_equal(api_world_data(w, "id"), "shop");
	assert_string_equal(codec_string(codec_get(w->json, "version")), "1.5");
	assert_int_equal(api_world_call(w, "GET", "/domain/shop/application/web", NULL), 200);
	assert_int_equal(strlen(api_world_data(w, "uuid")), 24);
	w->headers[0] = "User-Agent: rhc/1.38.7 (ruby)";
	assert_int_equal(api_world_call(w, "GET", "/user", NULL), 200);
	assert_string_equal(codec_string(codec_get(w->json, "version")), "1.3");
	w->headers[0] = "Accept: application/json;version=1.4";
	assert_int_equal(api_world_call(w, "DELETE", "/domain/shop/application/web", NULL), 204);
	assert_int_equal(w->body.n, 0);
	w->headers[0] = "Accept: application/xml";
	assert_int_equal(api_world_call(w, "GET", "/domain/shop", NULL), 200);
	assert_non_null(strstr(w->body.p, "<domain>"));
	assert_non_null(strstr(w->body.p, "<creation-time>"));
}

static void
forms_and_links(void **state)
{
	struct api_world *w = *state;

	make_domain_and_app(w);
	w->user = "ann";
	w->password = "ann-password";
	w->headers[0] = "Content-Type: application/x-www-form-urlencoded";
	w->headers[1] = NULL;
	assert_int_equal(api_world_call(w, "POST", "/domain/shop/applications",
	                     "name=formed&cartridges[][name]=php&environment_variables[][name]=A&"
	                     "environment_variables[][value]=b+c&environment_variables[][name]=D&"
	                     "environment_variables[][value]=%C3%A9&nolinks=true"),
	    201);
	assert_null(codec_get(codec_get(w->json, "data"), "links"));
	w->headers[0] = NULL;
	assert_int_equal(
	    api_world_call(w, "GET", "/domain/shop/application/formed/environment-variables", NULL),
	    200);
	assert_int_equal(codec_count(codec_get(w->json, "data")), 2);
	assert_non_null(codec_get(codec_at(codec_get(w->json, "data"), 0), "links"));
	assert_int_equal(api_world_call(w, "GET", "/api", NULL), 200);
	assert_non_null(codec_get(codec_get(w->json, "data"), "ADD_DOMAIN"));
	/* a client offers cartridges by address, and copies of applications, if this is there */
	assert_int_equal(api_world_call(w, "GET", "/domain/shop", NULL), 200);
	assert_null(strstr(w->body.p, "cartridges[][url]"));
	w->b.conf.download_cartridges = true;
	assert_int_equal(api_world_call(w, "GET", "/domain/shop", NULL), 200);
	assert_non_null(strstr(w->body.p, "cartridges[][url]"));
	assert_non_null(strstr(w->body.p, "cartridges[][name]"));
	assert_int_equal(api_world_call(w, "GET", "/domain/shop/application/formed", NULL), 200);
	assert_non_null(strstr(w->body.p, "\"ADD_ALIAS\""));
}

static void
progress_as_lines(void **state)
{
	struct api_world *w = *state;

	w->user = "ann";
	w->password = "ann-password";
	w->headers[0] = "Accept: application/x-ndjson";
	w->headers[1] = "Content-Type: application/json";
	w->headers[2] = NULL;
	assert_int_equal(api_world_call(w, "POST", "/domain/shop/applications",
	                     "{\"name\":\"web\",\"cartridges\":[\"php\"]}"),
	    200);
	assert_true(str_has_prefix(w->body.p, "{\"progress\":\"Setting the cartridges up\"}\n{"));
	assert_non_null(strstr(w->body.p, "\n{\"progress\":\"Building\"}\n{"));
	assert_string_equal(codec_string(codec_get(w->json, "status")), "created");
	assert_string_equal(codec_string(codec_get(w->json, "type")), "application");
	/* no progress: the status is in the head */
	assert_int_equal(api_world_call(w, "GET", "/domain/none", NULL), 404);
	assert_string_equal(codec_string(codec_get(w->json, "status")), "not_found");
}

static void
administration(void **state)
{
	struct api_world *w = *state;

	make_domain_and_app(w);
	assert_int_equal(api_world_as(w, "admin", "POST", "/users",
	                     "{\"login\":\"carl\",\"password\":\"carl-password\"}"),
	    201);
	assert_int_equal(api_world_as(w, "carl", "GET", "/user", NULL), 200);
	assert_int_equal(api_world_as(w, "admin", "GET", "/users", NULL), 200);
	assert_int_equal(codec_count(codec_get(w->json, "data")), 4);
	assert_int_equal(api_world_as(w, "admin", "GET", "/status", NULL), 200);
	assert_int_equal(codec_count(codec_get(codec_get(w->json, "data"), "nodes")), 1);
	assert_int_equal(api_world_as(w, "admin", "GET", "/domain/shop", NULL), 404);
	assert_int_equal(api_world_as(w, "admin", "DELETE", "/user/ann", "{\"force\":true}"), 200);
	assert_int_equal(api_world_as(w, "ann", "GET", "/user", NULL), 401);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_APP), 0);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_DOMAIN), 0);
	assert_int_equal(store_count(w->b.store, STORE_PREFIX_USER), 3);
}

static void
large_bodies(void **state)
{
	struct api_world *w = *state;
	AUTO(free) char *body = xmalloc(API_PARAM_BODY_MAX + 2);

	memset(body, ' ', API_PARAM_BODY_MAX + 1);
	body[API_PARAM_BODY_MAX + 1] = '\0';
	assert_int_equal(api_world_as(w, "ann", "POST", "/domains", body), 413);
	memset(body, '[', 100000);
	memcpy(body, "{\"name\":", 8);
	body[100000] = '\0';
	assert_int_equal(api_world_as(w, "ann", "POST", "/domains", body), 400);
	assert_non_null(strstr(api_world_text(w), "deep"));
}

static void
deployments(void **state)
{
	struct api_world *w = *state;

	make_domain_and_app(w);
	assert_int_equal(api_world_as(w, "ann", "POST", "/domain/shop/application/web/deployments",
	                     "{\"ref\":\"main\"}"),
	    201);
	assert_string_equal(api_world_data(w, "sha1"), "0123456");
	assert_int_equal(
	    api_world_as(w, "ann", "GET", "/domain/shop/application/web/deployments", NULL), 200);
	assert_int_equal(codec_count(codec_get(w->json, "data")), 2);
	assert_int_equal(api_world_as(w, "ann", "POST", "/domain/shop/application/web/events",
	                     "{\"event\":\"activate\",\"deployment_id\":\"00000001\"}"),
	    200);
	assert_string_equal(api_world_data(w, "deployment_id"), "00000001");
	assert_int_equal(api_world_as(w, "ann", "PUT", "/domain/shop/application/web",
	                     "{\"keep_deployments\":\"3\",\"auto_deploy\":\"FALSE\"}"),
	    200);
	assert_int_equal(
	    codec_int(codec_get(codec_get(w->json, "data"), "keep_deployments"), 0), 3);
	assert_false(codec_bool(codec_get(codec_get(w->json, "data"), "auto_deploy"), true));
	assert_string_equal(api_world_data(w, "rollout"), "overlap");
	assert_int_equal(api_world_as(w, "ann", "PUT", "/domain/shop/application/web",
	                     "{\"rollout\":\"replace\"}"),
	    200);
	assert_string_equal(api_world_data(w, "rollout"), "replace");
	assert_int_equal(
	    api_world_as(w, "ann", "PUT", "/domain/shop/application/web", "{\"rollout\":\"both\"}"),
	    422);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, api_world_setup, api_world_teardown)
	const struct CMUnitTest tests[] = {
		T(create_show_delete),
		T(bad_input_of_create),
		T(bad_input_elsewhere),
		T(login_is_needed),
		T(failed_logins_are_limited),
		T(password_change_forgets),
		T(tokens_and_scopes),
		T(scope_of_one_application),
		T(failed_create_leaves_nothing),
		T(variables),
		T(scaling_and_quota),
		T(old_versions),
		T(forms_and_links),
		T(progress_as_lines),
		T(administration),
		T(large_bodies),
		T(deployments),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
