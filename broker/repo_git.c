#include "broker/repo_git.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <git2/sys/repository.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"

enum {
	BLOB_MAX = 64 << 20,     /* a file of a template */
	MODULES_MAX = 64 * 1024, /* .gitmodules */
	TEMPLATE_TIME = 1700000000,
};

DEFINE_AUTO(git_repository *, git_repository_free)
DEFINE_AUTO(git_object *, git_object_free)
DEFINE_AUTO(git_tree *, git_tree_free)
DEFINE_AUTO(git_tree_entry *, git_tree_entry_free)
DEFINE_AUTO(git_treebuilder *, git_treebuilder_free)
DEFINE_AUTO(git_signature *, git_signature_free)
DEFINE_AUTO(git_blob *, git_blob_free)
DEFINE_AUTO(git_reference *, git_reference_free)
DEFINE_AUTO(git_reference_iterator *, git_reference_iterator_free)
DEFINE_AUTO(git_odb *, git_odb_free)
static void
dir_close(DIR *d)
{
	if (d != NULL)
		(void)closedir(d);
}
DEFINE_AUTO(DIR *, dir_close)

void
repo_git_setup(void)
{
	(void)git_libgit2_init();
	(void)git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
	(void)git_libgit2_opts(GIT_OPT_SET_CACHE_MAX_SIZE, (ssize_t)(4 << 20));
	(void)git_libgit2_opts(GIT_OPT_SET_MWINDOW_MAPPED_LIMIT, (size_t)(64 << 20));
}

static int
fail(struct err *e, int code, const char *what)
{
	const git_error *ge = git_error_last();

	return err_set(e, code == GIT_ENOTFOUND ? ERR_NOT_FOUND : ERR_SYSTEM, NULL, "%s: %s", what,
	    ge == NULL ? "unknown error" : ge->message);
}

static git_repository *
repo_at(const char *dir, struct err *e)
{
	git_repository *repo = NULL;
	int rc = git_repository_open_ext(&repo, dir,
	    GIT_REPOSITORY_OPEN_NO_SEARCH | GIT_REPOSITORY_OPEN_BARE |
	        GIT_REPOSITORY_OPEN_NO_DOTGIT,
	    NULL);

	if (rc < 0)
		(void)fail(e, rc, "cannot open the repository");
	return repo;
}

static int write_dir(git_repository *repo, int dir_fd, int depth, git_oid *out, struct err *e);

