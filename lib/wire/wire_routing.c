#include "lib/wire/wire_routing.h"

#include <string.h>
#include <strings.h>

#include "lib/base/cidr.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum {
	NAME_MAX_LEN = 64,
	VALUE_MAX = 1024,
	HOST_MAX = 255,
	URL_MAX = 1024,
	HASH_MAX = 256,
	SECONDS_MAX = 86400,
	YEAR_S = 366 * 86400,
	PRELOAD_MIN_S = 31536000,
	RATE_MAX = 1000000,
	QUEUE_MAX = 10000,
};

const struct codec_name wire_routing_https_names[] = {
	{ "allow", WIRE_ROUTING_HTTPS_ALLOW },
	{ "redirect", WIRE_ROUTING_HTTPS_REDIRECT },
	{ "require", WIRE_ROUTING_HTTPS_REQUIRE },
	{ "off", WIRE_ROUTING_HTTPS_OFF },
	{ NULL, 0 },
};

const struct codec_name wire_routing_protocol_names[] = {
	{ "http1", WIRE_ROUTING_HTTP1 },
	{ "h2c", WIRE_ROUTING_H2C },
	{ NULL, 0 },
};

static const struct codec_name op_names[] = {
	{ "add", WIRE_ROUTING_ADD },
	{ "set", WIRE_ROUTING_SET },
	{ "remove", WIRE_ROUTING_REMOVE },
	{ NULL, 0 },
};

