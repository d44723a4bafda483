#include "router/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "router/basic_auth.h"
#include "router/client_conn.h"
#include "router/compress.h"
#include "router/head_edit.h"
#include "router/host_root.h"
#include "router/host_route.h"
#include "router/lane.h"
#include "router/proxy.h"
#include "router/proxy_page.h"
#include "router/rate.h"
#include "router/route_options.h"
#include "router/to_https.h"

#define HSTS "strict-transport-security"

enum { MAINTENANCE_RETRY_S = 60, AUTH_SALT = 1 };

static struct lane *
lane_of(const struct proxy *x)
{
	return x->client->sock.lane;
}

static const uint8_t *
address_of(const struct proxy *x)
{
	return x->client->peer.address;
}

static struct rate *
rates_of(struct lane *l)
{
	if (l->rates == NULL)
		l->rates = rate_new();
	return l->rates;
}

/* The target as the client sent it, without scheme and host. */
static struct str
target_of(const struct proxy *x)
{
	return (struct str){ x->head.p + x->method_n + 1, x->target_n };
}

/* --- who may --- */

static bool
is_allowed(struct proxy *x, const struct route_options *o)
{
	if (o->allow.n == 0 || cidr_list_has(&o->allow, address_of(x)))
		return true;
	proxy_answer(x, (struct proxy_page){ .status = 403,
	                    .why = "This address is not open to where you come from." });
	return false;
}

static bool
is_within_rate(struct proxy *x, const struct route_options *o)
{
	struct rate *t;
	struct rate_limit limit = {
		.n = o->set.rate,
		.period_s = o->set.rate_s == 0 ? 1 : o->set.rate_s,
		.burst = o->set.rate_burst == 0 ? o->set.rate : o->set.rate_burst,
	};
	int64_t wait_ms, wait_s;
	char fields[160];

	if (limit.n == 0)
		return true;
	t = rates_of(lane_of(x));
	wait_ms = rate_take(t, rate_key(t, o->id, address_of(x)), &limit, lane_of(x)->now_ms);
	if (wait_ms == 0)
		return true;
	wait_s = (wait_ms + 999) / 1000;
	(void)snprintf(fields, sizeof fields,
	    "RateLimit-Limit: %lld\r\nRateLimit-Remaining: 0\r\nRateLimit-Reset: %lld\r\n",
	    (long long)limit.burst, (long long)wait_s);
	proxy_answer(x, (struct proxy_page){ .status = 429,
	                    .why = "Too many requests came from your address.",
	                    .retry_after_s = (int)wait_s,
	                    .fields = fields });
	return false;
}

/* For good, and with its body where it has one. */
static int
redirect_status(const struct proxy *x)
{
	struct str method = { x->head.p, x->method_n };

	return str_eq(method, "GET") || x->is_head ? 301 : 308;
}

static bool
is_by_right_scheme(struct proxy *x, const struct route_options *o)
{
	if (o->set.https == WIRE_ROUTING_HTTPS_ALLOW)
		return true;
	if (o->set.https == WIRE_ROUTING_HTTPS_OFF) {
		if (!to_https_came(x))
			return true;
		proxy_fail(x, 403, "This address is not served by https.");
		return false;
	}
	if (to_https_came(x) || to_https_is_challenge(x))
		return true;
	if (o->set.https == WIRE_ROUTING_HTTPS_REQUIRE)
		proxy_fail(x, 403, to_https_why);
	else
		to_https_send(x, redirect_status(x));
	return false;
}

static bool
is_served(struct proxy *x, const struct route_options *o)
{
	int64_t retry_s = o->set.maintenance_retry_s;

	if (!o->set.maintenance || cidr_list_has(&o->maintenance_allow, address_of(x)))
		return true;
	proxy_answer(x, (struct proxy_page){ .status = 503,
	                    .why = "The application is being worked on. It will be back soon.",
	                    .html = o->set.maintenance_page,
	                    .retry_after_s = retry_s == 0 ? MAINTENANCE_RETRY_S : (int)retry_s });
	return false;
}

