/* broker/restore_part.h: the snapshot of a service's gear, which lies within that of the
 * application's head gear, from the head's node to that gear's own, where it is unpacked beside the
 * data. Loop thread. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"

struct app_view_gear;
struct broker;
struct restore_part;

/* Once, later; the handle is gone then. was_there false: the snapshot has none of it. */
typedef void restore_part_fn(bool was_there, const struct err *e, void *arg);
struct restore_part *restore_part_start(struct broker *b, const struct app_view_gear *head,
    const char *cart, const struct app_view_gear *gear, restore_part_fn *fn, void *arg,
    struct err *e) MUST_CHECK;
void restore_part_cancel(struct restore_part *take_p); /* NULL is fine */
