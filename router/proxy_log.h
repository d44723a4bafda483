/* router/proxy_log.h: what is told of an exchange at its end: counts, the access log's line, the
 * application's. */
#pragma once

#include <stdint.h>

struct proxy;

/* Where the time of an exchange went: all of it, but for what the bodies took. */
struct proxy_log_times {
	int64_t router_us;  /* until the request was sent, without the next three */
	int64_t queue_us;   /* it waited for its application */
	int64_t connect_us; /* to the instance */
	int64_t retry_us;   /* of tries that failed */
	int64_t app_us;     /* from the request's end to the first byte of the answer */
};
struct proxy_log_times proxy_log_times(const struct proxy *x, int64_t took_us);

/* A wait for the application, or a connect, begins. */
void proxy_log_mark(struct proxy *x);
void proxy_log_connected(struct proxy *x);
void proxy_log_released(struct proxy *x); /* it waits no more */
void proxy_log_failed_try(struct proxy *x);
/* The exchange ends, and still has what it holds. */
void proxy_log_end(struct proxy *x);
