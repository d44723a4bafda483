/* node/container.h: one container: made from a spec through the OCI runtime, entered, killed,
 * destroyed, found again after a restart of the daemon. All asynchronous on the loop: mounts happen
 * in the helper pinion-spawn, cleaning on a worker. Used by instances, configure runs and builders.
 *
 * The container sees: a read-only root (host stack, curated /etc), its home
 * /var/lib/openshift/UUID as an overlay, the binds, /tmp, its network namespace. PID 1 is
 * /run/pinion/init (pinion-init, read-only bind), user 1000 = the gear's user, no capability. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/loop/child.h"
#include "lib/wire/wire_gear.h"
#include "node/container_ids.h"

struct limits;
struct loop;
struct node_dirs;
struct worker;
struct container;
struct container_host; /* what all containers of a node share */

struct container_host_opts {
	const struct node_dirs *dirs; /* borrowed for the host's life */
	const struct limits *limits;  /* borrowed for the host's life */
	const char *runtime;          /* OCI runtime: a path, or a name on PATH ("crun") */
	const char *seccomp; /* containers-common's seccomp.json; NULL: where Debian has it */
};

/* Blocks (start of the daemon): stack mounts, curated /etc, seccomp profile, probes. */
struct container_host *container_host_new(
    struct loop *l, struct worker *w, const struct container_host_opts *o, struct err *e);
/* Forgets what is under way; before the worker and the host are freed, in that order. */
void container_host_stop(struct container_host *h);
void container_host_free(struct container_host *take_h); /* containers run on */

struct container_bind {
	char *source; /* host path */
	char *target; /* absolute; "~/x" is beneath the home. Made when it is in no layer */
	bool ro;
	bool idmapped; /* ids on disk are the container's (volume, layers): map them */
};
struct container_bind_list {
	struct container_bind *v;
	size_t n;
};

/* Plain data, all strings owned: container_spec_fini. Paths are host paths on file systems that
 * can be idmapped; on disk they carry container ids (0 and 1000). */
struct container_spec {
	char *id;               /* unique for ever: "<8 of uuid>-<6 hex>", "build-<16 hex>" */
	char *gear;             /* uuid; names the home, user and group */
	int64_t uid_base;       /* of gear_uid_base */
	struct str_list lowers; /* of the home's overlay, top first; at least one */
	char *upper; /* empty or of an earlier run; NULL: made below scratch of its own */
	char *work;  /* beside upper; holds "work" made beforehand (full disks) */
	char *tmp;   /* bound on /tmp; NULL: tmpfs of 64 MB */
	struct container_bind_list binds; /* in this order, after the overlay */
	char *netns;                      /* path of a namespace; NULL: an empty one of its own */
	struct wire_limits limits;
	struct wire_var_list env; /* of PID 1; HOME, PATH are the caller's affair */
	char *hostname;
	struct str_list hosts;      /* further lines of /etc/hosts */
	struct str_list home_links; /* other gears' uuids that are links to this home */
	struct str_list args;       /* PID 1's; args.v[0] is normally "/run/pinion/init" */
	struct str_list notes;      /* "key=value", kept for adoption: container_note */
	bool is_builder; /* home owned by the user and unlocked; cgroup marked as a build */
};
void container_spec_fini(struct container_spec *s);
void container_spec_bind(
    struct container_spec *s, const char *source, const char *target, bool ro, bool idmapped);
void container_spec_env(struct container_spec *s, const char *name, const char *value);

/* e NULL: PID 1 runs. Else nothing is left of it but the handle, to be freed. */
typedef void container_started_fn(struct container *c, const struct err *e, void *arg);
/* The spec is borrowed for the call. fn: once, later, not after container_free. NULL: ERR_INVALID
 * (id, too many lowers), ERR_SYSTEM. */
struct container *container_start(struct container_host *h, const struct container_spec *s,
    container_started_fn *fn, void *arg, struct err *e) MUST_CHECK;

/* Looks for a living container left by an earlier daemon. c NULL: none lives (but remains may lie
 * about: container_clean). */
typedef void container_adopted_fn(struct container *c, void *arg);
void container_adopt(struct container_host *h, const char *gear, const char *id,
    container_adopted_fn *fn, void *arg);

pid_t container_pid(const struct container *c); /* PID 1's, in the host's namespace; 0: none */
const char *container_note(const struct container *c, const char *key); /* borrowed or NULL */
/* Told once when PID 1 has ended. */
typedef void container_end_fn(struct container *c, void *arg);
void container_on_end(struct container *c, container_end_fn *fn, void *arg);

struct container_entry {
	const char *const
	    *argv; /* argv[0] with '/': path in the container; else found on env's PATH */
	const char *const *env;    /* "NAME=value", complete: nothing is inherited */
	const char *cwd;           /* NULL: the home */
	bool has_stdin;            /* as child_opts: pipe for child_write */
	int in_fd, out_fd, err_fd; /* > 0: as child_opts */
	bool merge_stderr;
	bool has_terminal; /* in_fd is a terminal of container_terminal: the controlling one */
	bool is_session;   /* child_kill with HUP INT QUIT TERM USR1 USR2 CONT WINCH ALRM reaches
	                      the program's process group; a signal that killed the program is the
	                      child's end too */
	size_t out_max;
	int64_t timeout_ms;
};
/* A terminal of the container's own devpts, owned by its user: both ends (the caller's), close-on-
 * exec. ERR_LIMIT: it has too many. */
int container_terminal(
    struct container *c, int *out_master, int *out_slave, struct err *e) MUST_CHECK;
/* Runs a program in it: all its namespaces and cgroups, user 1000, umask 077, session of its own,
 * no_new_privs, seccomp. It dies with the daemon, and with child_free. The child's exit code is the
 * program's; 126, 127 with a line on stderr when it could not run. Callbacks as child_start. */
struct child *container_enter(struct container *c, const struct container_entry *entry,
    child_out_fn *on_out, child_end_fn *on_end, void *arg, struct err *e) MUST_CHECK;

/* The running container's limits become these at once: memory, processor, processes, /dev/shm, open
 * files (of what runs; more only where the node may raise them). Blocks: for workers. */
int container_set_limits(const struct container_host *h, const char *gear, const char *id,
    const struct wire_limits *l, struct err *e) MUST_CHECK;

int container_signal(struct container *c, int signo); /* to PID 1; -1: it is gone */
void container_kill(struct container *c);             /* SIGKILL to every process, at once */

/* Kills what lives, waits until it is empty, removes runtime state, cgroups, bundle. Then fn (may
 * be NULL); e: something is left, which container_clean may try again. The upper is the caller's.
 * The handle is freed by this. */
typedef void container_gone_fn(const struct err *e, void *arg);
void container_destroy(struct container *take_c, container_gone_fn *fn, void *arg);
/* The same by name, for remains without a handle. */
void container_clean(
    struct container_host *h, const char *gear, const char *id, container_gone_fn *fn, void *arg);
/* Forgets it; it runs on. A start under way is killed. NULL is fine. */
void container_free(struct container *take_c);

/* Containers of which cgroups or bundles exist, as "UUID/ID"; blocks. For orphans and inventory. */
int container_list(struct container_host *h, struct str_list *out, struct err *e) MUST_CHECK;
