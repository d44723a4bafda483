#include "router/route_saved.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/wire/wire_cert.h"
#include "lib/wire/wire_feed.h"
#include "lib/wire/wire_route.h"
#include "router/cert_table.h"
#include "router/challenge_table.h"
#include "router/host_table.h"
#include "router/route_feed.h"
#include "router/route_sum.h"

enum {
	FILE_MAX = 1024 * 1024 * 1024,
	SLACK = 256 * 1024,
	NOTED_MAX = 64 * 1024 * 1024,
	CERTS = 16,                    /* in one turn, as many as a shard has bytes */
	PIECE = 256 * 1024,            /* of a file that is made anew, written at once */
	WAITING_MAX = 4 * 1024 * 1024, /* then the disk is waited for */
	SUM_LINE = 23,
};

/* Bytes for a file: one after the other, in order. */
struct save_job {
	struct save_job *next;
	struct route_saved *saved; /* borrowed; detached when that goes */
	char *path;                /* owned */
	char *becomes;             /* owned: its name once they are written; NULL: as it is */
	struct buf bytes;
	bool is_new; /* the file begins with them */
	bool failed;
	struct err e;
};

/* The table written anew, some certificates or a shard at a time, beside the file that is appended
 * to meanwhile. */
struct packing {
	uint64_t at;   /* host_table_step */
	struct buf in; /* lines that came since it began: they go behind the routes */
	struct buf out;
	size_t n; /* bytes of it so far */
	uint64_t sum;
	bool is_begun;  /* the new file is there */
	bool has_certs; /* all of them are in it */
	bool is_walked; /* all routes are in it */
};

struct route_saved {
	struct worker *worker;          /* borrowed */
	const struct route_feed *feed;  /* borrowed: of the packing under way */
	char *path, *new_path;          /* owned */
	struct buf noted;               /* since the last sync */
	bool noted_is_whole;            /* it begins with a reset: the file is replaced */
	bool noted_is_lost;             /* it was too much: the table is packed instead */
	bool is_good;                   /* the file's end is: it can be appended to */
	size_t file_n, whole_n;         /* bytes of the file, and when it was last written whole */
	uint64_t sum;                   /* of the file */
	struct packing *packing;        /* owned; NULL: none */
	struct loop_timer *turn;        /* owned: its next step */
	bool is_posted;                 /* turn is set */
	struct save_job *first, **last; /* owned */
	struct worker_job *job;         /* writes the first one; NULL: none */
	size_t waiting;                 /* bytes of all of them */
	route_saved_fn *on_stopped;     /* NULL: it was told */
	void *arg;                      /* borrowed, for on_stopped */
	bool is_stopped;                /* nothing more is written */
};

/* --- reading --- */

/* "sum HEX": all bytes before this line have it. */
void
route_saved_seal(struct buf *b, uint64_t *sum, size_t from)
{
	*sum = route_sum(*sum, b->p + from, b->n - from);
	from = b->n;
	buf_addf(b, "sum %016" PRIx64 " \n", *sum);
	*sum = route_sum(*sum, b->p + from, b->n - from);
}

static bool
is_sum(struct str line, uint64_t sum)
{
	char want[SUM_LINE];

	(void)snprintf(want, sizeof want, "sum %016" PRIx64 " ", sum);
	return str_eq(line, want);
}

/* Bytes up to the end of the last line that says their sum; *sum becomes that of all of them. */
static size_t
good_length(const char *p, size_t n, uint64_t *sum)
{
	uint64_t so_far = ROUTE_SUM_START;
	size_t good = 0;

	for (size_t at = 0; at < n;) {
		const char *end = memchr(p + at, '\n', n - at);
		struct str line = { p + at, end == NULL ? 0 : (size_t)(end - p) - at };
		bool is_end;

		if (end == NULL)
			break;
		is_end = is_sum(line, so_far);
		so_far = route_sum(so_far, line.p, line.n + 1);
		at += line.n + 1;
		if (is_end) {
			good = at;
			*sum = so_far;
		}
	}
	return good;
}

static size_t
replay(struct route_feed *f, const char *p, size_t good, struct err *e)
{
	size_t at = 0;

	route_feed_begin(f);
	while (at < good) {
		const char *end = memchr(p + at, '\n', good - at);
		struct str line = { p + at, (size_t)(end - p) - at };
		struct err bad = { 0 };

		if (!str_has_prefix(line.p, "sum ") &&
		    route_feed_line(f, line, &bad) == ROUTE_FEED_REFUSED) {
			*e = bad;
			break;
		}
		at = (size_t)(end - p) + 1;
	}
	return at;
}

