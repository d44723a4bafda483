/* node/gear_home.h: the tree of a gear: skeleton, directories of instances, owners and modes.
 * On disk ids are the container's: 0 and 1000. All calls block. */
#pragma once

#include "lib/base/err.h"

/* Makes the skeleton in the (empty) volume at root: base/0, env, data, logs, svc, inst. */
int gear_home_skeleton(const char *root, struct err *e) MUST_CHECK;
/* HOME/app-root/runtime/.state, as v2 has it: what is expected of the gear; read by scripts. */
int gear_home_set_state(const char *home, const char *state, struct err *e) MUST_CHECK;
#define GEAR_HOME_SPARE "spare"

/* ROOT/inst/ID/{up,work/work,tmp,ctl}; what is there stays. */
int gear_home_make_instance(const char *root, const char *id, struct err *e) MUST_CHECK;
/* ROOT/inst/spare, which the next instance takes, so that a full disk does not hinder its start. */
int gear_home_make_spare(const char *root, struct err *e) MUST_CHECK;
