#include "broker/backup_s3.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/s3_xml.h"
#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/http/http_client.h"
#include "lib/loop/loop.h"

enum {
	TIMEOUT_MS = 6 * 3600 * 1000,
	IDLE_MS = 120 * 1000,
	ANSWER_MAX = 1024 * 1024,
	SECRET_MAX = 4096,
	TRIES = 3, /* of a part */
	RETRY_MS = 1000,
	PARTS_STEP = 1000, /* then parts become larger: there may be 10,000 */
	STALE_MAX = 100,
	MB = 1024 * 1024,
};

static const char empty_sha256[] =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

enum step {
	STEP_FILLING, /* nothing is sent: what comes is collected */
	STEP_LISTING, /* uploads that a broker left */
	STEP_CREATING,
	STEP_PART,
	STEP_COMPLETING,
	STEP_WHOLE, /* the object at once */
	STEP_GETTING,
	STEP_DELETING,
	STEP_FAILED,
};

struct backup_s3 {
	struct broker *b;          /* borrowed */
	char *bucket, *dir, *name; /* owned; dir: below the bucket */
	int step;
	struct http_call *call;
	struct loop_timer *timer; /* a failure that is told later, or a part that is tried again */
	struct err e;
	int status;
	struct buf answer;
	/* put */
	struct buf part;      /* what came and is not stored yet */
	size_t sending, sent; /* of it */
	char *upload;         /* id; owned; NULL: no parts */
	struct buf parts;     /* XML of those that are stored */
	int64_t number;       /* of the part under way */
	int tries;
	bool is_at_end, wants_room;
	/* get */
	bool is_paused;
	int64_t size; /* of the whole object, as far as it came */
	char sha256[65];
	struct secret_sha256 *hash; /* NULL: deleting */
	backup_store_room_fn *on_room;
	backup_store_data_fn *on_data;
	backup_store_done_fn *done;
	void *arg;
};

static void go_on(struct backup_s3 *s);

static void
finish(struct backup_s3 *s, const struct err *e)
{
	if (s->hash != NULL)
		secret_sha256_end(s->hash, s->sha256);
	s->done(s->size, s->sha256, e, s->arg);
}

static void
on_failed(void *arg)
{
	struct backup_s3 *s = arg;
	struct err e = s->e;

	finish(s, &e);
}

/* Told from the loop, as all is. */
static void
fail(struct backup_s3 *s, const struct err *e)
{
	if (s->step == STEP_FAILED)
		return;
	s->step = STEP_FAILED;
	s->e = *e;
	loop_timer_cancel(s->timer);
	s->timer = loop_timer_start(s->b->loop, 0, false, on_failed, s);
}

/* --- calls --- */

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

/* What is asked, beside the method. */
struct ask {
	const char *path;   /* in the bucket; "": of the bucket itself */
	const char *query;  /* its names in order, each with a '=': that is how it is signed */
	const char *sha256; /* of what is sent */
	const void *body;   /* copied */
	size_t body_n;
	bool is_streamed; /* s->part[0 .. s->sending) */
};

static ssize_t
on_read(struct http_call *c, char *p, size_t n, void *arg)
{
	struct backup_s3 *s = arg;

	(void)c;
	if (n > s->sending - s->sent)
		n = s->sending - s->sent;
	memcpy(p, s->part.p + s->sent, n);
	s->sent += n;
	return (ssize_t)n;
}

static void
on_head(struct http_call *c, int status, void *arg)
{
	struct backup_s3 *s = arg;

	(void)c;
	s->status = status;
}

static bool
on_body(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct backup_s3 *s = arg;

	(void)c;
	if (s->step != STEP_GETTING || s->status / 100 != 2) {
		if (s->answer.n + n <= ANSWER_MAX)
			buf_add(&s->answer, p, n);
		return true;
	}
	if (s->is_paused)
		return false;
	secret_sha256_add(s->hash, p, n);
	s->size += (int64_t)n;
	s->is_paused = !s->on_data(p, n, s->arg);
	return true;
}

