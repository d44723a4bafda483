#include "lib/wire/wire_feed.h"

enum { KIND_MAX = 32, KEY_MAX = 512, VALUE_MAX = 16 * 1024 * 1024 };

const struct codec_name wire_feed_type_names[] = {
	{ "reset", WIRE_FEED_RESET },
	{ "put", WIRE_FEED_PUT },
	{ "delete", WIRE_FEED_DELETE },
	{ "sync", WIRE_FEED_SYNC },
	{ NULL, 0 },
};

static const struct codec_field feed_fields[] = {
	CODEC_ENUM(struct wire_feed, type, wire_feed_type_names, CODEC_REQUIRED),
	CODEC_STR(struct wire_feed, kind, KIND_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_feed, key, KEY_MAX, CODEC_OMIT_NULL),
	CODEC_RAW(struct wire_feed, value, VALUE_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_feed, revision, 0, INT64_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_feed, cluster, 64, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_feed, epoch, 0, INT64_MAX, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_feed, struct wire_feed, feed_fields)
