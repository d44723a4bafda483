/* lib/http/stream_tls.h: a plain descriptor whose bytes go over TLS to a server whose certificate
 * is verified: what speaks on sockets speaks to https. Loop thread. */
#pragma once

#include "lib/base/err.h"

struct loop;

/* It broke, or the server closed: why. At most once; afterwards the descriptor is at its end. */
typedef void stream_tls_fn(const struct err *e, void *arg);
/* Connects to the host of an https:// URL (a name blocks while it is looked up). ca_file: whom to
 * believe; NULL: the system's. Returns a connected descriptor, the caller's, for stream_dial's fd:
 * bytes may be written at once; TLS ends once it is closed. -1: ERR_INVALID, ERR_BUSY. */
int stream_tls_open(struct loop *l, const char *url, const char *ca_file, stream_tls_fn *fn,
    void *arg, struct err *e) MUST_CHECK;
