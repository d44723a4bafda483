#include "lib/wire/wire_cert.h"

enum { HOST_MAX = 255, ID_MAX = 64, CHAIN_MAX = 64 * 1024, KEY_MAX = 16 * 1024, TICKET_MAX = 128 };

static const struct codec_field cert_fields[] = {
	CODEC_STR(struct wire_cert, host, HOST_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_cert, app_id, ID_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_cert, chain, CHAIN_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_cert, key, KEY_MAX, CODEC_REQUIRED | CODEC_SECRET),
	CODEC_STR(struct wire_cert, source, 16, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_cert, added_at, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_cert, not_before, INT64_MIN, INT64_MAX, 0),
	CODEC_INT(struct wire_cert, not_after, INT64_MIN, INT64_MAX, 0),
	CODEC_STR(struct wire_cert, staple, CHAIN_MAX, CODEC_OMIT_NULL),
	CODEC_EXTRA(struct wire_cert, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_cert, struct wire_cert, cert_fields)

static const struct codec_field ticket_key_fields[] = {
	CODEC_STR(struct wire_ticket_key, key, TICKET_MAX, CODEC_REQUIRED | CODEC_SECRET),
	CODEC_INT(struct wire_ticket_key, made_at, 0, INT64_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_ticket_key, struct wire_ticket_key, ticket_key_fields)

static const struct codec_field tickets_fields[] = {
	CODEC_LIST(struct wire_tickets, keys, &wire_ticket_key_codec, WIRE_TICKET_KEYS_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_tickets, struct wire_tickets, tickets_fields)
