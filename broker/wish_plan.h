/* broker/wish_plan.h: the rollout's part of what cartridges ask for (broker/wish.h). */
#pragma once

#include <stdbool.h>

struct rollout_step;

/* Takes over what newly configured cartridges asked for, and brings token and gears up to what is
 * kept. true: the step's transaction has something of it. */
bool wish_plan(struct rollout_step *st);
