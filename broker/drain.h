/* broker/drain.h: log drains: follows the logs of applications that have any, and passes each line
 * to their sinks, as syslog messages (RFC 5424). Records are wire_app.drains. */
#pragma once

#include "broker/drain_sink.h"

struct broker;
struct drains;

enum { DRAIN_MAX = 5 }; /* of an application */

struct drains *drains_new(struct broker *b);
void drains_free(struct drains *take_d);
/* false: not there (yet). */
bool drains_status(
    const struct drains *d, const char *app_id, const char *id, struct drain_sink_status *out);