/* s: whose body is streamed and who hears the answer; NULL: nobody. */
static struct http_call *
start_call(struct broker *b, const char *bucket, const char *method, const struct ask *a,
    struct backup_s3 *s, http_call_end_fn *on_end, struct err *e)
{
	const struct broker_conf *conf = &b->conf;
	AUTO(free) char *hash = xasprintf("x-amz-content-sha256: %s", a->sha256);
	AUTO(free) char *sign = xasprintf("aws:amz:%s:s3", conf->backup_s3_region);
	AUTO(free)
	char *url = xasprintf("%s/%s/%s%s%s",
	    conf->backup_s3_endpoint == NULL ? "" : conf->backup_s3_endpoint, bucket, a->path,
	    a->query == NULL ? "" : "?", a->query == NULL ? "" : a->query);
	AUTO(free) char *secret = read_secret(b, e);
	const char *const headers[] = { hash, NULL };
	const struct http_call_opts o = {
		.method = method,
		.url = url,
		.headers = headers,
		.user = conf->backup_s3_access_key,
		.password = secret,
		.aws_sigv4 = sign,
		.body = a->body,
		.body_n = a->body_n,
		.read = a->is_streamed ? on_read : NULL,
		.read_size = a->is_streamed ? (int64_t)s->sending : 0,
		.on_head = s == NULL ? NULL : on_head,
		.on_data = s == NULL ? NULL : on_body,
		.timeout_ms = TIMEOUT_MS,
		.idle_timeout_ms = IDLE_MS,
		.ca_file = conf->download_ca,
	};
	struct http_call *c = NULL;

	if (secret == NULL)
		return NULL;
	if (conf->backup_s3_endpoint == NULL || conf->backup_s3_access_key == NULL)
		(void)err_set(e, ERR_SYSTEM, NULL,
		    "the broker has no S3 store: --backup-s3-endpoint, --backup-s3-access-key");
	else
		c = http_call_start(b->client, &o, on_end, s, e);
	secret_wipe(secret, strlen(secret));
	return c;
}

/* Why the answer is none; ERR_NONE: it is. A store may begin its answer with 200 and fail then. */
static void
judge(const struct backup_s3 *s, int status, const struct err *e, struct err *out)
{
	struct str code = s3_xml_text(s->answer.p, "Code");
	bool is_bad = status / 100 != 2 ||
	              (s->step == STEP_COMPLETING && strstr(s->answer.p, "<Error>") != NULL);

	if (e != NULL)
		(void)err_set(out, ERR_BUSY, NULL, "the S3 store does not answer: %s", e->text);
	else if (s->step == STEP_DELETING && status == 404)
		return; /* deleted already */
	else if (is_bad)
		(void)err_set(out, status == 404 ? ERR_NOT_FOUND : ERR_SYSTEM, NULL,
		    "the S3 store answered %d %.*s", status, (int)code.n, code.p);
}

static void answered(struct backup_s3 *s, struct http_call *c);

static void
on_retry(void *arg)
{
	struct backup_s3 *s = arg;

	loop_timer_cancel(STEAL(s->timer));
	go_on(s);
}

static void
on_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct backup_s3 *s = arg;
	bool may_pass = e != NULL || status / 100 == 5;
	struct err bad = { 0 };

	(void)body;
	s->call = NULL;
	buf_adds(&s->answer, "");
	judge(s, status, e, &bad);
	if (bad.code == ERR_NONE) {
		s->tries = 0;
		answered(s, c);
	} else if (s->step == STEP_PART && may_pass && ++s->tries < TRIES) {
		log_info("backup_part_again", LOG_STR("object", s->name), LOG_ERR(&bad));
		s->timer = loop_timer_start(s->b->loop, RETRY_MS * s->tries, false, on_retry, s);
	} else {
		s->step = STEP_FAILED;
		finish(s, &bad);
	}
}

static void
call(struct backup_s3 *s, const char *method, const struct ask *a)
{
	struct err e = { 0 };

	buf_clear(&s->answer);
	s->sent = 0;
	s->call = start_call(s->b, s->bucket, method, a, s, on_end, &e);
	if (s->call == NULL)
		fail(s, &e);
}

/* The object itself. */
static void
call_object(struct backup_s3 *s, const char *method, struct ask a)
{
	AUTO(free) char *path = file_join(s->dir, s->name);

	a.path = path;
	call(s, method, &a);
}

/* --- uploads that came to no end --- */

static void
on_aborted(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	(void)c;
	(void)body;
	(void)arg;
	if (e != NULL || (status / 100 != 2 && status != 404))
		log_warn("backup_upload_left", LOG_INT("status", status));
}

