#include "broker/repo_archive.h"

#include <stdlib.h>
#include <string.h>

#include "broker/repo.h"
#include "lib/base/mem.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"

#define GIT_PROGRAM "/usr/bin/git"

enum { BLOCK = 512, TIMEOUT_MS = 15 * 60 * 1000 };

struct part {
	char *git_dir, *sha1, *prefix; /* owned */
};

struct repo_archive {
	struct repo_store *rs; /* borrowed */
	struct part *parts;
	size_t n, at;
	struct child *child;
	repo_archive_data_fn *on_data;
	repo_archive_end_fn *on_end;
	void *arg;
	int64_t left_max; /* bytes that may still come */
	char head[BLOCK]; /* of an entry, being collected */
	size_t head_n;
	int64_t data_left; /* of the present entry, padding included */
	bool is_at_end;    /* the part's closing blocks: dropped, for another part may follow */
	struct err e;
};

void
repo_archive_cancel(struct repo_archive *take_a)
{
	if (take_a == NULL)
		return;
	child_free(take_a->child);
	for (size_t i = 0; i < take_a->n; i++) {
		free(take_a->parts[i].git_dir);
		free(take_a->parts[i].sha1);
		free(take_a->parts[i].prefix);
	}
	free(take_a->parts);
	free(take_a);
}
DEFINE_AUTO(struct repo_archive *, repo_archive_cancel)

static void
give(struct repo_archive *a, const char *p, size_t n)
{
	if (n > 0 && !a->on_data(p, n, a->arg) && a->child != NULL)
		child_pause(a->child, true);
}

/* Size field of a tar header: octal (git writes nothing else below 8 GiB). */
static int64_t
entry_size(const char *head)
{
	int64_t v = 0;

	for (int i = 124; i < 136 && head[i] >= '0' && head[i] <= '7'; i++)
		v = v * 8 + (head[i] - '0');
	return v;
}

static bool
is_zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != '\0')
			return false;
	}
	return true;
}

/* Passes entries on; stops at the closing blocks. */
static void
feed(struct repo_archive *a, const char *p, size_t n)
{
	while (n > 0 && !a->is_at_end) {
		size_t k;

		if (a->data_left > 0) {
			k = (int64_t)n < a->data_left ? n : (size_t)a->data_left;
			give(a, p, k);
			a->data_left -= (int64_t)k;
		} else {
			k = BLOCK - a->head_n < n ? BLOCK - a->head_n : n;
			memcpy(a->head + a->head_n, p, k);
			a->head_n += k;
			if (a->head_n == BLOCK) {
				a->head_n = 0;
				a->is_at_end = is_zero(a->head, BLOCK);
				a->data_left = (entry_size(a->head) + BLOCK - 1) / BLOCK * BLOCK;
				if (!a->is_at_end)
					give(a, a->head, BLOCK);
			}
		}
		p += k;
		n -= k;
	}
}

static void
on_out(struct child *c, int fd, const char *p, size_t n, void *arg)
{
	struct repo_archive *a = arg;

	if (fd == 2) {
		if (a->e.code == ERR_NONE)
			(void)err_set(&a->e, ERR_INVALID, NULL, "git archive: %.*s",
			    (int)(n > 400 ? 400 : n), p);
		return;
	}
	a->left_max -= (int64_t)n;
	if (a->left_max < 0) {
		if (a->e.code != ERR_LIMIT)
			(void)err_set(&a->e, ERR_LIMIT, NULL, "the tree is too large");
		child_kill(c, 9);
		return;
	}
	feed(a, p, n);
}

static int next_part(struct repo_archive *a, struct err *e);

static void
on_child_end(struct child *c, const struct child_end *end, void *arg)
{
	struct repo_archive *a = arg;
	static const char closing[2 * BLOCK];
	struct err e = { 0 };
	int rc = 0;

	(void)c;
	child_free(STEAL(a->child));
	if (a->e.code == ERR_LIMIT) {
		e = a->e;
		rc = -1;
	} else if (end->status != 0) {
		rc = a->e.code != ERR_NONE
		         ? (e = a->e, -1)
		         : err_set(&e, ERR_SYSTEM, NULL, "git archive: %s", end->why);
	} else if (++a->at < a->n) {
		rc = next_part(a, &e);
		if (rc == 0)
			return;
	} else {
		give(a, closing, sizeof closing);
	}
	a->on_end(rc < 0 ? &e : NULL, a->arg);
	repo_archive_cancel(a);
}

static int
next_part(struct repo_archive *a, struct err *e)
{
	const struct part *p = &a->parts[a->at];
	AUTO(free) char *prefix = xasprintf("--prefix=%s", p->prefix);
	const char *argv[] = { GIT_PROGRAM, "archive", "--format=tar", prefix, p->sha1, NULL };

	a->is_at_end = false;
	a->head_n = 0;
	a->data_left = 0;
	a->child = child_start(repo_store_loop(a->rs),
	    &(struct child_opts){ .argv = argv,
	        .env = repo_store_env(a->rs),
	        .cwd = p->git_dir,
	        .timeout_ms = TIMEOUT_MS },
	    on_out, on_child_end, a, e);
	return a->child == NULL ? -1 : 0;
}

struct repo_archive *
repo_archive_start(struct repo_store *rs, const struct repo_archive_part *parts, size_t n,
    int64_t max_bytes, repo_archive_data_fn *on_data, repo_archive_end_fn *on_end, void *arg,
    struct err *e)
{
	AUTO(repo_archive_cancel) struct repo_archive *a = xcalloc(1, sizeof *a);

	*a = (struct repo_archive){ .rs = rs,
		.n = n,
		.parts = xcalloc(n, sizeof *a->parts),
		.on_data = on_data,
		.on_end = on_end,
		.arg = arg,
		.left_max = max_bytes };
	for (size_t i = 0; i < n; i++)
		a->parts[i] = (struct part){ xstrdup(parts[i].git_dir), xstrdup(parts[i].sha1),
			xstrdup(parts[i].prefix) };
	return next_part(a, e) < 0 ? NULL : STEAL(a);
}

void
repo_archive_resume(struct repo_archive *a)
{
	if (a->child != NULL)
		child_pause(a->child, false);
}
