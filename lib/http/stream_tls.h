/* lib/http/stream_tls.h: a plain descriptor whose bytes go over TLS to a server whose certificate
 * is verified: what speaks on sockets speaks to https. Loop thread. */
#pragma once

#include "lib/base/err.h"

struct loop;

/* It ended, once: broken, or closed by the server (why), or as its descriptor was closed (NULL). */
typedef void stream_tls_fn(const struct err *e, void *arg);

struct stream_tls_opts {                  /* borrowed for the call */
	const char *url;                  /* https:// */
	const char *address;              /* of its host; NULL: looked up, which blocks */
	const char *ca_file;              /* whom to believe; NULL: the system's */
	const char *cert_file, *key_file; /* as of tls_client */
};

/* Connects to the host of the URL. Returns a connected descriptor, the caller's, for stream_dial's
 * fd: bytes may be written at once; TLS ends once it is closed. -1: ERR_INVALID, ERR_BUSY. */
int stream_tls_open(struct loop *l, const struct stream_tls_opts *o, stream_tls_fn *fn, void *arg,
    struct err *e) MUST_CHECK;
/* The first address of the URL's host. Blocks: for workers. Caller owns; NULL: ERR_INVALID,
 * ERR_BUSY. */
char *stream_tls_resolve(const char *url, struct err *e) MUST_CHECK;
