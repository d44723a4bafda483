/* lib/wire/wire_gear.h: what the broker tells a node (gears, instances, deployments) and what the
 * node reports. Types and tables; no I/O. Sent as JSON lines of the node feed (doc/protocol.md). */
#pragma once

#include "lib/codec/codec.h"
#include "lib/wire/wire_storage.h"

struct wire_limits { /* of a gear profile */
	int64_t memory_mb;
	int64_t cpu_percent; /* quota, 100 = one core */
	int64_t cpu_shares;
	int64_t pids;
	int64_t disk_mb;
	int64_t files;             /* inodes of the volume */
	int64_t cpu_burst_percent; /* what may be saved up of the quota for a moment; 0: nothing */
	int64_t net_kbit;          /* a second, each way; 0: no limit */
	int64_t nofile;            /* open files of one process; 0: what the host allows */
};
DECLARE_CODEC(wire_limits, struct wire_limits)

struct wire_var {
	char *name;
	char *value;
};
DECLARE_CODEC(wire_var, struct wire_var)
struct wire_var_list {
	struct wire_var *v;
	size_t n;
};

/* A cartridge in a gear. Its code: the node's own catalogue, found by name, version and
 * cart_version; or, with a digest, an archive that the broker keeps (downloaded or imported). */
struct wire_gear_cart {
	char *name;         /* "nodejs" */
	char *version;      /* "18" */
	char *cart_version; /* "0.1.0" */
	char *vendor;       /* "pinion" */
	bool is_web;        /* web_framework: its processes live in the web instances */
	bool is_service;  /* service: runs in an instance of its own (wire_instance.cart), which no
	                     deployment replaces; its directory lies on the volume */
	char *digest;     /* "sha256:…" of the archive of its code; "" or NULL: the node's own */
	char *manifest;   /* text that stands for its metadata/manifest.yml; NULL: the code's own */
	char *source_url; /* where the archive came from; NULL: stock */
	bool is_stopped;  /* by its owner, alone */
	int64_t restart_gen;            /* raised to restart it alone */
	int64_t added_at;               /* Unix time; 0: with the application */
	int64_t scales_from, scales_to; /* gears, as its owner wants it; 0: not said; to -1: any */
	int64_t storage_gb;             /* more than the profile's, for each gear */
	char *profile;                  /* of the gears of its own; NULL: the application's */
};
DECLARE_CODEC(wire_gear_cart, struct wire_gear_cart)
struct wire_gear_cart_list {
	struct wire_gear_cart *v;
	size_t n;
};
/* The web framework; that of this name. Borrowed; NULL: it is not among them. */
const struct wire_gear_cart *wire_gear_web(const struct wire_gear_cart_list *l);
const struct wire_gear_cart *wire_gear_find(const struct wire_gear_cart_list *l, const char *name);

/* What a cartridge in another gear published: ~/.env/PUBLISHER/NAME. */
struct wire_gear_published {
	char *publisher; /* "postgresql" */
	struct wire_var_list vars;
};
DECLARE_CODEC(wire_gear_published, struct wire_gear_published)
struct wire_gear_published_list {
	struct wire_gear_published *v;
	size_t n;
};

enum wire_want { WIRE_WANT_PRESENT, WIRE_WANT_STOPPED, WIRE_WANT_GONE };
extern const struct codec_name wire_want_names[]; /* present stopped gone */

/* kind "gear"; key = uuid. want=gone is the tombstone: destroy, then report gone. */
struct wire_gear {
	char *uuid;
	char *app_id;
	char *app_name;
	char *domain;
	char *gear_name; /* app name for the head gear, else the uuid */
	char *app_dns;   /* app-domain.suffix */
	char *gear_dns;
	char *profile;
	struct wire_limits limits;
	struct wire_gear_cart_list cartridges; /* configure order */
	struct wire_var_list env;              /* user variables */
	struct wire_storage_list storage;      /* persistent paths */
	char *secret_token;
	char *deployment_branch;
	bool auto_deploy;
	int64_t keep_deployments;
	int64_t env_rev;       /* changes with env */
	int64_t cart_rev;      /* raised by each change of cartridges */
	int64_t extra_disk_gb; /* beside the profile's; limits.disk_mb has it */
	char *moving_to;   /* node: it leaves this one as soon as nothing runs; NULL: it stays */
	char *moved_from;  /* node that has the volume until this one took it over; NULL: none */
	int64_t moving_ms; /* since when it is under way: Unix time in ms */
	bool is_scalable;  /* several gears, maybe: public ports, published values */
	struct wire_gear_published_list published;
	struct wire_var_list asked; /* variables that cartridges asked for: ~/.env/NAME */
	char *auth_token, *auth_iv; /* likewise: ~/.auth; NULL: none */
	int want;                   /* enum wire_want */
};
DECLARE_CODEC(wire_gear, struct wire_gear)

