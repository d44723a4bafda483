#include "lib/wire/wire_storage.h"

#include <ctype.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { CARTRIDGE_MAX = 64, PARTS_MAX = 8, PART_MAX = 64 };

static const struct codec_field fields[] = {
	CODEC_STR(struct wire_storage, path, WIRE_STORAGE_PATH_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_storage, cartridge, CARTRIDGE_MAX, 0),
	CODEC_BOOL(struct wire_storage, exclusive, 0),
	CODEC_BOOL(struct wire_storage, is_new, 0),
	CODEC_BOOL(struct wire_storage, is_going, 0),
	CODEC_INT(struct wire_storage, gen, 0, INT64_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_storage, struct wire_storage, fields)

static bool
is_plain(struct str part)
{
	for (size_t i = 0; i < part.n; i++) {
		if (!isalnum((unsigned char)part.p[i]) && strchr("._-+@", part.p[i]) == NULL)
			return false;
	}
	return true;
}

static int
check_part(struct str part, struct err *e)
{
	int n = (int)(part.n < 80 ? part.n : 80);

	if (part.n == 0)
		return err_set(
		    e, ERR_INVALID, "path", "must be relative, without double slashes: wiki/pages");
	if (str_eq(part, ".") || str_eq(part, ".."))
		return err_set(e, ERR_INVALID, "path",
		    "must not contain \"%.*s\": give it from the root of "
		    "the application's tree",
		    n, part.p);
	if (str_eq(part, ".git") || str_eq(part, ".openshift"))
		return err_set(
		    e, ERR_INVALID, "path", "%.*s is the platform's: choose another", n, part.p);
	if (part.n > PART_MAX || !is_plain(part))
		return err_set(e, ERR_INVALID, "path",
		    "\"%.*s\" must be 1 to %d letters, digits or . _ - + @", n, part.p, PART_MAX);
	return 0;
}

int
wire_storage_check(const struct wire_storage *s, struct err *e)
{
	struct str rest = str_of(s->path), part;
	size_t parts = 0;

	if (rest.n == 0 || rest.n > WIRE_STORAGE_PATH_MAX)
		return err_set(
		    e, ERR_INVALID, "path", "must be 1 to %d characters", WIRE_STORAGE_PATH_MAX);
	while (rest.p != NULL) {
		rest = str_cut(rest, '/', &part);
		if (check_part(part, e) < 0)
			return -1;
		if (++parts > PARTS_MAX)
			return err_set(
			    e, ERR_INVALID, "path", "can have %d directories", PARTS_MAX);
	}
	if (s->cartridge == NULL || s->cartridge[0] == '\0')
		return 0;
	if (strlen(s->cartridge) > CARTRIDGE_MAX || !is_plain(str_of(s->cartridge)) ||
	    s->cartridge[0] == '.')
		return err_set(e, ERR_INVALID, "cartridge", "is no name of a cartridge");
	(void)str_cut(str_of(s->path), '/', &part);
	if (str_eq(part, "env") || str_eq(part, "metadata") || str_eq(part, "bin") ||
	    str_eq(part, "hooks"))
		return err_set(e, ERR_INVALID, "path",
		    "%.*s of a cartridge is the platform's: choose another", (int)part.n, part.p);
	return 0;
}

char *
wire_storage_place(const struct wire_storage *s)
{
	if (s->cartridge != NULL && s->cartridge[0] != '\0')
		return xasprintf("%s/%s", s->cartridge, s->path);
	return xasprintf("app-root/runtime/repo/%s", s->path);
}

char *
wire_storage_name(const struct wire_storage *s)
{
	char *name = wire_storage_place(s);

	for (char *p = name; *p != '\0'; p++) {
		if (*p == '/')
			*p = '%';
	}
	return name;
}

static bool
is_within(const char *a, const char *b)
{
	size_t n = strlen(b);

	return strncmp(a, b, n) == 0 && (a[n] == '\0' || a[n] == '/');
}

bool
wire_storage_overlap(const struct wire_storage *a, const struct wire_storage *b)
{
	AUTO(free) char *x = wire_storage_place(a);
	AUTO(free) char *y = wire_storage_place(b);

	return is_within(x, y) || is_within(y, x);
}

void
wire_storage_list_copy(struct wire_storage_list *to, const struct wire_storage_list *from)
{
	for (size_t i = 0; i < to->n; i++)
		wire_storage_fini(&to->v[i]);
	free(to->v);
	*to = (struct wire_storage_list){ 0 };
	for (size_t i = 0; i < from->n; i++)
		codec_copy(
		    &wire_storage_codec, codec_list_add(&wire_storage_codec, to), &from->v[i]);
}
