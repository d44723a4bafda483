#include "node/gear_repo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/container.h"
#include "node/layer_fetch.h"
#include "node/node_dirs.h"
#include "node/tree_stream.h"

enum { WAIT_MS = 500, WAIT_MAX_MS = 60 * 1000, TRIES_MAX = 20, MARK_MAX = 256 };

/* A copy that is to be made. */
struct gear_repo {
	struct gear_repo *next, *prev;
	char *gear, *deployment; /* owned */
	int tries;
	int64_t due_ms;
};

struct gear_repos {
	const struct layer_fetch_opts *o; /* borrowed */
	struct gear_repo *first, *last;   /* owned: the first that is due first */
	struct map *waiting;              /* those by gear */
	struct gear_repo *now;            /* owned: under way; not in the list */
	struct loop_timer *timer;
	struct worker_job *job;
	struct tree_fetch *tree;
	char *tmp; /* owned: what is being fetched */
};

struct repo_job {
	struct gear_repos *repos; /* done only */
	char *root;               /* owned: of the gear's copy: at, git/APP.git */
	char *tmp, *deployment;   /* owned */
	bool is_there;
	struct err e;
};

static char *
root_of(const struct node_dirs *d, const char *gear)
{
	return xasprintf("%s/git/%s", d->data, gear);
}

static int
make_root(const struct node_dirs *d, const char *gear, char **out, struct err *e)
{
	AUTO(free) char *all = file_join(d->data, "git");
	AUTO(free) char *root = root_of(d, gear);
	AUTO(free) char *git = file_join(root, "git");

	if (file_mkdirs(all, 0700, e) < 0 || file_mkdirs(git, 0755, e) < 0)
		return -1;
	if (chmod(git, 0755) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "chmod %s", git);
	*out = STEAL(root);
	return 0;
}

int
gear_repo_bind(const struct node_dirs *d, const char *gear, struct container_spec *s, struct err *e)
{
	AUTO(free) char *root = NULL;

	if (make_root(d, gear, &root, e) < 0)
		return -1;
	AUTO(free) char *git = file_join(root, "git");
	container_spec_bind(s, git, "~/git", true, true);
	return 0;
}

static void
free_repo(struct gear_repo *x)
{
	if (x == NULL)
		return;
	free(x->gear);
	free(x->deployment);
	free(x);
}

static void
free_job(void *p)
{
	struct repo_job *j = p;

	free(j->root);
	free(j->tmp);
	free(j->deployment);
	free(j);
}

static void look(struct gear_repos *r);

static void
unlist(struct gear_repos *r, struct gear_repo *x)
{
	*(x->prev == NULL ? &r->first : &x->prev->next) = x->next;
	*(x->next == NULL ? &r->last : &x->next->prev) = x->prev;
	x->prev = x->next = NULL;
	(void)map_remove(r->waiting, x->gear);
}

/* In the order of time; most go to the end. */
static void
enlist(struct gear_repos *r, struct gear_repo *take_x, int64_t wait_ms)
{
	struct gear_repo *x = take_x, *before = r->last;

	x->due_ms = loop_now_ms() + wait_ms;
	while (before != NULL && before->due_ms > x->due_ms)
		before = before->prev;
	x->prev = before;
	x->next = before == NULL ? r->first : before->next;
	*(x->prev == NULL ? &r->first : &x->prev->next) = x;
	*(x->next == NULL ? &r->last : &x->next->prev) = x;
	map_set(r->waiting, x->gear, x);
}

/* The one under way is over; again: it is tried once more, later. */
static void
next(struct gear_repos *r, bool again)
{
	struct gear_repo *x = STEAL(r->now);
	int64_t wait = WAIT_MS << (x->tries > 7 ? 7 : x->tries);

	/* One that was asked for meanwhile is waiting already. */
	if (again && ++x->tries < TRIES_MAX && map_get(r->waiting, x->gear) == NULL) {
		enlist(r, x, wait > WAIT_MAX_MS ? WAIT_MAX_MS : wait);
	} else {
		free_repo(x);
	}
	free(STEAL(r->tmp));
	look(r);
}

static void
submit(struct gear_repos *r, worker_fn *run, worker_fn *done)
{
	struct repo_job *j = xcalloc(1, sizeof *j);

	*j = (struct repo_job){
		.repos = r,
		.root = root_of(r->o->dirs, r->now->gear),
		.tmp = xstrdup(r->tmp),
		.deployment = xstrdup(r->now->deployment),
	};
	r->job = worker_submit(r->o->worker, run, done, free_job, j);
}

/* --- in its place --- */

static void
run_discard(void *p)
{
	const struct repo_job *j = p;
	struct err e = { 0 };

	if (file_remove_tree(j->tmp, &e) < 0)
		log_warn("repo_remains", LOG_STR("dir", j->tmp), LOG_ERR(&e));
}

/* The only entry of a directory; caller owns. NULL: there is none. */
static char *
only_entry(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *de;
	char *name = NULL;

	while (d != NULL && name == NULL && (de = readdir(d)) != NULL) {
		if (de->d_name[0] != '.')
			name = file_join(dir, de->d_name);
	}
	if (d != NULL)
		(void)closedir(d);
	return name;
}

static int
swap(const struct repo_job *j, struct err *e)
{
	AUTO(free) char *app = only_entry(j->tmp);
	AUTO(free) char *parent = file_join(app == NULL ? j->tmp : app, "git");
	AUTO(free) char *from = only_entry(parent);
	AUTO(free) char *to = NULL;
	AUTO(free) char *mark = file_join(j->root, "at");

	if (from == NULL)
		return err_set(e, ERR_INVALID, NULL, "what came is no repository");
	to = xasprintf("%s/git/%s", j->root, strrchr(from, '/') + 1);
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) < 0 &&
	    (errno != ENOENT || rename(from, to) < 0))
		return err_set(e, ERR_SYSTEM, NULL, "move %s to %s", from, to);
	fault_point("repo_swapped");
	return file_replace(mark, j->deployment, strlen(j->deployment), 0600, e);
}

