/* broker/worker_plan.h: background processes of an application: one instance for each of the
 * process types of its Procfile that it is scaled to, with the deployment that serves. One of a
 * kind ends before its successor begins. Part of a rollout's step. */
#pragma once

struct rollout_step;

enum { WORKER_PLAN_MAX = 20 }; /* of an application, all types together */

/* Makes, replaces and removes them; fills st->t where there is something to write. */
void worker_plan(struct rollout_step *st);