/* Digests ("sha256:…") of extracted layers in the node's content-addressed store; "" = none. */
struct wire_layers {
	char *app;  /* app-root/runtime/repo */
	char *deps; /* dependencies, build-dependencies */
	char *rest; /* what the build wrote elsewhere */
};
DECLARE_CODEC(wire_layers, struct wire_layers)

/* How the web process starts, chosen by the build. */
struct wire_start {
	char *kind; /* "hook", "procfile", "package", "usual", "cartridge" */
	char *
	    command; /* for the cartridge's start script (PINION_START_COMMAND); "" = its own way */
	char *why;   /* a sentence for the build output */
};
DECLARE_CODEC(wire_start, struct wire_start)

/* What an instance is for. */
enum wire_instance_kind {
	WIRE_INSTANCE_WEB,     /* the web framework and the add-ons beside it; has a deployment */
	WIRE_INSTANCE_SERVICE, /* one service cartridge (cart); outlives deployments */
	WIRE_INSTANCE_WORKER,  /* one process type of the Procfile (process); has a deployment */
	WIRE_INSTANCE_RUN,     /* fresh, for one command (run, sessions of an app that does not
	                          run): idles until it is gone; has a deployment */
};
extern const struct codec_name wire_instance_kind_names[]; /* web service worker run */

/* How deep an instance sleeps. Each is cheaper than the one before, and wakes more slowly. */
enum wire_sleep {
	WIRE_SLEEP_AWAKE,
	WIRE_SLEEP_FROZEN,    /* no process runs; memory is kept */
	WIRE_SLEEP_RECLAIMED, /* frozen, and its memory in the swap where there is one */
	WIRE_SLEEP_STOPPED,   /* no process is there */
};
extern const struct codec_name wire_sleep_names[]; /* awake frozen reclaimed stopped */

/* kind "instance"; key = id. The unit of running: one container of a gear. */
struct wire_instance {
	char *id; /* "<first 8 of gear uuid>-<6 hex>", unique for ever */
	char *gear;
	char *app_id;
	int kind;              /* enum wire_instance_kind */
	char *cart;            /* of a service: the cartridge's name; else "" */
	char *process;         /* of a worker: "worker", "clock"; else "" */
	int64_t process_index; /* of a worker: which of its kind, from 1 */
	char *deployment_id;   /* "" for a service */
	char *ref, *sha1;      /* of the deployment, for its metadata.json; or NULL */
	int64_t deployed_at;   /* Unix time in s */
	bool hot_deploy, force_clean_build;
	bool is_restart;  /* made because its owner restarts what runs */
	bool is_template; /* the deployment is the cartridge's own start content */
	struct wire_layers layers;
	struct wire_start start;
	char *release; /* command run once before the switch, in the head gear's new instance; "" */
	bool runs_release; /* this instance is the one that runs it */
	char *health_path; /* "" = a TCP connect is enough, else GET must answer 2xx/3xx/401 */
	int64_t health_interval_s; /* once ready: looked at so often; 0 = not at all */
	int64_t health_failures;   /* in a row, then it is started again; default 3 */
	bool health_status;        /* the cartridge's status is asked, too */
	int64_t start_timeout_s;   /* until ready; default 60 */
	int64_t stop_timeout_s;    /* SIGTERM … SIGKILL; default 30 */
	bool retires;       /* off the route: who is in it is told; goes when they left, or … */
	int64_t grace_s;    /* … after so long */
	int64_t generation; /* raised by each change of want; and of the deployment: then a web
	                       instance that runs takes it over and runs on (hot_deploy) */
	int want;           /* present: run; stopped: stop and keep nothing running; gone: remove */
	bool kills;         /* with want stopped or gone: by SIGKILL, at once */
	int sleep; /* enum wire_sleep: of one that is to be present. No change of generation */
	int64_t sleep_order; /* rises with each order to sleep: a wake names the one it ends, and
	                        what is ordered no higher counts no more */
};
DECLARE_CODEC(wire_instance, struct wire_instance)

