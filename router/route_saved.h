/* router/route_saved.h: the table on disk: the feed's lines, appended as they took effect, each
 * revision with a sum of all before it. When the file has grown, it is written anew beside, a part
 * at a time. Of a torn or damaged file the good beginning is read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct buf;
struct host_table;
struct loop;
struct route_feed;
struct route_saved;
struct worker;

/* The file is DIR/routes.log; the directory is made. Writes go through w, one after the other. */
struct route_saved *route_saved_new(
    struct loop *l, struct worker *w, const char *dir, struct err *e);
/* Waits for nothing: what was not written is read from the broker again. */
void route_saved_free(struct route_saved *take_s);
/* Reads the file into the feed and its table, up to its last good sum; blocks. No file is no error.
 */
int route_saved_load(struct route_saved *s, struct route_feed *f, struct err *e) MUST_CHECK;
/* Adds the line that makes b's bytes from `from` on part of a good file; *sum: of all before. */
void route_saved_seal(struct buf *b, uint64_t *sum, size_t from);
/* The same for bytes: returns the length of what was taken. */
size_t route_saved_replay(struct route_feed *f, const char *p, size_t n, struct err *e);
/* A line that changed the table, or began a snapshot; written at the next sync. */
void route_saved_note(struct route_saved *s, struct str line, bool is_reset);
/* What was noted has taken effect. */
void route_saved_sync(struct route_saved *s, const struct route_feed *f);
/* Another process writes the file from now on: calls fn once nothing is under way. */
typedef void route_saved_fn(void *arg);
void route_saved_stop(struct route_saved *s, route_saved_fn *fn, void *arg);
/* It does not after all: the table as it is is written. */
void route_saved_go_on(struct route_saved *s, const struct route_feed *f);
