#include "broker/placement.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

struct count {
	int64_t gears;   /* of anyone */
	int64_t own;     /* of the application */
	int64_t disk_mb; /* reserved by all of them */
};

struct pick {
	const struct broker *b; /* borrowed */
	const struct placement_need *need;
	struct map *counts; /* node -> struct count, owned */
	char *best;         /* owned */
	struct count best_count;
	bool any_alive;
	char *
	    lack; /* why a living node cannot run the cartridge, owned; NULL: it can, or has none */
};

/* The number behind "disk_mb": in a gear's record: it need not be decoded for that. */
static int64_t
disk_of(const struct store_kv *kv)
{
	static const char word[] = "\"disk_mb\":";
	const char *p = memmem(kv->val, kv->n, word, sizeof word - 1);

	return p == NULL ? 0 : strtoll(p + sizeof word - 1, NULL, 10);
}

/* A node has room for the whole of each volume, however little of it is used yet. */
static bool
has_disk(const struct broker *b, const struct wire_node_facts *f, const struct count *c, int64_t mb)
{
	int64_t total = f->disk_total_mb * b->conf.disk_overcommit / 100;

	if (f->disk_free_mb > 0 && f->disk_free_mb < mb)
		return false;
	if (f->disk_total_mb == 0 || b->conf.disk_overcommit == 0)
		return true;
	return f->disk_free_mb >= f->disk_total_mb * f->disk_low_percent / 100 &&
	       (c == NULL ? 0 : c->disk_mb) + mb <= total;
}

/* Counts a gear record under its node: /gear/NODE/UUID. */
static bool
count_gear(const struct store_kv *kv, void *arg)
{
	struct pick *p = arg;
	const char *node = kv->key + strlen(STORE_PREFIX_GEAR);
	const char *app = p->need->app_id;
	AUTO(free) char *name = xstrndup(node, strcspn(node, "/"));
	struct count *c = map_get(p->counts, name);

	if (c == NULL) {
		c = xcalloc(1, sizeof *c);
		map_set(p->counts, name, c);
	}
	c->gears++;
	c->disk_mb += disk_of(kv);
	/* the id is as good as unique in a record: no need to decode it */
	if (app != NULL && memmem(kv->val, kv->n, app, strlen(app)) != NULL)
		c->own++;
	return true;
}

static bool
is_better(const struct count *a, const struct count *b)
{
	if (a->own != b->own)
		return a->own < b->own;
	return a->gears < b->gears;
}

/* What this node says of a cartridge that it cannot run. */
static void
note_lack(struct pick *p, const struct str_list *lacks)
{
	size_t n = strlen(p->need->cartridge);

	for (size_t i = 0; i < lacks->n; i++) {
		if (strncmp(lacks->v[i], p->need->cartridge, n) == 0 && lacks->v[i][n] == ':')
			mem_set_str(
			    &p->lack, lacks->v[i] + n + 1 + strspn(lacks->v[i] + n + 1, " "));
	}
}

static bool
consider(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_node_record *n = rec;
	struct pick *p = arg;
	const struct count none = { 0 };
	const struct count *c = map_get(p->counts, n->facts.id);

	(void)key;
	(void)rev;
	if (!node_link_is_alive(p->b->nodes, n->facts.id) ||
	    (p->need->near != NULL && strcmp(p->need->near, n->facts.id) != 0))
		return true;
	p->any_alive = true;
	if (!has_disk(p->b, &n->facts, c, p->need->disk_mb))
		return true;
	if (p->need->cartridge != NULL && n->facts.cartridges.n > 0 &&
	    !str_list_has(&n->facts.cartridges, p->need->cartridge)) {
		note_lack(p, &n->facts.lacks);
		return true;
	}
	if (c == NULL)
		c = &none;
	if (p->best != NULL && !is_better(c, &p->best_count))
		return true;
	mem_set_str(&p->best, n->facts.id);
	p->best_count = *c;
	return true;
}

char *
placement_pick(const struct broker *b, const struct placement_need *need, struct err *e)
{
	struct pick p = { .b = b, .need = need, .counts = map_new(free) };

	store_range(b->store, STORE_PREFIX_GEAR, count_gear, &p);
	record_each(b->store, STORE_PREFIX_NODE, &wire_node_record_codec, consider, &p);
	map_free(p.counts);
	if (p.best == NULL && !p.any_alive)
		(void)err_set(e, ERR_BUSY, NULL,
		    "No nodes are available: none is connected. Start pinion-node and try again.");
	else if (p.best == NULL && p.lack != NULL)
		(void)err_set(e, ERR_BUSY, "cartridge",
		    "No node can run the cartridge %s: %.300s (on the node).", need->cartridge,
		    p.lack);
	else if (p.best == NULL)
		(void)err_set(e, ERR_BUSY, NULL,
		    "No nodes are available that have the cartridge %s and %lld MB of free disk.",
		    need->cartridge == NULL ? "asked for" : need->cartridge,
		    (long long)need->disk_mb);
	free(p.lack);
	return p.best;
}

static bool
count_one(const struct store_kv *kv, void *arg)
{
	struct count *c = arg;

	c->disk_mb += disk_of(kv);
	return true;
}

int
placement_has_room(const struct broker *b, const char *node, int64_t mb, struct err *e)
{
	AUTO_FINI(wire_node_record_fini) struct wire_node_record n = { 0 };
	AUTO(free) char *prefix = store_key_gear(node, "");
	struct count c = { 0 };

	if (record_get(b->store, store_key_node(node), &wire_node_record_codec, &n, NULL, e) < 0)
		return -1;
	store_range(b->store, prefix, count_one, &c);
	if (has_disk(b, &n.facts, &c, mb))
		return 0;
	return err_set(e, ERR_LIMIT, "additional_gear_storage",
	    "The node %s has no room for %" PRId64 " MB more: move the gear to another node first.",
	    node, mb);
}
