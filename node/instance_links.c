/* What of an instance's network depends on others: the way from each instance of an application to
 * its services, as translations in its namespace (net_nat.h). Level-triggered: what is set is
 * compared with what the instances' states ask for. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/cart/cart_dir.h"
#include "lib/loop/worker.h"
#include "node/cart_store.h"
#include "lib/cart/gear_ports.h"
#include "node/gear_table.h"
#include "node/instance_state.h"
#include "node/net_nat.h"
#include "node/peer_table.h"

/* The instances of one application, and where their gears' endpoints are. */
struct app_gear {
	const struct gear *gear; /* borrowed */
	const struct cart_dir_entry **carts;
	struct gear_port_list ports;
	char ip[16];
};
struct look {
	const char *app;
	struct instance **v; /* owned array */
	size_t n;
	struct app_gear *gears; /* owned */
	size_t gears_n;
	const struct wire_peers *peers; /* borrowed; NULL: all of it is here */
};

static void
look_fini(struct look *l)
{
	for (size_t k = 0; k < l->gears_n; k++) {
		free(l->gears[k].carts);
		gear_ports_fini(&l->gears[k].ports);
	}
	free(l->gears);
	free(l->v);
}

static void
add_gear(struct look *l, const struct instances *is, const char *uuid)
{
	const struct gear *g = gear_table_find(is->o.gears, uuid);
	struct app_gear *a;

	for (size_t k = 0; k < l->gears_n; k++) {
		if (l->gears[k].gear == g)
			return;
	}
	if (g == NULL)
		return;
	l->gears = xreallocarray(l->gears, l->gears_n + 1, sizeof *l->gears);
	a = &l->gears[l->gears_n++];
	*a = (struct app_gear){ .gear = g };
	a->carts = xcalloc(g->spec.cartridges.n + 1, sizeof *a->carts);
	for (size_t k = 0; k < g->spec.cartridges.n; k++)
		a->carts[k] = cart_store_find(is->o.carts, &g->spec.cartridges.v[k]);
	gear_ports_list(a->carts, g->spec.cartridges.n, &a->ports);
	gear_ports_gear_ip(g->record.uid_base, a->ip);
}

static void
look_init(struct look *l, const struct instances *is, const char *app)
{
	*l = (struct look){ .app = app, .peers = peer_table_find(is->o.peers, app) };
	for (struct instance *i = instances_of_app(is, app); i != NULL; i = i->app_next) {
		l->v = xreallocarray(l->v, l->n + 1, sizeof(struct instance *));
		l->v[l->n++] = i;
	}
	for (size_t k = 0; k < l->n; k++)
		add_gear(l, is, l->v[k]->spec.gear);
}

static const struct wire_gear_cart *
cart_of(const struct app_gear *g, const struct gear_port *p)
{
	return &g->gear->spec.cartridges.v[p->cart];
}

/* Who answers at that endpoint now: the ready instance, the newest of several. */
static const struct instance *
target_of(const struct look *l, const struct app_gear *g, const struct gear_port *p)
{
	const struct wire_gear_cart *c = cart_of(g, p);
	const struct instance *best = NULL;

	for (size_t k = 0; k < l->n; k++) {
		const struct instance *i = l->v[k];
		bool is_it = c->is_service ? i->spec.kind == WIRE_INSTANCE_SERVICE &&
		                                 str_same(i->spec.cart, c->name)
		                           : i->spec.kind == WIRE_INSTANCE_WEB;

		if (is_it && i->step == STEP_RUN && str_same(i->spec.gear, g->gear->spec.uuid) &&
		    (best == NULL || i->ready_ms >= best->ready_ms))
			best = i;
	}
	return best;
}

/* The endpoint that requests come to: net_forward leads its port to where the application listens.
 */
static bool
is_front(const struct app_gear *g, const struct gear_port *p)
{
	return cart_of(g, p)->is_web && p->is_front;
}

/* As its variable says: v2 made one at once for `ssl_to_gear`, which raw endpoints say too. */
static bool
has_public_port(const struct app_gear *g, const struct gear_port *p)
{
	return g->gear->spec.is_scalable || p->ep->is_ssl_to_gear;
}

