/* node/node_dirs.h: where everything of a node lies on disk. */
#pragma once

#include <stdint.h>

#include "lib/base/err.h"

struct node_dirs {
	char *data;   /* --data: DIR/node */
	char *run;    /* --run: sockets, run-time state; gone after a reboot is fine */
	char *gears;  /* DATA/gears: UUID.json, UUID.img, UUID/ (the volume, mounted) */
	char *layers; /* DATA/layers/<64 hex>: content-addressed layers, paths relative to a home */
	char *scratch;    /* DATA/scratch: uppers of builders; same file system as layers */
	char *aside;      /* DATA/aside: volumes that nobody claimed, kept 7 days */
	char *cartridges; /* --cartridges: source trees of the stock cartridges */
	char *stack;      /* --stack: stacks/host, with usr/ */
	char *inst;       /* RUN/inst/<id>: bundle and state of a container */
	char *netns;      /* RUN/netns/<id> */
	char *tag;        /* 8 hex digits, of the real path of data: in the names of cgroups, links,
	                     tables, so that several nodes share one machine */
	char *libexec;    /* directory of pinion-spawn, pinion-init, pinion-resolver */
};

/* Makes the directories (data and run 0711, what must not be read by gears 0700) and fills out. */
int node_dirs_init(struct node_dirs *out, const char *data, const char *run, const char *cartridges,
    const char *stack, const char *libexec, struct err *e) MUST_CHECK;
void node_dirs_fini(struct node_dirs *d);

/* Makes GEARS and RUN/netns mounts of their own, shared: what is unmounted below them goes away in
 * the mount namespaces of other processes too (daemons with a view of their own, services), which
 * would keep volumes and networks alive else. There already: nothing. Blocks. */
int node_dirs_share(const struct node_dirs *d, struct err *e) MUST_CHECK;
void node_dirs_unshare(const struct node_dirs *d);

/* Paths; the caller owns them. */
char *node_dirs_gear(const struct node_dirs *d, const char *uuid);    /* GEARS/UUID */
char *node_dirs_layer(const struct node_dirs *d, const char *digest); /* "sha256:…" */
char *node_dirs_instance(const struct node_dirs *d, const char *id);  /* RUN/inst/ID */

/* Percent of the disk that is free, for who is not root. */
int64_t node_dirs_free_percent(const struct node_dirs *d);
/* ERR_LIMIT: less than so much is free; nothing new is begun. Blocks no longer than statvfs. */
int node_dirs_check_room(const struct node_dirs *d, int64_t percent, struct err *e) MUST_CHECK;
