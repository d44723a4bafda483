#include "node/build_work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "node/build_seal.h"
#include "node/container.h"
#include "node/tree_size.h"

enum { DPKG_STATUS_MAX = 64 * 1024 * 1024, DISK_FLOOR_MB = 256 };

void
build_work_free(void *p)
{
	struct build_work *w = p;

	wire_build_order_fini(&w->order);
	oci_layer_result_fini(&w->src);
	build_plan_fini(&w->plan);
	wire_build_result_fini(&w->result);
	free(w->stack.node);
	free(w->stack.python);
	free(w->dir);
	if (w->kind == BUILD_WORK_MAKE)
		file_close(w->repo);
	free(w);
}

void
build_work_copy_plan(struct build_plan *to, const struct build_plan *from)
{
	codec_copy(&wire_start_codec, &to->start, &from->start);
	to->deps_key = xstrdup_null(from->deps_key);
	to->deps_reused = from->deps_reused;
	to->needs_container = from->needs_container;
}

static int
make_scratch(struct build_work *w)
{
	static const char *const dirs[] = { "", "up", "up/app-root", "up/app-root/runtime",
		"up/app-root/runtime/repo", "work", "work/work", "tmp", "ctl" };
	AUTO(free) char *repo = xasprintf("%s/up/%s", w->dir, BUILD_WORK_REPO);
	AUTO(free) char *app_root = file_join(w->dir, "up/app-root");

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		AUTO(free) char *path = file_join(w->dir, dirs[i]);

		if (mkdir(path, 0755) < 0 || lchown(path, CONTAINER_UID, CONTAINER_UID) < 0)
			return err_set(&w->e, errno == ENOSPC ? ERR_LIMIT : ERR_SYSTEM, NULL,
			    "cannot make the build's directory");
	}
	/* As in v2: the user owns what is in app-root, not app-root. */
	if (lchown(app_root, 0, CONTAINER_UID) < 0)
		return err_set(&w->e, ERR_SYSTEM, NULL, "cannot own %s", app_root);
	w->repo = open(repo, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return w->repo < 0 ? err_set(&w->e, ERR_SYSTEM, NULL, "cannot open %s", repo) : 0;
}

void
build_work_look_at_stack(struct build_stack *s)
{
	static const char status[] = "/var/lib/dpkg/status";
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err ignored = { 0 };
	struct stat st;

	if (stat(status, &st) < 0) {
		memcpy(s->digest, "none", sizeof "none");
		return;
	}
	if (s->mtime == st.st_mtim.tv_sec && s->digest[0] != '\0')
		return;
	if (file_read(status, DPKG_STATUS_MAX, &b, &ignored) == 0 && b.p != NULL)
		secret_sha256_hex(b.p, b.n, s->digest);
	s->mtime = st.st_mtim.tv_sec;
}

static int
plan(struct build_work *w)
{
	build_work_look_at_stack(&w->stack);
	const struct build_plan_in in = { .order = &w->order,
		.web = w->web,
		.src = &w->src,
		.layers = w->layers,
		.stack_digest = w->stack.digest,
		.node_version = w->stack.node,
		.python_version = w->stack.python,
		.repo = w->repo };

	return build_plan_make(&in, &w->plan, &w->e);
}

static int
seal(struct build_work *w)
{
	const struct build_seal in = { .dir = w->dir,
		.order = &w->order,
		.web = w->web,
		.plan = &w->plan,
		.src = &w->src,
		.layers = w->layers };

	return build_seal(&in, &w->result, &w->e);
}

static int
clean(struct build_work *w)
{
	if (file_remove_tree(w->dir, &w->e) == 0)
		return 0;
	log_warn("build_remains", LOG_STR("path", w->dir), LOG_ERR(&w->e));
	return -1;
}

/* The scratch has no quota of its own: a build that is too large, or that fills the disk, is ended
 * while others still can write. */
static int
measure(struct build_work *w)
{
	AUTO(free) char *up = file_join(w->dir, "up");
	struct statvfs v;

	if (statvfs(w->dir, &v) == 0 &&
	    (int64_t)v.f_bavail * (int64_t)v.f_frsize < (int64_t)DISK_FLOOR_MB * 1024 * 1024)
		return err_set(&w->e, ERR_LIMIT, NULL, "the disk of this node is full");
	if (tree_size(up, w->bytes_max) > w->bytes_max)
		return err_set(&w->e, ERR_LIMIT, NULL,
		    "the build wrote more than %lld MB: see what it leaves in the repository, or "
		    "ask for a larger "
		    "gear profile",
		    (long long)(w->bytes_max / (1024 * 1024)));
	return 0;
}

void
build_work_run(void *p)
{
	struct build_work *w = p;

	switch (w->kind) {
	case BUILD_WORK_MAKE:
		w->rc = make_scratch(w);
		break;
	case BUILD_WORK_PLAN:
		w->rc = plan(w);
		break;
	case BUILD_WORK_SEAL:
		w->rc = seal(w);
		break;
	case BUILD_WORK_CLEAN:
		w->rc = clean(w);
		break;
	case BUILD_WORK_MEASURE:
		w->rc = measure(w);
		break;
	}
}
