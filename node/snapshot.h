/* node/snapshot.h: save and restore of gears on the node's stream endpoint (doc/protocol.md). Bytes
 * are made and read in pinion-snapshot, a process without privileges; cartridges are told before
 * and after (pre-snapshot, post-snapshot: a database dumps itself into app-root/data). Loop. */
#pragma once

#include "lib/base/err.h"
#include "node/gear_act.h"

struct http_req;
struct node_dirs;
struct snapshots;
struct worker;

struct snapshots_opts { /* all borrowed for its life */
	struct gear_act_opts act;
	struct worker *worker;
	const struct node_dirs *dirs;
};

struct snapshots *snapshots_new(const struct snapshots_opts *o, struct err *e) MUST_CHECK;
void snapshots_free(struct snapshots *take_s); /* ends what is under way */

/* Each takes the request. gear: uuid. */
void snapshot_handle_save(struct snapshots *s, struct http_req *r, const char *gear);
void snapshot_handle_restore(struct snapshots *s, struct http_req *r, const char *gear);
void snapshot_handle_git(struct snapshots *s, struct http_req *r, const char *gear);
/* repo/, dependencies/, build-dependencies/ of a deployment that came as an archive. */
void snapshot_handle_deployment(struct snapshots *s, struct http_req *r, const char *gear);
/* What the unpacked one has for another gear, by the name of its cartridge. */
void snapshot_handle_part(struct snapshots *s, struct http_req *r, const char *gear);
void snapshot_handle_commit(struct snapshots *s, struct http_req *r, const char *gear);
void snapshot_handle_discard(struct snapshots *s, struct http_req *r, const char *gear);
