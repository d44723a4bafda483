#include "node/limits_tree.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"

enum { FILE_MAX = 1024 * 1024 };

static const struct {
	const char *name;
	unsigned bit;
} names[] = {
	{ "memory", LIMITS_MEMORY },
	{ "cpu", LIMITS_CPU },
	{ "cpuacct", LIMITS_CPUACCT },
	{ "pids", LIMITS_PIDS },
	{ "freezer", LIMITS_FREEZER },
	{ "io", LIMITS_IO },
	{ "cpuset", LIMITS_CPUSET },
};

void
limits_tree_fini(struct limits_tree *t)
{
	size_t i;

	for (i = 0; i < t->n; i++) {
		free(t->v[i].mount);
		free(t->v[i].options);
	}
	*t = (struct limits_tree){ 0 };
}

static unsigned
parse_controllers(struct str list, char separator)
{
	unsigned bits = 0;
	struct str word;
	size_t i;

	while (list.n > 0) {
		list = str_cut(list, separator, &word);
		for (i = 0; i < ARRAY_LEN(names); i++) {
			if (str_eq(str_trim(word), names[i].name))
				bits |= names[i].bit;
		}
	}
	return bits;
}

/* Mount points have \040 and the like for space, tab, newline, backslash. */
static char *
unescape(struct str s)
{
	char *out = xmalloc(s.n + 1), *q = out;
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (s.p[i] == '\\' && i + 3 < s.n) {
			*q++ = (char)((s.p[i + 1] - '0') * 64 + (s.p[i + 2] - '0') * 8 +
			              (s.p[i + 3] - '0'));
			i += 3;
		} else {
			*q++ = s.p[i];
		}
	}
	*q = '\0';
	return out;
}

unsigned
limits_tree_controllers(const char *dir, const char *file)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	if (!limits_tree_read(dir, file, &b))
		return 0;
	if (b.n > 0 && b.p[b.n - 1] == '\n')
		buf_truncate(&b, b.n - 1);
	return parse_controllers(buf_str(&b), ' ');
}

static bool
is_known(const struct limits_tree *t, bool is_v2, struct str options)
{
	size_t i;

	for (i = 0; i < t->n; i++) {
		if (t->v[i].is_v2 == is_v2 && (is_v2 || str_eq(options, t->v[i].options)))
			return true;
	}
	return false;
}

/* ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [OPTIONAL…] - TYPE SOURCE SUPEROPTIONS */
static void
parse_line(struct str line, struct limits_tree *t)
{
	struct str word, mount = { 0 }, type;
	struct limits_hierarchy *h;
	bool is_v2;
	int i;

	for (i = 0; i < 5; i++) {
		line = str_cut(line, ' ', &word);
		mount = word;
	}
	do {
		line = str_cut(line, ' ', &word);
	} while (line.n > 0 && !str_eq(word, "-"));
	line = str_cut(line, ' ', &type);
	line = str_cut(line, ' ', &word);
	is_v2 = str_eq(type, "cgroup2");
	if ((!is_v2 && !str_eq(type, "cgroup")) || mount.n == 0 || t->n == LIMITS_HIERARCHIES_MAX ||
	    is_known(t, is_v2, line))
		return;
	h = &t->v[t->n++];
	*h = (struct limits_hierarchy){
		.mount = unescape(mount), .options = xstrndup(line.p, line.n), .is_v2 = is_v2
	};
	h->controllers = is_v2 ? limits_tree_controllers(h->mount, "cgroup.controllers")
	                       : parse_controllers(line, ',');
}

int
limits_tree_parse(struct str mountinfo, struct limits_tree *out, struct err *e)
{
	struct limits_tree t = { 0 };
	struct str line;

	while (mountinfo.n > 0) {
		mountinfo = str_cut(mountinfo, '\n', &line);
		parse_line(line, &t);
	}
	if (t.n == 0) {
		(void)err_set(e, ERR_SYSTEM, NULL,
		    "no cgroup file system is mounted: mount cgroup2 on /sys/fs/cgroup");
		e->sys = 0;
		return -1;
	}
	*out = t;
	return 0;
}

const struct limits_hierarchy *
limits_tree_find(const struct limits_tree *t, unsigned controller)
{
	size_t i;

	for (i = 0; i < t->n; i++) {
		if (t->v[i].controllers & controller)
			return &t->v[i];
	}
	return NULL;
}

const struct limits_hierarchy *
limits_tree_v2(const struct limits_tree *t)
{
	size_t i;

	for (i = 0; i < t->n; i++) {
		if (t->v[i].is_v2)
			return &t->v[i];
	}
	return NULL;
}

int
limits_tree_write(const char *dir, const char *file, const char *value, struct err *e)
{
	AUTO(free) char *path = file_join(dir, file);
	AUTO(file_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	size_t n = strlen(value);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open %s", path);
	if (write(fd, value, n) != (ssize_t)n)
		return err_set(e, ERR_SYSTEM, NULL, "cannot write %s to %s", value, path);
	return 0;
}

bool
limits_tree_read(const char *dir, const char *file, struct buf *out)
{
	AUTO(free) char *path = file_join(dir, file);
	struct err e = { 0 };

	return file_read(path, FILE_MAX, out, &e) == 0;
}

int64_t
limits_tree_number(const char *dir, const char *file, const char *key)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct str rest, line, word;
	struct err e = { 0 };
	int64_t n;

	if (!limits_tree_read(dir, file, &b))
		return -1;
	for (rest = buf_str(&b); rest.n > 0;) {
		rest = str_cut(rest, '\n', &line);
		if (key != NULL) {
			line = str_cut(line, ' ', &word);
			if (!str_eq(word, key))
				continue;
		}
		return str_to_i64(line, 0, INT64_MAX, NULL, &n, &e) < 0 ? -1 : n;
	}
	return -1;
}
