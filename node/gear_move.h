/* node/gear_move.h: a gear's volume from one node to another: the old node serves it while nothing
 * of the gear runs there, the new one takes it over, with what is configured in it. Loop thread. */
#pragma once

#include "lib/base/err.h"

struct gear;
struct gear_move;
struct gear_table;
struct http_req;
struct layer_fetch_opts;
struct loop;
struct volumes;
struct worker;

/* GET /v1/gears/UUID/volume. Takes the request. 409: something of the gear runs here. */
void gear_move_serve(
    struct loop *l, struct worker *w, struct gear_table *t, const char *uuid, struct http_req *r);

/* Once, later, not after gear_move_cancel; the handle is gone then. e NULL: the volume is complete,
 * and bases of the gear's record name what is configured in it; the record is not saved yet. */
typedef void gear_move_fn(const struct err *e, void *arg);
/* Takes over the volume of g from the node spec.moved_from; what an earlier try left is made anew.
 */
struct gear_move *gear_move_start(const struct layer_fetch_opts *o, struct volumes *volumes,
    struct gear *g, gear_move_fn *fn, void *arg);
/* Ends it, at once or when its present step is over: fn comes with an error. */
void gear_move_stop(struct gear_move *m);
/* Forgets it; for the end of the daemon: a step may be under way. */
void gear_move_cancel(struct gear_move *take_m); /* NULL is fine */
