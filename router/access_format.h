/* router/access_format.h: a line of the access log: key=value, JSON, or the combined format of web
 * servers. Bytes from outside cannot end a field or a line. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

enum access_format { ACCESS_FORMAT_TEXT, ACCESS_FORMAT_JSON, ACCESS_FORMAT_COMBINED };
enum { ACCESS_FORMAT_LINE_MAX = 8192 };

struct access_line {
	int64_t unix_us; /* of the request's first byte */
	int64_t took_us;
	int64_t router_us, queue_us, connect_us, retry_us, app_us; /* see proxy_log_times */
	int64_t tls_us;                                            /* of the handshake before it */
	int64_t bytes, bytes_in; /* of the body sent, of the request's; of a tunnel both ways */
	int status;
	int tries;           /* that failed */
	const char *proto;   /* "http" or "https" */
	const char *version; /* of HTTP: "1.1" */
	struct str peer, host, method, path, instance, app, id;
	struct str head; /* of the request as it goes to the instance: for what few formats show */
	struct str reason; /* why it failed; empty: it did not */
};

struct access_format_text {
	size_t n;
	char p[ACCESS_FORMAT_LINE_MAX];
};

/* The time as text, made once a second. Zero at first. */
struct access_format_time {
	int64_t second;
	char text[32];
};

/* "text", "json", "combined". */
int access_format_parse(const char *name, enum access_format *out, struct err *e) MUST_CHECK;
/* A whole line, with its end. */
void access_format_line(struct access_format_text *out, enum access_format f,
    struct access_format_time *t, const struct access_line *a);
