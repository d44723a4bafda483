#include "lib/wire/wire_node.h"

enum {
	ID_MAX = 64,
	REF_MAX = 256,
	OID_MAX = 64,
	DIGEST_MAX = 128,
	COMMAND_MAX = 8192,
	PATH_LEN_MAX = 1024,
	REASON_MAX = 4096,
	LINE_MAX_LEN = 64 * 1024,
	CARTRIDGES_MAX = 1000,
	PROCESSES_MAX = 100,
	RANGE_MAX = 18,
};

static const struct codec_field order_fields[] = {
	CODEC_STR(struct wire_build_order, id, ID_MAX, CODEC_REQUIRED),
	CODEC_OBJ(struct wire_build_order, gear, &wire_gear_codec, CODEC_REQUIRED),
	CODEC_STR(struct wire_build_order, deployment_id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_build_order, ref, REF_MAX, 0),
	CODEC_STR(struct wire_build_order, sha1, OID_MAX, 0),
	CODEC_BOOL(struct wire_build_order, force_clean, 0),
	CODEC_BOOL(struct wire_build_order, hot_deploy, 0),
	CODEC_BOOL(struct wire_build_order, is_template, 0),
	CODEC_BOOL(struct wire_build_order, is_artifact, 0),
	CODEC_OBJ(struct wire_build_order, previous, &wire_layers_codec, 0),
	CODEC_STR(struct wire_build_order, previous_deps_key, DIGEST_MAX, 0),
	CODEC_INT(struct wire_build_order, timeout_s, 0, 86400, 0),
	CODEC_INT(struct wire_build_order, output_max, 0, INT64_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_build_order, struct wire_build_order, order_fields)

static const struct codec_field times_fields[] = {
	CODEC_INT(struct wire_build_times, unpack, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_build_times, configure, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_build_times, build, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_build_times, seal, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_build_times, total, 0, INT64_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_build_times, struct wire_build_times, times_fields)

static const struct codec_field result_fields[] = {
	CODEC_BOOL(struct wire_build_result, ok, 0),
	CODEC_STR(struct wire_build_result, step, 64, 0),
	CODEC_INT(struct wire_build_result, exit_code, -1, 255, 0),
	CODEC_STR(struct wire_build_result, reason, REASON_MAX, 0),
	CODEC_STR(struct wire_build_result, image, DIGEST_MAX, 0),
	CODEC_OBJ(struct wire_build_result, layers, &wire_layers_codec, 0),
	CODEC_STR(struct wire_build_result, deps_key, DIGEST_MAX, 0),
	CODEC_BOOL(struct wire_build_result, deps_reused, 0),
	CODEC_OBJ(struct wire_build_result, start, &wire_start_codec, 0),
	CODEC_STR(struct wire_build_result, release, COMMAND_MAX, 0),
	CODEC_LIST(
	    struct wire_build_result, processes, &wire_var_codec, PROCESSES_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_build_result, health_path, PATH_LEN_MAX, 0),
	CODEC_OBJ(struct wire_build_result, us, &wire_build_times_codec, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_build_result, struct wire_build_result, result_fields)

static const struct codec_field line_fields[] = {
	CODEC_STR(struct wire_build_line, line, LINE_MAX_LEN, CODEC_OMIT_NULL),
	CODEC_OBJ(struct wire_build_line, result, &wire_build_result_codec, 0),
	CODEC_BOOL(struct wire_build_line, has_result, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_build_line, struct wire_build_line, line_fields)

static const struct codec_field log_line_fields[] = {
	CODEC_STR(struct wire_log_line, time, 40, 0),
	CODEC_STR(struct wire_log_line, gear, ID_MAX, 0),
	CODEC_STR(struct wire_log_line, instance, ID_MAX, 0),
	CODEC_STR(struct wire_log_line, source, 128, 0),
	CODEC_STR(struct wire_log_line, line, LINE_MAX_LEN, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_log_line, struct wire_log_line, log_line_fields)

static const struct codec_field facts_fields[] = {
	CODEC_STR(struct wire_node_facts, id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_node_facts, version, 64, 0),
	CODEC_STR(struct wire_node_facts, stream, PATH_LEN_MAX, 0),
	CODEC_STR(struct wire_node_facts, wake, PATH_LEN_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_node_facts, addresses, RANGE_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_node_facts, arch, 32, 0),
	CODEC_INT(struct wire_node_facts, cores, 0, 65536, 0),
	CODEC_INT(struct wire_node_facts, memory_mb, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_node_facts, disk_free_mb, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_node_facts, disk_total_mb, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_node_facts, disk_low_percent, 0, 100, 0),
	CODEC_STR(struct wire_node_facts, quota, 32, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_node_facts, reclaim, 32, CODEC_OMIT_NULL),
	CODEC_STRS(struct wire_node_facts, cartridges, CARTRIDGES_MAX, 0),
	CODEC_STRS(struct wire_node_facts, lacks, CARTRIDGES_MAX, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_node_facts, struct wire_node_facts, facts_fields)

static const struct codec_field addresses_fields[] = {
	CODEC_STR(struct wire_node_addresses, node, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_node_addresses, addresses, RANGE_MAX, CODEC_REQUIRED),
	CODEC_END,
};
DEFINE_CODEC(wire_node_addresses, struct wire_node_addresses, addresses_fields)
