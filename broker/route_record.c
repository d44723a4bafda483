#include "broker/route_record.h"

#include "broker/app.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

bool
route_record_get(const struct broker *b, const char *host, struct wire_route *out, int64_t *out_rev)
{
	struct err e = { 0 };

	return record_get(b->store, store_key_route(host), &wire_route_codec, out, out_rev, &e) ==
	       0;
}

void
route_record_drop_paths(
    struct store_txn *t, const struct wire_route *old, const struct str_list *but)
{
	for (size_t i = 0; i < old->paths.n; i++) {
		AUTO(free) char *host = xasprintf("%s%s", old->host, old->paths.v[i]);
		AUTO(free) char *key = store_key_route(host);

		if (but == NULL || !str_list_has(but, old->paths.v[i]))
			store_txn_delete(t, key);
	}
}

int
route_record_add(const struct broker *b, struct store_txn *t, const struct wire_app *a,
    const char *host, struct err *e)
{
	AUTO_FINI(wire_route_fini) struct wire_route r = { 0 };
	AUTO(free) char *from = app_host(b, a->name, a->domain);
	AUTO(free) char *key = store_key_route(from);
	int64_t rev;

	if (!route_record_get(b, from, &r, &rev))
		return err_set(e, ERR_BUSY, NULL, "Application '%s' is being deleted.", a->name);
	store_txn_if_rev(t, key, rev);
	for (size_t i = 0; i < r.paths.n; i++) {
		AUTO_FINI(wire_route_fini) struct wire_route below = { 0 };
		AUTO(free) char *path = xasprintf("%s%s", from, r.paths.v[i]);

		if (!route_record_get(b, path, &below, NULL))
			continue;
		free(below.host);
		below.host = xasprintf("%s%s", host, r.paths.v[i]);
		record_put_cas(t, store_key_route(below.host), 0, &wire_route_codec, &below);
	}
	mem_set_str(&r.host, host);
	record_put_cas(t, store_key_route(host), 0, &wire_route_codec, &r);
	return 0;
}

static void
set_one(const struct broker *b, struct store_txn *t, const char *host, const char *options,
    struct wire_route *r)
{
	int64_t rev;

	if (!route_record_get(b, host, r, &rev) || str_same(r->options, options))
		return;
	mem_set_str(&r->options, options);
	record_put_cas(t, store_key_route(host), rev, &wire_route_codec, r);
}

void
route_record_set_options(
    const struct broker *b, struct store_txn *t, const char *host, const char *options)
{
	AUTO_FINI(wire_route_fini) struct wire_route r = { 0 };

	set_one(b, t, host, options, &r);
	for (size_t i = 0; i < r.paths.n; i++) {
		AUTO_FINI(wire_route_fini) struct wire_route below = { 0 };
		AUTO(free) char *path = xasprintf("%s%s", host, r.paths.v[i]);

		set_one(b, t, path, options, &below);
	}
}

void
route_record_remove(const struct broker *b, struct store_txn *t, const char *host)
{
	AUTO_FINI(wire_route_fini) struct wire_route old = { 0 };
	AUTO(free) char *key = store_key_route(host);

	if (!route_record_get(b, host, &old, NULL))
		return;
	route_record_drop_paths(t, &old, NULL);
	store_txn_delete(t, key);
}
