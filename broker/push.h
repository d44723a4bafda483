/* broker/push.h: one push: what its hooks ask, which refs move, which one is built, and the verdict
 * on each. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"

struct broker;
struct http_req;
struct push;
struct push_set;

struct push_set *push_set_new(struct broker *b);
void push_set_free(struct push_set *take_s);

struct push_info {
	const char *app_id, *login, *git_dir;
	const char *url; /* of the repository as the pusher sees it; for relative submodules */
};
/* A push begins: its id and token are for the hooks' environment. Copies info. */
struct push *push_begin(struct push_set *s, const struct push_info *info);
/* NULL-terminated "NAME=value" for git's environment, on top of repo_store_env; borrowed. */
const char *const *push_env(const struct push *p);
/* The git process ended: no hook can ask any more. What is being built goes on. */
void push_end(struct push *take_p);

/* POST /push/ID/pre-receive, /push/ID/proc-receive from pinion-hook. Takes the request. */
void push_handle_hook(struct push_set *s, struct http_req *r);
