/* broker/rollout.h: makes instances and routes match the applications' spec. Level-triggered: every
 * change of an app's record wakes its controller; nothing needs to be told. Waiting is only for
 * those who want to answer a user. */
#pragma once

#include <stdint.h>

#include "lib/base/err.h"

struct app_view;
struct broker;
struct rollout;
struct rollout_wait;

/* Begins at once with what the store says. */
struct rollout *rollout_new(struct broker *b);
void rollout_free(struct rollout *take_r);
/* Gears and instances by application; borrowed. */
struct app_view *rollout_view(struct rollout *r);

/* When the application's last switch was submitted: CLOCK_MONOTONIC in µs; 0: never. */
int64_t rollout_switch_us(struct rollout *r, const char *app_id);

/* Looks at the application soon. */
void rollout_poke(struct rollout *r, const char *app_id);

/* Somebody works in an instance: those that are replaced stay as with a session in them, until as
 * many released it. */
void rollout_hold(struct rollout *r, const char *app_id);
void rollout_release(struct rollout *r, const char *app_id);

/* Progress for a person: one line without newline; those of a cartridge's scripts with their prefix
 * (CLIENT_ERROR: …). */
typedef void rollout_line_fn(const char *line, void *arg);
/* e NULL: the app is as its spec at the time of the call (or a later one) wants it, and every
 * connected router serves it. Else why not: the failed rollout's reason with the last log lines;
 * the spec's deployment was set back to the one that serves. Once; never inside rollout_wait. */
typedef void rollout_done_fn(const struct err *e, void *arg);

/* Waits until the app (24 hex id) matches its spec. on_line may be NULL. ERR_NOT_FOUND comes by
 * done. A deleted app: done when nothing of it is left. */
struct rollout_wait *rollout_wait(struct rollout *r, const char *app_id, rollout_line_fn *on_line,
    rollout_done_fn *done, void *arg);
void rollout_wait_cancel(struct rollout_wait *take_w); /* forgets the callbacks; work goes on */
