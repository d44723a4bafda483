#include "lib/http/http_server.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "test/unit/http_peer.h"

/* One server and one peer on one loop: what goes over the wire. */
struct world {
	struct loop *loop;
	struct http_server *server;
	struct http_peer peer;
	struct http_req *held; /* of the handler that answers later */
	int handled, closed;
	bool is_held, was_closed;
	enum err_code read_error;
	bool replies_to_error;
};

static void
on_close(struct http_req *r, void *arg)
{
	struct world *w = arg;

	if (w->held == r)
		w->held = NULL;
	w->closed++;
	w->was_closed = true;
}

static void
echo(struct http_req *r, struct str body, const struct err *e, void *arg)
{
	struct world *w = arg;

	if (e == NULL) {
		http_req_reply(r, 200, NULL, body.p, body.n);
		return;
	}
	w->read_error = e->code;
	if (w->replies_to_error)
		http_req_reply_text(r, 413, "{\"too\": \"large\"}");
}

static void
reply_fields(struct http_req *r)
{
	static const char *const headers[] = { "X-A: b\r\nX-Evil: c", "Content-Length: 999",
		"date: never", "Transfer-Encoding: x", "Location: /x", NULL };

	http_req_reply(r, 200, headers, "ab", 2);
}

static void
handle(struct http_req *r, void *arg)
{
	struct world *w = arg;
	const char *path = http_req_path(r);
	const char *x = http_req_param(r, "x");

	w->handled++;
	http_req_on_close(r, on_close, w);
	if (strcmp(path, "/echo") == 0) {
		http_req_read_all(r, 1000, echo, w);
	} else if (strcmp(path, "/hold") == 0) {
		w->held = r;
		w->is_held = true;
	} else if (strcmp(path, "/fields") == 0) {
		reply_fields(r);
	} else if (strcmp(path, "/stream") == 0) {
		http_req_begin(r, 200, NULL);
		http_req_write(r, "abc", 3);
		http_req_write(r, "", 0);
		http_req_write(r, "de", 2);
		http_req_end(r);
	} else if (strcmp(path, "/204") == 0) {
		http_req_reply(r, 204, NULL, NULL, 0);
	} else if (strcmp(path, "/param") == 0) {
		http_req_reply_text(r, 200, "x=%s", x == NULL ? "(none)" : x);
	} else if (strcmp(path, "/close") == 0) {
		http_req_reply(r, 200, (const char *const[]){ "Connection: close", NULL }, "x", 1);
	} else {
		http_req_reply_text(
		    r, 200, "%s|%s|%lld", path, http_req_query(r), (long long)http_req_length(r));
	}
}

static void
start(struct world *w, const struct http_server_opts *opts)
{
	struct err e = { 0 };

	*w = (struct world){ .loop = loop_new() };
	w->server = http_server_new(w->loop, opts, handle, w);
	if (http_server_listen(w->server, "127.0.0.1:0", 0, &e) < 0)
		fail_msg("%s", e.text);
	http_peer_open(&w->peer, w->loop, http_server_port(w->server), NULL);
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
	http_peer_open(&w->peer, w->loop, http_server_port(w->server), NULL);
}

struct exchange {
	const char *name, *request, *answer;
	bool ends; /* the connection, after it */
};

