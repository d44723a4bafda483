#include "lib/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	enum err_code code;
	const char *name;
	int http_status;
	int exit_code;
} codes[] = {
	{ ERR_NONE, "none", 200, 0 },
	{ ERR_INVALID, "invalid", 422, 2 },
	{ ERR_NOT_FOUND, "not_found", 404, 4 },
	{ ERR_CONFLICT, "conflict", 409, 5 },
	{ ERR_DENIED, "denied", 403, 6 },
	{ ERR_UNAUTHENTICATED, "unauthenticated", 401, 7 },
	{ ERR_LIMIT, "limit", 429, 8 },
	{ ERR_BUSY, "busy", 503, 9 },
	{ ERR_SYSTEM, "system", 500, 1 },
	{ ERR_BUG, "bug", 500, 1 },
};

int
err_setv(struct err *e, enum err_code code, const char *field, const char *fmt, va_list ap)
{
	int sys = errno;
	char text[ERR_TEXT_MAX];
	size_t n;

	(void)vsnprintf(text, sizeof text, fmt, ap);
	e->code = code;
	e->sys = code == ERR_SYSTEM ? sys : 0;
	(void)snprintf(e->field, sizeof e->field, "%s", field == NULL ? "" : field);
	if (e->sys != 0) {
		n = strlen(text);
		(void)snprintf(text + n, sizeof text - n, ": %s", strerror(sys));
	}
	memcpy(e->text, text, sizeof text);
	return -1;
}

int
err_set(struct err *e, enum err_code code, const char *field, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)err_setv(e, code, field, fmt, ap);
	va_end(ap);
	return -1;
}

int
err_wrap(struct err *e, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	char old[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	memcpy(old, e->text, sizeof old);
	/* A text too long loses its end. */
	size_t n = strlen(text);
	memcpy(e->text, text, n);
	(void)snprintf(e->text + n, sizeof e->text - n, ": %s", old);
	return -1;
}

int
err_field(struct err *e, const char *fmt, ...)
{
	char field[ERR_FIELD_MAX];
	char old[ERR_FIELD_MAX];
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	(void)vsnprintf(field, sizeof field, fmt, ap);
	va_end(ap);
	memcpy(old, e->field, sizeof old);
	n = strlen(field);
	memcpy(e->field, field, n + 1);
	if (old[0] != '\0')
		(void)snprintf(
		    e->field + n, sizeof e->field - n, "%s%s", old[0] == '[' ? "" : ".", old);
	return -1;
}

int
err_http_status(enum err_code code)
{
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (codes[i].code == code)
			return codes[i].http_status;
	return 500;
}

int
err_exit_code(enum err_code code)
{
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (codes[i].code == code)
			return codes[i].exit_code;
	return 1;
}

const char *
err_name(enum err_code code)
{
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (codes[i].code == code)
			return codes[i].name;
	return "unknown";
}
