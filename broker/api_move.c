/* For administrators: a gear to another node. */
#include <stdlib.h>
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_param.h"
#include "broker/broker.h"
#include "broker/change.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "broker/rollout.h"
#include "lib/base/mem.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

enum { EXIT_GEAR = 101, EXIT_NODE = 140, ID_LEN_MAX = 64 };

struct gear_order {
	char *uuid, *to;     /* owned */
	char *app_id, *from; /* owned: found */
	char *twin;          /* owned: node of a record that does not count yet */
};

static void
order_free(void *p)
{
	struct gear_order *o = p;

	free(o->uuid);
	free(o->to);
	free(o->app_id);
	free(o->from);
	free(o->twin);
	free(o);
}

/* The node where it is, also while it is on its way. */
static bool
find(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_gear *g = rec;
	struct gear_order *o = arg;
	const char *at = key + strlen(STORE_PREFIX_GEAR);
	AUTO(free) char *node = xstrndup(at, strcspn(at, "/"));

	(void)rev;
	if (strcmp(g->uuid, o->uuid) != 0 || g->want == WIRE_WANT_GONE)
		return true;
	if (g->moved_from != NULL) {
		free(o->twin);
		o->twin = STEAL(node);
		return true;
	}
	mem_set_str(&o->app_id, g->app_id);
	free(o->from);
	o->from = STEAL(node);
	return true;
}

static int
find_gear(const struct broker *b, struct gear_order *o, struct err *e)
{
	mem_set_str(&o->from, NULL);
	mem_set_str(&o->twin, NULL);
	record_each_with(b->store, STORE_PREFIX_GEAR, o->uuid, &wire_gear_codec, find, o);
	if (o->from == NULL)
		return err_set(e, ERR_NOT_FOUND, "gear", "Gear %s not found.", o->uuid);
	return 0;
}

/* Called off: what comes there is not wanted. */
static int
call_off(struct broker *b, struct store_txn *t, const struct gear_order *o, struct err *e)
{
	const char *node = o->twin == NULL ? o->from : o->twin;
	AUTO_FINI(wire_gear_fini) struct wire_gear g = { 0 };
	int64_t rev = 0;

	if (record_get(b->store, store_key_gear(node, o->uuid), &wire_gear_codec, &g, &rev, e) < 0)
		return -1;
	if (o->twin != NULL)
		g.want = WIRE_WANT_GONE;
	else if (g.moving_to == NULL)
		return err_set(
		    e, ERR_INVALID, "node", "The gear %s is on node %s already.", o->uuid, o->to);
	else
		mem_set_str(&g.moving_to, NULL);
	record_put_cas(t, store_key_gear(node, o->uuid), rev, &wire_gear_codec, &g);
	return 0;
}

static int
build_order(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct api_call *c = arg;
	struct gear_order *o = c->state;
	AUTO_FINI(wire_gear_fini) struct wire_gear g = { 0 };
	int64_t rev = 0;

	if (find_gear(b, o, e) < 0)
		return -1;
	if (strcmp(o->from, o->to) == 0)
		return call_off(b, t, o, e);
	if (record_get(b->store, store_key_gear(o->from, o->uuid), &wire_gear_codec, &g, &rev, e) <
	    0)
		return -1;
	if (g.moving_to != NULL)
		return err_set(e, ERR_CONFLICT, "gear", "The gear %s is moving to node %s already.",
		    o->uuid, g.moving_to);
	g.moving_to = xstrdup(o->to);
	record_put_cas(t, store_key_gear(o->from, o->uuid), rev, &wire_gear_codec, &g);
	return 0;
}

/* The application is as it is to be: did the gear get there? */
static void
on_settled(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	struct gear_order *o = c->state;
	struct err why = { 0 };

	if (e != NULL || find_gear(c->b, o, &why) < 0) {
		api_fail_err(c, e != NULL ? e : &why, EXIT_NODE);
		return;
	}
	if (strcmp(o->from, o->to) != 0) {
		api_fail(c, 500, EXIT_NODE, "node",
		    "The gear %s could not move to node %s, it stays on %s. The events of its "
		    "application say why.",
		    o->uuid, o->to, o->from);
		return;
	}
	api_message(c, "result", 0, NULL, "Gear %s is on node %s.", o->uuid, o->to);
	api_send(c, 200);
}

static void
on_ordered(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct gear_order *o = c->state;

	if (e != NULL) {
		api_fail_err(c, e, EXIT_GEAR);
		return;
	}
	(void)rollout_wait(c->b->rollout, o->app_id, NULL, on_settled, c);
}

void
api_move_gear(struct api_call *c)
{
	const char *node = NULL;
	struct gear_order *o = xcalloc(1, sizeof *o);
	struct err e = { 0 };

	api_call_keep(c, o, order_free);
	if (api_param_str(c->params, "node", ID_LEN_MAX, &node, &e) < 0) {
		api_fail_err(c, &e, EXIT_NODE);
		return;
	}
	if (node == NULL || !node_link_is_alive(c->b->nodes, node)) {
		api_fail(c, 422, EXIT_NODE, "node",
		    "The node '%s' is not connected: `pinion status` lists those that are.",
		    node == NULL ? "" : node);
		return;
	}
	o->uuid = xstrdup(api_param_of_path(c->params, "gear"));
	o->to = xstrdup(node);
	change_start(c->b, build_order, on_ordered, c);
}
