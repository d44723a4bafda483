/* broker/subscribe.h: hooks of those who subscribe (Subscribes) in a scalable application: each is
 * told what was published, with OpenShift v2's arguments, once the instance where it acts is ready;
 * again when something else is published, or when there is a new instance. Part of a rollout's
 * step; what was told is known to this broker alone, for a hook may run twice. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"

struct broker;
struct map;
struct rollout_step;
struct subscribe_run;
struct wire_app;

enum { SUBSCRIBE_NO_HOOK = 127 };
struct subscribe_order {
	char *gear, *cart, *hook, *arg; /* owned; gear NULL: nothing */
	char *key, *digest;             /* owned; of the map of what was told */
	char *none;                     /* owned; key there once it is known to have no hook */
	bool is_env;                    /* then it need not have a hook */
	const char *node;               /* borrowed from the view */
};
void subscribe_order_fini(struct subscribe_order *o);

/* What is to be told next. told: key → digest (string) of what was told. */
void subscribe_plan(struct rollout_step *st, const struct map *told, struct subscribe_order *out);

/* result: exit code of the hook, 127: there is none; -1: the node could not be asked, e says why.
 * Once, later; the handle is gone then. */
typedef void subscribe_done_fn(int64_t result, const struct err *e, void *arg);
struct subscribe_run *subscribe_run_start(struct broker *b, const struct wire_app *a,
    const struct subscribe_order *o, subscribe_done_fn *done, void *arg, struct err *e) MUST_CHECK;
void subscribe_run_cancel(struct subscribe_run *take_r); /* NULL is fine */
