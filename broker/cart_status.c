#include "broker/cart_status.h"

#include <string.h>

#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

struct walk {
	const struct broker *b;    /* borrowed */
	const char *app_id, *cart; /* borrowed */
	cart_status_fn *fn;
	void *arg;
	bool wants_head, is_stopped;
};

static void
see_gear(struct walk *w, const char *node, const char *uuid)
{
	AUTO_FINI(wire_gear_status_fini) struct wire_gear_status st = { 0 };
	struct err e = { 0 };

	if (record_get(w->b->store, store_key_gear_status(node, uuid), &wire_gear_status_codec, &st,
	        NULL, &e) < 0)
		return;
	for (size_t i = 0; i < st.cartridges.n && !w->is_stopped; i++) {
		if (strcmp(st.cartridges.v[i].name, w->cart) == 0)
			w->is_stopped = !w->fn(&st, &st.cartridges.v[i], w->arg);
	}
}

static bool
visit(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_gear *g = rec;
	struct walk *w = arg;
	const char *at = key + strlen(STORE_PREFIX_GEAR);
	AUTO(free) char *node = xstrndup(at, strcspn(at, "/"));

	(void)rev;
	if (strcmp(g->app_id, w->app_id) == 0 && (strcmp(g->uuid, w->app_id) == 0) == w->wants_head)
		see_gear(w, node, g->uuid);
	return !w->is_stopped;
}

void
cart_status_each(
    const struct broker *b, const char *app_id, const char *cart, cart_status_fn *fn, void *arg)
{
	struct walk w = { b, app_id, cart, fn, arg, true, false };

	record_each_with(b->store, STORE_PREFIX_GEAR, app_id, &wire_gear_codec, visit, &w);
	w.wants_head = false;
	if (!w.is_stopped)
		record_each_with(b->store, STORE_PREFIX_GEAR, app_id, &wire_gear_codec, visit, &w);
}

static bool
take_messages(
    const struct wire_gear_status *gear, const struct wire_gear_cart_status *st, void *arg)
{
	struct str_list *out = arg;

	(void)gear;
	for (size_t i = 0; i < st->messages.n; i++) {
		if (!str_list_has(out, st->messages.v[i]))
			str_list_add(out, st->messages.v[i]);
	}
	return true;
}

void
cart_status_messages(
    const struct broker *b, const char *app_id, const char *cart, struct str_list *out)
{
	cart_status_each(b, app_id, cart, take_messages, out);
}

static bool
take_properties(
    const struct wire_gear_status *gear, const struct wire_gear_cart_status *st, void *arg)
{
	struct wire_var_list *out = arg;

	(void)gear;
	for (size_t i = 0; i < st->properties.n; i++)
		codec_copy(
		    &wire_var_codec, codec_list_add(&wire_var_codec, out), &st->properties.v[i]);
	return st->properties.n == 0;
}

void
cart_status_properties(
    const struct broker *b, const char *app_id, const char *cart, struct wire_var_list *out)
{
	cart_status_each(b, app_id, cart, take_properties, out);
}
