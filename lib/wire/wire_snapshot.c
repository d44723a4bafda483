#include "lib/wire/wire_snapshot.h"

enum { NAME_MAX_LEN = 64, METADATA_MAX = 16384, REF_MAX = 256, URL_MAX = 2048, GEARS_MAX = 256 };

static const struct codec_field order_fields[] = {
	CODEC_STR(struct wire_snapshot_order, app_name, NAME_MAX_LEN, CODEC_REQUIRED),
	CODEC_STR(struct wire_snapshot_order, deployment_id, NAME_MAX_LEN, 0),
	CODEC_STR(struct wire_snapshot_order, metadata, METADATA_MAX, 0),
	CODEC_STR(struct wire_snapshot_order, datetime, NAME_MAX_LEN, 0),
	CODEC_OBJ(struct wire_snapshot_order, layers, &wire_layers_codec, 0),
	CODEC_BOOL(struct wire_snapshot_order, is_deployment, 0),
	CODEC_BOOL(struct wire_snapshot_order, is_archive, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_snapshot_order, struct wire_snapshot_order, order_fields)

static const struct codec_field found_fields[] = {
	CODEC_BOOL(struct wire_snapshot_found, has_data, 0),
	CODEC_BOOL(struct wire_snapshot_found, has_git, 0),
	CODEC_BOOL(struct wire_snapshot_found, was_binary, 0),
	CODEC_BOOL(struct wire_snapshot_found, has_deployment, 0),
	CODEC_INT(struct wire_snapshot_found, files, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_snapshot_found, bytes, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_snapshot_found, skipped, 0, INT64_MAX, 0),
	CODEC_STR(struct wire_snapshot_found, ref, REF_MAX, 0),
	CODEC_STR(struct wire_snapshot_found, sha1, NAME_MAX_LEN, 0),
	CODEC_STRS(struct wire_snapshot_found, left, REF_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_snapshot_found, struct wire_snapshot_found, found_fields)

static const struct codec_field restore_fields[] = {
	CODEC_STR(struct wire_restore, app_id, NAME_MAX_LEN, CODEC_REQUIRED),
	CODEC_STR(struct wire_restore, login, REF_MAX, 0),
	CODEC_STR(struct wire_restore, git_url, URL_MAX, 0),
	CODEC_STRS(struct wire_restore, gears, GEARS_MAX, 0),
	CODEC_BOOL(struct wire_restore, is_decided, 0),
	CODEC_BOOL(struct wire_restore, is_done, 0),
	CODEC_BOOL(struct wire_restore, has_git, 0),
	CODEC_BOOL(struct wire_restore, has_deployment, 0),
	CODEC_STR(struct wire_restore, ref, REF_MAX, 0),
	CODEC_STR(struct wire_restore, sha1, NAME_MAX_LEN, 0),
	CODEC_EXTRA(struct wire_restore, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_restore, struct wire_restore, restore_fields)
