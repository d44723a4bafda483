/* Bare repositories: made by hand, read by libgit2 and by git; trees, bounds, archives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/broker.h"
#include "broker/repo.h"
#include "broker/repo_archive.h"
#include "broker/repo_disk.h"
#include "broker/repo_git.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "test/lib/store_fixture.h"

enum { WAIT_MS = 20000 };

struct world {
	struct store_fixture f;
	struct broker b;
	char *src, *dir; /* a tree of files; a repository */
	char sha1[REPO_GIT_OID_LEN + 1];
};

static void
write_file(struct world *w, const char *rel, const char *text, mode_t mode)
{
	AUTO(free) char *path = file_join(w->src, rel);
	AUTO(free) char *parent = xstrdup(path);
	struct err e = { 0 };

	*strrchr(parent, '/') = '\0';
	assert_int_equal(file_mkdirs(parent, 0755, &e), 0);
	assert_int_equal(file_replace_fast(path, text, strlen(text), mode, &e), 0);
}

static void
import(struct world *w)
{
	struct err e = { 0 };

	if (repo_git_import_tree(w->dir, w->src, "main", w->sha1, &e) < 0)
		fail_msg("%s", e.text);
}

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);
	struct err e = { 0 };

	store_fixture_init(&w->f);
	w->b.loop = w->f.loop;
	w->b.store = w->f.store;
	w->b.worker = worker_new(w->b.loop, 1);
	w->b.conf.data = w->f.dir;
	w->b.conf.hook_program = "/bin/true";
	w->b.conf.cartridges = "/nonexistent";
	w->b.conf.pack_max_mb = 10;
	w->b.repos = repo_store_new(&w->b, &e);
	assert_non_null(w->b.repos);
	w->src = xasprintf("%s/src", w->f.dir);
	w->dir = xasprintf("%s/bare.git", w->f.dir);
	assert_int_equal(repo_disk_make(w->dir, &e), 0);
	assert_int_equal(repo_disk_make(w->dir, &e), 0);
	write_file(w, "index.html", "hello", 0644);
	write_file(w, "bin/run", "#!/bin/sh\n", 0755);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	worker_free(w->b.worker);
	repo_store_free(w->b.repos);
	free(w->src);
	free(w->dir);
	store_fixture_fini(&w->f);
	free(w);
	return 0;
}