size_t
route_saved_replay(struct route_feed *f, const char *p, size_t n, struct err *e)
{
	uint64_t sum;

	return replay(f, p, good_length(p, n, &sum), e);
}

int
route_saved_load(struct route_saved *s, struct route_feed *f, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err bad = { 0 };
	const char *p;
	size_t good, used;

	if (file_read(s->path, FILE_MAX, &b, &bad) < 0) {
		if (bad.code == ERR_NOT_FOUND)
			return 0;
		*e = bad;
		return -1;
	}
	p = b.n == 0 ? "" : b.p;
	good = good_length(p, b.n, &s->sum);
	used = replay(f, p, good, &bad);
	s->file_n = s->whole_n = used;
	s->is_good = used == b.n && b.n != 0;
	if (used != b.n)
		log_warn("saved_table_cut", LOG_STR("path", s->path), LOG_INT("used", used),
		    LOG_INT("bytes", b.n), LOG_STR("error", bad.text));
	log_info("saved_table_read", LOG_INT("routes", host_table_count(f->table)),
	    LOG_INT("revision", f->revision));
	return 0;
}

/* --- writing --- */

static int
write_bytes(const struct save_job *j, struct err *e)
{
	int flags = j->is_new ? O_CREAT | O_TRUNC : O_APPEND;
	int fd = open(j->path, O_WRONLY | O_CLOEXEC | flags, 0600);
	int rc;

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open %s", j->path);
	rc = file_write_all(fd, j->bytes.p, j->bytes.n, e);
	close(fd);
	return rc;
}

static void
run_job(void *arg)
{
	struct save_job *j = arg;

	j->failed = write_bytes(j, &j->e) < 0;
	if (!j->failed && j->becomes != NULL && rename(j->path, j->becomes) < 0) {
		(void)err_set(&j->e, ERR_SYSTEM, NULL, "cannot rename %s", j->path);
		j->failed = true;
	}
}

static void
free_job(void *arg)
{
	struct save_job *j = arg;

	buf_fini(&j->bytes);
	free(j->path);
	free(j->becomes);
	free(j);
}

static void post_turn(struct route_saved *s);
static void drop_packing(struct route_saved *s);

static void
drop_jobs(struct route_saved *s)
{
	while (s->first != NULL) {
		struct save_job *j = s->first;

		s->first = j->next;
		s->waiting -= j->bytes.n;
		free_job(j);
	}
	s->last = &s->first;
}

static void on_job_done(void *arg);

static void
start_job(struct route_saved *s)
{
	struct save_job *j = s->first;

	s->first = j->next;
	if (s->first == NULL)
		s->last = &s->first;
	s->job = worker_submit(s->worker, run_job, on_job_done, free_job, j);
}

static void
on_job_done(void *arg)
{
	struct save_job *j = arg;
	struct route_saved *s = j->saved;

	s->job = NULL;
	s->waiting -= j->bytes.n;
	if (j->failed) {
		log_warn("saved_table_not_written", LOG_STR("path", j->path), LOG_ERR(&j->e));
		s->is_good = false; /* it is made anew at the next sync */
		drop_packing(s);
		drop_jobs(s);
	}
	free_job(j);
	if (s->first != NULL)
		start_job(s);
	else if (s->on_stopped != NULL)
		STEAL(s->on_stopped)(s->arg);
	post_turn(s);
}

/* What waits for the same place, to which bytes can be added. */
static struct save_job *
waiting_for(const struct route_saved *s, const char *path)
{
	struct save_job *j = s->first;

	while (j != NULL && j->next != NULL)
		j = j->next;
	return j != NULL && j->becomes == NULL && strcmp(j->path, path) == 0 ? j : NULL;
}

/* Takes the bytes. */
static void
add_job(
    struct route_saved *s, struct buf *bytes, bool is_new, const char *path, const char *becomes)
{
	struct save_job *j = is_new ? NULL : waiting_for(s, path);

	s->waiting += bytes->n;
	if (j != NULL) {
		buf_add(&j->bytes, bytes->p, bytes->n);
		buf_fini(bytes);
		*bytes = (struct buf){ 0 };
	} else {
		j = xcalloc(1, sizeof *j);
		j->saved = s;
		j->path = xstrdup(path);
		j->bytes = *bytes;
		j->is_new = is_new;
		*bytes = (struct buf){ 0 };
		*s->last = j;
		s->last = &j->next;
	}
	if (becomes != NULL)
		j->becomes = xstrdup(becomes);
	if (s->job == NULL)
		start_job(s);
}