/* What was stored of it is given back. Nobody waits for that. */
static void
abort_upload(struct broker *b, const char *bucket, const char *path, struct str id)
{
	AUTO_FINI(buf_fini) struct buf query = { 0 };
	AUTO(free) char *text = xstrndup(id.p, id.n);
	struct err e = { 0 };

	buf_adds(&query, "uploadId=");
	buf_add_url(&query, text);
	const struct ask a = { .path = path, .query = query.p, .sha256 = empty_sha256 };
	if (start_call(b, bucket, "DELETE", &a, NULL, on_aborted, &e) == NULL)
		log_warn("backup_upload_left", LOG_ERR(&e));
}

/* Those of this application: it has one backup at a time. */
static void
abort_stale(struct backup_s3 *s)
{
	AUTO(free) char *prefix = xasprintf("%s/", s->dir);
	const char *at = s->answer.p;
	struct str key, id;

	for (int i = 0; i < STALE_MAX && s3_xml_upload(&at, &key, &id); i++) {
		AUTO(free) char *path = xstrndup(key.p, key.n);

		if (!str_has_prefix(path, prefix))
			continue;
		log_info("backup_upload_aborted", LOG_STR("object", path));
		abort_upload(s->b, s->bucket, path, id);
	}
}

static void
list_uploads(struct backup_s3 *s)
{
	AUTO_FINI(buf_fini) struct buf query = { 0 };

	buf_adds(&query, "prefix=");
	buf_add_url(&query, s->dir);
	buf_adds(&query, "%2F&uploads=");
	s->step = STEP_LISTING;
	call(s, "GET", &(struct ask){ .path = "", .query = query.p, .sha256 = empty_sha256 });
}

/* --- put --- */

static size_t
part_size(const struct backup_s3 *s)
{
	return (size_t)(s->b->conf.backup_s3_part_mb * MB * (1 + s->number / PARTS_STEP));
}

static void
send_part(struct backup_s3 *s)
{
	AUTO_FINI(buf_fini) struct buf query = { 0 };
	char sha256[65];

	s->step = STEP_PART;
	s->sending = s->part.n < part_size(s) ? s->part.n : part_size(s);
	secret_sha256_hex(s->part.p, s->sending, sha256);
	buf_addf(&query, "partNumber=%" PRId64 "&uploadId=", s->number);
	buf_add_url(&query, s->upload);
	call_object(
	    s, "PUT", (struct ask){ .query = query.p, .sha256 = sha256, .is_streamed = true });
}

static void
send_whole(struct backup_s3 *s)
{
	char sha256[65];

	s->step = STEP_WHOLE;
	s->sending = s->part.n;
	secret_sha256_hex(s->part.n == 0 ? "" : s->part.p, s->sending, sha256);
	call_object(s, "PUT", (struct ask){ .sha256 = sha256, .is_streamed = true });
}

static void
complete(struct backup_s3 *s)
{
	AUTO_FINI(buf_fini) struct buf query = { 0 };
	AUTO(free)
	char *xml = xasprintf("<CompleteMultipartUpload>%s</CompleteMultipartUpload>", s->parts.p);
	char sha256[65];

	fault_point("backup_parts_stored");
	s->step = STEP_COMPLETING;
	secret_sha256_hex(xml, strlen(xml), sha256);
	buf_adds(&query, "uploadId=");
	buf_add_url(&query, s->upload);
	call_object(s, "POST",
	    (struct ask){ .query = query.p, .sha256 = sha256, .body = xml, .body_n = strlen(xml) });
}

/* Sends what there is to send; nothing is under way. */
static void
go_on(struct backup_s3 *s)
{
	if (s->step == STEP_FAILED || s->call != NULL || s->timer != NULL)
		return;
	if (s->upload == NULL && s->part.n > part_size(s)) {
		list_uploads(s);
	} else if (s->upload == NULL && s->is_at_end) {
		send_whole(s);
	} else if (s->upload != NULL &&
	           (s->part.n > part_size(s) || (s->is_at_end && s->part.n > 0))) {
		send_part(s);
	} else if (s->upload != NULL && s->is_at_end) {
		complete(s);
	} else {
		s->step = STEP_FILLING;
		if (s->wants_room) {
			s->wants_room = false;
			s->on_room(s->arg);
		}
	}
}

static void
take_part(struct backup_s3 *s, struct http_call *c)
{
	AUTO(free) char *tag = http_call_header(c, "ETag");

	if (tag == NULL || strpbrk(tag, "<>&") != NULL) {
		struct err e = { 0 };

		(void)err_set(&e, ERR_SYSTEM, NULL, "the S3 store gave a part no ETag");
		fail(s, &e);
		return;
	}
	buf_addf(&s->parts, "<Part><PartNumber>%" PRId64 "</PartNumber><ETag>%s</ETag></Part>",
	    s->number, tag);
	s->number++;
	memmove(s->part.p, s->part.p + s->sending, s->part.n - s->sending);
	buf_truncate(&s->part, s->part.n - s->sending);
	fault_point("backup_part_stored");
	go_on(s);
}

