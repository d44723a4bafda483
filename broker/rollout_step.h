/* broker/rollout_step.h: one step of an application's rollout: looks at what is wanted and what is,
 * and fills one transaction. No waiting, no memory of its own: any step may be repeated. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/app_view.h"
#include "lib/base/str.h"

struct broker;
struct store_txn;

struct rollout_step {
	/* given */
	struct broker *b;             /* borrowed */
	const struct app_view_app *v; /* borrowed */
	struct wire_app app;
	char *app_key; /* owned */
	int64_t app_rev;
	int64_t now_ms;                         /* Unix time */
	bool is_repo_removed;                   /* of a deleted application */
	bool is_held;                           /* somebody works in an instance */
	const struct wire_published *published; /* what a hook has just published, or NULL */
	/* found */
	struct store_txn *t; /* owned; NULL: nothing to write */
	bool is_app_changed;
	bool is_app_gone; /* t deletes the last of it */
	bool is_switch;   /* t moves the route to a new deployment or generation */
	bool wants_repo_removed;
	struct wire_published publish; /* gear NULL: nothing is to be published; else to be run */
	const char *publish_node;      /* borrowed from the view */
	bool is_publish_awaited;       /* web instances wait for it */
	struct wire_cart *manifests;   /* of the application's cartridges; owned, or NULL */
	size_t manifests_n;
	bool waits_for_router;    /* a report of a router may let it go on */
	bool is_settled;          /* all is as wanted: but for the routers */
	int64_t again_ms;         /* > 0: look again after so long */
	char *failure;            /* t gives up what was wanted: why; owned */
	struct str_list tail;     /* with failure: the last lines of the failed instance */
	struct str_list notes;    /* with is_switch: for the pusher */
	struct str_list messages; /* with failure: lines of cartridges, CLIENT_ERROR and others */
};

/* The gears that are to run the web cartridge. */
struct rollout_gears {
	const struct app_view_gear *v[256];
	size_t n;
};

/* Instances of them: of a deployment, and of a canary. */
struct rollout_set {
	const struct app_view_instance *v[512];
	size_t n;
};
void rollout_set_add(struct rollout_set *s, const struct app_view_instance *i); /* once */

/* Loads the application; false: it has no record. */
bool rollout_step_load(
    struct rollout_step *st, struct broker *b, struct app_view *v, const char *app_id);
/* Fills "found". */
void rollout_step_plan(struct rollout_step *st);
/* Puts what belongs to all of the plan's transactions (the application's record). */
void rollout_step_seal(struct rollout_step *st);
void rollout_step_fini(struct rollout_step *st);

/* --- shared by the parts of the plan --- */
/* Was it stopped, and is not yet served again? */
bool rollout_step_was_stopped(const struct wire_app *a);
/* Services and workers have rules of their own. */
bool rollout_step_is_web(const struct app_view_instance *i);
bool rollout_step_is_live(const struct app_view_instance *i); /* nor retired, nor to go */
/* The gear's instance of the deployment, as new as it must be; NULL: none. */
const struct app_view_instance *rollout_step_target(
    const struct rollout_step *st, const struct app_view_gear *g, const char *deployment);
/* Should it have been ready by now? *left: ms until then. */
bool rollout_step_is_late(
    const struct rollout_step *st, const struct app_view_instance *i, int64_t *left);
/* Unless services are to start first. */
void rollout_step_create(struct rollout_step *st, const struct app_view_gear *g,
    const struct wire_deployment *d, bool runs_release);
bool rollout_step_has_web(const struct wire_gear *g);        /* the web cartridge is in it */
struct store_txn *rollout_step_txn(struct rollout_step *st); /* made when first asked for */
bool rollout_step_has_room(const struct rollout_step *st);
void rollout_step_again(struct rollout_step *st, int64_t ms);
void rollout_step_want(
    struct rollout_step *st, const struct app_view_instance *i, enum wire_want want);
void rollout_step_retire(struct rollout_step *st, const struct app_view_instance *i);
/* What an instance of that gear is told of a deployment; release commands are the caller's affair.
 */
void rollout_step_deploy(const struct rollout_step *st, const struct app_view_gear *g,
    const struct wire_deployment *d, struct wire_instance *s);

/* rollout_hot.c: a deployment for instances that run and run on (v2's hot_deploy). */
/* It is one, and nothing but the deployment is to change. */
bool rollout_hot_is_wanted(const struct rollout_step *st, const struct wire_deployment *d);
/* The gear's instance is told to take it over; false: it has none that could. */
bool rollout_hot_tell(
    struct rollout_step *st, const struct app_view_gear *g, const struct wire_deployment *d);
/* Was it told, and the deployment does not serve yet? */
bool rollout_hot_is_told(const struct wire_app *a, const struct app_view_instance *i);

/* rollout_canary.c: a deployment beside the one that serves, for a share of the clients. */
/* Is it of that, or of the one which it follows? */
bool rollout_canary_has(const struct wire_app *a, const struct app_view_instance *i);
bool rollout_canary_is_settled(const struct wire_app *a);
/* For a steady application: adds to those that stay, and to those that serve. false: not all of it
 * is as wanted; with st->failure it was given up. */
bool rollout_canary_plan(struct rollout_step *st, const struct rollout_gears *gears,
    struct rollout_set *kept, struct rollout_set *serving);
/* The same as they are. */
void rollout_canary_add(
    const struct rollout_step *st, struct rollout_set *kept, struct rollout_set *serving);
void rollout_canary_idle(struct rollout_step *st); /* nothing runs */

/* rollout_cart.c: a change of cartridges is not yet made by all gears, or was given up. */
bool rollout_cart_waits(struct rollout_step *st);
/* It is made, and rolled where that was needed. */
void rollout_cart_done(struct rollout_step *st);
/* rollout_move.c: gears on their way to another node. true: the rest of the plan waits. */
bool rollout_move_plan(struct rollout_step *st);
void rollout_move_remove(struct rollout_step *st); /* of a deleted application */

/* rollout_remove.c: the end of instances, gears and applications. */
void rollout_remove_instances(struct rollout_step *st); /* those retired or gone */
void rollout_remove_gears(struct rollout_step *st);     /* beyond spec.gears, and gone ones */
void rollout_remove_app(struct rollout_step *st);
/* rollout_switch.c: the transaction that makes a deployment the one that serves. */
void rollout_switch(struct rollout_step *st, const struct app_view_instance *const *v, size_t n);
/* The build whose result the deployment is has done its work: its ref moves. */
void rollout_settle_build(struct rollout_step *st, const char *deployment);
/* A deployment that never served, and its build. */
void rollout_drop(struct rollout_step *st, const char *id, const char *why);
/* st->failure and what goes with it. bad may be NULL. */
void rollout_fail(struct rollout_step *st, const struct app_view_instance *bad, const char *why);
/* Gives up what was wanted and is not reached: spec goes back to what serves. */
void rollout_give_up(struct rollout_step *st, const struct app_view_instance *bad, const char *why);
/* The gears learn the branch that deploys. */
void rollout_tell_gears(struct rollout_step *st);
/* Deletes deployments beyond keep_deployments. */
void rollout_prune(struct rollout_step *st);