static void
link_port(const struct look *l, const struct instance *i, const struct app_gear *g,
    const struct gear_port *p, struct net_nat *out)
{
	const struct instance *to = target_of(l, g, p);
	bool is_own_gear = str_same(i->spec.gear, g->gear->spec.uuid);
	int port = is_front(g, p) ? NET_PORT : p->public_port;

	if (to == i) { /* by its gear's name */
		net_nat_out(out, g->ip, p->public_port, p->ip, p->port);
		return;
	}
	if (to == NULL)
		return;
	if (is_own_gear && cart_of(g, p)->is_service)
		net_nat_out(out, p->ip, p->port, to->link.address, port);
	if (!has_public_port(g, p))
		return;
	net_nat_out(out, g->ip, p->public_port, to->link.address, port);
	if (port != p->public_port) /* by its address, which names of web gears stand for */
		net_nat_out(out, to->link.address, p->public_port, to->link.address, port);
}

/* A gear on another node. Names of web gears stand for the addresses of its instances. */
static void
link_peer(const struct wire_peer *p, struct net_nat *out)
{
	char ip[16];

	gear_ports_peer_ip(p->gear, ip);
	for (size_t k = 0; k < p->ports.n; k++) {
		const struct wire_peer_port *q = &p->ports.v[k];

		if (!p->is_web)
			net_nat_out(out, ip, (int)q->from, q->address, (int)q->to);
		else if (q->from != q->to)
			net_nat_out(out, q->address, (int)q->from, q->address, (int)q->to);
	}
}

/* What i is to have. */
static void
links_of(const struct look *l, const struct instance *i, const char *address, struct net_nat *out)
{
	for (size_t k = 0; k < l->gears_n; k++) {
		const struct app_gear *g = &l->gears[k];
		bool is_own = str_same(i->spec.gear, g->gear->spec.uuid);

		for (size_t n = 0; n < g->ports.n; n++) {
			const struct gear_port *p = &g->ports.v[n];
			const struct wire_gear_cart *c = cart_of(g, p);
			bool acts = c->is_service ? str_same(i->spec.cart, c->name)
			                          : i->spec.kind == WIRE_INSTANCE_WEB;

			link_port(l, i, g, p, out);
			if (is_own && acts && !is_front(g, p) &&
			    (c->is_service || p->is_mapped || has_public_port(g, p)))
				net_nat_in(
				    out, address, p->public_port, p->ip, p->port, c->is_service);
		}
	}
	for (size_t k = 0; l->peers != NULL && k < l->peers->gears.n; k++)
		link_peer(&l->peers->gears.v[k], out);
}

int
instance_links_endpoint(const struct instance *i, char ip[16], bool *is_stock)
{
	struct look l = { .app = i->spec.app_id };
	int port = 0;

	add_gear(&l, i->table, i->spec.gear);
	*is_stock = true;
	for (size_t k = 0; l.gears_n > 0 && k < l.gears[0].gear->spec.cartridges.n; k++) {
		const struct cart_dir_entry *c = l.gears[0].carts[k];

		if (c != NULL && str_same(c->cart.name, i->spec.cart))
			*is_stock = c->cart.pinion.is_given;
	}
	for (size_t k = 0; l.gears_n > 0 && k < l.gears[0].ports.n && port == 0; k++) {
		const struct gear_port *p = &l.gears[0].ports.v[k];

		if (!str_same(cart_of(&l.gears[0], p)->name, i->spec.cart))
			continue;
		port = p->port;
		memcpy(ip, p->ip, sizeof p->ip);
	}
	look_fini(&l);
	return port;
}

void
instance_links_addons(const struct instance *i, struct str_list *out)
{
	struct look l = { .app = i->spec.app_id };

	add_gear(&l, i->table, i->spec.gear);
	for (size_t k = 0; l.gears_n > 0 && k < l.gears[0].ports.n; k++) {
		const struct gear_port *p = &l.gears[0].ports.v[k];

		if (!cart_of(&l.gears[0], p)->is_web)
			str_list_take(out, xasprintf("%s:%d", p->ip, p->port));
	}
	look_fini(&l);
}

bool
instance_links_front(const struct instance *i, char ip[16], int *port)
{
	struct look l = { .app = i->spec.app_id };
	bool is_stock = true;

	if (i->spec.kind != WIRE_INSTANCE_WEB)
		return false;
	add_gear(&l, i->table, i->spec.gear);
	for (size_t k = 0; l.gears_n > 0 && k < l.gears[0].ports.n; k++) {
		const struct gear_port *p = &l.gears[0].ports.v[k];

		if (!is_front(&l.gears[0], p))
			continue;
		*port = p->port;
		memcpy(ip, p->ip, sizeof p->ip);
	}
	for (size_t k = 0; l.gears_n > 0 && k < l.gears[0].gear->spec.cartridges.n; k++) {
		const struct cart_dir_entry *c = l.gears[0].carts[k];

		if (c != NULL && wire_cart_is_web(&c->cart))
			is_stock = c->cart.pinion.is_given;
	}
	look_fini(&l);
	return !is_stock;
}

