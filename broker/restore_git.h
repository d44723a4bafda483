/* broker/restore_git.h: the repository that a node has unpacked from a snapshot, fetched into the
 * broker's scratch and checked. Loop thread. */
#pragma once

#include "lib/base/err.h"

struct broker;
struct restore_git;

/* Once, later. git_dir: borrowed until restore_git_free; NULL: e says why. ERR_INVALID: damaged;
 * ERR_BUSY: the node broke off. */
typedef void restore_git_fn(const char *git_dir, const struct err *e, void *arg);
struct restore_git *restore_git_start(struct broker *b, const char *node, const char *gear,
    restore_git_fn *fn, void *arg, struct err *e) MUST_CHECK;
void restore_git_free(struct restore_git *take_g); /* the copy goes, too; NULL is fine */