static const struct codec_field path_fields[] = {
	CODEC_STR(struct wire_routing_path, path, WIRE_ROUTING_PATH_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_routing_path, app, NAME_MAX_LEN, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_routing_path, host, HOST_MAX, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_routing_path, strips, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_routing_path, struct wire_routing_path, path_fields)

static const struct codec_field weight_fields[] = {
	CODEC_STR(struct wire_routing_weight, app, NAME_MAX_LEN, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_routing_weight, host, HOST_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_routing_weight, weight, 0, 100, CODEC_REQUIRED),
	CODEC_END,
};
DEFINE_CODEC(wire_routing_weight, struct wire_routing_weight, weight_fields)

static const struct codec_field page_fields[] = {
	CODEC_INT(struct wire_routing_page, status, 400, 599, CODEC_REQUIRED),
	CODEC_STR(struct wire_routing_page, body, WIRE_ROUTING_PAGE_MAX, CODEC_REQUIRED),
	CODEC_END,
};
DEFINE_CODEC(wire_routing_page, struct wire_routing_page, page_fields)

static const struct codec_field user_fields[] = {
	CODEC_STR(struct wire_routing_user, name, NAME_MAX_LEN, CODEC_REQUIRED),
	CODEC_STR(struct wire_routing_user, password, WIRE_ROUTING_PASSWORD_MAX,
	    CODEC_OMIT_NULL | CODEC_SECRET),
	CODEC_STR(struct wire_routing_user, hash, HASH_MAX, CODEC_OMIT_NULL | CODEC_SECRET),
	CODEC_END,
};
DEFINE_CODEC(wire_routing_user, struct wire_routing_user, user_fields)

static const struct codec_field header_fields[] = {
	CODEC_BOOL(struct wire_routing_header, response, CODEC_OMIT_NULL),
	CODEC_ENUM(struct wire_routing_header, op, op_names, CODEC_REQUIRED),
	CODEC_STR(struct wire_routing_header, name, NAME_MAX_LEN, CODEC_REQUIRED),
	CODEC_STR(struct wire_routing_header, value, VALUE_MAX, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_routing_header, struct wire_routing_header, header_fields)

static const struct codec_field redirect_fields[] = {
	CODEC_STR(struct wire_routing_redirect, host, HOST_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_routing_redirect, path, URL_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_routing_redirect, to, URL_MAX, CODEC_REQUIRED),
	CODEC_INT(struct wire_routing_redirect, status, 0, 308, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_routing_redirect, struct wire_routing_redirect, redirect_fields)

static const struct codec_field routing_fields[] = {
	CODEC_LIST(struct wire_routing, paths, &wire_routing_path_codec, WIRE_ROUTING_PATHS_MAX,
	    CODEC_OMIT_NULL),
	CODEC_LIST(struct wire_routing, weights, &wire_routing_weight_codec,
	    WIRE_ROUTING_WEIGHTS_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_routing, sticky_cookie, NAME_MAX_LEN, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_routing, sticky_s, 0, YEAR_S, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_routing, maintenance, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_routing, maintenance_page, WIRE_ROUTING_PAGE_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_routing, maintenance_retry_s, 0, YEAR_S, CODEC_OMIT_NULL),
	CODEC_STRS(
	    struct wire_routing, maintenance_allow, WIRE_ROUTING_NETWORKS_MAX, CODEC_OMIT_NULL),
	CODEC_LIST(struct wire_routing, error_pages, &wire_routing_page_codec,
	    WIRE_ROUTING_PAGES_MAX, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_routing, error_pages_for_app, CODEC_OMIT_NULL),
	CODEC_LIST(struct wire_routing, auth_users, &wire_routing_user_codec,
	    WIRE_ROUTING_USERS_MAX, CODEC_OMIT_NULL | CODEC_SECRET),
	CODEC_STR(struct wire_routing, auth_realm, NAME_MAX_LEN, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_routing, auth_hides, CODEC_OMIT_NULL),
	CODEC_STRS(struct wire_routing, allow, WIRE_ROUTING_NETWORKS_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_routing, rate, 0, RATE_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_routing, rate_s, 0, 3600, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_routing, rate_burst, 0, RATE_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_routing, body_max, 0, INT64_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_routing, body_s, 0, SECONDS_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_routing, answer_s, 0, SECONDS_MAX, CODEC_OMIT_NULL),
	CODEC_LIST(struct wire_routing, headers, &wire_routing_header_codec,
	    WIRE_ROUTING_HEADERS_MAX, CODEC_OMIT_NULL),
	CODEC_LIST(struct wire_routing, redirects, &wire_routing_redirect_codec,
	    WIRE_ROUTING_REDIRECTS_MAX, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_routing, compress, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_routing, slow_start_s, 0, 3600, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_routing, concurrency, 0, QUEUE_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_routing, queue, 0, QUEUE_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_routing, queue_s, 0, 300, CODEC_OMIT_NULL),
	CODEC_INT(
	    struct wire_routing, retry_percent, WIRE_ROUTING_RETRY_NEVER, 100, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_routing, hedge_ms, 0, SECONDS_MAX, CODEC_OMIT_NULL),
	CODEC_ENUM(struct wire_routing, https, wire_routing_https_names, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_routing, hsts_s, 0, 2 * YEAR_S, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_routing, hsts_subdomains, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_routing, hsts_preload, CODEC_OMIT_NULL),
	CODEC_ENUM(struct wire_routing, protocol, wire_routing_protocol_names, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_routing, struct wire_routing, routing_fields)

/* --- what the tables do not say --- */

static bool
is_token(const char *s)
{
	static const char good[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
	                           "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	return *s != '\0' && s[strspn(s, good)] == '\0';
}

/* A field's value, or a URL: bytes that are seen, and spaces between them. */
static bool
is_text(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
			return false;
	}
	return n == 0 || (s[0] != ' ' && s[n - 1] != ' ');
}

static bool
is_url_text(const char *s)
{
	for (; *s != '\0'; s++) {
		if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 0x7f || *s == '"' ||
		    *s == '<' || *s == '>' || *s == '\\')
			return false;
	}
	return true;
}

static int
check_paths(const struct wire_routing_path_list *l, struct err *e)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	                           "-._~/";

	for (size_t i = 0; i < l->n; i++) {
		const char *p = l->v[i].path;
		size_t n = strlen(p);

		if (n < 2 || p[0] != '/' || p[n - 1] == '/' || strspn(p, good) != n)
			return err_set(e, ERR_INVALID, "paths",
			    "item %zu: path must be like /shop, of letters, digits and - . _ ~ /, "
			    "without a slash at the end",
			    i);
		if ((l->v[i].app == NULL || *l->v[i].app == '\0') && l->v[i].host == NULL)
			return err_set(e, ERR_INVALID, "paths",
			    "item %zu: app must name the application that serves %s", i, p);
		for (size_t k = 0; k < i; k++) {
			if (strcmp(l->v[k].path, p) == 0)
				return err_set(e, ERR_INVALID, "paths",
				    "items %zu and %zu are both for %s", k, i, p);
		}
	}
	return 0;
}

static int
check_weights(const struct wire_routing_weight_list *l, struct err *e)
{
	int64_t all = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (l->v[i].app == NULL && l->v[i].host == NULL)
			return err_set(e, ERR_INVALID, "weights", "item %zu must name an app", i);
		all += l->v[i].weight;
	}
	if (all > 100)
		return err_set(e, ERR_INVALID, "weights",
		    "are %d in sum; 100 is all, and what is left goes to the application as it is",
		    (int)all);
	return 0;
}

static int
check_pages(const struct wire_routing *r, struct err *e)
{
	for (size_t i = 0; i < r->error_pages.n; i++) {
		int64_t s = r->error_pages.v[i].status;

		if (!r->error_pages_for_app && (s < 502 || s > 504))
			return err_set(e, ERR_INVALID, "error_pages",
			    "item %zu: status must be 502, 503 or 504, or error_pages_for_app true",
			    i);
	}
	return 0;
}

static int
check_users(const struct wire_routing_user_list *l, struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		const char *name = l->v[i].name;

		if (*name == '\0' || strchr(name, ':') != NULL || !is_text(name))
			return err_set(e, ERR_INVALID, "auth_users",
			    "item %zu: name must be 1 to %d characters without a colon", i,
			    NAME_MAX_LEN);
		for (size_t k = 0; k < i; k++) {
			if (strcmp(l->v[k].name, name) == 0)
				return err_set(e, ERR_INVALID, "auth_users",
				    "items %zu and %zu are both named %s", k, i, name);
		}
	}
	return 0;
}

