#include "lib/http/http_client.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/http/http_server.h"
#include "lib/loop/loop.h"
#include "test/unit/http_peer.h"

enum { BIG = 4 * 1024 * 1024 };

/* A server, a client and what happened, on one loop. */
struct world {
	struct loop *loop;
	struct http_server *server;
	struct http_client *client;
	char dir[32], address[64], url[128];
	struct http_call *call;
	struct http_req *req; /* held by the server, or NULL */
	bool is_done, has_req, was_closed, has_data;
	int ends, status, heads, head_status;
	size_t got; /* of the answer by on_data */
	size_t uploaded;
	size_t pause_at; /* of got */
	size_t to_send;  /* by read; 0 and is_open: pause */
	bool is_open;    /* more may come to be sent */
	bool aborts, cancels_in_data, cancels_in_head, frees_in_end;
	size_t pauses;
	struct buf body;
	struct err err;
};

static void
echo(struct http_req *r, struct str body, const struct err *e, void *arg)
{
	(void)arg;
	if (e == NULL)
		http_req_reply(r, 200, NULL, body.p, body.n);
}

static void
on_close(struct http_req *r, void *arg)
{
	struct world *w = arg;

	(void)r;
	w->req = NULL;
	w->was_closed = true;
}

static void
count_body(struct http_req *r, const char *p, size_t n, void *arg)
{
	struct world *w = arg;

	(void)p;
	w->got += n;
	if (n == 0) {
		w->req = NULL;
		http_req_reply_text(r, 200, "got %zu", w->got);
	}
}

static void
end_after_body(struct http_req *r, const char *p, size_t n, void *arg)
{
	struct world *w = arg;

	(void)p;
	w->uploaded += n;
	if (n == 0) {
		w->req = NULL;
		http_req_end(r);
	}
}

static void
reply_fact(struct http_req *r, const char *fact)
{
	http_req_reply_text(r, 200, "%s", fact == NULL ? "(none)" : fact);
}

static void
send_big(struct http_req *r)
{
	AUTO(free) char *big = xcalloc(1, BIG);

	http_req_reply(r, 200, NULL, big, BIG);
}

static void
handle(struct http_req *r, void *arg)
{
	struct world *w = arg;
	const char *path = http_req_path(r);

	w->req = r;
	w->has_req = true;
	http_req_on_close(r, on_close, w);
	if (strcmp(path, "/hold") == 0)
		return;
	if (strcmp(path, "/count") == 0) {
		http_req_read(r, count_body, w);
		return;
	}
	if (strcmp(path, "/begin") == 0) {
		http_req_begin(r, 200, NULL);
		http_req_write(r, "part", 4);
		return;
	}
	w->req = NULL;
	if (strcmp(path, "/echo") == 0)
		http_req_read_all(r, BIG, echo, w);
	else if (strcmp(path, "/big") == 0)
		send_big(r);
	else if (strcmp(path, "/auth") == 0)
		reply_fact(r, http_req_header(r, "authorization"));
	else if (strcmp(path, "/type") == 0)
		reply_fact(r, http_req_header(r, "content-type"));
	else if (strcmp(path, "/refuse") == 0)
		http_req_reply_text(r, 422, "refused");
	else
		http_req_reply_text(r, 404, "no %s", path);
}

static void
start(struct world *w, bool is_unix)
{
	struct err e = { 0 };

	*w = (struct world){ .loop = loop_new() };
	w->server = http_server_new(w->loop, NULL, handle, w);
	w->client = http_client_new(w->loop);
	(void)snprintf(w->dir, sizeof w->dir, "/tmp/http-test-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	if (is_unix)
		(void)snprintf(w->address, sizeof w->address, "unix:%s/s", w->dir);
	else
		(void)snprintf(w->address, sizeof w->address, "127.0.0.1:0");
	if (http_server_listen(w->server, w->address, 0600, &e) < 0)
		fail_msg("%s", e.text);
	if (is_unix)
		(void)snprintf(w->url, sizeof w->url, "%s:", w->address);
	else
		(void)snprintf(
		    w->url, sizeof w->url, "http://127.0.0.1:%d", http_server_port(w->server));
}

static void
finish(struct world *w)
{
	http_client_free(w->client);
	http_server_free(w->server);
	loop_free(w->loop);
	buf_fini(&w->body);
	assert_int_equal(rmdir(w->dir), 0);
}

static void
on_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct world *w = arg;

	assert_ptr_equal(c, w->call);
	w->call = NULL;
	w->ends++;
	w->status = status;
	buf_addstr(&w->body, body);
	if (e != NULL)
		w->err = *e;
	w->is_done = true;
	if (w->frees_in_end)
		http_client_free(STEAL(w->client));
}

