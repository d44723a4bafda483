#include "broker/route_plan.h"

#include <string.h>

#include "broker/alias.h"
#include "broker/app.h"
#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "broker/rollout.h"
#include "broker/route_paths.h"
#include "broker/route_record.h"
#include "lib/base/mem.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

static char *
key_of(const struct broker *b, const struct wire_app *a)
{
	AUTO(free) char *host = app_host(b, a->name, a->domain);

	return store_key_route(host);
}

/* Unless the store has just that. */
static bool
put_one(const struct broker *b, struct store_txn *t, const struct wire_route *r)
{
	AUTO(free) char *key = store_key_route(r->host);
	AUTO(free) char *json = codec_to_json(&wire_route_codec, r);
	struct store_kv kv;

	if (store_get(b->store, key, &kv) && kv.n == strlen(json) &&
	    memcmp(kv.val, json, kv.n) == 0)
		return false;
	store_txn_put(t, key, json, strlen(json));
	return true;
}

/* The same instances by another port, or an answer of the router's own. */
static bool
put_path(const struct broker *b, struct store_txn *t, const struct wire_route *r,
    const struct route_path *p)
{
	AUTO_FINI(wire_route_fini) struct wire_route below = { 0 };

	codec_copy(&wire_route_codec, &below, r);
	str_list_fini(&below.paths);
	free(below.host);
	below.host = xasprintf("%s%s", r->host, p->path);
	below.answer = p->answer;
	below.tls = p->tls;
	below.backend = xstrdup(p->backend);
	for (size_t i = 0; i < below.endpoints.n && p->port != 0; i++)
		below.endpoints.v[i].port = p->port;
	return put_one(b, t, &below);
}

/* The route of a host with those of its paths. */
static bool
put_host(const struct broker *b, struct store_txn *t, const struct wire_route *r,
    const struct route_path_list *paths)
{
	AUTO_FINI(wire_route_fini) struct wire_route old = { 0 };
	bool has_changed;

	if (route_record_get(b, r->host, &old, NULL))
		route_record_drop_paths(t, &old, &r->paths);
	has_changed = put_one(b, t, r);
	for (size_t i = 0; i < paths->n; i++)
		has_changed = put_path(b, t, r, &paths->v[i]) || has_changed;
	return has_changed;
}

/* The same by another name, if it is still the application's: who plans may know an older one. */
static bool
put_alias(const struct broker *b, struct store_txn *t, const struct wire_route *r,
    const struct route_path_list *paths, const char *host)
{
	AUTO_FINI(wire_route_fini) struct wire_route old = { 0 };
	AUTO_FINI(wire_route_fini) struct wire_route own = { 0 };
	AUTO(free) char *key = store_key_route(host);
	int64_t rev;

	if (!route_record_get(b, host, &old, &rev) || !str_same(old.app_id, r->app_id))
		return false;
	codec_copy(&wire_route_codec, &own, r);
	mem_set_str(&own.host, host);
	if (!put_host(b, t, &own, paths))
		return false;
	store_txn_if_rev(t, key, rev);
	return true;
}

/* Of the gear that answers: its ports are counted in the order that it has. */
static const struct wire_gear_cart_list *
carts_of(const struct broker *b, const struct wire_app *a, const struct app_view_instance *const *v,
    size_t n)
{
	const struct app_view_app *view =
	    n == 0 || b->rollout == NULL ? NULL : app_view_get(rollout_view(b->rollout), a->id);

	for (size_t i = 0; view != NULL && i < view->gears_n; i++) {
		if (strcmp(view->gears[i]->gear.uuid, v[0]->rec.spec.gear) == 0)
			return &view->gears[i]->gear.cartridges;
	}
	return &a->cartridges;
}

static bool
is_canary(const struct wire_app *a, const struct app_view_instance *i)
{
	return a->status.canary != NULL && str_same(a->status.canary, i->rec.spec.deployment_id);
}

