#include "broker/repo.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/record.h"
#include "broker/repo_disk.h"
#include "broker/repo_git.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/cart/cart_dir.h"
#include "lib/loop/child.h"
#include "lib/loop/child_run.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_app.h"

enum {
	ENV_MAX = 24,
	PACK_AFTER = 20, /* pushes to a repository, then git is asked whether it wants packing */
	PACK_TIMEOUT_MS = 30 * 60 * 1000,
	TEMPLATE_MS = 5 * 60 * 1000,
};

#define GIT_PROGRAM "/usr/bin/git"
#define TAR_PROGRAM "/usr/bin/tar"

DEFINE_AUTO(struct cart_dir *, cart_dir_close)

/* An application's repository, as this process left it on disk. */
struct repo {
	struct repo_store *rs; /* borrowed */
	char *app_id;
	char *dir;
	int64_t disk_rev; /* of the refs record that is on disk; -1: not known */
	char *disk_head;  /* likewise; owned */
	bool is_swept;    /* of what an earlier broker's git processes left */
	bool is_busy;
	int pushes;            /* since the last look whether it wants packing */
	struct repo_ask *asks; /* owned; wait for it */
};

struct repo_ask {
	struct repo_ask *next;
	struct repo_store *rs; /* borrowed */
	struct repo *repo;     /* that it waits for; borrowed; NULL: its own job */
	struct worker_job *job;
	repo_ready_fn *fn; /* NULL: cancelled */
	repo_resolve_fn *on_resolve;
	void *arg;
};

struct repo_store {
	struct broker *b; /* borrowed */
	char *root;
	char *env[ENV_MAX];    /* owned strings, NULL-terminated */
	struct map *repos;     /* app id → struct repo, owned */
	struct map *templates; /* NAME-VERSION[DIGEST]@BRANCH → directory, owned */
	struct child *packing; /* one at a time; owned */
	struct repo_ask *pack_ask;
};

static void
repo_free(void *p)
{
	struct repo *r = p;

	while (r->asks != NULL) {
		struct repo_ask *a = r->asks;

		r->asks = a->next;
		free(a);
	}
	free(r->app_id);
	free(r->dir);
	free(r->disk_head);
	free(r);
}

static void
env_add(struct repo_store *rs, char *take_s)
{
	size_t i = 0;

	while (rs->env[i] != NULL)
		i++;
	rs->env[i] = take_s;
}

static int
link_hooks(const char *dir, const char *program, struct err *e)
{
	static const char *const names[] = { "pre-receive", "proc-receive" };

	if (file_mkdirs(dir, 0755, e) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO(free) char *path = file_join(dir, names[i]);

		(void)unlink(path);
		if (symlink(program, path) < 0)
			return err_set(e, ERR_SYSTEM, "hook-program", "cannot link %s", path);
	}
	return 0;
}

struct repo_store *
repo_store_new(struct broker *b, struct err *e)
{
	AUTO(repo_store_free) struct repo_store *rs = xcalloc(1, sizeof *rs);
	AUTO(free) char *data = realpath(b->conf.data, NULL);
	AUTO(free) char *templates = NULL, *hooks = NULL, *config = NULL;

	if (data == NULL) {
		(void)err_set(e, ERR_SYSTEM, "data", "cannot use the directory %s", b->conf.data);
		return NULL;
	}
	rs->b = b;
	rs->repos = map_new(repo_free);
	rs->templates = map_new(free);
	rs->root = file_join(data, "git");
	templates = file_join(rs->root, "template");
	hooks = file_join(rs->root, "hooks");
	config = file_join(rs->root, "config");
	if (file_mkdirs(templates, 0700, e) < 0 || link_hooks(hooks, b->conf.hook_program, e) < 0 ||
	    repo_disk_config(config, hooks, b->conf.pack_max_mb, e) < 0)
		return NULL;
	repo_git_setup();
	env_add(rs, xstrdup("PATH=/usr/local/bin:/usr/bin:/bin"));
	env_add(rs, xstrdup("LANG=C.UTF-8"));
	env_add(rs, xasprintf("HOME=%s", rs->root));
	env_add(rs, xasprintf("GIT_CONFIG_GLOBAL=%s", config));
	env_add(rs, xstrdup("GIT_CONFIG_NOSYSTEM=1"));
	env_add(rs, xstrdup("GIT_TERMINAL_PROMPT=0"));
	env_add(rs, xstrdup("GIT_ASKPASS=/bin/false"));
	env_add(rs, xstrdup("GIT_AUTHOR_NAME=Pinion"));
	env_add(rs, xstrdup("GIT_AUTHOR_EMAIL=pinion@localhost"));
	env_add(rs, xstrdup("GIT_COMMITTER_NAME=Pinion"));
	env_add(rs, xstrdup("GIT_COMMITTER_EMAIL=pinion@localhost"));
	return STEAL(rs);
}

