#include "broker/api_json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/mem.h"

static void
begin(struct api_json *j, const char *key)
{
	if (j->comma)
		buf_addc(j->b, ',');
	j->comma = true;
	if (key != NULL) {
		buf_add_json_str(j->b, key);
		buf_addc(j->b, ':');
	}
}

static void
open_with(struct api_json *j, const char *key, char c)
{
	begin(j, key);
	buf_addc(j->b, c);
	j->comma = false;
}

static void
close_with(struct api_json *j, char c)
{
	buf_addc(j->b, c);
	j->comma = true;
}

void
api_json_obj(struct api_json *j, const char *key)
{
	open_with(j, key, '{');
}

void
api_json_end_obj(struct api_json *j)
{
	close_with(j, '}');
}

void
api_json_arr(struct api_json *j, const char *key)
{
	open_with(j, key, '[');
}

void
api_json_end_arr(struct api_json *j)
{
	close_with(j, ']');
}

void
api_json_str(struct api_json *j, const char *key, const char *s)
{
	begin(j, key);
	buf_add_json_str(j->b, s);
}

void
api_json_fmt(struct api_json *j, const char *key, const char *fmt, ...)
{
	AUTO(free) char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	api_json_str(j, key, s);
}

void
api_json_int(struct api_json *j, const char *key, int64_t v)
{
	begin(j, key);
	buf_addf(j->b, "%" PRId64, v);
}

void
api_json_bool(struct api_json *j, const char *key, bool v)
{
	begin(j, key);
	buf_adds(j->b, v ? "true" : "false");
}

void
api_json_null(struct api_json *j, const char *key)
{
	begin(j, key);
	buf_adds(j->b, "null");
}

void
api_json_raw(struct api_json *j, const char *key, const char *json)
{
	begin(j, key);
	buf_adds(j->b, json);
}

void
api_json_time(struct api_json *j, const char *key, int64_t s)
{
	time_t t = (time_t)s;
	struct tm tm;
	char text[32];

	if (gmtime_r(&t, &tm) == NULL ||
	    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
		api_json_null(j, key);
		return;
	}
	api_json_str(j, key, text);
}

void
api_json_strs(struct api_json *j, const char *key, const struct str_list *l)
{
	api_json_arr(j, key);
	for (size_t i = 0; i < l->n; i++)
		api_json_str(j, NULL, l->v[i]);
	api_json_end_arr(j);
}
