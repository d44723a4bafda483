/* broker/build_order.h: has a node build: opens the repository, sends the order with the source
 * tree, passes the node's lines on, and answers with its result. */
#pragma once

#include "lib/base/err.h"
#include "lib/wire/wire_node.h"

struct broker;
struct build_order;
struct build_record;

typedef void build_order_line_fn(const char *line, void *arg);
/* Once. res: borrowed; e NULL. Else why it failed. The order is gone when this returns. */
typedef void build_order_done_fn(
    const struct wire_build_result *res, const struct err *e, void *arg);

/* r is borrowed until the end; its sha1 and markers are filled in where the source decides them. */
struct build_order *build_order_start(struct broker *b, struct build_record *r,
    build_order_line_fn *on_line, build_order_done_fn *done, void *arg);
void build_order_cancel(struct build_order *take_o); /* NULL is fine; the node stops building */
