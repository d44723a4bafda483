#include "lib/oci/oci_tar.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"

enum { BLOCK = 512, DEPTH_MAX = 128, NAME_FIELD = 100 };

struct header { /* ustar */
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
	char magic[6], version[2], uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a tar header is a block");

static const char zeros[BLOCK * 2];

static void
put(struct oci_tar *t, const void *p, size_t n)
{
	t->put(p, n, t->arg);
	t->total += n;
}

static void
octal(char *field, size_t n, uint64_t v)
{
	for (size_t i = n - 1; i-- > 0; v /= 8)
		field[i] = (char)('0' + v % 8);
	field[n - 1] = '\0';
}

static void
put_header(
    struct oci_tar *t, const char *name, char type, unsigned mode, uint64_t size, const char *link)
{
	struct header h = { 0 };
	unsigned sum = 0;

	memcpy(h.name, name, strnlen(name, sizeof h.name));
	memcpy(h.link, link, strnlen(link, sizeof h.link));
	octal(h.mode, sizeof h.mode, mode);
	octal(h.uid, sizeof h.uid, OCI_TAR_UID);
	octal(h.gid, sizeof h.gid, OCI_TAR_UID);
	octal(h.size, sizeof h.size, size);
	octal(h.mtime, sizeof h.mtime, 0);
	octal(h.major, sizeof h.major, 0);
	octal(h.minor, sizeof h.minor, 0);
	memcpy(h.magic, "ustar", 6);
	memcpy(h.version, "00", 2);
	h.type = type;
	memset(h.checksum, ' ', sizeof h.checksum);
	for (size_t i = 0; i < sizeof h; i++)
		sum += ((const unsigned char *)&h)[i];
	octal(h.checksum, 7, sum);
	h.checksum[7] = ' ';
	put(t, &h, sizeof h);
}

static void
pad_to_block(struct oci_tar *t, uint64_t size)
{
	size_t over = (size_t)(size % BLOCK);

	if (over != 0)
		put(t, zeros, BLOCK - over);
}

/* "LEN key=value\n", where LEN counts itself. */
static void
pax_record(struct buf *b, const char *key, const char *value)
{
	size_t body = strlen(key) + strlen(value) + 3, len = body + 1;

	while (snprintf(NULL, 0, "%zu", len) + body != len)
		len = body + (size_t)snprintf(NULL, 0, "%zu", len);
	buf_addf(b, "%zu %s=%s\n", len, key, value);
}

static void
put_entry(
    struct oci_tar *t, const char *path, char type, unsigned mode, uint64_t size, const char *link)
{
	AUTO_FINI(buf_fini) struct buf pax = { 0 };
	AUTO(free) char *big = xasprintf("%llu", (unsigned long long)size);
	bool is_big = size > 077777777777ULL;

	if (strlen(path) > NAME_FIELD)
		pax_record(&pax, "path", path);
	if (strlen(link) > NAME_FIELD)
		pax_record(&pax, "linkpath", link);
	if (is_big)
		pax_record(&pax, "size", big);
	if (pax.n > 0) {
		put_header(t, "PaxHeader", 'x', 0644, pax.n, "");
		put(t, pax.p, pax.n);
		pad_to_block(t, pax.n);
	}
	put_header(t, path, type, mode, is_big ? 0 : size, link);
}

void
oci_tar_dir(struct oci_tar *t, const char *path, unsigned mode)
{
	AUTO(free) char *with = xasprintf("%s/", path);

	put_entry(t, with, '5', mode, 0, "");
}

void
oci_tar_link(struct oci_tar *t, const char *path, const char *target)
{
	put_entry(t, path, '2', 0777, 0, target);
}

void
oci_tar_file(struct oci_tar *t, const char *path, unsigned mode, uint64_t size)
{
	put_entry(t, path, '0', mode, size, "");
	t->left = size;
	t->pad = (unsigned)(size % BLOCK);
}

void
oci_tar_data(struct oci_tar *t, const void *p, size_t n)
{
	if (n > t->left)
		n = (size_t)t->left;
	if (n == 0)
		return;
	put(t, p, n);
	t->left -= n;
	if (t->left == 0)
		pad_to_block(t, t->pad);
}

void
oci_tar_end(struct oci_tar *t)
{
	put(t, zeros, sizeof zeros);
}

/* --- a tree --- */

struct entry {
	char *name; /* owned */
	char *key;  /* owned: name, with '/' when a directory: the order */
	struct stat st;
};

struct entries {
	struct entry *v;
	size_t n, max;
};

static void
entries_fini(struct entries *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].name);
		free(l->v[i].key);
	}
	free(l->v);
}

