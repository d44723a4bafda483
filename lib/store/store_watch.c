#include "lib/store/store_watch.h"

#include "lib/base/log.h"
#include "lib/loop/loop.h"

#include <assert.h>
#include <string.h>

/* The latest revisions stay in memory, so that a watch that reconnects costs no disk, and one that
 * replays older ones can meet the present. */
enum { RECENT_MAX = 1024, RECENT_BYTES = 2 * 1024 * 1024, RETRY_MS = 1000 };

enum watch_state {
	WATCH_REPLAY, /* a LOG request is under way */
	WATCH_RETRY,  /* the history could not be read */
	WATCH_LIVE,
	WATCH_ENDED, /* compacted */
};

struct store_watch {
	struct store_watch_set *set; /* borrowed; NULL once the store is closed */
	struct store_watch *prev, *next_watch;
	struct store_request *request; /* borrowed; the one under way */
	char *prefix;                  /* owned */
	size_t prefix_n;
	int64_t next; /* the first revision not yet seen */
	enum watch_state state;
	bool is_cancelled;
	store_watch_fn *fn;
	void *arg; /* borrowed */
};

struct store_watch_set {
	struct loop *loop;
	struct loop_timer *retry; /* owned */
	struct store_watch *first;
	store_watch_ask_fn *ask;
	void *arg; /* borrowed */
	int64_t rev, compact_rev;
	int depth; /* callbacks are running: cancelled watches stay linked */
	bool has_cancelled;
	struct store_commit *recent[RECENT_MAX]; /* owned references; by rev % RECENT_MAX */
	int64_t recent_first;                    /* recent holds recent_first … rev */
	size_t recent_bytes;
};

static void
set_state(struct store_watch *w, enum watch_state state)
{
	w->state = state;
}

struct store_watch_set *
store_watch_set_new(struct loop *l, store_watch_ask_fn *ask, void *arg)
{
	struct store_watch_set *set = xcalloc(1, sizeof *set);

	set->loop = l;
	set->ask = ask;
	set->arg = arg;
	store_watch_set_start(set, 0, 0);
	return set;
}

void
store_watch_set_start(struct store_watch_set *set, int64_t rev, int64_t compact_rev)
{
	set->rev = rev;
	set->compact_rev = compact_rev;
	set->recent_first = rev + 1;
}

static void
unlink_watch(struct store_watch *w)
{
	if (w->request != NULL)
		w->request->watch = NULL;
	if (w->set == NULL)
		return;
	if (w->prev != NULL)
		w->prev->next_watch = w->next_watch;
	else
		w->set->first = w->next_watch;
	if (w->next_watch != NULL)
		w->next_watch->prev = w->prev;
}

static void
watch_free(struct store_watch *w)
{
	unlink_watch(w);
	free(w->prefix);
	free(w);
}

static void
enter(struct store_watch_set *set)
{
	set->depth++;
}

static void
leave(struct store_watch_set *set)
{
	if (--set->depth > 0 || !set->has_cancelled)
		return;
	set->has_cancelled = false;
	for (struct store_watch *w = set->first, *next; w != NULL; w = next) {
		next = w->next_watch;
		if (w->is_cancelled)
			watch_free(w);
	}
}

static void
drop_oldest(struct store_watch_set *set)
{
	struct store_commit **slot = &set->recent[set->recent_first % RECENT_MAX];

	set->recent_bytes -= (*slot)->bytes;
	store_commit_unref(STEAL(*slot));
	set->recent_first++;
}

void
store_watch_set_free(struct store_watch_set *take_set)
{
	if (take_set == NULL)
		return;
	assert(take_set->depth == 0);
	for (struct store_watch *w = take_set->first, *next; w != NULL; w = next) {
		next = w->next_watch;
		if (w->request != NULL)
			w->request->watch = NULL;
		w->request = NULL;
		w->set = NULL;
	}
	while (take_set->recent_first <= take_set->rev)
		drop_oldest(take_set);
	loop_timer_cancel(take_set->retry);
	free(take_set);
}

/* --- delivery --- */

static bool
matches(const struct store_watch *w, const struct store_row *r)
{
	return strncmp(r->key, w->prefix, w->prefix_n) == 0;
}

static void
deliver_row(struct store_watch *w, const struct store_row *r, bool is_last)
{
	struct store_event ev = {
		.type = r->deleted ? STORE_DELETE : STORE_PUT,
		.kv = store_row_kv(r),
		.last_of_rev = is_last,
	};

	if (r->deleted)
		ev.kv = (struct store_kv){ .key = r->key, .mod_rev = r->mod_rev };
	w->fn(&ev, w->arg);
}

/* Between enter and leave. */
static void
deliver(struct store_watch *w, const struct store_commit *c)
{
	const struct store_row *held = NULL; /* one row behind, to know the last */

	if (c->rev < w->next || w->is_cancelled)
		return;
	w->next = c->rev + 1;
	for (size_t i = 0; i < c->n && !w->is_cancelled; i++) {
		if (!matches(w, &c->rows[i]))
			continue;
		if (held != NULL)
			deliver_row(w, held, false);
		held = &c->rows[i];
	}
	if (held != NULL && !w->is_cancelled)
		deliver_row(w, held, true);
}

