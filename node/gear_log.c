#include "node/gear_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "node/gear_log_lines.h"
#include "node/gear_log_scan.h"
#include "node/gear_log_tail.h"

enum { TAIL_BYTES = 4 * 1024 * 1024, BLOCK = 64 * 1024 };

/* Offset of the last `lines` whole lines before end, at most max bytes before it. */
static off_t
find_start(int fd, off_t end, size_t lines, off_t max)
{
	AUTO(free) char *block = xmalloc(BLOCK);
	off_t low = end > max ? end - max : 0, at = end;
	size_t count = 0;

	while (at > low) {
		size_t n = at - low < BLOCK ? (size_t)(at - low) : BLOCK;
		ssize_t got = pread(fd, block, n, at - (off_t)n);

		if (got != (ssize_t)n)
			return end; /* it was cut meanwhile */
		for (; n > 0; n--) {
			if (block[n - 1] == '\n' && at < end && count++ == lines - 1)
				return at;
			at--;
		}
	}
	return low;
}

/* What precedes the first line's begin. */
static void
drop_first(struct buf *text)
{
	const char *end = text->n == 0 ? NULL : memchr(text->p, '\n', text->n);

	buf_drop(text, end == NULL ? text->n : (size_t)(end + 1 - text->p));
}

/* Lines of one source, newest file first until there are enough; in order into out. */
static void
tail_group(const char *root, const char *gear, const struct gear_log_group *g, size_t lines,
    struct gear_log_lines *out, struct gear_log_position *position)
{
	size_t budget = TAIL_BYTES, i;
	ino_t last = 0;

	for (i = 0; i < g->n && out->n < lines && budget > 0; i++) {
		struct gear_log_file f = gear_log_open(root, g, g->numbers[i]);
		AUTO(file_close) int fd = f.fd;
		AUTO_FINI(buf_fini) struct buf text = { 0 };
		struct gear_log_lines older = { 0 };
		off_t from, end;

		if (f.fd < 0 || f.inode == last) /* rotated under our eyes: the same again */
			continue;
		last = f.inode;
		from = find_start(fd, f.size, lines - out->n, (off_t)budget);
		end = gear_log_lines_read(fd, from > 0 ? from - 1 : 0, f.size, false, &text);
		if (from > 0)
			drop_first(&text);
		if (position != NULL && position->inode == 0)
			*position = (struct gear_log_position){ f.inode, end };
		budget -= text.n < budget ? text.n : budget;
		gear_log_lines_parse(buf_str(&text), gear, g, &older);
		/* Older files come before. */
		older.v = xreallocarray(older.v, older.n + out->n + 1, sizeof *older.v);
		if (out->n > 0)
			memcpy(older.v + older.n, out->v, out->n * sizeof *out->v);
		older.n += out->n;
		free(out->v);
		*out = older;
	}
}

int
gear_log_tail_groups(const char *root, const char *gear, const struct gear_log_groups *groups,
    size_t lines, struct gear_log_lines *out, struct gear_log_position *positions)
{
	struct gear_log_lines all = { 0 };
	size_t i;

	for (i = 0; i < groups->n; i++) {
		struct gear_log_lines l = { 0 };
		struct gear_log_position *p = positions == NULL ? NULL : &positions[i];

		tail_group(root, gear, &groups->v[i], lines, &l, p);
		gear_log_lines_merge(&all, &l);
		gear_log_lines_trim(&all, lines, TAIL_BYTES);
	}
	*out = all;
	return 0;
}

int
gear_log_tail(const char *root, const char *gear, const char *only, size_t lines,
    struct gear_log_lines *out, struct err *e)
{
	AUTO_FINI(gear_log_groups_fini) struct gear_log_groups groups = { 0 };
	size_t n = lines < GEAR_LOG_LINES_MAX ? lines : GEAR_LOG_LINES_MAX;

	if (gear_log_scan(root, only, &groups, e) < 0)
		return -1;
	if (n == 0) {
		*out = (struct gear_log_lines){ 0 };
		return 0;
	}
	return gear_log_tail_groups(root, gear, &groups, n, out, NULL);
}

/* --- pruning --- */

struct directory {
	char *name; /* owned */
	int64_t bytes;
	struct timespec changed; /* of its newest file */
	bool is_live;
};
struct directory_list {
	struct directory *v; /* owned */
	size_t n;
	int64_t bytes;
};

static void
directory_list_fini(struct directory_list *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		free(l->v[i].name);
	free(l->v);
}

static bool
is_before(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

static void
measure(int root, struct directory *d)
{
	int fd = openat(root, d->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	struct stat st;

	if (dir == NULL) {
		file_close(fd);
		return;
	}
	if (fstat(dirfd(dir), &st) == 0)
		d->changed = st.st_mtim;
	while ((de = readdir(dir)) != NULL) {
		if (fstatat(dirfd(dir), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		d->bytes += st.st_blocks * 512;
		if (is_before(d->changed, st.st_mtim))
			d->changed = st.st_mtim;
	}
	(void)closedir(dir);
}

static int
list_directories(
    const char *root, const struct str_list *live, struct directory_list *out, struct err *e)
{
	DIR *d = opendir(root);
	struct dirent *de;

	if (d == NULL && errno == ENOENT)
		return 0;
	if (d == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "cannot list %s", root);
	while ((de = readdir(d)) != NULL) {
		struct directory *n;

		if (de->d_name[0] == '.' || de->d_type != DT_DIR)
			continue;
		out->v = xreallocarray(out->v, out->n + 1, sizeof *out->v);
		n = &out->v[out->n++];
		*n = (struct directory){ .name = xstrdup(de->d_name),
			.is_live = live != NULL && str_list_has(live, de->d_name) };
		measure(dirfd(d), n);
		out->bytes += n->bytes;
	}
	(void)closedir(d);
	return 0;
}

static int
compare_age(const void *pa, const void *pb)
{
	const struct directory *a = pa, *b = pb;

	return is_before(a->changed, b->changed) ? -1 : is_before(b->changed, a->changed);
}

int
gear_log_prune(const char *root, const struct str_list *live, int64_t keep_bytes, struct err *e)
{
	AUTO_FINI(directory_list_fini) struct directory_list l = { 0 };
	size_t i;

	if (list_directories(root, live, &l, e) < 0)
		return -1;
	if (l.n > 1)
		qsort(l.v, l.n, sizeof *l.v, compare_age);
	for (i = 0; i < l.n && l.bytes > keep_bytes; i++) {
		AUTO(free) char *path = file_join(root, l.v[i].name);

		if (l.v[i].is_live)
			continue;
		if (file_remove_tree(path, e) < 0)
			return -1;
		l.bytes -= l.v[i].bytes;
	}
	return 0;
}
