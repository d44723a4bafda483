/* node/disk_guard.h: keeps the node's own disk from filling up. Below a share of free space no
 * builds and no new gears are taken; when almost nothing is left, the gears that grow fastest are
 * frozen until there is space again. Where volumes have no limit of their own (plain directories),
 * a gear beyond its quota is stopped. Loop thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct disk_guard;
struct gear;
struct gear_table;
struct limits;
struct loop;
struct node_dirs;
struct worker;

/* What is told of the gear has changed. */
typedef void disk_guard_fn(struct gear *g, void *arg);

struct disk_guard_opts { /* all borrowed for its life */
	struct loop *loop;
	struct worker *worker;
	struct gear_table *gears;
	const struct limits *limits;
	const struct node_dirs *dirs;
	int64_t critical_percent; /* of the disk, free */
	disk_guard_fn *on_change;
	void *arg;
};

struct disk_guard *disk_guard_new(const struct disk_guard_opts *o);
void disk_guard_free(struct disk_guard *take_g);
