#include "lib/codec/codec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/base/mem.h"
#include "lib/codec/codec_value.h"

/* The shape of every CODEC_LIST member. */
struct list {
	char *v;
	size_t n;
};

static int decode_object(
    const struct codec *c, const json_t *j, char *out, unsigned flags, struct err *e);

static void *
at(const struct codec_field *f, const void *obj)
{
	return (char *)(uintptr_t)obj + f->offset;
}

static char *
dump(const json_t *j)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	codec_dump(codec_value_of(j), false, &b);
	return buf_steal(&b);
}

/* --- decoding --- */

static int
wrong_type(const struct codec_field *f, const char *wanted, struct err *e)
{
	return err_set(e, ERR_INVALID, f->name, "must be %s", wanted);
}

static int
decode_str(const struct codec_field *f, const json_t *j, char **out, unsigned flags, struct err *e)
{
	size_t n = json_string_length(j);

	if ((flags & CODEC_LAX) != 0 && json_is_integer(j)) {
		*out = xasprintf("%" JSON_INTEGER_FORMAT, json_integer_value(j));
		return 0;
	}
	if (!json_is_string(j))
		return wrong_type(f, "a string", e);
	if (n > (size_t)f->max)
		return err_set(e, ERR_INVALID, f->name,
		    "must have at most %" PRId64 " bytes, has %zu", f->max, n);
	if (strlen(json_string_value(j)) != n)
		return err_set(e, ERR_INVALID, f->name, "must have no NUL byte");
	*out = xstrdup(json_string_value(j));
	return 0;
}

static int
decode_int(
    const struct codec_field *f, const json_t *j, int64_t *out, unsigned flags, struct err *e)
{
	int64_t v;

	if ((flags & CODEC_LAX) != 0 && json_is_string(j))
		return str_to_i64(str_of(json_string_value(j)), f->min, f->max, f->name, out, e);
	if (!json_is_integer(j))
		return wrong_type(f, "a whole number", e);
	v = json_integer_value(j);
	if (v < f->min || v > f->max)
		return err_set(e, ERR_INVALID, f->name,
		    "must be between %" PRId64 " and %" PRId64 ", is %" PRId64, f->min, f->max, v);
	*out = v;
	return 0;
}

static int
decode_bool(const struct codec_field *f, const json_t *j, bool *out, unsigned flags, struct err *e)
{
	const char *s = json_string_value(j);

	if (json_is_boolean(j))
		*out = json_is_true(j);
	else if ((flags & CODEC_LAX) != 0 && s != NULL && strcasecmp(s, "true") == 0)
		*out = true;
	else if ((flags & CODEC_LAX) != 0 && s != NULL &&
	         (strcasecmp(s, "false") == 0 || s[0] == '\0'))
		*out = false;
	else
		return wrong_type(f, "true or false", e);
	return 0;
}

static int
decode_enum(const struct codec_field *f, const json_t *j, int *out, struct err *e)
{
	const char *s = json_string_value(j);
	char words[256] = "";

	for (const struct codec_name *n = f->names; n->name != NULL; n++) {
		size_t used = strlen(words);

		if (s != NULL && strcmp(n->name, s) == 0) {
			*out = n->value;
			return 0;
		}
		(void)snprintf(
		    words + used, sizeof words - used, "%s%s", used == 0 ? "" : ", ", n->name);
	}
	return err_set(e, ERR_INVALID, f->name, "must be one of: %s", words);
}

static int
check_count(const struct codec_field *f, const json_t *j, struct err *e)
{
	if (!json_is_array(j))
		return wrong_type(f, "an array", e);
	if (json_array_size(j) > (size_t)f->max)
		return err_set(e, ERR_INVALID, f->name,
		    "must have at most %" PRId64 " elements, has %zu", f->max, json_array_size(j));
	return 0;
}

