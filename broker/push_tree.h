/* broker/push_tree.h: looks at a pushed commit's tree while its objects are in quarantine. */
#pragma once

#include "lib/base/err.h"

struct broker;
struct push_tree;

typedef void push_tree_fn(const struct err *e, void *arg); /* once, later; then it is gone */

/* quarantine: what git says, or NULL; must lie inside git_dir. */
struct push_tree *push_tree_start(struct broker *b, const char *git_dir, const char *quarantine,
    const char *sha1, push_tree_fn *fn, void *arg);
void push_tree_cancel(struct push_tree *take_t); /* NULL is fine */
