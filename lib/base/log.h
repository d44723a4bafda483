/* lib/base/log.h: structured lines on stderr: `TIME LEVEL program event key=value …`, or JSON.
 * Thread-safe. User's bytes are escaped. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_kind { LOG_FIELD_END, LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_ERR };

struct log_field {
	enum log_kind kind;
	const char *key;
	const char *s; /* borrowed */
	int64_t i;
	const struct err *e; /* borrowed */
};

#define LOG_STR(k, v) ((struct log_field){ .kind = LOG_FIELD_STR, .key = (k), .s = (v) })
#define LOG_INT(k, v) ((struct log_field){ .kind = LOG_FIELD_INT, .key = (k), .i = (int64_t)(v) })
#define LOG_ERR(v) ((struct log_field){ .kind = LOG_FIELD_ERR, .key = "error", .e = (v) })

void log_setup(const char *program, enum log_level min, bool json);
int log_level_parse(const char *word, enum log_level *out); /* -1: unknown word */
void log_write(enum log_level level, const char *event, const struct log_field *fields);

#define LOG_AT(level, event, ...)                                                                  \
	log_write(level, event,                                                                    \
	    (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ .kind = LOG_FIELD_END } })
#define log_debug(event, ...) LOG_AT(LOG_DEBUG, event __VA_OPT__(, ) __VA_ARGS__)
#define log_info(event, ...) LOG_AT(LOG_INFO, event __VA_OPT__(, ) __VA_ARGS__)
#define log_warn(event, ...) LOG_AT(LOG_WARN, event __VA_OPT__(, ) __VA_ARGS__)
#define log_error(event, ...) LOG_AT(LOG_ERROR, event __VA_OPT__(, ) __VA_ARGS__)
