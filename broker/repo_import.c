#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/record.h"
#include "broker/repo.h"
#include "broker/repo_git.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_app.h"

#define GIT_PROGRAM "/usr/bin/git"

enum {
	FETCH_TIMEOUT_MS = 10 * 60 * 1000,
	LOOK_TIMEOUT_MS = 60 * 1000,
	TRIES_MAX = 10,
	REFS_MAX = 10000
};

/* Steps: the repository, `ls-remote` (is it there, what is its HEAD), `fetch`, the refs that came,
 * the record. */
struct repo_import {
	struct repo_store *rs; /* borrowed */
	struct repo_ask *ask;  /* step 1 */
	repo_resolve_fn *fn;
	void *arg;
	char *app_id, *url, *want; /* want: after '#', or NULL */
	bool is_local;             /* url is a directory of ours */
	char *git_dir;
	char *head; /* of the remote: refs/heads/… */
	struct child *child;
	struct str_list refs; /* NAME, OID in turn */
	char *ref;
	char sha1[REPO_GIT_OID_LEN + 1];
	struct err e;
	int rc, tries;
};

static void
import_free(void *p)
{
	struct repo_import *im = p;

	child_free(im->child);
	free(im->app_id);
	free(im->url);
	free(im->want);
	free(im->git_dir);
	free(im->head);
	free(im->ref);
	str_list_fini(&im->refs);
	free(im);
}

static void
finish(struct repo_import *im, int rc)
{
	if (rc < 0)
		log_info("import_failed", LOG_STR("app", im->app_id), LOG_ERR(&im->e));
	im->fn(im->ref, rc < 0 ? NULL : im->sha1, rc < 0 ? &im->e : NULL, im->arg);
	import_free(im);
}

static int
check_url(const char *url, struct err *e)
{
	static const char *const taken[] = { "http://", "https://", "git://" };

	for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
		if (str_has_prefix(url, taken[i]) && url[strlen(taken[i])] != '\0' &&
		    url[strlen(taken[i])] != '-')
			return 0;
	}
	if (str_has_prefix(url, "ssh://") ||
	    (strchr(url, '@') != NULL && strstr(url, "://") == NULL))
		return err_set(e, ERR_INVALID, "initial_git_url",
		    "the broker has no key for %.200s: give the repository's https:// URL", url);
	return err_set(e, ERR_INVALID, "initial_git_url",
	    "%.200s: give a URL that begins with https://, http:// or git://", url);
}

static const char *
last_line(const struct child_end *end)
{
	const char *p = end->err + end->err_len;

	while (p > end->err && p[-1] == '\n')
		p--;
	while (p > end->err && p[-1] != '\n')
		p--;
	return p;
}

static void
unreachable(struct repo_import *im, const struct child_end *end)
{
	const char *line = last_line(end);

	(void)err_set(&im->e, ERR_INVALID, "initial_git_url", "cannot fetch %.200s: %.*s", im->url,
	    (int)strcspn(line, "\n"), *line == '\0' ? end->why : line);
	finish(im, -1);
}

static int
run(struct repo_import *im, const char *const *argv, int64_t timeout_ms, child_end_fn *on_end)
{
	const char *env[32] = { NULL };
	const char *const *base = repo_store_env(im->rs);
	size_t n = 0;

	for (; base[n] != NULL && n < 30; n++)
		env[n] = base[n];
	env[n] = im->is_local ? "GIT_ALLOW_PROTOCOL=file" : "GIT_ALLOW_PROTOCOL=http:https:git";
	child_free(STEAL(im->child));
	im->child = child_start(repo_store_loop(im->rs),
	    &(struct child_opts){ .argv = argv,
	        .env = env,
	        .cwd = im->git_dir,
	        .out_max = 1 << 20,
	        .timeout_ms = timeout_ms },
	    NULL, on_end, im, &im->e);
	return im->child == NULL ? -1 : 0;
}

/* --- the record --- */

static void store(struct repo_import *im);

static void
on_stored(int64_t rev, const struct err *e, void *arg)
{
	struct repo_import *im = arg;

	(void)rev;
	if (e != NULL && e->code == ERR_CONFLICT && ++im->tries < TRIES_MAX) {
		store(im);
		return;
	}
	if (e != NULL)
		im->e = *e;
	finish(im, e == NULL ? 0 : -1);
}

static void
store(struct repo_import *im)
{
	AUTO_FINI(wire_refs_fini) struct wire_refs refs = { 0 };
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	struct broker *b = repo_store_broker(im->rs);
	struct store_txn *t;
	struct store_kv kv;
	AUTO(free) char *key = store_key_refs(im->app_id);
	int64_t app_rev;

	if (record_app_by_id(b->store, im->app_id, &app, &app_rev, &im->e) < 0) {
		finish(im, -1);
		return;
	}
	for (size_t i = 0; i + 1 < im->refs.n && refs.refs.n < REFS_MAX; i += 2) {
		struct wire_ref *r = codec_list_add(&wire_ref_codec, &refs.refs);

		r->name = xstrdup(im->refs.v[i]);
		r->oid = xstrdup(im->refs.v[i + 1]);
	}
	if (str_has_prefix(im->ref, "refs/heads/")) {
		refs.head = xstrdup(im->ref);
		if (!app.branch_by_user)
			mem_set_str(&app.deployment_branch, im->ref + strlen("refs/heads/"));
	}
	app.pushed = true;
	fault_point("import_store");
	t = store_txn_new();
	record_put_cas(t, xstrdup(key), store_get(b->store, key, &kv) ? kv.mod_rev : 0,
	    &wire_refs_codec, &refs);
	record_put_cas(t, store_key_app(app.domain, app.name), app_rev, &wire_app_codec, &app);
	store_txn_submit(b->store, t, on_stored, im);
}

