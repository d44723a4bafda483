#include "lib/wire/wire_managed.h"

#include <string.h>

#include "lib/base/mem.h"
#include "lib/codec/codec_yaml.h"

enum { PATH_LONGEST = 512, LIST_MAX = 256, FILE_BYTES_MAX = 64 * 1024 };

static const struct codec_field link_fields[] = {
	CODEC_STR(struct wire_managed_link, link, PATH_LONGEST, CODEC_REQUIRED),
	CODEC_STR(struct wire_managed_link, target, PATH_LONGEST, CODEC_REQUIRED),
	CODEC_END,
};
DEFINE_CODEC(wire_managed_link, struct wire_managed_link, link_fields)

static const struct codec_field managed_fields[] = {
	CODEC_STRS(struct wire_managed, locked_files, LIST_MAX, 0),
	CODEC_STRS(struct wire_managed, processed_templates, LIST_MAX, 0),
	CODEC_STRS(struct wire_managed, setup_rewritten, LIST_MAX, 0),
	CODEC_STRS(struct wire_managed, snapshot_exclusions, LIST_MAX, 0),
	CODEC_STRS(struct wire_managed, restore_transforms, LIST_MAX, 0),
	CODEC_LIST(struct wire_managed, dependency_dirs, &wire_managed_link_codec, LIST_MAX, 0),
	CODEC_LIST(
	    struct wire_managed, build_dependency_dirs, &wire_managed_link_codec, LIST_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_managed, struct wire_managed, managed_fields)

/* Whose file it is, for paths. */
struct owner {
	const char *cart_dir;
	const char *short_name;
};

/* "a/./b//c/../d/" -> "a/b/d/"; false when it is empty or leaves its root. Caller frees *out. */
static bool
normalise(const char *path, char **out)
{
	size_t n = strlen(path), len = 0;
	AUTO(free) char *r = xcalloc(1, n + 2);
	bool is_dir = n > 0 && path[n - 1] == '/';

	while (*path != '\0') {
		size_t part = strcspn(path, "/");

		if (part == 2 && path[0] == '.' && path[1] == '.') {
			if (len == 0)
				return false;
			while (len > 0 && r[--len] != '/')
				;
		} else if (part > 0 && !(part == 1 && path[0] == '.')) {
			if (len > 0)
				r[len++] = '/';
			memcpy(r + len, path, part);
			len += part;
		}
		path += part + (path[part] == '/');
	}
	if (len == 0)
		return false;
	if (is_dir)
		r[len++] = '/';
	r[len] = '\0';
	*out = STEAL(r);
	return true;
}

/* An item as written -> relative to the gear home; NULL when it leaves it. */
static char *
home_path(const struct owner *o, const char *item)
{
	AUTO(free) char *full = NULL;
	char *out = NULL;

	if (strncmp(item, "~/", 2) == 0)
		full = xstrdup(item + 2);
	else
		full = xasprintf("%s/%s", o->cart_dir, item);
	return normalise(full, &out) ? out : NULL;
}

/* Manifest, managed files and identity belong to the platform for ever. */
static bool
is_immutable(const struct owner *o, const char *path)
{
	size_t n = strlen(o->cart_dir);
	AUTO(free) char *ident = xasprintf("env/OPENSHIFT_%s_IDENT", o->short_name);
	AUTO(free) char *dir = xasprintf("env/OPENSHIFT_%s_DIR", o->short_name);

	if (strncmp(path, o->cart_dir, n) != 0 || path[n] != '/')
		return false;
	path += n + 1;
	return strcmp(path, "metadata/manifest.yml") == 0 ||
	       strcmp(path, "metadata/managed_files.yml") == 0 || strcmp(path, ident) == 0 ||
	       strcmp(path, dir) == 0;
}

/* locked_files: inside the cartridge, app-root/, or a dot entry of the home but the platform's. */
static bool
may_be_locked(const struct owner *o, const char *path)
{
	static const char *const refused[] = { ".ssh", ".sandbox", ".tmp", ".env" };
	size_t n = strcspn(path, "/");

	if (path[0] != '.')
		return (strlen(o->cart_dir) == n && strncmp(path, o->cart_dir, n) == 0) ||
		       str_has_prefix(path, "app-root/");
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		if (strlen(refused[i]) == n && strncmp(path, refused[i], n) == 0)
			return false;
	}
	return true;
}

static int
check_list(const struct codec_value *v, const char *key, struct err *e)
{
	if (codec_type(v) == CODEC_NULL)
		return 0;
	if (codec_type(v) != CODEC_ARRAY)
		return err_set(e, ERR_INVALID, key, "must be a list");
	if (codec_count(v) > LIST_MAX)
		return err_set(e, ERR_INVALID, key, "must have at most %d items", LIST_MAX);
	return 0;
}

static int
item_text(const struct codec_value *v, const char *key, size_t i, const char **out, struct err *e)
{
	const char *s = codec_string(v);

	if (s == NULL || s[0] == '\0' || strlen(s) > PATH_LONGEST)
		return err_set(e, ERR_INVALID, key, "item %zu must be a path of 1 to %d bytes", i,
		    PATH_LONGEST);
	*out = s;
	return 0;
}

