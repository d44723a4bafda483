/* router/route_static.h: the table of a file that is watched: what differs takes effect when the
 * file changes. */
#pragma once

#include "lib/base/err.h"

struct fleet;
struct loop;
struct route_static;
struct worker;

/* Reads the file and publishes it; blocks. All but path borrowed. */
struct route_static *route_static_new(
    struct loop *l, struct worker *w, struct fleet *f, const char *path, struct err *e);
void route_static_free(struct route_static *take_s); /* NULL is fine */
/* Looks now. */
void route_static_refresh(struct route_static *s);
