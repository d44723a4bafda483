#include "broker/restore_git.h"

#include <stdlib.h>

#include "broker/broker.h"
#include "broker/node_link.h"
#include "broker/repo_tar.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"

enum { TIMEOUT_MS = 3600 * 1000 };

struct restore_git {
	struct http_call *call;
	struct repo_tar *tar;
	restore_git_fn *fn;
	void *arg;
};

void
restore_git_free(struct restore_git *take_g)
{
	if (take_g == NULL)
		return;
	http_call_cancel(take_g->call);
	repo_tar_free(take_g->tar);
	free(take_g);
}
DEFINE_AUTO(struct restore_git *, restore_git_free)

static void
on_room(void *arg)
{
	struct restore_git *g = arg;

	if (g->call != NULL)
		http_call_resume(g->call);
}

static bool
on_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct restore_git *g = arg;

	(void)c;
	(void)repo_tar_write(g->tar, p, n); /* bounded by the gear's disk */
	return true;
}

static void
on_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct restore_git *g = arg;
	struct err bad = { 0 };

	(void)c;
	(void)body;
	g->call = NULL;
	if (e == NULL && status == 200) {
		repo_tar_close(g->tar);
		return;
	}
	(void)err_set(&bad, ERR_BUSY, NULL, "the node broke off within the repository");
	g->fn(NULL, &bad, g->arg);
}

static void
on_checked(const char *git_dir, const struct err *e, void *arg)
{
	struct restore_git *g = arg;

	if (g->call != NULL) /* tar ended before its input */
		http_call_cancel(STEAL(g->call));
	g->fn(git_dir, e, g->arg);
}

struct restore_git *
restore_git_start(struct broker *b, const char *node, const char *gear, restore_git_fn *fn,
    void *arg, struct err *e)
{
	AUTO(restore_git_free) struct restore_git *g = xcalloc(1, sizeof *g);
	AUTO(free) char *path = xasprintf("/v1/gears/%s/restore/git", gear);
	AUTO(free) char *url = NULL;
	struct http_call_opts o = { .on_data = on_data, .timeout_ms = TIMEOUT_MS };

	*g = (struct restore_git){ .fn = fn, .arg = arg };
	if (node_link_call(b->nodes, node, path, &o, &url, e) < 0)
		return NULL;
	g->tar = repo_tar_load(b->repos, on_room, on_checked, g);
	if (g->tar == NULL) {
		(void)err_set(e, ERR_SYSTEM, NULL, "no room for the repository");
		return NULL;
	}
	g->call = http_call_start(b->client, &o, on_end, g, e);
	return g->call == NULL ? NULL : STEAL(g);
}
