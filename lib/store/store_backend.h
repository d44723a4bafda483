/* lib/store/store_backend.h: between the front of the store (loop, mirror, watches, leases) and
 * what makes writes durable. */
#pragma once

#include "lib/store/store_queue.h"

struct store_backend;

struct store_backend_ops {
	/* Loop thread. A list of requests that write, or one that reads. Answers go to
	 * store_answers(), from any thread, those of writes in their order. False: the queue is
	 * full, and the list stays the caller's. LOG is never refused. */
	bool (*submit)(struct store_backend *b, struct store_request *r);
	/* Loop thread. All that was submitted is answered when it returns. Frees b. */
	void (*close)(struct store_backend *take_b);
};

/* First member of a backend's own struct. */
struct store_backend {
	const struct store_backend_ops *ops;
};

struct store_backend_info {
	char cluster_id[40];
	int64_t epoch, rev, compact_rev;
};

/* An empty front without a backend; the backend loads it, then attaches itself. */
struct store *store_new(struct loop *l, struct err *e);
void store_load_row(struct store *s, const struct store_row *r);
/* A lease lives its whole time again after a restart. */
void store_load_lease(struct store *s, int64_t lease, int64_t ttl_s);
void store_attach(
    struct store *s, struct store_backend *take_b, const struct store_backend_info *info);
struct store_queue *store_answers(struct store *s); /* borrowed; any thread may push */
