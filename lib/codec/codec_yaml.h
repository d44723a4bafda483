/* lib/codec/codec_yaml.h: YAML 1.1 (libyaml) to a codec_value tree. Scalars stay strings, but
 * plain true/false/null and plain integers, so that quoted versions keep their text. Aliases, tags
 * and depth beyond 32 are refused; keys may carry a leading ':' (Ruby symbols), which is dropped.
 */
#pragma once

#include "lib/codec/codec.h"

/* Caller frees with codec_value_free. ERR_INVALID names line and column. max_bytes bounds input. */
struct codec_value *codec_yaml_parse(const char *p, size_t n, struct err *e);
