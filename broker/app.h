/* broker/app.h: changes of applications: each one transaction of application, gears, route and
 * counters, tried again when something changed meanwhile. They change what is wanted; who has to
 * know when it is so waits with rollout_wait.
 *
 * Who removes: app_scale to fewer and app_delete only write the spec. The rollout controller then
 * takes the surplus gears off the route, has the node destroy them (want = gone), and deletes their
 * records together with quota_user(owner, -gears, 0); for a deleted application at last its record,
 * /app-id, /env, /refs, deployments, builds and route, with quota_apps(domain, -1). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/wire/wire_app.h"

struct broker;
struct store_txn;

enum {
	APP_GEARS_MAX = 64, /* of one application: all fit into one transaction */
	APP_VARS_MAX = 200,
	APP_NAME_LEN_MAX = 32,
	APP_DOMAIN_LEN_MAX = 16,
};

/* ERR_CONFLICT after several tries means much contention: ERR_BUSY is given instead. Once, later.
 */
typedef void app_done_fn(const struct err *e, void *arg);

struct app_new {
	const char *domain, *name; /* lower case, checked */
	const char *login;         /* who asks; owner of a domain that is made on the way */
	const struct wire_gear_cart_list *cartridges; /* configure order; exactly one is_web */
	const char *profile;
	int64_t gears;
	bool scalable;
	const char *initial_git_url; /* NULL: the template; "empty": nothing */
	const struct wire_var_list *vars;
	bool auto_deploy;
	const char *deployment_branch; /* NULL: the first push decides */
	int64_t keep_deployments;
	int64_t idle_freeze_s; /* -1: never; 0: as the platform's */
	const char *deployment_type;
};
/* out_id: id of the application to be (caller owns); NULL on an early error, which done tells. */
char *app_create(struct broker *b, const struct app_new *n, app_done_fn *done, void *arg);

/* The share of the clients that a deployment gets, in percent. */
int64_t app_share(const struct wire_app *a, const char *deployment);

/* What one call changes. Called on a fresh copy of the record for each try; -1 refuses. */
typedef int app_change_fn(struct wire_app *a, void *arg, struct err *e);
/* Changes the record alone. change_arg must live until done. */
void app_change(struct broker *b, const char *app_id, app_change_fn *change, void *change_arg,
    app_done_fn *done, void *arg);

/* Adds gears at once; fewer: see above. */
void app_scale(struct broker *b, const char *app_id, int64_t gears, app_done_fn *done, void *arg);

/* Sets (value not NULL) and unsets variables; gears get them with the same transaction. rolls: the
 * application is rolled so that processes see them. */
void app_set_vars(struct broker *b, const char *app_id, const struct wire_var_list *vars,
    bool rolls, app_done_fn *done, void *arg);

/* In the transaction that gives a rollout up: when variables changed with it (spec.env_rev is not
 * status.env_rev), those that are served are put back in the record and the gears. */
void app_put_back_vars(struct broker *b, struct store_txn *t, const struct wire_app *a);

/* In a transaction that gives the application cartridges: a group's gears, with their place in the
 * owner's quota. */
struct gear_group;
int app_put_gears(struct broker *b, struct store_txn *t, const struct wire_app *a,
    const struct gear_group *grp, struct err *e) MUST_CHECK;

void app_delete(struct broker *b, const char *app_id, app_done_fn *done, void *arg);

/* Deletes what a create that never ended has left: applications waiting for a template that no one
 * deploys any more. Once, at start; done when all are marked: serve then. */
void app_recover(struct broker *b, app_done_fn *done, void *arg);

/* git's rules for names of branches and tags, with or without refs/…; no leading '-'. */
bool app_is_ref(const char *s);
/* app-domain.suffix; caller owns. */
char *app_host(const struct broker *b, const char *name, const char *domain);
/* Environment of an application; out zeroed; absent is empty. */
int app_vars(const struct broker *b, const char *app_id, struct wire_env *out, int64_t *out_rev,
    struct err *e) MUST_CHECK;
