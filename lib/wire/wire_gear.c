#include "lib/wire/wire_gear.h"

#include <string.h>

enum {
	ID_MAX = 64,
	UUID_MAX = 64,
	HOST_MAX = 255,
	WORD_MAX = 64,
	CART_NAME_MAX = 128,
	DIGEST_MAX = 128,
	COMMAND_MAX = 8192,
	PATH_LEN_MAX = 1024,
	REASON_MAX = 4096,
	VALUE_MAX = 65536,
	VARS_MAX = 1000,
	CARTRIDGES_MAX = 64,
	LINES_MAX = 1000,
	ITEMS_MAX = 100000,
	DIGESTS_MAX = 10000,
	SECONDS_MAX = 86400,
	MANIFEST_MAX = 64 * 1024,
	URL_MAX = 2048,
};

const struct codec_name wire_want_names[] = {
	{ "present", WIRE_WANT_PRESENT },
	{ "stopped", WIRE_WANT_STOPPED },
	{ "gone", WIRE_WANT_GONE },
	{ NULL, 0 },
};

const struct codec_name wire_instance_state_names[] = {
	{ "new", WIRE_INSTANCE_NEW },
	{ "starting", WIRE_INSTANCE_STARTING },
	{ "ready", WIRE_INSTANCE_READY },
	{ "failed", WIRE_INSTANCE_FAILED },
	{ "crashed", WIRE_INSTANCE_CRASHED },
	{ "stopping", WIRE_INSTANCE_STOPPING },
	{ "stopped", WIRE_INSTANCE_STOPPED },
	{ "gone", WIRE_INSTANCE_GONE },
	{ NULL, 0 },
};

