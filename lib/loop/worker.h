/* lib/loop/worker.h: threads for blocking work. */
#pragma once

#include "lib/base/err.h"

struct loop;
struct worker;
struct worker_job;

typedef void worker_fn(void *job);

/* A pool of at most threads threads, made as needed; done callbacks come on loop l. */
struct worker *worker_new(struct loop *l, int threads);
/* Waits for running jobs; queued ones are dropped with done never called and free_job called. */
void worker_free(struct worker *take_w);
/* run(job) on a thread, which sees only the job; then done(job) on the loop; done owns the job.
 * Returns a handle for worker_detach, valid until done. */
struct worker_job *worker_submit(
    struct worker *w, worker_fn *run, worker_fn *done, worker_fn *free_job, void *take_job);
/* The asker dies first: done is not called, free_job is. NULL is fine. */
void worker_detach(struct worker_job *j);
