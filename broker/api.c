#include "broker/api.h"

#include <inttypes.h>
#include <string.h>
#include <sys/queue.h>

#include "broker/access.h"
#include "broker/api_call.h"
#include "broker/api_load.h"
#include "broker/api_route.h"
#include "broker/api_version.h"
#include "broker/broker.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/http_server.h"

enum { REQUEST_ID_BYTES = 8, HOST_MAX = 300, GEAR_KEY_MAX = 256, GEAR_BODY_MAX = 8192 };

static const char prefix[] = "/broker/rest";

void
api_call_keep(struct api_call *c, void *take_state, api_free_fn *free_state)
{
	c->state = take_state;
	c->free_state = free_state;
}

void
api_call_free(struct api_call *take_c)
{
	struct api_call *c = take_c;

	if (c == NULL)
		return;
	LIST_REMOVE(c, link);
	auth_cancel(c->ask);
	api_load_free_wait(c->waiting);
	if (c->free_state != NULL)
		c->free_state(c->state);
	auth_who_fini(&c->who);
	api_param_free(c->params);
	buf_fini(&c->data);
	buf_fini(&c->messages);
	secret_free(c->authorization);
	free(c->content_type);
	free(c->method);
	free(c->peer);
	free(c->root);
	free(c->id);
	free(c);
}

/* "http://host" as the client sees us: from the configuration, else from what it asked. */
static char *
root_of(const struct broker *b, const struct http_req *r)
{
	const char *host = http_req_header(r, "Host");
	size_t n;

	if (b->conf.public_url != NULL && b->conf.public_url[0] != '\0') {
		n = strlen(b->conf.public_url);
		while (n > 0 && b->conf.public_url[n - 1] == '/')
			n--;
		return xstrndup(b->conf.public_url, n);
	}
	if (host == NULL || *host == '\0' || strlen(host) > HOST_MAX)
		host = "localhost";
	return xasprintf("http://%s", host);
}

/* A gear's token, where nothing else says who asks. */
static void
take_gear_key(struct api_call *c, const char *key)
{
	if (c->authorization == NULL && key != NULL && *key != '\0' && strlen(key) <= GEAR_KEY_MAX)
		c->authorization = xasprintf("Bearer %s", key);
}

static struct api_call *
call_new(struct broker *b, struct http_req *r)
{
	struct api_call *c = xcalloc(1, sizeof *c);
	struct str method = http_req_method(r);

	c->b = b;
	LIST_INSERT_HEAD(&b->calls, c, link);
	c->req = r;
	c->minor = API_MINOR_MAX;
	c->method = xstrndup(method.p, method.n);
	c->root = root_of(b, r);
	c->id = secret_random_hex(REQUEST_ID_BYTES);
	c->content_type = xstrdup_null(http_req_header(r, "Content-Type"));
	c->authorization = xstrdup_null(http_req_header(r, "Authorization"));
	take_gear_key(c, http_req_header(r, "broker_auth_key"));
	c->peer = xstrdup(http_req_peer(r));
	c->params = api_param_new();
	return c;
}

/* --- the steps of a call --- */

static bool
scope_allows(const struct api_call *c)
{
	if (access_has_scope(&c->who, "session"))
		return true;
	switch (c->route->scope) {
	case API_SCOPE_OPEN:
	case API_SCOPE_OBJECT:
	case API_SCOPE_RAW:
		return true;
	case API_SCOPE_USERINFO:
		return access_has_scope(&c->who, "userinfo") || access_has_scope(&c->who, "read");
	case API_SCOPE_READ:
		return access_has_scope(&c->who, "read");
	case API_SCOPE_SESSION:
	case API_SCOPE_ADMIN:
		break;
	}
	return false;
}

static void
run(struct api_call *c)
{
	if (!scope_allows(c)) {
		api_fail(c, 403, 1, NULL,
		    "This action is not allowed with your current authorization. Scopes of the "
		    "token: %s. "
		    "Use a token with the scope 'session'.",
		    c->who.scopes);
		return;
	}
	if (c->route->scope == API_SCOPE_ADMIN && !c->who.is_admin) {
		api_fail(c, 403, 1, NULL,
		    "You are not permitted to perform this action: it is for administrators.");
		return;
	}
	c->is_running = true;
	c->route->fn(c);
}

static void
fail_params(struct api_call *c, const struct err *e)
{
	api_fail(c, e->code == ERR_LIMIT ? 413 : 400, API_NO_EXIT, e->field, "%s", e->text);
}

static void
take_nolinks(struct api_call *c)
{
	struct err e = { 0 };
	bool v = false;

	if (api_param_bool(c->params, "nolinks", &v, &e) == 0 && v)
		c->no_links = true;
}

static void authenticate_by_body(struct api_call *c);

static void
on_body(struct http_req *r, struct str body, const struct err *body_e, void *arg)
{
	struct api_call *c = arg;
	struct err e = { 0 };

	if (body_e != NULL) { /* answered already: 413 */
		http_req_on_close(r, NULL, NULL);
		api_call_free(c);
	} else if (api_param_body(c->params, c->content_type, body, &e) < 0) {
		fail_params(c, &e);
	} else {
		take_nolinks(c);
		if (c->is_body_first)
			authenticate_by_body(c);
		else
			run(c);
	}
}

