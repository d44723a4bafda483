#include "lib/wire/wire_backup.h"

enum {
	NAME_LEN = 200,
	HEX_LEN = 64,
	ID_MAX = 64,
	TARGET_MAX = 1024,
	ERROR_MAX = 2000,
	ITEMS_MAX = 2000
};

static const struct codec_field item_fields[] = {
	CODEC_STR(struct wire_backup_item, name, NAME_LEN, CODEC_REQUIRED),
	CODEC_INT(struct wire_backup_item, at, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_backup_item, size, 0, INT64_MAX, 0),
	CODEC_STR(struct wire_backup_item, sha256, HEX_LEN, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_backup_item, struct wire_backup_item, item_fields)

static const struct codec_field backup_fields[] = {
	CODEC_STR(struct wire_backup, app_id, ID_MAX, CODEC_REQUIRED),
	CODEC_BOOL(struct wire_backup, enabled, 0),
	CODEC_INT(struct wire_backup, every_s, 1, 366 * 86400, CODEC_REQUIRED),
	CODEC_INT(struct wire_backup, keep, 1, 1000, CODEC_REQUIRED),
	CODEC_STR(struct wire_backup, to, TARGET_MAX, 0),
	CODEC_INT(struct wire_backup, next, 0, INT64_MAX, 0),
	CODEC_STR(struct wire_backup, last_error, ERROR_MAX, 0),
	CODEC_LIST(struct wire_backup, items, &wire_backup_item_codec, ITEMS_MAX, 0),
	CODEC_EXTRA(struct wire_backup, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_backup, struct wire_backup, backup_fields)
