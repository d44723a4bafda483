/* lib/wire/wire_node.h: build order and result, log lines: the node's stream endpoint
 * (doc/protocol.md). */
#pragma once

#include "lib/codec/codec.h"
#include "lib/wire/wire_gear.h"

/* First line of the body of POST /v1/builds; the source tree as a tar stream follows. */
struct wire_build_order {
	char *id;              /* of the build; 16 hex */
	struct wire_gear gear; /* the head gear, with its environment */
	char *deployment_id;
	char *ref;
	char *sha1;
	bool force_clean;
	bool hot_deploy;
	bool is_template; /* the cartridge's own start content */
	bool is_artifact; /* what follows is a deployment as an archive: it is not built */
	struct wire_layers previous; /* of the running deployment */
	char *previous_deps_key;     /* its dependency key; "" = none */
	int64_t timeout_s;           /* default 600 */
	int64_t output_max;          /* bytes; default 10 MiB */
};
DECLARE_CODEC(wire_build_order, struct wire_build_order)

/* Times in µs. */
struct wire_build_times {
	int64_t unpack, configure, build, seal, total;
};
DECLARE_CODEC(wire_build_times, struct wire_build_times)

struct wire_build_result {
	bool ok;
	char *step; /* that failed: "unpack", "pre-build", "build", "seal" … */
	int64_t exit_code;
	char *reason; /* a sentence */
	char *image;  /* OCI manifest digest of the deployment */
	struct wire_layers layers;
	char *deps_key;
	bool deps_reused;
	struct wire_start start;
	char *release;
	struct wire_var_list processes; /* of the Procfile beside web and release: type → command */
	char *health_path;
	struct wire_build_times us;
};
DECLARE_CODEC(wire_build_result, struct wire_build_result)

/* One line of the answer of POST /v1/builds: exactly one of line and result. */
struct wire_build_line {
	char *line;
	struct wire_build_result result;
	bool has_result;
};
DECLARE_CODEC(wire_build_line, struct wire_build_line)

/* One line of GET /v1/gears/UUID/logs. */
struct wire_log_line {
	char *time; /* RFC 3339, UTC, ms */
	char *gear;
	char *instance;
	char *source; /* cartridge name, or "platform" */
	char *line;
};
DECLARE_CODEC(wire_log_line, struct wire_log_line)

/* POST /internal/node/hello: facts, at start and every minute. */
struct wire_node_facts {
	char *id;
	char *version;
	char *stream;    /* address of its stream endpoint: "unix:/path" or "https://host:port" */
	char *wake;      /* likewise, where routers may wake its gears; NULL: nowhere */
	char *addresses; /* of its instances: "100.64.16.0/20"; NULL: not said */
	char *arch;
	int64_t cores;
	int64_t memory_mb;
	int64_t disk_free_mb;
	int64_t disk_total_mb; /* 0: not said */
	int64_t disk_low_percent;
	char *quota;   /* of its volumes: "enforced", "advisory" */
	char *reclaim; /* of the memory of what sleeps: "swap"; "no swap": it stays where it is */
	struct str_list cartridges; /* "nodejs-20" it can run */
	struct str_list lacks; /* "ruby-3.1: /usr/bin/puma is missing: install …" it cannot */
};
DECLARE_CODEC(wire_node_facts, struct wire_node_facts)

/* POST /internal/node/addresses; and the record that it makes (store_key_addresses). */
struct wire_node_addresses {
	char *node;
	char *addresses; /* "100.64.16.0/20" */
};
DECLARE_CODEC(wire_node_addresses, struct wire_node_addresses)
