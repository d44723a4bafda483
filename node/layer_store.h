/* node/layer_store.h: content-addressed extracted trees, LAYERS/<64 hex>, each in the shape of a
 * home. A digest is that of the tree's deterministic tar: the uncompressed layer of an OCI image,
 * without one being packed. All calls block: for workers; thread-safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct node_dirs;
struct layer_store;

/* dirs: borrowed for the store's life. Removes what an interrupted seal left. */
struct layer_store *layer_store_open(const struct node_dirs *dirs, struct err *e) MUST_CHECK;
void layer_store_close(struct layer_store *take_s);

bool layer_store_has(const struct layer_store *s, const char *digest);
/* LAYERS/<hex>; caller owns. */
char *layer_store_path(const struct layer_store *s, const char *digest);

/* The directory tree (same file system; its paths relative to a home, complete) becomes the layer
 * of that digest, safe against a power cut when this returns. There already: tree is removed. */
int layer_store_seal(
    struct layer_store *s, const char *tree, const char *digest, struct err *e) MUST_CHECK;
/* Digest of a tree as it lies there, "sha256:…"; caller owns. */
char *layer_store_digest(const char *tree, struct err *e) MUST_CHECK;

/* A small JSON document (OCI config or manifest) by its digest. Power-safe. Returns the digest. */
char *layer_store_put_blob(
    struct layer_store *s, const char *json, size_t n, struct err *e) MUST_CHECK;

/* Names that layers are kept for, by the feed's `layers` records: key = application. */
void layer_store_keep(struct layer_store *s, const char *app_id, const struct str_list *digests);
void layer_store_forget(struct layer_store *s, const char *app_id);
/* Removes layers that nobody keeps, that are in no mount (in_use, digests) and were last sealed or
 * found by a build more than grace_s ago. Returns how many. */
int layer_store_collect(struct layer_store *s, const struct str_list *in_use, int64_t grace_s,
    struct err *e) MUST_CHECK;
