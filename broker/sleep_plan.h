/* broker/sleep_plan.h: the part of a rollout's step that puts an application to sleep and wakes it.
 * Asleep, its route says so: a request wakes it through its node (router/wake), and the node tells
 * of that. First all routers must know; then the instances sleep. */
#pragma once

#include <stdbool.h>

struct rollout_step;

/* true: it sleeps, or is about to, or wakes: nothing else is to be planned now. */
bool sleep_plan(struct rollout_step *st);