static int
decode_strs(const struct codec_field *f, const json_t *j, struct str_list *out, struct err *e)
{
	if (check_count(f, j, e) < 0)
		return -1;
	for (size_t i = 0; i < json_array_size(j); i++) {
		const char *s = json_string_value(json_array_get(j, i));

		if (s == NULL) {
			(void)err_set(e, ERR_INVALID, NULL, "must be a string");
			return err_field(e, "%s[%zu]", f->name, i);
		}
		str_list_add(out, s);
	}
	return 0;
}

static int
decode_list(
    const struct codec_field *f, const json_t *j, struct list *out, unsigned flags, struct err *e)
{
	if (check_count(f, j, e) < 0)
		return -1;
	for (size_t i = 0; i < json_array_size(j); i++)
		if (decode_object(
		        f->sub, json_array_get(j, i), codec_list_add(f->sub, out), flags, e) < 0)
			return err_field(e, "%s[%zu]", f->name, i);
	return 0;
}

static int
decode_raw(const struct codec_field *f, const json_t *j, char **out, struct err *e)
{
	*out = dump(j);
	if (strlen(*out) > (size_t)f->max)
		return err_set(
		    e, ERR_INVALID, f->name, "must have at most %" PRId64 " bytes", f->max);
	return 0;
}

static int
decode_num(const struct codec_field *f, const json_t *j, double *out, struct err *e)
{
	if (!json_is_number(j))
		return wrong_type(f, "a number", e);
	*out = json_number_value(j);
	return 0;
}

static int
decode_field(const struct codec_field *f, const json_t *j, char *obj, unsigned flags, struct err *e)
{
	void *out = at(f, obj);

	switch (f->kind) {
	case CODEC_KIND_STR:
		return decode_str(f, j, out, flags, e);
	case CODEC_KIND_INT:
		return decode_int(f, j, out, flags, e);
	case CODEC_KIND_NUM:
		return decode_num(f, j, out, e);
	case CODEC_KIND_BOOL:
		return decode_bool(f, j, out, flags, e);
	case CODEC_KIND_ENUM:
		return decode_enum(f, j, out, e);
	case CODEC_KIND_STRS:
		return decode_strs(f, j, out, e);
	case CODEC_KIND_OBJ:
		return decode_object(f->sub, j, out, flags, e) < 0 ? err_field(e, "%s", f->name)
		                                                   : 0;
	case CODEC_KIND_LIST:
		return decode_list(f, j, out, flags, e);
	case CODEC_KIND_RAW:
		return decode_raw(f, j, out, e);
	case CODEC_KIND_EXTRA:
	case CODEC_KIND_END:
		break;
	}
	return 0;
}

