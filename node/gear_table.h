/* node/gear_table.h: the gears of this node, made and destroyed to match what the broker wants.
 * Loop thread; what blocks runs on workers. Level-triggered: each step may die and be repeated. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "node/gear.h"

struct cart_store;
struct container_host;
struct gear_table;
struct layer_fetch_opts;
struct limits;
struct loop;
struct net;
struct node_dirs;
struct volumes;
struct worker;

/* A gear's state has changed; GEAR_GONE: nothing is left, the handle dies with gear_table_forget.
 */
typedef void gear_table_fn(struct gear *g, void *arg);

struct gear_table_opts { /* all borrowed for the table's life */
	struct loop *loop;
	struct worker *worker;
	struct volumes *volumes;
	struct container_host *containers;
	const struct limits *limits;
	const struct node_dirs *dirs;
	struct cart_store *carts;
	struct net *net;      /* of configure runs */
	const char *resolver; /* socket; NULL: none */
	const struct layer_fetch_opts *fetch;
	int64_t disk_low_percent; /* free of the node's disk: with less no gear is made */
	/* Does anything run of its service cartridge cart? */
	bool (*is_served)(const struct gear *g, const char *cart, void *arg);
	gear_table_fn *on_change;
	void *arg;
};

/* Reads the records of all gears that were made here; they stay asleep until applied. Blocks. */
struct gear_table *gear_table_open(const struct gear_table_opts *o, struct err *e) MUST_CHECK;
void gear_table_close(struct gear_table *take_t); /* volumes stay mounted */

/* What the broker wants: makes, changes or destroys. */
void gear_table_apply(struct gear_table *t, const struct wire_gear *spec);
/* The broker no longer names it. After GEAR_GONE: forgets the handle. Else: no order to destroy;
 * the gear sleeps, volume and all. */
void gear_table_forget(struct gear_table *t, const char *uuid);
/* NULL: unknown, or not applied since the start. */
struct gear *gear_table_find(const struct gear_table *t, const char *uuid);
/* Was it made here, applied or not? */
bool gear_table_has(const struct gear_table *t, const char *uuid);
/* All that were made here; appended. */
void gear_table_ids(const struct gear_table *t, struct str_list *out);
typedef void gear_table_each_fn(struct gear *g, void *arg);
void gear_table_each(const struct gear_table *t, gear_table_each_fn *fn, void *arg);

/* Instances hold the gear: it is not destroyed before the last one let go. */
void gear_table_hold(struct gear_table *t, struct gear *g);
void gear_table_release(struct gear_table *t, struct gear *g);
int gear_table_users(const struct gear_table *t, const struct gear *g); /* who hold it */
/* These cartridges have started once, and their post_install has run; what they said is reported.
 */
void gear_table_installed(struct gear_table *t, struct gear *g, const struct str_list *carts);
/* Records without a wish of the broker after a full sync: their volumes are set aside for 7 days.
 */
void gear_table_set_aside_unknown(struct gear_table *t);
/* Unmounts all volumes; blocks. For the end of a node with its gears. */
int gear_table_unmount_all(struct gear_table *t, struct err *e) MUST_CHECK;
