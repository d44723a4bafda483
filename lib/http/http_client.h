/* lib/http/http_client.h: outgoing HTTP calls: libcurl's multi interface on the loop. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/str.h"

struct loop;
struct http_client;
struct http_call;

struct http_client *http_client_new(struct loop *l);
void http_client_free(struct http_client *take_c); /* cancels all calls */
/* Of calls that name none themselves: whom to believe (NULL: the system's authorities), and the
 * certificate that is shown (NULL: none). Borrowed for the client's life. */
void http_client_trust(
    struct http_client *c, const char *ca_file, const char *cert_file, const char *key_file);

/* Fills p with up to n body bytes. Returns the count, 0 at the end, or HTTP_CALL_PAUSE: then call
 * http_call_resume when there is more. HTTP_CALL_ABORT fails the call. */
enum { HTTP_CALL_PAUSE = -1, HTTP_CALL_ABORT = -2 };
typedef ssize_t http_call_read_fn(struct http_call *c, char *p, size_t n, void *arg);
typedef void http_call_head_fn(struct http_call *c, int status, void *arg);
/* Return false to pause reading until http_call_resume (the bytes come again). */
typedef bool http_call_data_fn(struct http_call *c, const char *p, size_t n, void *arg);
/* Once. e NULL: the whole answer came; status and, without on_data, the body (borrowed). The call
 * is gone when this returns. */
typedef void http_call_end_fn(
    struct http_call *c, int status, struct str body, const struct err *e, void *arg);

/* May we connect to this address? Asked after the name was resolved, for each one tried. */
struct sockaddr;
typedef bool http_call_allows_fn(const struct sockaddr *sa, void *arg);

struct http_call_opts {
	const char *method;          /* NULL: GET */
	const char *url;             /* http(s)://host/path, or "unix:/path/of/socket:/url/path" */
	const char *const *headers;  /* "Name: value", NULL-terminated, or NULL */
	const char *bearer;          /* token, or NULL */
	const char *user, *password; /* Basic, or NULL */
	const void *body;            /* copied; or read */
	size_t body_n;
	const char *aws_sigv4;   /* user and password are keys, the request is signed with them:
	                            "aws:amz:REGION:SERVICE"; NULL: not */
	http_call_read_fn *read; /* streamed request body */
	int64_t read_size;       /* its length; 0: not known (chunked) */
	http_call_head_fn *on_head;
	http_call_data_fn *on_data; /* streamed answer; NULL: collected up to body_max */
	size_t body_max;            /* default 16 MiB */
	int64_t connect_timeout_ms; /* default 10 s */
	int64_t timeout_ms;         /* whole call; 0 = none */
	int64_t idle_timeout_ms;    /* without a byte; 0 = none */
	const char *ca_file, *cert_file, *key_file;
	bool trusts_all;             /* whatever certificate is shown */
	http_call_allows_fn *allows; /* NULL: any; else a connection of its own, without proxy */
	void *allows_arg;
	bool use_proxy; /* that of the environment (http_proxy …), but for loopback hosts */
};

/* All borrowed for the call. on_end comes later, never inside. NULL: ERR_INVALID (url). */
struct http_call *http_call_start(struct http_client *c, const struct http_call_opts *o,
    http_call_end_fn *on_end, void *arg, struct err *e) MUST_CHECK;
/* In on_head and on_end: the absolute URL that a 3xx answer sends to (never followed here), or
 * NULL. Borrowed. */
const char *http_call_redirect(const struct http_call *c);
/* In on_head and on_end: a field of the answer, or NULL. Caller owns. */
char *http_call_header(const struct http_call *c, const char *name);
void http_call_resume(struct http_call *c);
void http_call_cancel(struct http_call *take_c); /* no callback after it; NULL is fine */

/* Does one call and waits for it, on a loop of its own: for the command line. Returns the status
 * or -1; the body is appended to out. read, on_head and on_data of o get arg; on_data sees a
 * streamed answer as it comes, but that of a status of 400 and more goes to out all the same. */
int http_call_wait(
    const struct http_call_opts *o, struct buf *out, void *arg, struct err *e) MUST_CHECK;
