/* Gears of an application and what they are doing, as their nodes reported last. */
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_domain.h"
#include "broker/api_env.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/api_view.h"
#include "broker/broker.h"
#include "broker/cart_status.h"
#include "broker/gear_disk.h"
#include "broker/gear_ends.h"
#include "broker/gear_group.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

enum { EXIT_APP = 101, EXIT_GONE = 112 };

/* What the newest instances of a gear tell; higher wins. */
enum gear_state { STATE_NONE, STATE_STOPPED, STATE_IDLE, STATE_STARTING, STATE_STARTED };

struct states {
	const char *gear; /* borrowed */
	enum gear_state best;
};

static bool
see_instance(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_instance_status *i = rec;
	struct states *s = arg;
	enum gear_state now = STATE_NONE;

	(void)key;
	(void)rev;
	if (strcmp(i->gear, s->gear) != 0)
		return true;
	switch (i->state) {
	case WIRE_INSTANCE_READY:
		now = i->sleep == WIRE_SLEEP_AWAKE ? STATE_STARTED : STATE_IDLE;
		break;
	case WIRE_INSTANCE_NEW:
	case WIRE_INSTANCE_STARTING:
	case WIRE_INSTANCE_CRASHED:
		now = STATE_STARTING;
		break;
	case WIRE_INSTANCE_STOPPED:
		now = i->sleep == WIRE_SLEEP_STOPPED ? STATE_IDLE : STATE_STOPPED;
		break;
	case WIRE_INSTANCE_STOPPING:
	case WIRE_INSTANCE_FAILED:
		now = STATE_STOPPED;
		break;
	default:
		break;
	}
	if (now > s->best)
		s->best = now;
	return true;
}

static const char *
gear_state(const struct api_call *c, const struct wire_app *a, const char *node, const char *uuid)
{
	AUTO(free) char *prefix = store_key_instance_status(node, "");
	struct states s = { .gear = uuid };

	if (!node_link_is_alive(c->b->nodes, node))
		return "unknown";
	record_each_with(c->b->store, prefix, uuid, &wire_instance_status_codec, see_instance, &s);
	switch (s.best) {
	case STATE_STARTED:
		return "started";
	case STATE_STARTING:
		return "deploying";
	case STATE_IDLE:
		return "idle";
	case STATE_STOPPED:
		return "stopped";
	case STATE_NONE:
		break;
	}
	return a->spec.running ? "new" : "stopped";
}

struct listing {
	struct api_call *c;
	struct api_json *j;
	const struct wire_app *a;
	const struct gear_group_list *groups;
	size_t group;
	bool with_endpoints;
};

static void
write_mappings(struct api_json *j, const struct wire_cart_endpoint *ep)
{
	api_json_arr(j, "mappings");
	for (size_t i = 0; i < ep->mappings.n; i++) {
		api_json_obj(j, NULL);
		api_json_str(j, "frontend", ep->mappings.v[i].frontend);
		api_json_str(j, "backend", ep->mappings.v[i].backend);
		api_json_end_obj(j);
	}
	api_json_end_arr(j);
}

static void
write_endpoints(const struct listing *l, const struct wire_gear *g)
{
	AUTO_FINI(gear_ends_fini) struct gear_ends ends = { 0 };
	struct api_json *j = l->j;
	char address[16];

	gear_ends_list(l->c->b, &g->cartridges, &l->a->cartridges, &ends);
	gear_ports_peer_ip(g->uuid, address);
	for (size_t i = 0; i < ends.ports.n; i++) {
		const struct gear_port *p = &ends.ports.v[i];
		const struct wire_gear_cart *k = &g->cartridges.v[p->cart];
		const struct catalog_cart *cc = catalog_of(l->c->b->catalog, k);
		AUTO(free) char *name = api_view_cart_name(l->c->b, k);

		api_json_obj(j, NULL);
		api_json_str(j, "cartridge_name", name);
		api_json_str(j, "external_address", address);
		api_json_int(j, "external_port", p->public_port);
		api_json_str(j, "internal_address", p->ip);
		api_json_int(j, "internal_port", p->port);
		api_json_strs(j, "protocols", &p->ep->protocols);
		if (cc != NULL)
			api_json_strs(j, "types", &cc->cart.categories);
		else
			api_json_raw(j, "types", "[]");
		write_mappings(j, p->ep);
		api_json_end_obj(j);
	}
}

static bool
write_gear(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_gear *g = rec;
	const struct listing *l = arg;
	const char *at = key + strlen(STORE_PREFIX_GEAR);
	AUTO(free) char *node = xstrndup(at, strcspn(at, "/"));
	AUTO(free) char *ssh = api_view_ssh_url(l->c->b, l->a, g->uuid);
	const char *state;

	(void)rev;
	if (strcmp(g->app_id, l->a->id) != 0 || g->want == WIRE_WANT_GONE ||
	    gear_group_of(l->groups, g) != (int)l->group)
		return true;
	state = gear_state(l->c, l->a, node, g->uuid);
	api_json_obj(l->j, NULL);
	api_json_str(l->j, "id", g->uuid);
	api_json_str(l->j, "state", state);
	api_json_str(l->j, "ssh_url", ssh);
	api_json_str(l->j, "node", node);
	(void)api_view_disk(l->c, l->j, node, g->uuid);
	if (l->c->minor >= 6) {
		api_json_null(l->j, "region");
		api_json_null(l->j, "zone");
	}
	api_json_arr(l->j, l->c->minor >= 6 ? "endpoints" : "port_interfaces");
	if (l->with_endpoints)
		write_endpoints(l, g);
	api_json_end_arr(l->j);
	api_json_end_obj(l->j);
	return true;
}

