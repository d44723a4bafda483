#include "broker/gear_disk.h"

#include <inttypes.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/change.h"
#include "broker/event_log.h"
#include "broker/gear_group.h"
#include "broker/placement.h"
#include "broker/profile.h"
#include "broker/record.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_user.h"

enum { MB_OF_GB = 1024, EXIT_NOT_ALLOWED = 164, EXIT_TOO_MUCH = 166 };

int64_t
gear_disk_extra_gb(const struct wire_app *a, const struct gear_group *g)
{
	int64_t gb = 0;

	for (size_t i = 0; i < a->cartridges.n; i++) {
		const struct wire_gear_cart *c = &a->cartridges.v[i];

		if (str_list_has(&g->carts, c->name) && c->storage_gb > gb)
			gb = c->storage_gb;
	}
	return gb;
}

int64_t
gear_disk_base_gb(const struct broker *b, const char *profile)
{
	struct wire_limits l = { 0 };

	return profile_get(b, profile, &l) ? (l.disk_mb + MB_OF_GB - 1) / MB_OF_GB : 1;
}

void
gear_disk_set_limits(struct wire_gear *g, const struct wire_limits *profile)
{
	g->limits = *profile;
	g->limits.disk_mb += g->extra_disk_gb * MB_OF_GB;
}

void
gear_disk_set_extra(struct wire_gear *g, const struct wire_app *a, const struct gear_group *grp)
{
	int64_t gb = gear_disk_extra_gb(a, grp);

	g->limits.disk_mb += (gb - g->extra_disk_gb) * MB_OF_GB;
	g->extra_disk_gb = gb;
}

int
gear_disk_may(const struct broker *b, const char *owner, int64_t gb, int *exit_code, struct err *e)
{
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };

	*exit_code = EXIT_NOT_ALLOWED;
	if (gb == 0)
		return 0;
	if (record_get(b->store, store_key_user(owner), &wire_user_codec, &u, NULL, e) < 0)
		return err_wrap(e, "The account of %s", owner);
	if (u.max_storage_gb == 0)
		return err_set(e, ERR_DENIED, "additional_gear_storage",
		    "You are not allowed to request additional gear storage. Choose a larger gear "
		    "size, or ask an administrator.");
	*exit_code = EXIT_TOO_MUCH;
	if (gb > u.max_storage_gb)
		return err_set(e, ERR_LIMIT, "additional_gear_storage",
		    "You requested %" PRId64 " GB of additional gear storage; at most %" PRId64
		    " GB are allowed for a gear.",
		    gb, u.max_storage_gb);
	return 0;
}

/* --- a change --- */

struct op {
	char *app_id, *cart; /* owned */
	int64_t gb;
	app_done_fn *done;
	void *arg;
};

static void
op_done(const struct err *e, void *arg)
{
	struct op *op = arg;

	op->done(e, op->arg);
	free(op->app_id);
	free(op->cart);
	free(op);
}

struct put {
	struct broker *b;
	struct store_txn *t;
	const struct wire_app *a;
	const struct gear_group_list *groups;
	int group;
	struct map *more; /* node -> int64_t MB, owned */
	struct err *e;
	bool is_refused;
};

/* A node tells of the use with a quarter's grace (node_report). */
static int
check_use(const struct put *p, const char *node, const struct wire_gear *g)
{
	AUTO_FINI(wire_gear_status_fini) struct wire_gear_status st = { 0 };
	struct err none = { 0 };
	int64_t used;

	if (record_get(p->b->store, store_key_gear_status(node, g->uuid), &wire_gear_status_codec,
	        &st, NULL, &none) < 0)
		return 0;
	used = st.disk_used_kb / MB_OF_GB * 5 / 4 + 1;
	if (used <= g->limits.disk_mb)
		return 0;
	return err_set(p->e, ERR_LIMIT, "additional_gear_storage",
	    "The gear %s uses about %" PRId64 " MB: that does not fit into %" PRId64
	    " MB. Remove files first (pinion run, or 'tidy').",
	    g->uuid, st.disk_used_kb / MB_OF_GB, g->limits.disk_mb);
}

static void
add_more(struct put *p, const char *node, int64_t mb)
{
	int64_t *sum = map_get(p->more, node);

	if (sum == NULL) {
		sum = xcalloc(1, sizeof *sum);
		map_set(p->more, node, sum);
	}
	*sum += mb;
}

