/* node/gear_work.h: inside of the gear table: what a worker does for one gear, on a copy of it; the
 * gear itself stays on the loop. Each step may die and be repeated. */
#pragma once

#include "node/gear_table.h"

struct gear_work {
	void *owner; /* of done alone */
	struct gear_table_opts o;
	struct gear gear;          /* spec and record copied, dir owned */
	bool writes_env, is_first; /* since the start of the daemon */
	bool is_alive; /* its volume was mounted before: since before this daemon, or by it */
	bool has_come; /* the volume is there, from another node */
	struct err e;  /* what went wrong */
};
struct gear_work *gear_work_new(const struct gear_table_opts *o, const struct gear *g, void *owner);
void gear_work_free(void *take_w);

/* Volume made or mounted, environment written, cgroup there. */
void gear_work_prepare(void *work);
void gear_work_save(void *work);
/* Cgroup, volume and record are gone. */
void gear_work_destroy(void *work);
/* Unknown to the broker: no order to destroy, but out of the way for 7 days. */
void gear_work_set_aside(void *work);