/* What the cartridge tells of itself, beside its name. */
static void
write_published(
    const struct api_call *c, struct api_json *j, const struct wire_app *a, const char *cart)
{
	static const char *const taken[] = { "name", "display_name", "tags" };
	AUTO_FINI(api_env_fini) struct wire_var_list l = { 0 };

	cart_status_properties(c->b, a->id, cart, &l);
	for (size_t i = 0; i < l.n; i++) {
		bool is_taken = false;

		for (size_t k = 0; k < ARRAY_LEN(taken); k++)
			is_taken = is_taken || strcmp(taken[k], l.v[i].name) == 0;
		if (!is_taken)
			api_json_str(j, l.v[i].name, l.v[i].value);
	}
}

static void
write_carts(
    struct api_call *c, struct api_json *j, const struct wire_app *a, const struct gear_group *grp)
{
	api_json_arr(j, "cartridges");
	for (size_t i = 0; i < a->cartridges.n; i++) {
		const struct catalog_cart *cc = catalog_of(c->b->catalog, &a->cartridges.v[i]);
		AUTO(free) char *name = api_view_cart_name(c->b, &a->cartridges.v[i]);

		if (!str_list_has(&grp->carts, a->cartridges.v[i].name))
			continue;
		api_json_obj(j, NULL);
		api_json_str(j, "name", name);
		api_json_str(j, "display_name", cc == NULL ? name : cc->cart.display_name);
		if (cc != NULL)
			api_json_strs(j, "tags", &cc->cart.categories);
		else
			api_json_raw(j, "tags", "[]");
		write_published(c, j, a, a->cartridges.v[i].name);
		api_json_end_obj(j);
	}
	api_json_end_arr(j);
}

/* The web framework's group goes by the application's id, another one by its first cartridge's name
 * behind that. Caller owns. */
static char *
group_id(const struct wire_app *a, const struct gear_group *grp)
{
	if (grp->is_web || grp->carts.n == 0)
		return xstrdup(a->id);
	return xasprintf("%s-%s", a->id, grp->carts.v[0]);
}

static void
write_group(struct api_call *c, struct api_json *j, const struct listing *l)
{
	const struct wire_app *a = l->a;
	const struct gear_group *grp = &l->groups->v[l->group];
	AUTO(free) char *id = group_id(a, grp);
	struct listing arg = *l;

	api_json_obj(j, NULL);
	api_json_str(j, c->minor >= 6 ? "id" : "uuid", id);
	api_json_str(j, "name", id);
	api_json_str(j, "gear_profile", gear_group_profile(grp, a));
	api_json_int(j, "scales_from", grp->gears);
	api_json_int(j, "scales_to", a->scalable ? grp->max : 1);
	api_json_int(j, "base_gear_storage", gear_disk_base_gb(c->b, gear_group_profile(grp, a)));
	api_json_int(j, "additional_gear_storage", gear_disk_extra_gb(a, grp));
	write_carts(c, j, a, grp);
	api_json_arr(j, "gears");
	record_each_with(c->b->store, STORE_PREFIX_GEAR, a->id, &wire_gear_codec, write_gear, &arg);
	api_json_end_arr(j);
	api_json_end_obj(j);
}

void
api_app_gear_groups(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(gear_group_fini) struct gear_group_list groups = { 0 };
	struct listing l = { c, &c->json, &a, &groups, 0, api_domain_includes(c, "endpoints") };

	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	gear_group_plan(c->b, &a, &groups);
	api_json_arr(api_data(c, "gear_groups"), NULL);
	for (; l.group < groups.n; l.group++)
		write_group(c, &c->json, &l);
	api_json_end_arr(&c->json);
	api_send(c, 200);
}

void
api_app_gear_group(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(gear_group_fini) struct gear_group_list groups = { 0 };
	struct listing l = { c, &c->json, &a, &groups, 0, api_domain_includes(c, "endpoints") };
	const char *id = api_param_of_path(c->params, "id");

	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	gear_group_plan(c->b, &a, &groups);
	for (; l.group < groups.n; l.group++) {
		AUTO(free) char *own = group_id(&a, &groups.v[l.group]);

		if (strcmp(id, own) != 0)
			continue;
		write_group(c, api_data(c, "gear_group"), &l);
		api_send(c, 200);
		return;
	}
	api_fail(c, 404, EXIT_APP, NULL, "Gear group '%.80s' not found in application '%s'.", id,
	    a.name);
}

void
api_app_gears(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO(free) char *base = NULL;

	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	base = api_view_app_base(c, &a);
	api_fail(
	    c, 301, EXIT_GONE, NULL, "Use %s/broker/rest/%s/gear_groups instead.", c->root, base);
}
