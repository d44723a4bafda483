/* broker/run_instance.h: fresh instances of an application's deployment that run nothing by
 * themselves: for one-off commands and for sessions of applications that do not run. */
#pragma once

#include "lib/base/err.h"

struct broker;
struct run_instance;

/* Once, later: its id (borrowed) when it can be entered, or why not. Not after run_instance_end. */
typedef void run_instance_fn(const char *id, const struct err *e, void *arg);
/* In that gear, of the deployment that serves (of an application that was never pushed: none, which
 * is ERR_CONFLICT). NULL: refused. */
struct run_instance *run_instance_start(
    struct broker *b, const char *gear, run_instance_fn *fn, void *arg, struct err *e) MUST_CHECK;
/* It is no longer needed: removed with all that runs in it. NULL is fine. */
void run_instance_end(struct run_instance *take_r);
/* Those that an earlier broker left. At the start. */
void run_instance_sweep(struct broker *b);
