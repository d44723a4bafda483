#include "broker/api_param.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "lib/base/mem.h"

struct path_param {
	char *name;  /* owned */
	char *value; /* owned */
};

struct api_param {
	struct path_param path[API_PARAM_PATH_MAX];
	size_t path_n;
	struct codec_value *body;  /* owned; an object or NULL */
	struct codec_value *query; /* owned; an object or NULL */
};

struct api_param *
api_param_new(void)
{
	return xcalloc(1, sizeof(struct api_param));
}

void
api_param_free(struct api_param *take_p)
{
	if (take_p == NULL)
		return;
	for (size_t i = 0; i < take_p->path_n; i++) {
		free(take_p->path[i].name);
		free(take_p->path[i].value);
	}
	codec_value_free(take_p->body);
	codec_value_free(take_p->query);
	free(take_p);
}

void
api_param_path(struct api_param *p, struct str name, struct str value)
{
	if (p->path_n == API_PARAM_PATH_MAX)
		return;
	p->path[p->path_n++] = (struct path_param){
		.name = xstrndup(name.p, name.n),
		.value = xstrndup(value.p, value.n),
	};
}

static int
set_json(struct codec_value **out, const char *json, size_t n, struct err *e)
{
	struct codec_value *v = codec_parse(json, n, e);

	if (v == NULL)
		return err_wrap(e, "The request body");
	if (codec_type(v) != CODEC_OBJECT) {
		codec_value_free(v);
		return err_set(e, ERR_INVALID, NULL, "The request body must be a JSON object.");
	}
	codec_value_free(*out);
	*out = v;
	return 0;
}

static int
set_form(struct codec_value **out, struct str form, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf json = { 0 };

	if (api_param_form_to_json(form, &json, e) < 0)
		return -1;
	return set_json(out, json.p, json.n, e);
}

static bool
is_type(struct str type, const char *name)
{
	return str_eq_nocase(type, name);
}

int
api_param_body(struct api_param *p, const char *content_type, struct str body, struct err *e)
{
	struct str type = { 0 };
	struct str text = str_trim(body);

	while (text.n > 0 && (text.p[0] == '\n' || text.p[0] == '\r'))
		text = str_trim((struct str){ text.p + 1, text.n - 1 });
	if (text.n == 0)
		return 0;
	if (!str_is_utf8(body.p, body.n))
		return err_set(e, ERR_INVALID, NULL, "The request body is not valid UTF-8.");
	if (content_type != NULL) {
		(void)str_cut(str_of(content_type), ';', &type);
		type = str_trim(type);
	}
	if (is_type(type, "application/json") || is_type(type, "text/json"))
		return set_json(&p->body, body.p, body.n, e);
	if (is_type(type, "application/x-www-form-urlencoded") && text.p[0] != '{')
		return set_form(&p->body, body, e);
	if (type.n == 0 || is_type(type, "application/x-www-form-urlencoded") ||
	    is_type(type, "*/*"))
		return text.p[0] == '{' ? set_json(&p->body, body.p, body.n, e)
		                        : set_form(&p->body, text, e);
	return err_set(e, ERR_INVALID, "Content-Type",
	    "Bodies of type '%.*s' are not understood. Send application/json.",
	    (int)(type.n > 64 ? 64 : type.n), type.p);
}

int
api_param_query(struct api_param *p, const char *query, struct err *e)
{
	return *query == '\0' ? 0 : set_form(&p->query, str_of(query), e);
}

const struct codec_value *
api_param_all_of_body(const struct api_param *p)
{
	return p->body;
}

const char *
api_param_of_path(const struct api_param *p, const char *name)
{
	for (size_t i = 0; i < p->path_n; i++) {
		if (strcmp(p->path[i].name, name) == 0)
			return p->path[i].value;
	}
	return NULL;
}