/* --- what came --- */

static const char *
oid_of(const struct repo_import *im, const char *name)
{
	for (size_t i = 0; i + 1 < im->refs.n; i += 2) {
		if (strcmp(im->refs.v[i], name) == 0)
			return im->refs.v[i + 1];
	}
	return NULL;
}

/* Which of the refs is to be deployed: what was asked for, the remote's HEAD, main, master. */
static int
choose(struct repo_import *im)
{
	const char *word = im->want != NULL ? im->want : "";
	char *tries[] = { xasprintf("refs/heads/%s", word), xasprintf("refs/tags/%s", word),
		im->want == NULL ? xstrdup_null(im->head) : NULL,
		im->want == NULL ? xstrdup("refs/heads/main") : NULL,
		im->want == NULL ? xstrdup("refs/heads/master") : NULL };
	const char *oid = NULL;

	for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
		if (oid == NULL && tries[i] != NULL && (oid = oid_of(im, tries[i])) != NULL)
			im->ref = xstrdup(tries[i]);
		free(tries[i]);
	}
	if (oid == NULL && im->want != NULL) {
		oid = im->want;
		im->ref = xstrdup(im->want);
	}
	if (im->refs.n == 0)
		return err_set(
		    &im->e, ERR_INVALID, "initial_git_url", "%.200s has no branch", im->url);
	if (oid == NULL)
		return err_set(&im->e, ERR_INVALID, "initial_git_url",
		    "%.200s has no main branch: name one as URL#BRANCH", im->url);
	return repo_git_commit_of(im->git_dir, oid, im->sha1, &im->e);
}

static void
look(void *p)
{
	struct repo_import *im = p;

	im->rc = repo_git_refs(im->git_dir, &im->refs, &im->e);
	if (im->rc == 0)
		im->rc = choose(im);
}

static void
on_looked(void *p)
{
	struct repo_import *im = p;

	if (im->rc < 0)
		finish(im, -1);
	else
		store(im);
}

static void
on_fetched(struct child *c, const struct child_end *end, void *arg)
{
	struct repo_import *im = arg;

	(void)c;
	if (end->status != 0)
		unreachable(im, end);
	else
		(void)worker_submit(
		    repo_store_broker(im->rs)->worker, look, on_looked, import_free, im);
}

static void
on_listed(struct child *c, const struct child_end *end, void *arg)
{
	struct repo_import *im = arg;
	const char *argv[] = { GIT_PROGRAM, "fetch", "--quiet", "--no-write-fetch-head", "--",
		im->url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", NULL };
	static const char sym[] = "ref: ";
	const char *tab;

	(void)c;
	if (end->status != 0) {
		unreachable(im, end);
		return;
	}
	tab = strchr(end->out, '\t');
	if (strncmp(end->out, sym, sizeof sym - 1) == 0 && tab != NULL)
		im->head = xstrndup(
		    end->out + sizeof sym - 1, (size_t)(tab - end->out) - (sizeof sym - 1));
	if (run(im, argv, FETCH_TIMEOUT_MS, on_fetched) < 0)
		finish(im, -1);
}

static void
on_repo(const char *git_dir, const struct err *e, void *arg)
{
	struct repo_import *im = arg;
	const char *argv[] = { GIT_PROGRAM, "ls-remote", "--symref", "--", im->url, "HEAD", NULL };

	im->ask = NULL;
	if (e != NULL) {
		im->e = *e;
		finish(im, -1);
		return;
	}
	im->git_dir = xstrdup(git_dir);
	if (im->e.code != ERR_NONE || (!im->is_local && check_url(im->url, &im->e) < 0) ||
	    run(im, argv, LOOK_TIMEOUT_MS, on_listed) < 0)
		finish(im, -1);
}

void
repo_import(
    struct repo_store *rs, const char *app_id, const char *url, repo_resolve_fn *fn, void *arg)
{
	struct repo_import *im = xcalloc(1, sizeof *im);
	struct str base, want = str_cut(str_of(url), '#', &base);

	*im = (struct repo_import){ .rs = rs,
		.fn = fn,
		.arg = arg,
		.app_id = xstrdup(app_id),
		.url = xstrndup(base.p, base.n),
		.want = want.p == NULL || want.n == 0 ? NULL : xstrndup(want.p, want.n) };
	im->ask = repo_open(rs, app_id, on_repo, im);
}

void
repo_import_dir(
    struct repo_store *rs, const char *app_id, const char *git_dir, repo_resolve_fn *fn, void *arg)
{
	struct repo_import *im = xcalloc(1, sizeof *im);

	*im = (struct repo_import){ .rs = rs,
		.fn = fn,
		.arg = arg,
		.app_id = xstrdup(app_id),
		.url = xstrdup(git_dir),
		.is_local = true };
	im->ask = repo_open(rs, app_id, on_repo, im);
}
