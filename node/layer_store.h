/* node/layer_store.h: content-addressed extracted trees, LAYERS/<64 hex>, each in the shape of a
 * home. A digest is that of the tree's deterministic tar: the uncompressed layer of an OCI image,
 * without one being packed. All calls block: for workers; thread-safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

struct node_dirs;
struct layer_store;

/* dirs: borrowed for the store's life. Removes what an interrupted seal left. */
struct layer_store *layer_store_open(const struct node_dirs *dirs, struct err *e) MUST_CHECK;
void layer_store_close(struct layer_store *take_s);
DEFINE_AUTO(struct layer_store *, layer_store_close)

bool layer_store_has(const struct layer_store *s, const char *digest);
/* LAYERS/<hex>; caller owns. */
char *layer_store_path(const struct layer_store *s, const char *digest);

/* A directory tree on the layers' file system, its paths relative to a home, complete. */
struct layer_store_item {
	const char *tree;
	const char *digest;
	int64_t size; /* of its tar */
};
/* The trees become the layers of those digests, safe against a power cut when this returns, with
 * all blobs put before. One that is there already: its tree is removed. */
int layer_store_seal(struct layer_store *s, const struct layer_store_item *items, size_t n,
    struct err *e) MUST_CHECK;
/* Size of the tar of a sealed layer; 0: unknown. */
int64_t layer_store_size(const struct layer_store *s, const char *digest);
/* Marks a layer as in use by a build, so that it is not collected before the grace time. */
void layer_store_touch(struct layer_store *s, const char *digest);

/* A small JSON document (OCI config or manifest) into DATA/images/<hex>; durable with the next
 * seal. Returns its digest; caller owns. */
char *layer_store_put_blob(
    struct layer_store *s, const char *json, size_t n, struct err *e) MUST_CHECK;

/* Names that layers are kept for, by the feed's `layers` records: key = application. */
void layer_store_keep(struct layer_store *s, const char *app_id, const struct str_list *digests);
void layer_store_forget(struct layer_store *s, const char *app_id);
/* Removes layers that nobody keeps, that are in no mount (in_use, digests) and were last sealed or
 * found by a build more than grace_s ago; so too the build caches (DATA/cache/<app id>) of
 * applications without a record. Returns how many layers. */
int layer_store_collect(struct layer_store *s, const struct str_list *in_use, int64_t grace_s,
    struct err *e) MUST_CHECK;
