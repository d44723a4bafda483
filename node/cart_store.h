/* node/cart_store.h: the code of all cartridges that gears here want: that of the node's own
 * catalogue, and archives that the broker keeps by digest, fetched, checked against the digest and
 * unpacked in a sandbox. Loop thread; what blocks runs in children and on workers. */
#pragma once

#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/wire/wire_gear.h"

struct cart_dir;
struct cart_dir_entry;
struct cart_store;
struct cart_store_get;
struct http_client;
struct loop;
struct node_dirs;
struct worker;

struct cart_store_opts { /* all borrowed for the store's life */
	struct loop *loop;
	struct worker *worker;
	struct http_client *http;
	const struct node_dirs *dirs;
	const struct cart_dir *carts; /* the node's own */
	const char *broker;           /* base of its URLs */
	const char *token;
};

/* Reads what was fetched before (DATA/cart-code). Blocks. */
struct cart_store *cart_store_open(const struct cart_store_opts *o, struct err *e) MUST_CHECK;
void cart_store_close(struct cart_store *take_s); /* ends all that is under way without a word */
DEFINE_AUTO(struct cart_store *, cart_store_close)

/* The code of a gear's cartridge: by its digest when it has one, else by name, version and release
 * (the newest release of that software version when that one is not here). NULL: not here, or not
 * yet: cart_store_get. Immutable; valid until cart_store_collect drops it. Any thread. */
const struct cart_dir_entry *cart_store_find(struct cart_store *s, const struct wire_gear_cart *c);

/* Fetches what of these cartridges is not here yet; several askers of one digest share the work.
 * fn: once, later, not after cancel; e NULL: cart_store_find has each of them. A stock cartridge
 * that this node lacks: ERR_NOT_FOUND; a broker that does not answer: ERR_BUSY; an archive that is
 * not what its digest says, or no cartridge: ERR_INVALID. */
typedef void cart_store_fn(const struct err *e, void *arg);
struct cart_store_get *cart_store_get(
    struct cart_store *s, const struct wire_gear_cart_list *carts, cart_store_fn *fn, void *arg);
void cart_store_cancel(struct cart_store_get *take_g); /* NULL is fine; the work goes on */

/* Removes the code of digests that are not in in_use for grace_s. */
void cart_store_collect(struct cart_store *s, const struct str_list *in_use, int64_t grace_s);