static void
on_head(struct http_call *c, int status, void *arg)
{
	struct world *w = arg;

	w->heads++;
	w->head_status = status;
	if (w->cancels_in_head) {
		w->call = NULL;
		http_call_cancel(c);
	}
}

static bool
on_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct world *w = arg;

	(void)p;
	if (w->pause_at > 0 && w->got >= w->pause_at) {
		w->pauses++;
		return false;
	}
	w->got += n;
	w->has_data = true;
	if (w->cancels_in_data) {
		w->call = NULL;
		http_call_cancel(c);
	}
	return true;
}

static ssize_t
on_read(struct http_call *c, char *p, size_t n, void *arg)
{
	struct world *w = arg;

	(void)c;
	if (w->aborts)
		return HTTP_CALL_ABORT;
	if (w->to_send == 0)
		return w->is_open ? HTTP_CALL_PAUSE : 0;
	if (n > w->to_send)
		n = w->to_send;
	memset(p, 'x', n);
	w->to_send -= n;
	return (ssize_t)n;
}

static void
begin(struct world *w, struct http_call_opts o, const char *path)
{
	AUTO(free) char *url = xasprintf("%s%s", w->url, path);
	struct err e = { 0 };

	o.url = url;
	w->is_done = w->has_req = w->was_closed = w->has_data = false;
	w->got = 0;
	buf_clear(&w->body);
	w->err = (struct err){ 0 };
	w->call = http_call_start(w->client, &o, on_end, w, &e);
	if (w->call == NULL)
		fail_msg("%s", e.text);
}

static void
call(struct world *w, struct http_call_opts o, const char *path)
{
	begin(w, o, path);
	assert_false(w->is_done);
	http_peer_wait(w->loop, &w->is_done);
}

static void
check_calls(bool is_unix)
{
	AUTO(free) char *big = xcalloc(1, BIG);
	struct world w;

	start(&w, is_unix);
	call(&w, (struct http_call_opts){ 0 }, "/x");
	assert_int_equal(w.status, 404);
	assert_string_equal(w.body.p, "no /x");
	for (int i = 0; i < 3; i++) {
		call(&w, (struct http_call_opts){ .body = "hello", .body_n = 5 }, "/echo");
		assert_int_equal(w.status, 200);
		assert_string_equal(w.body.p, "hello");
	}
	call(&w, (struct http_call_opts){ .body = big, .body_n = BIG }, "/echo");
	assert_int_equal(w.body.n, BIG);
	call(&w, (struct http_call_opts){ .method = "HEAD" }, "/x");
	assert_int_equal(w.status, 404);
	assert_int_equal(w.body.n, 0);
	call(&w, (struct http_call_opts){ .method = "DELETE" }, "/x");
	assert_string_equal(w.body.p, "no /x");
	call(&w, (struct http_call_opts){ .method = "POST" }, "/echo");
	assert_int_equal(w.status, 200);
	assert_int_equal(w.body.n, 0);
	call(&w, (struct http_call_opts){ .on_head = on_head, .on_data = on_data }, "/big");
	assert_int_equal(w.got, BIG);
	assert_int_equal(w.body.n, 0);
	assert_int_equal(w.heads, 1);
	assert_int_equal(w.ends, 9);
	finish(&w);
}

static void
test_calls_tcp(void **state)
{
	(void)state;
	check_calls(false);
}

static void
test_calls_unix(void **state)
{
	(void)state;
	check_calls(true);
}

static void
test_fields(void **state)
{
	static const char *const json[] = { "Content-Type: application/json", NULL };
	struct world w;

	(void)state;
	start(&w, false);
	call(&w, (struct http_call_opts){ .bearer = "t0k" }, "/auth");
	assert_string_equal(w.body.p, "Bearer t0k");
	call(&w, (struct http_call_opts){ .user = "u", .password = "p" }, "/auth");
	assert_string_equal(w.body.p, "Basic dTpw");
	call(&w, (struct http_call_opts){ 0 }, "/auth");
	assert_string_equal(w.body.p, "(none)");
	call(&w, (struct http_call_opts){ .body = "{}", .body_n = 2, .headers = json }, "/type");
	assert_string_equal(w.body.p, "application/json");
	call(&w, (struct http_call_opts){ .body = "{}", .body_n = 2 }, "/type");
	assert_string_equal(w.body.p, "(none)");
	finish(&w);
}

