/* pinion-resolver as it runs, with sockets on 127.0.0.1 in place of the instances' and fake
 * servers behind it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "node/resolver_link.h"
#include "test/lib/ok.h"

struct world {
	char dir[64], control[96], names[96], servers[96];
	pid_t resolver, server[4];
	int udp, tcp; /* the instance's */
	struct sockaddr_in at;
};

enum { ANSWERS, SILENT, LIES };

static int
make_socket(int type, struct sockaddr_in *at)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t n = sizeof *at;

	assert_int_equal(bind(fd, (struct sockaddr *)at, sizeof *at), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)at, &n), 0);
	return fd;
}

/* Both kinds on one free port. */
static void
make_pair(int *udp, int *tcp, struct sockaddr_in *at)
{
	int i;

	for (i = 0; i < 100; i++) {
		*at = (struct sockaddr_in){ .sin_family = AF_INET,
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		*udp = make_socket(SOCK_DGRAM, at);
		*tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (bind(*tcp, (struct sockaddr *)at, sizeof *at) == 0 && listen(*tcp, 16) == 0)
			return;
		(void)close(*udp);
		(void)close(*tcp);
	}
	fail_msg("no port is free for both");
}

static void
start_resolver(struct world *w)
{
	AUTO(free)
	char *program = xasprintf("%s/pinion-resolver",
	    getenv("PINION_BUILDDIR") != NULL ? getenv("PINION_BUILDDIR") : ".");
	struct err e = { 0 };
	int fd = resolver_link_listen(w->control, &e);

	assert_ok(fd, &e);
	w->resolver = fork();
	if (w->resolver == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fd == 3)
			(void)fcntl(3, F_SETFD, 0);
		else
			(void)dup2(fd, 3);
		(void)execl(program, program, w->names, w->servers, NULL);
		_exit(99);
	}
	(void)close(fd);
}

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);

	(void)snprintf(w->dir, sizeof w->dir, "/tmp/test-resolver-XXXXXX");
	/* It gives up root and reads two files here. */
	if (mkdtemp(w->dir) == NULL || chmod(w->dir, 0755) < 0)
		return -1;
	(void)snprintf(w->control, sizeof w->control, "%s/control", w->dir);
	(void)snprintf(w->names, sizeof w->names, "%s/names", w->dir);
	(void)snprintf(w->servers, sizeof w->servers, "%s/resolv.conf", w->dir);
	make_pair(&w->udp, &w->tcp, &w->at);
	start_resolver(w);
	*state = w;
	return 0;
}

static void
stop(pid_t *pid, int signo)
{
	if (*pid <= 0)
		return;
	(void)kill(*pid, signo);
	(void)waitpid(*pid, NULL, 0);
	*pid = 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };
	int status = 0;
	size_t i;

	for (i = 0; i < ARRAY_LEN(w->server); i++)
		stop(&w->server[i], SIGKILL);
	if (w->resolver > 0) {
		(void)kill(w->resolver, SIGTERM);
		(void)waitpid(w->resolver, &status, 0);
	}
	(void)close(w->udp);
	(void)close(w->tcp);
	if (file_remove_tree(w->dir, &e) < 0)
		return -1;
	free(w);
	return status; /* a leak or another fault of the resolver's */
}

static void
add(struct world *w, const char *app)
{
	const struct resolver_who who = {
		.instance = "i-1", .app = app, .host = "Own-1", .address = "100.64.0.77"
	};
	struct err e = { 0 };

	assert_ok(resolver_link_add(w->control, &who, w->udp, w->tcp, &e), &e);
}

static void
set_names(struct world *w, const char *address)
{
	struct resolver_name v[] = { { "app1", "db.internal", address },
		{ "app1", "Web", "100.64.0.8" }, { "app1", "web", "100.64.0.9" },
		{ "app2", "secret.internal", "100.64.0.10" } };
	AUTO_FINI(buf_fini) struct buf lines = { 0 };
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		resolver_link_add_name(&lines, &v[i]);
	assert_ok(resolver_link_names(w->names, &lines, &e), &e);
}

/* --- a server: answers every A query with 198.51.100.7 --- */

static size_t
make_answer(uint8_t *p, size_t n, bool lies)
{
	static const uint8_t record[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 198, 51, 100, 7 };

	if (lies)
		p[0] ^= 0x55;
	p[2] |= 0x80;
	p[7] = 1;
	memcpy(p + n, record, sizeof record);
	if (lies)
		p[n + sizeof record - 1] = 66;
	return n + sizeof record;
}

static void
serve_udp(int fd, int manner)
{
	struct sockaddr_in from;
	socklen_t len = sizeof from;
	uint8_t p[1024];
	ssize_t n = recvfrom(fd, p, sizeof p - 32, 0, (struct sockaddr *)&from, &len);

	if (n < 12 || manner == SILENT)
		return;
	if (manner == LIES) {
		size_t m = make_answer(p, (size_t)n, true);

		(void)sendto(fd, p, m, 0, (struct sockaddr *)&from, len);
		p[0] ^= 0x55;
	}
	(void)sendto(fd, p, make_answer(p, (size_t)n, false), 0, (struct sockaddr *)&from, len);
}