void
repo_store_free(struct repo_store *take_rs)
{
	if (take_rs == NULL)
		return;
	child_free(take_rs->packing);
	map_free(take_rs->repos);
	map_free(take_rs->templates);
	for (size_t i = 0; take_rs->env[i] != NULL; i++)
		free(take_rs->env[i]);
	free(take_rs->root);
	free(take_rs);
}

const char *const *
repo_store_env(const struct repo_store *rs)
{
	return (const char *const *)rs->env;
}

struct loop *
repo_store_loop(const struct repo_store *rs)
{
	return rs->b->loop;
}

struct broker *
repo_store_broker(const struct repo_store *rs)
{
	return rs->b;
}

void
repo_ask_cancel(struct repo_ask *take_a)
{
	if (take_a == NULL)
		return;
	take_a->fn = NULL;
	take_a->on_resolve = NULL;
}

static struct repo *
repo_of(struct repo_store *rs, const char *app_id)
{
	struct repo *r = map_get(rs->repos, app_id);

	if (r == NULL) {
		r = xcalloc(1, sizeof *r);
		*r = (struct repo){ .rs = rs,
			.app_id = xstrdup(app_id),
			.disk_rev = -1,
			.dir = xasprintf("%s/%s.git", rs->root, app_id) };
		map_set(rs->repos, app_id, r);
	}
	return r;
}

char *
repo_dir(struct repo_store *rs, const char *app_id)
{
	return xstrdup(repo_of(rs, app_id)->dir);
}

/* --- bringing a repository up to its record --- */

struct update_job {
	struct repo *repo; /* borrowed; loop only */
	char *dir;
	struct wire_refs refs;
	int64_t rev;
	bool is_swept;
	struct err e;
	int rc;
};

static void
update_free(void *p)
{
	struct update_job *j = p;

	wire_refs_fini(&j->refs);
	free(j->dir);
	free(j);
}

static void
update_run(void *p)
{
	struct update_job *j = p;

	if (!j->is_swept)
		repo_disk_sweep(j->dir);
	j->rc = repo_disk_make(j->dir, &j->e);
	if (j->rc == 0)
		j->rc = repo_disk_refs(j->dir, &j->refs, &j->e);
}

static void update_begin(struct repo *r);

static void
answer_all(struct repo *r, const struct err *e)
{
	struct repo_ask *list = STEAL(r->asks);

	while (list != NULL) {
		struct repo_ask *a = list;

		list = a->next;
		if (a->fn != NULL)
			a->fn(e == NULL ? r->dir : NULL, e, a->arg);
		free(a);
	}
}

static void
update_done(void *p)
{
	struct update_job *j = p;
	struct repo *r = j->repo;
	bool is_ok = j->rc == 0;

	r->is_busy = false;
	r->is_swept = true;
	r->disk_rev = is_ok ? j->rev : -1;
	mem_set_str(&r->disk_head, j->refs.head);
	if (!is_ok)
		log_error("repo_update_failed", LOG_STR("app", r->app_id), LOG_ERR(&j->e));
	answer_all(r, is_ok ? NULL : &j->e);
	update_free(j);
	if (r->asks != NULL)
		update_begin(r);
}

static void
on_current(void *arg)
{
	struct repo *r = arg;

	r->is_busy = false;
	update_begin(r);
}

/* HEAD is the branch that deploys, where that branch is there. */
static void
set_head(const struct repo *r, struct wire_refs *refs)
{
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	AUTO(free) char *head = NULL;
	struct err e = { 0 };

	if (record_app_by_id(r->rs->b->store, r->app_id, &app, NULL, &e) < 0 ||
	    app.deployment_branch == NULL || *app.deployment_branch == '\0')
		return;
	head = xasprintf("refs/heads/%s", app.deployment_branch);
	for (size_t i = 0; i < refs->refs.n; i++) {
		if (strcmp(refs->refs.v[i].name, head) == 0)
			mem_set_str(&refs->head, head);
	}
}

