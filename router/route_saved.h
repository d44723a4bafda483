/* router/route_saved.h: the table on disk: the feed's lines, appended as they took effect, made
 * short again when they grow. A torn end is left out when it is read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct host_table;
struct route_feed;
struct route_saved;
struct worker;

/* The file is DIR/routes.log; the directory is made. Writes go through w, one after the other. */
struct route_saved *route_saved_new(struct worker *w, const char *dir, struct err *e);
/* Waits for nothing: what was not written is read from the broker again. */
void route_saved_free(struct route_saved *take_s);
/* Reads the file into the feed and its table, up to its last sync; blocks. No file is no error. */
int route_saved_load(struct route_saved *s, struct route_feed *f, struct err *e) MUST_CHECK;
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
