/* broker/service.h: the services of an application (databases and the like): one instance for each
 * service cartridge of each gear, which no deployment replaces. Part of a rollout's step. */
#pragma once

#include <stdbool.h>

struct app_view_instance;
struct rollout_step;

/* Makes, starts, restarts in place, stops and removes them as the application and its gears want
 * it; fills st->t where there is something to write. */
void service_plan(struct rollout_step *st);
/* Is there a service that web instances wait for? Each is waited for until it is ready, or has
 * failed once; st->again_ms is set. */
bool service_holds_start(struct rollout_step *st);
/* Is one on its way to an end that was asked for? */
bool service_is_stopping(const struct rollout_step *st);
/* Nothing runs of this instance and nothing will by itself: a service that was told to stop, or a
 * record that is gone. */
bool service_is_idle(const struct rollout_step *st, const struct app_view_instance *i);