static bool
put_gear(const char *key, int64_t rev, void *rec, void *arg)
{
	struct wire_gear *g = rec;
	struct put *p = arg;
	const char *at = key + strlen(STORE_PREFIX_GEAR);
	AUTO(free) char *node = xstrndup(at, strcspn(at, "/"));
	int64_t old = g->limits.disk_mb;

	if (strcmp(g->app_id, p->a->id) != 0 || g->want == WIRE_WANT_GONE ||
	    gear_group_of(p->groups, g) != p->group)
		return true;
	gear_disk_set_extra(g, p->a, &p->groups->v[p->group]);
	if (g->limits.disk_mb < old && check_use(p, node, g) < 0) {
		p->is_refused = true;
		return false;
	}
	if (g->limits.disk_mb > old)
		add_more(p, node, g->limits.disk_mb - old);
	record_put_cas(p->t, xstrdup(key), rev, &wire_gear_codec, g);
	return true;
}

static void
check_room(const char *node, void *value, void *arg)
{
	struct put *p = arg;
	const int64_t *mb = value;

	if (!p->is_refused && placement_has_room(p->b, node, *mb, p->e) < 0)
		p->is_refused = true;
}

/* Of the group of that cartridge, which alone has the number from now on. -1: it is not there. */
static int
set_group(struct wire_app *a, const struct gear_group_list *groups, const struct op *op)
{
	for (size_t k = 0; k < groups->n; k++) {
		if (!str_list_has(&groups->v[k].carts, op->cart))
			continue;
		for (size_t i = 0; i < a->cartridges.n; i++) {
			struct wire_gear_cart *c = &a->cartridges.v[i];

			if (str_list_has(&groups->v[k].carts, c->name))
				c->storage_gb = strcmp(c->name, op->cart) == 0 ? op->gb : 0;
		}
		return (int)k;
	}
	return -1;
}

static int
build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct op *op = arg;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(gear_group_fini) struct gear_group_list groups = { 0 };
	struct put p = { .b = b, .t = t, .a = &a, .groups = &groups, .e = e };
	int64_t rev;

	if (record_app_by_id(b->store, op->app_id, &a, &rev, e) < 0)
		return -1;
	gear_group_plan(b, &a, &groups);
	p.group = set_group(&a, &groups, op);
	if (a.spec.deleted || p.group < 0)
		return err_set(
		    e, ERR_NOT_FOUND, NULL, "Cartridge '%s' is no longer there.", op->cart);
	p.more = map_new(free);
	record_each_with(b->store, STORE_PREFIX_GEAR, a.id, &wire_gear_codec, put_gear, &p);
	map_each(p.more, check_room, &p);
	map_free(p.more);
	if (p.is_refused)
		return -1;
	record_put_cas(t, store_key_app(a.domain, a.name), rev, &wire_app_codec, &a);
	event_log_put(t, b->store, a.id, NULL, NULL, "storage",
	    "Each gear with %s has %" PRId64 " GB more disk than its profile.", op->cart, op->gb);
	return 0;
}

void
gear_disk_change(struct broker *b, const char *app_id, const char *cart, int64_t gb,
    app_done_fn *done, void *arg)
{
	struct op *op = xcalloc(1, sizeof *op);

	*op = (struct op){ xstrdup(app_id), xstrdup(cart), gb, done, arg };
	change_start(b, build, op_done, op);
}

void
gear_disk_keep(const struct broker *b, const struct wire_app *a, struct wire_gear_cart_list *after)
{
	AUTO_FINI(gear_group_fini) struct gear_group_list groups = { 0 };

	gear_group_plan(b, a, &groups);
	for (size_t k = 0; k < groups.n; k++) {
		int64_t gb = gear_disk_extra_gb(a, &groups.v[k]);
		struct wire_gear_cart *heir = NULL;

		for (size_t i = 0; i < after->n; i++) {
			struct wire_gear_cart *c = &after->v[i];

			if (!str_list_has(&groups.v[k].carts, c->name))
				continue;
			if (heir == NULL || c->storage_gb > heir->storage_gb)
				heir = c;
		}
		if (heir != NULL && heir->storage_gb < gb)
			heir->storage_gb = gb;
	}
}
