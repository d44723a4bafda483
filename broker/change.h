/* broker/change.h: one transaction, built anew and tried again when something that it compared
 * changed meanwhile; those that met a conflict go one after the other, so that none starves. */
#pragma once

#include "lib/base/err.h"

struct broker;
struct store_txn;

/* Reads what it needs and fills t, with compares on all that it read. -1: refused, e says why. May
 * run several times. */
typedef int change_build_fn(struct broker *b, struct store_txn *t, void *arg, struct err *e);
typedef void change_done_fn(const struct err *e, void *arg);

/* done: once, never inside. ERR_BUSY: too many others changed the same. A transaction without
 * operations succeeds. */
void change_start(struct broker *b, change_build_fn *build, change_done_fn *done, void *arg);
