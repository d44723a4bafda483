#include "lib/http/http_watch.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/http/http_server.h"
#include "lib/loop/loop.h"
#include "test/unit/http_peer.h"

/* --- lines --- */

struct gathered {
	struct buf text; /* each line in <> */
};

static void
gather(struct str line, void *arg)
{
	struct gathered *g = arg;

	buf_addf(&g->text, "<%.*s>", (int)line.n, line.p);
}

static void
test_lines(void **state)
{
	const char *text = "one\n\n\r\ntwo\r\nthree has more\n\nfour";
	size_t n = strlen(text);

	(void)state;
	for (size_t step = 1; step <= n; step++) {
		struct http_lines lines = { 0 };
		struct gathered g = { 0 };
		struct err e = { 0 };

		for (size_t i = 0; i < n; i += step)
			assert_int_equal(http_lines_feed(&lines, text + i,
			                     n - i < step ? n - i : step, 1000, gather, &g, &e),
			    0);
		assert_string_equal(g.text.p, "<one><two><three has more>");
		assert_int_equal(http_lines_feed(&lines, "\n", 1, 1000, gather, &g, &e), 0);
		assert_string_equal(g.text.p, "<one><two><three has more><four>");
		buf_fini(&g.text);
		http_lines_fini(&lines);
		http_lines_fini(&lines);
	}
}

static void
test_long_lines(void **state)
{
	static const char *const texts[] = { "12345678901\n", "12345678901", "ok\n12345678901" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		for (size_t step = 1; step < 20; step += 18) {
			struct http_lines lines = { 0 };
			struct gathered g = { 0 };
			struct err e = { 0 };
			size_t n = strlen(texts[i]);
			int rc = 0;

			for (size_t k = 0; k < n && rc == 0; k += step)
				rc = http_lines_feed(&lines, texts[i] + k,
				    n - k < step ? n - k : step, 10, gather, &g, &e);
			assert_int_equal(rc, -1);
			assert_int_equal(e.code, ERR_LIMIT);
			buf_fini(&g.text);
			http_lines_fini(&lines);
		}
	}
}

/* --- the watch --- */

struct world {
	struct loop *loop;
	struct http_server *server;
	struct http_client *client;
	struct http_watch *watch;
	char url[64], from[32];
	struct http_req *req; /* the feed under way, or NULL */
	int refuse_with;      /* status; 0: serve */
	size_t requests, lines, connects, losses;
	int64_t revision;
	bool refuses_line, cancels_in_line, cancels_in_state, ends_at_once, was_closed, needs_token;
	struct err err;
};

static void
on_close(struct http_req *r, void *arg)
{
	struct world *w = arg;

	(void)r;
	w->req = NULL;
	w->was_closed = true;
}

static void
handle(struct http_req *r, void *arg)
{
	struct world *w = arg;
	const char *from = http_req_param(r, "from");
	const char *token = http_req_header(r, "authorization");

	w->requests++;
	(void)snprintf(w->from, sizeof w->from, "%s", from == NULL ? "" : from);
	if (w->refuse_with != 0 || (w->needs_token && strcmp(token, "Bearer secret") != 0)) {
		http_req_reply_text(r, w->refuse_with, "go away\nreally");
		return;
	}
	http_req_begin(r, 200, NULL);
	if (w->ends_at_once) {
		http_req_end(r);
		return;
	}
	w->req = r;
	http_req_on_close(r, on_close, w);
}

static int64_t
from(void *arg)
{
	const struct world *w = arg;

	return w->revision;
}

static int
on_line(struct str line, void *arg)
{
	struct world *w = arg;
	struct err e = { 0 };

	w->lines++;
	if (w->refuses_line)
		return -1;
	assert_int_equal(str_to_i64(line, 0, INT64_MAX, "line", &w->revision, &e), 0);
	if (w->cancels_in_line)
		http_watch_cancel(STEAL(w->watch));
	return 0;
}

static void
on_state(bool connected, const struct err *e, void *arg)
{
	struct world *w = arg;

	if (connected)
		w->connects++;
	else
		w->losses++;
	if (e != NULL)
		w->err = *e;
	if (w->cancels_in_state)
		http_watch_cancel(STEAL(w->watch));
}

static void
start(struct world *w, struct http_watch_opts o)
{
	struct err e = { 0 };

	*w = (struct world){ .loop = loop_new() };
	w->server = http_server_new(w->loop, NULL, handle, w);
	w->client = http_client_new(w->loop);
	if (http_server_listen(w->server, "127.0.0.1:0", 0, &e) < 0)
		fail_msg("%s", e.text);
	(void)snprintf(
	    w->url, sizeof w->url, "http://127.0.0.1:%d/feed?node=a", http_server_port(w->server));
	o.url = w->url;
	w->watch = http_watch_start(w->loop, w->client, &o, from, on_line, on_state, w);
	assert_int_equal(w->requests, 0);
}

static void
finish(struct world *w)
{
	http_watch_cancel(w->watch);
	http_client_free(w->client);
	http_server_free(w->server);
	loop_free(w->loop);
}

static void
say(struct world *w, const char *text)
{
	size_t want = w->lines + 1;

	http_req_write(w->req, text, strlen(text));
	http_peer_wait_n(w->loop, &w->lines, want);
}

