/* router/host_root.h: host name -> route, in shards of at most 64. Lanes read it without locks
 * while the control thread changes it: a change copies one shard, and its pointer is stored. What
 * it replaced is freed when each lane has ended the callback in which it may have seen it.
 *
 * A directory has the shards by the first bits of the hash. A full shard is split, and the
 * directory doubles when a shard needs more bits than it has (extendible hashing). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct host_route;

struct host_root;
struct host_old; /* what was replaced */

struct host_root *host_root_new(void);
void host_root_free(struct host_root *take_r); /* with its routes */

/* --- a lane, within one callback --- */

/* Exact, then *.rest from the longest. host: a key. */
const struct host_route *host_find(const struct host_root *root, const char *host, size_t n);
/* The route of the longest of r's paths that lies above the request's target, or NULL. */
const struct host_route *host_find_path(
    const struct host_root *root, const struct host_route *r, const char *target, size_t n);

/* --- the control thread, whose view has all changes at once --- */

struct host_route *host_root_get(const struct host_root *root, const char *host, size_t n);
/* Takes in r, which the table then owns; returns the one that it replaced. */
struct host_route *host_root_put(struct host_root *root, struct host_route *take_r);
struct host_route *host_root_remove(struct host_root *root, const char *host, size_t n);
/* Lanes see all changes from now on. false: there was none since the last time. */
bool host_root_show(struct host_root *root);
/* What was replaced by changes that were shown; the caller's. */
struct host_old *host_root_take_old(struct host_root *root);
void host_old_free(struct host_old *take_o);

enum { HOST_ROOT_FIRST = 0 };
typedef void host_root_fn(struct host_route *r, void *arg);
/* Visits the routes of one shard; returns where to go on, 0 after the last one. Changes between two
 * steps may show a route twice; none that stays is left out. */
uint64_t host_root_step(const struct host_root *root, uint64_t from, host_root_fn *fn, void *arg);
