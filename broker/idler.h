/* broker/idler.h: puts applications to sleep that had no request for the time that their settings
 * say, deeper and deeper (enum wire_sleep); knows when each was used last. It only writes what is
 * wanted (wire_app_spec.sleep); broker/sleep_plan makes it so. A restart of the broker counts as
 * use: nothing sleeps for what was not seen. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct broker;
struct idler;
struct wire_app;
struct wire_traffic;

struct idler *idler_new(struct broker *b);
void idler_free(struct idler *take_i);

/* What a router reports. */
void idler_traffic(struct idler *i, const struct wire_traffic *t);
/* Somebody uses the application: what sleeps of it is woken. Cheap. */
void idler_touch(struct broker *b, const char *app_id);
/* The same as long as it lasts (a session): by +1, then -1. */
void idler_hold(struct broker *b, const char *app_id, int by);
/* Was it used since (Unix time in ms), or is held? */
bool idler_is_used_since(const struct broker *b, const char *app_id, int64_t unix_ms);
/* The number of a new order to sleep: higher than the last one. */
int64_t idler_order(const struct wire_app *a);
