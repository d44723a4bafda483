/* node/build_container.h: the part of a build that needs a container: makes one like the gear's,
 * with the new tree in its repository, and runs the cartridge's and the user's build steps in it.
 */
#pragma once

#include "lib/base/err.h"
#include "node/cart_run.h"

struct build_container;
struct build_plan;
struct builder_opts;
struct gear;
struct wire_build_order;

struct build_container_in { /* borrowed until done */
	const struct builder_opts *o;
	const struct wire_build_order *order;
	const struct build_plan *plan;
	const char *dir;   /* scratch of the build: {up,work/work,tmp,ctl} */
	struct gear *gear; /* ready, held by the caller */
	int64_t timeout_ms;
};

/* As cart_run: done comes when the container and its network are gone. */
struct build_container *build_container_start(const struct build_container_in *in,
    cart_run_out_fn *on_out, cart_run_done_fn *done, void *arg);
void build_container_pause(struct build_container *c, bool paused);
void build_container_abort(struct build_container *c, const struct err *why);
void build_container_free(struct build_container *take_c); /* NULL is fine */