static int
check_networks(const struct str_list *l, const char *field, struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		struct cidr unused;
		struct err bad = { 0 };

		if (cidr_parse(str_of(l->v[i]), &unused, &bad) < 0)
			return err_set(
			    e, ERR_INVALID, field, "item %zu, \"%.64s\": %s", i, l->v[i], bad.text);
	}
	return 0;
}

/* Those that frame messages or that the router answers for. */
static bool
is_kept_field(const char *name)
{
	static const char *const kept[] = { "connection", "content-length", "transfer-encoding",
		"te", "trailer", "trailers", "upgrade", "host", "keep-alive", "proxy-connection",
		"proxy-authenticate", "proxy-authorization", "http2-settings", "content-encoding",
		"expect", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port",
		"x-forwarded-proto", "x-client-ip", "x-request-id", "x-request-start", "date" };

	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		if (strcasecmp(name, kept[i]) == 0)
			return true;
	}
	return false;
}

static int
check_headers(const struct wire_routing_header_list *l, struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct wire_routing_header *h = &l->v[i];

		if (!is_token(h->name))
			return err_set(e, ERR_INVALID, "headers",
			    "item %zu: name must be a field name like X-Frame-Options", i);
		if (is_kept_field(h->name))
			return err_set(e, ERR_INVALID, "headers",
			    "item %zu: %s is the router's own: leave it out", i, h->name);
		if (h->op == WIRE_ROUTING_REMOVE ? h->value != NULL
		                                 : h->value == NULL || !is_text(h->value))
			return err_set(e, ERR_INVALID, "headers",
			    h->op == WIRE_ROUTING_REMOVE
			        ? "item %zu: value is not for remove"
			        : "item %zu: value must be text without control characters",
			    i);
	}
	return 0;
}

