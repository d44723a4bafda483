#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/http/http_conn.h"
#include "lib/loop/loop.h"
#include "test/unit/http_peer.h"

/* Listening, limits on connections, and the end of a server. */
struct world {
	struct loop *loop;
	struct http_server *server;
	char dir[32], path[64], address[72];
	struct http_req *req;
	size_t handled, closed;
	char peer_name[64];
};

static void
on_close(struct http_req *r, void *arg)
{
	struct world *w = arg;

	(void)r;
	w->req = NULL;
	w->closed++;
}

static void
handle(struct http_req *r, void *arg)
{
	struct world *w = arg;

	w->handled++;
	(void)snprintf(w->peer_name, sizeof w->peer_name, "%s", http_req_peer(r));
	if (strcmp(http_req_path(r), "/hold") == 0) {
		w->req = r;
		http_req_on_close(r, on_close, w);
		return;
	}
	http_req_reply_text(r, 200, "%s", http_req_path(r));
}

static void
start(struct world *w, const struct http_server_opts *opts)
{
	*w = (struct world){ .loop = loop_new() };
	w->server = http_server_new(w->loop, opts, handle, w);
	(void)snprintf(w->dir, sizeof w->dir, "/tmp/http-test-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	(void)snprintf(w->path, sizeof w->path, "%s/s", w->dir);
	(void)snprintf(w->address, sizeof w->address, "unix:%s", w->path);
}

static void
finish(struct world *w)
{
	http_server_free(w->server);
	loop_free(w->loop);
	(void)unlink(w->path);
	assert_int_equal(rmdir(w->dir), 0);
}

static void
listen_at(struct world *w, const char *address, mode_t mode)
{
	struct err e = { 0 };

	if (http_server_listen(w->server, address, mode, &e) < 0)
		fail_msg("%s", e.text);
}

static void
check_get(struct http_peer *p, const char *path)
{
	AUTO(free) char *text = xasprintf("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);

	http_peer_puts(p, text);
	http_peer_expect(p, path);
}

static void
test_unix_peer(void **state)
{
	struct http_peer p;
	struct world w;
	struct stat st;

	(void)state;
	start(&w, NULL);
	listen_at(&w, w.address, 0620);
	assert_int_equal(stat(w.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0620);
	http_peer_open(&p, w.loop, 0, w.path);
	check_get(&p, "/a");
	assert_string_equal(w.peer_name, "unix");
	http_peer_puts(&p, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
	http_peer_wait_n(w.loop, &w.handled, 2);
	http_peer_close(&p);
	http_peer_wait_n(w.loop, &w.closed, 1);
	finish(&w);
}

static void
test_tcp_peer(void **state)
{
	struct http_peer p;
	struct world w;

	(void)state;
	start(&w, NULL);
	listen_at(&w, "[::]:0", 0);
	http_peer_open(&p, w.loop, http_server_port(w.server), NULL);
	check_get(&p, "/a");
	assert_string_equal(w.peer_name, "127.0.0.1");
	http_peer_close(&p);
	finish(&w);
}

static void
leave_dead_socket(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 1), 0);
	close(fd);
}

static void
test_unix_paths(void **state)
{
	struct err e = { 0 };
	struct http_server *other;
	struct http_peer p;
	struct world w;
	struct stat st;
	int fd;

	(void)state;
	start(&w, NULL);
	leave_dead_socket(w.path);
	listen_at(&w, w.address, 0600); /* replaced */
	http_peer_open(&p, w.loop, 0, w.path);
	check_get(&p, "/a");
	http_peer_close(&p);
	other = http_server_new(w.loop, NULL, handle, &w);
	assert_int_equal(http_server_listen(other, w.address, 0600, &e), -1);
	assert_int_equal(e.code, ERR_CONFLICT);
	assert_non_null(strstr(e.text, "another process"));
	http_server_free(w.server);
	assert_int_equal(lstat(w.path, &st), -1); /* removed with its server */
	fd = open(w.path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(http_server_listen(other, w.address, 0600, &e), -1);
	assert_non_null(strstr(e.text, "not a socket"));
	assert_int_equal(unlink(w.path), 0);
	assert_int_equal(http_server_listen(other, w.address, 0600, &e), 0);
	assert_int_equal(unlink(w.path), 0);
	w.server = http_server_new(w.loop, NULL, handle, &w);
	listen_at(&w, w.address, 0600);
	http_server_free(other); /* leaves the newer socket alone */
	http_peer_open(&p, w.loop, 0, w.path);
	check_get(&p, "/b");
	http_peer_close(&p);
	finish(&w);
}

static void
test_refused_addresses(void **state)
{
	static const char *const v[] = { "", "8000", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x",
		"256.0.0.1:80", "unix:", "[::1:80" };
	AUTO(free) char *longest = xasprintf("unix:/tmp/%0200d", 1);
	struct err e = { 0 };
	struct world w;

	(void)state;
	start(&w, NULL);
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		e = (struct err){ 0 };
		if (http_server_listen(w.server, v[i], 0600, &e) == 0)
			fail_msg("\"%s\" was taken", v[i]);
		assert_int_equal(e.code, ERR_INVALID);
		assert_string_equal(e.field, "listen");
	}
	assert_int_equal(http_server_listen(w.server, longest, 0600, &e), -1);
	assert_int_equal(e.code, ERR_INVALID);
	assert_int_equal(http_server_listen(w.server, "unix:/nowhere/x/s", 0600, &e), -1);
	assert_int_equal(e.code, ERR_SYSTEM);
	assert_int_equal(http_server_port(w.server), 0);
	finish(&w);
}

static void
test_port_in_use(void **state)
{
	struct err e = { 0 };
	char address[32];
	struct world w;

	(void)state;
	start(&w, NULL);
	listen_at(&w, "127.0.0.1:0", 0);
	(void)snprintf(address, sizeof address, "127.0.0.1:%d", http_server_port(w.server));
	assert_int_equal(http_server_listen(w.server, address, 0, &e), -1);
	assert_int_equal(e.code, ERR_SYSTEM);
	assert_non_null(strstr(e.text, address));
	finish(&w);
}

static void
test_connections_max(void **state)
{
	const struct http_server_opts opts = { .connections_max = 2 };
	struct http_peer p[4];
	struct world w;

	(void)state;
	start(&w, &opts);
	listen_at(&w, "127.0.0.1:0", 0);
	for (int i = 0; i < 4; i++)
		http_peer_open(&p[i], w.loop, http_server_port(w.server), NULL);
	check_get(&p[0], "/a");
	check_get(&p[1], "/b");
	http_peer_puts(&p[2], "GET /c HTTP/1.1\r\nHost: h\r\n\r\n");
	http_peer_turn(w.loop, 30);
	assert_int_equal(p[2].in.n, 0);
	assert_int_equal(w.server->conn_n, 2);
	http_peer_close(&p[0]);
	http_peer_expect(&p[2], "/c");
	http_peer_close(&p[1]);
	check_get(&p[3], "/d");
	http_peer_close(&p[2]);
	http_peer_close(&p[3]);
	finish(&w);
}

/* Idle connections cannot keep others out; busy ones are left alone. */
static void
test_idle_ones_give_way(void **state)
{
	const struct http_server_opts opts = { .connections_max = 2 };
	struct http_peer busy, idle, late;
	struct world w;

	(void)state;
	start(&w, &opts);
	listen_at(&w, "127.0.0.1:0", 0);
	http_peer_open(&busy, w.loop, http_server_port(w.server), NULL);
	http_peer_open(&idle, w.loop, http_server_port(w.server), NULL);
	http_peer_puts(&busy, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
	check_get(&idle, "/a");
	http_peer_open(&late, w.loop, http_server_port(w.server), NULL);
	http_peer_puts(&late, "GET /b HTTP/1.1\r\nHost: h\r\n\r\n");
	http_peer_expect(&late, "/b");
	http_peer_expect_end(&idle);
	assert_int_equal(w.closed, 0);
	http_req_reply_text(w.req, 200, "done");
	http_peer_expect(&busy, "done");
	http_peer_close(&busy);
	http_peer_close(&idle);
	http_peer_close(&late);
	finish(&w);
}

static void
test_no_descriptors(void **state)
{
	struct rlimit was, small;
	struct http_peer p;
	struct world w;
	int last;

	(void)state;
	start(&w, NULL);
	listen_at(&w, "127.0.0.1:0", 0);
	http_peer_open(&p, w.loop, http_server_port(w.server), NULL);
	http_peer_puts(&p, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
	last = dup(0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	small = was;
	small.rlim_cur = (rlim_t)last;
	close(last);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
	http_peer_turn(w.loop, 30);
	assert_int_equal(p.in.n, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	http_peer_expect(&p, "/a"); /* tried again by itself */
	http_peer_close(&p);
	finish(&w);
}

static void
test_drain(void **state)
{
	struct http_peer idle, busy, slow, waiting;
	struct world w;

	(void)state;
	start(&w, NULL);
	listen_at(&w, w.address, 0600);
	http_peer_open(&idle, w.loop, 0, w.path);
	http_peer_open(&busy, w.loop, 0, w.path);
	http_peer_open(&slow, w.loop, 0, w.path);
	check_get(&idle, "/a");
	http_peer_puts(&busy, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
	http_peer_puts(&slow, "GET /s HTTP/1.1\r\n");
	http_peer_wait_n(w.loop, &w.handled, 2);
	http_peer_turn(w.loop, 5);
	/* In the backlog, its request already sent. */
	http_peer_open(&waiting, w.loop, 0, w.path);
	assert_int_equal(send(waiting.fd, "GET /w HTTP/1.1\r\nHost: h\r\n\r\n", 28, 0), 28);
	http_server_drain(w.server);
	assert_int_equal(access(w.path, F_OK), -1);
	http_peer_expect_end(&idle);
	http_peer_expect(&waiting, "/w");
	assert_int_equal(http_peer_count(&waiting, "Connection: close"), 1);
	http_peer_expect_end(&waiting);
	assert_int_equal(http_server_active(w.server), 1);
	http_req_reply_text(w.req, 200, "done");
	http_peer_expect(&busy, "Connection: close\r\n\r\ndone");
	http_peer_expect_end(&busy);
	http_peer_puts(&slow, "Host: h\r\n\r\n");
	http_peer_expect(&slow, "Connection: close\r\n\r\n/s");
	http_peer_expect_end(&slow);
	assert_int_equal(http_server_active(w.server), 0);
	assert_null(w.server->conns);
	http_server_drain(w.server);
	http_peer_close(&idle);
	http_peer_close(&busy);
	http_peer_close(&slow);
	http_peer_close(&waiting);
	finish(&w);
}

static void
test_free_tells_requests(void **state)
{
	struct http_peer p;
	struct world w;

	(void)state;
	start(&w, NULL);
	listen_at(&w, w.address, 0600);
	http_peer_open(&p, w.loop, 0, w.path);
	http_peer_puts(&p, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
	http_peer_wait_n(w.loop, &w.handled, 1);
	http_server_free(STEAL(w.server));
	assert_int_equal(w.closed, 1);
	http_peer_expect_end(&p);
	http_peer_close(&p);
	finish(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unix_peer),
		cmocka_unit_test(test_tcp_peer),
		cmocka_unit_test(test_unix_paths),
		cmocka_unit_test(test_refused_addresses),
		cmocka_unit_test(test_port_in_use),
		cmocka_unit_test(test_connections_max),
		cmocka_unit_test(test_idle_ones_give_way),
		cmocka_unit_test(test_no_descriptors),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_free_tells_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