static void
test_refused_options(void **state)
{
	static const char *const evil[] = { "A: b\r\nC: d", NULL };
	static const char *const urls[] = { "", "/x", "ftp://h/", "file:///etc/passwd", "http://",
		"http://h:99999/", "http://h/a b", "unix:", "unix:/run/x", "unix::/x" };
	struct http_call_opts o = { 0 };
	struct err e = { 0 };
	struct world w;

	(void)state;
	start(&w, false);
	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		o.url = urls[i];
		e = (struct err){ 0 };
		if (http_call_start(w.client, &o, on_end, &w, &e) != NULL)
			fail_msg("%s was taken", urls[i]);
		assert_int_equal(e.code, ERR_INVALID);
		assert_string_equal(e.field, "url");
	}
	o.url = w.url;
	o.headers = evil;
	assert_null(http_call_start(w.client, &o, on_end, &w, &e));
	assert_string_equal(e.field, "headers");
	o.headers = NULL;
	o.bearer = "a\nb";
	assert_null(http_call_start(w.client, &o, on_end, &w, &e));
	assert_string_equal(e.field, "bearer");
	finish(&w);
}

static void
test_streamed_request(void **state)
{
	struct world w;

	(void)state;
	start(&w, true);
	w.to_send = 1000;
	w.is_open = true;
	begin(&w, (struct http_call_opts){ .method = "PUT", .read = on_read }, "/count");
	http_peer_wait_n(w.loop, &w.got, 1000);
	http_peer_turn(w.loop, 20);
	assert_false(w.is_done);
	w.to_send = BIG;
	w.is_open = false;
	http_call_resume(w.call);
	http_peer_wait(w.loop, &w.is_done);
	assert_int_equal(w.status, 200);
	assert_string_equal(w.body.p, "got 4195304");
	finish(&w);
}

/* The answer begins while the request is still sent: as a build does. */
static void
test_both_ways_at_once(void **state)
{
	struct world w;

	(void)state;
	start(&w, true);
	w.to_send = 100;
	w.is_open = true;
	begin(&w,
	    (struct http_call_opts){
	        .method = "POST", .read = on_read, .on_head = on_head, .on_data = on_data },
	    "/begin");
	http_peer_wait(w.loop, &w.has_data);
	assert_int_equal(w.head_status, 200);
	http_req_write(w.req, "more", 4);
	http_peer_wait_n(w.loop, &w.got, 8);
	w.to_send = 100;
	w.is_open = false;
	http_call_resume(w.call);
	http_req_read(w.req, end_after_body, &w);
	http_peer_wait(w.loop, &w.is_done);
	assert_int_equal(w.err.code, ERR_NONE);
	assert_int_equal(w.uploaded, 200);
	finish(&w);
}

static void
test_refused_stream(void **state)
{
	struct world w;

	(void)state;
	start(&w, true);
	w.to_send = (size_t)1 << 40;
	call(&w, (struct http_call_opts){ .method = "POST", .read = on_read }, "/refuse");
	assert_int_equal(w.status, 422);
	assert_string_equal(w.body.p, "refused");
	finish(&w);
}

static void
test_aborted_stream(void **state)
{
	struct world w;

	(void)state;
	start(&w, false);
	w.to_send = 10;
	w.is_open = true;
	begin(&w, (struct http_call_opts){ .read = on_read }, "/count");
	http_peer_wait_n(w.loop, &w.got, 10);
	w.aborts = true;
	http_call_resume(w.call);
	http_peer_wait(w.loop, &w.is_done);
	assert_int_equal(w.err.code, ERR_SYSTEM);
	http_peer_wait(w.loop, &w.was_closed);
	finish(&w);
}

static void
test_paused_answer(void **state)
{
	struct world w;

	(void)state;
	start(&w, false);
	w.pause_at = 100 * 1000;
	begin(&w, (struct http_call_opts){ .on_data = on_data }, "/big");
	http_peer_wait_n(w.loop, &w.pauses, 1);
	http_peer_turn(w.loop, 30);
	assert_in_range(w.got, 100 * 1000, 200 * 1000);
	assert_int_equal(w.pauses, 1);
	w.pause_at = 0;
	http_call_resume(w.call);
	http_peer_wait(w.loop, &w.is_done);
	assert_int_equal(w.got, BIG);
	finish(&w);
}

