/* broker/cart_type.h: changes of the catalogue's records: imports, what is active, removals. Each
 * one transaction; of the cartridges of one full name one is active. */
#pragma once

#include "broker/cart_pick.h"
#include "lib/base/err.h"

struct broker;

typedef void cart_type_done_fn(const struct err *e, void *arg);

/* New records, one for each software version of one's manifest; active unless told otherwise.
 * out_ids: of them, in the order of the versions; borrowed until done. */
void cart_type_import(struct broker *b, const struct cart_pick_one *one, const char *source_url,
    const char *login, bool activate, struct str_list *out_ids, cart_type_done_fn *done, void *arg);
/* id: of the catalogue. obsolete: -1: as it is. ERR_NOT_FOUND. */
void cart_type_set(
    struct broker *b, const char *id, int active, int obsolete, cart_type_done_fn *done, void *arg);
/* ERR_CONFLICT: a stock cartridge; deactivate it. Applications that have it keep it. */
void cart_type_remove(struct broker *b, const char *id, cart_type_done_fn *done, void *arg);