static void
ask_password(struct proxy *x, const struct route_options *o)
{
	char fields[160];

	(void)snprintf(fields, sizeof fields,
	    "WWW-Authenticate: Basic realm=\"%s\", charset=\"UTF-8\"\r\n",
	    o->set.auth_realm == NULL ? "restricted" : o->set.auth_realm);
	proxy_answer(x, (struct proxy_page){ .status = 401,
	                    .why = "This address asks for a name and a password.",
	                    .fields = fields });
}

static bool
is_known(struct proxy *x, const struct route_options *o)
{
	struct lane *l = lane_of(x);
	struct rate *t;

	if (o->set.auth_users.n == 0)
		return true;
	if (l->auth == NULL)
		l->auth = basic_auth_new();
	t = rates_of(l);
	switch (basic_auth_check(l->auth, t, rate_key(t, o->id ^ AUTH_SALT, address_of(x)),
	    &o->set.auth_users, head_edit_get(&x->head, 0, "authorization"), l->now_ms)) {
	case BASIC_AUTH_OK:
		return true;
	case BASIC_AUTH_NO:
		ask_password(x, o);
		return false;
	case BASIC_AUTH_BUSY:
		break;
	}
	proxy_answer(x, (struct proxy_page){ .status = 429,
	                    .why = "Too many passwords were tried. Wait a moment.",
	                    .retry_after_s = 1 });
	return false;
}

/* --- redirects --- */

static bool
fits(const struct wire_routing_redirect *r, const struct proxy *x, struct str target, size_t *rest)
{
	size_t n = strlen(r->path), query = 0;

	if (r->host != NULL && !str_eq((struct str){ x->names.p, x->host_n }, r->host))
		return false;
	while (query < target.n && target.p[query] != '?')
		query++;
	*rest = target.n;
	if (r->path[n - 1] != '*')
		return query == n && memcmp(target.p, r->path, n) == 0;
	*rest = n - 1;
	return query >= n - 1 && memcmp(target.p, r->path, n - 1) == 0;
}

/* A rule that sends all to https must not catch what came by it. */
static bool
leads_here(const struct proxy *x, const char *to)
{
	AUTO_FINI(buf_fini) struct buf here = { 0 };

	if (*to == '/')
		return false;
	buf_adds(&here, to_https_came(x) ? "https://" : "http://");
	buf_addstr(&here, head_edit_get(&x->head, 0, "x-forwarded-host"));
	buf_addstr(&here, target_of(x));
	return str_eq(buf_str(&here), to);
}

/* false: it was redirected. */
static bool
is_not_redirected(struct proxy *x, const struct route_options *o)
{
	struct str target = target_of(x);

	for (size_t i = 0; i < o->set.redirects.n; i++) {
		const struct wire_routing_redirect *r = &o->set.redirects.v[i];
		AUTO_FINI(buf_fini) struct buf to = { 0 };
		size_t n = strlen(r->to), rest;

		if (!fits(r, x, target, &rest))
			continue;
		if (r->to[n - 1] == '*') {
			buf_add(&to, r->to, n - 1);
			/* "//host" would lead elsewhere */
			while (rest < target.n && target.p[rest] == '/' && to.n != 0 &&
			       to.p[to.n - 1] == '/')
				rest++;
			buf_add(&to, target.p + rest, target.n - rest);
		} else {
			buf_adds(&to, r->to);
		}
		buf_addc(&to, '\0');
		if (leads_here(x, to.p))
			continue;
		proxy_answer(
		    x, (struct proxy_page){ .status = r->status == 0 ? 302 : (int)r->status,
		           .why = "What you look for is at another address.",
		           .location = to.p });
		return false;
	}
	return true;
}

/* --- where it goes --- */

static bool
is_below(struct str target, const char *path, size_t n)
{
	return target.n >= n && memcmp(target.p, path, n) == 0 &&
	       (target.n == n || target.p[n] == '/' || target.p[n] == '?');
}

/* The application does not see the path. */
static void
strip_path(struct proxy *x, size_t n)
{
	struct buf head = { 0 };
	size_t at = x->method_n + 1;

	buf_reserve(&head, x->head.n + 1);
	buf_add(&head, x->head.p, at);
	if (x->head.p[at + n] != '/')
		buf_addc(&head, '/');
	x->target_n = (uint32_t)(head.n - at + x->target_n - n);
	buf_add(&head, x->head.p + at + n, x->head.n - at - n);
	buf_fini(&x->head);
	x->head = head;
}

