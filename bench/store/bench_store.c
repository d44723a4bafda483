/* How fast is the embedded store: closed-loop clients that put, readers of the mirror, replays.
 * usage: bench_store [--dir DIR] [--seconds N]; prints one JSON object. */
#include <getopt.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/store/store.h"

enum { KEYS = 10000, VALUE = 300, SAMPLES_MAX = 4000000, CLIENTS_MAX = 128 };

struct bench {
	struct loop *loop;
	struct store *store;
	uint32_t *samples_us; /* owned */
	size_t n;
	int64_t end_us;
	int running;
	bool is_done;
	uint64_t random;
	size_t events, wanted;
};

struct client {
	struct bench *b;
	int64_t begin_us;
};

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static uint32_t
draw(struct bench *b)
{
	b->random = b->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(b->random >> 33);
}

static void
die(const struct err *e)
{
	(void)fprintf(stderr, "bench_store: %s\n", e->text);
	exit(1);
}

static void put_one(struct client *c);

static void
on_put(int64_t rev, const struct err *e, void *arg)
{
	struct client *c = arg;
	struct bench *b = c->b;
	int64_t now = now_us();

	(void)rev;
	if (e != NULL)
		die(e);
	if (b->n < SAMPLES_MAX)
		b->samples_us[b->n++] = (uint32_t)(now - c->begin_us);
	if (now < b->end_us)
		put_one(c);
	else
		b->is_done = --b->running == 0;
}

static void
put_one(struct client *c)
{
	struct store_txn *t = store_txn_new();
	char key[40], val[VALUE];

	memset(val, 'v', sizeof val);
	(void)snprintf(key, sizeof key, "/bench/key-%05u", draw(c->b) % KEYS);
	store_txn_put(t, key, val, sizeof val);
	c->begin_us = now_us();
	store_txn_submit(c->b->store, t, on_put, c);
}

static int
by_time(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void
bench_put(struct bench *b, int clients, int64_t seconds, struct buf *out)
{
	struct client c[CLIENTS_MAX];
	int64_t begin = now_us();

	b->n = 0;
	b->end_us = begin + seconds * 1000000;
	b->running = clients;
	b->is_done = false;
	for (int i = 0; i < clients; i++) {
		c[i].b = b;
		put_one(&c[i]);
	}
	if (!loop_run_until(b->loop, &b->is_done, seconds * 1000 + 60000))
		exit(1);
	qsort(b->samples_us, b->n, sizeof *b->samples_us, by_time);
	buf_addf(out,
	    "  \"put_%d\": {\"clients\": %d, \"per_s\": %.0f, \"p50_us\": %u, \"p99_us\": %u},\n",
	    clients, clients, (double)b->n * 1e6 / (double)(now_us() - begin),
	    b->samples_us[b->n / 2], b->samples_us[b->n * 99 / 100]);
}

static bool
count_kv(const struct store_kv *kv, void *arg)
{
	*(size_t *)arg += kv->n;
	return true;
}

static void
bench_read(struct bench *b, struct buf *out)
{
	enum { GETS = 200000 };
	int64_t begin = now_us();
	size_t bytes = 0, n;
	struct store_kv kv;

	for (int i = 0; i < GETS; i++) {
		char key[40];

		(void)snprintf(key, sizeof key, "/bench/key-%05u", draw(b) % KEYS);
		if (store_get(b->store, key, &kv))
			bytes += kv.n;
	}
	buf_addf(out, "  \"get_ns\": %.0f,\n", (double)(now_us() - begin) * 1e3 / GETS);
	begin = now_us();
	n = store_count(b->store, "");
	store_range(b->store, "", count_kv, &bytes);
	buf_addf(out, "  \"range_ns_per_key\": %.0f,\n",
	    (double)(now_us() - begin) * 1e3 / (double)n / 2);
}

static void
on_event(const struct store_event *ev, void *arg)
{
	struct bench *b = arg;

	(void)ev;
	b->is_done = ++b->events == b->wanted;
}

static void
bench_replay(struct bench *b, struct buf *out)
{
	int64_t begin = now_us();
	struct store_watch *w;

	b->events = 0;
	b->wanted = (size_t)store_rev(b->store);
	b->is_done = false;
	w = store_watch_start(b->store, "", 1, on_event, b);
	if (!loop_run_until(b->loop, &b->is_done, 60000))
		exit(1);
	store_watch_cancel(w);
	buf_addf(out, "  \"replay_events_per_s\": %.0f,\n",
	    (double)b->wanted * 1e6 / (double)(now_us() - begin));
}

static void
bench_open(struct bench *b, const char *dir, struct buf *out)
{
	struct err e = { 0 };
	int64_t begin;

	store_close(b->store);
	begin = now_us();
	b->store = store_sqlite_open(b->loop, dir, &e);
	if (b->store == NULL)
		die(&e);
	buf_addf(out, "  \"open_ms\": %.1f,\n  \"revisions\": %lld,\n  \"keys\": %zu\n",
	    (double)(now_us() - begin) / 1e3, (long long)store_rev(b->store),
	    store_count(b->store, ""));
}

static void
run(const char *dir, int64_t seconds, struct buf *out)
{
	static const int clients[] = { 1, 16, 128 };
	AUTO(free_ptr) uint32_t *samples = xcalloc(SAMPLES_MAX, sizeof *samples);
	struct bench b = { .loop = loop_new(), .samples_us = samples, .random = 1 };
	struct err e = { 0 };

	b.store = store_sqlite_open(b.loop, dir, &e);
	if (b.store == NULL)
		die(&e);
	buf_adds(out, "{\n");
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		bench_put(&b, clients[i], seconds, out);
	bench_read(&b, out);
	bench_replay(&b, out);
	bench_open(&b, dir, out);
	buf_adds(out, "}\n");
	store_close(b.store);
	loop_free(b.loop);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ "seconds", required_argument, NULL, 's' },
		{ 0 },
	};
	AUTO(free) char *dir = xstrdup("/var/tmp/bench-store-XXXXXX");
	AUTO_FINI(buf_fini) struct buf out = { 0 };
	int64_t seconds = 3;
	struct err e = { 0 };
	bool is_given = false;
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 'd') {
			mem_set_str(&dir, optarg);
			is_given = true;
		} else if (o != 's' ||
		           str_to_i64(str_of(optarg), 1, 600, "--seconds", &seconds, &e) < 0) {
			(void)fprintf(stderr, "usage: bench_store [--dir DIR] [--seconds N]\n");
			return 2;
		}
	}
	if (!is_given && mkdtemp(dir) == NULL) {
		perror(dir);
		return 1;
	}
	run(dir, seconds, &out);
	(void)fputs(out.p, stdout);
	if (!is_given && file_remove_tree(dir, &e) < 0)
		die(&e);
	return 0;
}