static void
serve_tcp(int fd)
{
	int c = accept(fd, NULL, NULL);
	uint8_t p[1024];
	size_t m;
	ssize_t n;

	if (c < 0)
		return;
	n = recv(c, p, sizeof p - 32, 0);
	if (n > 14) {
		m = make_answer(p + 2, (size_t)n - 2, false);
		p[0] = (uint8_t)(m >> 8);
		p[1] = (uint8_t)m;
		/* In two parts. */
		(void)send(c, p, 5, MSG_NOSIGNAL);
		(void)usleep(20000);
		(void)send(c, p + 5, m - 3, MSG_NOSIGNAL);
	}
	(void)close(c);
}

static void
start_server(struct world *w, int i, int manner, char *out, size_t size)
{
	struct sockaddr_in at;
	int udp, tcp;

	make_pair(&udp, &tcp, &at);
	w->server[i] = fork();
	if (w->server[i] == 0) {
		struct pollfd p[2] = { { .fd = udp, .events = POLLIN },
			{ .fd = tcp, .events = POLLIN } };

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (poll(p, 2, -1) > 0) {
			if (p[0].revents != 0)
				serve_udp(udp, manner);
			if (p[1].revents != 0)
				serve_tcp(tcp);
		}
		_exit(0);
	}
	(void)close(udp);
	(void)close(tcp);
	(void)snprintf(out, size, "nameserver 127.0.0.1#%d\n", ntohs(at.sin_port));
}

static void
set_servers(struct world *w, const char *text)
{
	struct err e = { 0 };

	assert_ok(file_replace_fast(w->servers, text, strlen(text), 0644, &e), &e);
}

/* --- a client --- */

static size_t
make_query(const char *name, int type, uint8_t *p)
{
	size_t n = 12;

	memcpy(p, "\x12\x34\1\0\0\1\0\0\0\0\0\0", 12);
	while (*name != '\0') {
		size_t len = strcspn(name, ".");

		p[n++] = (uint8_t)len;
		memcpy(p + n, name, len);
		n += len;
		name += len + (name[len] == '.');
	}
	p[n++] = 0;
	p[n++] = 0;
	p[n++] = (uint8_t)type;
	p[n++] = 0;
	p[n++] = 1;
	return n;
}

/* "rcode/count/last address" of the answer. */
static void
describe(const uint8_t *p, ssize_t n, char *out, size_t size)
{
	if (n < 12)
		(void)snprintf(out, size, "none");
	else if (p[0] != 0x12 || p[1] != 0x34 || (p[2] & 0x80) == 0)
		(void)snprintf(out, size, "wrong");
	else if (p[7] == 0)
		(void)snprintf(out, size, "%d/0", p[3] & 15);
	else
		(void)snprintf(out, size, "%d/%d/%d.%d.%d.%d", p[3] & 15, p[7], p[n - 4], p[n - 3],
		    p[n - 2], p[n - 1]);
}

static void
ask_bytes(struct world *w, int type, const uint8_t *p, size_t n, char *out, size_t size)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	struct timeval limit = { .tv_sec = 15 };
	uint8_t answer[2048];
	ssize_t got = 0;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	assert_int_equal(connect(fd, (struct sockaddr *)&w->at, sizeof w->at), 0);
	if (type == SOCK_DGRAM) {
		assert_int_equal(send(fd, p, n, 0), n);
		got = recv(fd, answer, sizeof answer, 0);
		describe(answer, got, out, size);
	} else {
		uint8_t head[2] = { (uint8_t)(n >> 8), (uint8_t)n };
		size_t have = 0;

		assert_int_equal(send(fd, head, 2, 0), 2);
		assert_int_equal(send(fd, p, n, 0), n);
		while (have < 2 || have < (size_t)(answer[0] << 8 | answer[1]) + 2) {
			got = recv(fd, answer + have, sizeof answer - have, 0);
			if (got <= 0)
				break;
			have += (size_t)got;
		}
		describe(answer + 2, (ssize_t)have - 2, out, size);
	}
	(void)close(fd);
}

static void
expect(struct world *w, int type, const char *name, int rr, const char *wanted)
{
	uint8_t p[512];
	char text[64];

	ask_bytes(w, type, p, make_query(name, rr, p), text, sizeof text);
	if (strcmp(text, wanted) != 0)
		fail_msg("%s: %s instead of %s", name, text, wanted);
}

/* --- tests --- */

