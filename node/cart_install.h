/* node/cart_install.h: configures a cartridge in a gear, upgrades it, tears it down, in OpenShift
 * v2's order: a short container of its own runs setup, templates and install; what it wrote becomes
 * the cartridge's base layer, or, of a service, its directory svc/NAME. Instances live on
 * meanwhile, but that of a service whose upgrade restarts it. A run that fails leaves nothing. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"

struct cart_install;
struct cart_message;
struct cart_store;
struct container_host;
struct gear;
struct loop;
struct net;
struct node_dirs;
struct wire_gear_cart;
struct worker;

enum cart_install_kind {
	CART_INSTALL,  /* also an upgrade, when another release of it is configured */
	CART_TEARDOWN, /* its code may be gone from here: then only what it left is removed */
};

struct cart_install_opts { /* all borrowed for the run's life */
	struct loop *loop;
	struct worker *worker;
	struct container_host *containers;
	const struct node_dirs *dirs;
	struct cart_store *carts;
	struct net *net;      /* NULL: the scripts have no network */
	const char *resolver; /* socket; NULL: no names */
	/* Of an upgrade that is not compatible: the instance of g->upgrading is to end. false: it
	 * runs still, cart_install_go_on follows. */
	bool (*stop_service)(struct gear *g, void *arg);
	void *arg;
};

/* e NULL: done, the gear's record says so. said: what the scripts printed for the platform.
 * Borrowed for the call. */
typedef void cart_install_fn(const struct err *e, const struct cart_message *said, void *arg);
/* c: of g->spec.cartridges, or for a teardown what is in the record; borrowed for the call. Nobody
 * else changes the gear's record meanwhile. fn: once, later, not after cancel; the handle is gone
 * then. A cartridge with neither scripts nor templates takes no container. NULL: ERR_NOT_FOUND (no
 * such cartridge here). */
struct cart_install *cart_install_start(const struct cart_install_opts *o,
    enum cart_install_kind kind, struct gear *g, const struct wire_gear_cart *c,
    cart_install_fn *fn, void *arg, struct err *e) MUST_CHECK;
void cart_install_go_on(struct cart_install *i); /* a service has ended */
/* Blocks: removes what runs of a daemon that was killed have left in the gear; before the first. */
void cart_install_forget(const char *gear_dir);
void cart_install_cancel(struct cart_install *take_i); /* NULL is fine */
