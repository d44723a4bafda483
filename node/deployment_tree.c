#include "node/deployment_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "node/container_ids.h"

enum { SHORT_SHA = 7 };

static int
open_dir(int at, const char *name, struct err *e)
{
	int fd;

	if (mkdirat(at, name, 0750) == 0 &&
	    fchownat(at, name, CONTAINER_UID, CONTAINER_UID, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "own %s", name);
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_set(e, ERR_SYSTEM, NULL, "open %s", name) : fd;
}

static int
put_link(int at, const char *name, const char *target, struct err *e)
{
	if (symlinkat(target, at, name) < 0)
		return errno == EEXIST ? 0 : err_set(e, ERR_SYSTEM, NULL, "link %s", name);
	if (fchownat(at, name, CONTAINER_UID, CONTAINER_UID, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "own %s", name);
	return 0;
}

static void
describe(const struct deployment_tree *d, struct buf *b)
{
	const char *ref = d->ref == NULL || d->ref[0] == '\0' ? "master" : d->ref;
	const char *slash = strncmp(ref, "refs/heads/", 11) == 0 ? ref + 11 : ref;

	buf_adds(b, "{\"git_ref\":");
	buf_add_json_str(b, slash);
	buf_adds(b, ",\"git_sha1\":");
	buf_add_json_strn(
	    b, d->sha1 == NULL ? "" : d->sha1, d->sha1 == NULL ? 0 : strnlen(d->sha1, SHORT_SHA));
	buf_adds(b, ",\"id\":");
	buf_add_json_str(b, d->id);
	buf_addf(b,
	    ",\"hot_deploy\":%s,\"force_clean_build\":%s,\"activations\":[%lld.0],"
	    "\"checksum\":null}\n",
	    d->hot_deploy ? "true" : "false", d->force_clean_build ? "true" : "false",
	    (long long)time(NULL));
}

static int
put_metadata(int at, const struct deployment_tree *d, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	AUTO(file_close)
	int fd =
	    openat(at, "metadata.json", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);

	if (fd < 0)
		return errno == EEXIST ? 0 : err_set(e, ERR_SYSTEM, NULL, "write metadata.json");
	if (fchown(fd, CONTAINER_UID, CONTAINER_UID) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "own metadata.json");
	describe(d, &b);
	return file_write_all(fd, b.p, b.n, e);
}

static int
fill(int all, const char *name, const struct deployment_tree *d, struct err *e)
{
	static const char *const parts[] = { "repo", "dependencies", "build-dependencies" };
	AUTO(file_close) int own = open_dir(all, name, e);
	AUTO(file_close) int by_id = own < 0 ? -1 : open_dir(all, "by-id", e);
	AUTO(free) char *up = xasprintf("../%s", name);

	if (own < 0 || by_id < 0 || put_metadata(own, d, e) < 0 ||
	    put_link(by_id, d->id, up, e) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		AUTO(free) char *target = xasprintf("../../app-root/runtime/%s", parts[i]);

		if (put_link(own, parts[i], target, e) < 0)
			return -1;
	}
	(void)unlinkat(all, "current", 0);
	return put_link(all, "current", name, e);
}

int
deployment_tree_write(const char *upper, const struct deployment_tree *d, struct err *e)
{
	AUTO(file_close) int root = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(file_close) int all = -1;
	time_t t = d->created > 0 ? (time_t)d->created : time(NULL);
	char name[64];
	struct tm tm;
	size_t n;

	if (d->id == NULL || d->id[0] == '\0' || strchr(d->id, '/') != NULL)
		return 0;
	(void)gmtime_r(&t, &tm);
	n = strftime(name, sizeof name, "%Y-%m-%d_%H-%M-%S", &tm);
	(void)snprintf(name + n, sizeof name - n, ".000");
	if (root < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", upper);
	all = open_dir(root, "app-deployments", e);
	return all < 0 ? -1 : fill(all, name, d, e);
}
