#include "broker/peer_plan.h"

#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/connect.h"
#include "broker/gear_ends.h"
#include "broker/rollout_step.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/cart/gear_ports.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_peer.h"

static void
add_name(struct wire_peer *p, const char *name)
{
	if (name != NULL && *name != '\0' && !str_list_has(&p->names, name))
		str_list_add(&p->names, name);
}

static void
add_addresses(const struct rollout_step *st, const struct app_view_gear *g, struct wire_peer *p)
{
	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];
		const char *address = i->status.address;

		if (i->rev != 0 && strcmp(i->rec.spec.gear, g->gear.uuid) == 0 &&
		    strcmp(i->node, g->node) == 0 && address != NULL && *address != '\0')
			str_list_add(&p->addresses, address);
	}
}

static void
add_port(struct wire_peer *p, int from, const char *address, int64_t to)
{
	struct wire_peer_port *q = codec_list_add(&wire_peer_port_codec, &p->ports);

	q->from = from;
	q->address = xstrdup(address);
	q->to = to;
}

static void
add_ports(const struct rollout_step *st, const struct app_view_gear *g, struct wire_peer *p)
{
	AUTO_FINI(gear_ends_fini) struct gear_ends l = { 0 };

	gear_ends_list(st->b, &g->gear.cartridges, &st->app.cartridges, &l);
	for (size_t k = 0; k < l.ports.n; k++) {
		const struct gear_port *e = &l.ports.v[k];
		const struct wire_gear_cart *c = &g->gear.cartridges.v[e->cart];
		const struct app_view_instance *i = connect_instance(st, &g->gear, c);
		bool is_front = c->is_web && e->is_front;

		if (i != NULL && i->status.address != NULL && *i->status.address != '\0')
			add_port(p, e->public_port, i->status.address,
			    is_front ? i->status.port : e->public_port);
	}
}

static void
add_gear(const struct rollout_step *st, const struct app_view_gear *g, struct wire_peers *out)
{
	struct wire_peer *p = codec_list_add(&wire_peer_codec, &out->gears);

	p->gear = xstrdup(g->gear.uuid);
	p->is_web = rollout_step_has_web(&g->gear);
	add_name(p, g->gear.gear_dns);
	add_name(p, g->gear.uuid);
	if (p->is_web)
		add_name(p, g->gear.app_dns);
	add_addresses(st, g, p);
	add_ports(st, g, p);
}

static bool
is_there(const struct app_view_gear *g)
{
	return g->rev != 0 && g->gear.want != WIRE_WANT_GONE;
}

static void
put(struct rollout_step *st, const char *key, const struct wire_peers *p)
{
	AUTO(free) char *json = codec_to_json(&wire_peers_codec, p);
	struct store_kv kv;

	if (store_get(st->b->store, key, &kv) && kv.n == strlen(json) &&
	    memcmp(kv.val, json, kv.n) == 0)
		return;
	fault_point("peers_put");
	log_info("peers", LOG_STR("app", st->app.name), LOG_STR("key", key),
	    LOG_INT("gears", (int64_t)p->gears.n));
	store_txn_put(rollout_step_txn(st), key, json, strlen(json));
}

static void
plan_node(struct rollout_step *st, const char *node)
{
	AUTO_FINI(wire_peers_fini) struct wire_peers p = { 0 };
	AUTO(free) char *key = store_key_peers(node, st->app.id);
	struct store_kv kv;
	bool has_gear = false;

	for (size_t k = 0; k < st->v->gears_n; k++)
		has_gear = has_gear ||
		           (is_there(st->v->gears[k]) && strcmp(st->v->gears[k]->node, node) == 0);
	for (size_t k = 0; has_gear && k < st->v->gears_n; k++) {
		const struct app_view_gear *g = st->v->gears[k];

		if (is_there(g) && strcmp(g->node, node) != 0)
			add_gear(st, g, &p);
	}
	if (p.gears.n > 0) {
		p.app_id = xstrdup(st->app.id);
		put(st, key, &p);
	} else if (store_get(st->b->store, key, &kv)) {
		store_txn_delete(rollout_step_txn(st), key);
	}
}

void
peer_plan(struct rollout_step *st)
{
	AUTO_FINI(str_list_fini) struct str_list nodes = { 0 };

	if (!st->app.scalable)
		return;
	for (size_t k = 0; k < st->v->gears_n + st->v->leaving_n; k++) {
		const char *node = k < st->v->gears_n ? st->v->gears[k]->node
		                                      : st->v->leaving[k - st->v->gears_n]->node;

		if (!str_list_has(&nodes, node))
			str_list_add(&nodes, node);
	}
	for (size_t k = 0; k < nodes.n && rollout_step_has_room(st); k++)
		plan_node(st, nodes.v[k]);
}
