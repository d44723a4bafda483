/* broker/drain_sink.h: one place that gets an application's log lines: syslog over TLS (RFC 5425),
 * or batches by HTTPS. Takes what it is given into a bounded queue and never makes anybody wait;
 * what finds no room is counted, and told in the stream. Connects again by itself. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

struct broker;
struct drain_sink;

enum { DRAIN_SINK_URL_MAX = 1024 };

struct drain_sink_status {
	const char *state;     /* "idle", "connecting", "connected", "waiting" */
	const char *error;     /* of the last failure; "" = none since it last worked */
	int64_t sent, dropped; /* lines */
};

/* ERR_INVALID: field "url"; the text says what it may be. */
int drain_sink_check(const char *url, struct err *e) MUST_CHECK;
/* host, app: for the line that tells of dropped ones. Borrowed for the call. */
struct drain_sink *drain_sink_new(
    struct broker *b, const char *url, const char *host, const char *app);
void drain_sink_free(struct drain_sink *take_s);
/* A syslog message (RFC 5424) without frame; copied. */
void drain_sink_put(struct drain_sink *s, const char *p, size_t n);
void drain_sink_status(const struct drain_sink *s, struct drain_sink_status *out);
