#include "lib/http/http_conn.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "test/unit/http_peer.h"

enum { WRITE_MAX = 64 * 1024, PIECE = 8 * 1024 };

/* One server and one peer on one loop: bodies both ways, clients that vanish, buffers. */
struct world {
	struct loop *loop;
	struct http_server *server;
	struct http_peer peer;
	struct http_req *req; /* under way, or NULL */
	size_t left;          /* to be written */
	size_t got;           /* bytes of the body */
	size_t pause_at;      /* of the body; 0: never */
	int handled, closed, drained, body_ends;
	bool has_req, was_closed, has_ended, frees_server, is_filled;
	size_t queued_max;
};

static char piece[PIECE];

static void
on_close(struct http_req *r, void *arg)
{
	struct world *w = arg;

	assert_ptr_equal(r, w->req);
	w->req = NULL;
	w->closed++;
	w->was_closed = true;
}

static void
write_more(struct http_req *r, void *arg)
{
	struct world *w = arg;

	w->drained++;
	while (w->left > 0) {
		size_t n = w->left < PIECE ? w->left : PIECE;
		bool has_room = http_req_write(r, piece, n);

		w->left -= n;
		if (http_conn_queued(r->conn) > w->queued_max)
			w->queued_max = http_conn_queued(r->conn);
		if (!has_room) {
			w->is_filled = true;
			return;
		}
	}
	w->req = NULL;
	http_req_end(r);
}

static void
sink(struct http_req *r, const char *p, size_t n, void *arg)
{
	struct world *w = arg;

	(void)p;
	if (n == 0) {
		w->body_ends++;
		w->has_ended = true;
		w->req = NULL;
		http_req_reply_text(r, 200, "got %zu", w->got);
		return;
	}
	w->got += n;
	if (w->pause_at > 0 && w->got >= w->pause_at)
		http_req_pause(r, true);
}

static void
stop_early(struct http_req *r, const char *p, size_t n, void *arg)
{
	struct world *w = arg;

	(void)p;
	(void)n;
	w->req = NULL;
	http_req_reply_text(r, 422, "enough");
}

static void
abort_early(struct http_req *r, const char *p, size_t n, void *arg)
{
	struct world *w = arg;

	(void)p;
	(void)n;
	w->req = NULL;
	http_req_abort(r);
}

static void
handle(struct http_req *r, void *arg)
{
	struct world *w = arg;
	const char *path = http_req_path(r);

	w->handled++;
	w->req = r;
	w->has_req = true;
	http_req_on_close(r, on_close, w);
	if (strcmp(path, "/down") == 0) {
		http_req_on_drain(r, write_more, w);
		http_req_begin(r, 200, NULL);
		write_more(r, w);
	} else if (strcmp(path, "/up") == 0) {
		http_req_read(r, sink, w);
	} else if (strcmp(path, "/both") == 0) {
		http_req_begin(r, 200, NULL);
		http_req_write(r, "part", 4);
		http_req_read(r, sink, w);
	} else if (strcmp(path, "/enough") == 0) {
		http_req_read(r, stop_early, w);
	} else if (strcmp(path, "/abort-up") == 0) {
		http_req_read(r, abort_early, w);
	} else if (strcmp(path, "/begin") == 0) {
		http_req_begin(r, 200, NULL);
		http_req_write(r, "part", 4);
	} else if (strcmp(path, "/free") == 0) {
		http_server_free(STEAL(w->server));
	} else if (strcmp(path, "/hold") != 0) {
		w->req = NULL;
		http_req_reply_text(r, 200, "%s", path);
	}
}

