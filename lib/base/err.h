/* lib/base/err.h: the one error type. The code alone decides HTTP status, exit code and retry. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define NONNULL(...) __attribute__((nonnull(__VA_ARGS__)))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

enum err_code {
	ERR_NONE,
	ERR_INVALID,   /* bad input: names the field and the fix */
	ERR_NOT_FOUND, /* also: not visible to who asks */
	ERR_CONFLICT,  /* exists already, or changed meanwhile */
	ERR_DENIED,    /* known, but may not */
	ERR_UNAUTHENTICATED,
	ERR_LIMIT,  /* quota, size or rate */
	ERR_BUSY,   /* try again later */
	ERR_SYSTEM, /* the machine: disk, memory, a child process, the network */
	ERR_BUG,    /* ours */
};

enum { ERR_FIELD_MAX = 96, ERR_TEXT_MAX = 1024 };

/* Lives on the caller's stack; nothing to free. Zero-initialise it. */
struct err {
	enum err_code code;
	int sys;                   /* errno at the time, or 0 */
	char field[ERR_FIELD_MAX]; /* path of the field at fault, or "" */
	char text[ERR_TEXT_MAX];   /* a sentence for a person, with the fix */
};

/* Sets the error. field may be NULL. Always returns -1, so that `return err_set(…)` works.
 * ERR_SYSTEM keeps errno and appends its text. */
int err_set(struct err *e, enum err_code code, const char *field, const char *fmt, ...) PRINTF(4, 5)
    NONNULL(1, 4);
int err_setv(struct err *e, enum err_code code, const char *field, const char *fmt, va_list ap)
    NONNULL(1, 4);

/* Puts "WORDS: " in front of the text. Returns -1. */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF(2, 3) NONNULL(1, 2);

/* Puts "PREFIX." in front of the field path (`cartridges[0]` + `name`). Returns -1. */
int err_field(struct err *e, const char *fmt, ...) PRINTF(2, 3) NONNULL(1, 2);

/* HTTP status of a code (400, 401, 403, 404, 409, 422, 429, 500, 503). */
int err_http_status(enum err_code code);

/* Exit code of a program that ends with this error (documented in pinion(1)). */
int err_exit_code(enum err_code code);

/* Stable lower-case word of a code, for logs. */
const char *err_name(enum err_code code);
