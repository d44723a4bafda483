/* node/spawn.h: inside of pinion-spawn, the small root program between the daemon and the OCI
 * runtime: makes a container's mounts in a mount namespace of its own and runs the runtime
 * (`start`, `delete`), or enters a container and runs a program there (`enter`). One short-lived
 * process a call, libc only; the order comes as "key\0value\0…" on fd 3. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/base/err.h"

enum {
	SPAWN_ORDER_FD = 3, /* memfd: the order */
	SPAWN_FIRST_FD = 4, /* enter: pidfd of PID 1, then the cgroup.procs; start: these only */
	SPAWN_LOWERS_MAX = 128, /* of an overlay: its options fit one page */
	SPAWN_BINDS_MAX = 64,
	SPAWN_FILES_MAX = 16,
	SPAWN_LINKS_MAX = 16,
	SPAWN_ARGS_MAX = 1024,
	SPAWN_CGROUPS_MAX = 16,
	SPAWN_EXIT_FAILED = 125, /* ours; the reason is on stderr */
};

struct spawn_bind {
	const char *source;
	const char *target; /* below the root; absolute */
	bool ro;
	bool idmapped;
};

struct spawn_file { /* over a file of /etc */
	const char *name;
	const char *text;
};

/* All strings point into the order. */
struct spawn_order {
	/* start */
	const char *id;
	const char *bundle; /* directory, made; config.json and start.log go there */
	const char *config;
	const char *volume;  /* directory of the gear; base lacks it */
	const char *netns;   /* file of the network namespace; "": none */
	const char *notes;   /* text of the bundle's file "notes" */
	const char *runtime; /* path */
	const char *runtime_root;
	const char *cgroup_manager; /* "" = the runtime knows no such option */
	const char *stage; /* directory of the host to be covered in the private namespace */
	const char *hide;  /* mount to be taken away there; "" = none */
	const char *usr;   /* of the stack, mounted read-only */
	const char *etc;
	const char *init; /* program of PID 1 on the host */
	const char *home;
	const char *tmp; /* "" = tmpfs */
	const char *upper, *work;
	long uid_base;
	const char *lowers[SPAWN_LOWERS_MAX]; /* top first */
	int lower_n;
	struct spawn_bind binds[SPAWN_BINDS_MAX];
	int bind_n;
	struct spawn_file files[SPAWN_FILES_MAX];
	int file_n;
	const char *links[SPAWN_LINKS_MAX]; /* other homes that are links to this one */
	int link_n;
	bool unlocked;   /* the home itself belongs to the user */
	bool joins_core; /* PID 1 starts in the v2 core's cgroup, of which the runtime knows nothing
	                  */
	/* enter */
	const char *cwd;
	bool has_terminal;   /* fd 0 becomes the controlling terminal */
	bool is_session;     /* signals are passed on to the program's group */
	const char *seccomp; /* file with an array of struct sock_filter */
	long uid;
	long nofile; /* open files; 0: as they are */
	char *args[SPAWN_ARGS_MAX + 1];
	int arg_n;
	char *env[SPAWN_ARGS_MAX + 1];
	int env_n;
	/* both */
	int cgroups[SPAWN_CGROUPS_MAX]; /* fds of cgroup.procs */
	int cgroup_n;
	int base; /* fd of the mount namespace to begin in (mount_base.h); 0: this one */
};

/* p[0..n) ends with a NUL; it is kept in use. */
int spawn_order_parse(char *p, size_t n, struct spawn_order *out, struct err *e) MUST_CHECK;

/* spawn_mount: all mounts of the container, in the present (private) mount namespace. */
int spawn_mount_all(const struct spawn_order *o, struct err *e) MUST_CHECK;
/* Credentials for what the container's root shall own: fsuid, fsgid base, capabilities kept but
 * CAP_SYS_RESOURCE (it would pass reserved blocks). base 0: back to root. */
int spawn_mount_act_as(long base, struct err *e) MUST_CHECK;
/* A user namespace with the map 0 → base, CONTAINER_IDS ids: its fd. */
int spawn_mount_userns(long base, struct err *e) MUST_CHECK;

/* Each returns the program's exit code. */
int spawn_start(const struct spawn_order *o);
int spawn_delete(const struct spawn_order *o);
int spawn_enter(const struct spawn_order *o);

/* Moves the caller into all cgroups of the order. */
int spawn_join(const struct spawn_order *o, struct err *e) MUST_CHECK;
