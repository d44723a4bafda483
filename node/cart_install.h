/* node/cart_install.h: configures a cartridge in a gear: its private files, setup, templates,
 * install. The result is the gear's next base layer. */
#pragma once

#include "lib/base/err.h"

struct cart_dir_entry;
struct cart_install;
struct cart_install_opts;
struct gear;

struct cart_install_opts {
	struct loop *loop;
	struct worker *worker;
	struct container_host *containers;
	const struct node_dirs *dirs;
	const struct cart_dir *carts;
};

/* e NULL: done, the gear's record has the base. Borrowed for the call. */
typedef void cart_install_fn(const struct err *e, void *arg);
/* The cartridge that comes next in the gear (record.bases.n-th of spec.cartridges). fn: once,
 * later, not after cancel; the handle is gone then. A cartridge with neither scripts nor templates
 * takes no container: its files are written by a worker. NULL: ERR_NOT_FOUND (no such cartridge
 * here). */
struct cart_install *cart_install_start(const struct cart_install_opts *o, struct gear *g,
    cart_install_fn *fn, void *arg, struct err *e) MUST_CHECK;
void cart_install_cancel(struct cart_install *take_i); /* NULL is fine */
