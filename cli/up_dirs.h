/* cli/up_dirs.h: the directories, users and secrets of `pinion up`. */
#pragma once

#include <sys/types.h>

#include "lib/base/err.h"

struct up_user {
	uid_t uid;
	gid_t gid;
};

struct up_dirs {
	char *data;           /* real path of DIR; all owned */
	char *broker;         /* DIR/broker, the broker's own */
	char *node;           /* DIR/node, root's */
	char *router;         /* DIR/router, the router's own */
	char *secrets;        /* DIR/secrets */
	char *run;            /* /run/pinion/up-<8 hex of DIR>: short, so that socket names fit */
	char *run_broker;     /* in run, the broker's own */
	char *admin_password; /* DIR/admin-password */
	int lock_fd;          /* owned: one `pinion up` for a DIR */
	struct up_user broker_user, router_user;
};

/* The directory `run` of DIR, the caller's; NULL: there is no DIR yet. */
char *up_dirs_run(const char *dir);
/* Makes what is missing. take_lock_fd: the lock, -1: it is to be taken. ERR_BUSY: another `pinion
 * up` has DIR. */
int up_dirs_open(const char *dir, int take_lock_fd, struct up_dirs *out, struct err *e) MUST_CHECK;
/* Copies a file of the administrator's to secrets/NAME, which the broker alone reads. */
int up_dirs_put(
    const struct up_dirs *d, const char *from, const char *name, struct err *e) MUST_CHECK;
/* Frees, gives the lock back. */
void up_dirs_fini(struct up_dirs *d);
/* Makes the SSH host keys in secrets, once, with the program pinion-ssh; the broker reads them. */
int up_dirs_host_keys(const struct up_dirs *d, const char *program, struct err *e) MUST_CHECK;
