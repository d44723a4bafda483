/* broker/controller.h: a work queue by key for level-triggered controllers: each waking makes one
 * step later; a key's steps never overlap; failures come again with backoff. Loop thread. */
#pragma once

#include <stdint.h>

struct controller;
struct loop;

/* Does one step for key and sees to it that controller_done is called for it once, then or later.
 * A key that was woken meanwhile gets another step. */
typedef void controller_step_fn(const char *key, void *arg);

struct controller *controller_new(struct loop *l, controller_step_fn *fn, void *arg);
void controller_free(struct controller *take_c);

void controller_wake(struct controller *c, const char *key);
/* The step ended. retry_ms > 0: wake it again after so long at the latest; < 0: it failed, with
 * backoff (50 ms … 10 s); 0: only when woken. */
void controller_done(struct controller *c, const char *key, int64_t retry_ms);
