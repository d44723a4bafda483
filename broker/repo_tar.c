#include "broker/repo_tar.h"

#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/repo.h"
#include "broker/scratch.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_app.h"

#define GIT_PROGRAM "/usr/bin/git"
#define TAR_PROGRAM "/usr/bin/tar"

enum { TIMEOUT_MS = 15 * 60 * 1000, BRANCH_LEN = 256 };

struct repo_tar {
	struct repo_store *rs; /* borrowed */
	struct repo_ask *ask;
	struct child *child;
	char *dir;        /* owned: DATA/scratch/X */
	char *git;        /* owned: the repository below it */
	char *top;        /* owned: what tar packs, relative to dir */
	const char *with; /* borrowed; and relative to this */
	char *id;         /* owned */
	struct buf early; /* came before tar was there */
	bool is_closed, is_unpacking;
	repo_tar_data_fn *on_data;
	repo_tar_room_fn *on_room;
	repo_tar_done_fn *done;
	void *arg;
};

void
repo_tar_free(struct repo_tar *take_t)
{
	struct repo_tar *t = take_t;

	if (t == NULL)
		return;
	repo_ask_cancel(t->ask);
	child_free(t->child);
	scratch_remove(repo_store_broker(t->rs), STEAL(t->dir));
	free(t->git);
	free(t->top);
	free(t->id);
	buf_fini(&t->early);
	free(t);
}

static struct repo_tar *
new_tar(struct repo_store *rs, repo_tar_done_fn *done, void *arg)
{
	struct repo_tar *t = xcalloc(1, sizeof *t);

	t->rs = rs;
	t->dir = scratch_path(repo_store_broker(rs));
	t->done = done;
	t->arg = arg;
	return t;
}

static void
fail(struct repo_tar *t, const struct child_end *end, const char *what)
{
	struct err e = { 0 };
	const char *line = end == NULL ? "" : end->err;

	(void)err_set(&e, end != NULL && t->is_unpacking ? ERR_INVALID : ERR_SYSTEM, NULL,
	    "%s: %.*s", what, (int)strcspn(line, "\n"),
	    *line != '\0' ? line
	    : end != NULL ? end->why
	                  : "cannot be started");
	t->done(NULL, &e, t->arg);
}

static int
run(struct repo_tar *t, const char *const *argv, bool has_stdin, child_out_fn *on_out,
    child_end_fn *on_end)
{
	struct err e = { 0 };
	const struct child_opts o = {
		.argv = argv,
		.env = repo_store_env(t->rs),
		.has_stdin = has_stdin,
		.timeout_ms = TIMEOUT_MS,
	};

	child_free(STEAL(t->child));
	t->child = child_start(repo_store_loop(t->rs), &o, on_out, on_end, t, &e);
	return t->child == NULL ? -1 : 0;
}

/* --- out --- */

static void
on_tar(struct child *c, int fd, const char *p, size_t n, void *arg)
{
	struct repo_tar *t = arg;

	if (fd == 1 && !t->on_data(p, n, t->arg))
		child_pause(c, true);
}

static void
on_tar_end(struct child *c, const struct child_end *end, void *arg)
{
	struct repo_tar *t = arg;

	(void)c;
	if (end->status != 0)
		fail(t, end, "the repository cannot be packed");
	else
		t->done(t->git, NULL, t->arg);
}

static void
on_cloned(struct child *c, const struct child_end *end, void *arg)
{
	struct repo_tar *t = arg;
	const char *argv[] = { TAR_PROGRAM, "--format=pax", "--owner=1000", "--group=1000",
		"--numeric-owner", "-cf", "-", "-C", t->dir, t->top, t->with == NULL ? NULL : "-C",
		t->with, t->id, NULL };

	(void)c;
	if (end->status != 0)
		fail(t, end, "the repository cannot be copied");
	else if (run(t, argv, false, on_tar, on_tar_end) < 0)
		fail(t, NULL, "the repository cannot be packed");
}