static void
run_swap(void *p)
{
	struct repo_job *j = p;

	(void)swap(j, &j->e);
	run_discard(j);
}

static void
on_swapped(void *p)
{
	struct repo_job *j = p;
	struct gear_repos *r = j->repos;
	bool is_done = j->e.code == ERR_NONE;

	r->job = NULL;
	if (is_done)
		log_info("repo_copied", LOG_STR("gear", r->now->gear),
		    LOG_STR("deployment", r->now->deployment));
	else
		log_warn("repo_not_copied", LOG_STR("gear", r->now->gear), LOG_ERR(&j->e));
	free_job(j);
	next(r, !is_done);
}

static void
on_discarded(void *p)
{
	struct repo_job *j = p;
	struct gear_repos *r = j->repos;

	r->job = NULL;
	free_job(j);
	next(r, true);
}

/* --- fetching --- */

static void
on_tree(const struct err *e, void *arg)
{
	struct gear_repos *r = arg;

	r->tree = NULL;
	if (e == NULL) {
		submit(r, run_swap, on_swapped);
		return;
	}
	if (e->code == ERR_NOT_FOUND)
		r->now->tries = TRIES_MAX; /* another deployment serves: that one asks */
	log_debug("repo_not_fetched", LOG_STR("gear", r->now->gear), LOG_ERR(e));
	submit(r, run_discard, on_discarded);
}

static void
run_look(void *p)
{
	struct repo_job *j = p;
	AUTO(free) char *mark = file_join(j->root, "at");
	AUTO_FINI(buf_fini) struct buf at = { 0 };
	struct err e = { 0 };

	j->is_there = !file_exists(j->root) ||
	              (file_read(mark, MARK_MAX, &at, &e) == 0 && strcmp(at.p, j->deployment) == 0);
	if (!j->is_there && mkdir(j->tmp, 0700) < 0)
		(void)err_set(&j->e, ERR_SYSTEM, NULL, "make %s", j->tmp);
}

static void
on_looked(void *p)
{
	struct repo_job *j = p;
	struct gear_repos *r = j->repos;
	AUTO(free)
	char *url = xasprintf("%s/internal/node/repo?node=%s&gear=%s&deployment=%s", r->o->broker,
	    r->o->node, r->now->gear, r->now->deployment);
	const struct tree_fetch_opts o = { r->o->loop, r->o->http, url, r->o->token, r->tmp };
	struct err e = j->e;
	bool is_there = j->is_there;

	r->job = NULL;
	free_job(j);
	if (is_there) {
		next(r, false);
		return;
	}
	if (e.code == ERR_NONE)
		r->tree = tree_fetch_start(&o, on_tree, r, &e);
	if (r->tree == NULL)
		next(r, true);
}

static void
on_timer(void *arg)
{
	struct gear_repos *r = arg;

	loop_timer_cancel(STEAL(r->timer));
	look(r);
}

/* The next whose time has come. */
static void
look(struct gear_repos *r)
{
	struct gear_repo *x = r->first;
	int64_t now = loop_now_ms();

	loop_timer_cancel(STEAL(r->timer));
	if (r->now != NULL || x == NULL)
		return;
	if (x->due_ms > now) {
		r->timer = loop_timer_start(r->o->loop, x->due_ms - now, false, on_timer, r);
		return;
	}
	unlist(r, x);
	r->now = x;
	AUTO(free) char *word = secret_random_hex(8);
	r->tmp = xasprintf("%s/repo-%s", r->o->dirs->scratch, word);
	submit(r, run_look, on_looked);
}

void
gear_repos_want(struct gear_repos *r, const char *gear, const char *deployment)
{
	struct gear_repo *x;

	if (deployment == NULL || deployment[0] == '\0')
		return;
	x = map_get(r->waiting, gear);
	if (x == NULL) {
		x = xcalloc(1, sizeof *x);
		*x = (struct gear_repo){ .gear = xstrdup(gear) };
	} else {
		unlist(r, x);
	}
	mem_set_str(&x->deployment, deployment);
	x->tries = 0;
	enlist(r, x, WAIT_MS);
	look(r);
}

static void
run_forget(void *p)
{
	const struct repo_job *j = p;
	struct err e = { 0 };

	if (file_remove_tree(j->root, &e) < 0)
		log_warn("repo_remains", LOG_STR("dir", j->root), LOG_ERR(&e));
}

void
gear_repos_forget(struct gear_repos *r, const char *gear)
{
	struct repo_job *j = xcalloc(1, sizeof *j);
	struct gear_repo *x = map_get(r->waiting, gear);

	if (x != NULL) {
		unlist(r, x);
		free_repo(x);
	}
	j->root = root_of(r->o->dirs, gear);
	worker_submit(r->o->worker, run_forget, free_job, free_job, j);
}

struct gear_repos *
gear_repos_new(const struct layer_fetch_opts *o)
{
	struct gear_repos *r = xcalloc(1, sizeof *r);

	r->o = o;
	r->waiting = map_new(NULL);
	return r;
}

void
gear_repos_free(struct gear_repos *take_r)
{
	struct gear_repos *r = take_r;

	if (r == NULL)
		return;
	loop_timer_cancel(r->timer);
	tree_fetch_cancel(r->tree);
	worker_detach(r->job);
	free_repo(r->now);
	while (r->first != NULL) {
		struct gear_repo *x = r->first;

		unlist(r, x);
		free_repo(x);
	}
	map_free(r->waiting);
	free(r->tmp);
	free(r);
}
