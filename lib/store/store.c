/* The front of the store: what lives on the loop. A backend (store_backend.h) makes writes durable
 * on threads of its own and answers through a queue; its answers are worked off here, in order:
 * mirror, callback, watches. */
#include "lib/store/store.h"

#include "lib/base/log.h"
#include "lib/base/secret.h"
#include "lib/loop/loop.h"
#include "lib/store/store_backend.h"
#include "lib/store/store_lease.h"
#include "lib/store/store_mirror.h"
#include "lib/store/store_watch.h"

#include <assert.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { ANSWERS_A_TURN = 512 };

enum phase {
	PHASE_OPEN,
	PHASE_CLOSING, /* what is submitted now gets ERR_BUSY */
	PHASE_CLOSED,  /* and now, silence */
};

struct store {
	struct loop *loop;
	struct store_backend *backend; /* owned */
	struct store_backend_info info;
	struct store_mirror *mirror;      /* owned */
	struct store_watch_set *watches;  /* owned */
	struct store_lease_table *leases; /* owned */
	struct store_queue *answers;      /* owned */
	struct loop_io *wake_io;          /* owned */
	int wake_fd;                      /* owned */
	struct loop_timer *compact_timer; /* owned or NULL */
	int64_t compact_keep;
	enum phase phase;
	bool is_answering; /* inside callbacks */
	/* What the callbacks of one turn write goes to the backend together, so that it becomes one
	 * commit and not a small one and a large one. */
	struct store_request *batch; /* owned list */
	struct store_request **batch_end;
};

/* --- requests --- */

/* Answers r with an error, later. */
static void
refuse(struct store *s, struct store_request *take_r, enum err_code code, const char *field,
    const char *why)
{
	(void)err_set(&take_r->err, code, field, "%s", why);
	take_r->has_failed = true;
	store_queue_push_always(s->answers, take_r);
}

static void
send(struct store *s, struct store_request *take_list)
{
	if (s->backend->ops->submit(s->backend, take_list))
		return;
	for (struct store_request *r = take_list, *next; r != NULL; r = next) {
		next = r->next;
		r->next = NULL;
		refuse(
		    s, r, ERR_BUSY, NULL, "too many requests wait for the store: try again later");
	}
}

static void
flush_batch(struct store *s)
{
	struct store_request *list = STEAL(s->batch);

	s->batch_end = &s->batch;
	if (list != NULL)
		send(s, list);
}

static bool
is_write(const struct store_request *r)
{
	return r->kind != STORE_REQUEST_LOG && r->kind != STORE_REQUEST_AT;
}

static void
submit(struct store *s, struct store_request *take_r)
{
	if (s->phase == PHASE_CLOSED) {
		log_warn("store_request_dropped", LOG_INT("kind", take_r->kind));
		store_request_free(take_r);
	} else if (s->phase == PHASE_CLOSING) {
		refuse(s, take_r, ERR_BUSY, NULL, "the store is closing: try again later");
	} else if (s->is_answering && is_write(take_r)) {
		*s->batch_end = take_r;
		s->batch_end = &take_r->next;
	} else {
		send(s, take_r);
	}
}

static void
ask_log(struct store_request *take_r, void *arg)
{
	struct store *s = arg;

	if (take_r->rev > take_r->rev_end)
		store_queue_push_always(s->answers, take_r);
	else
		submit(s, take_r);
}

void
store_txn_submit(struct store *s, struct store_txn *take_t, store_txn_fn *fn, void *arg)
{
	struct store_request *r = store_request_new(STORE_REQUEST_TXN);

	r->txn = take_t;
	r->txn_fn = fn;
	r->arg = arg;
	if (store_txn_check(take_t, &r->err) < 0) {
		r->has_failed = true;
		store_queue_push_always(s->answers, r);
		return;
	}
	submit(s, r);
}

void
store_compact(struct store *s, int64_t rev, store_done_fn *fn, void *arg)
{
	struct store_request *r = store_request_new(STORE_REQUEST_COMPACT);

	r->rev = rev;
	r->done_fn = fn;
	r->arg = arg;
	if (rev < 0 || rev > s->info.rev)
		refuse(s, r, ERR_INVALID, "rev", "must be from 0 to the store's present revision");
	else
		submit(s, r);
}

static void
on_compact_failed(const struct err *e, void *arg)
{
	(void)arg;
	if (e != NULL)
		log_warn("store_compact_failed", LOG_ERR(e)); /* again next time */
}

static void
on_compact_time(void *arg)
{
	struct store *s = arg;

	if (s->info.rev - s->compact_keep > s->info.compact_rev)
		store_compact(s, s->info.rev - s->compact_keep, on_compact_failed, NULL);
}

