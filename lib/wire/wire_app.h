/* lib/wire/wire_app.h: records of applications, deployments, builds and environment variables as
 * the store holds them. Spec is written by the API, status by the controllers of the broker. */
#pragma once

#include "lib/codec/codec.h"
#include "lib/wire/wire_gear.h"
#include "lib/wire/wire_node.h"

/* What is wanted. */
struct wire_app_spec {
	bool running;        /* start/stop */
	bool deleted;        /* tombstone: the controller removes everything, then the record */
	int64_t gears;       /* number of web gears */
	char *deployment;    /* id of the deployment that is to run; "" = none yet */
	int64_t restart_gen; /* raised by restart */
	int64_t env_rev;     /* raised by a change of variables that is to roll the app */
	int64_t cart_rev;    /* raised by each change of cartridges */
	int64_t cart_roll;   /* instances must be made for this cart_rev at least */
	int64_t cart_at;     /* when the last change began; Unix time */
	bool replace;        /* its instances never run at the same time: by wish, or for a path */
	bool hands_over;     /* and that is the owner's wish */
	int64_t held_ms;     /* Unix time until which no web instance may run (a restore) */
	int64_t asked_gen;   /* restart_gen of the last restart that its owner asked for */
	int64_t replace_gen; /* restart_gen of a restart that hands over, though replace is off */
	bool is_killed;      /* with running false: its processes are killed, not asked */
	int sleep;           /* enum wire_sleep: written by the idler and its commands */
	int64_t sleep_order; /* of the last order to sleep: Unix time in ms, and rises */
	char *canary;        /* id of the deployment that runs beside the one above; NULL: none */
	int64_t canary_percent; /* of the clients get it */
};
DECLARE_CODEC(wire_app_spec, struct wire_app_spec)

/* What is. */
struct wire_app_status {
	char *deployment; /* that the route serves; "" = none */
	char *phase;      /* "idle", "rolling", "stopping", "stopped", "deleting" */
	int64_t restart_gen;
	int64_t env_rev;
	int64_t cart_rev;
	int64_t cart_roll;
	char *failure; /* of the last rollout; "" = it went well */
	char *canary;  /* whose instances the route has for canary_percent; NULL: none */
};
DECLARE_CODEC(wire_app_status, struct wire_app_status)

/* How many of a process type of the Procfile are to run. */
struct wire_process {
	char *name;
	int64_t count;
};
DECLARE_CODEC(wire_process, struct wire_process)
struct wire_process_list {
	struct wire_process *v;
	size_t n;
};

enum { WIRE_PUBLISHED_MAX = 16 * 1024, WIRE_PUBLISHED_COUNT_MAX = 1000 };
/* What a hook of a cartridge's Publishes printed, for the application's other gears. */
struct wire_published {
	char *gear, *cart;
	char *ident;     /* of what published: another one publishes anew */
	char *connector; /* key of Publishes */
	char *type;      /* "ENV:NET_TCP:db:connection-info" */
	char *text;      /* its output; "": it failed */
};
DECLARE_CODEC(wire_published, struct wire_published)
struct wire_published_list {
	struct wire_published *v;
	size_t n;
};

/* What a cartridge of the application asked of the platform, and has: until it goes. */
struct wire_wish {
	char *cart;
	char *ident; /* whose configuration was looked at */
	struct wire_var_list env;
	struct str_list ssh_keys; /* "NAME CONTENT" */
	char *domain_key;         /* CONTENT; of the application, one cartridge has one */
	bool wants_auth;
};
DECLARE_CODEC(wire_wish, struct wire_wish)
struct wire_wish_list {
	struct wire_wish *v;
	size_t n;
};

/* Where an application's log is sent. */
struct wire_drain {
	char *id; /* 8 hex */
	char *url;
};
DECLARE_CODEC(wire_drain, struct wire_drain)
struct wire_drain_list {
	struct wire_drain *v;
	size_t n;
};

/* A host name of the owner's own that leads to the application. */
struct wire_alias {
	char *host;      /* lower case; "*.example.com": all below it */
	int64_t cert_at; /* since when its owner's certificate is there, Unix time; 0: none */
};
DECLARE_CODEC(wire_alias, struct wire_alias)
struct wire_alias_list {
	struct wire_alias *v;
	size_t n;
};

enum { WIRE_APP_IDLE_S_MAX = 366 * 86400, WIRE_ALIASES_MAX = 32 };

