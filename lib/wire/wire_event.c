#include "lib/wire/wire_event.h"

enum { ID_MAX = 64, WORD_MAX = 64 };

static const struct codec_field event_fields[] = {
	CODEC_STR(struct wire_event, id, ID_MAX, CODEC_REQUIRED),
	CODEC_INT(struct wire_event, at_ms, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_event, last_ms, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_event, count, 0, INT64_MAX, 0),
	CODEC_STR(struct wire_event, kind, WORD_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_event, text, WIRE_EVENT_TEXT_MAX, 0),
	CODEC_STR(struct wire_event, gear, ID_MAX, 0),
	CODEC_STR(struct wire_event, instance, ID_MAX, 0),
	CODEC_EXTRA(struct wire_event, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_event, struct wire_event, event_fields)