static const struct codec_field limits_fields[] = {
	CODEC_INT(struct wire_limits, memory_mb, 0, INT32_MAX, 0),
	CODEC_INT(struct wire_limits, cpu_percent, 0, 100000, 0),
	CODEC_INT(struct wire_limits, cpu_shares, 0, 262144, 0),
	CODEC_INT(struct wire_limits, pids, 0, 4194304, 0),
	CODEC_INT(struct wire_limits, disk_mb, 0, INT32_MAX, 0),
	CODEC_INT(struct wire_limits, files, 0, INT32_MAX, 0),
	CODEC_INT(struct wire_limits, cpu_burst_percent, 0, 100000, 0),
	CODEC_INT(struct wire_limits, net_kbit, 0, INT32_MAX, 0),
	CODEC_INT(struct wire_limits, nofile, 0, 1048576, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_limits, struct wire_limits, limits_fields)

static const struct codec_field var_fields[] = {
	CODEC_STR(struct wire_var, name, 128, CODEC_REQUIRED),
	CODEC_STR(struct wire_var, value, VALUE_MAX, CODEC_SECRET),
	CODEC_END,
};
DEFINE_CODEC(wire_var, struct wire_var, var_fields)

static const struct codec_field cart_fields[] = {
	CODEC_STR(struct wire_gear_cart, name, CART_NAME_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_gear_cart, version, WORD_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_gear_cart, cart_version, WORD_MAX, 0),
	CODEC_STR(struct wire_gear_cart, vendor, WORD_MAX, 0),
	CODEC_BOOL(struct wire_gear_cart, is_web, 0),
	CODEC_BOOL(struct wire_gear_cart, is_service, 0),
	CODEC_STR(struct wire_gear_cart, digest, DIGEST_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_gear_cart, manifest, MANIFEST_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_gear_cart, source_url, URL_MAX, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_gear_cart, is_stopped, 0),
	CODEC_INT(struct wire_gear_cart, restart_gen, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_gear_cart, added_at, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_gear_cart, scales_from, 0, INT32_MAX, 0),
	CODEC_INT(struct wire_gear_cart, scales_to, -1, INT32_MAX, 0),
	CODEC_INT(struct wire_gear_cart, storage_gb, 0, INT32_MAX, 0),
	CODEC_STR(struct wire_gear_cart, profile, WORD_MAX, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_gear_cart, struct wire_gear_cart, cart_fields)

static const struct codec_field gear_published_fields[] = {
	CODEC_STR(struct wire_gear_published, publisher, CART_NAME_MAX, CODEC_REQUIRED),
	CODEC_LIST(struct wire_gear_published, vars, &wire_var_codec, VARS_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_gear_published, struct wire_gear_published, gear_published_fields)

static const struct codec_field gear_fields[] = {
	CODEC_STR(struct wire_gear, uuid, UUID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_gear, app_id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_gear, app_name, 32, CODEC_REQUIRED),
	CODEC_STR(struct wire_gear, domain, 16, CODEC_REQUIRED),
	CODEC_STR(struct wire_gear, gear_name, UUID_MAX, 0),
	CODEC_STR(struct wire_gear, app_dns, HOST_MAX, 0),
	CODEC_STR(struct wire_gear, gear_dns, HOST_MAX, 0),
	CODEC_STR(struct wire_gear, profile, WORD_MAX, 0),
	CODEC_OBJ(struct wire_gear, limits, &wire_limits_codec, 0),
	CODEC_LIST(struct wire_gear, cartridges, &wire_gear_cart_codec, CARTRIDGES_MAX, 0),
	CODEC_LIST(struct wire_gear, env, &wire_var_codec, VARS_MAX, 0),
	CODEC_LIST(
	    struct wire_gear, storage, &wire_storage_codec, WIRE_STORAGE_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_gear, secret_token, 256, CODEC_SECRET),
	CODEC_STR(struct wire_gear, deployment_branch, 256, 0),
	CODEC_BOOL(struct wire_gear, auto_deploy, 0),
	CODEC_INT(struct wire_gear, keep_deployments, 0, 1000, 0),
	CODEC_INT(struct wire_gear, env_rev, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_gear, cart_rev, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_gear, extra_disk_gb, 0, INT32_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_gear, moving_to, ID_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_gear, moved_from, ID_MAX, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_gear, is_scalable, 0),
	CODEC_LIST(struct wire_gear, published, &wire_gear_published_codec, CARTRIDGES_MAX,
	    CODEC_OMIT_NULL),
	CODEC_LIST(struct wire_gear, asked, &wire_var_codec, VARS_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_gear, auth_token, 256, CODEC_OMIT_NULL | CODEC_SECRET),
	CODEC_STR(struct wire_gear, auth_iv, 256, CODEC_OMIT_NULL | CODEC_SECRET),
	CODEC_INT(struct wire_gear, moving_ms, 0, INT64_MAX, CODEC_OMIT_NULL),
	CODEC_ENUM(struct wire_gear, want, wire_want_names, CODEC_REQUIRED),
	CODEC_END,
};
DEFINE_CODEC(wire_gear, struct wire_gear, gear_fields)

static const struct codec_field layers_fields[] = {
	CODEC_STR(struct wire_layers, app, DIGEST_MAX, 0),
	CODEC_STR(struct wire_layers, deps, DIGEST_MAX, 0),
	CODEC_STR(struct wire_layers, rest, DIGEST_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_layers, struct wire_layers, layers_fields)

static const struct codec_field start_fields[] = {
	CODEC_STR(struct wire_start, kind, WORD_MAX, 0),
	CODEC_STR(struct wire_start, command, COMMAND_MAX, 0),
	CODEC_STR(struct wire_start, why, REASON_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_start, struct wire_start, start_fields)

const struct codec_name wire_instance_kind_names[] = {
	{ "web", WIRE_INSTANCE_WEB },
	{ "service", WIRE_INSTANCE_SERVICE },
	{ "worker", WIRE_INSTANCE_WORKER },
	{ "run", WIRE_INSTANCE_RUN },
	{ NULL, 0 },
};

const struct codec_name wire_sleep_names[] = {
	{ "awake", WIRE_SLEEP_AWAKE },
	{ "frozen", WIRE_SLEEP_FROZEN },
	{ "reclaimed", WIRE_SLEEP_RECLAIMED },
	{ "stopped", WIRE_SLEEP_STOPPED },
	{ NULL, 0 },
};

static const struct codec_field instance_fields[] = {
	CODEC_STR(struct wire_instance, id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_instance, gear, UUID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_instance, app_id, ID_MAX, CODEC_REQUIRED),
	CODEC_ENUM(struct wire_instance, kind, wire_instance_kind_names, 0),
	CODEC_STR(struct wire_instance, cart, CART_NAME_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_instance, process, WORD_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_instance, process_index, 0, 10000, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_instance, deployment_id, ID_MAX, 0),
	CODEC_STR(struct wire_instance, ref, 512, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_instance, sha1, 64, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_instance, deployed_at, 0, INT64_MAX, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_instance, is_restart, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_instance, is_template, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_instance, hot_deploy, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_instance, force_clean_build, CODEC_OMIT_NULL),
	CODEC_OBJ(struct wire_instance, layers, &wire_layers_codec, 0),
	CODEC_OBJ(struct wire_instance, start, &wire_start_codec, 0),
	CODEC_STR(struct wire_instance, release, COMMAND_MAX, 0),
	CODEC_BOOL(struct wire_instance, runs_release, 0),
	CODEC_STR(struct wire_instance, health_path, PATH_LEN_MAX, 0),
	CODEC_INT(struct wire_instance, health_interval_s, 0, SECONDS_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_instance, health_failures, 0, 10000, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_instance, health_status, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_instance, start_timeout_s, 0, SECONDS_MAX, 0),
	CODEC_INT(struct wire_instance, stop_timeout_s, 0, SECONDS_MAX, 0),
	CODEC_BOOL(struct wire_instance, retires, 0),
	CODEC_INT(struct wire_instance, grace_s, 0, INT32_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_instance, generation, 0, INT64_MAX, 0),
	CODEC_ENUM(struct wire_instance, want, wire_want_names, CODEC_REQUIRED),
	CODEC_BOOL(struct wire_instance, kills, CODEC_OMIT_NULL),
	CODEC_ENUM(struct wire_instance, sleep, wire_sleep_names, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_instance, sleep_order, 0, INT64_MAX, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_instance, struct wire_instance, instance_fields)

static const struct codec_field instance_status_fields[] = {
	CODEC_STR(struct wire_instance_status, id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_instance_status, gear, UUID_MAX, CODEC_REQUIRED),
	CODEC_INT(struct wire_instance_status, generation, 0, INT64_MAX, 0),
	CODEC_ENUM(struct wire_instance_status, state, wire_instance_state_names, CODEC_REQUIRED),
	CODEC_STR(struct wire_instance_status, address, 64, 0),
	CODEC_INT(struct wire_instance_status, port, 0, 65535, 0),
	CODEC_STR(struct wire_instance_status, reason, REASON_MAX, 0),
	CODEC_STRS(struct wire_instance_status, log_tail, LINES_MAX, CODEC_OMIT_NULL),
	CODEC_STRS(struct wire_instance_status, notes, LINES_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_instance_status, started_ms, 0, INT64_MAX, 0),
	CODEC_BOOL(struct wire_instance_status, has_sessions, 0),
	CODEC_INT(struct wire_instance_status, restarts, 0, INT64_MAX, 0),
	CODEC_STR(struct wire_instance_status, crash, REASON_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_instance_status, crash_ms, 0, INT64_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_instance_status, hot_failure, REASON_MAX, CODEC_OMIT_NULL),
	CODEC_ENUM(struct wire_instance_status, sleep, wire_sleep_names, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_instance_status, woken_order, 0, INT64_MAX, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_instance_status, struct wire_instance_status, instance_status_fields)

static const struct codec_field asks_fields[] = {
	CODEC_LIST(
	    struct wire_asks, env, &wire_var_codec, VARS_MAX, CODEC_OMIT_NULL | CODEC_SECRET),
	CODEC_LIST(struct wire_asks, env_unique, &wire_var_codec, VARS_MAX,
	    CODEC_OMIT_NULL | CODEC_SECRET),
	CODEC_STRS(struct wire_asks, env_gone, LINES_MAX, CODEC_OMIT_NULL),
	CODEC_STRS(struct wire_asks, ssh_keys, LINES_MAX, CODEC_OMIT_NULL),
	CODEC_STRS(struct wire_asks, ssh_keys_gone, LINES_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_asks, domain_key, COMMAND_MAX, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_asks, drops_domain_key, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_asks, wants_auth, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_asks, drops_auth, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_asks, struct wire_asks, asks_fields)

static const struct codec_field cart_status_fields[] = {
	CODEC_STR(struct wire_gear_cart_status, name, CART_NAME_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_gear_cart_status, ident, REASON_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_gear_cart_status, state, WORD_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_gear_cart_status, reason, REASON_MAX, CODEC_OMIT_NULL),
	CODEC_STRS(struct wire_gear_cart_status, messages, LINES_MAX, CODEC_OMIT_NULL),
	CODEC_LIST(
	    struct wire_gear_cart_status, properties, &wire_var_codec, VARS_MAX, CODEC_OMIT_NULL),
	CODEC_OBJ(struct wire_gear_cart_status, asks, &wire_asks_codec, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_gear_cart_status, struct wire_gear_cart_status, cart_status_fields)

static const struct codec_field gear_status_fields[] = {
	CODEC_STR(struct wire_gear_status, uuid, UUID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_gear_status, state, WORD_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_gear_status, reason, REASON_MAX, 0),
	CODEC_INT(struct wire_gear_status, disk_used_kb, 0, INT64_MAX, 0),
	CODEC_STR(struct wire_gear_status, quota, WORD_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_gear_status, notice, REASON_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_gear_status, cart_rev, 0, INT64_MAX, 0),
	CODEC_LIST(struct wire_gear_status, cartridges, &wire_gear_cart_status_codec,
	    CARTRIDGES_MAX, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_gear_status, struct wire_gear_status, gear_status_fields)

static const struct codec_field report_fields[] = {
	CODEC_STR(struct wire_report, node, ID_MAX, CODEC_REQUIRED),
	CODEC_LIST(struct wire_report, gears, &wire_gear_status_codec, ITEMS_MAX, 0),
	CODEC_LIST(struct wire_report, instances, &wire_instance_status_codec, ITEMS_MAX, 0),
	CODEC_BOOL(struct wire_report, full, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_report, struct wire_report, report_fields)

static const struct codec_field keep_fields[] = {
	CODEC_STR(struct wire_keep, app_id, ID_MAX, CODEC_REQUIRED),
	CODEC_STRS(struct wire_keep, digests, DIGESTS_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_keep, struct wire_keep, keep_fields)

const struct wire_gear_cart *
wire_gear_web(const struct wire_gear_cart_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->v[i].is_web)
			return &l->v[i];
	}
	return NULL;
}

const struct wire_gear_cart *
wire_gear_find(const struct wire_gear_cart_list *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].name, name) == 0)
			return &l->v[i];
	}
	return NULL;
}
