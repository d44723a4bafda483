#include "router/route_saved.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/loop/worker.h"
#include "lib/wire/wire_cert.h"
#include "lib/wire/wire_feed.h"
#include "lib/wire/wire_route.h"
#include "router/cert_table.h"
#include "router/host_table.h"
#include "router/route_feed.h"

enum { FILE_MAX = 512 * 1024 * 1024, SLACK = 256 * 1024, NOTED_MAX = 64 * 1024 * 1024 };

struct save_job {
	struct route_saved *saved; /* borrowed; detached when that goes */
	char *path;                /* owned */
	struct buf bytes;
	bool replace;
	bool failed;
	struct err e;
};

struct route_saved {
	struct worker *worker;               /* borrowed */
	char *path;                          /* owned */
	struct buf noted;                    /* since the last sync */
	struct buf ready;                    /* to be written */
	bool noted_is_whole, ready_is_whole; /* they begin with a reset: the file is replaced */
	bool needs_whole;                    /* the file's end is not known to be good */
	size_t file_n, whole_n;     /* bytes of the file, and when it was last written whole */
	struct worker_job *job;     /* under way; NULL: none */
	route_saved_fn *on_stopped; /* NULL: it was told */
	void *arg;                  /* borrowed, for on_stopped */
	bool is_stopped;            /* nothing more is written */
};

/* --- reading --- */

static bool
is_sync(struct str line)
{
	AUTO_FINI(wire_feed_fini) struct wire_feed w = { 0 };
	struct err e = { 0 };

	return codec_decode(&wire_feed_codec, line.p, line.n, &w, CODEC_IGNORE, &e) == 0 &&
	       w.type == WIRE_FEED_SYNC;
}

/* Bytes up to the end of the last whole sync line. */
static size_t
good_length(const char *p, size_t n)
{
	while (n > 0) {
		const char *end = memrchr(p, '\n', n), *start;

		if (end == NULL)
			return 0;
		n = (size_t)(end - p);
		start = memrchr(p, '\n', n);
		start = start == NULL ? p : start + 1;
		if (is_sync((struct str){ start, (size_t)(end - start) }))
			return n + 1;
		n = (size_t)(start - p);
	}
	return 0;
}

size_t
route_saved_replay(struct route_feed *f, const char *p, size_t n, struct err *e)
{
	size_t good = good_length(p, n), at = 0;

	route_feed_begin(f);
	while (at < good) {
		const char *end = memchr(p + at, '\n', good - at);
		struct str line = { p + at, (size_t)(end - p) - at };
		struct err bad = { 0 };

		if (route_feed_line(f, line, &bad) == ROUTE_FEED_REFUSED) {
			*e = bad;
			break;
		}
		at = (size_t)(end - p) + 1;
	}
	return at;
}

int
route_saved_load(struct route_saved *s, struct route_feed *f, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err bad = { 0 };
	size_t used;

	if (file_read(s->path, FILE_MAX, &b, &bad) < 0) {
		if (bad.code == ERR_NOT_FOUND)
			return 0;
		*e = bad;
		return -1;
	}
	used = route_saved_replay(f, b.n == 0 ? "" : b.p, b.n, &bad);
	s->file_n = s->whole_n = used;
	s->needs_whole = used != b.n;
	if (used != b.n)
		log_warn("saved_table_cut", LOG_STR("path", s->path), LOG_INT("used", used),
		    LOG_INT("bytes", b.n), LOG_STR("error", bad.text));
	log_info("saved_table_read", LOG_INT("routes", host_table_count(f->table)),
	    LOG_INT("revision", f->revision));
	return 0;
}

/* --- writing --- */

static int
append(const char *path, const struct buf *b, struct err *e)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open %s", path);
	rc = file_write_all(fd, b->p, b->n, e);
	close(fd);
	return rc;
}

static void
run_job(void *arg)
{
	struct save_job *j = arg;
	int rc;

	if (j->replace)
		rc = file_replace_fast(j->path, j->bytes.p, j->bytes.n, 0600, &j->e);
	else
		rc = append(j->path, &j->bytes, &j->e);
	j->failed = rc < 0;
}

static void
free_job(void *arg)
{
	struct save_job *j = arg;

	buf_fini(&j->bytes);
	free(j->path);
	free(j);
}

static void start_job(struct route_saved *s);

