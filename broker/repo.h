/* broker/repo.h: bare repositories: DATA/git/ID.git for an application, DATA/git/template/… for
 * what a new application starts from. Refs are a record of the store; what lies on disk is brought
 * up to it before each use. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

struct broker;
struct loop;
struct repo_ask;
struct repo_store;
struct wire_app;

/* Makes the directories and the git configuration that all git processes of the broker use.
 * Blocks: at start. */
struct repo_store *repo_store_new(struct broker *b, struct err *e);
void repo_store_free(struct repo_store *take_rs);
DEFINE_AUTO(struct repo_store *, repo_store_free)

/* Environment of every git process: identity, configuration, no prompt; NULL-terminated,
 * borrowed.*/
const char *const *repo_store_env(const struct repo_store *rs);

struct loop *repo_store_loop(const struct repo_store *rs);
struct broker *repo_store_broker(const struct repo_store *rs);

/* Where the application's repository lies; caller owns. */
char *repo_dir(struct repo_store *rs, const char *app_id);

/* git_dir: borrowed for the call. */
typedef void repo_ready_fn(const char *git_dir, const struct err *e, void *arg);
/* The application's own repository, made if absent, its refs as the record has them. Once, later.
 */
struct repo_ask *repo_open(struct repo_store *rs, const char *app_id, repo_ready_fn *fn, void *arg);
/* What the application starts from, as a repository whose only branch is the deployment branch:
 * what its (web) cartridge brings, or what its scripts have made of it: tar (copied) when it is
 * new, kept from then on. */
struct repo_ask *repo_open_template(struct repo_store *rs, const struct wire_app *app,
    struct str tar, repo_ready_fn *fn, void *arg);
/* For who reads: what it starts from, until something else came. */
struct repo_ask *repo_open_read(
    struct repo_store *rs, const struct wire_app *app, repo_ready_fn *fn, void *arg);
void repo_ask_cancel(struct repo_ask *take_a); /* before fn; NULL is fine */

/* A push ended: now and then the repository is packed, in the background. */
void repo_pushed(struct repo_store *rs, const char *app_id);

/* Removes the application's repository. Once, later. */
typedef void repo_done_fn(const struct err *e, void *arg);
void repo_remove(struct repo_store *rs, const char *app_id, repo_done_fn *fn, void *arg);

/* What a word names: full ref, branch, tag, or (abbreviated) commit id. out_ref is the full ref
 * name, or the word itself for a commit id; both borrowed for the call. ERR_NOT_FOUND names the
 * field "ref". */
typedef void repo_resolve_fn(const char *ref, const char *sha1, const struct err *e, void *arg);
struct repo_ask *repo_resolve(
    struct repo_store *rs, const char *app_id, const char *word, repo_resolve_fn *fn, void *arg);

/* Fetches all branches and tags of url (URL or URL#REF; without REF: the remote's HEAD) into the
 * application's repository and its record. Once, later: the branch's full name and its commit.
 * ERR_INVALID (initial_git_url): scheme refused, not reachable, empty. */
void repo_import(
    struct repo_store *rs, const char *app_id, const char *url, repo_resolve_fn *fn, void *arg);
/* The same from a bare repository on disk, whose configuration is ours. */
void repo_import_dir(
    struct repo_store *rs, const char *app_id, const char *git_dir, repo_resolve_fn *fn, void *arg);
