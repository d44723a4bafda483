/* router/h2_wire.h: what both ends of HTTP/2 do with a sock. */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdint.h>

struct buf;
struct sock;

/* Sends what the session has to say, as far as there is room. false: it is broken, or the end. */
bool h2_wire_flush(nghttp2_session *ng, struct sock *to);
/* A trailer section (lines, then an empty one) behind the data of a stream, which it ends. false:
 * nothing is in it. */
bool h2_wire_trailers(nghttp2_session *ng, int32_t id, const struct buf *section);
