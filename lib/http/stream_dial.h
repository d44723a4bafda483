/* lib/http/stream_dial.h: the client's side of a stream: connects, asks for the upgrade, hands the
 * connection over. (libcurl has no upgrade to a protocol of one's own: doc/decisions.md.) */
#pragma once

#include "lib/base/err.h"
#include "lib/base/str.h"

struct loop;
struct stream_dial;

struct stream_dial_opts { /* borrowed for the call */
	const char *url;  /* "unix:/path/of/socket:/url/path", or "http://HOST:PORT/path"; a name
	                     (not an address) blocks while it is looked up */
	const char *authorization;  /* value of the header, or NULL */
	const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
	int fd;                     /* > 0: taken: connected already; the URL gives host and path */
};

/* Once, later: the connection (taken by the callee; early: borrowed bytes read from it already), or
 * -1 and the reason. */
typedef void stream_dial_fn(int take_fd, struct str early, const struct err *e, void *arg);
struct stream_dial *stream_dial_start(struct loop *l, const struct stream_dial_opts *o,
    stream_dial_fn *fn, void *arg, struct err *e) MUST_CHECK;
void stream_dial_cancel(struct stream_dial *take_d); /* before fn; NULL is fine */