static void
test_resumes(void **state)
{
	struct world w;

	(void)state;
	start(&w, (struct http_watch_opts){ 0 });
	http_peer_wait_n(w.loop, &w.connects, 1);
	assert_string_equal(w.from, "");
	say(&w, "7\n");
	say(&w, "\n8\n");
	http_req_abort(STEAL(w.req)); /* cut */
	http_peer_wait_n(w.loop, &w.connects, 2);
	assert_int_equal(w.losses, 1);
	assert_string_equal(w.from, "8");
	say(&w, "9\n1");
	http_req_end(STEAL(w.req)); /* ended, in the middle of a line */
	http_peer_wait_n(w.loop, &w.connects, 3);
	assert_string_equal(w.from, "9");
	say(&w, "10\n");
	assert_int_equal(w.revision, 10);
	assert_int_equal(w.lines, 4);
	finish(&w);
}

static void
test_first_from_and_token(void **state)
{
	struct world w;

	(void)state;
	start(&w, (struct http_watch_opts){ .from = 42, .bearer = "secret" });
	w.needs_token = true;
	w.refuse_with = 0;
	http_peer_wait_n(w.loop, &w.connects, 1);
	assert_string_equal(w.from, "42");
	finish(&w);
}

static void
test_refused_line_reconnects(void **state)
{
	struct world w;

	(void)state;
	start(&w, (struct http_watch_opts){ 0 });
	http_peer_wait_n(w.loop, &w.connects, 1);
	w.refuses_line = true;
	say(&w, "1\n2\n3\n");
	http_peer_wait(w.loop, &w.was_closed);
	assert_int_equal(w.lines, 1); /* nothing after the refused one */
	w.refuses_line = false;
	http_peer_wait_n(w.loop, &w.connects, 2);
	say(&w, "5\n");
	finish(&w);
}

static void
test_refused_call_retries(void **state)
{
	struct world w;

	(void)state;
	start(&w, (struct http_watch_opts){ 0 });
	w.refuse_with = 503;
	http_peer_wait_n(w.loop, &w.losses, 3);
	assert_int_equal(w.connects, 0);
	assert_int_equal(w.err.code, ERR_BUSY);
	assert_non_null(strstr(w.err.text, "503: go away"));
	assert_null(strstr(w.err.text, "really"));
	w.refuse_with = 401;
	http_peer_wait_n(w.loop, &w.losses, 4);
	assert_int_equal(w.err.code, ERR_DENIED);
	w.refuse_with = 0;
	http_peer_wait_n(w.loop, &w.connects, 1);
	finish(&w);
}

/* A server that ends each feed at once is not asked without a pause. */
static void
test_backoff(void **state)
{
	struct world w;
	int64_t begin;

	(void)state;
	start(&w, (struct http_watch_opts){ 0 });
	w.ends_at_once = true;
	begin = loop_now_ms();
	http_peer_wait_n(w.loop, &w.requests, 5);
	assert_true(loop_now_ms() - begin >= 25 + 50 + 100 + 200);
	finish(&w);
}

static void
test_silence(void **state)
{
	struct world w;

	(void)state;
	start(&w, (struct http_watch_opts){ .silence_ms = 400 });
	http_peer_wait_n(w.loop, &w.connects, 1);
	for (int i = 0; i < 6; i++) { /* blank lines keep it */
		http_peer_turn(w.loop, 100);
		http_req_write(w.req, "\n", 1);
	}
	assert_int_equal(w.losses, 0);
	http_peer_wait_n(w.loop, &w.connects, 2);
	assert_int_equal(w.losses, 1);
	assert_int_equal(w.lines, 0);
	finish(&w);
}

static void
test_cancel(void **state)
{
	struct world w;

	(void)state;
	start(&w, (struct http_watch_opts){ 0 }); /* before it connects */
	finish(&w);
	start(&w, (struct http_watch_opts){ 0 }); /* while it waits to connect again */
	w.refuse_with = 500;
	http_peer_wait_n(w.loop, &w.losses, 1);
	finish(&w);
	start(&w, (struct http_watch_opts){ 0 });
	w.cancels_in_state = true;
	http_peer_wait_n(w.loop, &w.connects, 1);
	http_peer_wait(w.loop, &w.was_closed);
	assert_int_equal(w.losses, 0);
	finish(&w);
	start(&w, (struct http_watch_opts){ 0 });
	http_peer_wait_n(w.loop, &w.connects, 1);
	w.cancels_in_line = true;
	say(&w, "1\n2\n3");
	http_peer_wait(w.loop, &w.was_closed);
	assert_int_equal(w.lines, 1);
	assert_int_equal(w.losses, 0);
	http_watch_cancel(NULL);
	finish(&w);
	start(&w, (struct http_watch_opts){ 0 });
	w.refuse_with = 500;
	w.cancels_in_state = true;
	http_peer_wait_n(w.loop, &w.losses, 1);
	http_peer_turn(w.loop, 100);
	assert_int_equal(w.requests, 1);
	finish(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_resumes),
		cmocka_unit_test(test_first_from_and_token),
		cmocka_unit_test(test_refused_line_reconnects),
		cmocka_unit_test(test_refused_call_retries),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_cancel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
