/* lib/base/map.h: maps by string: hashed (seeded SipHash) and ordered. Values are borrowed unless
 * a free function is given. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef void map_free_fn(void *value);

struct map;                                   /* hashed; opaque */
struct map *map_new(map_free_fn *free_value); /* free_value NULL: values are borrowed */
void map_free(struct map *m);
void *map_get(const struct map *m, const char *key); /* NULL: none */
void *map_getn(const struct map *m, const char *key, size_t n);
void map_set(struct map *m, const char *key, void *take_value); /* replaces and frees the old */
void *map_take(struct map *m, const char *key);                 /* removes; caller owns the value */
bool map_remove(struct map *m, const char *key);
size_t map_count(const struct map *m);
/* Visits in no order; the map must not change meanwhile but by removal of the visited key. */
typedef void map_visit_fn(const char *key, void *value, void *arg);
void map_each(const struct map *m, map_visit_fn *fn, void *arg);

struct omap; /* ordered by strcmp; opaque */
struct omap *omap_new(map_free_fn *free_value);
void omap_free(struct omap *m);
void *omap_get(const struct omap *m, const char *key);
void omap_set(struct omap *m, const char *key, void *take_value);
bool omap_remove(struct omap *m, const char *key);
size_t omap_count(const struct omap *m);
/* The first key that is >= key (> key when after), or NULL. Borrowed until the map changes. */
const char *omap_seek(const struct omap *m, const char *key, bool after, void **out_value);