static void
own_names_are_answered(void **state)
{
	struct world *w = *state;
	char line[64];

	start_server(w, 0, ANSWERS, line, sizeof line);
	set_servers(w, line);
	set_names(w, "100.64.0.7");
	add(w, "app1");
	expect(w, SOCK_DGRAM, "DB.internal", 1, "0/1/100.64.0.7");
	expect(w, SOCK_STREAM, "db.internal", 1, "0/1/100.64.0.7");
	expect(w, SOCK_DGRAM, "db.internal", 28, "0/0");
	expect(w, SOCK_DGRAM, "own-1", 1, "0/1/100.64.0.77");
	expect(w, SOCK_STREAM, "OWN-1", 1, "0/1/100.64.0.77");
	expect(w, SOCK_DGRAM, "web", 1, "0/2/100.64.0.9");
	expect(w, SOCK_DGRAM, "web", 1, "0/2/100.64.0.8");
	expect(w, SOCK_DGRAM, "localhost", 1, "0/1/127.0.0.1");
	expect(w, SOCK_DGRAM, "x.apps.localhost", 1, "0/1/127.0.0.1");
	/* Another app's name is nothing to this one. */
	expect(w, SOCK_DGRAM, "secret.internal", 1, "0/1/198.51.100.7");
	set_names(w, "100.64.0.99");
	expect(w, SOCK_DGRAM, "db.internal", 1, "0/1/100.64.0.99");
}

static void
other_names_are_forwarded(void **state)
{
	struct world *w = *state;
	char silent[64], good[64], both[130];

	start_server(w, 0, SILENT, silent, sizeof silent);
	start_server(w, 1, LIES, good, sizeof good);
	(void)snprintf(
	    both, sizeof both, "# comment\nsearch x\nnameserver junk\n%s%s", silent, good);
	set_servers(w, good);
	add(w, "app1");
	expect(w, SOCK_DGRAM, "example.com", 1, "0/1/198.51.100.7");
	expect(w, SOCK_STREAM, "example.com", 1, "0/1/198.51.100.7");
	set_servers(w, both);
	expect(w, SOCK_DGRAM, "example.com", 1, "0/1/198.51.100.7");
}

static void
no_server_is_a_failure(void **state)
{
	struct world *w = *state;

	add(w, "app1");
	expect(w, SOCK_DGRAM, "example.com", 1, "2/0");
	expect(w, SOCK_STREAM, "example.com", 1, "2/0");
	set_servers(w, "nameserver 127.0.0.1#1\n");
	expect(w, SOCK_DGRAM, "example.com", 1, "2/0");
	expect(w, SOCK_STREAM, "example.com", 1, "2/0");
}

static void
junk_is_answered_or_dropped(void **state)
{
	struct world *w = *state;
	uint8_t p[64];
	char text[64];
	size_t n;

	set_names(w, "100.64.0.7");
	add(w, "app1");
	n = make_query("db.internal", 1, p);
	ask_bytes(w, SOCK_DGRAM, p, n - 3, text, sizeof text);
	assert_string_equal(text, "1/0");
	ask_bytes(w, SOCK_STREAM, p, n - 3, text, sizeof text);
	assert_string_equal(text, "1/0");
	p[2] = 0x28;
	ask_bytes(w, SOCK_DGRAM, p, n, text, sizeof text);
	assert_string_equal(text, "4/0");
	ask_bytes(w, SOCK_STREAM, p, 5, text, sizeof text);
	assert_string_equal(text, "none");
	expect(w, SOCK_DGRAM, "db.internal", 1, "0/1/100.64.0.7");
}

static void
instances_come_and_go(void **state)
{
	const struct resolver_who swapped = { .instance = "i-1", .app = "app1" };
	struct world *w = *state;
	AUTO_FINI(str_list_fini) struct str_list l = { 0 };
	struct err e = { 0 };

	set_names(w, "100.64.0.7");
	add(w, "app1");
	add(w, "app2");
	expect(w, SOCK_DGRAM, "secret.internal", 1, "0/1/100.64.0.10");
	assert_ok(resolver_link_list(w->control, &l, &e), &e);
	assert_int_equal(l.n, 1);
	assert_string_equal(l.v[0], "i-1");
	assert_ok(resolver_link_remove(w->control, "i-1", &e), &e);
	assert_ok(resolver_link_remove(w->control, "i-1", &e), &e);
	assert_ok(resolver_link_list(w->control, &l, &e), &e);
	assert_int_equal(l.n, 0);
	assert_int_equal(resolver_link_add(w->control, &swapped, w->tcp, w->udp, &e), -1);
	assert_int_equal(e.code, ERR_INVALID);
}

static void
a_dead_resolver_is_told(void **state)
{
	struct world *w = *state;
	AUTO_FINI(str_list_fini) struct str_list l = { 0 };
	struct err e = { 0 };

	add(w, "app1");
	stop(&w->resolver, SIGKILL);
	assert_int_equal(resolver_link_list(w->control, &l, &e), -1);
	assert_int_equal(e.code, ERR_BUSY);
	e = (struct err){ 0 };
	start_resolver(w);
	assert_ok(resolver_link_list(w->control, &l, &e), &e);
	assert_int_equal(l.n, 0);
	add(w, "app1");
	expect(w, SOCK_DGRAM, "localhost", 1, "0/1/127.0.0.1");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(own_names_are_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(other_names_are_forwarded, setup, teardown),
		cmocka_unit_test_setup_teardown(no_server_is_a_failure, setup, teardown),
		cmocka_unit_test_setup_teardown(junk_is_answered_or_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(instances_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dead_resolver_is_told, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
