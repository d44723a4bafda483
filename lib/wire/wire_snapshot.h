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
	bool is_deployment; /* that alone: repo/, dependencies/, build-dependencies/ at the top */
	bool is_archive;    /* it was made of one: nothing of it can be built again */
};
DECLARE_CODEC(wire_snapshot_order, struct wire_snapshot_order)

/* Answer of POST /v1/gears/UUID/restore: what lies beside the gear's data now. */
struct wire_snapshot_found {
	bool has_data;
	bool has_git;
	bool was_binary;     /* its current deployment came as an archive */
	bool has_deployment; /* and was unpacked */
	int64_t files;
	int64_t bytes;
	int64_t skipped; /* devices and pipes */
	char *ref;       /* of the deployment that was current; NULL: unknown */
	char *sha1;
	struct str_list left; /* services whose data nobody takes */
};
DECLARE_CODEC(wire_snapshot_found, struct wire_snapshot_found)

/* A restore that is under way: key store_key_restore(app id). */
struct wire_restore {
	char *app_id;
	char *login;           /* who asked */
	char *git_url;         /* for submodules; NULL: none */
	struct str_list gears; /* with what was unpacked, the head gear last */
	bool is_decided;       /* all is unpacked: it is carried through, whatever ends meanwhile */
	bool is_done;          /* but for what is to be removed */
	bool has_git;
	bool has_deployment; /* an archive was deployed, and is again */
	char *ref, *sha1;    /* of the deployment that was current; NULL: unknown */
	char *extra;
};
DECLARE_CODEC(wire_restore, struct wire_restore)
