#include "cli/api_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/http_client.h"
#include "lib/http/http_watch.h"

enum { ANSWER_MAX = 64 * 1024 * 1024, LINE_MAX_BYTES = 16 * 1024 * 1024 };

void
api_reply_fini(struct api_reply *r)
{
	codec_value_free(r->root);
	*r = (struct api_reply){ 0 };
}

/* Collects an answer: progress lines are shown as they come, the rest is the envelope. */
struct answer {
	const struct cmd_line *line;
	struct http_lines lines;
	struct buf envelope;
	struct err e;
	api_line_fn *on_line;
	void *arg;
};

static void
answer_fini(struct answer *a)
{
	http_lines_fini(&a->lines);
	buf_fini(&a->envelope);
}

static void
on_answer_line(struct str line, void *arg)
{
	struct answer *a = arg;
	struct err e = { 0 };

	if (a->on_line != NULL) {
		a->on_line(line, a->arg);
		return;
	}
	if (line.n > 12 && memcmp(line.p, "{\"progress\":", 12) == 0) {
		struct codec_value *v = codec_parse(line.p, line.n, &e);
		const char *text = v == NULL ? NULL : codec_string(codec_get(v, "progress"));

		if (text != NULL)
			output_progress(a->line, text);
		codec_value_free(v);
		return;
	}
	buf_addstr(&a->envelope, line);
}

static bool
on_answer_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct answer *a = arg;

	(void)c;
	if (a->envelope.n < ANSWER_MAX && a->e.code == ERR_NONE &&
	    http_lines_feed(&a->lines, p, n, LINE_MAX_BYTES, on_answer_line, a, &a->e) < 0)
		return true; /* kept in a->e */
	return true;
}

static enum err_code
code_of(int status, const char *word)
{
	static const struct {
		const char *word;
		int status;
		enum err_code code;
	} codes[] = {
		{ "bad_request", 400, ERR_INVALID },
		{ "unauthorized", 401, ERR_UNAUTHENTICATED },
		{ "forbidden", 403, ERR_DENIED },
		{ "not_found", 404, ERR_NOT_FOUND },
		{ "conflict", 409, ERR_CONFLICT },
		{ "request_entity_too_large", 413, ERR_LIMIT },
		{ "unprocessable_entity", 422, ERR_INVALID },
		{ "too_many_requests", 429, ERR_LIMIT },
		{ "service_unavailable", 503, ERR_BUSY },
	};

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (word != NULL ? strcmp(codes[i].word, word) == 0 : codes[i].status == status)
			return codes[i].code;
	return ERR_SYSTEM;
}

static bool
is_success(int status, const char *word)
{
	if (word == NULL)
		return status >= 200 && status < 300;
	return strcmp(word, "ok") == 0 || strcmp(word, "created") == 0 ||
	       strcmp(word, "no_content") == 0;
}

/* The user's messages; on failure the errors become e's text. */
static void
take_messages(const struct cmd_line *l, const struct codec_value *root, struct buf *errors,
    char *field, size_t field_size)
{
	const struct codec_value *messages = codec_get(root, "messages");

	for (size_t i = 0; i < codec_count(messages); i++) {
		const struct codec_value *m = codec_at(messages, i);
		const char *severity = codec_string(codec_get(m, "severity"));
		const char *text = codec_string(codec_get(m, "text"));
		const char *at = codec_string(codec_get(m, "field"));

		if (severity == NULL || text == NULL)
			continue;
		if (strcmp(severity, "error") == 0) {
			if (errors->n == 0 && at != NULL)
				(void)snprintf(field, field_size, "%s", at);
			buf_addf(errors, "%s%s", errors->n == 0 ? "" : "\n", text);
		} else if (strcmp(severity, "info") != 0 && strcmp(severity, "debug") != 0) {
			output_progress(l, text);
		}
	}
}