static void
read_body(struct api_call *c)
{
	if (c->route->scope == API_SCOPE_RAW) {
		run(c);
		return;
	}
	if (http_req_length(c->req) > API_PARAM_BODY_MAX) {
		api_fail(c, 413, 1, NULL,
		    "The request body has %" PRId64 " bytes; at most %d are accepted.",
		    http_req_length(c->req), API_PARAM_BODY_MAX);
		return;
	}
	http_req_read_all(c->req, API_PARAM_BODY_MAX, on_body, c);
}

static void
on_auth(const struct auth_answer *ans, void *arg)
{
	struct api_call *c = arg;

	c->ask = NULL;
	if (ans->who == NULL) {
		const char *headers[] = { "Content-Type: text/plain; charset=utf-8", NULL, NULL,
			NULL };

		for (size_t i = 0; i < 2 && ans->headers[i] != NULL; i++)
			headers[i + 1] = ans->headers[i];
		http_req_on_close(c->req, NULL, NULL);
		http_req_reply(c->req, ans->status, headers, ans->text, strlen(ans->text));
		api_call_free(c);
		return;
	}
	auth_who_copy(&c->who, ans->who);
	c->has_who = true;
	if (c->is_body_first)
		run(c);
	else
		read_body(c);
}

/* What gears say of themselves as v2 has it: the token is a parameter. */
static void
authenticate_by_body(struct api_call *c)
{
	const char *key = NULL;
	struct err e = { 0 };

	if (api_param_str(c->params, "broker_auth_key", GEAR_KEY_MAX, &key, &e) == 0)
		take_gear_key(c, key);
	c->ask = auth_start(c->b->auth, c->authorization, c->peer, on_auth, c);
}

/* No other proof, and a small form: the key may be in it. */
static bool
may_be_gear(const struct api_call *c)
{
	return c->authorization == NULL && c->content_type != NULL &&
	       str_has_prefix(c->content_type, "application/x-www-form-urlencoded") &&
	       http_req_length(c->req) > 0 && http_req_length(c->req) <= GEAR_BODY_MAX;
}

/* Bodies are read from those only who may send one: what is held for strangers is a head. */
static void
authenticate(struct api_call *c)
{
	if (c->route->scope == API_SCOPE_OPEN) {
		read_body(c);
	} else if (may_be_gear(c) && c->route->scope != API_SCOPE_RAW) {
		c->is_body_first = true;
		http_req_read_all(c->req, GEAR_BODY_MAX, on_body, c);
	} else {
		c->ask = auth_start(c->b->auth, c->authorization, c->peer, on_auth, c);
	}
}

/* Version, format and route, from the head alone; false: the call has ended. */
static bool
read_head(struct api_call *c)
{
	const struct http_req *r = c->req;
	const char *path = http_req_path(r);
	struct err e = { 0 };
	struct api_version v;
	bool has_path;
	bool is_xml;

	if (!str_is_utf8(path, strlen(path))) {
		api_fail(c, 400, API_NO_EXIT, NULL, "The path is not valid UTF-8.");
		return false;
	}
	if (api_param_query(c->params, http_req_query(r), &e) < 0) {
		fail_params(c, &e);
		return false;
	}
	if (api_version_pick(http_req_header(r, "Accept"), c->content_type,
	        http_req_header(r, "User-Agent"), &v, &e) < 0) {
		api_fail(c, 406, API_NO_EXIT, NULL, "%s", e.text);
		return false;
	}
	c->minor = v.minor;
	c->no_links = v.no_links;
	c->is_lines = v.is_lines;
	c->route = api_route_find(
	    http_req_method(r), path + strlen(prefix), c->params, &has_path, &is_xml);
	c->is_xml = v.is_xml || is_xml;
	if (c->route != NULL)
		return true;
	if (has_path)
		api_fail(c, 405, 1, NULL, "The method %.16s is not possible here.", c->method);
	else
		api_fail(c, 404, 1, NULL,
		    "The requested resource was not found. Start at %s%s/api.", c->root, prefix);
	return false;
}

static void
on_close(struct http_req *r, void *arg)
{
	struct api_call *c = arg;

	(void)r;
	c->req = NULL;
	if (!c->is_running)
		api_call_free(c);
	else if (c->gone != NULL)
		c->gone(c);
}

static bool
is_below(const char *path)
{
	size_t n = strlen(prefix);

	return strncmp(path, prefix, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

void
api_handle(struct broker *b, struct http_req *r)
{
	const char *path = http_req_path(r);
	struct api_call *c;

	if (!is_below(path)) {
		http_req_reply_text(r, 404, "Not found.\n");
		return;
	}
	if (path[strlen(prefix)] == '\0' || strcmp(path + strlen(prefix), "/") == 0) {
		const char *headers[] = { "Location: /broker/rest/api", NULL };

		http_req_reply(r, 302, headers, NULL, 0);
		return;
	}
	c = call_new(b, r);
	http_req_on_close(r, on_close, c);
	if (read_head(c))
		authenticate(c);
}

void
api_end(struct broker *b)
{
	while (!LIST_EMPTY(&b->calls))
		api_call_free(LIST_FIRST(&b->calls));
}