/* Answers those who wait, after an update where the record says more than the disk. */
static void
update_begin(struct repo *r)
{
	struct repo_store *rs = r->rs;
	struct update_job *j;
	struct wire_refs refs = { 0 };
	int64_t rev = 0;
	struct err e = { 0 };

	if (r->is_busy || r->asks == NULL)
		return;
	if (record_get(rs->b->store, store_key_refs(r->app_id), &wire_refs_codec, &refs, &rev, &e) <
	    0)
		rev = 0;
	set_head(r, &refs);
	if (rev == r->disk_rev && strcmp(refs.head == NULL ? "" : refs.head,
	                              r->disk_head == NULL ? "" : r->disk_head) == 0) {
		wire_refs_fini(&refs);
		answer_all(r, NULL);
		return;
	}
	j = xcalloc(1, sizeof *j);
	*j = (struct update_job){
		.repo = r, .dir = xstrdup(r->dir), .refs = refs, .rev = rev, .is_swept = r->is_swept
	};
	r->is_busy = true;
	(void)worker_submit(rs->b->worker, update_run, update_done, update_free, j);
}

struct repo_ask *
repo_open(struct repo_store *rs, const char *app_id, repo_ready_fn *fn, void *arg)
{
	struct repo *r = repo_of(rs, app_id);
	struct repo_ask *a = xcalloc(1, sizeof *a);

	*a = (struct repo_ask){ .rs = rs, .repo = r, .fn = fn, .arg = arg, .next = r->asks };
	r->asks = a;
	if (!r->is_busy) { /* never from inside this call */
		r->is_busy = true;
		loop_post(rs->b->loop, on_current, r);
	}
	return a;
}

/* --- templates --- */

struct template_job {
	struct repo_store *rs; /* borrowed; loop only */
	struct repo_ask *ask;  /* owned; loop only */
	char *key;             /* loop only */
	char *cartridges, *root, *data;
	const char *const *env; /* borrowed */
	struct wire_gear_cart cart;
	char *branch;
	char *own;      /* where the application's own is, if a gear's scripts made one */
	char *known;    /* the cartridge's, when it was made before; or NULL */
	struct buf tar; /* the own one, new */
	char *dir;      /* the result */
	struct err e;
};

static void
template_free(void *p)
{
	struct template_job *j = p;

	free(j->ask);
	free(j->key);
	free(j->cartridges);
	free(j->root);
	free(j->data);
	wire_gear_cart_fini(&j->cart);
	free(j->branch);
	free(j->own);
	free(j->known);
	buf_fini(&j->tar);
	free(j->dir);
	free(j);
}

/* Where a cartridge keeps what its applications begin with, as v2 looked for it. */
static const char *const template_dirs[] = { "template", "template.git", "usr/template",
	"usr/template.git" };

/* In the directory of a cartridge; NULL: it brings none. */
static char *
find_template(const char *cart)
{
	for (size_t i = 0; i < ARRAY_LEN(template_dirs); i++) {
		char *dir = file_join(cart, template_dirs[i]);

		if (file_exists(dir))
			return dir;
		free(dir);
	}
	return NULL;
}

static int
template_child(struct template_job *j, const char *const *argv)
{
	const struct child_opts o = { .argv = argv, .env = j->env, .timeout_ms = TEMPLATE_MS };

	return child_run(&o, NULL, 0, NULL, &j->e) == 0 ? 0 : -1;
}

/* The head of a repository becomes the branch. */
static int
template_fetch(struct template_job *j, const char *src, const char *dir)
{
	AUTO(free) char *git = xasprintf("--git-dir=%s", dir);
	AUTO(free) char *ref = xasprintf("+HEAD:refs/heads/%s", j->branch);
	AUTO(free) char *head = file_join(dir, "HEAD");
	AUTO(free) char *line = xasprintf("ref: refs/heads/%s\n", j->branch);
	const char *argv[] = { GIT_PROGRAM, git, "fetch", "-q", "--no-tags", src, ref, NULL };

	if (template_child(j, argv) < 0)
		return -1;
	return file_replace(head, line, strlen(line), 0600, &j->e);
}

/* What the cartridge at `cart` brings becomes the repository `dir`; without a template: an empty
 * directory. */
static int
template_import(struct template_job *j, const char *cart, const char *dir)
{
	AUTO(free) char *src = find_template(cart);
	char sha1[REPO_GIT_OID_LEN + 1];

	if (src != NULL && str_has_suffix(src, ".git"))
		return template_fetch(j, src, dir);
	return repo_git_import_tree(dir, src, j->branch, sha1, &j->e);
}

