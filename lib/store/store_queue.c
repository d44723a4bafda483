#include "lib/store/store_queue.h"

#include <assert.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

struct store_queue {
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t filled;
	struct store_request *first; /* owned list */
	struct store_request **last;
	size_t n, bytes;
	size_t max_n, max_bytes;
	int wake_fd; /* borrowed */
	bool is_closed;
};

struct store_queue *
store_queue_new(size_t max_n, size_t max_bytes, int wake_fd)
{
	struct store_queue *q = xcalloc(1, sizeof *q);
	pthread_condattr_t attr;

	q->max_n = max_n;
	q->max_bytes = max_bytes;
	q->wake_fd = wake_fd;
	q->last = &q->first;
	pthread_mutex_init(&q->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&q->filled, &attr);
	pthread_condattr_destroy(&attr);
	return q;
}

void
store_queue_free(struct store_queue *take_q)
{
	if (take_q == NULL)
		return;
	store_request_list_free(take_q->first);
	pthread_cond_destroy(&take_q->filled);
	pthread_mutex_destroy(&take_q->lock);
	free(take_q);
}

static void
ring(int fd)
{
	uint64_t one = 1;

	/* It can only fail when the counter is full, and then the reader is awake anyway. */
	if (fd >= 0 && write(fd, &one, sizeof one) < 0)
		return;
}

/* With the lock held. */
static void
append(struct store_queue *q, struct store_request *r)
{
	*q->last = r;
	for (; r != NULL; r = r->next) {
		q->n++;
		q->bytes += store_request_bytes(r);
		q->last = &r->next;
	}
	pthread_cond_signal(&q->filled);
}

bool
store_queue_push(struct store_queue *q, struct store_request *r)
{
	bool fits;

	pthread_mutex_lock(&q->lock);
	fits = !q->is_closed && q->n < q->max_n && q->bytes < q->max_bytes;
	if (fits)
		append(q, r);
	pthread_mutex_unlock(&q->lock);
	if (fits)
		ring(q->wake_fd);
	return fits;
}

void
store_queue_push_always(struct store_queue *q, struct store_request *take_r)
{
	pthread_mutex_lock(&q->lock);
	append(q, take_r);
	pthread_mutex_unlock(&q->lock);
	ring(q->wake_fd);
}

static struct timespec
deadline(int timeout_ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += timeout_ms / 1000;
	t.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

/* With the lock held. */
static void
wait_filled(struct store_queue *q, int timeout_ms)
{
	struct timespec until = deadline(timeout_ms < 0 ? 0 : timeout_ms);

	while (q->first == NULL && !q->is_closed && timeout_ms != 0) {
		if (timeout_ms < 0)
			pthread_cond_wait(&q->filled, &q->lock);
		else if (pthread_cond_timedwait(&q->filled, &q->lock, &until) != 0)
			return;
	}
}

/* With the lock held. */
static struct store_request *
detach(struct store_queue *q, size_t max_n, size_t max_bytes)
{
	struct store_request *list = q->first, *r = list, *end = NULL;
	size_t n = 0, bytes = 0;

	while (r != NULL && n < max_n && bytes < max_bytes) {
		n++;
		bytes += store_request_bytes(r);
		end = r;
		r = r->next;
	}
	if (end == NULL)
		return NULL;
	end->next = NULL;
	q->first = r;
	if (r == NULL)
		q->last = &q->first;
	q->n -= n;
	q->bytes -= bytes;
	return list;
}

struct store_request *
store_queue_take(
    struct store_queue *q, size_t max_n, size_t max_bytes, int timeout_ms, bool *out_closed)
{
	struct store_request *list;

	pthread_mutex_lock(&q->lock);
	wait_filled(q, timeout_ms);
	list = detach(q, max_n, max_bytes);
	*out_closed = q->is_closed && q->first == NULL;
	pthread_mutex_unlock(&q->lock);
	return list;
}

void
store_queue_close(struct store_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->is_closed = true;
	pthread_cond_broadcast(&q->filled);
	pthread_mutex_unlock(&q->lock);
}
