/* broker/cart_fetch.h: a cartridge from outside: manifest by URL, its source as an archive (tar,
 * tar.gz, zip by http and https) or by git, bounded in size, time and redirects, from no address
 * inside; kept as a blob. Loop thread. */
#pragma once

#include "broker/cart_pick.h"
#include "lib/base/err.h"

struct broker;

enum {
	CART_FETCH_MANIFEST_MS = 10 * 1000,
	CART_FETCH_REDIRECTS_MAX = 2,
	CART_FETCH_APP_MAX = 5, /* cartridges from outside in one application */
};

/* one: the cartridge with its manifest, digest and source (borrowed for the call; the receiver may
 * move it out); its blob is held until blob_store_release(one->gear.digest). one NULL: e says why.
 */
typedef void cart_fetch_fn(struct cart_pick_one *one, const struct err *e, void *arg);

/* What ask->url names: a manifest, or an archive or git repository that holds one. fn: once, later;
 * also when the asker's client went away. is_admin: an import, which may come from any vendor. */
void cart_fetch_start(
    struct broker *b, const struct cart_ask *ask, bool is_admin, cart_fetch_fn *fn, void *arg);
/* The same for an archive that lies in a file (blob_store_tmp), which is taken. */
void cart_fetch_file(
    struct broker *b, const char *path, const struct cart_ask *ask, cart_fetch_fn *fn, void *arg);
/* Ends all that is under way, without a word: the broker's end. */
void cart_fetch_end(struct broker *b);