static int
read_paths(const struct codec_value *v, const char *key, const struct owner *o, bool is_lock,
    struct str_list *out, struct err *e)
{
	if (check_list(v, key, e) < 0)
		return -1;
	for (size_t i = 0; i < codec_count(v); i++) {
		const char *item = NULL;
		AUTO(free) char *path = NULL;

		if (item_text(codec_at(v, i), key, i, &item, e) < 0)
			return -1;
		path = home_path(o, item);
		if (path == NULL || is_immutable(o, path) || (is_lock && !may_be_locked(o, path)))
			continue;
		str_list_take(out, STEAL(path));
	}
	return 0;
}

static int
read_transforms(const struct codec_value *v, struct str_list *out, struct err *e)
{
	if (check_list(v, "restore_transforms", e) < 0)
		return -1;
	for (size_t i = 0; i < codec_count(v); i++) {
		const char *item = NULL;

		if (item_text(codec_at(v, i), "restore_transforms", i, &item, e) < 0)
			return -1;
		str_list_add(out, item);
	}
	return 0;
}

/* Items are names, or maps {link: target}. */
static void
read_link(
    const struct owner *o, const char *link, const char *target, struct wire_managed_link_list *out)
{
	AUTO(free) char *from = home_path(o, link);
	AUTO(free) char *to = NULL;
	struct wire_managed_link *l;

	if (from == NULL || is_immutable(o, from) || !normalise(target, &to))
		return;
	l = codec_list_add(&wire_managed_link_codec, out);
	l->link = STEAL(from);
	l->target = STEAL(to);
}

static int
read_links(const struct codec_value *v, const char *key, const struct owner *o,
    struct wire_managed_link_list *out, struct err *e)
{
	if (check_list(v, key, e) < 0)
		return -1;
	for (size_t i = 0; i < codec_count(v); i++) {
		const struct codec_value *item = codec_at(v, i);
		const char *link = NULL, *target = NULL;

		if (codec_type(item) == CODEC_STRING) {
			if (item_text(item, key, i, &link, e) < 0)
				return -1;
			read_link(o, link, str_has_prefix(link, "~/") ? link + 2 : link, out);
			continue;
		}
		if (codec_type(item) != CODEC_OBJECT)
			return err_set(
			    e, ERR_INVALID, key, "item %zu must be a name or {link: target}", i);
		for (size_t k = 0; k < codec_count(item); k++) {
			const struct codec_value *t = codec_member(item, k, &link);

			if (strlen(link) > PATH_LONGEST || item_text(t, key, i, &target, e) < 0)
				return err_set(e, ERR_INVALID, key,
				    "item %zu must be a pair of paths of at most %d bytes", i,
				    PATH_LONGEST);
			if (out->n < LIST_MAX)
				read_link(o, link, target, out);
		}
	}
	return 0;
}

static int
read_all(
    const struct codec_value *doc, const struct owner *o, struct wire_managed *m, struct err *e)
{
	if (codec_type(doc) != CODEC_OBJECT && codec_type(doc) != CODEC_NULL)
		return err_set(e, ERR_INVALID, NULL, "managed_files.yml must be a map of lists");
	if (read_paths(
	        codec_get(doc, "locked_files"), "locked_files", o, true, &m->locked_files, e) < 0 ||
	    read_paths(codec_get(doc, "processed_templates"), "processed_templates", o, false,
	        &m->processed_templates, e) < 0 ||
	    read_paths(codec_get(doc, "setup_rewritten"), "setup_rewritten", o, false,
	        &m->setup_rewritten, e) < 0 ||
	    read_paths(codec_get(doc, "snapshot_exclusions"), "snapshot_exclusions", o, false,
	        &m->snapshot_exclusions, e) < 0 ||
	    read_transforms(codec_get(doc, "restore_transforms"), &m->restore_transforms, e) < 0 ||
	    read_links(codec_get(doc, "dependency_dirs"), "dependency_dirs", o, &m->dependency_dirs,
	        e) < 0 ||
	    read_links(codec_get(doc, "build_dependency_dirs"), "build_dependency_dirs", o,
	        &m->build_dependency_dirs, e) < 0)
		return -1;
	return 0;
}

int
wire_managed_parse(const char *yaml, size_t n, const char *cart_dir, const char *short_name,
    struct wire_managed *out, struct err *e)
{
	AUTO_FINI(wire_managed_fini) struct wire_managed m = { 0 };
	struct owner o = { cart_dir, short_name };
	struct codec_value *doc;
	int rc;

	if (n > FILE_BYTES_MAX)
		return err_set(
		    e, ERR_LIMIT, NULL, "managed_files.yml has at most %d bytes", FILE_BYTES_MAX);
	doc = codec_yaml_parse(yaml, n, e);
	if (doc == NULL)
		return -1;
	rc = read_all(doc, &o, &m, e);
	codec_value_free(doc);
	if (rc < 0)
		return -1;
	*out = m;
	m = (struct wire_managed){ 0 };
	return 0;
}
