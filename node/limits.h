/* node/limits.h: cgroups of gears and instances: /pinion/TAG/<gear>/<instance> in every hierarchy.
 * Knows cgroup v1, v2 and both mixed (v1 controllers beside a v2 mount for the core files), found
 * in /proc/self/mountinfo. All calls block, none for long but _remove; thread-safe (no state). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"

struct limits;

/* 0 in a member: no limit of that kind. */
struct limits_spec {
	int64_t memory_bytes;
	int64_t cpu_percent; /* 100 = one core */
	int64_t cpu_shares;  /* 2…262144, 1024 = normal */
	int64_t pids;
	int64_t cpu_burst_percent; /* saved up of the quota for a moment; at most cpu_percent */
};

struct limits_usage {
	int64_t memory_bytes;
	int64_t memory_max_bytes; /* highest seen; 0 where the kernel does not say */
	int64_t cpu_usec;
	int64_t pids;
	int64_t oom_kills; /* since the cgroup was made */
};

struct limits_pid_list {
	pid_t *v; /* owned; in the host's pid namespace */
	size_t n;
};
void limits_pid_list_fini(struct limits_pid_list *l);

/* A cgroup: gear NULL: all of this node; instance NULL: the gear's. Names: [A-Za-z0-9-]. */
struct limits_group {
	const char *gear;
	const char *instance;
};

/* mountinfo NULL: /proc/self/mountinfo; a test gives a file that describes plain directories.
 * Remounts favordynmods (a failure is only logged), makes /pinion/TAG, enables controllers. */
struct limits *limits_open(const char *tag, const char *mountinfo, struct err *e) MUST_CHECK
    NONNULL(1, 3);
void limits_close(struct limits *take_l);
DEFINE_AUTO(struct limits *, limits_close)

/* Path for cgroupsPath of the OCI config: "/pinion/TAG/<gear>/<instance>"; caller owns. */
char *limits_path(const struct limits *l, struct limits_group g);
/* "v1", "hybrid" or "v2". */
const char *limits_layout(const struct limits *l);
/* What the processes of the group may see at /sys/fs/cgroup to size themselves by: directories of
 * the group and where they belong ("/sys/fs/cgroup" in v2, one for each controller in v1). */
struct limits_view {
	char *dir;    /* owned */
	char *target; /* owned; absolute */
};
struct limits_view_list {
	struct limits_view *v;
	size_t n;
};
void limits_view_list_fini(struct limits_view_list *l);
void limits_view(const struct limits *l, struct limits_group g, struct limits_view_list *out);
/* Mount point of the v2 hierarchy to be unmounted in the runtime's private mount namespace because
 * crun refuses the mixed layout; NULL: nothing to unmount. Borrowed. */
const char *limits_hide_mount(const struct limits *l);

/* Makes the directories (also those above) in all hierarchies and sets the limits; exists: only
 * sets. spec NULL: only makes. */
int limits_make(const struct limits *l, struct limits_group g, const struct limits_spec *spec,
    struct err *e) MUST_CHECK;
/* The cgroup.procs of each hierarchy: for a process that is to be in the group. */
struct limits_entry {
	int fd[16];
	int n;
};
int limits_entry_open(const struct limits *l, struct limits_group g, struct limits_entry *out,
    struct err *e) MUST_CHECK;
void limits_entry_close(struct limits_entry *en);

/* Is there a process in the group or below? Absent: false. */
bool limits_populated(const struct limits *l, struct limits_group g);
/* Members of the group itself, in no order; absent: none. */
int limits_pids(const struct limits *l, struct limits_group g, struct limits_pid_list *out,
    struct err *e) MUST_CHECK;
/* The member whose pid is 1 in its own pid namespace (the instance's init), or 0. */
pid_t limits_init_pid(const struct limits *l, struct limits_group g);
/* SIGKILL to all in the group and below, without a fork race. Absent is fine. */
int limits_kill(const struct limits *l, struct limits_group g, struct err *e) MUST_CHECK;
/* Waits until the group is empty; ERR_BUSY at the deadline. */
int limits_wait_empty(
    const struct limits *l, struct limits_group g, int64_t timeout_ms, struct err *e) MUST_CHECK;
/* Removes the group and all below it in all hierarchies, trying again while the kernel says busy;
 * ERR_BUSY at the deadline. Absent is fine. Kill first. */
int limits_remove(
    const struct limits *l, struct limits_group g, int64_t timeout_ms, struct err *e) MUST_CHECK;
int limits_usage(const struct limits *l, struct limits_group g, struct limits_usage *out,
    struct err *e) MUST_CHECK;
/* cgroup.freeze or freezer.state. */
int limits_freeze(
    const struct limits *l, struct limits_group g, bool frozen, struct err *e) MUST_CHECK;
/* Was it told to freeze? Absent: false. */
bool limits_is_frozen(const struct limits *l, struct limits_group g);
/* Memory and swap together, as the OCI's runtime-spec counts them, that go with so much memory. */
int64_t limits_memory_swap(const struct limits *l, int64_t memory_bytes);
/* Asks the kernel to move the group's memory to swap and to drop its share of the page cache; the
 * kernel gives what it can. Takes tens of ms. */
int limits_reclaim(const struct limits *l, struct limits_group g, struct err *e) MUST_CHECK;

/* Names of the groups that exist below g (gears, or instances of a gear), over all hierarchies. */
struct str_list;
int limits_list(
    const struct limits *l, const char *gear, struct str_list *out, struct err *e) MUST_CHECK;
