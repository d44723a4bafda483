#include "broker/backup_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/backup_file.h"
#include "broker/broker.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/http/http_client.h"
#include "lib/loop/worker.h"

enum { TIMEOUT_MS = 6 * 3600 * 1000, IDLE_MS = 120 * 1000, ERROR_MAX = 800, SECRET_MAX = 4096 };

static const char s3_prefix[] = "s3://";
static const char empty_sha256[] =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct backup_op {
	struct broker *b; /* borrowed */
	bool is_s3;
	char *path; /* owned: the file, or the spool of an upload */
	char *url;  /* owned: of the object */
	struct backup_file *file;
	struct http_call *call;
	struct worker_job *job;
	struct buf out; /* of the spool, on the way out */
	size_t out_at;
	bool is_at_end, is_paused, is_reading;
	int64_t size;
	char sha256[65];
	int status;
	struct buf error_text;
	struct secret_sha256 *hash;
	backup_store_room_fn *on_room;
	backup_store_data_fn *on_data;
	backup_store_done_fn *done;
	void *arg;
};

/* --- targets --- */

static bool
is_within(const char *path, const char *root)
{
	size_t n = strlen(root);

	while (n > 0 && root[n - 1] == '/')
		n--;
	return strncmp(path, root, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* Letters that need no encoding, no "." or "..". */
static bool
is_plain(const char *path)
{
	struct str rest = str_of(path), part;

	for (const char *p = path; *p != '\0'; p++) {
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./",
		        *p) == NULL)
			return false;
	}
	while (rest.p != NULL) {
		rest = str_cut(rest, '/', &part);
		if (str_eq(part, ".") || str_eq(part, ".."))
			return false;
	}
	return true;
}