static void
open_peer(struct world *w)
{
	const int small = 16 * 1024;

	http_peer_open(&w->peer, w->loop, http_server_port(w->server), NULL);
	(void)setsockopt(w->peer.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
}

static void
start(struct world *w)
{
	const struct http_server_opts opts = { .write_max = WRITE_MAX };
	struct err e = { 0 };

	*w = (struct world){ .loop = loop_new() };
	w->server = http_server_new(w->loop, &opts, handle, w);
	if (http_server_listen(w->server, "127.0.0.1:0", 0, &e) < 0)
		fail_msg("%s", e.text);
	open_peer(w);
}

static void
finish(struct world *w)
{
	http_peer_close(&w->peer);
	http_server_free(w->server);
	loop_free(w->loop);
}

static void
reopen(struct world *w)
{
	http_peer_close(&w->peer);
	w->was_closed = w->has_req = false;
	open_peer(w);
}

static void
get(struct world *w, const char *path)
{
	AUTO(free) char *text = xasprintf("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);

	http_peer_puts(&w->peer, text);
}

static void
test_slow_reader(void **state)
{
	const size_t size = 32 * 1024 * 1024;
	struct world w;
	size_t left;

	(void)state;
	start(&w);
	w.left = size;
	http_peer_stop_reading(&w.peer, true);
	get(&w, "/down");
	http_peer_wait(w.loop, &w.is_filled);
	left = w.left;
	for (int quiet = 0; quiet < 20; left = w.left) { /* until the kernel takes no more */
		http_peer_turn(w.loop, 5);
		quiet = w.left == left ? quiet + 1 : 0;
	}
	assert_true(left > size / 2);
	assert_non_null(w.req);
	assert_in_range(w.req->conn->out.cap, 1, 4 * WRITE_MAX);
	http_peer_stop_reading(&w.peer, false);
	http_peer_expect_n(&w.peer, size);
	http_peer_expect(&w.peer, "HTTP/1.1 200");
	for (int i = 0; i < 1000 && memcmp(w.peer.in.p + w.peer.in.n - 5, "0\r\n\r\n", 5) != 0; i++)
		http_peer_turn(w.loop, 5);
	assert_memory_equal(w.peer.in.p + w.peer.in.n - 5, "0\r\n\r\n", 5);
	assert_in_range(w.queued_max, WRITE_MAX, WRITE_MAX + PIECE + 20);
	assert_true(w.drained > 10);
	assert_int_equal(w.closed, 0);
	finish(&w);
}

static void
test_paused_upload(void **state)
{
	const size_t size = 8 * 1024 * 1024;
	AUTO(free) char *body = xcalloc(1, size);
	AUTO(free)
	char *head = xasprintf("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", size);
	struct world w;
	size_t sent = 0;

	(void)state;
	start(&w);
	w.pause_at = 1000;
	http_peer_puts(&w.peer, head);
	for (int quiet = 0; quiet < 20;) { /* until nothing more fits in */
		ssize_t n = send(w.peer.fd, body, size - sent, MSG_NOSIGNAL);

		quiet = n > 0 ? 0 : quiet + 1;
		sent += n > 0 ? (size_t)n : 0;
		http_peer_turn(w.loop, 2);
	}
	assert_true(sent < size);
	assert_in_range(w.got, 1000, 200 * 1024);
	assert_in_range(w.req->conn->in.cap, 0, 200 * 1024);
	w.pause_at = 0;
	http_req_pause(w.req, false);
	http_peer_send(&w.peer, body, size - sent);
	http_peer_expect(&w.peer, "got 8388608");
	assert_int_equal(w.body_ends, 1);
	finish(&w);
}

static void
test_chunked_upload(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	http_peer_puts(
	    &w.peer, "POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 300; i++) {
		AUTO(free) char *size = xasprintf("%x\r\n", PIECE);

		http_peer_puts(&w.peer, size);
		http_peer_send(&w.peer, piece, PIECE);
		http_peer_puts(&w.peer, "\r\n");
	}
	http_peer_turn(w.loop, 20);
	assert_int_equal(w.got, 300 * PIECE); /* as it comes, not at the end */
	assert_false(w.has_ended);
	http_peer_puts(&w.peer, "0\r\n\r\n");
	http_peer_expect(&w.peer, "got 2457600");
	get(&w, "/next");
	http_peer_expect(&w.peer, "/next");
	finish(&w);
}

static void
test_early_answers(void **state)
{
	AUTO(free) char *body = xcalloc(1, 1 << 20);
	struct world w;

	(void)state;
	start(&w);
	/* A small rest of the body is skipped, and the connection goes on. */
	http_peer_puts(
	    &w.peer, "POST /enough HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
	http_peer_send(&w.peer, body, 50000);
	http_peer_expect(&w.peer, "enough");
	http_peer_send(&w.peer, body, 50000);
	get(&w, "/next");
	http_peer_expect(&w.peer, "/next");
	/* A large one costs it, but not the answer. */
	reopen(&w);
	http_peer_puts(
	    &w.peer, "POST /enough HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n");
	for (int i = 0; i < 3; i++)
		http_peer_send(&w.peer, body, 1 << 20);
	http_peer_expect(&w.peer, "enough");
	http_peer_expect_end(&w.peer);
	assert_false(w.peer.was_reset);
	/* An endless chunked one is not skipped for ever. */
	reopen(&w);
	http_peer_puts(&w.peer,
	    "POST /enough HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n");
	for (int i = 0; i < 3; i++)
		http_peer_send(&w.peer, body, 1 << 20);
	http_peer_expect(&w.peer, "enough");
	http_peer_expect_end(&w.peer);
	finish(&w);
}

static void
test_truncated_bodies(void **state)
{
	static const char *const heads[] = {
		"POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc",
		"POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
		"POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
		"chunked\r\n\r\n3\r\nabc\r\n0\r\n",
	};
	struct world w;

	(void)state;
	start(&w);
	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		reopen(&w);
		w.got = 0;
		http_peer_puts(&w.peer, heads[i]);
		http_peer_wait_n(w.loop, &w.got, 3);
		shutdown(w.peer.fd, SHUT_WR);
		http_peer_wait(w.loop, &w.was_closed);
	}
	assert_int_equal(w.body_ends, 0);
	assert_int_equal(w.closed, ARRAY_LEN(heads));
	assert_int_equal(http_server_active(w.server), 0);
	finish(&w);
}

/* A second answer would be taken for a part of the first. */
static void
test_broken_body_of_a_begun_answer(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	http_peer_puts(
	    &w.peer, "POST /both HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
	http_peer_expect(&w.peer, "part");
	http_peer_puts(&w.peer, "1\r\nabc\r\n");
	http_peer_expect_end(&w.peer);
	assert_int_equal(w.closed, 1);
	assert_int_equal(http_peer_count(&w.peer, "HTTP/1.1 "), 1);
	assert_int_equal(http_peer_count(&w.peer, "0\r\n\r\n"), 0);
	finish(&w);
}

static void
test_bodies_that_nobody_wants(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	/* Malformed behind what was read: the answer stands, the connection ends. */
	http_peer_puts(&w.peer,
	    "POST /enough HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na");
	http_peer_expect(&w.peer, "enough");
	http_peer_puts(&w.peer, "bc\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n");
	http_peer_expect_end(&w.peer);
	assert_int_equal(http_peer_count(&w.peer, "HTTP/1.1 "), 1);
	/* Cut there. */
	reopen(&w);
	http_peer_puts(&w.peer, "POST /enough HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab");
	http_peer_expect(&w.peer, "enough");
	shutdown(w.peer.fd, SHUT_WR);
	http_peer_expect_end(&w.peer);
	http_peer_turn(w.loop, 5);
	assert_null(w.server->conns);
	finish(&w);
}

static void
vanish(struct world *w, bool resets)
{
	const struct linger hard = { .l_onoff = 1 };

	if (resets)
		setsockopt(w->peer.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	http_peer_close(&w->peer);
	http_peer_wait(w->loop, &w->was_closed);
}

static void
test_vanishing_clients(void **state)
{
	static const char *const paths[] = { "/hold", "/begin", "/down" };
	struct world w;

	(void)state;
	start(&w);
	for (size_t i = 0; i < 2 * ARRAY_LEN(paths); i++) {
		reopen(&w);
		w.left = 1 << 30;
		http_peer_stop_reading(&w.peer, true);
		get(&w, paths[i / 2]);
		http_peer_wait(w.loop, &w.has_req);
		http_peer_turn(w.loop, 5);
		vanish(&w, i % 2 == 1);
		assert_int_equal(w.closed, i + 1);
		assert_int_equal(http_server_active(w.server), 0);
	}
	/* While the body is paused. */
	reopen(&w);
	w.pause_at = 1;
	http_peer_puts(&w.peer, "POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
	http_peer_wait_n(w.loop, &w.got, 3);
	vanish(&w, true);
	assert_null(w.server->conns);
	finish(&w);
}

static void
test_half_closed_before_the_answer_was_read(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	get(&w, "/a");
	get(&w, "/b");
	shutdown(w.peer.fd, SHUT_WR);
	http_peer_expect(&w.peer, "/b");
	http_peer_expect_end(&w.peer);
	assert_int_equal(http_peer_count(&w.peer, "HTTP/1.1 200"), 2);
	finish(&w);
}

static void
test_aborts(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	get(&w, "/begin");
	http_peer_expect(&w.peer, "part");
	http_req_abort(STEAL(w.req));
	http_peer_expect_end(&w.peer);
	assert_int_equal(http_peer_count(&w.peer, "0\r\n\r\n"), 0);
	reopen(&w);
	http_peer_puts(&w.peer, "GET /begin HTTP/1.0\r\n\r\n");
	http_peer_expect(&w.peer, "part");
	http_req_abort(STEAL(w.req));
	http_peer_expect_end(&w.peer);
	assert_true(w.peer.was_reset);
	reopen(&w);
	http_peer_puts(
	    &w.peer, "POST /abort-up HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nab");
	http_peer_expect_end(&w.peer);
	assert_int_equal(w.closed, 0);
	finish(&w);
}

/* A client that keeps the server busy does not keep others waiting. */
static void
test_fairness(void **state)
{
	enum { CHUNKS = 200000 };
	AUTO_FINI(buf_fini) struct buf chunks = { 0 };
	struct http_peer other;
	struct world w;

	(void)state;
	start(&w);
	http_peer_open(&other, w.loop, http_server_port(w.server), NULL);
	http_peer_puts(
	    &w.peer, "POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
	http_peer_wait(w.loop, &w.has_req);
	for (int i = 0; i < CHUNKS; i++)
		buf_adds(&chunks, "1\r\nx\r\n");
	http_peer_send(&w.peer, chunks.p, chunks.n);
	http_peer_puts(&other, "GET /other HTTP/1.1\r\nHost: h\r\n\r\n");
	http_peer_expect(&other, "/other");
	assert_in_range(w.got, 0, CHUNKS - 1);
	http_peer_puts(&w.peer, "0\r\n\r\n");
	http_peer_expect(&w.peer, "got 200000");
	http_peer_close(&other);
	finish(&w);
}

static void
test_stalled_reader_is_cut(void **state)
{
	const struct http_server_opts opts = { .body_timeout_ms = 60, .write_max = WRITE_MAX };
	struct err e = { 0 };
	struct world w;

	(void)state;
	start(&w);
	http_server_free(w.server);
	http_peer_close(&w.peer);
	w.server = http_server_new(w.loop, &opts, handle, &w);
	assert_int_equal(http_server_listen(w.server, "127.0.0.1:0", 0, &e), 0);
	open_peer(&w);
	http_peer_stop_reading(&w.peer, true);
	w.left = 1 << 30;
	get(&w, "/down");
	http_peer_wait(w.loop, &w.was_closed);
	assert_null(w.server->conns);
	finish(&w);
}

/* What waits and what is idle costs no buffer. */
static void
test_idle_connections_hold_no_buffers(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	get(&w, "/x");
	http_peer_expect(&w.peer, "/x");
	http_peer_turn(w.loop, 5);
	assert_non_null(w.server->conns);
	assert_null(w.server->conns->in.p);
	assert_null(w.server->conns->out.p);
	assert_null(w.server->conns->req);
	assert_int_equal(w.server->conns->state, HTTP_CONN_HEAD);
	get(&w, "/hold");
	http_peer_wait(w.loop, &w.has_req);
	http_peer_turn(w.loop, 5);
	assert_null(w.server->conns->in.p);
	assert_null(w.server->conns->out.p);
	print_message("# %zu bytes a connection\n", sizeof(struct http_conn));
	finish(&w);
}

static void
test_server_freed_by_a_handler(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	get(&w, "/free");
	http_peer_expect_end(&w.peer);
	assert_int_equal(w.closed, 1);
	finish(&w);
}

static void
test_many_connections(void **state)
{
	enum { CONNECTIONS = 100, REQUESTS = 20 };
	struct http_peer peers[CONNECTIONS];
	struct world w;

	(void)state;
	start(&w);
	for (int i = 0; i < CONNECTIONS; i++)
		http_peer_open(&peers[i], w.loop, http_server_port(w.server), NULL);
	for (int k = 0; k < REQUESTS; k++) {
		for (int i = 0; i < CONNECTIONS; i++)
			http_peer_puts(&peers[i], "GET /m HTTP/1.1\r\nHost: h\r\n\r\n");
		for (int i = 0; i < CONNECTIONS; i++) {
			http_peer_expect(&peers[i], "/m");
			http_peer_forget(&peers[i]);
		}
	}
	assert_int_equal(w.handled, CONNECTIONS * REQUESTS);
	for (int i = 0; i < CONNECTIONS; i++)
		http_peer_close(&peers[i]);
	finish(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_paused_upload),
		cmocka_unit_test(test_chunked_upload),
		cmocka_unit_test(test_early_answers),
		cmocka_unit_test(test_truncated_bodies),
		cmocka_unit_test(test_broken_body_of_a_begun_answer),
		cmocka_unit_test(test_bodies_that_nobody_wants),
		cmocka_unit_test(test_vanishing_clients),
		cmocka_unit_test(test_half_closed_before_the_answer_was_read),
		cmocka_unit_test(test_aborts),
		cmocka_unit_test(test_fairness),
		cmocka_unit_test(test_stalled_reader_is_cut),
		cmocka_unit_test(test_idle_connections_hold_no_buffers),
		cmocka_unit_test(test_server_freed_by_a_handler),
		cmocka_unit_test(test_many_connections),
	};

	memset(piece, 'p', sizeof piece);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