/* A repository from outside says neither where else its objects lie nor how git is to behave. */
static void
make_plain(const char *cart)
{
	static const char *const names[] = { "config", "commondir", "objects/info/alternates",
		"objects/info/http-alternates" };
	AUTO(free) char *src = find_template(cart);

	for (size_t i = 0; src != NULL && str_has_suffix(src, ".git") && i < ARRAY_LEN(names);
	     i++) {
		AUTO(free) char *path = file_join(src, names[i]);

		(void)unlink(path);
	}
}

/* Our own packer has looked through the archive, or the node. */
static int
template_of_archive(struct template_job *j, const char *archive, const char *dir)
{
	AUTO(free) char *word = secret_random_hex(8);
	AUTO(free) char *tmp = xasprintf("%s/scratch/%s", j->data, word);
	const char *argv[] = { TAR_PROGRAM, "-xf", archive, "-C", tmp, "--no-same-owner", NULL };
	struct err ignored = { 0 };
	int rc;

	if (file_mkdirs(tmp, 0700, &j->e) < 0)
		return -1;
	rc = template_child(j, argv);
	if (rc == 0) {
		make_plain(tmp);
		rc = template_import(j, tmp, dir);
	}
	if (file_remove_tree(tmp, &ignored) < 0)
		log_warn("scratch_remains", LOG_STR("dir", tmp), LOG_ERR(&ignored));
	return rc;
}

static int
template_of_blob(struct template_job *j, const char *dir)
{
	AUTO(free)
	char *blob = xasprintf("%s/blobs/%s", j->data, j->cart.digest + strlen("sha256:"));

	return template_of_archive(j, blob, dir);
}

static const struct cart_dir_entry *
find_stock(struct template_job *j, const struct cart_dir *d)
{
	const struct cart_dir_entry *c = cart_dir_find(d, j->cart.name, j->cart.version, NULL);

	if (c == NULL)
		(void)err_set(&j->e, ERR_NOT_FOUND, "cartridge", "there is no cartridge %s %s",
		    j->cart.name, j->cart.version);
	return c;
}

/* A branch's name as one word of a path. */
static char *
branch_word(const char *branch)
{
	char *safe = xstrdup(branch);

	for (char *p = safe; *p != '\0'; p++) {
		if (*p == '/')
			*p = '+';
	}
	return safe;
}

/* The first one counts: users may have it. */
static int
template_keep(struct template_job *j, const char *done)
{
	AUTO(free) char *word = secret_random_hex(8);
	AUTO(free) char *scratch = file_join(j->data, "scratch");
	AUTO(free) char *archive = xasprintf("%s/%s.tar", scratch, word);
	int rc;

	if (file_mkdirs(scratch, 0700, &j->e) < 0 || file_remove_tree(j->own, &j->e) < 0 ||
	    repo_disk_make(j->own, &j->e) < 0 ||
	    file_replace_fast(archive, j->tar.p, j->tar.n, 0600, &j->e) < 0)
		return -1;
	rc = template_of_archive(j, archive, j->own);
	(void)unlink(archive);
	return rc < 0 ? -1 : file_replace(done, "", 0, 0600, &j->e);
}

static int
template_make(struct template_job *j)
{
	AUTO(cart_dir_close) struct cart_dir *d = NULL;
	const struct cart_dir_entry *c = NULL;
	bool is_stock = j->cart.digest == NULL || j->cart.digest[0] == '\0';
	AUTO(free) char *dir = NULL, *safe = branch_word(j->branch), *done = NULL;

	if (is_stock &&
	    ((d = cart_dir_open(j->cartridges, &j->e)) == NULL || (c = find_stock(j, d)) == NULL))
		return -1;
	dir = xasprintf("%s/template/%s-%.16s@%s.git", j->root, j->cart.name,
	    is_stock ? c->digest : j->cart.digest + strlen("sha256:"), safe);
	done = file_join(dir, "complete");
	if (!file_exists(done) &&
	    (repo_disk_make(dir, &j->e) < 0 ||
	        (is_stock ? template_import(j, c->path, dir) : template_of_blob(j, dir)) < 0 ||
	        file_replace(done, "", 0, 0600, &j->e) < 0))
		return -1;
	j->dir = STEAL(dir);
	return 0;
}

