/* broker/keep_plan.h: which layers the nodes of an application must keep: those of all its
 * deployments. */
#pragma once

#include "lib/wire/wire_app.h"

struct app_view_app;
struct broker;
struct store_txn;

/* Puts the keep records of the application's nodes as they are with deployment `add` (or NULL) more
 * and those of ids `without` (or NULL) less; nothing where they are so already. */
void keep_plan_put(const struct broker *b, struct store_txn *t, const struct app_view_app *v,
    const struct wire_deployment *add, const struct str_list *without);
/* The same for one node more, to which a gear of the application comes. */
void keep_plan_put_node(
    const struct broker *b, struct store_txn *t, const char *app_id, const char *node);
