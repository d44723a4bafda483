/* The server: a client sends the input in pieces, reads what comes, and goes. The first byte
 * chooses the size of pieces. Every request gets one answer or one on_close. */
#include "test/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/http/http_conn.h"
#include "lib/loop/loop.h"

struct world {
	struct loop *loop;
	struct http_server *server;
	struct http_req *held;
	int open; /* requests without an answer or on_close */
};

static void
on_close(struct http_req *r, void *arg)
{
	struct world *w = arg;

	if (w->held == r)
		w->held = NULL;
	w->open--;
}

static void
on_whole(struct http_req *r, struct str body, const struct err *e, void *arg)
{
	struct world *w = arg;

	w->open--;
	if (e == NULL)
		http_req_reply(r, 200, NULL, body.p, body.n);
}

static void
on_piece(struct http_req *r, const char *p, size_t n, void *arg)
{
	struct world *w = arg;

	http_req_write(r, p, n);
	if (n > 0)
		return;
	w->open--;
	http_req_end(r);
}

static void
handle(struct http_req *r, void *arg)
{
	struct world *w = arg;
	const char *path = http_req_path(r);

	w->open++;
	http_req_on_close(r, on_close, w);
	(void)http_req_param(r, "x");
	switch (path[0] == '\0' ? 0 : path[1]) {
	case 'a':
		http_req_read_all(r, 64, on_whole, w);
		return;
	case 'b':
		http_req_begin(r, 200, NULL);
		http_req_read(r, on_piece, w);
		return;
	case 'c':
		w->held = r;
		return;
	case 'd':
		w->open--;
		http_req_begin(r, 200, NULL);
		http_req_abort(r);
		return;
	default:
		w->open--;
		http_req_reply_text(r, path[0] == '/' ? 200 : 404, "%s", http_req_query(r));
		return;
	}
}

static void
set_flag(void *arg)
{
	*(bool *)arg = true;
}

/* Runs the loop over what is ready. */
static void
turn(struct world *w)
{
	bool done = false;

	loop_post(w->loop, set_flag, &done);
	check(loop_run_until(w->loop, &done, 10000));
}

static void
drop_answers(int fd)
{
	char chunk[4096];

	while (recv(fd, chunk, sizeof chunk, MSG_DONTWAIT) > 0)
		;
}

static void
talk(struct world *w, int fd, size_t step, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i += step) {
		if (send(fd, p + i, n - i < step ? n - i : step, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
		turn(w);
		turn(w);
		drop_answers(fd);
		if (w->held != NULL) {
			struct http_req *r = w->held;

			w->held = NULL;
			w->open--;
			http_req_reply_text(r, 200, "held");
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct http_server_opts opts = { .head_max = 512 };
	const struct sockaddr peer = { .sa_family = AF_UNIX };
	struct world w = { .loop = loop_new() };
	int pair[2];

	if (n < 1 || n > 4096 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
		loop_free(w.loop);
		return 0;
	}
	w.server = http_server_new(w.loop, &opts, handle, &w);
	http_conn_new(w.server, pair[0], &peer);
	talk(&w, pair[1], data[0] == 0 ? n : data[0] * 4u, data + 1, n - 1);
	close(pair[1]);
	turn(&w);
	turn(&w);
	check(w.server->conns == NULL || w.server->conns->state != HTTP_CONN_REQUEST);
	http_server_free(w.server);
	check(w.open == 0);
	loop_free(w.loop);
	return 0;
}
