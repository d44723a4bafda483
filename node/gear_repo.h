/* node/gear_repo.h: ~/git/APP.git in a gear: a read-only copy of its application's repository as it
 * was last deployed. Fetched from the broker after a deployment serves, one at a time, and put in
 * place of the one before at once, in what runs too. Loop thread. */
#pragma once

#include "lib/base/err.h"

struct container_spec;
struct gear_repos;
struct layer_fetch_opts;
struct node_dirs;

/* o: borrowed for its life; filled in before the first fetch. */
struct gear_repos *gear_repos_new(const struct layer_fetch_opts *o);
void gear_repos_free(struct gear_repos *take_r);
/* That deployment runs in the gear: its copy is brought up to it, in the background. */
void gear_repos_want(struct gear_repos *r, const char *gear, const char *deployment);
/* The gear is gone: so is its copy. */
void gear_repos_forget(struct gear_repos *r, const char *gear);

/* Blocks: the directory, and the bind of it at ~/git. */
int gear_repo_bind(const struct node_dirs *d, const char *gear, struct container_spec *s,
    struct err *e) MUST_CHECK;