static int
take_envelope(const struct cmd_line *l, int status, const struct buf *body, struct api_reply *out,
    struct err *e)
{
	AUTO_FINI(buf_fini) struct buf errors = { 0 };
	char field[ERR_FIELD_MAX] = "";
	struct err ignored = { 0 };

	struct codec_value *root = body->n == 0 ? NULL : codec_parse(body->p, body->n, &ignored);
	const char *word = codec_string(codec_get(root, "status"));
	if (root == NULL && status == 401)
		return err_set(e, ERR_UNAUTHENTICATED, NULL,
		    "the broker does not accept this login: pinion login URL");
	if (root == NULL && !is_success(status, NULL))
		return err_set(e, code_of(status, NULL), NULL, "the broker answered %d: %.300s",
		    status, body->p == NULL ? "" : body->p);
	take_messages(l, root, &errors, field, sizeof field);
	if (!is_success(status, word)) {
		(void)err_set(e, code_of(status, word), field, "%s",
		    errors.n == 0 ? "the broker refused, without saying why" : errors.p);
		codec_value_free(root);
		return -1;
	}
	out->root = root;
	out->data = codec_get(root, "data");
	return 0;
}

static int
call(const struct cmd_line *l, const char *base, struct http_call_opts *o, const char *path,
    const char *json, struct api_reply *out, struct err *e)
{
	static const char *const headers[] = {
		"Accept: application/x-ndjson, application/json;version=1.7;nolinks",
		"Content-Type: application/json", NULL
	};
	AUTO(free) char *url = xasprintf("%s/broker/rest/%s", base, path);
	AUTO_FINI(answer_fini) struct answer a = { .line = l };
	AUTO_FINI(buf_fini) struct buf rest = { 0 };

	o->url = url;
	o->headers = headers;
	o->body = json;
	o->body_n = json == NULL ? 0 : strlen(json);
	o->on_data = on_answer_data;
	o->ca_file = api_login_ca_file();
	int status = http_call_wait(o, &rest, &a, e);
	if (status < 0)
		return err_wrap(e, "cannot reach the broker at %s", base);
	if (a.e.code != ERR_NONE) {
		*e = a.e;
		return -1;
	}
	if (a.lines.n > 0) /* an envelope without a newline */
		buf_add(&a.envelope, a.lines.p, a.lines.n);
	/* The body of an error is not streamed. */
	return take_envelope(l, status, rest.n > 0 ? &rest : &a.envelope, out, e);
}

int
api_call(const struct cmd_line *l, const char *method, const char *path, const char *json,
    struct api_reply *out, struct err *e)
{
	AUTO_FINI(api_login_fini) struct api_login login = { 0 };

	if (api_login_load(&login, e) < 0)
		return -1;
	struct http_call_opts o = { .method = method, .bearer = login.token };
	return call(l, login.url, &o, path, json, out, e);
}

int
api_call_as(const struct cmd_line *l, const char *url, const char *user, const char *password,
    const char *method, const char *path, const char *json, struct api_reply *out, struct err *e)
{
	struct http_call_opts o = { .method = method, .user = user, .password = password };

	return call(l, url, &o, path, json, out, e);
}

int
api_stream(
    const struct cmd_line *l, const char *path, api_line_fn *on_line, void *arg, struct err *e)
{
	static const char *const headers[] = { "Accept: application/x-ndjson, application/json",
		NULL };
	AUTO_FINI(api_login_fini) struct api_login login = { 0 };
	AUTO_FINI(answer_fini) struct answer a = { .on_line = on_line, .arg = arg };
	AUTO_FINI(api_reply_fini) struct api_reply refused = { 0 };
	AUTO_FINI(buf_fini) struct buf rest = { 0 };

	if (api_login_load(&login, e) < 0)
		return -1;
	AUTO(free) char *url = xasprintf("%s/broker/rest/%s", login.url, path);
	struct http_call_opts o = { .url = url,
		.bearer = login.token,
		.headers = headers,
		.on_data = on_answer_data,
		.ca_file = api_login_ca_file() };
	int status = http_call_wait(&o, &rest, &a, e);
	if (status < 0)
		return err_wrap(e, "cannot reach the broker at %s", login.url);
	if (status != 200)
		return take_envelope(l, status, &rest, &refused, e);
	if (a.e.code != ERR_NONE) {
		*e = a.e;
		return -1;
	}
	return 0;
}

