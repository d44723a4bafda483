#include "lib/loop/worker.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/base/mem.h"
#include "lib/loop/loop.h"

struct worker_job {
	struct worker_job *next;
	struct worker *worker;
	worker_fn *run, *done, *free_job;
	void *arg;        /* owned by the thread while it runs, then by done */
	bool is_detached; /* loop thread only */
};

struct worker {
	struct loop *loop;
	int max_threads;
	pthread_t *threads; /* owned */
	int count;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t wake;
	struct worker_job *first, *last;
	int idle, queued;
	bool is_ending;
	size_t unfinished; /* loop thread only: submitted, not yet done */
};

struct worker *
worker_new(struct loop *l, int threads)
{
	struct worker *w = xcalloc(1, sizeof *w);

	w->loop = l;
	w->max_threads = threads;
	w->threads = xcalloc((size_t)threads, sizeof *w->threads);
	(void)pthread_mutex_init(&w->lock, NULL);
	(void)pthread_cond_init(&w->wake, NULL);
	return w;
}

static void
drop(struct worker_job *j)
{
	if (j->free_job != NULL)
		j->free_job(j->arg);
	free(j);
}

static void
on_done(void *arg)
{
	struct worker_job *j = arg;

	j->worker->unfinished--;
	if (j->is_detached || j->worker->is_ending) {
		drop(j);
		return;
	}
	worker_fn *done = j->done;
	void *job = j->arg;
	free(j);
	done(job);
}

static struct worker_job *
next_job(struct worker *w)
{
	(void)pthread_mutex_lock(&w->lock);
	while (w->first == NULL && !w->is_ending) {
		w->idle++;
		(void)pthread_cond_wait(&w->wake, &w->lock);
		w->idle--;
	}
	struct worker_job *j = w->is_ending ? NULL : w->first;
	if (j != NULL) {
		w->first = j->next;
		w->queued--;
		if (w->first == NULL)
			w->last = NULL;
	}
	(void)pthread_mutex_unlock(&w->lock);
	return j;
}

static void *
thread_main(void *arg)
{
	struct worker *w = arg;
	struct worker_job *j;

	while ((j = next_job(w)) != NULL) {
		j->run(j->arg);
		loop_post(w->loop, on_done, j);
	}
	return NULL;
}

/* Signals belong to the loop's thread. */
static void
start_thread(struct worker *w)
{
	sigset_t all, old;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	int rc = pthread_create(&w->threads[w->count], NULL, thread_main, w);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	assert(rc == 0 || w->count > 0);
	if (rc == 0)
		w->count++;
}

struct worker_job *
worker_submit(
    struct worker *w, worker_fn *run, worker_fn *done, worker_fn *free_job, void *take_job)
{
	struct worker_job *j = xcalloc(1, sizeof *j);

	*j = (struct worker_job){
		.worker = w, .run = run, .done = done, .free_job = free_job, .arg = take_job
	};
	w->unfinished++;
	(void)pthread_mutex_lock(&w->lock);
	if (w->last == NULL)
		w->first = j;
	else
		w->last->next = j;
	w->last = j;
	w->queued++;
	bool grow = w->queued > w->idle && w->count < w->max_threads;
	(void)pthread_cond_signal(&w->wake);
	(void)pthread_mutex_unlock(&w->lock);
	if (grow)
		start_thread(w);
	return j;
}

void
worker_detach(struct worker_job *j)
{
	if (j != NULL)
		j->is_detached = true;
}

void
worker_free(struct worker *take_w)
{
	if (take_w == NULL)
		return;
	(void)pthread_mutex_lock(&take_w->lock);
	take_w->is_ending = true;
	struct worker_job *queued = take_w->first;
	take_w->first = take_w->last = NULL;
	(void)pthread_cond_broadcast(&take_w->wake);
	(void)pthread_mutex_unlock(&take_w->lock);
	for (int i = 0; i < take_w->count; i++)
		(void)pthread_join(take_w->threads[i], NULL);
	for (struct worker_job *next; queued != NULL; queued = next) {
		next = queued->next;
		take_w->unfinished--;
		drop(queued);
	}
	/* The results of running jobs are posted; let the loop drop them. */
	while (take_w->unfinished > 0) {
		bool never = false;

		(void)loop_run_until(take_w->loop, &never, 1);
	}
	(void)pthread_cond_destroy(&take_w->wake);
	(void)pthread_mutex_destroy(&take_w->lock);
	free(take_w->threads);
	free(take_w);
}