void
store_compact_auto(struct store *s, int64_t keep, int64_t every_ms)
{
	loop_timer_cancel(STEAL(s->compact_timer));
	s->compact_keep = keep;
	if (keep > 0)
		s->compact_timer = loop_timer_start(s->loop, every_ms, true, on_compact_time, s);
}

void
store_range_at(struct store *s, const char *prefix, int64_t rev, store_visit_fn *fn,
    store_done_fn *done, void *arg)
{
	struct store_request *r = store_request_new(STORE_REQUEST_AT);

	r->prefix = xstrdup(prefix);
	r->rev = rev;
	r->visit_fn = fn;
	r->done_fn = done;
	r->arg = arg;
	if (rev < 0 || rev > s->info.rev)
		refuse(s, r, ERR_INVALID, "rev", "must be from 0 to the store's present revision");
	else
		submit(s, r);
}

static struct store_request *
lease_request(enum store_request_kind kind, int64_t lease, store_lease_fn *fn, void *arg)
{
	struct store_request *r = store_request_new(kind);

	r->lease = lease;
	r->lease_fn = fn;
	r->arg = arg;
	return r;
}

void
store_lease_grant(struct store *s, int64_t ttl_s, store_lease_fn *fn, void *arg)
{
	struct store_request *r = lease_request(STORE_REQUEST_GRANT, 0, fn, arg);

	/* 48 random bits: exact as a JSON number, and not those of an earlier life of the store. */
	secret_random(&r->lease, sizeof r->lease);
	r->lease = (r->lease & 0xffffffffffff) | 1;
	r->ttl_s = ttl_s;
	if (ttl_s < 1 || ttl_s > STORE_LEASE_TTL_MAX)
		refuse(s, r, ERR_INVALID, "ttl_s", "must be from 1 to 86400 seconds");
	else
		submit(s, r);
}

void
store_lease_keepalive(struct store *s, int64_t lease, store_lease_fn *fn, void *arg)
{
	struct store_request *r = lease_request(STORE_REQUEST_KEEPALIVE, lease, fn, arg);

	if (s->phase == PHASE_OPEN && !store_lease_touch(s->leases, lease))
		refuse(s, r, ERR_NOT_FOUND, "lease", "the lease has ended: grant a new one");
	else if (s->phase == PHASE_OPEN)
		store_queue_push_always(s->answers, r);
	else
		submit(s, r);
}

void
store_lease_revoke(struct store *s, int64_t lease, store_lease_fn *fn, void *arg)
{
	submit(s, lease_request(STORE_REQUEST_REVOKE, lease, fn, arg));
}

static void
on_lease_end(int64_t lease, void *arg)
{
	struct store *s = arg;

	log_info("store_lease_ended", LOG_INT("lease", lease));
	store_lease_revoke(s, lease, NULL, NULL);
}

/* --- answers --- */

static void
answer_txn(struct store *s, struct store_request *r)
{
	struct store_commit *c = r->commits;

	if (c != NULL) {
		s->info.rev = c->rev;
		store_mirror_apply(s->mirror, c);
	}
	if (r->txn_fn != NULL)
		r->txn_fn(r->out_rev, r->has_failed ? &r->err : NULL, r->arg);
	if (c != NULL && s->watches != NULL)
		store_watch_commit(s->watches, c);
}

static void
answer_lease(struct store *s, struct store_request *r)
{
	if (r->kind == STORE_REQUEST_GRANT && !r->has_failed && s->leases != NULL)
		store_lease_add(s->leases, r->lease, r->ttl_s);
	if (r->kind == STORE_REQUEST_REVOKE && s->leases != NULL &&
	    (!r->has_failed || r->err.code == ERR_NOT_FOUND))
		store_lease_remove(s->leases, r->lease);
	for (struct store_commit *c = r->commits; c != NULL; c = c->next) {
		s->info.rev = c->rev;
		store_mirror_apply(s->mirror, c);
		if (s->watches != NULL)
			store_watch_commit(s->watches, c);
	}
	if (r->lease_fn != NULL)
		r->lease_fn(r->lease, r->has_failed ? &r->err : NULL, r->arg);
}

static void
answer_compact(struct store *s, struct store_request *r)
{
	if (!r->has_failed && r->rev > s->info.compact_rev) {
		s->info.compact_rev = r->rev;
		if (s->watches != NULL)
			store_watch_compacted(s->watches, r->rev);
	}
	if (r->done_fn != NULL)
		r->done_fn(r->has_failed ? &r->err : NULL, r->arg);
}

static void
answer_at(struct store_request *r)
{
	bool go_on = !r->has_failed;

	for (size_t i = 0; i < r->rows.n && go_on; i++) {
		struct store_kv kv = store_row_kv(&r->rows.v[i]);

		go_on = r->visit_fn(&kv, r->arg);
	}
	if (r->done_fn != NULL)
		r->done_fn(r->has_failed ? &r->err : NULL, r->arg);
}

