/* lib/wire/wire_snapshot.h: saving and restoring a gear: what the broker tells a node, and what the
 * node found (doc/protocol.md). */
#pragma once

#include "lib/codec/codec.h"
#include "lib/wire/wire_gear.h"

/* First line of the body of POST /v1/gears/UUID/snapshot; a tar stream of the git repository
 * (UUID/git/APP.git/…) follows, or nothing. */
struct wire_snapshot_order {
	char *app_name;
	char *deployment_id; /* "" or NULL: nothing is deployed */
	char *metadata;      /* text of its metadata.json */
	char *datetime;      /* name of its directory in app-deployments */
	struct wire_layers layers;
};
DECLARE_CODEC(wire_snapshot_order, struct wire_snapshot_order)

/* Answer of POST /v1/gears/UUID/restore: what lies beside the gear's data now. */
struct wire_snapshot_found {
	bool has_data;
	bool has_git;
	int64_t files;
	int64_t bytes;
	int64_t skipped; /* devices and pipes */
	char *ref;       /* of the deployment that was current; NULL: unknown */
	char *sha1;
};
DECLARE_CODEC(wire_snapshot_found, struct wire_snapshot_found)
