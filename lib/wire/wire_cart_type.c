#include "lib/wire/wire_cart_type.h"

enum { ID_MAX = 64, WORD_MAX = 128, MANIFEST_MAX = 64 * 1024, URL_MAX = 2048 };

static const struct codec_field type_fields[] = {
	CODEC_STR(struct wire_cart_type, id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_cart_type, name, WORD_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_cart_type, version, WORD_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_cart_type, cart_version, WORD_MAX, 0),
	CODEC_STR(struct wire_cart_type, vendor, WORD_MAX, 0),
	CODEC_STR(struct wire_cart_type, manifest, MANIFEST_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_cart_type, digest, WORD_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_cart_type, source_url, URL_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_cart_type, imported_by, WORD_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_cart_type, created_at, 0, INT64_MAX, 0),
	CODEC_BOOL(struct wire_cart_type, is_active, 0),
	CODEC_INT(struct wire_cart_type, activated_at, 0, INT64_MAX, 0),
	CODEC_BOOL(struct wire_cart_type, is_obsolete, 0),
	CODEC_EXTRA(struct wire_cart_type, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_cart_type, struct wire_cart_type, type_fields)
