/* broker/api_json.h: JSON written straight into a buffer; commas by itself. key NULL: inside an
 * array. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"

struct api_json {
	struct buf *b; /* borrowed */
	bool comma;    /* something stands before in this object or array */
};

void api_json_obj(struct api_json *j, const char *key);
void api_json_end_obj(struct api_json *j);
void api_json_arr(struct api_json *j, const char *key);
void api_json_end_arr(struct api_json *j);
void api_json_str(struct api_json *j, const char *key, const char *s); /* NULL: null */
void api_json_fmt(struct api_json *j, const char *key, const char *fmt, ...) PRINTF(3, 4);
void api_json_int(struct api_json *j, const char *key, int64_t v);
void api_json_bool(struct api_json *j, const char *key, bool v);
void api_json_null(struct api_json *j, const char *key);
void api_json_raw(struct api_json *j, const char *key, const char *json);
/* Unix seconds as YYYY-MM-DDTHH:MM:SSZ. */
void api_json_time(struct api_json *j, const char *key, int64_t s);
void api_json_strs(struct api_json *j, const char *key, const struct str_list *l);
