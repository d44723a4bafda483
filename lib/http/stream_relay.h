/* lib/http/stream_relay.h: bytes both ways between two connected sockets, as they are, until one
 * side ends. Holds at most a buffer a direction. Owns itself. Loop thread. */
#pragma once

#include "lib/base/str.h"

struct loop;
struct stream_relay;

typedef void stream_relay_fn(void *arg);
/* Takes both; a_early was read from a already (and goes to b), b_early the other way. on_end: once,
 * when all is closed; the relay is gone then. */
struct stream_relay *stream_relay_start(struct loop *l, int take_a, struct str a_early, int take_b,
    struct str b_early, stream_relay_fn *on_end, void *arg);
void stream_relay_cancel(struct stream_relay *take_r); /* before on_end; NULL is fine */
