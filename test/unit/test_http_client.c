#include "lib/http/http_client.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/http/http_server.h"
#include "lib/loop/loop.h"
#include "test/unit/http_peer.h"

/* A server, a client and what happened, on one loop. */
struct world {
	struct loop *loop;
	struct http_server *server;
	struct http_client *client;
	char dir[32], address[64], url[128];
	struct http_call *call;
	bool is_done;
	int ends, status, head_status;
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
handle(struct http_req *r, void *arg)
{
	struct world *w = arg;
	const char *path = http_req_path(r);

	if (strcmp(path, "/echo") == 0)
		http_req_read_all(r, 1 << 20, echo, w);
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
}

static void
begin(struct world *w, struct http_call_opts o, const char *path)
{
	AUTO(free) char *url = xasprintf("%s%s", w->url, path);
	struct err e = { 0 };

	o.url = url;
	w->is_done = false;
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
	assert_int_equal(w.ends, 4);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls_tcp),
		cmocka_unit_test(test_calls_unix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
