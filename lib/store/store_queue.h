/* lib/store/store_queue.h: a bounded queue of requests between threads. */
#pragma once

#include "lib/store/store_request.h"

struct store_queue; /* opaque; its own mutex guards all of it */

/* wake_fd: an eventfd that each push rings (borrowed), or -1: then store_queue_take waits. */
struct store_queue *store_queue_new(size_t max_n, size_t max_bytes, int wake_fd);
/* Frees what is still in it. */
void store_queue_free(struct store_queue *take_q);
/* Takes the whole list r when it returns true; false: full or closed, r stays the caller's. */
bool store_queue_push(struct store_queue *q, struct store_request *r);
/* The same over all bounds: for answers, whose number is that of the requests. */
void store_queue_push_always(struct store_queue *q, struct store_request *take_r);
/* The oldest requests as a list, at most max_n and about max_bytes; waits up to timeout_ms (-1: for
 * ever) for the first. NULL: none came, or the queue is closed and empty (then *out_closed). */
struct store_request *store_queue_take(
    struct store_queue *q, size_t max_n, size_t max_bytes, int timeout_ms, bool *out_closed);
/* No more pushes; what is in it can still be taken. */
void store_queue_close(struct store_queue *q);