static void
same_content_same_commit(void **state)
{
	struct world *w = *state;
	AUTO_FINI(str_list_fini) struct str_list refs = { 0 };
	char first[REPO_GIT_OID_LEN + 1], found[REPO_GIT_OID_LEN + 1];
	struct err e = { 0 };

	import(w);
	memcpy(first, w->sha1, sizeof first);
	import(w);
	assert_string_equal(first, w->sha1);
	assert_int_equal(repo_git_refs(w->dir, &refs, &e), 0);
	assert_int_equal(refs.n, 2);
	assert_string_equal(refs.v[0], "refs/heads/main");
	assert_string_equal(refs.v[1], w->sha1);
	first[7] = '\0';
	assert_int_equal(repo_git_commit_of(w->dir, first, found, &e), 0);
	assert_string_equal(found, w->sha1);
	assert_int_equal(repo_git_commit_of(w->dir, "abc", found, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void
refs_are_those_of_the_record(void **state)
{
	struct world *w = *state;
	AUTO_FINI(wire_refs_fini) struct wire_refs rec = { 0 };
	AUTO_FINI(str_list_fini) struct str_list refs = { 0 };
	struct wire_ref *r;
	struct err e = { 0 };

	import(w); /* leaves a loose ref, which must not hide the record */
	r = codec_list_add(&wire_ref_codec, &rec.refs);
	*r = (struct wire_ref){ xstrdup("refs/tags/z"), xstrdup(w->sha1) };
	r = codec_list_add(&wire_ref_codec, &rec.refs);
	*r = (struct wire_ref){ xstrdup("refs/heads/dev"), xstrdup(w->sha1) };
	rec.head = xstrdup("refs/heads/dev");
	assert_int_equal(repo_disk_refs(w->dir, &rec, &e), 0);
	assert_int_equal(repo_git_refs(w->dir, &refs, &e), 0);
	assert_int_equal(refs.n, 4);
	assert_string_equal(refs.v[0], "refs/heads/dev");
	assert_string_equal(refs.v[2], "refs/tags/z");
}

static void
looks_for_markers_and_submodules(void **state)
{
	struct world *w = *state;
	struct repo_git_look look = { 0 };
	struct err e = { 0 };

	import(w);
	assert_int_equal(repo_git_look(w->dir, w->sha1, &look, &e), 0);
	assert_false(look.force_clean);
	assert_int_equal(look.submodules_n, 0);
	write_file(w, ".openshift/markers/hot_deploy", "", 0644);
	/* A path that is no submodule in the tree, and rubbish. */
	write_file(w, ".gitmodules",
	    "[submodule \"x\"]\r\n\tpath = bin\r\n\turl = "
	    "../x.git\r\n[submodule]\n=\npath\nurl=\n[\n",
	    0644);
	import(w);
	assert_int_equal(repo_git_look(w->dir, w->sha1, &look, &e), 0);
	assert_true(look.hot_deploy);
	assert_int_equal(look.submodules_n, 0);
	repo_git_look_fini(&look);
	assert_int_equal(
	    repo_git_look(w->dir, "1111111111111111111111111111111111111111", &look, &e), -1);
}

static void
bounds_depth(void **state)
{
	struct world *w = *state;
	AUTO_FINI(buf_fini) struct buf path = { 0 };
	struct err e = { 0 };

	import(w);
	assert_int_equal(repo_git_check_tree(w->dir, NULL, w->sha1, &e), 0);
	for (int i = 0; i < REPO_GIT_DEPTH_MAX; i++)
		buf_adds(&path, "d/");
	buf_adds(&path, "f");
	write_file(w, path.p, "x", 0644);
	import(w);
	assert_int_equal(repo_git_check_tree(w->dir, NULL, w->sha1, &e), 0);
	buf_truncate(&path, path.n - 1);
	buf_adds(&path, "d/f");
	write_file(w, path.p, "x", 0644);
	/* The template's own bound is the same. */
	assert_int_equal(repo_git_import_tree(w->dir, w->src, "main", w->sha1, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
}

struct taken {
	struct buf tar;
	struct err e;
	bool is_over, is_ok;
};

static bool
on_tar(const char *p, size_t n, void *arg)
{
	struct taken *t = arg;

	buf_add(&t->tar, p, n);
	return true;
}

static void
on_tar_end(const struct err *e, void *arg)
{
	struct taken *t = arg;

	t->is_over = true;
	t->is_ok = e == NULL;
	if (e != NULL)
		t->e = *e;
}

static void
archive(
    struct world *w, const struct repo_archive_part *parts, size_t n, int64_t max, struct taken *t)
{
	struct err e = { 0 };

	assert_non_null(repo_archive_start(w->b.repos, parts, n, max, on_tar, on_tar_end, t, &e));
	assert_true(loop_run_until(w->b.loop, &t->is_over, WAIT_MS));
}

/* Names of the regular entries, each with a space. */
static char *
names_of(const struct buf *tar)
{
	struct buf b = { 0 };

	assert_int_equal(tar->n % 512, 0);
	buf_adds(&b, "");
	for (size_t at = 0; at + 512 <= tar->n && tar->p[at] != '\0';) {
		size_t size = strtoul(tar->p + at + 124, NULL, 8);

		if (tar->p[at + 156] == '0')
			buf_addf(&b, "%.100s ", tar->p + at);
		at += 512 + (size + 511) / 512 * 512;
	}
	return buf_steal(&b);
}

static void
archives_are_one_stream(void **state)
{
	struct world *w = *state;
	struct repo_archive_part parts[] = { { w->dir, w->sha1, "" },
		{ w->dir, w->sha1, "sub/x/" } };
	AUTO(free) char *names = NULL;
	struct taken t = { 0 }, small = { 0 }, bad = { 0 };

	import(w);
	archive(w, parts, 2, 1 << 30, &t);
	assert_true(t.is_ok);
	names = names_of(&t.tar);
	assert_string_equal(names, "bin/run index.html sub/x/bin/run sub/x/index.html ");
	for (size_t i = t.tar.n - 1024; i < t.tar.n; i++)
		assert_int_equal(t.tar.p[i], 0);
	archive(w, parts, 2, 1000, &small);
	assert_false(small.is_ok);
	assert_int_equal(small.e.code, ERR_LIMIT);
	parts[1].sha1 = "1111111111111111111111111111111111111111";
	archive(w, parts, 2, 1 << 30, &bad);
	assert_false(bad.is_ok);
	assert_non_null(strstr(bad.e.text, "git archive"));
	buf_fini(&t.tar);
	buf_fini(&small.tar);
	buf_fini(&bad.tar);
}

struct answer {
	bool is_there;
	char *ref, *sha1;
	struct err e;
};

static void
on_resolved(const char *ref, const char *sha1, const struct err *e, void *arg)
{
	struct answer *a = arg;

	a->is_there = true;
	a->ref = xstrdup_null(ref);
	a->sha1 = xstrdup_null(sha1);
	if (e != NULL)
		a->e = *e;
}

static void
on_ready(const char *git_dir, const struct err *e, void *arg)
{
	struct answer *a = arg;

	assert_null(e);
	a->ref = xstrdup(git_dir);
	a->is_there = true;
}

static void
resolve(struct world *w, const char *word, const char *want_ref, const char *want_field)
{
	struct answer a = { 0 };

	assert_non_null(repo_resolve(w->b.repos, "a", word, on_resolved, &a));
	assert_true(loop_run_until(w->b.loop, &a.is_there, WAIT_MS));
	if (want_ref != NULL) {
		assert_string_equal(a.e.text, "");
		assert_string_equal(a.ref, want_ref);
		assert_string_equal(a.sha1, w->sha1);
	} else {
		assert_null(a.sha1);
		assert_int_equal(a.e.code, ERR_NOT_FOUND);
		assert_string_equal(a.e.field, want_field);
	}
	free(a.ref);
	free(a.sha1);
}

static void
resolves_words(void **state)
{
	struct world *w = *state;
	AUTO(free) char *record = NULL, *dir = repo_dir(w->b.repos, "a");
	struct answer a = { 0 };
	struct err e = { 0 };

	resolve(w, "main", NULL, "ref"); /* nothing was pushed */
	assert_int_equal(repo_disk_make(dir, &e), 0);
	assert_int_equal(repo_git_import_tree(dir, w->src, "main", w->sha1, &e), 0);
	record =
	    xasprintf("{\"refs\":[{\"name\":\"refs/heads/dev\",\"oid\":\"%s\"},"
	              "{\"name\":\"refs/tags/v1\",\"oid\":\"%s\"}],\"head\":\"refs/heads/dev\"}",
	        w->sha1, w->sha1);
	store_fixture_put(&w->f, "/refs/a", record);
	assert_non_null(repo_open(w->b.repos, "a", on_ready, &a));
	assert_false(a.is_there); /* never inside */
	assert_true(loop_run_until(w->b.loop, &a.is_there, WAIT_MS));
	assert_string_equal(a.ref, dir);
	free(a.ref);
	resolve(w, "dev", "refs/heads/dev", NULL);
	resolve(w, "heads/dev", "refs/heads/dev", NULL);
	resolve(w, "refs/tags/v1", "refs/tags/v1", NULL);
	resolve(w, "v1", "refs/tags/v1", NULL);
	resolve(w, w->sha1, w->sha1, NULL);
	resolve(w, "main", NULL, "ref"); /* on disk a moment ago, but not in the record */
	resolve(w, "nonsense", NULL, "ref");
	resolve(w, "abcd", NULL, "ref");
	resolve(w, "--upload-pack=x", NULL, "ref");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(same_content_same_commit, setup, teardown),
		cmocka_unit_test_setup_teardown(refs_are_those_of_the_record, setup, teardown),
		cmocka_unit_test_setup_teardown(looks_for_markers_and_submodules, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds_depth, setup, teardown),
		cmocka_unit_test_setup_teardown(archives_are_one_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(resolves_words, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
