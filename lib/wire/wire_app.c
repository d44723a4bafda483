#include "lib/wire/wire_app.h"

#include "lib/wire/wire_routing.h"

enum {
	ID_MAX = 64,
	APP_NAME_MAX = 32,
	DOMAIN_NAME_MAX = 16,
	LOGIN_MAX = 256,
	URL_MAX = 2048,
	REF_MAX = 256,
	OID_MAX = 64,
	DIGEST_MAX = 128,
	COMMAND_MAX = 8192,
	PATH_LEN_MAX = 1024,
	REASON_MAX = 64 * 1024,
	CARTRIDGES_MAX = 64,
	VARS_MAX = 1000,
	REFS_MAX = 10000,
	ACTIVATIONS_MAX = 10000,
	GEARS_MAX = 10000,
	SECONDS_MAX = 86400,
	PROCESSES_MAX = 100,
	DRAINS_MAX = 20,
};

static const struct codec_field drain_fields[] = {
	CODEC_STR(struct wire_drain, id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_drain, url, URL_MAX, CODEC_REQUIRED | CODEC_SECRET),
	CODEC_END,
};
DEFINE_CODEC(wire_drain, struct wire_drain, drain_fields)

static const struct codec_field alias_fields[] = {
	CODEC_STR(struct wire_alias, host, 255, CODEC_REQUIRED),
	CODEC_INT(struct wire_alias, cert_at, 0, INT64_MAX, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_alias, struct wire_alias, alias_fields)

static const struct codec_field process_fields[] = {
	CODEC_STR(struct wire_process, name, 64, CODEC_REQUIRED),
	CODEC_INT(struct wire_process, count, 0, 10000, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_process, struct wire_process, process_fields)

static const struct codec_field spec_fields[] = {
	CODEC_BOOL(struct wire_app_spec, running, 0),
	CODEC_BOOL(struct wire_app_spec, deleted, 0),
	CODEC_INT(struct wire_app_spec, gears, 0, GEARS_MAX, 0),
	CODEC_STR(struct wire_app_spec, deployment, ID_MAX, 0),
	CODEC_INT(struct wire_app_spec, restart_gen, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_app_spec, env_rev, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_app_spec, cart_rev, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_app_spec, cart_roll, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_app_spec, cart_at, 0, INT64_MAX, 0),
	CODEC_BOOL(struct wire_app_spec, replace, 0),
	CODEC_BOOL(struct wire_app_spec, hands_over, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_app_spec, held_ms, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_app_spec, asked_gen, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_app_spec, replace_gen, 0, INT64_MAX, 0),
	CODEC_BOOL(struct wire_app_spec, is_killed, CODEC_OMIT_NULL),
	CODEC_ENUM(struct wire_app_spec, sleep, wire_sleep_names, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_app_spec, sleep_order, 0, INT64_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_app_spec, canary, ID_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_app_spec, canary_percent, 0, 100, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_app_spec, struct wire_app_spec, spec_fields)

static const struct codec_field status_fields[] = {
	CODEC_STR(struct wire_app_status, deployment, ID_MAX, 0),
	CODEC_STR(struct wire_app_status, phase, 32, 0),
	CODEC_INT(struct wire_app_status, restart_gen, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_app_status, env_rev, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_app_status, cart_rev, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_app_status, cart_roll, 0, INT64_MAX, 0),
	CODEC_STR(struct wire_app_status, failure, REASON_MAX, 0),
	CODEC_STR(struct wire_app_status, canary, ID_MAX, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_app_status, struct wire_app_status, status_fields)

static const struct codec_field published_fields[] = {
	CODEC_STR(struct wire_published, gear, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_published, cart, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_published, ident, REF_MAX, 0),
	CODEC_STR(struct wire_published, connector, DIGEST_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_published, type, DIGEST_MAX, 0),
	CODEC_STR(struct wire_published, text, WIRE_PUBLISHED_MAX, CODEC_SECRET),
	CODEC_END,
};
DEFINE_CODEC(wire_published, struct wire_published, published_fields)

static const struct codec_field wish_fields[] = {
	CODEC_STR(struct wire_wish, cart, APP_NAME_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_wish, ident, REASON_MAX, 0),
	CODEC_LIST(
	    struct wire_wish, env, &wire_var_codec, VARS_MAX, CODEC_OMIT_NULL | CODEC_SECRET),
	CODEC_STRS(struct wire_wish, ssh_keys, VARS_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_wish, domain_key, COMMAND_MAX, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_wish, wants_auth, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_wish, struct wire_wish, wish_fields)

static const struct codec_field app_fields[] = {
	CODEC_STR(struct wire_app, id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_app, name, APP_NAME_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_app, domain, DOMAIN_NAME_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_app, owner, LOGIN_MAX, CODEC_REQUIRED),
	CODEC_INT(struct wire_app, created_at, 0, INT64_MAX, 0),
	CODEC_LIST(struct wire_app, cartridges, &wire_gear_cart_codec, CARTRIDGES_MAX, 0),
	CODEC_LIST(struct wire_app, cartridges_before, &wire_gear_cart_codec, CARTRIDGES_MAX,
	    CODEC_OMIT_NULL),
	CODEC_LIST(
	    struct wire_app, storage, &wire_storage_codec, WIRE_STORAGE_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_app, profile, 64, 0),
	CODEC_BOOL(struct wire_app, scalable, 0),
	CODEC_STR(struct wire_app, initial_git_url, URL_MAX, 0),
	CODEC_STR(struct wire_app, deployment_branch, REF_MAX, 0),
	CODEC_BOOL(struct wire_app, branch_by_user, 0),
	CODEC_BOOL(struct wire_app, auto_deploy, 0),
	CODEC_INT(struct wire_app, keep_deployments, 0, 1000, 0),
	CODEC_INT(struct wire_app, canary_percent, 0, 100, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_app, deployment_type, 16, 0),
	CODEC_STR(struct wire_app, health_path, PATH_LEN_MAX, 0),
	CODEC_RAW(struct wire_app, routing, WIRE_ROUTING_MAX, CODEC_OMIT_NULL | CODEC_SECRET),
	CODEC_INT(struct wire_app, stop_timeout_s, 0, SECONDS_MAX, 0),
	CODEC_INT(struct wire_app, request_timeout_s, 0, SECONDS_MAX, 0),
	CODEC_INT(struct wire_app, start_timeout_s, 0, SECONDS_MAX, 0),
	CODEC_LIST(struct wire_app, processes, &wire_process_codec, PROCESSES_MAX, CODEC_OMIT_NULL),
	CODEC_LIST(struct wire_app, drains, &wire_drain_codec, DRAINS_MAX, CODEC_OMIT_NULL),
	CODEC_LIST(struct wire_app, aliases, &wire_alias_codec, WIRE_ALIASES_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_app, idle_freeze_s, -1, WIRE_APP_IDLE_S_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_app, idle_reclaim_s, -1, WIRE_APP_IDLE_S_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_app, idle_stop_s, -1, WIRE_APP_IDLE_S_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_app, secret_token, 256, CODEC_SECRET),
	CODEC_BOOL(struct wire_app, pushed, 0),
	CODEC_LIST(struct wire_app, published, &wire_published_codec, WIRE_PUBLISHED_COUNT_MAX,
	    CODEC_OMIT_NULL),
	CODEC_LIST(struct wire_app, wishes, &wire_wish_codec, CARTRIDGES_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_app, auth_token, 256, CODEC_OMIT_NULL | CODEC_SECRET),
	CODEC_STR(struct wire_app, auth_iv, 256, CODEC_OMIT_NULL | CODEC_SECRET),
	CODEC_OBJ(struct wire_app, spec, &wire_app_spec_codec, 0),
	CODEC_OBJ(struct wire_app, status, &wire_app_status_codec, 0),
	CODEC_EXTRA(struct wire_app, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_app, struct wire_app, app_fields)

static const struct codec_field env_fields[] = {
	CODEC_LIST(struct wire_env, vars, &wire_var_codec, VARS_MAX, 0),
	CODEC_LIST(struct wire_env, previous, &wire_var_codec, VARS_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_env, previous_rev, -1, INT64_MAX, 0),
	CODEC_EXTRA(struct wire_env, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_env, struct wire_env, env_fields)

static const struct codec_field activation_fields[] = {
	CODEC_INT(struct wire_activation, at_ms, 0, INT64_MAX, CODEC_REQUIRED),
	CODEC_END,
};
DEFINE_CODEC(wire_activation, struct wire_activation, activation_fields)

static const struct codec_field deployment_fields[] = {
	CODEC_STR(struct wire_deployment, id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_deployment, app_id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_deployment, ref, REF_MAX, 0),
	CODEC_STR(struct wire_deployment, sha1, OID_MAX, 0),
	CODEC_INT(struct wire_deployment, created_at, 0, INT64_MAX, 0),
	CODEC_BOOL(struct wire_deployment, hot_deploy, 0),
	CODEC_BOOL(struct wire_deployment, disable_auto_scaling, 0),
	CODEC_BOOL(struct wire_deployment, force_clean_build, 0),
	CODEC_BOOL(struct wire_deployment, is_template, 0),
	CODEC_STR(struct wire_deployment, image, DIGEST_MAX, 0),
	CODEC_OBJ(struct wire_deployment, layers, &wire_layers_codec, 0),
	CODEC_STR(struct wire_deployment, deps_key, DIGEST_MAX, 0),
	CODEC_OBJ(struct wire_deployment, start, &wire_start_codec, 0),
	CODEC_STR(struct wire_deployment, release, COMMAND_MAX, 0),
	CODEC_LIST(
	    struct wire_deployment, processes, &wire_var_codec, PROCESSES_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_deployment, health_path, PATH_LEN_MAX, 0),
	CODEC_LIST(struct wire_deployment, activations, &wire_activation_codec, ACTIVATIONS_MAX, 0),
	CODEC_INT(struct wire_deployment, canary_ms, 0, INT64_MAX, CODEC_OMIT_NULL),
	CODEC_EXTRA(struct wire_deployment, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_deployment, struct wire_deployment, deployment_fields)

static const struct codec_field ref_fields[] = {
	CODEC_STR(struct wire_ref, name, REF_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_ref, oid, OID_MAX, CODEC_REQUIRED),
	CODEC_END,
};
DEFINE_CODEC(wire_ref, struct wire_ref, ref_fields)

static const struct codec_field refs_fields[] = {
	CODEC_LIST(struct wire_refs, refs, &wire_ref_codec, REFS_MAX, 0),
	CODEC_STR(struct wire_refs, head, REF_MAX, 0),
	CODEC_EXTRA(struct wire_refs, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_refs, struct wire_refs, refs_fields)

static const struct codec_field build_fields[] = {
	CODEC_STR(struct wire_build, id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_build, app_id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_build, deployment_id, ID_MAX, 0),
	CODEC_STR(struct wire_build, ref, REF_MAX, 0),
	CODEC_STR(struct wire_build, sha1, OID_MAX, 0),
	CODEC_STR(struct wire_build, state, 16, 0),
	CODEC_STR(struct wire_build, reason, REASON_MAX, 0),
	CODEC_STR(struct wire_build, node, ID_MAX, 0),
	CODEC_BOOL(struct wire_build, moves_ref, 0),
	CODEC_STR(struct wire_build, old_sha1, OID_MAX, 0),
	CODEC_INT(struct wire_build, created_at, 0, INT64_MAX, 0),
	CODEC_EXTRA(struct wire_build, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_build, struct wire_build, build_fields)

static const struct codec_field instance_record_fields[] = {
	CODEC_OBJ(struct wire_instance_record, spec, &wire_instance_codec, CODEC_REQUIRED),
	CODEC_INT(struct wire_instance_record, restart_gen, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_instance_record, env_rev, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_instance_record, cart_rev, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_instance_record, created_ms, 0, INT64_MAX, 0),
	CODEC_BOOL(struct wire_instance_record, retired, 0),
	CODEC_INT(struct wire_instance_record, retired_ms, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_instance_record, cart_restart_gen, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_instance_record, changed_ms, 0, INT64_MAX, 0),
	CODEC_STR(struct wire_instance_record, hot_from, ID_MAX, CODEC_OMIT_NULL),
	CODEC_EXTRA(struct wire_instance_record, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_instance_record, struct wire_instance_record, instance_record_fields)

static const struct codec_field node_record_fields[] = {
	CODEC_OBJ(struct wire_node_record, facts, &wire_node_facts_codec, CODEC_REQUIRED),
	CODEC_INT(struct wire_node_record, first_seen, 0, INT64_MAX, 0),
	CODEC_EXTRA(struct wire_node_record, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_node_record, struct wire_node_record, node_record_fields)
