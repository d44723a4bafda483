/* router/memory_watch.h: looks at what the router takes and may take, ten times a second, and tells
 * the lanes when it is much: what is bounded is the process's own share (--memory-max), its cgroup
 * with all above it, or its address space (RLIMIT_AS), whichever is closest. */
#pragma once

#include <stdint.h>

#include "router/shed.h"

struct fleet;
struct loop;
struct memory_watch;
struct router_conf;

/* All borrowed, outlive it. Before the fleet starts. */
struct memory_watch *memory_watch_new(
    struct loop *l, struct fleet *f, const struct router_conf *conf);
/* Before the fleet is freed. NULL is fine. */
void memory_watch_free(struct memory_watch *take_w);

/* What is used of a limit; max = 0: there is none. */
struct memory_use {
	int64_t used, max;
};
/* The closest limit of those of a process: proc is its directory in procfs, root that of cgroups.
 * mb: --memory-max. Blocks as long as reading such files does. */
struct memory_use memory_watch_look(const char *proc, const char *root, int64_t mb);
/* now: the level so far, which is left some way below where it begins. */
enum shed_level memory_watch_level(struct memory_use u, enum shed_level now);
