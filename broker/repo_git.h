/* broker/repo_git.h: what libgit2 does for us inside repositories. All of it blocks: workers only.
 * (repo_git_setup: once, at start.) */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum {
	REPO_GIT_OID_LEN = 40,
	REPO_GIT_PATH_MAX = 4096,
	REPO_GIT_DEPTH_MAX = 128,
	REPO_GIT_FILES_MAX = 500000,
	REPO_GIT_SUBMODULES_MAX = 64,
};

void repo_git_setup(void);

/* Writes the files below src (NULL: none) as the only commit of `branch` into the bare repository
 * dir (which exists, empty or not), always with the same id for the same content. */
int repo_git_import_tree(const char *dir, const char *src, const char *branch,
    char out_sha1[REPO_GIT_OID_LEN + 1], struct err *e) MUST_CHECK;

/* The commit that an object id (or the beginning of one, 4 characters at least) names, through
 * tags. ERR_NOT_FOUND. */
int repo_git_commit_of(const char *dir, const char *oid, char out_sha1[REPO_GIT_OID_LEN + 1],
    struct err *e) MUST_CHECK;

/* Is `old_sha1` an ancestor of sha1 (or the same)? -1: one of them is missing. */
int repo_git_descends(
    const char *dir, const char *sha1, const char *old_sha1, bool *out, struct err *e) MUST_CHECK;

struct repo_git_submodule {
	char *path, *url, *sha1; /* owned */
};
struct repo_git_look {
	bool force_clean, hot_deploy, disable_auto_scaling; /* markers in .openshift/markers */
	struct repo_git_submodule submodules[REPO_GIT_SUBMODULES_MAX];
	size_t submodules_n;
};
/* What a commit's tree says to whoever builds it. */
int repo_git_look(
    const char *dir, const char *sha1, struct repo_git_look *out, struct err *e) MUST_CHECK;
void repo_git_look_fini(struct repo_git_look *l);

/* Bounds of a commit's tree: number of files, depth, length of paths. quarantine: a further object
 * directory, or NULL. Objects that are no commits pass. ERR_LIMIT names the path. */
int repo_git_check_tree(
    const char *dir, const char *quarantine, const char *sha1, struct err *e) MUST_CHECK;

/* All refs of the repository: adds "NAME" and "OID" in turn. */
int repo_git_refs(const char *dir, struct str_list *out, struct err *e) MUST_CHECK;
