#include "lib/wire/wire_act.h"

enum {
	NAME_LEN = 128,
	ARG_MAX_N = 64,
	ENV_MAX_N = 256,
	TEXT_LEN = 256 * 1024,
	REASON_LEN = 4096,
	LINES_MAX = 1000,
	CARTS_MAX = 100,
	TIMEOUT_MAX_S = 24 * 3600,
};

static const struct codec_field order_fields[] = {
	CODEC_STR(struct wire_act_order, cart, NAME_LEN, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_act_order, action, NAME_LEN, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_act_order, hook, NAME_LEN, CODEC_OMIT_NULL),
	CODEC_STRS(struct wire_act_order, args, ARG_MAX_N, 0),
	CODEC_LIST(struct wire_act_order, env, &wire_var_codec, ENV_MAX_N, CODEC_SECRET),
	CODEC_INT(struct wire_act_order, timeout_s, 0, TIMEOUT_MAX_S, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_act_order, struct wire_act_order, order_fields)

static const struct codec_field asked_fields[] = {
	CODEC_STR(struct wire_asked, cart, NAME_LEN, CODEC_REQUIRED),
	CODEC_OBJ(struct wire_asked, asks, &wire_asks_codec, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_asked, struct wire_asked, asked_fields)

static const struct codec_field result_fields[] = {
	CODEC_BOOL(struct wire_act_result, ok, 0),
	CODEC_INT(struct wire_act_result, exit_code, -1, 255, 0),
	CODEC_STR(struct wire_act_result, cart, NAME_LEN, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_act_result, reason, REASON_LEN, CODEC_OMIT_NULL),
	CODEC_STRS(struct wire_act_result, messages, LINES_MAX, 0),
	CODEC_LIST(struct wire_act_result, properties, &wire_var_codec, LINES_MAX, 0),
	CODEC_LIST(struct wire_act_result, asked, &wire_asked_codec, CARTS_MAX, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_act_result, struct wire_act_result, result_fields)

static const struct codec_field line_fields[] = {
	CODEC_STR(struct wire_act_line, cart, NAME_LEN, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_act_line, fd, 0, 2, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_act_line, text, TEXT_LEN, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_act_line, has_result, CODEC_OMIT_NULL),
	CODEC_OBJ(struct wire_act_line, result, &wire_act_result_codec, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_act_line, struct wire_act_line, line_fields)
