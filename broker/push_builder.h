/* broker/push_builder.h: an application whose cartridges include one of the category ci_builder
 * (v2's jenkins-client) is not built by a push: that cartridge is asked, before and after the refs
 * move. Loop thread. */
#pragma once

#include "lib/base/err.h"

struct broker;
struct push_builder;
struct wire_app;

/* Its name, the caller's; NULL: pushes are built here. */
char *push_builder_find(const struct broker *b, const struct wire_app *a);

/* Once, later; the handle is gone when this returns. e: it failed, or nothing runs that could be
 * asked. */
typedef void push_builder_done_fn(const struct err *e, void *arg);
/* Lines of its output, without their ends. */
typedef void push_builder_line_fn(const char *line, void *arg);

/* `control ACTION` in the head gear. NULL: ERR_BUSY. */
struct push_builder *push_builder_start(struct broker *b, const char *app_id, const char *cart,
    const char *action, push_builder_line_fn *on_line, push_builder_done_fn *done, void *arg,
    struct err *e) MUST_CHECK;
/* It is ended on the node. NULL is fine. */
void push_builder_cancel(struct push_builder *take_x);
