#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/mem.h"
#include "node/listeners.h"

#define HEAD "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
#define TAIL " 00000000:00000000 00:00000000 00000000  1000        0 123 1 0 100 0 0 10 0\n"

static const struct {
	const char *name, *v4, *v6, *own, *address;
	int port; /* 0: none */
	bool is_any, is_loopback;
} cases[] = {
	{ "nothing", HEAD, HEAD, NULL, NULL, 0, false, false },
	{ "any address", HEAD "   0: 00000000:1F90 00000000:0000 0A" TAIL, "", NULL, "0.0.0.0",
	    8080, true, false },
	{ "loopback", HEAD "   0: 0100007F:0BB8 00000000:0000 0A" TAIL, "", NULL, "127.0.0.1", 3000,
	    false, true },
	{ "another loopback", HEAD "   0: 01FA007F:1F90 00000000:0000 0A" TAIL, "", NULL,
	    "127.0.250.1", 8080, false, true },
	{ "IPv6 any", HEAD,
	    HEAD "   0: 00000000000000000000000000000000:0BB8 "
	         "00000000000000000000000000000000:0000 0A" TAIL,
	    NULL, "::", 3000, true, false },
	{ "IPv4 in IPv6", HEAD,
	    HEAD "   0: 0000000000000000FFFF00000100007F:0BB8 "
	         "00000000000000000000000000000000:0000 0A" TAIL,
	    NULL, "127.0.0.1", 3000, false, true },
	{ "only ::1 is not reachable", HEAD,
	    HEAD "   0: 00000000000000000000000001000000:0BB8 "
	         "00000000000000000000000000000000:0000 0A" TAIL,
	    NULL, NULL, 0, false, false },
	{ "connections do not count", HEAD "   0: 0100007F:1F90 0100007F:1F91 01" TAIL, "", NULL,
	    NULL, 0, false, false },
	{ "the preferred one, not the lowest",
	    HEAD "   0: 00000000:0050 00000000:0000 0A" TAIL
	         "   1: 0100007F:1F90 00000000:0000 0A" TAIL,
	    "", NULL, "127.0.0.1", 8080, false, true },
	{ "else the lowest",
	    HEAD "   0: 00000000:1388 00000000:0000 0A" TAIL
	         "   1: 0100007F:0BB8 00000000:0000 0A" TAIL,
	    "", NULL, "127.0.0.1", 3000, false, true },
	{ "any address before loopback",
	    HEAD "   0: 0100007F:0BB8 00000000:0000 0A" TAIL
	         "   1: 00000000:0BB8 00000000:0000 0A" TAIL,
	    "", NULL, "0.0.0.0", 3000, true, false },
	{ "not the resolver",
	    HEAD "   0: 3500007F:0035 00000000:0000 0A" TAIL
	         "   1: 00000000:0BB8 00000000:0000 0A" TAIL,
	    "", NULL, "0.0.0.0", 3000, true, false },
	{ "the instance's own address", HEAD "   0: 02004064:0BB8 00000000:0000 0A" TAIL, "",
	    "100.64.0.2", "100.64.0.2", 3000, true, false },
	{ "junk",
	    "x\n0: :\n1: 0100007F:99999 00 0A\n2: 01:0BB8 0 0A\n3: 0100007F:0000 0 0A\n\n   \n",
	    "\n", NULL, NULL, 0, false, false },
};

static void
picks(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_FINI(listeners_fini) struct listeners l = { 0 };
		const struct listener_addr *a;

		listeners_parse(str_of(cases[i].v4), false, cases[i].own, &l);
		listeners_parse(str_of(cases[i].v6), true, cases[i].own, &l);
		a = listeners_pick(&l, 8080);
		assert_int_equal(listeners_unreachable(&l) != NULL,
		    strcmp(cases[i].name, "only ::1 is not reachable") == 0);
		if ((a == NULL) != (cases[i].port == 0))
			fail_msg("%s: %s", cases[i].name, a == NULL ? "none" : a->address);
		if (a == NULL)
			continue;
		assert_int_equal(a->port, cases[i].port);
		assert_string_equal(a->address, cases[i].address);
		assert_int_equal(a->is_any, cases[i].is_any);
		assert_int_equal(a->is_loopback, cases[i].is_loopback);
	}
}

static void
reads_this_process(void **state)
{
	AUTO_FINI(listeners_fini) struct listeners l = { 0 };
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct listener_addr *found;
	struct err e = { 0 };

	(void)state;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	if (listeners_read(getpid(), NULL, &l, &e) < 0)
		fail_msg("%s", e.text);
	found = listeners_pick(&l, ntohs(a.sin_port));
	assert_non_null(found);
	assert_int_equal(found->port, ntohs(a.sin_port));
	assert_true(found->is_loopback);
	(void)close(fd);
	assert_int_equal(listeners_read(999999999, NULL, &l, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(picks),
		cmocka_unit_test(reads_this_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
