#include "broker/cart_type.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/broker.h"
#include "broker/catalog.h"
#include "broker/change.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_cart_type.h"

struct op {
	struct wire_cart_type *v; /* owned: to be imported */
	size_t n;
	char *id; /* owned; to be changed or removed */
	int active, obsolete;

	cart_type_done_fn *done;
	void *arg;
};

static void
op_done(const struct err *e, void *arg)
{
	struct op *op = arg;

	op->done(e, op->arg);
	for (size_t i = 0; i < op->n; i++)
		wire_cart_type_fini(&op->v[i]);
	free(op->v);
	free(op->id);
	free(op);
}

static const struct catalog_cart *
find(const struct broker *b, const char *id)
{
	for (size_t i = 0; i < catalog_count(b->catalog); i++) {
		if (strcmp(catalog_at(b->catalog, i)->id, id) == 0)
			return catalog_at(b->catalog, i);
	}
	return NULL;
}

/* The record of an entry, or what it would be for a stock cartridge without one (rev 0). */
static int
load(const struct broker *b, const struct catalog_cart *cc, struct wire_cart_type *out,
    int64_t *rev, struct err *e)
{
	struct err why = { 0 };

	*rev = 0;
	if (record_get(
	        b->store, store_key_cart_type(cc->id), &wire_cart_type_codec, out, rev, &why) == 0)
		return 0;
	if (why.code != ERR_NOT_FOUND)
		return *e = why, -1;
	*out = (struct wire_cart_type){ .id = xstrdup(cc->id),
		.name = xstrdup(cc->cart.name),
		.version = xstrdup(cc->cart.version),
		.cart_version = xstrdup(cc->cart.cart_version),
		.vendor = xstrdup(cc->cart.cart_vendor),
		.created_at = (int64_t)time(NULL),
		.is_active = true };
	return 0;
}

static int
put_active(struct broker *b, struct store_txn *t, const struct catalog_cart *cc, int active,
    int obsolete, struct err *e)
{
	AUTO_FINI(wire_cart_type_fini) struct wire_cart_type r = { 0 };
	int64_t rev;

	if (load(b, cc, &r, &rev, e) < 0)
		return -1;
	if (active >= 0) {
		r.is_active = active != 0;
		r.activated_at = active != 0 ? (int64_t)time(NULL) : r.activated_at;
	}
	if (obsolete >= 0)
		r.is_obsolete = obsolete != 0;
	record_put_cas(t, store_key_cart_type(cc->id), rev, &wire_cart_type_codec, &r);
	return 0;
}

/* Others of that full name give way. */
static int
retire_others(
    struct broker *b, struct store_txn *t, const char *full_name, const char *id, struct err *e)
{
	for (size_t i = 0; i < catalog_count(b->catalog); i++) {
		const struct catalog_cart *cc = catalog_at(b->catalog, i);

		if (cc->is_active && strcmp(cc->full_name, full_name) == 0 &&
		    strcmp(cc->id, id) != 0 && put_active(b, t, cc, 0, -1, e) < 0)
			return -1;
	}
	return 0;
}

static int
import_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct op *op = arg;

	for (size_t i = 0; i < op->n; i++) {
		const struct wire_cart_type *r = &op->v[i];
		AUTO_FINI(wire_cart_fini) struct wire_cart c = { 0 };
		AUTO(free) char *full = NULL;

		if (wire_cart_parse(r->manifest, strlen(r->manifest), r->version, &c, e) < 0)
			return -1;
		full = wire_cart_full_name(&c);
		if (r->is_active && retire_others(b, t, full, r->id, e) < 0)
			return -1;
		record_put_cas(t, store_key_cart_type(r->id), 0, &wire_cart_type_codec, r);
	}
	return 0;
}

void
cart_type_import(struct broker *b, const struct cart_pick_one *one, const char *source_url,
    const char *login, bool activate, struct str_list *out_ids, cart_type_done_fn *done, void *arg)
{
	struct op *op = xcalloc(1, sizeof *op);
	const struct wire_cart *c = &one->cart;

	*op = (struct op){ .n = c->versions.n, .done = done, .arg = arg };
	op->v = xcalloc(op->n + 1, sizeof *op->v);
	for (size_t i = 0; i < op->n; i++) {
		op->v[i] = (struct wire_cart_type){ .id = record_new_id(),
			.name = xstrdup(c->name),
			.version = xstrdup(c->versions.v[i]),
			.cart_version = xstrdup(c->cart_version),
			.vendor = xstrdup(c->cart_vendor),
			.manifest = xstrdup(one->gear.manifest),
			.digest = xstrdup_null(one->gear.digest),
			.source_url = xstrdup_null(source_url),
			.imported_by = xstrdup(login),
			.created_at = (int64_t)time(NULL),
			.is_active = activate,
			.activated_at = activate ? (int64_t)time(NULL) : 0 };
		str_list_add(out_ids, op->v[i].id);
	}
	change_start(b, import_build, op_done, op);
}

static int
set_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct op *op = arg;
	const struct catalog_cart *cc = find(b, op->id);

	if (cc == NULL)
		return err_set(e, ERR_NOT_FOUND, NULL,
		    "Cartridge '%.80s' not found in the catalogue.", op->id);
	if (op->active == 1 && retire_others(b, t, cc->full_name, cc->id, e) < 0)
		return -1;
	return put_active(b, t, cc, op->active, op->obsolete, e);
}

void
cart_type_set(
    struct broker *b, const char *id, int active, int obsolete, cart_type_done_fn *done, void *arg)
{
	struct op *op = xcalloc(1, sizeof *op);

	*op = (struct op){
		.id = xstrdup(id), .active = active, .obsolete = obsolete, .done = done, .arg = arg
	};
	change_start(b, set_build, op_done, op);
}

/* When the active one goes, a stock one of that name is active again. */
static int
remove_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct op *op = arg;
	const struct catalog_cart *cc = find(b, op->id);
	AUTO(free) char *key = store_key_cart_type(op->id);

	if (cc == NULL)
		return err_set(e, ERR_NOT_FOUND, NULL,
		    "Cartridge '%.80s' not found in the catalogue.", op->id);
	if (cc->manifest == NULL)
		return err_set(e, ERR_CONFLICT, NULL,
		    "%s is a stock cartridge and cannot be removed. Deactivate it.", cc->full_name);
	store_txn_if_exists(t, key);
	store_txn_delete(t, key);
	for (size_t i = 0; cc->is_active && i < catalog_count(b->catalog); i++) {
		const struct catalog_cart *s = catalog_at(b->catalog, i);

		if (s->manifest == NULL && !s->is_active &&
		    strcmp(s->full_name, cc->full_name) == 0)
			return put_active(b, t, s, 1, -1, e);
	}
	return 0;
}

void
cart_type_remove(struct broker *b, const char *id, cart_type_done_fn *done, void *arg)
{
	struct op *op = xcalloc(1, sizeof *op);

	*op = (struct op){ .id = xstrdup(id), .done = done, .arg = arg };
	change_start(b, remove_build, op_done, op);
}