static const struct codec_field *
find_field(const struct codec *c, const char *name)
{
	for (const struct codec_field *f = c->fields; f->kind != CODEC_KIND_END; f++)
		if (f->kind != CODEC_KIND_EXTRA && strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

static const struct codec_field *
extra_field(const struct codec *c)
{
	for (const struct codec_field *f = c->fields; f->kind != CODEC_KIND_END; f++)
		if (f->kind == CODEC_KIND_EXTRA)
			return f;
	return NULL;
}

static int
check_unknown(const struct codec *c, const json_t *j, char *out, unsigned flags, struct err *e)
{
	const struct codec_field *extra = (flags & CODEC_KEEP) != 0 ? extra_field(c) : NULL;
	json_t *kept = NULL;

	for (void *i = json_object_iter((json_t *)(uintptr_t)j); i != NULL;
	     i = json_object_iter_next((json_t *)(uintptr_t)j, i)) {
		const char *name = json_object_iter_key(i);

		if (find_field(c, name) != NULL || (flags & CODEC_IGNORE) != 0 ||
		    ((flags & CODEC_KEEP) != 0 && extra == NULL))
			continue;
		if (extra == NULL)
			return err_set(e, ERR_INVALID, name, "is not known here: remove it");
		if (kept == NULL)
			kept = json_object();
		(void)json_object_set(kept, name, json_object_iter_value(i));
	}
	if (kept != NULL) {
		*(char **)at(extra, out) = dump(kept);
		json_decref(kept);
	}
	return 0;
}

static int
decode_object(const struct codec *c, const json_t *j, char *out, unsigned flags, struct err *e)
{
	if (!json_is_object(j))
		return err_set(e, ERR_INVALID, NULL, "must be an object");
	for (const struct codec_field *f = c->fields; f->kind != CODEC_KIND_END; f++) {
		const json_t *v = f->kind == CODEC_KIND_EXTRA ? NULL : json_object_get(j, f->name);

		if (v != NULL && !json_is_null(v)) {
			if (decode_field(f, v, out, flags, e) < 0)
				return -1;
		} else if ((f->flags & CODEC_REQUIRED) != 0) {
			return err_set(e, ERR_INVALID, f->name, "is required");
		}
	}
	return check_unknown(c, j, out, flags, e);
}

int
codec_decode(
    const struct codec *c, const char *json, size_t n, void *out, unsigned flags, struct err *e)
{
	json_t *j = codec_value_parse(json, n, e);

	if (j == NULL)
		return -1;
	int rc = decode_object(c, j, out, flags, e);
	json_decref(j);
	if (rc < 0)
		codec_fini(c, out);
	return rc;
}

/* --- encoding --- */

static const char *
enum_name(const struct codec_field *f, int value)
{
	for (const struct codec_name *n = f->names; n->name != NULL; n++)
		if (n->value == value)
			return n->name;
	return NULL;
}

static void
encode_strs(const struct str_list *l, struct buf *b)
{
	buf_addc(b, '[');
	for (size_t i = 0; i < l->n; i++) {
		if (i > 0)
			buf_addc(b, ',');
		buf_add_json_str(b, l->v[i]);
	}
	buf_addc(b, ']');
}

static void
encode_list(const struct codec_field *f, const struct list *l, struct buf *b)
{
	buf_addc(b, '[');
	for (size_t i = 0; i < l->n; i++) {
		if (i > 0)
			buf_addc(b, ',');
		codec_encode(f->sub, l->v + i * f->sub->size, b);
	}
	buf_addc(b, ']');
}

static void
encode_num(double v, struct buf *b)
{
	buf_addf(b, "%.17g", v);
}

static void
encode_field(const struct codec_field *f, const void *v, struct buf *b)
{
	const char *s = f->kind == CODEC_KIND_RAW ? *(char *const *)v : NULL;

	switch (f->kind) {
	case CODEC_KIND_STR:
		buf_add_json_str(b, *(char *const *)v);
		break;
	case CODEC_KIND_INT:
		buf_addf(b, "%" PRId64, *(const int64_t *)v);
		break;
	case CODEC_KIND_NUM:
		encode_num(*(const double *)v, b);
		break;
	case CODEC_KIND_BOOL:
		buf_adds(b, *(const bool *)v ? "true" : "false");
		break;
	case CODEC_KIND_ENUM:
		buf_add_json_str(b, enum_name(f, *(const int *)v));
		break;
	case CODEC_KIND_STRS:
		encode_strs(v, b);
		break;
	case CODEC_KIND_OBJ:
		codec_encode(f->sub, v, b);
		break;
	case CODEC_KIND_LIST:
		encode_list(f, v, b);
		break;
	case CODEC_KIND_RAW:
		buf_adds(b, s == NULL ? "null" : s);
		break;
	case CODEC_KIND_EXTRA:
	case CODEC_KIND_END:
		break;
	}
}

static bool
is_empty(const struct codec_field *f, const void *v)
{
	switch (f->kind) {
	case CODEC_KIND_STR:
	case CODEC_KIND_RAW:
		return *(char *const *)v == NULL;
	case CODEC_KIND_INT:
		return *(const int64_t *)v == 0;
	case CODEC_KIND_BOOL:
		return !*(const bool *)v;
	case CODEC_KIND_ENUM:
		return *(const int *)v == 0;
	case CODEC_KIND_STRS:
	case CODEC_KIND_LIST:
		return ((const struct list *)v)->n == 0;
	default:
		return false;
	}
}

void
codec_encode(const struct codec *c, const void *in, struct buf *b)
{
	bool first = true;

	buf_addc(b, '{');
	for (const struct codec_field *f = c->fields; f->kind != CODEC_KIND_END; f++) {
		const void *v = at(f, in);

		if (f->kind == CODEC_KIND_EXTRA) {
			const char *extra = *(char *const *)v;

			if (extra != NULL && strlen(extra) > 2) {
				buf_adds(b, first ? "" : ",");
				buf_add(b, extra + 1, strlen(extra) - 2);
				first = false;
			}
			continue;
		}
		if ((f->flags & CODEC_OMIT_NULL) != 0 && is_empty(f, v))
			continue;
		buf_adds(b, first ? "\"" : ",\"");
		buf_adds(b, f->name);
		buf_adds(b, "\":");
		encode_field(f, v, b);
		first = false;
	}
	buf_addc(b, '}');
}

char *
codec_to_json(const struct codec *c, const void *in)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	codec_encode(c, in, &b);
	return buf_steal(&b);
}

/* --- the life of structs --- */

static void
list_fini(const struct codec *sub, struct list *l)
{
	for (size_t i = 0; i < l->n; i++)
		codec_fini(sub, l->v + i * sub->size);
	free(l->v);
}

void
codec_fini(const struct codec *c, void *obj)
{
	for (const struct codec_field *f = c->fields; f->kind != CODEC_KIND_END; f++) {
		void *v = at(f, obj);

		if (f->kind == CODEC_KIND_STR || f->kind == CODEC_KIND_RAW ||
		    f->kind == CODEC_KIND_EXTRA)
			free(*(char **)v);
		else if (f->kind == CODEC_KIND_STRS)
			str_list_fini(v);
		else if (f->kind == CODEC_KIND_OBJ)
			codec_fini(f->sub, v);
		else if (f->kind == CODEC_KIND_LIST)
			list_fini(f->sub, v);
	}
	memset(obj, 0, c->size);
}

static void
copy_list(const struct codec *sub, struct list *to, const struct list *from)
{
	for (size_t i = 0; i < from->n; i++)
		codec_copy(sub, codec_list_add(sub, to), from->v + i * sub->size);
}

void
codec_copy(const struct codec *c, void *to, const void *from)
{
	memcpy(to, from, c->size);
	for (const struct codec_field *f = c->fields; f->kind != CODEC_KIND_END; f++) {
		void *v = at(f, to);
		const void *old = at(f, from);

		if (f->kind == CODEC_KIND_STR || f->kind == CODEC_KIND_RAW ||
		    f->kind == CODEC_KIND_EXTRA) {
			*(char **)v = xstrdup_null(*(char *const *)old);
		} else if (f->kind == CODEC_KIND_STRS) {
			memset(v, 0, sizeof(struct str_list));
			str_list_copy(v, old);
		} else if (f->kind == CODEC_KIND_OBJ) {
			codec_copy(f->sub, v, old);
		} else if (f->kind == CODEC_KIND_LIST) {
			memset(v, 0, sizeof(struct list));
			copy_list(f->sub, v, old);
		}
	}
}

bool
codec_equal(const struct codec *c, const void *a, const void *b)
{
	AUTO_FINI(buf_fini) struct buf x = { 0 };
	AUTO_FINI(buf_fini) struct buf y = { 0 };

	codec_encode(c, a, &x);
	codec_encode(c, b, &y);
	return x.n == y.n && memcmp(x.p, y.p, x.n) == 0;
}

void *
codec_list_add(const struct codec *c, void *list)
{
	struct list *l = list;

	l->v = xreallocarray(l->v, l->n + 1, c->size);
	char *v = l->v + l->n++ * c->size;
	memset(v, 0, c->size);
	return v;
}