static const struct wire_routing_path *
choose_path(const struct proxy *x, const struct wire_routing_path_list *l)
{
	const struct wire_routing_path *best = NULL;
	size_t best_n = 0;

	for (size_t i = 0; i < l->n; i++) {
		size_t n = strlen(l->v[i].path);

		if (l->v[i].host != NULL && n > best_n && is_below(target_of(x), l->v[i].path, n)) {
			best = &l->v[i];
			best_n = n;
		}
	}
	return best;
}

static const char *
choose_share(const struct proxy *x, const struct host_route *r)
{
	const struct wire_routing_weight_list *l = &x->filter->opts->set.weights;
	int64_t at;

	if (l->n == 0)
		return NULL;
	at = affinity_place(x->filter->affinity.client, "weights", host_route_app_id(r));
	for (size_t i = 0; i < l->n; i++) {
		if (at < l->v[i].weight)
			return l->v[i].host;
		at -= l->v[i].weight;
	}
	return NULL;
}

const struct host_route *
filter_route(const struct proxy *x, const struct host_root *root, const struct host_route *r)
{
	if (x->filter == NULL || x->filter->via == NULL)
		return r;
	return host_find(root, x->filter->via, strlen(x->filter->via));
}

static void
edit_request(struct proxy *x, const struct route_options *o)
{
	for (size_t i = 0; i < o->set.headers.n; i++) {
		const struct wire_routing_header *h = &o->set.headers.v[i];

		if (h->response)
			continue;
		if (h->op != WIRE_ROUTING_ADD)
			head_edit_remove(&x->head, 0, h->name);
		if (h->op != WIRE_ROUTING_REMOVE)
			head_edit_add(&x->head, h->name, h->value);
	}
	if (o->set.auth_hides && o->set.auth_users.n != 0)
		head_edit_remove(&x->head, 0, "authorization");
}

/* Whether the client may have it. */
static bool
may_pass(struct proxy *x, const struct route_options *o)
{
	return is_allowed(x, o) && is_within_rate(x, o) && is_by_right_scheme(x, o) &&
	       is_served(x, o) && is_not_redirected(x, o) && is_known(x, o);
}

static bool
is_small_enough(struct proxy *x, const struct route_options *o)
{
	const struct http_head *h = &lane_of(x)->head;

	if (o->set.body_max == 0 || h->framing != HTTP_BODY_LENGTH || h->length <= o->set.body_max)
		return true;
	proxy_answer(x, (struct proxy_page){ .status = 413,
	                    .why = "The body of the request is larger than the application "
	                           "accepts." });
	return false;
}

static void
begin(struct proxy *x, const struct route_options *o)
{
	struct filter *f = xcalloc(1, sizeof *f);
	struct lane *l = lane_of(x);

	f->opts = route_options_ref(o);
	x->filter = f;
	if (o->set.body_s != 0)
		f->body_end_ms = l->now_ms + o->set.body_s * 1000;
	if (o->set.compress && x->minor == 1 && !x->is_head)
		f->coding = compress_choose(head_edit_get(&x->head, 0, "accept-encoding"));
}

/* To another application, whose rules hold as well; the path as its own. false: it was answered. */
static bool
go_elsewhere(struct proxy *x, const struct host_route *r, const char *host, size_t strips)
{
	const struct host_route *to;
	const struct route_options *theirs;

	x->filter->via = xstrdup(host);
	to = filter_route(x, lane_of(x)->root, r);
	theirs = to == NULL ? NULL : host_route_opts(to);
	if (to != NULL && to->answer == WIRE_ROUTE_TO_HTTPS && to_https_must(x)) {
		to_https_send(x, TO_HTTPS_FOR_NOW);
		return false;
	}
	if (theirs != NULL && !is_by_right_scheme(x, theirs))
		return false;
	if (strips != 0)
		strip_path(x, strips);
	return theirs == NULL || theirs == r->rare->opts || may_pass(x, theirs);
}