/* --- bytes --- */

struct bytes {
	struct answer answer; /* of an upload */
	int fd;
	struct err e;
};

static bool
on_bytes(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct bytes *b = arg;

	(void)c;
	if (b->e.code == ERR_NONE && file_write_all(b->fd, p, n, &b->e) < 0)
		return true; /* kept in b->e */
	return true;
}

int
api_download(const struct cmd_line *l, const char *path, int fd, struct err *e)
{
	AUTO_FINI(api_login_fini) struct api_login login = { 0 };
	AUTO_FINI(api_reply_fini) struct api_reply refused = { 0 };
	AUTO_FINI(buf_fini) struct buf rest = { 0 };
	struct bytes b = { .fd = fd };

	if (api_login_load(&login, e) < 0)
		return -1;
	AUTO(free) char *url = xasprintf("%s/broker/rest/%s", login.url, path);
	struct http_call_opts o = { .url = url,
		.bearer = login.token,
		.on_data = on_bytes,
		.ca_file = api_login_ca_file() };
	int status = http_call_wait(&o, &rest, &b, e);

	if (status < 0)
		return err_wrap(e, "the download from %s", login.url);
	if (status != 200)
		return take_envelope(l, status, &rest, &refused, e);
	if (b.e.code != ERR_NONE) {
		*e = b.e;
		return -1;
	}
	return 0;
}

static ssize_t
read_bytes(struct http_call *c, char *p, size_t n, void *arg)
{
	struct bytes *b = arg;
	ssize_t got;

	(void)c;
	do
		got = read(b->fd, p, n);
	while (got < 0 && errno == EINTR);
	if (got >= 0)
		return got;
	(void)err_set(&b->e, ERR_SYSTEM, NULL, "read the file");
	return HTTP_CALL_ABORT;
}

static bool
on_upload_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct bytes *b = arg;

	return on_answer_data(c, p, n, &b->answer);
}

int
api_upload(const struct cmd_line *l, const char *path, int fd, struct api_reply *out, struct err *e)
{
	static const char *const headers[] = {
		"Accept: application/x-ndjson, application/json;version=1.7;nolinks",
		"Content-Type: application/octet-stream", "Expect:", NULL
	};
	AUTO_FINI(api_login_fini) struct api_login login = { 0 };
	AUTO_FINI(buf_fini) struct buf rest = { 0 };
	struct bytes b = { .fd = fd, .answer = { .line = l } };
	int rc = -1, status;

	if (api_login_load(&login, e) < 0)
		return -1;
	AUTO(free) char *url = xasprintf("%s/broker/rest/%s", login.url, path);
	struct http_call_opts o = { .method = "PUT",
		.url = url,
		.bearer = login.token,
		.headers = headers,
		.read = read_bytes,
		.on_data = on_upload_data,
		.ca_file = api_login_ca_file() };

	status = http_call_wait(&o, &rest, &b, e);
	if (status < 0 && b.e.code != ERR_NONE)
		*e = b.e;
	else if (status < 0)
		(void)err_wrap(e, "the upload to %s", login.url);
	else if (b.answer.e.code != ERR_NONE)
		*e = b.answer.e;
	else {
		if (b.answer.lines.n > 0)
			buf_add(&b.answer.envelope, b.answer.lines.p, b.answer.lines.n);
		rc = take_envelope(l, status, rest.n > 0 ? &rest : &b.answer.envelope, out, e);
	}
	answer_fini(&b.answer);
	return rc;
}