static void
take_upload(struct backup_s3 *s)
{
	struct str id = s3_xml_text(s->answer.p, "UploadId");
	struct err e = { 0 };

	if (id.n == 0 || id.n > S3_XML_ID_MAX) {
		(void)err_set(&e, ERR_SYSTEM, NULL, "the S3 store gave an upload no id");
		fail(s, &e);
		return;
	}
	s->upload = xstrndup(id.p, id.n);
	fault_point("backup_upload_made");
	go_on(s);
}

static void
answered(struct backup_s3 *s, struct http_call *c)
{
	switch (s->step) {
	case STEP_LISTING:
		abort_stale(s);
		s->step = STEP_CREATING;
		call_object(s, "POST", (struct ask){ .query = "uploads=", .sha256 = empty_sha256 });
		break;
	case STEP_CREATING:
		take_upload(s);
		break;
	case STEP_PART:
		take_part(s, c);
		break;
	case STEP_COMPLETING:
		free(STEAL(s->upload));
		finish(s, NULL);
		break;
	default:
		finish(s, NULL);
	}
}

static struct backup_s3 *
new_s3(struct broker *b, const char *dir, const char *name, backup_store_done_fn *done, void *arg)
{
	struct backup_s3 *s = xcalloc(1, sizeof *s);
	size_t n = strcspn(dir, "/");

	*s = (struct backup_s3){
		.b = b,
		.bucket = xstrndup(dir, n),
		.dir = xstrdup(dir[n] == '\0' ? "" : dir + n + 1),
		.name = xstrdup(name),
		.number = 1,
		.done = done,
		.arg = arg,
	};
	return s;
}

struct backup_s3 *
backup_s3_put(struct broker *b, const char *dir, const char *name, backup_store_room_fn *on_room,
    backup_store_done_fn *done, void *arg)
{
	struct backup_s3 *s = new_s3(b, dir, name, done, arg);

	s->on_room = on_room;
	s->hash = secret_sha256_new();
	return s;
}

bool
backup_s3_add(struct backup_s3 *s, const void *p, size_t n)
{
	secret_sha256_add(s->hash, p, n);
	s->size += (int64_t)n;
	buf_add(&s->part, p, n);
	if (s->step == STEP_FILLING)
		go_on(s);
	s->wants_room = s->step != STEP_FILLING;
	return !s->wants_room;
}

void
backup_s3_end(struct backup_s3 *s)
{
	s->is_at_end = true;
	if (s->step == STEP_FILLING)
		go_on(s);
}

void
backup_s3_free(struct backup_s3 *take_s)
{
	struct backup_s3 *s = take_s;

	if (s == NULL)
		return;
	http_call_cancel(s->call);
	loop_timer_cancel(s->timer);
	if (s->upload != NULL) {
		AUTO(free) char *path = file_join(s->dir, s->name);

		abort_upload(s->b, s->bucket, path, str_of(s->upload));
	}
	free(s->bucket);
	free(s->dir);
	free(s->name);
	free(s->upload);
	buf_fini(&s->answer);
	buf_fini(&s->part);
	buf_fini(&s->parts);
	secret_sha256_free(s->hash);
	free(s);
}

/* --- get and delete --- */

struct backup_s3 *
backup_s3_get(struct broker *b, const char *dir, const char *name, backup_store_data_fn *on_data,
    backup_store_done_fn *done, void *arg)
{
	struct backup_s3 *s = new_s3(b, dir, name, done, arg);

	s->on_data = on_data;
	s->hash = secret_sha256_new();
	s->step = STEP_GETTING;
	call_object(s, "GET", (struct ask){ .sha256 = empty_sha256 });
	return s;
}

void
backup_s3_resume(struct backup_s3 *s)
{
	s->is_paused = false;
	if (s->call != NULL)
		http_call_resume(s->call);
}

struct backup_s3 *
backup_s3_delete(
    struct broker *b, const char *dir, const char *name, backup_store_done_fn *done, void *arg)
{
	struct backup_s3 *s = new_s3(b, dir, name, done, arg);

	s->step = STEP_DELETING;
	call_object(s, "DELETE", (struct ask){ .sha256 = empty_sha256 });
	return s;
}