static int
by_key(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

static int
read_entries(int fd, const char *path, struct entries *l, struct err *e)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *de;

	if (d == NULL) {
		(void)err_set(e, ERR_SYSTEM, NULL, "cannot read the directory %s", path);
		file_close(copy);
		return -1;
	}
	while ((de = readdir(d)) != NULL) {
		struct entry x = { 0 };

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		if (fstatat(fd, de->d_name, &x.st, AT_SYMLINK_NOFOLLOW) < 0)
			continue; /* gone meanwhile */
		x.name = xstrdup(de->d_name);
		x.key = xasprintf("%s%s", de->d_name, S_ISDIR(x.st.st_mode) ? "/" : "");
		if (l->n == l->max) { /* a build may leave very many */
			l->max = l->max == 0 ? 16 : l->max * 2;
			l->v = xreallocarray(l->v, l->max, sizeof *l->v);
		}
		l->v[l->n++] = x;
	}
	closedir(d);
	if (l->n > 0)
		qsort(l->v, l->n, sizeof *l->v, by_key);
	return 0;
}

static int
tar_file(struct oci_tar *t, int fd, const struct entry *x, const char *path, struct err *e)
{
	AUTO(file_close)
	int in = openat(fd, x->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	static _Thread_local char chunk[256 * 1024];
	struct stat st;

	if (in < 0 || fstat(in, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, ERR_SYSTEM, NULL, "cannot read %s", path);
	oci_tar_file(t, path, st.st_mode & 0777, (uint64_t)st.st_size);
	while (t->left > 0) {
		ssize_t n = read(in, chunk, sizeof chunk);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(
			    e, ERR_SYSTEM, NULL, "%s became shorter while it was read", path);
		oci_tar_data(t, chunk, (size_t)n);
	}
	return 0;
}

static int
tar_link(struct oci_tar *t, int fd, const struct entry *x, const char *path, struct err *e)
{
	char target[4096];
	ssize_t n = readlinkat(fd, x->name, target, sizeof target - 1);

	if (n < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot read the link %s", path);
	target[n] = '\0';
	oci_tar_link(t, path, target);
	return 0;
}

static int
tar_dir(struct oci_tar *t, int fd, const char *path, int depth, struct err *e)
{
	AUTO_FINI(entries_fini) struct entries l = { 0 };

	if (depth > DEPTH_MAX)
		return err_set(
		    e, ERR_LIMIT, NULL, "more than %d directories deep: %.200s", DEPTH_MAX, path);
	if (read_entries(fd, path, &l, e) < 0)
		return -1;
	for (size_t i = 0; i < l.n; i++) {
		const struct entry *x = &l.v[i];
		AUTO(free) char *p = path[0] == '\0' ? xstrdup(x->name) : file_join(path, x->name);
		int rc = 0;

		if (S_ISDIR(x->st.st_mode)) {
			AUTO(file_close)
			int sub =
			    openat(fd, x->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			oci_tar_dir(t, p, x->st.st_mode & 0777);
			rc = sub < 0 ? err_set(e, ERR_SYSTEM, NULL, "cannot open %s", p)
			             : tar_dir(t, sub, p, depth + 1, e);
		} else if (S_ISLNK(x->st.st_mode)) {
			rc = tar_link(t, fd, x, p, e);
		} else if (S_ISREG(x->st.st_mode)) {
			rc = tar_file(t, fd, x, p, e);
		} else if (S_ISCHR(x->st.st_mode) && x->st.st_rdev == makedev(0, 0)) {
			AUTO(free)
			char *gone =
			    xasprintf("%s%s.wh.%s", path, path[0] == '\0' ? "" : "/", x->name);

			oci_tar_file(t, gone, 0644, 0);
		}
		if (rc < 0)
			return -1;
	}
	return 0;
}

int
oci_tar_tree(struct oci_tar *t, int dir_fd, const char *prefix, struct err *e)
{
	for (const char *p = prefix; *p != '\0';) {
		size_t n = strcspn(p, "/");
		AUTO(free) char *above = xstrndup(prefix, (size_t)(p - prefix) + n);

		oci_tar_dir(t, above, 0755);
		p += n + (p[n] == '/');
	}
	return tar_dir(t, dir_fd, prefix, 0, e);
}

static void
put_hash(const void *p, size_t n, void *arg)
{
	secret_sha256_add(arg, p, n);
}

char *
oci_tar_digest(int dir_fd, const char *prefix, int64_t *size, struct err *e)
{
	struct secret_sha256 *h = secret_sha256_new();
	struct oci_tar t = { .put = put_hash, .arg = h };
	char hex[65];
	int rc = oci_tar_tree(&t, dir_fd, prefix, e);

	oci_tar_end(&t);
	*size = (int64_t)t.total;
	secret_sha256_end(h, hex);
	secret_sha256_free(h);
	return rc < 0 ? NULL : xasprintf("sha256:%s", hex);
}
