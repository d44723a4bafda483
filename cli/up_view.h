/* cli/up_view.h: how `pinion up` starts a daemon without privileges: a private mount namespace in
 * which the few paths it needs appear under /run/pinion/view, wherever they really lie (a data
 * directory below a 0700 home is no obstacle), then its own user, then the program. It runs as
 * `pinion up-view` between fork and exec. */
#pragma once

#include "lib/base/str.h"

#define UP_VIEW_DIR "/run/pinion/view"

/* Appends "--bind REAL NAME" for the argv of `pinion up-view`; the path it will have there is
 * UP_VIEW_DIR/NAME. is_writable: not read-only. */
void up_view_bind(struct str_list *argv, const char *real, const char *name, bool is_writable);

/* argv: `pinion up-view [--bind|--bind-rw REAL NAME]… --user UID:GID -- PROGRAM ARG…`. Returns only
 * on failure: an exit code. */
int up_view_main(int argc, char **argv);