static void
on_repo(const char *git_dir, const struct err *e, void *arg)
{
	struct repo_tar *t = arg;
	const char *argv[] = { GIT_PROGRAM, "clone", "--bare", "--quiet", "--template=", "--",
		git_dir, t->git, NULL };

	t->ask = NULL;
	if (e != NULL)
		t->done(NULL, e, t->arg);
	else if (run(t, argv, false, NULL, on_cloned) < 0)
		fail(t, NULL, "the repository cannot be copied");
}

struct repo_tar *
repo_tar_save(struct repo_store *rs, const struct wire_app *a, const char *with,
    repo_tar_data_fn *on_data, repo_tar_done_fn *done, void *arg)
{
	struct repo_tar *t = new_tar(rs, done, arg);

	t->on_data = on_data;
	t->with = with;
	t->id = xstrdup(a->id);
	t->top = xasprintf("%s/git", a->id);
	t->git = xasprintf("%s/%s/%s.git", t->dir, t->top, a->name);
	t->ask = repo_open_read(rs, a, on_repo, t);
	return t;
}

void
repo_tar_resume(struct repo_tar *t)
{
	if (t->child != NULL)
		child_pause(t->child, false);
}

/* --- in --- */

static void
on_checked(struct child *c, const struct child_end *end, void *arg)
{
	struct repo_tar *t = arg;

	(void)c;
	if (end->status != 0)
		fail(t, end, "the snapshot's repository is damaged");
	else
		t->done(t->git, NULL, t->arg);
}

static void
on_unpacked(struct child *c, const struct child_end *end, void *arg)
{
	struct repo_tar *t = arg;
	const char *argv[] = { GIT_PROGRAM, "--git-dir", t->git, "fsck", "--no-dangling",
		"--no-reflogs", "--no-progress", NULL };

	(void)c;
	if (end->status != 0)
		fail(t, end, "the snapshot's repository cannot be read");
	else if (run(t, argv, false, NULL, on_checked) < 0)
		fail(t, NULL, "the snapshot's repository cannot be checked");
}

static void
on_drain(struct child *c, void *arg)
{
	struct repo_tar *t = arg;

	(void)c;
	t->on_room(t->arg);
}

/* Its configuration is that of the new repository. */
static void
on_made(struct child *c, const struct child_end *end, void *arg)
{
	struct repo_tar *t = arg;
	const char *argv[] = { TAR_PROGRAM, "-C", t->git, "--no-same-owner",
		"--no-same-permissions", "-xf", "-", NULL };

	(void)c;
	t->is_unpacking = true;
	if (end->status != 0 || run(t, argv, true, NULL, on_unpacked) < 0) {
		fail(t, end->status != 0 ? end : NULL, "no repository can be made");
		return;
	}
	child_on_drain(t->child, on_drain);
	if (t->early.n > 0)
		(void)child_write(t->child, t->early.p, t->early.n);
	buf_fini(&t->early);
	if (t->is_closed)
		child_close_stdin(t->child);
}

struct repo_tar *
repo_tar_load(struct repo_store *rs, repo_tar_room_fn *on_room, repo_tar_done_fn *done, void *arg)
{
	struct repo_tar *t = new_tar(rs, done, arg);

	t->on_room = on_room;
	t->git = xasprintf("%s/in.git", t->dir);
	const char *argv[] = { GIT_PROGRAM, "init", "--bare", "--quiet", "--template=", "--",
		t->git, NULL };
	struct err e = { 0 };
	const struct child_opts o = { .argv = argv, .env = repo_store_env(rs) };

	t->child = child_start(repo_store_loop(rs), &o, NULL, on_made, t, &e);
	if (t->child != NULL)
		return t;
	log_warn("repo_tar", LOG_ERR(&e));
	repo_tar_free(t);
	return NULL;
}

size_t
repo_tar_write(struct repo_tar *t, const void *p, size_t n)
{
	if (t->is_unpacking)
		return child_write(t->child, p, n);
	buf_add(&t->early, p, n);
	return t->early.n;
}

void
repo_tar_close(struct repo_tar *t)
{
	t->is_closed = true;
	if (t->is_unpacking)
		child_close_stdin(t->child);
}
