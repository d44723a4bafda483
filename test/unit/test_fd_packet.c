#include "lib/base/fd_packet.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "test/lib/tree.h"

enum { SECONDS = 30 };

static char *dir;

static int
accept_one(int listener, pid_t *out_pid)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };

	assert_int_equal(poll(&p, 1, SECONDS * 1000), 1);
	return fd_packet_accept(listener, out_pid);
}

static void
nobody_listens(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(fd_packet_connect(dir, "none.sock", SECONDS, &e), -1);
	assert_int_equal(e.code, ERR_NONE);
}

static void
text_and_descriptor_arrive_together(void **state)
{
	struct err e = { 0 };
	struct stat st;
	AUTO(free) char *path = file_join(dir, "a.sock");
	char text[64], byte = 0;
	int listener = fd_packet_listen(dir, "a.sock", &e), client, server, got, ends[2];
	pid_t pid = 0;

	(void)state;
	assert_true(listener >= 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	client = fd_packet_connect(dir, "a.sock", SECONDS, &e);
	server = accept_one(listener, &pid);
	assert_true(client >= 0 && server >= 0);
	assert_int_equal(pid, getpid());

	assert_int_equal(pipe(ends), 0);
	assert_true(fd_packet_send(server, "with", ends[0]));
	assert_true(fd_packet_send(server, "without", -1));
	close(ends[0]);
	assert_int_equal(fd_packet_recv(client, text, sizeof text, &got), strlen("with"));
	assert_string_equal(text, "with");
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(read(got, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	close(got);
	close(ends[1]);
	assert_int_equal(fd_packet_recv(client, text, sizeof text, &got), strlen("without"));
	assert_string_equal(text, "without");
	assert_int_equal(got, -1);
	close(server);
	assert_int_equal(fd_packet_recv(client, text, sizeof text, &got), 0);
	close(client);
	close(listener);
}

static void
who_follows_listens_instead(void **state)
{
	struct err e = { 0 };
	int before = fd_packet_listen(dir, "b.sock", &e), after, client, server;
	struct pollfd p = { .fd = before, .events = POLLIN };
	pid_t pid;

	(void)state;
	after = fd_packet_listen(dir, "b.sock", &e);
	assert_true(before >= 0 && after >= 0);
	client = fd_packet_connect(dir, "b.sock", SECONDS, &e);
	server = accept_one(after, &pid);
	assert_true(client >= 0 && server >= 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	close(client);
	close(server);
	close(before);
	close(after);
}

static int
make_dir(void **state)
{
	(void)state;
	dir = tree_new();
	return 0;
}

static int
remove_dir(void **state)
{
	(void)state;
	tree_remove(dir);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(text_and_descriptor_arrive_together),
		cmocka_unit_test(who_follows_listens_instead),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