void
store_watch_commit(struct store_watch_set *set, struct store_commit *c)
{
	assert(c->rev == set->rev + 1);
	set->rev = c->rev;
	if (c->rev - set->recent_first >= RECENT_MAX)
		drop_oldest(set);
	set->recent[c->rev % RECENT_MAX] = store_commit_ref(c);
	set->recent_bytes += c->bytes;
	while (set->recent_bytes > RECENT_BYTES && set->recent_first < set->rev)
		drop_oldest(set);

	enter(set);
	for (struct store_watch *w = set->first; w != NULL; w = w->next_watch) {
		if (w->state == WATCH_LIVE)
			deliver(w, c);
	}
	leave(set);
}

void
store_watch_compacted(struct store_watch_set *set, int64_t compact_rev)
{
	if (compact_rev > set->compact_rev)
		set->compact_rev = compact_rev;
}

/* --- replay --- */

static bool
is_recent(const struct store_watch_set *set, int64_t rev)
{
	return rev >= set->recent_first;
}

/* Asks for history from w->next on; for nothing when memory has it: the answer, on a later turn,
 * then goes on from there. */
static void
ask(struct store_watch *w)
{
	struct store_watch_set *set = w->set;
	struct store_request *r = store_request_new(STORE_REQUEST_LOG);
	bool from_memory = is_recent(set, w->next) && w->next > set->compact_rev;

	r->prefix = xstrdup(w->prefix);
	r->rev = w->next;
	r->rev_end = from_memory ? w->next - 1 : set->rev;
	r->out_rev = r->rev_end;
	r->watch = w;
	w->request = r;
	set_state(w, WATCH_REPLAY);
	set->ask(r, set->arg);
}

static void
on_retry(void *arg)
{
	struct store_watch_set *set = arg;

	for (struct store_watch *w = set->first; w != NULL; w = w->next_watch) {
		if (w->state == WATCH_RETRY && !w->is_cancelled)
			ask(w);
	}
}

static void
fail(struct store_watch *w, const struct err *e)
{
	struct store_event ev = { .type = STORE_COMPACTED, .last_of_rev = true };
	struct store_watch_set *set = w->set;

	if (e->code == ERR_NOT_FOUND) {
		set_state(w, WATCH_ENDED);
		w->fn(&ev, w->arg);
		return;
	}
	log_warn(
	    "store_watch_retry", LOG_STR("prefix", w->prefix), LOG_INT("rev", w->next), LOG_ERR(e));
	set_state(w, WATCH_RETRY);
	if (set->retry == NULL)
		set->retry = loop_timer_start(set->loop, RETRY_MS, false, on_retry, set);
	else
		loop_timer_again(set->retry, RETRY_MS);
}

static void
go_on(struct store_watch *w)
{
	struct store_watch_set *set = w->set;

	if (!is_recent(set, w->next)) {
		ask(w);
		return;
	}
	for (int64_t rev = w->next; rev <= set->rev && !w->is_cancelled; rev++)
		deliver(w, set->recent[rev % RECENT_MAX]);
	set_state(w, WATCH_LIVE);
}

void
store_watch_answer(struct store_watch_set *set, struct store_request *take_r)
{
	AUTO(store_request_free) struct store_request *r = take_r;
	struct store_watch *w = r->watch;

	if (w == NULL || w->is_cancelled)
		return;
	w->request = NULL;
	enter(set);
	if (r->has_failed) {
		fail(w, &r->err);
	} else {
		for (struct store_commit *c = r->commits; c != NULL; c = c->next)
			deliver(w, c);
		if (w->next <= r->out_rev)
			w->next = r->out_rev + 1;
		if (!w->is_cancelled)
			go_on(w);
	}
	leave(set);
}

/* --- for the owner --- */

struct store_watch *
store_watch_add(
    struct store_watch_set *set, const char *prefix, int64_t from, store_watch_fn *fn, void *arg)
{
	struct store_watch *w = xcalloc(1, sizeof *w);

	w->set = set;
	w->prefix = xstrdup(prefix);
	w->prefix_n = strlen(prefix);
	w->fn = fn;
	w->arg = arg;
	if (set == NULL)
		return w;
	w->next = from <= 0 ? set->rev + 1 : from;
	w->next_watch = set->first;
	if (set->first != NULL)
		set->first->prev = w;
	set->first = w;
	if (w->next > set->rev)
		set_state(w, WATCH_LIVE);
	else
		ask(w);
	return w;
}

void
store_watch_cancel(struct store_watch *take_w)
{
	if (take_w == NULL)
		return;
	if (take_w->set == NULL || take_w->set->depth == 0) {
		watch_free(take_w);
		return;
	}
	take_w->is_cancelled = true;
	take_w->set->has_cancelled = true;
}