static void
add_line(struct buf *out, const struct wire_feed *w)
{
	codec_encode(&wire_feed_codec, w, out);
	buf_addc(out, '\n');
}

static void
add_sync(struct buf *out, const struct route_feed *f)
{
	struct wire_feed sync = {
		.type = WIRE_FEED_SYNC,
		.revision = f->revision,
		.cluster = f->cluster,
		.epoch = f->epoch,
	};

	add_line(out, &sync);
}

/* --- the table anew --- */

static void
drop_packing(struct route_saved *s)
{
	if (s->packing == NULL)
		return;
	buf_fini(&s->packing->in);
	buf_fini(&s->packing->out);
	free(STEAL(s->packing));
}

static void
add_route(const struct host_route *r, void *arg)
{
	AUTO_FINI(wire_route_fini) struct wire_route w = { 0 };
	struct wire_feed line = { .type = WIRE_FEED_PUT, .kind = "route" };

	host_route_to_wire(r, &w);
	line.key = w.host;
	line.value = codec_to_json(&wire_route_codec, &w);
	add_line(arg, &line);
	free(line.value);
}

static void
add_cert(const struct wire_cert *c, void *arg)
{
	struct wire_feed line = {
		.type = WIRE_FEED_PUT,
		.kind = (char *)(uintptr_t) "cert",
		.key = c->host,
		.value = codec_to_json(&wire_cert_codec, c),
	};

	add_line(arg, &line);
	secret_free(line.value);
}

static void
add_tickets(const struct cert_table *certs, struct buf *out)
{
	AUTO_FINI(wire_tickets_fini) struct wire_tickets t = { 0 };
	struct wire_feed line = {
		.type = WIRE_FEED_PUT,
		.kind = (char *)(uintptr_t) "tickets",
		.key = (char *)(uintptr_t) "all",
	};

	cert_table_tickets(certs, &t);
	line.value = codec_to_json(&wire_tickets_codec, &t);
	add_line(out, &line);
	secret_free(line.value);
}

static void
add_challenge(const char *key, const struct wire_challenge *c, void *arg)
{
	AUTO(free) char *value = codec_to_json(&wire_challenge_codec, c);
	struct wire_feed line = {
		.type = WIRE_FEED_PUT,
		.kind = (char *)(uintptr_t) "challenge",
		.key = (char *)(uintptr_t)key,
		.value = value,
	};

	add_line(arg, &line);
}

/* What is in out goes to the new file. */
static void
write_piece(struct route_saved *s, const char *becomes)
{
	struct packing *k = s->packing;

	if (becomes == NULL)
		k->sum = route_sum(k->sum, k->out.p, k->out.n);
	k->n += k->out.n;
	add_job(s, &k->out, !k->is_begun, s->new_path, becomes);
	k->is_begun = true;
}

static void
begin_packing(struct route_saved *s, const struct route_feed *f)
{
	struct wire_feed reset = {
		.type = WIRE_FEED_RESET, .cluster = f->cluster, .epoch = f->epoch
	};

	s->feed = f;
	s->packing = xcalloc(1, sizeof *s->packing);
	s->packing->at = HOST_ROOT_FIRST;
	s->packing->sum = ROUTE_SUM_START;
	add_line(&s->packing->out, &reset);
	s->packing->has_certs = f->certs == NULL;
	if (f->certs != NULL) {
		add_tickets(f->certs, &s->packing->out);
		cert_table_begin_walk(f->certs);
	}
	if (f->challenges != NULL)
		challenge_table_each(f->challenges, add_challenge, &s->packing->out);
	post_turn(s);
}

/* All routes are in it: with what changed meanwhile it takes the place of the file. */
static void
end_packing(struct route_saved *s)
{
	struct packing *k = s->packing;

	buf_add(&k->out, k->in.p, k->in.n);
	add_sync(&k->out, s->feed);
	route_saved_seal(&k->out, &k->sum, 0);
	write_piece(s, s->path);
	s->is_good = true;
	s->file_n = s->whole_n = k->n;
	s->sum = k->sum;
	drop_packing(s);
}