static void
add_endpoint(struct wire_route *r, const struct app_view_instance *i, bool canary)
{
	struct wire_endpoint *ep = codec_list_add(&wire_endpoint_codec, &r->endpoints);

	ep->id = xstrdup(i->rec.spec.id);
	ep->address = xstrdup_null(i->status.address);
	ep->port = i->status.port;
	ep->canary = canary;
}

/* Who gets no client is not on the route, and if there is only one of the two, it gets all. */
static void
add_endpoints(const struct wire_app *a, struct wire_route *r,
    const struct app_view_instance *const *v, size_t n)
{
	int64_t percent = a->spec.canary_percent;
	size_t canaries = 0;
	bool has_canary, has_main;

	for (size_t i = 0; i < n; i++)
		canaries += is_canary(a, v[i]);
	has_canary = canaries > 0 && percent > 0;
	has_main = canaries < n && (percent < 100 || !has_canary);
	for (size_t i = 0; has_main && i < n; i++) {
		if (!is_canary(a, v[i]))
			add_endpoint(r, v[i], false);
	}
	for (size_t i = 0; has_canary && i < n; i++) {
		if (is_canary(a, v[i]))
			add_endpoint(r, v[i], has_main);
	}
	r->canary_percent = has_main && has_canary ? percent : 0;
}

static bool
put(const struct broker *b, struct store_txn *t, const struct wire_app *a, struct wire_route *r,
    const struct app_view_instance *const *v, size_t n)
{
	AUTO_FINI(route_paths_fini) struct route_path_list paths = { 0 };
	bool has_changed;

	r->host = app_host(b, a->name, a->domain);
	r->app_id = xstrdup(a->id);
	r->app = xstrdup(a->name);
	r->domain = xstrdup(a->domain);
	r->timeout_s = a->request_timeout_s;
	r->options = xstrdup_null(a->routing);
	add_endpoints(a, r, v, n);
	route_paths_list(b, carts_of(b, a, v, n), &a->cartridges, &paths);
	r->answer = paths.root_answer;
	r->tls = paths.root_tls;
	for (size_t i = 0; i < paths.n; i++)
		str_list_add(&r->paths, paths.v[i].path);
	has_changed = put_host(b, t, r, &paths);
	for (size_t i = 0; i < a->aliases.n; i++)
		has_changed = put_alias(b, t, r, &paths, a->aliases.v[i].host) || has_changed;
	return has_changed;
}

bool
route_plan_put(const struct broker *b, struct store_txn *t, const struct wire_app *a,
    enum wire_route_state state, const struct app_view_instance *const *v, size_t n)
{
	AUTO_FINI(wire_route_fini) struct wire_route r = { .state = (int)state };

	return put(b, t, a, &r, v, n);
}

bool
route_plan_put_asleep(const struct broker *b, struct store_txn *t, const struct wire_app *a,
    enum wire_route_state state, const struct app_view_instance *const *v, size_t n,
    const struct str_list *wake)
{
	AUTO_FINI(wire_route_fini)
	struct wire_route r = { .state = (int)state, .sleep = a->spec.sleep_order };

	str_list_copy(&r.wake, wake);
	return put(b, t, a, &r, v, n);
}

void
route_plan_delete(const struct broker *b, struct store_txn *t, const struct wire_app *a)
{
	AUTO(free) char *host = app_host(b, a->name, a->domain);

	route_record_remove(b, t, host);
	alias_put_none(b, t, a);
}

int64_t
route_plan_rev(const struct broker *b, const struct wire_app *a)
{
	AUTO(free) char *key = key_of(b, a);
	struct store_kv kv;

	return store_get(b->store, key, &kv) ? kv.mod_rev : 0;
}

bool
route_plan_get(const struct broker *b, const struct wire_app *a, struct wire_route *out)
{
	AUTO(free) char *host = app_host(b, a->name, a->domain);

	return route_record_get(b, host, out, NULL);
}

bool
route_plan_has(const struct wire_route *r, const char *instance)
{
	for (size_t i = 0; i < r->endpoints.n; i++) {
		if (strcmp(r->endpoints.v[i].id, instance) == 0)
			return true;
	}
	return false;
}
