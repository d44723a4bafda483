/* node/container_host.h: what all containers of a node share; inside of the container modules. */
#pragma once

#include <stdbool.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/loop/child.h"
#include "node/container.h"
#include "node/limits.h"
#include "node/stack.h"

struct container_clean; /* a cleaning under way */
struct loop;
struct container_host {
	struct loop *loop;            /* borrowed */
	struct worker *worker;        /* borrowed */
	const struct node_dirs *dirs; /* borrowed */
	const struct limits *limits;  /* borrowed */
	struct stack stack;
	char *runtime;      /* owned, absolute */
	char *runtime_root; /* owned: RUN/crun */
	bool is_crun;
	int64_t nofile;
	int base_ns;                    /* mount namespace to start from; -1: the host's */
	char *seccomp;                  /* owned: JSON */
	char *filter;                   /* owned: file with it compiled, for entries */
	char *filter_text;              /* owned: the same in base64, for a runtime that takes it */
	char *spawn;                    /* owned: path of pinion-spawn */
	char *init;                     /* owned: path of pinion-init */
	struct container_clean *cleans; /* owned list: under way */
	char *stage; /* owned: a directory of the host that the helper covers for itself */
};

/* The profile's limits as cgroups have them. */
struct limits_spec container_limits(const struct wire_limits *l);
/* Open files of a process: what the host allows at most. */
int64_t container_nofile(const struct container_host *h, const struct wire_limits *l);
int64_t container_shm_kb(const struct wire_limits *l);

/* The order of `pinion-spawn start`. */
void container_order_start(
    const struct container_host *h, const struct container_spec *s, struct buf *out);
/* … and of `enter`; gear: the container's. */
void container_order_enter(const struct container_host *h, const char *gear, int64_t nofile,
    const struct container_entry *entry, struct buf *out);
void container_order_delete(const struct container_host *h, const char *id, struct buf *out);

/* Runs pinion-spawn MODE with the order; extra: fds given as SPAWN_FIRST_FD and on, of which the
 * last cgroups->n are cgroup.procs. opts: what else the child needs (argv, env, pass_fds are set
 * here). */
struct child *container_spawn(const struct container_host *h, const char *mode, struct buf *order,
    int pidfd, const struct limits_entry *cgroups, struct child_opts *opts, child_out_fn *on_out,
    child_end_fn *on_end, void *arg, struct err *e);

/* container_clean with a handle, for who may die before its end. */
struct container_clean *container_clean_start(
    struct container_host *h, const char *gear, const char *id, container_gone_fn *fn, void *arg);
void container_clean_detach(struct container_clean *c); /* fn is not called; NULL is fine */
/* Ends all cleanings without a word: for the end of the host. */
void container_clean_abort_all(struct container_host *h);
