/* lib/codec/codec_value.h: inside lib/codec: a parsed document is a jansson tree. */
#pragma once

#include <jansson.h>

#include "lib/codec/codec.h"

static inline const json_t *
codec_value_json(const struct codec_value *v)
{
	return (const json_t *)(const void *)v;
}

static inline const struct codec_value *
codec_value_of(const json_t *j)
{
	return (const struct codec_value *)(const void *)j;
}

/* The tree of a JSON text, or NULL; bounded in depth by jansson (2048) and in size by n. */
json_t *codec_value_parse(const char *json, size_t n, struct err *e);