static void
template_run(void *p)
{
	struct template_job *j = p;
	AUTO(free) char *done = file_join(j->own, "complete");

	if (j->tar.n > 0 && !file_exists(done) && template_keep(j, done) < 0)
		return;
	if (file_exists(done))
		j->dir = xstrdup(j->own);
	else if (j->known != NULL)
		j->dir = STEAL(j->known);
	else
		(void)template_make(j);
}

static void
template_done(void *p)
{
	struct template_job *j = p;

	if (j->dir != NULL && strcmp(j->dir, j->own) != 0)
		map_set(j->rs->templates, j->key, xstrdup(j->dir));
	else if (j->dir == NULL)
		log_error("template_failed", LOG_STR("cartridge", j->key), LOG_ERR(&j->e));
	if (j->ask->fn != NULL)
		j->ask->fn(j->dir, j->dir == NULL ? &j->e : NULL, j->ask->arg);
	template_free(j);
}

struct repo_ask *
repo_open_template(
    struct repo_store *rs, const struct wire_app *app, struct str tar, repo_ready_fn *fn, void *arg)
{
	const struct wire_gear_cart *web = wire_gear_web(&app->cartridges);
	const struct wire_gear_cart *cart = web == NULL ? &app->cartridges.v[0] : web;
	bool has_branch = !str_same(app->deployment_branch, NULL);
	const char *branch = has_branch ? app->deployment_branch : "master";
	struct template_job *j = xcalloc(1, sizeof *j);
	struct repo_ask *a = xcalloc(1, sizeof *a);
	AUTO(free) char *word = branch_word(branch);

	*a = (struct repo_ask){ .rs = rs, .fn = fn, .arg = arg };
	*j = (struct template_job){ .rs = rs,
		.ask = a,
		.root = xstrdup(rs->root),
		.branch = xstrdup(branch),
		.own = xasprintf("%s/template/own/%s/%s.git", rs->root, app->id, word),
		.cartridges = xstrdup(rs->b->conf.cartridges),
		.data = xstrdup(rs->b->conf.data),
		.env = repo_store_env(rs),
		.key = xasprintf("%s-%s%s@%s", cart->name, cart->version,
		    cart->digest == NULL ? "" : cart->digest, branch) };
	codec_copy(&wire_gear_cart_codec, &j->cart, cart);
	buf_add(&j->tar, tar.p, tar.n);
	j->known = xstrdup_null(map_get(rs->templates, j->key));
	(void)worker_submit(rs->b->worker, template_run, template_done, template_free, j);
	return a;
}

struct repo_ask *
repo_open_read(struct repo_store *rs, const struct wire_app *app, repo_ready_fn *fn, void *arg)
{
	if (app->pushed || wire_gear_web(&app->cartridges) == NULL ||
	    !str_same(app->initial_git_url, NULL))
		return repo_open(rs, app->id, fn, arg);
	return repo_open_template(rs, app, (struct str){ 0 }, fn, arg);
}

/* --- removal --- */

struct remove_job {
	repo_done_fn *fn;
	void *arg;
	char *dir, *own;
	struct err e;
	int rc;
};

static void
remove_free(void *p)
{
	struct remove_job *j = p;

	free(j->dir);
	free(j->own);
	free(j);
}

static void
remove_run(void *p)
{
	struct remove_job *j = p;

	j->rc = file_remove_tree(j->dir, &j->e);
	if (j->rc == 0)
		j->rc = file_remove_tree(j->own, &j->e);
}

static void
remove_done(void *p)
{
	struct remove_job *j = p;

	j->fn(j->rc < 0 ? &j->e : NULL, j->arg);
	remove_free(j);
}

void
repo_remove(struct repo_store *rs, const char *app_id, repo_done_fn *fn, void *arg)
{
	struct remove_job *j = xcalloc(1, sizeof *j);
	struct repo *r = repo_of(rs, app_id);

	r->disk_rev = -1;
	*j = (struct remove_job){ .fn = fn,
		.arg = arg,
		.dir = xstrdup(r->dir),
		.own = xasprintf("%s/template/own/%s", rs->root, app_id) };
	(void)worker_submit(rs->b->worker, remove_run, remove_done, remove_free, j);
}

/* --- packing --- */

static void
on_packed(struct child *c, const struct child_end *end, void *arg)
{
	struct repo_store *rs = arg;

	if (end->status != 0)
		log_warn("repo_not_packed", LOG_STR("why", end->why), LOG_STR("stderr", end->err));
	child_free(c);
	rs->packing = NULL;
}

