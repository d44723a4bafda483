#include "lib/codec/codec_yaml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "lib/base/mem.h"
#include "lib/codec/codec_value.h"

enum { DEPTH_MAX = 32, NODES_MAX = 20000 };

struct reader {
	yaml_parser_t parser;
	int nodes;
	struct err *e;
};

static json_t *read_node(struct reader *r, const yaml_event_t *ev, int depth);

static json_t *
refuse(struct reader *r, const yaml_event_t *ev, const char *what)
{
	(void)err_set(r->e, ERR_INVALID, NULL, "YAML line %zu, column %zu: %s",
	    ev->start_mark.line + 1, ev->start_mark.column + 1, what);
	return NULL;
}

static int
next_event(struct reader *r, yaml_event_t *ev)
{
	if (yaml_parser_parse(&r->parser, ev) == 1)
		return 0;
	return err_set(r->e, ERR_INVALID, NULL, "YAML line %zu, column %zu: %s",
	    r->parser.problem_mark.line + 1, r->parser.problem_mark.column + 1,
	    r->parser.problem == NULL ? "not valid" : r->parser.problem);
}

static bool
is_integer(const char *s, json_int_t *out)
{
	char *end;
	size_t digits = strspn(s + (s[0] == '-'), "0123456789");

	/* A leading zero is a string here: "010" is no eight and no ten. */
	if (digits == 0 || digits > 18 || s[digits + (s[0] == '-')] != '\0' ||
	    (digits > 1 && s[s[0] == '-'] == '0'))
		return false;
	*out = strtoll(s, &end, 10);
	return true;
}

static json_t *
read_scalar(struct reader *r, const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;
	size_t n = ev->data.scalar.length;
	json_int_t number;

	if (strlen(s) != n || !str_is_utf8(s, n))
		return refuse(r, ev, "has a NUL byte or is not UTF-8");
	if (ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
		if (n == 0 || strcmp(s, "~") == 0 || strcmp(s, "null") == 0)
			return json_null();
		if (strcmp(s, "true") == 0 || strcmp(s, "True") == 0 || strcmp(s, "TRUE") == 0)
			return json_true();
		if (strcmp(s, "false") == 0 || strcmp(s, "False") == 0 || strcmp(s, "FALSE") == 0)
			return json_false();
		if (is_integer(s, &number))
			return json_integer(number);
	}
	return json_stringn(s, n);
}

static json_t *
read_sequence(struct reader *r, int depth)
{
	json_t *out = json_array();
	yaml_event_t ev;

	while (next_event(r, &ev) == 0) {
		bool is_end = ev.type == YAML_SEQUENCE_END_EVENT;
		json_t *v = is_end ? NULL : read_node(r, &ev, depth);

		yaml_event_delete(&ev);
		if (is_end)
			return out;
		if (v == NULL)
			break;
		(void)json_array_append_new(out, v);
	}
	json_decref(out);
	return NULL;
}

/* A key as text, without the colon of a Ruby symbol; NULL: refused. */
static char *
key_of(struct reader *r, const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;

	if (ev->type != YAML_SCALAR_EVENT || strlen(s) != ev->data.scalar.length ||
	    !str_is_utf8(s, strlen(s))) {
		(void)refuse(r, ev, "a key must be a plain text");
		return NULL;
	}
	return xstrdup(s[0] == ':' ? s + 1 : s);
}

static json_t *
read_mapping(struct reader *r, int depth)
{
	json_t *out = json_object();
	yaml_event_t ev;

	while (next_event(r, &ev) == 0) {
		bool is_end = ev.type == YAML_MAPPING_END_EVENT;
		AUTO(free) char *key = is_end ? NULL : key_of(r, &ev);
		json_t *v = NULL;

		yaml_event_delete(&ev);
		if (is_end)
			return out;
		if (key == NULL || next_event(r, &ev) < 0)
			break;
		v = read_node(r, &ev, depth);
		yaml_event_delete(&ev);
		if (v == NULL)
			break;
		(void)json_object_set_new(out, key, v);
	}
	json_decref(out);
	return NULL;
}

static json_t *
read_node(struct reader *r, const yaml_event_t *ev, int depth)
{
	if (depth > DEPTH_MAX || ++r->nodes > NODES_MAX)
		return refuse(r, ev, "is too deep or too large");
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		return read_scalar(r, ev);
	case YAML_SEQUENCE_START_EVENT:
		return read_sequence(r, depth + 1);
	case YAML_MAPPING_START_EVENT:
		return read_mapping(r, depth + 1);
	case YAML_ALIAS_EVENT:
		return refuse(r, ev, "aliases are not allowed: write the value out");
	default:
		return refuse(r, ev, "a value is missing");
	}
}

/* The first document's root; an empty text is an empty map. */
static json_t *
read_document(struct reader *r)
{
	yaml_event_t ev;
	json_t *out = NULL;

	for (;;) {
		if (next_event(r, &ev) < 0)
			return NULL;
		yaml_event_type_t type = ev.type;
		if (type == YAML_STREAM_END_EVENT)
			out = json_object();
		else if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT)
			out = read_node(r, &ev, 0);
		yaml_event_delete(&ev);
		if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT)
			return out;
	}
}

struct codec_value *
codec_yaml_parse(const char *p, size_t n, struct err *e)
{
	struct reader r = { .e = e };

	if (yaml_parser_initialize(&r.parser) != 1) {
		(void)err_set(e, ERR_BUG, NULL, "cannot start the YAML parser");
		return NULL;
	}
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)p, n);
	json_t *out = read_document(&r);
	yaml_parser_delete(&r.parser);
	return (struct codec_value *)(void *)out;
}
