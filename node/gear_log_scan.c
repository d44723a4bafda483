#include "node/gear_log_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

void
gear_log_groups_fini(struct gear_log_groups *g)
{
	size_t i;

	for (i = 0; i < g->n; i++) {
		free(g->v[i].instance);
		free(g->v[i].source);
	}
	free(g->v);
	str_list_fini(&g->instances);
	*g = (struct gear_log_groups){ 0 };
}

/* SOURCE.log or SOURCE.log.N; -1: neither. */
static int
parse_name(const char *name, size_t *source_len)
{
	const char *end = NULL, *p = name;
	struct err e = { 0 };
	int64_t n = 0;

	while ((p = strstr(p, ".log")) != NULL)
		end = p++;
	if (end == NULL || end == name || name[0] == '.' || end - name > 64)
		return -1;
	*source_len = (size_t)(end - name);
	if (end[4] == '\0')
		return 0;
	if (end[4] != '.' ||
	    str_to_i64(str_of(end + 5), 1, GEAR_LOG_SCAN_FILES - 1, NULL, &n, &e) < 0)
		return -1;
	return (int)n;
}

static struct gear_log_group *
find_group(struct gear_log_groups *g, const char *instance, const char *source, size_t n)
{
	size_t i;

	for (i = g->n; i > 0; i--) {
		struct gear_log_group *c = &g->v[i - 1];

		if (strcmp(c->instance, instance) != 0)
			break;
		if (strlen(c->source) == n && memcmp(c->source, source, n) == 0)
			return c;
	}
	if (g->n == GEAR_LOG_SCAN_GROUPS)
		return NULL;
	g->v = xreallocarray(g->v, g->n + 1, sizeof *g->v);
	g->v[g->n] =
	    (struct gear_log_group){ .instance = xstrdup(instance), .source = xstrndup(source, n) };
	return &g->v[g->n++];
}

static void
add_number(struct gear_log_group *g, int number)
{
	size_t i = g->n;

	if (g->n == GEAR_LOG_SCAN_FILES)
		return;
	for (; i > 0 && g->numbers[i - 1] > number; i--)
		g->numbers[i] = g->numbers[i - 1];
	g->numbers[i] = number;
	g->n++;
}

static void
scan_instance(int root, const char *instance, struct gear_log_groups *out)
{
	int fd = openat(root, instance, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	size_t looked = 0;

	if (d == NULL) {
		file_close(fd);
		return;
	}
	if (out->instances.n < GEAR_LOG_SCAN_GROUPS)
		str_list_add(&out->instances, instance);
	while (looked++ < GEAR_LOG_SCAN_ENTRIES && (de = readdir(d)) != NULL) {
		struct gear_log_group *g;
		size_t len;
		int number = parse_name(de->d_name, &len);

		if (number < 0)
			continue;
		g = find_group(out, instance, de->d_name, len);
		if (g != NULL)
			add_number(g, number);
	}
	(void)closedir(d);
}

static int
compare(const void *pa, const void *pb)
{
	const struct gear_log_group *a = pa, *b = pb;
	int c = strcmp(a->instance, b->instance);

	return c != 0 ? c : strcmp(a->source, b->source);
}

int
gear_log_scan(const char *root, const char *only, struct gear_log_groups *out, struct err *e)
{
	AUTO_FINI(gear_log_groups_fini) struct gear_log_groups found = { 0 };
	DIR *d = opendir(root);
	struct dirent *de;
	size_t looked = 0;

	if (d == NULL && errno == ENOENT) {
		*out = found;
		return 0;
	}
	if (d == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "cannot list %s", root);
	if (only != NULL) {
		if (strchr(only, '/') == NULL && only[0] != '.')
			scan_instance(dirfd(d), only, &found);
	} else {
		while (looked++ < GEAR_LOG_SCAN_ENTRIES && (de = readdir(d)) != NULL) {
			if (de->d_name[0] != '.')
				scan_instance(dirfd(d), de->d_name, &found);
		}
	}
	(void)closedir(d);
	if (found.n > 1)
		qsort(found.v, found.n, sizeof *found.v, compare);
	*out = found;
	found = (struct gear_log_groups){ 0 };
	return 0;
}

struct gear_log_file
gear_log_open(const char *root, const struct gear_log_group *g, int number)
{
	AUTO(free) char *dir = file_join(root, g->instance);
	AUTO(file_close) int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct gear_log_file f = { .fd = -1 };
	struct stat st;
	char name[128];

	if (number == 0)
		(void)snprintf(name, sizeof name, "%.64s.log", g->source);
	else
		(void)snprintf(name, sizeof name, "%.64s.log.%d", g->source, number);
	f.fd = dir_fd < 0 ? -1
	                  : openat(dir_fd, name,
	                        O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (f.fd >= 0 && fstat(f.fd, &st) == 0 && S_ISREG(st.st_mode)) {
		f.inode = st.st_ino;
		f.size = st.st_size;
		return f;
	}
	file_close(f.fd);
	f.fd = -1;
	return f;
}