bool
filter_request(struct proxy *x, const struct host_route *r)
{
	const struct route_options *o = r->rare->opts;
	const struct wire_routing_path *path;
	const char *host;

	begin(x, o);
	if (!may_pass(x, o) || !is_small_enough(x, o))
		return false;
	affinity_begin(x, o->set.sticky_cookie, &x->filter->affinity);
	path = choose_path(x, &o->set.paths);
	host = path != NULL ? path->host : choose_share(x, r);
	x->filter->below = path == NULL ? NULL : path->path;
	if (host != NULL &&
	    !go_elsewhere(x, r, host, path != NULL && path->strips ? strlen(path->path) : 0))
		return false;
	edit_request(x, o);
	return true;
}

void
filter_free(struct filter *take_f)
{
	if (take_f == NULL)
		return;
	route_options_unref(take_f->opts);
	compress_free(take_f->z);
	free(take_f->via);
	free(take_f);
}

/* --- while it runs --- */

bool
filter_body(struct proxy *x, size_t n)
{
	struct filter *f = x->filter;
	int64_t max = f->opts->set.body_max;

	f->body_seen += (int64_t)n;
	if (max == 0 || f->body_seen <= max)
		return true;
	x->keep = false;
	proxy_answer(x, (struct proxy_page){ .status = 413,
	                    .why = "The body of the request is larger than the application "
	                           "accepts." });
	return false;
}

int64_t
filter_deadline(struct proxy *x, int64_t ms)
{
	struct filter *f = x->filter;
	int64_t now = lane_of(x)->now_ms, end = 0;

	if (!x->up_done) {
		end = f->body_end_ms;
	} else if (!x->has_answer && f->opts->set.answer_s != 0) {
		if (f->answer_end_ms == 0)
			f->answer_end_ms = now + f->opts->set.answer_s * 1000;
		end = f->answer_end_ms;
	}
	if (end == 0 || end - now >= ms)
		return ms;
	return end - now < 1 ? 1 : end - now;
}

static const struct wire_routing_page *
page_of(const struct route_options *o, int status)
{
	for (size_t i = 0; i < o->set.error_pages.n; i++) {
		if (o->set.error_pages.v[i].status == status)
			return &o->set.error_pages.v[i];
	}
	return NULL;
}

void
filter_page(const struct proxy *x, struct proxy_page *p)
{
	const struct wire_routing_page *page = page_of(x->filter->opts, p->status);

	if (page != NULL && p->html == NULL)
		p->html = page->body;
	if (x->filter->opts->hsts != NULL && to_https_came(x))
		p->hsts = x->filter->opts->hsts;
}

bool
filter_replaces(struct proxy *x, const struct http_head *h)
{
	const struct route_options *o = x->filter->opts;

	if (!o->set.error_pages_for_app || h->status < 400 || page_of(o, h->status) == NULL)
		return false;
	proxy_answer(x, (struct proxy_page){ .status = h->status,
	                    .why = "The application answered with an error." });
	return true;
}

void
filter_answer(struct proxy *x, const struct http_head *h)
{
	struct filter *f = x->filter;

	if (f->coding == COMPRESS_NONE || !compress_may(h))
		return;
	f->z = compress_new(lane_of(x), f->coding, h->framing == HTTP_BODY_CHUNKED);
	if (f->z != NULL)
		x->down_chunked = true;
}

void
filter_answer_head(struct proxy *x, const struct http_head *h, size_t from)
{
	const struct wire_routing *set = &x->filter->opts->set;
	const char *hsts = x->filter->opts->hsts;
	struct buf *out = &lane_of(x)->out;

	affinity_answer(x, out);
	for (size_t i = 0; i < set->headers.n; i++) {
		const struct wire_routing_header *rule = &set->headers.v[i];

		if (!rule->response)
			continue;
		if (rule->op != WIRE_ROUTING_ADD)
			head_edit_remove(out, from, rule->name);
		if (rule->op != WIRE_ROUTING_REMOVE)
			head_edit_add(out, rule->name, rule->value);
	}
	if (hsts != NULL && to_https_came(x) && head_edit_get(out, from, HSTS).p == NULL)
		head_edit_add(out, HSTS, hsts);
	if (set->compress && compress_is_type(h))
		compress_edit_head(x->filter->z, out, from);
}