static void
answer(struct store *s, struct store_request *take_r)
{
	AUTO(store_request_free) struct store_request *r = take_r;

	switch (r->kind) {
	case STORE_REQUEST_TXN:
		answer_txn(s, r);
		break;
	case STORE_REQUEST_GRANT:
	case STORE_REQUEST_REVOKE:
	case STORE_REQUEST_KEEPALIVE:
		answer_lease(s, r);
		break;
	case STORE_REQUEST_COMPACT:
		answer_compact(s, r);
		break;
	case STORE_REQUEST_LOG:
		if (s->watches != NULL)
			store_watch_answer(s->watches, STEAL(r));
		break;
	case STORE_REQUEST_AT:
		answer_at(r);
		break;
	}
}

/* Works off at most max answers; true: there may be more. */
static bool
answer_some(struct store *s, size_t max)
{
	bool is_closed;
	size_t n = 0;
	struct store_request *r = store_queue_take(s->answers, max, SIZE_MAX, 0, &is_closed);

	assert(!s->is_answering);
	s->is_answering = true;
	for (struct store_request *next; r != NULL; r = next, n++) {
		next = r->next;
		r->next = NULL;
		answer(s, r);
	}
	s->is_answering = false;
	flush_batch(s);
	return n == max;
}

static void
on_wake(int fd, int what, void *arg)
{
	struct store *s = arg;
	uint64_t count = 1;

	(void)what;
	if (read(fd, &count, sizeof count) < 0)
		return;
	count = 1;
	if (answer_some(s, ANSWERS_A_TURN) && write(fd, &count, sizeof count) < 0)
		log_warn("store_wake_failed");
}

/* --- reads --- */

const char *
store_cluster_id(const struct store *s)
{
	return s->info.cluster_id;
}

int64_t
store_epoch(const struct store *s)
{
	return s->info.epoch;
}

int64_t
store_rev(const struct store *s)
{
	return s->info.rev;
}

bool
store_get(const struct store *s, const char *key, struct store_kv *out)
{
	return store_mirror_get(s->mirror, key, out);
}

void
store_range(const struct store *s, const char *prefix, store_visit_fn *fn, void *arg)
{
	store_mirror_range(s->mirror, prefix, fn, arg);
}

static bool
count_one(const struct store_kv *kv, void *arg)
{
	(void)kv;
	++*(size_t *)arg;
	return true;
}

size_t
store_count(const struct store *s, const char *prefix)
{
	size_t n = 0;

	store_mirror_range(s->mirror, prefix, count_one, &n);
	return n;
}

struct store_watch *
store_watch_start(struct store *s, const char *prefix, int64_t from, store_watch_fn *fn, void *arg)
{
	return store_watch_add(s->watches, prefix, from, fn, arg);
}

/* --- open and close --- */

struct store *
store_new(struct loop *l, struct err *e)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct store *s;

	if (fd < 0) {
		(void)err_set(e, ERR_SYSTEM, NULL, "cannot make an eventfd for the store");
		return NULL;
	}
	s = xcalloc(1, sizeof *s);
	s->loop = l;
	s->wake_fd = fd;
	s->batch_end = &s->batch;
	s->answers = store_queue_new(SIZE_MAX, SIZE_MAX, fd);
	s->mirror = store_mirror_new();
	s->watches = store_watch_set_new(l, ask_log, s);
	s->leases = store_lease_table_new(l, on_lease_end, s);
	return s;
}

void
store_load_row(struct store *s, const struct store_row *r)
{
	store_mirror_put(s->mirror, r);
}

void
store_load_lease(struct store *s, int64_t lease, int64_t ttl_s)
{
	store_lease_add(s->leases, lease, ttl_s);
}

void
store_attach(struct store *s, struct store_backend *take_b, const struct store_backend_info *info)
{
	s->backend = take_b;
	s->info = *info;
	store_watch_set_start(s->watches, info->rev, info->compact_rev);
	s->wake_io = loop_io_start(s->loop, s->wake_fd, LOOP_READ, on_wake, s);
}

struct store_queue *
store_answers(struct store *s)
{
	return s->answers;
}

void
store_close(struct store *take_s)
{
	struct store *s = take_s;

	if (s == NULL)
		return;
	assert(!s->is_answering); /* not from inside a callback of the store */
	s->phase = PHASE_CLOSING;
	loop_timer_cancel(s->compact_timer);
	loop_io_cancel(s->wake_io);
	store_watch_set_free(STEAL(s->watches));
	store_lease_table_free(STEAL(s->leases));
	if (s->backend != NULL)
		s->backend->ops->close(s->backend);
	(void)answer_some(s, SIZE_MAX);
	s->phase = PHASE_CLOSED;
	(void)answer_some(s, SIZE_MAX);
	store_mirror_free(s->mirror);
	store_queue_free(s->answers);
	close(s->wake_fd);
	free(s);
}