static void
on_job_done(void *arg)
{
	struct save_job *j = arg;
	struct route_saved *s = j->saved;

	s->job = NULL;
	if (j->failed) {
		log_warn("saved_table_not_written", LOG_STR("path", j->path), LOG_ERR(&j->e));
		s->needs_whole = true;
	} else if (j->replace) {
		s->file_n = s->whole_n = j->bytes.n;
	} else {
		s->file_n += j->bytes.n;
	}
	free_job(j);
	if (s->ready.n != 0)
		start_job(s);
	else if (s->on_stopped != NULL)
		STEAL(s->on_stopped)(s->arg);
}

static void
start_job(struct route_saved *s)
{
	struct save_job *j = xcalloc(1, sizeof *j);

	j->saved = s;
	j->path = xstrdup(s->path);
	j->bytes = s->ready;
	j->replace = s->ready_is_whole;
	s->ready = (struct buf){ 0 };
	s->ready_is_whole = false;
	s->job = worker_submit(s->worker, run_job, on_job_done, free_job, j);
}

static void
add_line(struct buf *out, const struct wire_feed *w)
{
	codec_encode(&wire_feed_codec, w, out);
	buf_addc(out, '\n');
}

static void
add_route(const struct host_route *r, void *arg)
{
	AUTO_FINI(wire_route_fini) struct wire_route w = { 0 };
	struct wire_feed line = { .type = WIRE_FEED_PUT };

	host_route_to_wire(r, &w);
	line.kind = "route";
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
add_whole(struct buf *out, const struct route_feed *f)
{
	struct wire_feed reset = {
		.type = WIRE_FEED_RESET, .cluster = f->cluster, .epoch = f->epoch
	};

	add_line(out, &reset);
	host_table_each(f->table, add_route, out);
	if (f->certs == NULL)
		return;
	cert_table_each(f->certs, add_cert, out);
	add_tickets(f->certs, out);
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

void
route_saved_note(struct route_saved *s, struct str line, bool is_reset)
{
	if (is_reset) {
		buf_clear(&s->noted);
		s->noted_is_whole = true;
	}
	if (s->noted.n > NOTED_MAX) { /* written from the table instead */
		buf_clear(&s->noted);
		s->needs_whole = true;
	}
	buf_addstr(&s->noted, line);
	buf_addc(&s->noted, '\n');
}

void
route_saved_sync(struct route_saved *s, const struct route_feed *f)
{
	size_t pending = s->noted.n + s->ready.n;

	if (s->is_stopped)
		return;
	if (s->noted.n == 0 && !s->needs_whole)
		return;
	if (s->needs_whole || s->file_n + pending > 2 * s->whole_n + SLACK) {
		buf_clear(&s->ready);
		add_whole(&s->ready, f);
		s->ready_is_whole = true;
	} else {
		if (s->noted_is_whole)
			buf_clear(&s->ready);
		s->ready_is_whole |= s->noted_is_whole;
		buf_add(&s->ready, s->noted.p, s->noted.n);
	}
	s->needs_whole = false;
	s->noted_is_whole = false;
	buf_clear(&s->noted);
	add_sync(&s->ready, f);
	if (s->job == NULL)
		start_job(s);
}

void
route_saved_stop(struct route_saved *s, route_saved_fn *fn, void *arg)
{
	s->is_stopped = true;
	s->on_stopped = fn;
	s->arg = arg;
	if (s->job == NULL)
		STEAL(s->on_stopped)(arg);
}

void
route_saved_go_on(struct route_saved *s, const struct route_feed *f)
{
	s->is_stopped = false;
	s->on_stopped = NULL;
	s->needs_whole = true;
	if (f->revision != 0 && !f->in_snapshot)
		route_saved_sync(s, f);
}

struct route_saved *
route_saved_new(struct worker *w, const char *dir, struct err *e)
{
	struct route_saved *s;

	if (file_mkdirs(dir, 0700, e) < 0)
		return NULL;
	s = xcalloc(1, sizeof *s);
	s->worker = w;
	s->path = file_join(dir, "routes.log");
	s->needs_whole = !file_exists(s->path);
	return s;
}

void
route_saved_free(struct route_saved *take_s)
{
	struct route_saved *s = take_s;

	if (s == NULL)
		return;
	worker_detach(s->job);
	buf_fini(&s->noted);
	buf_fini(&s->ready);
	free(s->path);
	free(s);
}
