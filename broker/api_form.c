/* Forms with Rails nesting as JSON. */
#include "broker/api_param.h"

#include <string.h>

#include "lib/base/mem.h"

enum node_kind { NODE_NONE, NODE_TEXT, NODE_OBJECT, NODE_ARRAY };

struct node {
	enum node_kind kind;
	char *key;         /* owned; of a member */
	char *text;        /* owned */
	struct node *kids; /* owned */
	size_t n;
};

static void
node_fini(struct node *d)
{
	for (size_t i = 0; i < d->n; i++)
		node_fini(&d->kids[i]); /* as deep as API_PARAM_DEPTH_MAX */
	free(d->kids);
	free(d->key);
	free(d->text);
	*d = (struct node){ 0 };
}

static struct node *
add_kid(struct node *d)
{
	d->kids = xreallocarray(d->kids, d->n + 1, sizeof *d->kids);
	memset(&d->kids[d->n], 0, sizeof *d->kids);
	return &d->kids[d->n++];
}

static struct node *
find_member(const struct node *d, const char *key)
{
	for (size_t i = 0; i < d->n; i++) {
		if (strcmp(d->kids[i].key, key) == 0)
			return &d->kids[i];
	}
	return NULL;
}

static int
be(struct node *d, enum node_kind kind, const char *name, struct err *e)
{
	if (d->kind == NODE_NONE)
		d->kind = kind;
	if (d->kind != kind)
		return err_set(e, ERR_INVALID, name, "is given in two forms: use one of them");
	return 0;
}

/* A key cut into its parts: `a[b][]` → "a", "b", "". */
struct key_path {
	char *parts[API_PARAM_DEPTH_MAX]; /* owned */
	size_t n;
};

static void
key_path_fini(struct key_path *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->parts[i]);
	k->n = 0;
}

static int
key_path_parse(const char *key, struct key_path *out, struct err *e)
{
	size_t n = strcspn(key, "[");
	const char *p = key + n;

	out->parts[out->n++] = xstrndup(key, n);
	while (*p == '[') {
		size_t len = strcspn(++p, "]");

		if (p[len] != ']')
			return err_set(
			    e, ERR_INVALID, NULL, "A parameter's name lacks a closing ']'.");
		if (out->n == API_PARAM_DEPTH_MAX)
			return err_set(e, ERR_LIMIT, NULL,
			    "A parameter's name is nested deeper than %d levels.",
			    API_PARAM_DEPTH_MAX);
		out->parts[out->n++] = xstrndup(p, len);
		p += len + 1;
	}
	if (n == 0 || *p != '\0')
		return err_set(e, ERR_INVALID, NULL, "A parameter's name is malformed.");
	return 0;
}

/* Does the element have a value at the rest of the path already? Then the next one begins. */
static bool
has_value(const struct node *d, const struct key_path *k, size_t from)
{
	for (size_t i = from; i < k->n; i++) {
		if (k->parts[i][0] == '\0')
			return false;
		if (d->kind != NODE_OBJECT)
			return d->kind != NODE_NONE;
		d = find_member(d, k->parts[i]);
		if (d == NULL)
			return false;
	}
	return true;
}

static int
insert(struct node *root, const struct key_path *k, char *take_text, struct err *e)
{
	AUTO(free) char *text = take_text;
	struct node *d = root;

	for (size_t i = 0; i < k->n; i++) {
		const char *part = k->parts[i];
		bool is_element = i > 0 && part[0] == '\0';

		if (be(d, is_element ? NODE_ARRAY : NODE_OBJECT, k->parts[0], e) < 0)
			return -1;
		if (is_element) {
			struct node *last = d->n == 0 ? NULL : &d->kids[d->n - 1];

			d = last == NULL || has_value(last, k, i + 1) ? add_kid(d) : last;
		} else {
			struct node *m = find_member(d, part);

			if (m == NULL) {
				m = add_kid(d);
				m->key = xstrdup(part);
			}
			d = m;
		}
	}
	if (be(d, NODE_TEXT, k->parts[0], e) < 0)
		return -1;
	free(d->text);
	d->text = STEAL(text);
	return 0;
}

static void
write_node(const struct node *d, struct buf *out)
{
	bool is_object = d->kind == NODE_OBJECT;

	if (d->kind == NODE_TEXT || d->kind == NODE_NONE) {
		buf_add_json_str(out, d->text);
		return;
	}
	buf_addc(out, is_object ? '{' : '[');
	for (size_t i = 0; i < d->n; i++) {
		buf_adds(out, i == 0 ? "" : ",");
		if (is_object) {
			buf_add_json_str(out, d->kids[i].key);
			buf_addc(out, ':');
		}
		write_node(&d->kids[i], out);
	}
	buf_addc(out, is_object ? '}' : ']');
}

static int
add_pair(struct node *root, struct str pair, struct err *e)
{
	AUTO_FINI(key_path_fini) struct key_path k = { 0 };
	AUTO(free) char *key = NULL;
	AUTO(free) char *value = NULL;
	struct str name;
	struct str rest = str_cut(pair, '=', &name);

	key = str_url_decode(name, true, e);
	value = key == NULL ? NULL : str_url_decode(rest.p == NULL ? STR("") : rest, true, e);
	if (value == NULL)
		return -1;
	if (!str_is_utf8(key, strlen(key)) || !str_is_utf8(value, strlen(value)))
		return err_set(e, ERR_INVALID, NULL, "The parameters are not valid UTF-8.");
	if (key_path_parse(key, &k, e) < 0)
		return -1;
	return insert(root, &k, STEAL(value), e);
}

int
api_param_form_to_json(struct str form, struct buf *out, struct err *e)
{
	AUTO_FINI(node_fini) struct node root = { .kind = NODE_OBJECT };
	struct str rest = form;
	size_t n = 0;

	while (rest.n > 0) {
		struct str pair;

		rest = str_cut(rest, '&', &pair);
		if (pair.n == 0)
			continue;
		if (++n > API_PARAM_PAIRS_MAX)
			return err_set(e, ERR_LIMIT, NULL, "There are more than %d parameters.",
			    API_PARAM_PAIRS_MAX);
		if (add_pair(&root, pair, e) < 0)
			return -1;
	}
	write_node(&root, out);
	return 0;
}
