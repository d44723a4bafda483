#include "lib/http/http_server.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "test/unit/http_peer.h"

/* One server and one peer on one loop. */
struct world {
	struct loop *loop;
	struct http_server *server;
	struct http_peer peer;
	struct http_req *held; /* of the handlers that answer later */
	int handled, closed, drained, ends;
	bool was_closed, has_drained;
	size_t got, wrote;
	struct buf body;
	enum err_code read_error;
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

	if (e != NULL) {
		w->read_error = e->code;
		return;
	}
	http_req_reply(r, 200, NULL, body.p, body.n);
}

static void
handle(struct http_req *r, void *arg)
{
	struct world *w = arg;
	const char *path = http_req_path(r);

	w->handled++;
	http_req_on_close(r, on_close, w);
	if (strcmp(path, "/echo") == 0)
		http_req_read_all(r, 1000, echo, w);
	else if (strcmp(path, "/hold") == 0)
		w->held = r;
	else
		http_req_reply_text(r, 200, "%s|%s", path, http_req_query(r));
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
	buf_fini(&w->body);
}

static void
test_answers(void **state)
{
	struct world w;

	(void)state;
	start(&w, NULL);
	http_peer_puts(&w.peer, "GET /a%20b/c?x=1&y HTTP/1.1\r\nHost: h\r\n\r\n");
	http_peer_expect(&w.peer, "/a b/c|x=1&y");
	http_peer_forget(&w.peer);
	http_peer_puts(&w.peer, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
	http_peer_expect(&w.peer, "\r\n\r\nhello");
	http_peer_forget(&w.peer);
	http_peer_puts(&w.peer, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	http_peer_expect_end(&w.peer);
	assert_int_equal(w.handled, 3);
	assert_int_equal(w.closed, 0);
	finish(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