/* A shard, so that a change of a route need not wait for more. */
static void
on_turn(void *arg)
{
	struct route_saved *s = arg;
	struct packing *k = s->packing;

	s->is_posted = false;
	if (k == NULL || k->is_walked || s->waiting > WAITING_MAX)
		return; /* the end of a job goes on, or the next sync */
	if (!k->has_certs) {
		k->has_certs = !cert_table_walk(s->feed->certs, CERTS, add_cert, &k->out);
	} else {
		k->at = host_table_step(s->feed->table, k->at, add_route, &k->out);
		k->is_walked = k->at == HOST_ROOT_FIRST;
	}
	if (k->is_walked && s->noted.n == 0)
		end_packing(s);
	else if (k->out.n > PIECE)
		write_piece(s, NULL);
	post_turn(s);
}

static void
post_turn(struct route_saved *s)
{
	if (s->packing == NULL || s->is_posted)
		return;
	s->is_posted = true;
	loop_timer_again(s->turn, 0);
}

/* --- what comes --- */

void
route_saved_note(struct route_saved *s, struct str line, bool is_reset)
{
	if (is_reset) {
		buf_clear(&s->noted);
		s->noted_is_whole = true;
		s->noted_is_lost = false;
	}
	if (s->noted.n > NOTED_MAX) {
		buf_clear(&s->noted);
		s->noted_is_lost = true;
	}
	buf_addstr(&s->noted, line);
	buf_addc(&s->noted, '\n');
}

/* What was noted is all there is. */
static void
write_whole(struct route_saved *s, const struct route_feed *f)
{
	drop_packing(s);
	add_sync(&s->noted, f);
	s->sum = ROUTE_SUM_START;
	route_saved_seal(&s->noted, &s->sum, 0);
	s->is_good = true;
	s->file_n = s->whole_n = s->noted.n;
	add_job(s, &s->noted, true, s->new_path, s->path);
}

static void
append(struct route_saved *s, const struct route_feed *f)
{
	if (s->packing != NULL)
		buf_add(&s->packing->in, s->noted.p, s->noted.n);
	if (!s->is_good) {
		buf_clear(&s->noted);
		return;
	}
	add_sync(&s->noted, f);
	route_saved_seal(&s->noted, &s->sum, 0);
	s->file_n += s->noted.n;
	add_job(s, &s->noted, false, s->path, NULL);
}

void
route_saved_sync(struct route_saved *s, const struct route_feed *f)
{
	if (s->is_stopped)
		return;
	if (s->noted_is_lost) {
		drop_packing(s);
		s->is_good = false;
		buf_clear(&s->noted);
	} else if (s->noted_is_whole) {
		write_whole(s, f);
	} else if (s->noted.n != 0) {
		append(s, f);
	}
	s->noted_is_whole = s->noted_is_lost = false;
	if (s->packing != NULL && s->packing->is_walked)
		end_packing(s);
	else if (s->packing == NULL && (!s->is_good || s->file_n > 2 * s->whole_n + SLACK))
		begin_packing(s, f);
}

void
route_saved_stop(struct route_saved *s, route_saved_fn *fn, void *arg)
{
	s->is_stopped = true;
	s->on_stopped = fn;
	s->arg = arg;
	drop_packing(s);
	if (s->job == NULL)
		STEAL(s->on_stopped)(arg);
}

void
route_saved_go_on(struct route_saved *s, const struct route_feed *f)
{
	s->is_stopped = false;
	s->on_stopped = NULL;
	s->is_good = false;
	if (f->revision == 0 || f->in_snapshot)
		return;
	s->noted_is_lost = true; /* the table has all of it */
	route_saved_sync(s, f);
}

struct route_saved *
route_saved_new(struct loop *l, struct worker *w, const char *dir, struct err *e)
{
	struct route_saved *s;

	if (file_mkdirs(dir, 0700, e) < 0)
		return NULL;
	s = xcalloc(1, sizeof *s);
	s->worker = w;
	s->turn = loop_timer_start(l, 0, false, on_turn, s);
	s->last = &s->first;
	s->sum = ROUTE_SUM_START;
	s->path = file_join(dir, "routes.log");
	s->new_path = file_join(dir, "routes.log.new");
	return s;
}

void
route_saved_free(struct route_saved *take_s)
{
	struct route_saved *s = take_s;

	if (s == NULL)
		return;
	worker_detach(s->job);
	loop_timer_cancel(s->turn);
	drop_packing(s);
	drop_jobs(s);
	buf_fini(&s->noted);
	free(s->path);
	free(s->new_path);
	free(s);
}
