/* node/mount_base.h: the mount namespace that containers are started from: the host's, but without
 * the gears' volumes and network namespaces, of which a start needs one each. A copy of it costs
 * the same however many gears there are. */
#pragma once

#include "lib/base/err.h"

/* Makes one without what is mounted at and below the n directories; what the host unmounts goes
 * away there too. An fd on it, or -1. Blocks. */
int mount_base_make(const char *const *dirs, int n, struct err *e) MUST_CHECK;