static void
test_cancel(void **state)
{
	const struct http_call_opts o = { .on_head = on_head, .on_data = on_data };
	struct world w;

	(void)state;
	start(&w, false);
	begin(&w, o, "/begin"); /* before it was sent */
	http_call_cancel(STEAL(w.call));
	http_peer_turn(w.loop, 10);
	assert_false(w.has_req);
	begin(&w, o, "/hold"); /* while it waits */
	http_peer_wait(w.loop, &w.has_req);
	http_call_cancel(STEAL(w.call));
	http_peer_wait(w.loop, &w.was_closed);
	w.cancels_in_head = true;
	begin(&w, o, "/begin");
	http_peer_wait(w.loop, &w.has_req);
	http_peer_wait(w.loop, &w.was_closed);
	w.cancels_in_head = false;
	w.cancels_in_data = true;
	begin(&w, o, "/begin");
	http_peer_wait(w.loop, &w.has_data);
	http_peer_wait(w.loop, &w.was_closed);
	assert_int_equal(w.got, 4);
	http_call_cancel(NULL);
	assert_int_equal(w.ends, 0);
	finish(&w);
}

static void
test_client_freed_in_callback(void **state)
{
	struct http_call_opts o = { .url = NULL };
	struct err e = { 0 };
	struct world w;

	(void)state;
	start(&w, false);
	o.url = w.url;
	begin(&w, (struct http_call_opts){ .on_data = on_data }, "/begin"); /* one under way */
	http_peer_wait(w.loop, &w.has_data);
	w.frees_in_end = true;
	w.call = http_call_start(w.client, &o, on_end, &w, &e);
	http_peer_wait(w.loop, &w.is_done);
	assert_null(w.client);
	assert_int_equal(w.ends, 1);
	http_peer_wait(w.loop, &w.was_closed);
	finish(&w);
}

static void
test_timeouts(void **state)
{
	struct world w;

	(void)state;
	start(&w, false);
	call(&w, (struct http_call_opts){ .timeout_ms = 50 }, "/hold");
	assert_int_equal(w.err.code, ERR_SYSTEM);
	assert_non_null(strstr(w.err.text, "/hold"));
	http_peer_wait(w.loop, &w.was_closed);
	call(&w, (struct http_call_opts){ .idle_timeout_ms = 50 }, "/hold");
	assert_non_null(strstr(w.err.text, "not a byte for 50 ms"));
	call(&w, (struct http_call_opts){ .idle_timeout_ms = 50, .on_data = on_data }, "/begin");
	assert_int_equal(w.got, 4);
	assert_non_null(strstr(w.err.text, "not a byte for 50 ms"));
	/* Bytes keep it alive. */
	begin(&w, (struct http_call_opts){ .idle_timeout_ms = 400, .on_data = on_data }, "/begin");
	http_peer_wait(w.loop, &w.has_req);
	for (int i = 0; i < 8; i++) {
		http_peer_turn(w.loop, 80);
		http_req_write(w.req, "x", 1);
	}
	http_req_end(w.req);
	http_peer_wait(w.loop, &w.is_done);
	assert_int_equal(w.err.code, ERR_NONE);
	assert_int_equal(w.got, 12);
	finish(&w);
}

static void
test_failures(void **state)
{
	struct world w;

	(void)state;
	start(&w, false);
	begin(&w, (struct http_call_opts){ 0 }, "/begin"); /* cut in the middle */
	http_peer_wait(w.loop, &w.has_req);
	http_req_abort(w.req);
	http_peer_wait(w.loop, &w.is_done);
	assert_int_equal(w.err.code, ERR_SYSTEM);
	assert_int_equal(w.status, 200);
	call(&w, (struct http_call_opts){ .body_max = 1000 }, "/big");
	assert_int_equal(w.err.code, ERR_LIMIT);
	http_server_drain(w.server); /* nobody listens */
	call(&w, (struct http_call_opts){ 0 }, "/x");
	assert_int_equal(w.err.code, ERR_SYSTEM);
	assert_int_equal(w.status, 0);
	(void)snprintf(w.url, sizeof w.url, "unix:%s/none:", w.dir);
	call(&w, (struct http_call_opts){ 0 }, "/x");
	assert_int_equal(w.err.code, ERR_SYSTEM);
	finish(&w);
}

