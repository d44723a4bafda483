#include "broker/api_xml.h"

#include <string.h>

#include "lib/base/mem.h"
#include "lib/codec/codec.h"

enum { TAG_MAX = 64 };

static void
add_text(struct buf *out, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char ch = (unsigned char)p[i];

		if (ch == '<')
			buf_adds(out, "&lt;");
		else if (ch == '>')
			buf_adds(out, "&gt;");
		else if (ch == '&')
			buf_adds(out, "&amp;");
		else if (ch >= 0x20 || ch == '\n' || ch == '\t')
			buf_addc(out, (char)ch);
	}
}

/* A JSON name as an element's: '-' for '_' and for what XML does not allow. */
static void
tag_of(const char *key, char out[TAG_MAX])
{
	size_t n = 0;

	if (!((*key >= 'a' && *key <= 'z') || (*key >= 'A' && *key <= 'Z')))
		out[n++] = 'x';
	for (; *key != '\0' && n + 1 < TAG_MAX; key++) {
		bool ok = (*key >= 'a' && *key <= 'z') || (*key >= 'A' && *key <= 'Z') ||
		          (*key >= '0' && *key <= '9') || *key == '.';

		out[n++] = ok ? *key : '-';
	}
	out[n] = '\0';
}

/* The element of one item: "domains" → "domain". */
static void
singular_of(const char *tag, char out[TAG_MAX])
{
	size_t n = strlen(tag);

	memcpy(out, tag, n + 1);
	if (n > 3 && strcmp(tag + n - 3, "ies") == 0)
		memcpy(out + n - 3, "y", 2);
	else if (n > 1 && tag[n - 1] == 's')
		out[n - 1] = '\0';
}

static void write_element(const char *tag, const struct codec_value *v, struct buf *out);

static void
write_inside(const char *tag, const struct codec_value *v, struct buf *out)
{
	char name[TAG_MAX];
	const char *key = NULL;

	for (size_t i = 0; i < codec_count(v); i++) {
		const struct codec_value *kid;

		if (codec_type(v) == CODEC_ARRAY) {
			kid = codec_at(v, i);
			singular_of(tag, name);
		} else {
			kid = codec_member(v, i, &key);
			tag_of(key, name);
		}
		write_element(name, kid, out);
	}
}

static void
write_element(const char *tag, const struct codec_value *v, struct buf *out)
{
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	enum codec_type type = codec_type(v);

	if (type == CODEC_NULL) {
		buf_addf(out, "<%s nil=\"true\"/>", tag);
		return;
	}
	buf_addf(out, "<%s>", tag);
	if (type == CODEC_OBJECT || type == CODEC_ARRAY) {
		write_inside(tag, v, out);
	} else if (type == CODEC_STRING) {
		add_text(out, codec_string(v), strlen(codec_string(v)));
	} else {
		codec_dump(v, false, &text);
		buf_add(out, text.p, text.n);
	}
	buf_addf(out, "</%s>", tag);
}

/* Object data is wrapped by its type. */
static void
write_data(const struct codec_value *env, const struct codec_value *data, struct buf *out)
{
	const char *type = codec_string(codec_get(env, "type"));
	char tag[TAG_MAX];

	if (type == NULL || codec_type(data) == CODEC_NULL) {
		write_element("data", data, out);
		return;
	}
	tag_of(type, tag);
	buf_adds(out, "<data>");
	if (codec_type(data) == CODEC_ARRAY)
		write_inside(tag, data, out);
	else
		write_element(tag, data, out);
	buf_adds(out, "</data>");
}

void
api_xml_of_envelope(struct buf *b)
{
	AUTO_FINI(buf_fini) struct buf out = { 0 };
	struct err e = { 0 };
	struct codec_value *env = codec_parse(b->p, b->n, &e);
	struct buf old = *b;

	if (env == NULL)
		return;
	buf_adds(&out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<response>");
	for (size_t i = 0; i < codec_count(env); i++) {
		const char *key = NULL;
		const struct codec_value *v = codec_member(env, i, &key);
		char tag[TAG_MAX];

		tag_of(key, tag);
		if (strcmp(key, "data") == 0)
			write_data(env, v, &out);
		else
			write_element(tag, v, &out);
	}
	buf_adds(&out, "</response>\n");
	codec_value_free(env);
	*b = out;
	out = old;
}