static int
write_entry(git_repository *repo, git_treebuilder *tb, int dir_fd, const char *name, int depth,
    struct err *e)
{
	git_filemode_t mode = GIT_FILEMODE_BLOB;
	struct stat st;
	git_oid oid;
	int rc = 0;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot read %s", name);
	if (S_ISDIR(st.st_mode)) {
		__attribute__((cleanup(file_close_auto))) int fd =
		    openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

		if (fd < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot read %s", name);
		if (write_dir(repo, fd, depth + 1, &oid, e) < 0)
			return -1;
		mode = GIT_FILEMODE_TREE;
	} else if (S_ISLNK(st.st_mode)) {
		char target[REPO_GIT_PATH_MAX];
		ssize_t n = readlinkat(dir_fd, name, target, sizeof target);

		if (n < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot read %s", name);
		rc = git_blob_create_from_buffer(&oid, repo, target, (size_t)n);
		mode = GIT_FILEMODE_LINK;
	} else if (S_ISREG(st.st_mode)) {
		AUTO_FINI(buf_fini) struct buf b = { 0 };
		AUTO(free) char *path = xasprintf("/proc/self/fd/%d/%s", dir_fd, name);

		if (file_read(path, BLOB_MAX, &b, e) < 0)
			return err_wrap(e, "%s", name);
		rc = git_blob_create_from_buffer(&oid, repo, b.p == NULL ? "" : b.p, b.n);
		if ((st.st_mode & S_IXUSR) != 0)
			mode = GIT_FILEMODE_BLOB_EXECUTABLE;
	} else {
		return 0;
	}
	if (rc == 0)
		rc = git_treebuilder_insert(NULL, tb, name, &oid, mode);
	return rc < 0 ? fail(e, rc, name) : 0;
}

static int
write_dir(git_repository *repo, int dir_fd, int depth, git_oid *out, struct err *e)
{
	AUTO(git_treebuilder_free) git_treebuilder *tb = NULL;
	AUTO(dir_close) DIR *d = NULL;
	const struct dirent *de;
	int fd = dup(dir_fd), rc;

	if (depth > REPO_GIT_DEPTH_MAX) {
		file_close(fd);
		return err_set(
		    e, ERR_LIMIT, NULL, "directories nest deeper than %d", REPO_GIT_DEPTH_MAX);
	}
	d = fd < 0 ? NULL : fdopendir(fd);
	if (d == NULL) {
		file_close(fd);
		return err_set(e, ERR_SYSTEM, NULL, "cannot read a directory");
	}
	rc = git_treebuilder_new(&tb, repo, NULL);
	if (rc < 0)
		return fail(e, rc, "tree");
	while ((de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 ||
		    strcmp(de->d_name, ".git") == 0)
			continue;
		if (write_entry(repo, tb, dir_fd, de->d_name, depth, e) < 0)
			return -1;
	}
	rc = git_treebuilder_write(out, tb);
	return rc < 0 ? fail(e, rc, "tree") : 0;
}

int
repo_git_import_tree(const char *dir, const char *src, const char *branch,
    char out_sha1[REPO_GIT_OID_LEN + 1], struct err *e)
{
	AUTO(git_repository_free) git_repository *repo = repo_at(dir, e);
	AUTO(git_signature_free) git_signature *sig = NULL;
	AUTO(git_tree_free) git_tree *tree = NULL;
	AUTO(git_reference_free) git_reference *ref = NULL;
	AUTO(free) char *name = xasprintf("refs/heads/%s", branch);
	AUTO(git_treebuilder_free) git_treebuilder *none = NULL;
	__attribute__((cleanup(file_close_auto))) int fd =
	    src == NULL ? -1 : open(src, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	git_oid oid;
	int rc;

	if (repo == NULL)
		return -1;
	if (src != NULL && fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot read the template %s", src);
	if (src == NULL) {
		rc = git_treebuilder_new(&none, repo, NULL);
		if (rc == 0)
			rc = git_treebuilder_write(&oid, none);
		if (rc < 0)
			return fail(e, rc, "tree");
	} else if (write_dir(repo, fd, 0, &oid, e) < 0) {
		return -1;
	}
	rc = git_tree_lookup(&tree, repo, &oid);
	if (rc == 0)
		rc = git_signature_new(&sig, "Pinion", "pinion@localhost", TEMPLATE_TIME, 0);
	if (rc == 0)
		rc = git_commit_create(
		    &oid, repo, NULL, sig, sig, NULL, "Start of the application\n", tree, 0, NULL);
	if (rc == 0)
		rc = git_reference_create(&ref, repo, name, &oid, 1, NULL);
	if (rc == 0)
		rc = git_repository_set_head(repo, name);
	if (rc < 0)
		return fail(e, rc, "cannot make the template's commit");
	git_oid_tostr(out_sha1, REPO_GIT_OID_LEN + 1, &oid);
	return 0;
}

int
repo_git_commit_of(
    const char *dir, const char *oid_text, char out_sha1[REPO_GIT_OID_LEN + 1], struct err *e)
{
	AUTO(git_repository_free) git_repository *repo = repo_at(dir, e);
	AUTO(git_object_free) git_object *obj = NULL, *commit = NULL;
	git_oid oid;
	size_t n = strlen(oid_text);

	if (repo == NULL)
		return -1;
	if (n < 4 || n > REPO_GIT_OID_LEN || git_oid_fromstrn(&oid, oid_text, n) < 0 ||
	    git_object_lookup_prefix(&obj, repo, &oid, n, GIT_OBJECT_ANY) < 0 ||
	    git_object_peel(&commit, obj, GIT_OBJECT_COMMIT) < 0)
		return err_set(e, ERR_NOT_FOUND, "ref",
		    "%s names no single commit of the repository", oid_text);
	git_oid_tostr(out_sha1, REPO_GIT_OID_LEN + 1, git_object_id(commit));
	return 0;
}

int
repo_git_descends(const char *dir, const char *sha1, const char *old_sha1, bool *out, struct err *e)
{
	AUTO(git_repository_free) git_repository *repo = repo_at(dir, e);
	git_oid a, b;
	int rc;

	if (repo == NULL)
		return -1;
	rc = git_oid_fromstr(&a, sha1);
	if (rc == 0)
		rc = git_oid_fromstr(&b, old_sha1);
	if (rc == 0 && git_oid_equal(&a, &b)) {
		*out = true;
		return 0;
	}
	if (rc == 0)
		rc = git_graph_descendant_of(repo, &a, &b);
	if (rc < 0)
		return fail(e, rc, "history");
	*out = rc > 0;
	return 0;
}

static git_tree *
tree_of(git_repository *repo, const char *sha1, struct err *e)
{
	AUTO(git_object_free) git_object *obj = NULL;
	git_object *tree = NULL;
	git_oid oid;
	int rc = git_oid_fromstr(&oid, sha1);

	if (rc == 0)
		rc = git_object_lookup(&obj, repo, &oid, GIT_OBJECT_ANY);
	if (rc == 0)
		rc = git_object_peel(&tree, obj, GIT_OBJECT_TREE);
	if (rc < 0)
		(void)fail(e, rc, sha1);
	return (git_tree *)tree;
}

static bool
has_path(const git_tree *tree, const char *path)
{
	AUTO(git_tree_entry_free) git_tree_entry *te = NULL;

	return git_tree_entry_bypath(&te, tree, path) == 0;
}

/* `key = value` of a line, or a NULL slice. */
static struct str
value_of(struct str line, const char *key)
{
	struct str name, value = str_cut(line, '=', &name);

	if (value.p == NULL || !str_eq_nocase(str_trim(name), key))
		return (struct str){ 0 };
	return str_trim(value);
}

static void
add_submodule(const git_tree *tree, struct str path, struct str url, struct repo_git_look *out)
{
	AUTO(git_tree_entry_free) git_tree_entry *te = NULL;
	AUTO(free) char *p = NULL;
	char oid[REPO_GIT_OID_LEN + 1];

	if (path.n == 0 || url.n == 0 || out->submodules_n == REPO_GIT_SUBMODULES_MAX)
		return;
	p = xstrndup(path.p, path.n);
	if (git_tree_entry_bypath(&te, tree, p) < 0 || git_tree_entry_type(te) != GIT_OBJECT_COMMIT)
		return;
	git_oid_tostr(oid, sizeof oid, git_tree_entry_id(te));
	out->submodules[out->submodules_n++] = (struct repo_git_submodule){
		.path = xstrdup(p), .url = xstrndup(url.p, url.n), .sha1 = xstrdup(oid)
	};
}

/* .gitmodules: sections with `path` and `url`. */
static void
parse_modules(const git_tree *tree, struct str text, struct repo_git_look *out)
{
	struct str path = { 0 }, url = { 0 };

	while (text.n > 0) {
		struct str line, v;

		text = str_cut(text, '\n', &line);
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		line = str_trim(line);
		if (line.n > 0 && line.p[0] == '[') {
			add_submodule(tree, path, url, out);
			path = url = (struct str){ 0 };
		}
		if ((v = value_of(line, "path")).p != NULL)
			path = v;
		else if ((v = value_of(line, "url")).p != NULL)
			url = v;
	}
	add_submodule(tree, path, url, out);
}

int
repo_git_look(const char *dir, const char *sha1, struct repo_git_look *out, struct err *e)
{
	AUTO(git_repository_free) git_repository *repo = repo_at(dir, e);
	AUTO(git_tree_free) git_tree *tree = NULL;
	AUTO(git_blob_free) git_blob *blob = NULL;
	const git_tree_entry *te;

	if (repo == NULL || (tree = tree_of(repo, sha1, e)) == NULL)
		return -1;
	out->force_clean = has_path(tree, ".openshift/markers/force_clean_build");
	out->hot_deploy = has_path(tree, ".openshift/markers/hot_deploy");
	out->disable_auto_scaling = has_path(tree, ".openshift/markers/disable_auto_scaling");
	te = git_tree_entry_byname(tree, ".gitmodules");
	if (te != NULL && git_tree_entry_type(te) == GIT_OBJECT_BLOB &&
	    git_blob_lookup(&blob, repo, git_tree_entry_id(te)) == 0 &&
	    git_blob_rawsize(blob) <= MODULES_MAX)
		parse_modules(
		    tree, (struct str){ git_blob_rawcontent(blob), git_blob_rawsize(blob) }, out);
	return 0;
}

void
repo_git_look_fini(struct repo_git_look *l)
{
	for (size_t i = 0; i < l->submodules_n; i++) {
		free(l->submodules[i].path);
		free(l->submodules[i].url);
		free(l->submodules[i].sha1);
	}
	*l = (struct repo_git_look){ 0 };
}

struct check {
	git_repository *repo;
	int64_t files;
	struct buf path;
};

static int
check_dir(struct check *c, const git_tree *tree, int depth, struct err *e)
{
	size_t base = c->path.n, n = git_tree_entrycount(tree);

	if (depth > REPO_GIT_DEPTH_MAX)
		return err_set(e, ERR_LIMIT, NULL, "%.200s: directories nest deeper than %d",
		    c->path.p, REPO_GIT_DEPTH_MAX);
	for (size_t i = 0; i < n; i++) {
		const git_tree_entry *te = git_tree_entry_byindex(tree, i);
		const char *name = git_tree_entry_name(te);

		if (++c->files > REPO_GIT_FILES_MAX)
			return err_set(e, ERR_LIMIT, NULL, "the tree has more than %d files",
			    REPO_GIT_FILES_MAX);
		buf_truncate(&c->path, base);
		buf_adds(&c->path, name);
		if (c->path.n >= REPO_GIT_PATH_MAX || strlen(name) > 255)
			return err_set(e, ERR_LIMIT, NULL,
			    "%.200s…: the path is longer than a file system takes", c->path.p);
		if (git_tree_entry_type(te) == GIT_OBJECT_TREE) {
			AUTO(git_tree_free) git_tree *sub = NULL;
			int rc = git_tree_lookup(&sub, c->repo, git_tree_entry_id(te));

			if (rc < 0)
				return fail(e, rc, name);
			buf_addc(&c->path, '/');
			if (check_dir(c, sub, depth + 1, e) < 0)
				return -1;
		}
	}
	buf_truncate(&c->path, base);
	return 0;
}

int
repo_git_check_tree(const char *dir, const char *quarantine, const char *sha1, struct err *e)
{
	AUTO(git_repository_free) git_repository *repo = repo_at(dir, e);
	AUTO(git_object_free) git_object *obj = NULL;
	AUTO(git_odb_free) git_odb *odb = NULL;
	AUTO(git_tree_free) git_tree *tree = NULL;
	struct check c = { .repo = repo };
	git_oid oid;
	int rc;

	if (repo == NULL)
		return -1;
	if (quarantine != NULL &&
	    (git_repository_odb(&odb, repo) < 0 || git_odb_add_disk_alternate(odb, quarantine) < 0))
		return fail(e, -1, "quarantine");
	rc = git_oid_fromstr(&oid, sha1);
	if (rc == 0)
		rc = git_object_lookup(&obj, repo, &oid, GIT_OBJECT_ANY);
	if (rc < 0)
		return fail(e, rc, sha1);
	if (git_object_peel((git_object **)&tree, obj, GIT_OBJECT_TREE) < 0)
		return 0; /* a tag of a blob: nothing that is unpacked */
	rc = check_dir(&c, tree, 0, e);
	buf_fini(&c.path);
	return rc;
}

int
repo_git_refs(const char *dir, struct str_list *out, struct err *e)
{
	AUTO(git_repository_free) git_repository *repo = repo_at(dir, e);
	AUTO(git_reference_iterator_free) git_reference_iterator *it = NULL;
	int rc;

	if (repo == NULL)
		return -1;
	rc = git_reference_iterator_new(&it, repo);
	while (rc == 0) {
		AUTO(git_reference_free) git_reference *ref = NULL;
		char oid[REPO_GIT_OID_LEN + 1];

		rc = git_reference_next(&ref, it);
		if (rc < 0 || git_reference_type(ref) != GIT_REFERENCE_DIRECT)
			continue;
		git_oid_tostr(oid, sizeof oid, git_reference_target(ref));
		str_list_add(out, git_reference_name(ref));
		str_list_add(out, oid);
	}
	return rc < 0 && rc != GIT_ITEROVER ? fail(e, rc, "refs") : 0;
}