static int
check_redirects(const struct wire_routing_redirect_list *l, struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct wire_routing_redirect *r = &l->v[i];
		const char *star = strchr(r->path, '*'), *to = strchr(r->to, '*');
		int64_t s = r->status;

		if (r->path[0] != '/' || !is_url_text(r->path) || (star != NULL && star[1] != '\0'))
			return err_set(e, ERR_INVALID, "redirects",
			    "item %zu: path must begin with / and may end with *", i);
		if (!is_url_text(r->to) ||
		    (r->to[0] != '/' && !str_has_prefix(r->to, "http://") &&
		        !str_has_prefix(r->to, "https://")) ||
		    (to != NULL && (to[1] != '\0' || star == NULL)))
			return err_set(e, ERR_INVALID, "redirects",
			    "item %zu: to must be a path or an http(s) URL, with * at its end only "
			    "if path has one",
			    i);
		if (s != 0 && s != 301 && s != 302 && s != 303 && s != 307 && s != 308)
			return err_set(e, ERR_INVALID, "redirects",
			    "item %zu: status must be 301, 302, 303, 307 or 308", i);
		if (r->host != NULL && !str_is_host(r->host))
			return err_set(e, ERR_INVALID, "redirects",
			    "item %zu: host must be a host name in lower case", i);
	}
	return 0;
}

int
wire_routing_check(const struct wire_routing *r, struct err *e)
{
	if (check_paths(&r->paths, e) < 0 || check_weights(&r->weights, e) < 0 ||
	    check_pages(r, e) < 0 || check_users(&r->auth_users, e) < 0 ||
	    check_networks(&r->allow, "allow", e) < 0 ||
	    check_networks(&r->maintenance_allow, "maintenance_allow", e) < 0 ||
	    check_headers(&r->headers, e) < 0 || check_redirects(&r->redirects, e) < 0)
		return -1;
	if (r->sticky_cookie != NULL && !is_token(r->sticky_cookie))
		return err_set(e, ERR_INVALID, "sticky_cookie",
		    "must be a cookie's name, of letters, digits and - . _");
	if (r->sticky_cookie == NULL && r->sticky_s != 0)
		return err_set(e, ERR_INVALID, "sticky_s",
		    "must be given with sticky_cookie, the cookie's name: GEAR");
	if (r->auth_realm != NULL &&
	    (!is_text(r->auth_realm) || strpbrk(r->auth_realm, "\"\\") != NULL))
		return err_set(
		    e, ERR_INVALID, "auth_realm", "must be text without quotes and backslashes");
	if (r->rate == 0 && (r->rate_burst != 0 || r->rate_s != 0))
		return err_set(e, ERR_INVALID, "rate",
		    "must be given with rate_burst or rate_s: requests of an address");
	if (r->hsts_s == 0 && (r->hsts_subdomains || r->hsts_preload))
		return err_set(e, ERR_INVALID, "hsts_s",
		    "must be given with hsts_subdomains or hsts_preload: seconds");
	if (r->hsts_preload && (!r->hsts_subdomains || r->hsts_s < PRELOAD_MIN_S))
		return err_set(e, ERR_INVALID, "hsts_preload",
		    "needs hsts_subdomains, and hsts_s of 31536000 or more, as browsers' list "
		    "asks");
	if (r->https == WIRE_ROUTING_HTTPS_OFF && r->hsts_s != 0)
		return err_set(e, ERR_INVALID, "hsts_s", "cannot be given with https off");
	return 0;
}

bool
wire_routing_is_empty(const struct wire_routing *r)
{
	AUTO(free) char *json = codec_to_json(&wire_routing_codec, r);

	return strcmp(json, "{}") == 0;
}
