#include "broker/push_tree.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/repo_git.h"
#include "lib/base/mem.h"
#include "lib/loop/worker.h"

struct push_tree {
	struct worker_job *handle;
	push_tree_fn *fn;
	void *arg;
	char *git_dir, *quarantine, *sha1;
	struct err e;
	int rc;
};

static void
tree_free(void *p)
{
	struct push_tree *t = p;

	free(t->git_dir);
	free(t->quarantine);
	free(t->sha1);
	free(t);
}

static void
run(void *p)
{
	struct push_tree *t = p;

	if (t->rc == 0)
		t->rc = repo_git_check_tree(t->git_dir, t->quarantine, t->sha1, &t->e);
}

static void
done(void *p)
{
	struct push_tree *t = p;

	t->fn(t->rc < 0 ? &t->e : NULL, t->arg);
	tree_free(t);
}

static bool
is_inside(const char *git_dir, const char *path)
{
	size_t n = strlen(git_dir);

	return strncmp(path, git_dir, n) == 0 && path[n] == '/' && strstr(path, "/../") == NULL &&
	       strstr(path, "/objects/") != NULL;
}

struct push_tree *
push_tree_start(struct broker *b, const char *git_dir, const char *quarantine, const char *sha1,
    push_tree_fn *fn, void *arg)
{
	struct push_tree *t = xcalloc(1, sizeof *t);

	*t = (struct push_tree){
		.fn = fn, .arg = arg, .git_dir = xstrdup(git_dir), .sha1 = xstrdup(sha1)
	};
	if (quarantine != NULL && *quarantine != '\0') {
		t->quarantine = xstrdup(quarantine);
		if (!is_inside(git_dir, quarantine))
			t->rc = err_set(&t->e, ERR_DENIED, NULL, "the quarantine lies elsewhere");
	}
	t->handle = worker_submit(b->worker, run, done, tree_free, t);
	return t;
}

void
push_tree_cancel(struct push_tree *take_t)
{
	if (take_t != NULL)
		worker_detach(take_t->handle);
}