enum wire_instance_state {
	WIRE_INSTANCE_NEW,      /* nothing done yet */
	WIRE_INSTANCE_STARTING, /* container made, start script or readiness under way */
	WIRE_INSTANCE_READY,    /* answers on address:port */
	WIRE_INSTANCE_FAILED,   /* gave up (a start that failed); reason and log_tail say why */
	WIRE_INSTANCE_CRASHED,  /* was ready, ended; the node starts it again with backoff */
	WIRE_INSTANCE_STOPPING,
	WIRE_INSTANCE_STOPPED,
	WIRE_INSTANCE_GONE, /* nothing is left of it */
};
extern const struct codec_name wire_instance_state_names[];

/* Reported by the node. */
struct wire_instance_status {
	char *id;
	char *gear;
	int64_t generation; /* of the spec that it answers */
	int state;          /* enum wire_instance_state */
	char *address;      /* "100.64.0.7" when ready; of scalable ones, once it has a network */
	int64_t port;       /* on that address, 8080 */
	char *reason; /* "exited with status 1 after 0.3 s", "never listened on a port within 60 s",
	                 "GET /health answered 500" */
	struct str_list log_tail; /* last lines of its output, when failed */
	struct str_list notes; /* lines for the pusher: "listens on port 3000 instead of $PORT" */
	int64_t started_ms;    /* Unix time in ms */
	int64_t restarts;
	bool has_sessions;   /* somebody is in it */
	char *crash;         /* how it last ended unasked, after it was ready; "" = never */
	int64_t crash_ms;    /* Unix time in ms; 0 = never */
	char *hot_failure;   /* why the deployment that it was given is not, or only in part, in it;
	                        NULL: it is. log_tail has the last lines */
	int sleep;           /* enum wire_sleep: how it is */
	int64_t woken_order; /* the highest order to sleep that a wake has ended */
};
DECLARE_CODEC(wire_instance_status, struct wire_instance_status)
struct wire_instance_status_list {
	struct wire_instance_status *v;
	size_t n;
};

/* What a cartridge's scripts asked of the platform ("ENV_VAR_ADD: …"), and which counts only when
 * they succeeded. */
struct wire_asks {
	struct wire_var_list env;        /* for all gears of the application */
	struct wire_var_list env_unique; /* the same, of names that are not set yet */
	struct str_list env_gone;        /* names */
	struct str_list ssh_keys;        /* "NAME CONTENT": may enter the application's gears */
	struct str_list ssh_keys_gone;   /* NAME */
	char *domain_key;                /* CONTENT: may enter all gears of the domain */
	bool drops_domain_key;
	bool wants_auth; /* a token for the API, of this application alone */
	bool drops_auth;
};
DECLARE_CODEC(wire_asks, struct wire_asks)

/* What the node knows of one cartridge of a gear. */
struct wire_gear_cart_status {
	char *name;
	char *ident;  /* vendor:name:version:cart_version that is configured; "" = none yet */
	char *state;  /* "configuring", "configured", "failed", "gone" (torn down) */
	char *reason; /* when failed: a sentence with the step, then its last output */
	struct str_list messages; /* lines with their prefix: "CLIENT_MESSAGE: …", of the last
	                             step that the broker asked for */
	struct wire_var_list properties; /* CART_PROPERTIES, CART_DATA: shown to the user */
	struct wire_asks asks;           /* of its configuration */
};
DECLARE_CODEC(wire_gear_cart_status, struct wire_gear_cart_status)
struct wire_gear_cart_status_list {
	struct wire_gear_cart_status *v;
	size_t n;
};

struct wire_gear_status {
	char *uuid;
	char *state;  /* "ready", "failed", "gone" */
	char *reason; /* when failed */
	int64_t disk_used_kb;
	char *quota;      /* "enforced"; "advisory": the node has no means but to stop it */
	char *notice;     /* of its disk, for its user; NULL: nothing to say */
	int64_t cart_rev; /* of the spec that state and cartridges answer: while that is worked at,
	                     an older one or no report */
	struct wire_gear_cart_status_list cartridges;
};
DECLARE_CODEC(wire_gear_status, struct wire_gear_status)
struct wire_gear_status_list {
	struct wire_gear_status *v;
	size_t n;
};

/* POST /internal/node/report */
struct wire_report {
	char *node;
	struct wire_gear_status_list gears;
	struct wire_instance_status_list instances;
	bool full; /* all that the node has: what it does not name does not exist there */
};
DECLARE_CODEC(wire_report, struct wire_report)

/* kind "layers"; key = app id: digests that must be kept for that application's deployments. */
struct wire_keep {
	char *app_id;
	struct str_list digests;
};
DECLARE_CODEC(wire_keep, struct wire_keep)
