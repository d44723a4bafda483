/* broker/api_param.h: the parameters of a call, one map: path before body before query string.
 * Bodies are JSON or forms with Rails nesting (`a[]=1`, `a[][name]=x`, `a[b]=y`). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/codec/codec.h"

struct api_param; /* the map */

enum {
	API_PARAM_BODY_MAX = 1024 * 1024, /* bytes of a body */
	API_PARAM_PAIRS_MAX = 1000,       /* of a form or query string */
	API_PARAM_DEPTH_MAX = 8,          /* of a form's keys */
	API_PARAM_PATH_MAX = 8,
};

struct api_param *api_param_new(void);
void api_param_free(struct api_param *take_p);

/* content_type NULL: JSON if it looks so, else a form. An empty body is none. ERR_INVALID: not
 * UTF-8, malformed, or not an object; ERR_LIMIT: too many, too deep. */
int api_param_body(
    struct api_param *p, const char *content_type, struct str body, struct err *e) MUST_CHECK;
int api_param_query(struct api_param *p, const char *query, struct err *e) MUST_CHECK;
/* Copies. */
void api_param_path(struct api_param *p, struct str name, struct str value);

/* A form's text as JSON text, appended. */
int api_param_form_to_json(struct str form, struct buf *out, struct err *e) MUST_CHECK;

/* Getters give -1 and ERR_INVALID with the field when the type or bounds are wrong. Absent and null
 * are the same: out is left alone. Results are borrowed from p. */
bool api_param_has(const struct api_param *p, const char *name); /* there, not null */
const struct codec_value *api_param_value(const struct api_param *p, const char *name);
int api_param_str(const struct api_param *p, const char *name, size_t max, const char **out,
    struct err *e) MUST_CHECK;
int api_param_bool(
    const struct api_param *p, const char *name, bool *out, struct err *e) MUST_CHECK;
int api_param_int(const struct api_param *p, const char *name, int64_t min, int64_t max,
    int64_t *out, struct err *e) MUST_CHECK;
/* An array of strings, or one string. */
int api_param_strs(const struct api_param *p, const char *name, size_t max, struct str_list *out,
    struct err *e) MUST_CHECK;
/* The body's object, borrowed; NULL: there is none. */
const struct codec_value *api_param_all_of_body(const struct api_param *p);
/* A path parameter; NULL: the route has none of that name. */
const char *api_param_of_path(const struct api_param *p, const char *name);

/* The same on one value; field names it in errors. */
int api_param_as_str(const struct codec_value *v, const char *field, size_t max, const char **out,
    struct err *e) MUST_CHECK;
int api_param_as_bool(
    const struct codec_value *v, const char *field, bool *out, struct err *e) MUST_CHECK;
