#include "router/proxy_route.h"

#include <string.h>

#include "router/challenge_table.h"
#include "router/client_conn.h"
#include "router/filter.h"
#include "router/hold.h"
#include "router/host_root.h"
#include "router/host_route.h"
#include "router/lane.h"
#include "router/proxy.h"
#include "router/proxy_page.h"
#include "router/to_https.h"

/* Another application serves it. */
static bool
is_elsewhere(const struct proxy *x)
{
	return x->filter != NULL && x->filter->via != NULL;
}

/* A route that answers by itself. false: it does not, this time. */
static bool
answer_here(struct proxy *x, const struct host_route *r)
{
	switch (r->answer) {
	case WIRE_ROUTE_HEALTH:
		proxy_answer(x, (struct proxy_page){ .status = 200, .text = "1\n" });
		break;
	case WIRE_ROUTE_GONE:
		proxy_fail(x, 410, "What was at this address is gone.");
		break;
	case WIRE_ROUTE_FORBIDDEN:
		proxy_fail(x, 403, "This address is not to be seen.");
		break;
	case WIRE_ROUTE_NOTHING:
		proxy_fail(x, 404, "There is nothing at this address.");
		break;
	case WIRE_ROUTE_TO_HTTPS:
		if (is_elsewhere(x) || !to_https_must(x)) /* filter.c has looked */
			return false;
		to_https_send(x, TO_HTTPS_FOR_NOW);
		break;
	default:
		proxy_answer(x, (struct proxy_page){ .status = 302,
		                    .why = "What you look for is at another address.",
		                    .location = host_route_rare(r)->backend });
		break;
	}
	return true;
}

void
proxy_route_rewrite(struct proxy *x, const struct host_route *r)
{
	size_t at = x->method_n + 1, path_n = r->host_n - x->host_n;
	const char *backend = host_route_rare(r)->backend;
	size_t backend_n = strlen(backend);
	struct buf head = { 0 };

	if (x->is_rewritten)
		return;
	x->is_rewritten = true;
	x->path_n = (uint8_t)path_n;
	memcpy(x->path, x->head.p + at, path_n);
	if (backend_n == path_n && memcmp(backend, x->path, path_n) == 0)
		return;
	buf_reserve(&head, x->head.n + backend_n);
	buf_add(&head, x->head.p, at);
	buf_add(&head, backend, backend_n);
	if (x->head.p[at + path_n] != '/' && backend_n == 0)
		buf_addc(&head, '/');
	x->target_n = (uint32_t)(head.n - at + x->target_n - path_n);
	buf_add(&head, x->head.p + at + path_n, x->head.n - at - path_n);
	buf_fini(&x->head);
	x->head = head;
}

/* A path of the host may have a route of its own. */
static const struct host_route *
find_below(struct proxy *x, const struct host_root *root, const struct host_route *r)
{
	const char *target = x->is_rewritten ? x->path : x->head.p + x->method_n + 1;
	const struct host_route *below =
	    host_find_path(root, r, target, x->is_rewritten ? x->path_n : x->target_n);

	return below == NULL ? r : below;
}

static void
note_app(struct proxy *x, const struct host_route *r)
{
	size_t n = r->app_id_n < sizeof x->app_id ? r->app_id_n : sizeof x->app_id - 1;

	memcpy(x->app_id, host_route_app_id(r), n);
	x->app_id[n] = '\0';
}

/* An authority looks whether the host is ours: that is no matter of the application, nor of what
 * its owner set. Other tokens than those awaited are the application's. */
static bool
answers_challenge(struct proxy *x)
{
	struct str method = { x->head.p, x->method_n };
	char answer[WIRE_CHALLENGE_ANSWER_MAX + 1];

	if ((!str_eq(method, "GET") && !str_eq(method, "HEAD")) ||
	    !challenge_table_find(x->client->sock.lane->challenges, x->names.p,
	        x->head.p + x->method_n + 1, x->target_n, answer))
		return false;
	proxy_answer(x, (struct proxy_page){ .status = 200, .text = answer });
	return true;
}

const struct host_route *
proxy_route_peek(struct proxy *x)
{
	const struct host_root *root = x->client->sock.lane->root;
	const struct host_route *r = root == NULL ? NULL : host_find(root, x->names.p, x->host_n);

	if (x->filter != NULL && r != NULL)
		r = filter_route(x, root, r);
	if (r != NULL && r->rare != NULL && !hold_waits(r) && !is_elsewhere(x))
		r = find_below(x, root, r);
	return r;
}

const struct host_route *
proxy_route_find(struct proxy *x)
{
	const struct host_root *root = x->client->sock.lane->root;
	const struct host_route *r = root == NULL ? NULL : host_find(root, x->names.p, x->host_n);

	if (x->head.p[x->method_n + 2] == '.' && answers_challenge(x))
		return NULL;
	if (r != NULL && r->rare != NULL && r->rare->opts != NULL && !x->is_found &&
	    !filter_request(x, r))
		return NULL;
	x->is_found = true; /* options of a later table are for later requests */
	if (x->filter != NULL)
		r = filter_route(x, root, r);
	if (r != NULL && r->rare != NULL && !hold_waits(r) && !is_elsewhere(x))
		r = find_below(x, root, r);

	if (r != NULL)
		note_app(x, r);
	if (root == NULL)
		proxy_fail_later(x, 503, "The router does not know its applications yet.", 1);
	else if (r == NULL)
		proxy_fail(x, 404, "There is no application at this address.");
	else if (r->answer != WIRE_ROUTE_PROXY && answer_here(x, r))
		return NULL;
	else if (r->state == WIRE_ROUTE_STOPPED)
		proxy_fail(x, 503, "The application is stopped. Its owner can start it.");
	else if (hold_waits(r))
		return r;
	else if (r->state == WIRE_ROUTE_EMPTY || r->n == 0)
		proxy_fail_later(x, 503, "The application has no running instance.", 5);
	else
		return r;
	return NULL;
}