const struct codec_value *
api_param_value(const struct api_param *p, const char *name)
{
	const struct codec_value *v = NULL;

	if (p->body != NULL)
		v = codec_get(p->body, name);
	if (v == NULL && p->query != NULL)
		v = codec_get(p->query, name);
	return v == NULL || codec_type(v) == CODEC_NULL ? NULL : v;
}

bool
api_param_has(const struct api_param *p, const char *name)
{
	return api_param_of_path(p, name) != NULL || api_param_value(p, name) != NULL;
}

int
api_param_as_str(
    const struct codec_value *v, const char *field, size_t max, const char **out, struct err *e)
{
	const char *s = codec_string(v);

	if (s == NULL)
		return err_set(
		    e, ERR_INVALID, field, "The parameter '%s' must be a string.", field);
	if (strlen(s) > max)
		return err_set(e, ERR_INVALID, field,
		    "The parameter '%s' must have at most %zu bytes, has %zu.", field, max,
		    strlen(s));
	*out = s;
	return 0;
}

int
api_param_str(
    const struct api_param *p, const char *name, size_t max, const char **out, struct err *e)
{
	const char *path = api_param_of_path(p, name);
	const struct codec_value *v = api_param_value(p, name);

	if (path != NULL) {
		*out = path;
		return 0;
	}
	return v == NULL ? 0 : api_param_as_str(v, name, max, out, e);
}

int
api_param_as_bool(const struct codec_value *v, const char *field, bool *out, struct err *e)
{
	const char *s = codec_string(v);

	if (codec_type(v) == CODEC_BOOLEAN)
		*out = codec_bool(v, false);
	else if (s != NULL && strcasecmp(s, "true") == 0)
		*out = true;
	else if (s != NULL && (strcasecmp(s, "false") == 0 || *s == '\0'))
		*out = false;
	else
		return err_set(
		    e, ERR_INVALID, field, "The parameter '%s' must be true or false.", field);
	return 0;
}

int
api_param_bool(const struct api_param *p, const char *name, bool *out, struct err *e)
{
	const struct codec_value *v = api_param_value(p, name);

	return v == NULL ? 0 : api_param_as_bool(v, name, out, e);
}

int
api_param_int(const struct api_param *p, const char *name, int64_t min, int64_t max, int64_t *out,
    struct err *e)
{
	const struct codec_value *v = api_param_value(p, name);
	const char *s = codec_string(v);
	int64_t n;

	if (v == NULL)
		return 0;
	if (codec_type(v) == CODEC_NUMBER && codec_int(v, 0) == codec_int(v, 1)) {
		n = codec_int(v, 0);
	} else if (s == NULL || str_to_i64(str_of(s), INT64_MIN, INT64_MAX, name, &n, e) < 0) {
		return err_set(
		    e, ERR_INVALID, name, "The parameter '%s' must be a whole number.", name);
	}
	if (n < min || n > max)
		return err_set(e, ERR_INVALID, name,
		    "The parameter '%s' must be between %" PRId64 " and %" PRId64 ".", name, min,
		    max);
	*out = n;
	return 0;
}

int
api_param_strs(
    const struct api_param *p, const char *name, size_t max, struct str_list *out, struct err *e)
{
	const struct codec_value *v = api_param_value(p, name);
	const char *s = codec_string(v);

	if (v == NULL)
		return 0;
	if (s != NULL) {
		if (*s != '\0')
			str_list_add(out, s);
		return 0;
	}
	if (codec_type(v) != CODEC_ARRAY || codec_count(v) > max)
		return err_set(e, ERR_INVALID, name,
		    "The parameter '%s' must be an array of at most %zu strings.", name, max);
	for (size_t i = 0; i < codec_count(v); i++) {
		s = codec_string(codec_at(v, i));
		if (s == NULL)
			return err_set(e, ERR_INVALID, name,
			    "The parameter '%s' must be an array of strings; element %zu is none.",
			    name, i);
		str_list_add(out, s);
	}
	return 0;
}