struct wire_app { /* key: store_key_app(domain, name) */
	char *id; /* 24 hex; the head gear's uuid is the same */
	char *name;
	char *domain;
	char *owner; /* login that pays: the domain's owner */
	int64_t created_at;
	struct wire_gear_cart_list cartridges;        /* configure order */
	struct wire_gear_cart_list cartridges_before; /* of status.cart_rev: put back when an
	                                                 addition or upgrade fails; empty: never */
	struct wire_storage_list storage; /* persistent paths; the gears' are the same */
	char *profile;
	bool scalable;
	char *initial_git_url; /* NULL = template */
	char *deployment_branch;
	bool branch_by_user; /* set by the user; else the first pushed main or master decides */
	bool auto_deploy;
	int64_t keep_deployments;
	int64_t
	    canary_percent;    /* of the clients get what is pushed, until it is promoted; 0: all */
	char *deployment_type; /* git, binary */
	char *health_path;
	char *routing; /* a wire_routing, as JSON; NULL: nothing is set */
	int64_t stop_timeout_s;
	int64_t request_timeout_s;
	int64_t start_timeout_s;
	struct wire_process_list processes; /* scaled ones, beside web; absent: 0 */
	struct wire_drain_list drains;
	struct wire_alias_list aliases; /* each has a route, and perhaps a certificate */
	int64_t idle_freeze_s; /* seconds without a request until then; 0: as the platform's
	                          setting says; -1: never */
	int64_t idle_reclaim_s;
	int64_t idle_stop_s;
	char *secret_token;
	bool pushed; /* has a history of its own; until then fetch serves the template */
	struct wire_published_list published;
	struct wire_wish_list wishes;
	char *auth_token, *auth_iv; /* of the gears, for the API; NULL: no cartridge asked for it */
	struct wire_app_spec spec;
	struct wire_app_status status;
	char *extra;
};
DECLARE_CODEC(wire_app, struct wire_app)

struct wire_env { /* key: store_key_env(app id) */
	struct wire_var_list vars;
	struct wire_var_list previous; /* those of previous_rev: put back when a rollout fails */
	int64_t previous_rev;          /* env_rev of the application; -1: none */
	char *extra;
};
DECLARE_CODEC(wire_env, struct wire_env)

struct wire_times {
	double *v;
	size_t n;
};

/* One activation of a deployment. */
struct wire_activation {
	int64_t at_ms; /* Unix time in ms */
};
DECLARE_CODEC(wire_activation, struct wire_activation)
struct wire_activation_list {
	struct wire_activation *v;
	size_t n;
};

struct wire_deployment { /* key: store_key_deployment(app id, id) */
	char *id;        /* 8 hex */
	char *app_id;
	char *ref;
	char *sha1; /* whole */
	int64_t created_at;
	bool hot_deploy;
	bool disable_auto_scaling; /* its marker: only its owner scales */
	bool force_clean_build;
	bool is_template;
	char *image;
	struct wire_layers layers;
	char *deps_key;
	struct wire_start start;
	char *release;
	struct wire_var_list processes; /* of the Procfile beside web and release: type → command */
	char *health_path;
	struct wire_activation_list activations;
	int64_t canary_ms; /* when it last became a canary, Unix time in ms; 0: never */
	char *extra;
};
DECLARE_CODEC(wire_deployment, struct wire_deployment)

struct wire_ref {
	char *name; /* refs/heads/main */
	char *oid;
};
DECLARE_CODEC(wire_ref, struct wire_ref)
struct wire_ref_list {
	struct wire_ref *v;
	size_t n;
};
/* Git refs are a record of the store; the bare repository on disk is brought up to it. */
struct wire_refs { /* key: store_key_refs(app id) */
	struct wire_ref_list refs;
	char *head; /* symbolic HEAD: refs/heads/master */
	char *extra;
};
DECLARE_CODEC(wire_refs, struct wire_refs)

struct wire_build { /* key: store_key_build(app id, id) */
	char *id;
	char *app_id;
	char *deployment_id;
	char *ref;
	char *sha1;
	char *state; /* "queued", "building", "rolling", "done", "failed" */
	char *reason;
	char *node;
	bool moves_ref; /* the switch moves ref from old_sha1 to sha1 */
	char *old_sha1; /* "" = the ref did not exist */
	int64_t created_at;
	char *extra;
};
DECLARE_CODEC(wire_build, struct wire_build)

/* An instance with what the broker knows of it. key: store_key_instance(node, id). */
struct wire_instance_record {
	struct wire_instance spec;
	int64_t restart_gen; /* of the app's spec that it was made for */
	int64_t env_rev;     /* likewise */
	int64_t cart_rev;    /* likewise */
	int64_t created_ms;  /* Unix time in ms */
	bool retired;        /* off the route (by the revision of this record); waits for the drain,
	                        then want = gone */
	int64_t retired_ms;  /* Unix time in ms */
	int64_t cart_restart_gen; /* of a service: its cartridge's, likewise */
	int64_t changed_ms;       /* when it was last told something, Unix time in ms */
	char *hot_from; /* the deployment that it ran before it was told to take over another one;
	                   NULL: never */
	char *extra;
};
DECLARE_CODEC(wire_instance_record, struct wire_instance_record)

struct wire_node_record { /* key: store_key_node(id) */
	struct wire_node_facts facts;
	int64_t first_seen;
	char *extra;
};
DECLARE_CODEC(wire_node_record, struct wire_node_record)