/* A kept connection that the server closed meanwhile costs no call. */
static void
test_stale_connection(void **state)
{
	const struct http_server_opts opts = { .idle_timeout_ms = 30 };
	struct err e = { 0 };
	struct world w;

	(void)state;
	start(&w, false);
	http_server_free(w.server);
	w.server = http_server_new(w.loop, &opts, handle, &w);
	assert_int_equal(http_server_listen(w.server, "127.0.0.1:0", 0, &e), 0);
	(void)snprintf(w.url, sizeof w.url, "http://127.0.0.1:%d", http_server_port(w.server));
	for (int i = 0; i < 3; i++) {
		call(&w, (struct http_call_opts){ .body = "x", .body_n = 1 }, "/echo");
		assert_int_equal(w.status, 200);
		http_peer_turn(w.loop, 60);
	}
	finish(&w);
}

static void
test_many_at_once(void **state)
{
	enum { CALLS = 200 };
	struct http_call *calls[CALLS];
	struct http_call_opts o = { .on_data = on_data };
	AUTO(free) char *url = NULL;
	struct err e = { 0 };
	struct world w;
	size_t open = 0;

	(void)state;
	start(&w, true);
	url = xasprintf("%s/begin", w.url);
	o.url = url;
	for (int i = 0; i < CALLS; i++)
		calls[i] = http_call_start(w.client, &o, on_end, &w, &e);
	http_peer_wait_n(w.loop, &w.got, 4 * CALLS);
	assert_int_equal(http_server_active(w.server), CALLS);
	for (int i = 0; i < CALLS; i += 2)
		http_call_cancel(calls[i]);
	for (int i = 0; i < 1000 && (open = http_server_active(w.server)) > CALLS / 2; i++)
		http_peer_turn(w.loop, 5);
	assert_int_equal(open, CALLS / 2);
	finish(&w);
}

/* --- http_call_wait: the server has a thread of its own --- */

static void
stop(void *arg)
{
	loop_stop(arg);
}

static void *
serve(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void
test_wait(void **state)
{
	AUTO_FINI(buf_fini) struct buf out = { 0 };
	struct http_call_opts o = { .on_data = on_data };
	char url[200];
	struct err e = { 0 };
	struct world server, w = { 0 };
	pthread_t thread;

	(void)state;
	start(&server, true);
	assert_int_equal(pthread_create(&thread, NULL, serve, server.loop), 0);
	o.url = url;
	(void)snprintf(url, sizeof url, "%s/big", server.url);
	assert_int_equal(http_call_wait(&o, &out, &w, &e), 200);
	assert_int_equal(w.got, BIG);
	assert_int_equal(out.n, 0);
	(void)snprintf(url, sizeof url, "%s/x", server.url); /* an error is no data */
	w.got = 0;
	assert_int_equal(http_call_wait(&o, &out, &w, &e), 404);
	assert_int_equal(w.got, 0);
	assert_string_equal(out.p, "no /x");
	buf_clear(&out);
	o.on_data = NULL;
	o.read = on_read;
	w.to_send = 12345;
	(void)snprintf(url, sizeof url, "%s/echo", server.url);
	assert_int_equal(http_call_wait(&o, &out, &w, &e), 200);
	assert_int_equal(out.n, 12345);
	(void)snprintf(url, sizeof url, "unix:%s/none:/", server.dir);
	assert_int_equal(http_call_wait(&o, &out, &w, &e), -1);
	assert_int_equal(e.code, ERR_SYSTEM);
	o.url = "gopher://x";
	assert_int_equal(http_call_wait(&o, &out, &w, &e), -1);
	assert_int_equal(e.code, ERR_INVALID);
	loop_post(server.loop, stop, server.loop);
	pthread_join(thread, NULL);
	finish(&server);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls_tcp),
		cmocka_unit_test(test_calls_unix),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_refused_options),
		cmocka_unit_test(test_streamed_request),
		cmocka_unit_test(test_both_ways_at_once),
		cmocka_unit_test(test_refused_stream),
		cmocka_unit_test(test_aborted_stream),
		cmocka_unit_test(test_paused_answer),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_client_freed_in_callback),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_stale_connection),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
