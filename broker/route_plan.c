#include "broker/route_plan.h"

#include <string.h>

#include "broker/app.h"
#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

static char *
key_of(const struct broker *b, const struct wire_app *a)
{
	AUTO(free) char *host = app_host(b, a->name, a->domain);

	return store_key_route(host);
}

static bool
put(const struct broker *b, struct store_txn *t, const struct wire_app *a, struct wire_route *r,
    const struct app_view_instance *const *v, size_t n)
{
	AUTO(free) char *key = key_of(b, a);
	AUTO(free) char *json = NULL;
	struct store_kv kv;

	r->host = app_host(b, a->name, a->domain);
	r->app_id = xstrdup(a->id);
	r->app = xstrdup(a->name);
	r->domain = xstrdup(a->domain);
	r->timeout_s = a->request_timeout_s;
	for (size_t i = 0; i < n; i++) {
		struct wire_endpoint *ep = codec_list_add(&wire_endpoint_codec, &r->endpoints);

		ep->id = xstrdup(v[i]->rec.spec.id);
		ep->address = xstrdup_null(v[i]->status.address);
		ep->port = v[i]->status.port;
	}
	json = codec_to_json(&wire_route_codec, r);
	if (store_get(b->store, key, &kv) && kv.n == strlen(json) &&
	    memcmp(kv.val, json, kv.n) == 0)
		return false;
	store_txn_put(t, key, json, strlen(json));
	return true;
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
	AUTO(free) char *key = key_of(b, a);

	store_txn_delete(t, key);
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
	struct err e = { 0 };

	return record_get(b->store, key_of(b, a), &wire_route_codec, out, NULL, &e) == 0;
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