static const struct exchange exchanges[] = {
	{ "path and query", "GET /a%20b/c?x=1&y HTTP/1.1\r\nHost: h\r\n\r\n", "/a b/c|x=1&y|0",
	    false },
	{ "absolute target", "GET http://h?x HTTP/1.1\r\nHost: h\r\n\r\n", "\r\n\r\n/|x|0", false },
	{ "star", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "\r\n\r\n*||0", false },
	{ "unknown length",
	    "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "/||-1",
	    false },
	{ "parameter", "GET /param?y&=&%zz=1&x=a%2bb+c%26&x=2 HTTP/1.1\r\nHost: h\r\n\r\n",
	    "x=a+b c&", false },
	{ "empty parameter", "GET /param?x HTTP/1.1\r\nHost: h\r\n\r\n", "\r\n\r\nx=", false },
	{ "no parameter", "GET /param?X=1 HTTP/1.1\r\nHost: h\r\n\r\n", "x=(none)", false },
	{ "bad escape in a parameter", "GET /param?x=%zz HTTP/1.1\r\nHost: h\r\n\r\n", "x=(none)",
	    false },
	{ "bad escape in the path", "GET /%z HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400 ", true },
	{ "NUL in the path", "GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400 ", true },
	{ "body", "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
	    "\r\n\r\nhello", false },
	{ "empty body", "POST /echo HTTP/1.1\r\nHost: h\r\n\r\n", "Content-Length: 0\r\n\r\n",
	    false },
	{ "chunked body",
	    "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
	    "chunked\r\n\r\n3;x\r\nabc\r\n2\r\nde\r\n"
	    "0\r\nT: u\r\n\r\n",
	    "\r\n\r\nabcde", false },
	{ "malformed chunk",
	    "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
	    "HTTP/1.1 400 ", true },
	{ "body above the limit", "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\nx",
	    "HTTP/1.1 413 ", true },
	{ "chunk above the limit",
	    "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
	    "chunked\r\n\r\n3\r\nabc\r\n500\r\n",
	    NULL, false },
	{ "unread small body", "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
	    "/x||3", false },
	{ "unread large body", "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\nabc",
	    "/x||99999999", true },
	{ "HEAD", "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n", "Content-Length: 5\r\n\r\n", false },
	{ "HEAD of a stream", "HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n", "chunked\r\n\r\n",
	    false },
	{ "stream", "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n",
	    "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", false },
	{ "stream for HTTP/1.0", "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	    "Connection: close\r\n\r\nabcde", true },
	{ "HTTP/1.0", "GET /x HTTP/1.0\r\n\r\n", "Connection: close\r\n\r\n/x", true },
	{ "HTTP/1.0, kept", "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	    "Connection: keep-alive\r\n\r\n/x", false },
	{ "client closes", "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
	    "Connection: close\r\n\r\n/x", true },
	{ "handler closes", "GET /close HTTP/1.1\r\nHost: h\r\n\r\n", "Connection: close\r\n\r\nx",
	    true },
	{ "own fields", "GET /fields HTTP/1.1\r\nHost: h\r\n\r\n",
	    "X-A: b??X-Evil: c\r\nLocation: /x\r\nContent-Length: 2\r\n\r\nab", false },
	{ "bad head", "GET / HTTP/1.1\r\nHost : h\r\n\r\n", "HTTP/1.1 400 ", true },
	{ "smuggled length",
	    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
	    "HTTP/1.1 400 ", true },
	{ "other coding", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
	    "HTTP/1.1 501 ", true },
	{ "HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 505 ", true },
	{ "CONNECT", "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", "HTTP/1.1 501 ", true },
	{ "TLS", "\026\003\001\002", "HTTP/1.1 400 ", true },
	{ "blank line first", "\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n", "/x||0", false },
};

/* Sends it in pieces of step bytes on a connection of its own, and a next request behind it. */
static void
check_exchange(struct world *w, const struct exchange *t, size_t step)
{
	size_t n = strlen(t->request);

	reopen(w);
	for (size_t i = 0; i < n; i += step) {
		http_peer_send(&w->peer, t->request + i, n - i < step ? n - i : step);
		if (step < n)
			http_peer_step(w->loop);
		if (w->peer.at_end)
			break;
	}
	if (t->answer != NULL)
		http_peer_expect(&w->peer, t->answer);
	if (t->ends) {
		http_peer_expect_end(&w->peer);
		if (w->peer.was_reset)
			fail_msg("%s: reset", t->name);
	} else if (t->answer != NULL) {
		http_peer_puts(&w->peer, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
		http_peer_expect(&w->peer, "/next||0");
		assert_int_equal(http_peer_count(&w->peer, "HTTP/1.1 "), 2);
	}
}

static void
test_exchanges(void **state)
{
	struct world w;

	(void)state;
	start(&w, NULL);
	for (size_t i = 0; i < ARRAY_LEN(exchanges); i++)
		check_exchange(&w, &exchanges[i], 1 << 20);
	finish(&w);
}

static void
test_exchanges_byte_by_byte(void **state)
{
	struct world w;

	(void)state;
	start(&w, NULL);
	for (size_t i = 0; i < ARRAY_LEN(exchanges); i++)
		if (!exchanges[i].ends)
			check_exchange(&w, &exchanges[i], 1);
	finish(&w);
}

static void
test_too_large_is_told_once(void **state)
{
	struct world w;

	(void)state;
	start(&w, NULL);
	w.replies_to_error = true;
	http_peer_puts(&w.peer, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\n\r\n");
	http_peer_expect(&w.peer, "{\"too\": \"large\"}");
	http_peer_expect_end(&w.peer);
	assert_int_equal(w.read_error, ERR_LIMIT);
	assert_int_equal(w.closed, 0);
	assert_int_equal(http_peer_count(&w.peer, "HTTP/1.1 413 "), 1);
	finish(&w);
}

/* The answer must reach a client that still sends, and not be lost to a reset. */
static void
test_too_large_while_sending(void **state)
{
	AUTO(free) char *body = xcalloc(1, 1 << 20);
	struct world w;

	(void)state;
	start(&w, NULL);
	http_peer_puts(
	    &w.peer, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n");
	for (int i = 0; i < 4; i++)
		http_peer_send(&w.peer, body, 1 << 20);
	http_peer_expect(&w.peer, "HTTP/1.1 413 ");
	http_peer_expect_end(&w.peer);
	assert_false(w.peer.was_reset);
	finish(&w);
}

static void
test_chunks_above_the_limit(void **state)
{
	struct world w;

	(void)state;
	start(&w, NULL);
	http_peer_puts(
	    &w.peer, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 11; i++)
		http_peer_puts(&w.peer,
		    "64\r\n"
		    "0123456789012345678901234567890123456789012345678901234567890123"
		    "456789012345678901234567890123456789\r\n");
	http_peer_expect(&w.peer, "HTTP/1.1 413 ");
	http_peer_expect_end(&w.peer);
	assert_int_equal(w.read_error, ERR_LIMIT);
	finish(&w);
}

static void
test_pipelining(void **state)
{
	AUTO_FINI(buf_fini) struct buf requests = { 0 };
	AUTO_FINI(buf_fini) struct buf want = { 0 };
	const char *at;
	struct world w;

	(void)state;
	start(&w, NULL);
	buf_adds(&requests, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
	for (int i = 0; i < 500; i++)
		buf_addf(&requests,
		    "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n<%04d>", i);
	http_peer_send(&w.peer, requests.p, requests.n);
	http_peer_wait(w.loop, &w.is_held);
	http_peer_turn(w.loop, 20);
	assert_int_equal(w.handled, 1);
	assert_int_equal(http_server_active(w.server), 1);
	http_req_reply_text(w.held, 200, "first");
	http_peer_expect(&w.peer, "<0499>");
	at = strstr(w.peer.in.p, "first");
	assert_non_null(at);
	for (int i = 0; i < 500; i++) {
		buf_clear(&want);
		buf_addf(&want, "<%04d>", i);
		at = strstr(at, want.p);
		assert_non_null(at);
	}
	assert_int_equal(w.handled, 501);
	assert_int_equal(http_server_active(w.server), 0);
	finish(&w);
}

static void
test_huge_heads(void **state)
{
	const struct http_server_opts opts = { .head_max = 2000 };
	AUTO(free) char *pad = xcalloc(1, 4001);
	struct world w;

	(void)state;
	memset(pad, 'x', 4000);
	start(&w, &opts);
	http_peer_puts(&w.peer, "GET / HTTP/1.1\r\nHost: h\r\nA: ");
	http_peer_puts(&w.peer, pad);
	http_peer_expect(&w.peer, "HTTP/1.1 431 ");
	http_peer_expect_end(&w.peer);
	reopen(&w);
	http_peer_puts(&w.peer, "GET /");
	http_peer_puts(&w.peer, pad);
	http_peer_puts(&w.peer, " HTTP/1.1\r\nHost: h\r\n\r\n");
	http_peer_expect(&w.peer, "HTTP/1.1 431 ");
	reopen(&w);
	http_peer_puts(&w.peer, "GET / HTTP/1.1\r\nHost: h\r\n");
	for (int i = 0; i < 110; i++)
		http_peer_puts(&w.peer, "A: b\r\n");
	http_peer_puts(&w.peer, "\r\n");
	http_peer_expect(&w.peer, "HTTP/1.1 431 ");
	assert_int_equal(w.handled, 0);
	finish(&w);
}

static void
test_continue(void **state)
{
	struct world w;

	(void)state;
	start(&w, NULL);
	http_peer_puts(&w.peer, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
	                        "Expect: 100-continue\r\n\r\n");
	http_peer_expect(&w.peer, "HTTP/1.1 100 Continue\r\n\r\n");
	http_peer_puts(&w.peer, "hello");
	http_peer_expect(&w.peer, "\r\n\r\nhello");
	http_peer_forget(&w.peer);
	/* Not wanted: the final answer at once, and the connection ends. */
	http_peer_puts(&w.peer, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
	                        "Expect: 100-continue\r\n\r\n");
	http_peer_expect(&w.peer, "Connection: close");
	http_peer_expect_end(&w.peer);
	assert_int_equal(http_peer_count(&w.peer, "100 Continue"), 0);
	/* Too large: not asked for. */
	reopen(&w);
	http_peer_puts(&w.peer, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n"
	                        "Expect: 100-continue\r\n\r\n");
	http_peer_expect(&w.peer, "HTTP/1.1 413 ");
	http_peer_expect_end(&w.peer);
	assert_int_equal(http_peer_count(&w.peer, "100 Continue"), 0);
	/* The body came along: nothing to ask for. */
	reopen(&w);
	http_peer_puts(&w.peer, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
	                        "Expect: 100-continue\r\n\r\nhello");
	http_peer_expect(&w.peer, "\r\n\r\nhello");
	assert_int_equal(http_peer_count(&w.peer, "100 Continue"), 0);
	finish(&w);
}

static void
test_timeouts(void **state)
{
	const struct http_server_opts opts = {
		.idle_timeout_ms = 60, .head_timeout_ms = 40, .body_timeout_ms = 50
	};
	struct world w;

	(void)state;
	start(&w, &opts);
	http_peer_expect_end(&w.peer); /* idle: nothing said */
	assert_int_equal(w.peer.in.n, 0);
	reopen(&w);
	http_peer_puts(&w.peer, "GET / HTTP/1.1\r\nHos");
	http_peer_expect(&w.peer, "HTTP/1.1 408 ");
	http_peer_expect_end(&w.peer);
	assert_int_equal(w.closed, 0);
	reopen(&w);
	http_peer_puts(&w.peer, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
	http_peer_expect(&w.peer, "HTTP/1.1 408 ");
	http_peer_expect_end(&w.peer);
	assert_int_equal(w.closed, 1);
	/* A handler may take its time. */
	reopen(&w);
	http_peer_puts(&w.peer, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
	http_peer_wait(w.loop, &w.is_held);
	http_peer_turn(w.loop, 200);
	assert_false(w.peer.at_end);
	http_req_reply_text(w.held, 200, "late");
	http_peer_expect(&w.peer, "late");
	http_peer_expect_end(&w.peer); /* idle again */
	finish(&w);
}

/* Each byte comes in time, but the head as a whole does not. */
static void
test_dripping_head(void **state)
{
	const struct http_server_opts opts = { .head_timeout_ms = 100 };
	struct world w;

	(void)state;
	start(&w, &opts);
	http_peer_puts(&w.peer, "GET / HTTP/1.1\r\nHost: h\r\nA: ");
	for (int i = 0; i < 500 && w.peer.in.n == 0; i++) {
		http_peer_puts(&w.peer, "x");
		http_peer_turn(w.loop, 10);
	}
	http_peer_expect(&w.peer, "HTTP/1.1 408 ");
	finish(&w);
}

static void
test_server_name_and_date(void **state)
{
	const struct http_server_opts opts = { .server_name = "Pinion" };
	struct world w;

	(void)state;
	start(&w, &opts);
	http_peer_puts(&w.peer, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
	http_peer_expect(&w.peer, "\r\nServer: Pinion\r\n");
	http_peer_expect(&w.peer, " GMT\r\n");
	finish(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exchanges),
		cmocka_unit_test(test_exchanges_byte_by_byte),
		cmocka_unit_test(test_too_large_is_told_once),
		cmocka_unit_test(test_too_large_while_sending),
		cmocka_unit_test(test_chunks_above_the_limit),
		cmocka_unit_test(test_pipelining),
		cmocka_unit_test(test_huge_heads),
		cmocka_unit_test(test_continue),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_dripping_head),
		cmocka_unit_test(test_server_name_and_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
