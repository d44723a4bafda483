#include "lib/codec/codec_value.h"

#include "lib/base/mem.h"

enum { DEPTH_MAX = 64 };

/* jansson recurses: a text nested deeper than ours ever is stops before it. */
static bool
is_shallow(const char *p, size_t n)
{
	int depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < n; i++) {
		char c = p[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > DEPTH_MAX)
				return false;
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
	return true;
}

json_t *
codec_value_parse(const char *json, size_t n, struct err *e)
{
	json_error_t why;

	if (!is_shallow(json, n)) {
		(void)err_set(
		    e, ERR_INVALID, NULL, "JSON is nested deeper than %d levels", DEPTH_MAX);
		return NULL;
	}
	json_t *j = json_loadb(json, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (j == NULL)
		(void)err_set(e, ERR_INVALID, NULL, "not valid JSON: %s at line %d, column %d",
		    why.text, why.line, why.column);
	return j;
}

struct codec_value *
codec_parse(const char *json, size_t n, struct err *e)
{
	return (struct codec_value *)(void *)codec_value_parse(json, n, e);
}

void
codec_value_free(struct codec_value *take_v)
{
	json_decref((json_t *)(void *)take_v);
}

const struct codec_value *
codec_get(const struct codec_value *v, const char *key)
{
	return codec_value_of(json_object_get(codec_value_json(v), key));
}

const struct codec_value *
codec_at(const struct codec_value *v, size_t i)
{
	return codec_value_of(json_array_get(codec_value_json(v), i));
}

size_t
codec_count(const struct codec_value *v)
{
	const json_t *j = codec_value_json(v);

	return json_is_object(j) ? json_object_size(j) : json_array_size(j);
}

const struct codec_value *
codec_member(const struct codec_value *v, size_t i, const char **out_key)
{
	json_t *j = (json_t *)(void *)(uintptr_t)v;

	for (void *at = json_object_iter(j); at != NULL; at = json_object_iter_next(j, at)) {
		if (i-- > 0)
			continue;
		*out_key = json_object_iter_key(at);
		return codec_value_of(json_object_iter_value(at));
	}
	return NULL;
}

enum codec_type
codec_type(const struct codec_value *v)
{
	const json_t *j = codec_value_json(v);

	if (j == NULL)
		return CODEC_NULL;
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		return CODEC_OBJECT;
	case JSON_ARRAY:
		return CODEC_ARRAY;
	case JSON_STRING:
		return CODEC_STRING;
	case JSON_INTEGER:
	case JSON_REAL:
		return CODEC_NUMBER;
	case JSON_TRUE:
	case JSON_FALSE:
		return CODEC_BOOLEAN;
	case JSON_NULL:
		break;
	}
	return CODEC_NULL;
}

const char *
codec_string(const struct codec_value *v)
{
	return json_string_value(codec_value_json(v));
}

int64_t
codec_int(const struct codec_value *v, int64_t dflt)
{
	const json_t *j = codec_value_json(v);

	return json_is_integer(j) ? json_integer_value(j) : dflt;
}

bool
codec_bool(const struct codec_value *v, bool dflt)
{
	const json_t *j = codec_value_json(v);

	return json_is_boolean(j) ? json_is_true(j) : dflt;
}

static int
add_dump(const char *p, size_t n, void *arg)
{
	buf_add(arg, p, n);
	return 0;
}

void
codec_dump(const struct codec_value *v, bool pretty, struct buf *b)
{
	if (v == NULL)
		buf_adds(b, "null");
	else
		(void)json_dump_callback(codec_value_json(v), add_dump, b,
		    JSON_ENCODE_ANY | (pretty ? JSON_INDENT(2) : JSON_COMPACT));
}