char *
backup_store_target(const struct broker *b, const char *to, struct err *e)
{
	const char *dir = b->conf.backup_dir, *s3 = b->conf.backup_s3;
	AUTO(free) char *path = NULL;
	size_t n;

	if (to == NULL || *to == '\0')
		to = dir;
	path = to[0] == '/' || str_has_prefix(to, s3_prefix) ? xstrdup(to) : file_join(dir, to);
	for (n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
	if (!is_plain(str_has_prefix(path, s3_prefix) ? path + strlen(s3_prefix) : path)) {
		(void)err_set(e, ERR_INVALID, "to",
		    "'%.100s' may have letters, digits and . _ - / only, and no '..'", to);
		return NULL;
	}
	if (path[0] == '/' && is_within(path, dir)) {
		const char *below = path + strlen(dir);

		return xstrdup(*below == '/' ? below + 1 : ".");
	}
	if (path[0] == '/')
		(void)err_set(e, ERR_INVALID, "to",
		    "Backups go below the broker's directory for them (--backup-dir): give the "
		    "name of a directory there.");
	else if (s3 == NULL || *s3 == '\0')
		(void)err_set(e, ERR_INVALID, "to",
		    "No S3 store is set up: the administrator does that by --backup-s3 and "
		    "--backup-s3-endpoint of the broker.");
	else if (is_within(path, s3))
		return STEAL(path);
	else
		(void)err_set(e, ERR_INVALID, "to", "Backups in S3 go below %s here.", s3);
	return NULL;
}

/* --- all --- */

void
backup_op_free(struct backup_op *take_op)
{
	struct backup_op *op = take_op;

	if (op == NULL)
		return;
	http_call_cancel(op->call);
	backup_file_free(op->file);
	worker_detach(op->job);
	if (op->is_s3 && op->path != NULL)
		(void)unlink(op->path);
	free(op->path);
	free(op->url);
	buf_fini(&op->out);
	buf_fini(&op->error_text);
	secret_sha256_free(op->hash);
	free(op);
}

static struct backup_op *
new_op(struct broker *b, const char *to, const char *app_id, const char *name,
    backup_store_done_fn *done, void *arg)
{
	struct backup_op *op = xcalloc(1, sizeof *op);

	op->b = b;
	op->done = done;
	op->arg = arg;
	op->is_s3 = str_has_prefix(to, s3_prefix);
	if (!op->is_s3) {
		op->path = xasprintf("%s/%s/%s/%s", b->conf.backup_dir, to, app_id, name);
		return op;
	}
	op->path = xasprintf("%s/scratch/%s", b->conf.data, name);
	op->url = xasprintf("%s/%s/%s/%s",
	    b->conf.backup_s3_endpoint == NULL ? "" : b->conf.backup_s3_endpoint,
	    to + strlen(s3_prefix), app_id, name);
	return op;
}

static void
finish(struct backup_op *op, const struct err *e)
{
	op->done(op->size, op->sha256, e, op->arg);
}

/* --- S3 --- */

/* The secret key: from a file or the environment, never an argument. Caller wipes. */
static char *
read_secret(const struct broker *b, struct err *e)
{
	const char *env = getenv("PINION_S3_SECRET_KEY");
	AUTO_FINI(buf_fini) struct buf text = { 0 };

	if (b->conf.backup_s3_secret_file == NULL && env != NULL)
		return xstrdup(env);
	if (b->conf.backup_s3_secret_file == NULL) {
		(void)err_set(e, ERR_SYSTEM, NULL,
		    "the broker has no secret key of the S3 store: --backup-s3-secret-file");
		return NULL;
	}
	if (file_read(b->conf.backup_s3_secret_file, SECRET_MAX, &text, e) < 0)
		return NULL;
	while (text.n > 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
		buf_truncate(&text, text.n - 1);
	return buf_steal(&text);
}

static void
on_head(struct http_call *c, int status, void *arg)
{
	struct backup_op *op = arg;

	(void)c;
	op->status = status;
}

static bool
on_object(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct backup_op *op = arg;

	(void)c;
	if (op->status / 100 != 2) {
		if (op->error_text.n < ERROR_MAX)
			buf_add(&op->error_text, p, n < ERROR_MAX ? n : ERROR_MAX);
		return true;
	}
	if (op->is_paused)
		return false;
	if (op->on_data == NULL)
		return true;
	secret_sha256_add(op->hash, p, n);
	op->size += (int64_t)n;
	op->is_paused = !op->on_data(p, n, op->arg);
	return true;
}

static void
on_object_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct backup_op *op = arg;
	const char *text = op->error_text.p == NULL ? "" : op->error_text.p;
	const char *code = strstr(text, "<Code>");
	struct err bad = { 0 };

	(void)c;
	(void)body;
	op->call = NULL;
	if (e != NULL)
		(void)err_set(&bad, ERR_BUSY, NULL, "the S3 store does not answer: %s", e->text);
	else if (status == 404 && op->hash == NULL && op->file == NULL)
		status = 204; /* deleted already */
	if (e == NULL && status / 100 != 2)
		(void)err_set(&bad, status == 404 ? ERR_NOT_FOUND : ERR_SYSTEM, NULL,
		    "the S3 store answered %d %.*s", status,
		    code == NULL ? 0 : (int)strcspn(code + 6, "<"), code == NULL ? "" : code + 6);
	if (op->hash != NULL)
		secret_sha256_end(op->hash, op->sha256);
	finish(op, bad.code == ERR_NONE ? NULL : &bad);
}

/* body_sha256: hex, of what is sent. */
static int
call_s3(struct backup_op *op, const char *method, const char *body_sha256,
    http_call_read_fn *on_read, struct err *e)
{
	const struct broker_conf *conf = &op->b->conf;
	AUTO(free) char *hash = xasprintf("x-amz-content-sha256: %s", body_sha256);
	AUTO(free) char *sign = xasprintf("aws:amz:%s:s3", conf->backup_s3_region);
	AUTO(free) char *secret = read_secret(op->b, e);
	const char *const headers[] = { hash, NULL };
	struct http_call_opts o = {
		.method = method,
		.url = op->url,
		.headers = headers,
		.user = conf->backup_s3_access_key,
		.password = secret,
		.aws_sigv4 = sign,
		.read = on_read,
		.read_size = op->size,
		.on_head = on_head,
		.on_data = on_object,
		.timeout_ms = TIMEOUT_MS,
		.idle_timeout_ms = IDLE_MS,
		.ca_file = conf->download_ca,
	};

	if (secret == NULL)
		return -1;
	if (conf->backup_s3_endpoint == NULL || conf->backup_s3_access_key == NULL)
		(void)err_set(e, ERR_SYSTEM, NULL,
		    "the broker has no S3 store: --backup-s3-endpoint, --backup-s3-access-key");
	else
		op->call = http_call_start(op->b->client, &o, on_object_end, op, e);
	secret_wipe(secret, strlen(secret));
	return op->call == NULL ? -1 : 0;
}

/* --- put --- */

static ssize_t
on_read_spool(struct http_call *c, char *p, size_t n, void *arg)
{
	struct backup_op *op = arg;
	size_t left = op->out.n - op->out_at;

	(void)c;
	if (left == 0 && op->is_at_end)
		return 0;
	if (left == 0) {
		if (!op->is_reading)
			backup_file_next(op->file);
		op->is_reading = true;
		return HTTP_CALL_PAUSE;
	}
	if (n > left)
		n = left;
	memcpy(p, op->out.p + op->out_at, n);
	op->out_at += n;
	return (ssize_t)n;
}

static void
on_spool_data(const char *p, size_t n, const struct err *e, void *arg)
{
	struct backup_op *op = arg;

	op->is_reading = false;
	buf_clear(&op->out);
	op->out_at = 0;
	buf_add(&op->out, p, n);
	op->is_at_end = n == 0 || e != NULL; /* cut short: the length tells the store */
	if (op->call != NULL)
		http_call_resume(op->call);
}

static void
on_spooled(int64_t size, const char *sha256, const struct err *e, void *arg)
{
	struct backup_op *op = arg;
	struct err bad = { 0 };

	op->size = size;
	memcpy(op->sha256, sha256, sizeof op->sha256);
	if (e != NULL || !op->is_s3) {
		finish(op, e);
		return;
	}
	backup_file_free(STEAL(op->file));
	op->is_reading = true;
	op->file = backup_file_read_start(op->b->worker, op->path, on_spool_data, op);
	if (call_s3(op, "PUT", op->sha256, on_read_spool, &bad) < 0)
		finish(op, &bad);
}

static void
on_file_room(void *arg)
{
	struct backup_op *op = arg;

	op->on_room(op->arg);
}

struct backup_op *
backup_store_put(struct broker *b, const char *to, const char *app_id, const char *name,
    backup_store_room_fn *on_room, backup_store_done_fn *done, void *arg)
{
	struct backup_op *op = new_op(b, to, app_id, name, done, arg);

	op->on_room = on_room;
	op->file = backup_file_write_start(b->worker, op->path, on_file_room, on_spooled, op);
	return op;
}

bool
backup_store_add(struct backup_op *op, const void *p, size_t n)
{
	return backup_file_add(op->file, p, n);
}

void
backup_store_end(struct backup_op *op)
{
	backup_file_end(op->file);
}

/* --- get --- */

static void
on_file_data(const char *p, size_t n, const struct err *e, void *arg)
{
	struct backup_op *op = arg;

	if (e != NULL || n == 0) {
		secret_sha256_end(op->hash, op->sha256);
		finish(op, e);
		return;
	}
	secret_sha256_add(op->hash, p, n);
	op->size += (int64_t)n;
	if (op->on_data(p, n, op->arg))
		backup_file_next(op->file);
}

/* A failure is told later, as all is. */
static void
fail_run(void *p)
{
	(void)p;
}

struct failure {
	struct backup_op *op;
	struct err e;
};

static void
fail_done(void *p)
{
	AUTO(free_ptr) struct failure *f = p;

	f->op->job = NULL;
	finish(f->op, &f->e);
}

static void
fail_later(struct backup_op *op, const struct err *e)
{
	struct failure *f = xcalloc(1, sizeof *f);

	*f = (struct failure){ op, *e };
	op->job = worker_submit(op->b->worker, fail_run, fail_done, free, f);
}

struct backup_op *
backup_store_get(struct broker *b, const char *to, const char *app_id, const char *name,
    backup_store_data_fn *on_data, backup_store_done_fn *done, void *arg)
{
	struct backup_op *op = new_op(b, to, app_id, name, done, arg);
	struct err e = { 0 };

	op->on_data = on_data;
	op->hash = secret_sha256_new();
	if (!op->is_s3)
		op->file = backup_file_read_start(b->worker, op->path, on_file_data, op);
	else if (call_s3(op, "GET", empty_sha256, NULL, &e) < 0)
		fail_later(op, &e);
	return op;
}

void
backup_store_resume(struct backup_op *op)
{
	op->is_paused = false;
	if (op->call != NULL)
		http_call_resume(op->call);
	else if (op->file != NULL)
		backup_file_next(op->file);
}

/* --- delete --- */

struct removal {
	struct backup_op *op;
	char *path;
	struct err e;
};

static void
removal_free(void *p)
{
	struct removal *r = p;

	free(r->path);
	free(r);
}

static void
removal_run(void *p)
{
	struct removal *r = p;

	if (unlink(r->path) < 0 && errno != ENOENT)
		(void)err_set(&r->e, ERR_SYSTEM, NULL, "remove %s", r->path);
}

static void
removal_done(void *p)
{
	struct removal *r = p;
	struct backup_op *op = r->op;
	struct err e = r->e;

	op->job = NULL;
	removal_free(r);
	finish(op, e.code == ERR_NONE ? NULL : &e);
}

struct backup_op *
backup_store_delete(struct broker *b, const char *to, const char *app_id, const char *name,
    backup_store_done_fn *done, void *arg)
{
	struct backup_op *op = new_op(b, to, app_id, name, done, arg);
	struct removal *r;
	struct err e = { 0 };

	if (op->is_s3) {
		if (call_s3(op, "DELETE", empty_sha256, NULL, &e) < 0)
			fail_later(op, &e);
		return op;
	}
	r = xcalloc(1, sizeof *r);
	*r = (struct removal){ .op = op, .path = xstrdup(op->path) };
	op->job = worker_submit(b->worker, removal_run, removal_done, removal_free, r);
	return op;
}
