/* broker/repo_submodule.h: which repositories of this Pinion a commit's submodules are. */
#pragma once

#include <stddef.h>

#include "broker/repo_archive.h"
#include "broker/repo_git.h"

struct broker;
struct build_record;

/* The parts of the archive: the commit itself and its submodules. */
struct repo_submodule_plan {
	struct repo_archive_part parts[REPO_GIT_SUBMODULES_MAX + 1]; /* strings owned */
	size_t n;
};

typedef void repo_submodule_line_fn(const char *line, void *arg);
/* A submodule by relative URL (or by our own absolute one) must be an application's repository of
 * the same owner: else ERR_NOT_FOUND. One from elsewhere stays empty, and a line says so. */
int repo_submodule_plan(struct broker *b, const struct build_record *r, const char *git_dir,
    const struct repo_git_look *look, struct repo_submodule_plan *out, repo_submodule_line_fn *say,
    void *arg, struct err *e) MUST_CHECK;
void repo_submodule_fini(struct repo_submodule_plan *p);