static void
on_pack_ready(const char *git_dir, const struct err *e, void *arg)
{
	struct repo_store *rs = arg;
	const char *argv[] = { GIT_PROGRAM, "-c", "gc.auto=1000", "-c", "gc.autoPackLimit=20", "gc",
		"--auto", "--quiet", NULL };
	struct err bad = { 0 };

	rs->pack_ask = NULL;
	if (e != NULL)
		return;
	rs->packing = child_start(rs->b->loop,
	    &(struct child_opts){ .argv = argv,
	        .env = repo_store_env(rs),
	        .cwd = git_dir,
	        .timeout_ms = PACK_TIMEOUT_MS },
	    NULL, on_packed, rs, &bad);
	if (rs->packing == NULL)
		log_warn("repo_not_packed", LOG_ERR(&bad));
}

void
repo_pushed(struct repo_store *rs, const char *app_id)
{
	struct repo *r = repo_of(rs, app_id);

	if (++r->pushes < PACK_AFTER || rs->packing != NULL || rs->pack_ask != NULL)
		return;
	r->pushes = 0;
	rs->pack_ask = repo_open(rs, app_id, on_pack_ready, rs);
}

/* --- what a word names --- */

struct resolve_job {
	struct repo_ask *ask; /* owned; loop only */
	char *dir;
	char *ref, *oid;
	char sha1[REPO_GIT_OID_LEN + 1];
	struct err e;
	int rc;
};

static void
resolve_free(void *p)
{
	struct resolve_job *j = p;

	free(j->ask);
	free(j->dir);
	free(j->ref);
	free(j->oid);
	free(j);
}

static void
resolve_run(void *p)
{
	struct resolve_job *j = p;

	if (j->e.code != ERR_NONE)
		j->rc = -1;
	else
		j->rc = repo_git_commit_of(j->dir, j->oid, j->sha1, &j->e);
}

static void
resolve_done(void *p)
{
	struct resolve_job *j = p;

	if (j->ask->on_resolve != NULL)
		j->ask->on_resolve(
		    j->ref, j->rc < 0 ? NULL : j->sha1, j->rc < 0 ? &j->e : NULL, j->ask->arg);
	resolve_free(j);
}

/* The word among the record's refs, as git would look for it. */
static const struct wire_ref *
find_ref(const struct wire_refs *refs, const char *word)
{

	for (int f = 0; f < 4; f++) {
		AUTO(free)
		char *name = f == 0   ? xstrdup(word)
		             : f == 1 ? xasprintf("refs/%s", word)
		             : f == 2 ? xasprintf("refs/heads/%s", word)
		                      : xasprintf("refs/tags/%s", word);

		for (size_t i = 0; i < refs->refs.n; i++) {
			if (strcmp(refs->refs.v[i].name, name) == 0)
				return &refs->refs.v[i];
		}
	}
	return NULL;
}

static bool
is_oid_like(const char *word)
{
	size_t n = strlen(word);

	return n >= 4 && n <= REPO_GIT_OID_LEN && strspn(word, "0123456789abcdefABCDEF") == n;
}

struct repo_ask *
repo_resolve(
    struct repo_store *rs, const char *app_id, const char *word, repo_resolve_fn *fn, void *arg)
{
	AUTO_FINI(wire_refs_fini) struct wire_refs refs = { 0 };
	struct resolve_job *j = xcalloc(1, sizeof *j);
	struct repo_ask *a = xcalloc(1, sizeof *a);
	const struct wire_ref *ref;
	struct err e = { 0 };

	*a = (struct repo_ask){ .rs = rs, .on_resolve = fn, .arg = arg };
	*j = (struct resolve_job){ .ask = a,
		.dir = xstrdup(repo_of(rs, app_id)->dir),
		.ref = xstrdup(word),
		.oid = xstrdup(word) };
	if (record_get(rs->b->store, store_key_refs(app_id), &wire_refs_codec, &refs, NULL, &e) <
	    0) {
		(void)err_set(&j->e, ERR_NOT_FOUND, "ref",
		    "nothing was pushed yet: push a branch first, then deploy it");
	} else if ((ref = find_ref(&refs, word)) != NULL) {
		mem_set_str(&j->ref, ref->name);
		mem_set_str(&j->oid, ref->oid);
	} else if (!is_oid_like(word)) {
		(void)err_set(&j->e, ERR_NOT_FOUND, "ref",
		    "%.200s is no branch, tag or commit of the repository: push it first", word);
	}
	(void)worker_submit(rs->b->worker, resolve_run, resolve_done, resolve_free, j);
	return a;
}