bool
instance_links_is_tls(const struct instance *i)
{
	struct look l = { .app = i->spec.app_id };
	bool is_tls = false;

	add_gear(&l, i->table, i->spec.gear);
	for (size_t k = 0; l.gears_n > 0 && k < l.gears[0].ports.n; k++) {
		const struct gear_port *p = &l.gears[0].ports.v[k];

		is_tls = is_tls || (is_front(&l.gears[0], p) && wire_cart_root_is_tls(p->ep));
	}
	look_fini(&l);
	return is_tls;
}

void
instance_links_want(const struct instance *i, struct net_nat *out)
{
	struct look l;

	look_init(&l, i->table, i->spec.app_id);
	links_of(&l, i, "", out);
	look_fini(&l);
}

/* --- setting them --- */

struct nat_job {
	struct instance *owner; /* done only */
	struct net *net;
	char *id; /* owned */
	struct net_nat nat;
	struct err e;
};

static void
free_nat(void *take_job)
{
	struct nat_job *j = take_job;

	net_nat_fini(&j->nat);
	free(j->id);
	free(j);
}

static void
run_nat(void *job)
{
	struct nat_job *j = job;

	if (net_nat_set(j->net, j->id, &j->nat, &j->e) == 0)
		fault_point("instance_linked");
}

static void
done_nat(void *job)
{
	struct nat_job *j = job;
	struct instance *i = j->owner;
	bool is_ok = j->e.code == ERR_NONE;

	i->nat_job = NULL;
	/* Its network may be another by now. */
	i->has_nat = is_ok && i->nat_run == i->begun_us;
	if (is_ok)
		net_nat_copy(&i->nat, &j->nat);
	else if (j->e.code != ERR_NOT_FOUND)
		log_error("instance_links_failed", LOG_STR("instance", j->id), LOG_ERR(&j->e));
	free_nat(j);
	if (is_ok)
		instance_links_update(i);
}

static bool
has_network(const struct instance *i)
{
	switch (i->step) {
	case STEP_START:
	case STEP_RELEASE:
	case STEP_PROBE:
	case STEP_POST:
	case STEP_RUN:
		return i->link.address[0] != '\0';
	default:
		return false;
	}
}

/* What an earlier daemon set stays until all of the application is known. */
static bool
is_too_early(const struct look *l, const struct instance *i)
{
	for (size_t k = 0; !i->has_nat && i->was_adopted && k < l->n; k++) {
		if (l->v[k]->must_check || l->v[k]->step == STEP_ADOPT)
			return true;
	}
	return false;
}

/* Is there something set already, as far as is known? */
static bool
has_links(const struct look *l, const struct instance *i)
{
	bool may_have = false;

	for (size_t k = 0; i->was_adopted && k < l->n; k++)
		may_have = may_have || l->v[k]->spec.kind == WIRE_INSTANCE_SERVICE;
	return may_have;
}

static void
update(const struct look *l, struct instance *i)
{
	struct net_nat want = { 0 };
	struct nat_job *j;

	if (!has_network(i) || i->nat_job != NULL || is_too_early(l, i))
		return;
	links_of(l, i, i->link.address, &want);
	if (i->has_nat ? net_nat_equal(&want, &i->nat)
	               : want.out_n + want.in_n == 0 && !has_links(l, i)) {
		net_nat_fini(&want);
		return;
	}
	j = xcalloc(1, sizeof *j);
	*j = (struct nat_job){
		.owner = i, .net = i->table->o.net, .id = xstrdup(i->spec.id), .nat = want
	};
	i->nat_run = i->begun_us;
	i->nat_job = worker_submit(i->table->o.worker, run_nat, done_nat, free_nat, j);
}

void
instance_links_update(struct instance *i)
{
	struct look l;

	look_init(&l, i->table, i->spec.app_id);
	update(&l, i);
	look_fini(&l);
}

void
instance_links_changed(struct instance *i)
{
	struct look l;

	if (i->spec.app_id == NULL)
		return;
	look_init(&l, i->table, i->spec.app_id);
	for (size_t k = 0; k < l.n; k++)
		update(&l, l.v[k]);
	look_fini(&l);
}

void
instances_peers_changed(struct instances *is, const char *app_id)
{
	struct look l;

	look_init(&l, is, app_id);
	for (size_t k = 0; k < l.n; k++)
		update(&l, l.v[k]);
	look_fini(&l);
}
