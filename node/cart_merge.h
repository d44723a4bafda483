/* node/cart_merge.h: an upgrade of a service cartridge, whose directory svc/NAME holds its data.
 * The scripts run over it in an overlay; what they wrote, with the new code, lies in base/BASE/NAME
 * until the gear's record names BASE. From then on it takes its places in svc/NAME, by renames
 * alone: no data is copied, and what was cut short is brought to its end. All calls block. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"

struct cart_dir_entry;
struct gear;

/* What setup_rewritten names in the layer below (each in the shape of the home) does not show
 * through upper, a layer that lies on it. */
int cart_merge_hide(
    const struct cart_dir_entry *c, const char *upper, const char *below, struct err *e) MUST_CHECK;
/* Into upper/NAME, before the scripts run: the new code from the layer code. is_compatible: what
 * setup_rewritten names stays as well. */
int cart_merge_begin(const struct cart_dir_entry *c, const char *code, const char *upper,
    const char *svc, bool is_compatible, struct err *e) MUST_CHECK;
/* Of all services in the gear's record; without anything to be done it is quick. */
int cart_merge_finish(const struct gear *g, struct err *e) MUST_CHECK;
