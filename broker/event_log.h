/* broker/event_log.h: what happened to an application, for its users: a bounded history in the
 * store (`pinion events`). Telling never fails and never waits: what cannot be kept is logged. */
#pragma once

#include <stdint.h>

#include "lib/base/mem.h"
#include "lib/wire/wire_event.h"

struct broker;
struct store;
struct store_txn;

enum { EVENT_LOG_KEPT = 200 }; /* of an application; the oldest go */

/* One sentence about an application. kind: one word, the past of a verb: created, deployed, failed,
 * started, stopped, restarted, scaled, crashed, unhealthy, idled, woken, added, removed, quota, …
 * The same kind and text again at once is counted, not repeated. Nothing happens when the
 * application is gone. */
void event_log_add(struct broker *b, const char *app_id, const char *kind, const char *fmt, ...)
    PRINTF(4, 5);
/* The same of one gear or instance; "" or NULL: none. */
void event_log_add_of(struct broker *b, const char *app_id, const char *gear, const char *instance,
    const char *kind, const char *fmt, ...) PRINTF(6, 7);
/* As part of a transaction (at most 3 writes): happens exactly when the change does. */
void event_log_put(struct store_txn *t, const struct store *s, const char *app_id, const char *gear,
    const char *instance, const char *kind, const char *fmt, ...) PRINTF(7, 8);

/* Visits the newest n, oldest first. */
typedef void event_log_visit_fn(const struct wire_event *ev, void *arg);
void event_log_each(
    const struct store *s, const char *app_id, int64_t n, event_log_visit_fn *fn, void *arg);
