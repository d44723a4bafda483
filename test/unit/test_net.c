/* Networks of instances with real namespaces, links and rules, under a tag of this process. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <nftables/libnftables.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/file.h"
#include "node/net.h"
#include "node/net_block.h"
#include "node/net_mnl.h"
#include "node/net_ns.h"
#include "node/net_rules.h"
#include "test/lib/ok.h"

struct world {
	char dir[64], tag[16], run[80], state[80];
	struct net *net;
	struct str_list allow;
	int64_t connections;
};

static void
open_net(struct world *w)
{
	struct net_opts o = { .tag = w->tag,
		.run_dir = w->run,
		.state_dir = w->state,
		.allow = &w->allow,
		.connections = w->connections };
	struct err e = { 0 };

	w->net = net_open(&o, &e);
	if (w->net == NULL)
		fail_msg("%s", e.text);
}

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);
	static unsigned count;

	(void)snprintf(w->dir, sizeof w->dir, "/tmp/test-net-XXXXXX");
	if (mkdtemp(w->dir) == NULL)
		return -1;
	(void)snprintf(
	    w->tag, sizeof w->tag, "%06x%x", (unsigned)getpid() & 0xffffffU, count++ & 0xfU);
	(void)snprintf(w->run, sizeof w->run, "%s/run", w->dir);
	(void)snprintf(w->state, sizeof w->state, "%s/state", w->dir);
	*state = w;
	open_net(w);
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };
	int rc = w->net == NULL ? 0 : net_destroy_all(w->net, &e);

	net_close(w->net);
	str_list_fini(&w->allow);
	if (file_remove_tree(w->dir, &e) < 0)
		rc = -1;
	free(w);
	return rc;
}

static struct net_link
attach(struct world *w, const char *instance, const char *app)
{
	struct net_link l = { 0 };
	struct err e = { 0 };

	assert_ok(net_attach(w->net, instance, app, 0, &l, &e), &e);
	return l;
}

/* --- processes inside --- */

static struct sockaddr_in
make_address(const char *address, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	assert_int_equal(inet_pton(AF_INET, address, &a.sin_addr), 1);
	return a;
}

static void
enter(struct world *w, const char *instance)
{
	char path[256];
	int fd;

	(void)snprintf(path, sizeof path, "%s/netns/%s", w->run, instance);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		_exit(99);
	(void)close(fd);
}

/* Answers each connection with the peer's address. */
static void
serve(int fd)
{
	for (;;) {
		struct sockaddr_in peer;
		socklen_t n = sizeof peer;
		char text[INET_ADDRSTRLEN] = "";
		int c = accept(fd, (struct sockaddr *)&peer, &n);

		if (c < 0)
			_exit(1);
		(void)inet_ntop(AF_INET, &peer.sin_addr, text, sizeof text);
		if (write(c, text, strlen(text)) < 0)
			_exit(1);
		(void)close(c);
	}
}

/* A listening server in the instance (NULL: here); ready when it returns. */
static pid_t
start_server(struct world *w, const char *instance, const char *address, int port)
{
	struct sockaddr_in a = make_address(address, port);
	int ready[2], on = 1;
	char c = 0;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fd;

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (instance != NULL)
			enter(w, instance);
		fd = socket(AF_INET, SOCK_STREAM, 0);
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 8) < 0 ||
		    write(ready[1], "x", 1) != 1)
			_exit(1);
		serve(fd);
	}
	(void)close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	(void)close(ready[0]);
	return pid;
}

static void
stop(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Connects and reads the answer; 0 or errno. */
static int
connect_here(const char *address, int port, char out[INET_ADDRSTRLEN], int timeout_ms)
{
	struct sockaddr_in a = make_address(address, port);
	AUTO(file_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int error = 0;
	socklen_t n = sizeof error;
	ssize_t got;

	if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0 && errno != EINPROGRESS)
		return errno;
	if (poll(&p, 1, timeout_ms) != 1)
		return ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 || error != 0)
		return error;
	p.events = POLLIN;
	if (poll(&p, 1, timeout_ms) != 1)
		return ETIMEDOUT;
	got = read(fd, out, INET_ADDRSTRLEN - 1);
	if (got < 0)
		return errno;
	out[got] = '\0';
	return 0;
}

static int
connect_from(struct world *w, const char *instance, const char *address, int port)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char peer[INET_ADDRSTRLEN];

		enter(w, instance);
		_exit(connect_here(address, port, peer, 5000));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* --- tests --- */

static void
host_reaches_instance(void **state)
{
	struct world *w = *state;
	struct net_link l = attach(w, "a0-1", "app1");
	pid_t pid = start_server(w, "a0-1", "0.0.0.0", 8080);
	char peer[INET_ADDRSTRLEN] = "";

	assert_int_equal(connect_here(l.address, 8080, peer, 5000), 0);
	assert_string_equal(peer, net_host_address(w->net));
	stop(pid);
}

static void
attach_twice_gives_the_same(void **state)
{
	struct world *w = *state;
	struct net_link a = attach(w, "a0-1", "app1"), b = attach(w, "a0-1", "app1");
	struct net_link c = attach(w, "a0-2", "app1");

	assert_string_equal(a.address, b.address);
	assert_string_not_equal(a.address, c.address);
}

static void
forward_reaches_what_listens(void **state)
{
	static const struct {
		const char *address, *to;
		int port;
	} cases[] = {
		{ "127.0.0.1", "127.0.0.1", 3000 },
		{ "127.0.250.1", "127.0.250.1", 8080 },
		{ "0.0.0.0", NULL, 5000 },
		{ "0.0.0.0", NULL, 80 },
		{ "127.0.0.1", "127.0.0.1", 8080 },
		{ "0.0.0.0", NULL, 8080 },
	};
	struct world *w = *state;
	struct net_link l = attach(w, "a0-1", "app1");
	struct err e = { 0 };
	size_t i;

	for (i = 0; i < ARRAY_LEN(cases); i++) {
		pid_t pid = start_server(w, "a0-1", cases[i].address, cases[i].port);
		char peer[INET_ADDRSTRLEN] = "";
		int rc;

		assert_ok(net_forward(w->net, "a0-1", cases[i].to, cases[i].port, &e), &e);
		rc = connect_here(l.address, 8080, peer, 5000);
		stop(pid);
		if (rc != 0)
			fail_msg("case %zu: %s", i, strerror(rc));
		assert_string_equal(peer, net_host_address(w->net));
	}
	assert_int_equal(net_forward(w->net, "none", NULL, 80, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void
only_its_application_is_reached(void **state)
{
	struct world *w = *state;
	struct net_link b, c;
	pid_t pb, pc;

	(void)attach(w, "a0-1", "app1");
	b = attach(w, "b0-1", "app1");
	c = attach(w, "c0-1", "app2");
	(void)attach(w, "d0-1", NULL);
	(void)attach(w, "d0-2", NULL);
	pb = start_server(w, "b0-1", "0.0.0.0", 8080);
	pc = start_server(w, "c0-1", "0.0.0.0", 8080);
	assert_int_equal(connect_from(w, "a0-1", b.address, 8080), 0);
	assert_int_not_equal(connect_from(w, "a0-1", c.address, 8080), 0);
	assert_int_not_equal(connect_from(w, "c0-1", b.address, 8080), 0);
	assert_int_not_equal(connect_from(w, "d0-1", b.address, 8080), 0);
	stop(pb);
	stop(pc);
}

static void
host_is_not_reached(void **state)
{
	struct world *w = *state;
	pid_t pid;

	(void)attach(w, "a0-1", "app1");
	pid = start_server(w, NULL, net_host_address(w->net), 18080);
	assert_int_not_equal(connect_from(w, "a0-1", net_host_address(w->net), 18080), 0);
	stop(pid);
	pid = start_server(w, NULL, "0.0.0.0", 18081);
	assert_int_not_equal(connect_from(w, "a0-1", net_host_address(w->net), 18081), 0);
	assert_int_not_equal(connect_from(w, "a0-1", "169.254.1.1", 18081), 0);
	stop(pid);
}

/* --- the world outside: a namespace behind a link of its own --- */

struct outside {
	struct net_mnl *mnl;
	int ns, veth;
	char path[128], name[16];
	/* Of this process: others may run the same test. */
	char gateway[16], world[16], private[16], allowed[16], range[32];
};

static uint32_t
ip(const char *s)
{
	struct in_addr a;

	assert_int_equal(inet_pton(AF_INET, s, &a), 1);
	return a.s_addr;
}

static int
open_inner(void *arg, struct err *e)
{
	struct net_mnl **m = arg;

	*m = net_mnl_open(e);
	return *m == NULL ? -1 : net_mnl_set_up(*m, 1, e);
}

static void
make_addresses(struct outside *o)
{
	int a = (int)getpid() >> 8 & 0xff, b = (int)getpid() & 0xff;

	(void)snprintf(o->gateway, sizeof o->gateway, "11.%d.%d.9", a, b);
	(void)snprintf(o->world, sizeof o->world, "11.%d.%d.1", a, b);
	(void)snprintf(o->private, sizeof o->private, "10.%d.%d.1", a, b);
	(void)snprintf(o->allowed, sizeof o->allowed, "172.20.%d.%d", a, b);
	(void)snprintf(o->range, sizeof o->range, "172.20.%d.%d/32", a, b);
}

static void
make_outside(struct world *w, struct outside *o)
{
	struct net_mnl_veth v = { .mac = { 2, 1 }, .peer_mac = { 2, 2 }, .group = 0 };
	struct net_mnl *in = NULL;
	struct err e = { 0 };
	int i;

	make_addresses(o);
	(void)snprintf(o->path, sizeof o->path, "%s/outside", w->dir);
	(void)snprintf(o->name, sizeof o->name, "px%s", w->tag);
	v.name = o->name;
	o->mnl = net_mnl_open(&e);
	o->ns = net_ns_make(o->path, open_inner, &in, &e);
	assert_ok(o->ns, &e);
	v.ns_fd = o->ns;
	assert_ok(net_mnl_add_veth(o->mnl, &v, &e), &e);
	o->veth = net_mnl_index(o->mnl, o->name);
	assert_ok(net_mnl_set_up(o->mnl, o->veth, &e), &e);
	i = net_mnl_index(in, "eth0");
	assert_ok(net_mnl_add_address(o->mnl, o->veth, ip(o->gateway), &e), &e);
	assert_ok(net_mnl_add_address(in, i, ip(o->world), &e), &e);
	assert_ok(net_mnl_add_address(in, i, ip(o->private), &e), &e);
	assert_ok(net_mnl_add_address(in, i, ip(o->allowed), &e), &e);
	assert_ok(net_mnl_set_up(in, i, &e), &e);
	assert_ok(net_mnl_add_neighbour(in, i, ip(o->gateway), v.mac, &e), &e);
	assert_ok(net_mnl_add_default_route(in, i, ip(o->gateway), &e), &e);
	assert_ok(net_mnl_add_neighbour(o->mnl, o->veth, ip(o->world), v.peer_mac, &e), &e);
	assert_ok(net_mnl_add_neighbour(o->mnl, o->veth, ip(o->private), v.peer_mac, &e), &e);
	assert_ok(net_mnl_add_neighbour(o->mnl, o->veth, ip(o->allowed), v.peer_mac, &e), &e);
	assert_ok(net_mnl_add_host_route(o->mnl, o->veth, ip(o->world), ip(o->gateway), &e), &e);
	assert_ok(net_mnl_add_host_route(o->mnl, o->veth, ip(o->private), ip(o->gateway), &e), &e);
	assert_ok(net_mnl_add_host_route(o->mnl, o->veth, ip(o->allowed), ip(o->gateway), &e), &e);
	net_mnl_close(in);
}

static void
remove_outside(struct outside *o)
{
	struct err e = { 0 };

	assert_ok(net_mnl_delete(o->mnl, o->veth, &e), &e);
	assert_ok(net_ns_unbind(o->path, &e), &e);
	(void)close(o->ns);
	net_mnl_close(o->mnl);
}

/* Answers on port 7000 out there. */
static pid_t
start_outside_server(struct outside *o)
{
	struct sockaddr_in a = make_address("0.0.0.0", 7000);
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		int fd;

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setns(o->ns, CLONE_NEWNET) < 0)
			_exit(1);
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 8) < 0 ||
		    write(ready[1], "x", 1) != 1)
			_exit(1);
		serve(fd);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	(void)close(ready[0]);
	(void)close(ready[1]);
	return pid;
}

static void
the_world_is_reached_but_no_private_range(void **state)
{
	struct world *w = *state;
	struct outside o;
	struct err e = { 0 };
	int world, private, allowed;
	pid_t pid;

	make_addresses(&o);
	net_close(w->net);
	str_list_add(&w->allow, o.range);
	open_net(w);
	(void)attach(w, "a0-1", "app1");
	make_outside(w, &o);
	pid = start_outside_server(&o);
	world = connect_from(w, "a0-1", o.world, 7000);
	private = connect_from(w, "a0-1", o.private, 7000);
	allowed = connect_from(w, "a0-1", o.allowed, 7000);
	stop(pid);
	remove_outside(&o);
	assert_int_equal(world, 0);
	assert_int_not_equal(private, 0);
	assert_int_equal(allowed, 0);
	w->net = (net_close(w->net), NULL);
	str_list_fini(&w->allow);
	str_list_add(&w->allow, "10.78.0.0/33");
	w->net = net_open(
	    &(struct net_opts){
	        .tag = w->tag, .run_dir = w->run, .state_dir = w->state, .allow = &w->allow },
	    &e);
	assert_null(w->net);
	assert_int_equal(e.code, ERR_INVALID);
	assert_string_equal(e.field, "allow[0]");
	str_list_fini(&w->allow);
	open_net(w);
}

static void
send_many(struct world *w, const char *instance, const char *to, int n)
{
	pid_t pid = fork();
	int status, i;

	if (pid == 0) {
		int fd;

		enter(w, instance);
		fd = socket(AF_INET, SOCK_DGRAM, 0);
		for (i = 0; i < n; i++) {
			struct sockaddr_in a = make_address(to, 20000 + i);

			(void)sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof a);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void
connections_are_counted(void **state)
{
	struct world *w = *state;
	struct outside o;
	int before, after, other;
	pid_t pid;

	net_close(w->net);
	w->connections = 50;
	open_net(w);
	(void)attach(w, "a0-1", "app1");
	(void)attach(w, "b0-1", "app1");
	make_outside(w, &o);
	pid = start_outside_server(&o);
	send_many(w, "a0-1", o.world, 20);
	before = connect_from(w, "a0-1", o.world, 7000);
	send_many(w, "a0-1", o.world, 200);
	after = connect_from(w, "a0-1", o.world, 7000);
	other = connect_from(w, "b0-1", o.world, 7000);
	stop(pid);
	remove_outside(&o);
	assert_int_equal(before, 0);
	assert_int_not_equal(after, 0);
	assert_int_equal(other, 0);
}

static void
a_new_daemon_adopts(void **state)
{
	struct world *w = *state;
	struct net_link a = attach(w, "a0-1", "app1"), b = attach(w, "b0-1", "app1"), again;
	pid_t pid = start_server(w, "b0-1", "127.0.0.1", 3000);
	char peer[INET_ADDRSTRLEN];
	struct err e = { 0 };

	assert_ok(net_forward(w->net, "b0-1", "127.0.0.1", 3000, &e), &e);
	net_close(w->net);
	assert_int_equal(connect_here(b.address, 8080, peer, 5000), 0);
	open_net(w);
	assert_int_equal(connect_here(b.address, 8080, peer, 5000), 0);
	assert_int_equal(connect_from(w, "a0-1", b.address, 8080), 0);
	again = attach(w, "a0-1", "app1");
	assert_string_equal(a.address, again.address);
	again = attach(w, "c0-1", "app1");
	assert_int_equal(connect_from(w, "c0-1", b.address, 8080), 0);
	assert_ok(net_forward(w->net, "b0-1", NULL, 8080, &e), &e);
	assert_int_not_equal(connect_here(b.address, 8080, peer, 5000), 0);
	stop(pid);
}

static void
half_made_ones_are_removed(void **state)
{
	struct world *w = *state;
	AUTO(free) char *orphan = net_ns_path(w->net, "lost-1");
	AUTO_FINI(net_link_list_fini) struct net_link_list list = { 0 };
	AUTO(net_mnl_close) struct net_mnl *in = NULL;
	AUTO(file_close) int ns = -1;
	struct net_link a = attach(w, "a0-1", "app1");
	struct err e = { 0 };

	ns = net_ns_make(orphan, open_inner, &in, &e);
	assert_ok(ns, &e);
	{
		AUTO(free) char *path = net_ns_path(w->net, "a0-1");

		/* As after a kill between the two. */
		assert_ok(net_ns_unbind(path, &e), &e);
	}
	net_close(w->net);
	open_net(w);
	assert_ok(net_list(w->net, &list, &e), &e);
	assert_int_equal(list.n, 0);
	(void)a;
}

/* The rate on both sides of the pair, as the kernel has it; "": none. */
static void
find_tbf(const char *ns, const char *link, char out[256])
{
	AUTO(free)
	char *command =
	    xasprintf("nsenter --net=%s tc qdisc show dev %s | grep -o 'tbf.*rate [^ ]*'",
	        ns == NULL ? "/proc/self/ns/net" : ns, link);
	FILE *f = popen(command, "r");

	assert_non_null(f);
	if (fgets(out, 256, f) == NULL)
		out[0] = '\0';
	(void)pclose(f);
}

static void
expect_rate(struct world *w, const struct net_link *l, const char *rate)
{
	AUTO(free) char *ns = net_ns_path(w->net, l->instance);
	char host[256], inner[256];

	find_tbf(NULL, l->veth, host);
	find_tbf(ns, "eth0", inner);
	assert_true(rate == NULL ? host[0] == '\0' : strstr(host, rate) != NULL);
	assert_true(rate == NULL ? inner[0] == '\0' : strstr(inner, rate) != NULL);
}

static void
the_rate_follows(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };
	struct net_link l;

	assert_ok(net_attach(w->net, "a0-1", "app1", 8000, &l, &e), &e);
	expect_rate(w, &l, "rate 8Mbit");
	assert_ok(net_set_rate(w->net, "a0-1", 16000, &e), &e);
	expect_rate(w, &l, "rate 16Mbit");
	net_close(w->net);
	open_net(w);
	assert_ok(net_find(w->net, "a0-1", &l, &e), &e);
	assert_int_equal(l.kbit, 16000);
	assert_ok(net_attach(w->net, "a0-1", "app1", 40000000, &l, &e), &e);
	expect_rate(w, &l, "rate 40Gbit");
	assert_ok(net_set_rate(w->net, "a0-1", 0, &e), &e);
	expect_rate(w, &l, NULL);
	assert_int_equal(net_set_rate(w->net, "b0-1", 0, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void
detach_frees_address_and_link(void **state)
{
	struct world *w = *state;
	struct net_link a = attach(w, "a0-1", "app1");
	AUTO(net_mnl_close) struct net_mnl *m = NULL;
	struct err e = { 0 };
	int i;

	assert_ok(net_detach(w->net, "a0-1", &e), &e);
	assert_ok(net_detach(w->net, "a0-1", &e), &e);
	m = net_mnl_open(&e);
	assert_non_null(m);
	for (i = 0; i < 1000 && net_mnl_index(m, a.veth) != 0; i++)
		(void)usleep(5000); /* the kernel's own time */
	assert_int_equal(net_mnl_index(m, a.veth), 0);
	assert_string_not_equal(attach(w, "a0-2", "app1").address, a.address);
}

/* In a namespace of its own: nobody else's traffic is touched. */
static void
another_firewall_is_seen(void **state)
{
	struct net_rules_opts o = { .tag = "f00" };
	const struct net_rules_member m = { "pnf00002", "100.64.0.2", 7 };
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		AUTO(net_rules_close) struct net_rules *r = NULL;
		struct nft_ctx *nft;
		struct err e = { 0 };
		bool before, after;

		if (unshare(CLONE_NEWNET) < 0)
			_exit(9);
		r = net_rules_open(&o, &m, 1, &e);
		if (r == NULL)
			_exit(8);
		before = net_rules_is_forward_dropped(r);
		nft = nft_ctx_new(NFT_CTX_DEFAULT);
		if (nft_run_cmd_from_buffer(nft,
		        "table ip filter { chain FORWARD { type filter hook forward priority 0; "
		        "policy drop; }; }\n") != 0)
			_exit(7);
		nft_ctx_free(nft);
		after = net_rules_is_forward_dropped(r);
		if (net_rules_remove(r, &m, &e) < 0 || net_rules_remove(r, &m, &e) < 0)
			_exit(6);
		_exit(before ? 5 : !after ? 4 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* --- hostile instances --- */

static int
take_address(struct world *w, const char *address)
{
	struct net_mnl *m;
	struct err e = { 0 };
	int rc;

	(void)w;
	m = net_mnl_open(&e);
	if (m == NULL)
		return 98;
	rc = net_mnl_add_address(m, net_mnl_index(m, "eth0"), ip(address), &e);
	net_mnl_close(m);
	return rc < 0 ? 97 : 0;
}

/* From the instance with another source address, which it gave itself (its own root cannot). */
static int
connect_as(struct world *w, const char *instance, const char *source, const char *address, int port)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct sockaddr_in from = make_address(source, 0), to = make_address(address, port);
		struct timeval limit = { .tv_usec = 300000 };
		int fd, rc;

		enter(w, instance);
		rc = take_address(w, source);
		if (rc != 0)
			_exit(rc);
		fd = socket(AF_INET, SOCK_STREAM, 0);
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
		if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
			_exit(96);
		_exit(connect(fd, (struct sockaddr *)&to, sizeof to) < 0 ? errno : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void
another_source_is_dropped(void **state)
{
	struct world *w = *state;
	struct net_link a = attach(w, "a0-1", "app1"), b = attach(w, "b0-1", "app2"), c;
	pid_t pid;

	c = attach(w, "c0-1", "app2");
	pid = start_server(w, "c0-1", "0.0.0.0", 8080);
	assert_int_equal(connect_from(w, "b0-1", c.address, 8080), 0);
	assert_int_equal(connect_as(w, "a0-1", b.address, c.address, 8080), EINPROGRESS);
	assert_int_equal(
	    connect_as(w, "a0-1", net_host_address(w->net), c.address, 8080), EINPROGRESS);
	stop(pid);
	(void)a;
}

static void
ipv6_has_no_way(void **state)
{
	struct world *w = *state;
	struct net_link a = attach(w, "a0-1", "app1");
	char path[160], text[4096];
	pid_t pid;
	int status, fd;
	ssize_t n;

	pid = fork();
	if (pid == 0) {
		enter(w, "a0-1");
		fd = open("/proc/net/if_inet6", O_RDONLY);
		n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
		text[n < 0 ? 0 : n] = '\0';
		_exit(strstr(text, "eth0") != NULL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	(void)snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/addr_gen_mode", a.veth);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		skip();
	assert_int_equal(read(fd, text, 1), 1);
	assert_int_equal(text[0], '1');
	(void)close(fd);
}

/* --- workers --- */

enum { THREADS = 4, ROUNDS = 12 };

struct crowd {
	struct world *w;
	int number;
	struct err e;
	bool has_failed;
};

static void *
come_and_go(void *arg)
{
	struct crowd *c = arg;
	char name[32];
	struct net_link l;
	int i;

	for (i = 0; i < ROUNDS && !c->has_failed; i++) {
		(void)snprintf(name, sizeof name, "t%d-%d", c->number, i);
		c->has_failed =
		    net_attach(c->w->net, name, i % 2 ? "app1" : "app2", 0, &l, &c->e) < 0 ||
		    net_forward(c->w->net, name, "127.0.0.1", 3000 + i, &c->e) < 0 ||
		    (i % 3 != 0 && net_detach(c->w->net, name, &c->e) < 0);
	}
	return NULL;
}

static void
workers_share_it(void **state)
{
	struct world *w = *state;
	AUTO_FINI(net_link_list_fini) struct net_link_list l = { 0 };
	struct crowd c[THREADS] = { 0 };
	pthread_t t[THREADS];
	struct err e = { 0 };
	size_t i, k, named = 0;

	for (i = 0; i < THREADS; i++) {
		c[i].w = w;
		c[i].number = (int)i;
		assert_int_equal(pthread_create(&t[i], NULL, come_and_go, &c[i]), 0);
	}
	for (i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(t[i], NULL), 0);
		assert_ok(c[i].has_failed ? -1 : 0, &c[i].e);
	}
	assert_ok(net_list(w->net, &l, &e), &e);
	for (i = 0; i < l.n; i++) {
		named += l.v[i].has_ns && l.v[i].has_veth;
		for (k = 0; k < i; k++)
			assert_string_not_equal(l.v[i].veth, l.v[k].veth);
	}
	assert_int_equal(named, THREADS * ROUNDS / 3);
}

/* The daemon dies at any instant; the next one finds nothing half made and can go on. */
static void
killed_at_any_instant(void **state)
{
	struct world *w = *state;
	int round;

	net_close(w->net);
	w->net = NULL;
	for (round = 0; round < 12; round++) {
		AUTO_FINI(net_link_list_fini) struct net_link_list l = { 0 };
		struct err e = { 0 };
		size_t i;
		pid_t pid = fork();

		if (pid == 0) {
			struct net_link link;
			char name[32];
			int k;

			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			open_net(w);
			for (k = 0;; k++) {
				(void)snprintf(name, sizeof name, "r%d-%d", round, k);
				if (net_attach(w->net, name, "app1", 0, &link, &e) < 0)
					_exit(1);
				if (k % 2 == 1 && net_detach(w->net, name, &e) < 0)
					_exit(1);
			}
		}
		(void)usleep(20000 + (useconds_t)round * 1700);
		stop(pid);
		open_net(w);
		assert_ok(net_list(w->net, &l, &e), &e);
		for (i = 0; i < l.n; i++) {
			/* A link whose namespace is just ending has no binding left. */
			if (!l.v[i].has_ns || !l.v[i].has_veth)
				continue;
			assert_true(l.v[i].instance[0] != '\0' && l.v[i].address[0] != '\0');
		}
		(void)attach(w, "after", "app1");
		assert_ok(net_detach(w->net, "after", &e), &e);
		net_close(w->net);
		w->net = NULL;
	}
	open_net(w);
}

static void
sockets_are_made_inside(void **state)
{
	struct world *w = *state;
	AUTO(file_close) int tcp = -1;
	AUTO(file_close) int udp = -1;
	struct err e = { 0 };

	(void)attach(w, "a0-1", "app1");
	tcp = net_socket(w->net, "a0-1", SOCK_STREAM, "127.0.0.53", 53, &e);
	assert_ok(tcp, &e);
	udp = net_socket(w->net, "a0-1", SOCK_DGRAM, "127.0.0.53", 53, &e);
	assert_ok(udp, &e);
	assert_int_equal(net_socket(w->net, "a0-1", SOCK_DGRAM, "127.0.0.53", 53, &e), -1);
	e = (struct err){ 0 };
	assert_int_equal(net_socket(w->net, "b0-1", SOCK_DGRAM, "127.0.0.53", 53, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void
two_nodes_share_a_machine(void **state)
{
	struct world *w = *state;
	struct world *other;
	struct net_link a, b;
	pid_t pid;
	char peer[INET_ADDRSTRLEN];

	assert_int_equal(setup((void **)&other), 0);
	a = attach(w, "a0-1", "app1");
	b = attach(other, "a0-1", "app1");
	assert_string_not_equal(a.address, b.address);
	pid = start_server(other, "a0-1", "0.0.0.0", 8080);
	assert_int_equal(connect_here(b.address, 8080, peer, 5000), 0);
	assert_int_not_equal(connect_from(w, "a0-1", b.address, 8080), 0);
	stop(pid);
	assert_int_equal(teardown((void **)&other), 0);
}

static void
a_second_daemon_is_refused(void **state)
{
	struct world *w = *state;
	struct net_opts o = { .tag = w->tag, .run_dir = w->run, .state_dir = w->state };
	struct err e = { 0 };

	assert_null(net_open(&o, &e));
	assert_int_equal(e.code, ERR_BUSY);
}

struct stale {
	int number, calls;
	char tag[16];
};

static void
on_stale(int number, const char *tag, void *arg)
{
	struct stale *s = arg;

	s->number = number;
	s->calls++;
	(void)snprintf(s->tag, sizeof s->tag, "%s", tag == NULL ? "" : tag);
}

static void
dead_nodes_blocks_are_swept(void **state)
{
	struct world *w = *state;
	AUTO(free) char *locks = file_join(w->dir, "locks");
	AUTO(free) char *dead = file_join(w->dir, "dead");
	AUTO(free) char *other = file_join(w->dir, "other");
	AUTO(free) char *memory = file_join(dead, "net-block");
	struct stale s = { .number = -1 };
	struct net_block_opts a = { locks, dead, "dead", on_stale, &s, NULL, NULL };
	struct net_block_opts b = { locks, other, "beef", on_stale, &s, NULL, NULL };
	struct net_block one = { 0 }, two = { 0 };
	struct err e = { 0 };
	int number;

	assert_ok(net_block_claim(&a, &one, &e), &e);
	number = one.number;
	/* Not while it lives, nor while its state names it. */
	assert_ok(net_block_claim(&b, &two, &e), &e);
	net_block_fini(&two);
	net_block_fini(&one);
	assert_ok(net_block_claim(&b, &two, &e), &e);
	assert_int_equal(s.calls, 0);
	net_block_fini(&two);
	/* It lives on with another one: its rules stay. */
	assert_ok(file_replace(memory, "1023\n", 5, 0600, &e), &e);
	assert_ok(net_block_claim(&b, &two, &e), &e);
	assert_int_equal(s.calls, 1);
	assert_int_equal(s.number, number);
	assert_string_equal(s.tag, "");
	net_block_fini(&two);
	/* Its data are gone. */
	assert_ok(net_block_claim(&a, &one, &e), &e);
	net_block_fini(&one);
	assert_int_equal(unlink(memory), 0);
	assert_ok(net_block_claim(&b, &two, &e), &e);
	assert_int_equal(s.calls, 2);
	assert_string_equal(s.tag, "dead");
	net_block_release(&two, other);
}

/* Another machine of the cluster has this one. */
struct elsewhere {
	char taken[NET_BLOCK_RANGE_MAX];
	int asked;
	bool is_away;
};

static int
admits(const char *range, void *arg, struct err *e)
{
	struct elsewhere *x = arg;

	x->asked++;
	if (x->is_away)
		return err_set(e, ERR_BUSY, NULL, "nobody answers");
	return strcmp(range, x->taken) != 0;
}

static void
blocks_of_other_machines_are_left(void **state)
{
	struct world *w = *state;
	AUTO(free) char *locks = file_join(w->dir, "locks");
	AUTO(free) char *data = file_join(w->dir, "data");
	AUTO(free) char *memory = file_join(data, "net-block");
	struct elsewhere x = { .taken = "" };
	struct net_block_opts o = { locks, data, "beef", NULL, NULL, admits, &x };
	struct net_block first = { 0 }, again = { 0 }, other = { 0 };
	struct err e = { 0 };

	assert_ok(net_block_claim(&o, &first, &e), &e);
	assert_int_equal(x.asked, 1);
	net_block_range(&first, x.taken);
	net_block_fini(&first);
	/* What is remembered is not asked for: a node starts without its broker. */
	x.is_away = true;
	assert_ok(net_block_claim(&o, &again, &e), &e);
	assert_int_equal(again.number, first.number);
	assert_int_equal(x.asked, 1);
	net_block_release(&again, data);
	assert_int_equal(net_block_claim(&o, &other, &e), -1);
	assert_int_equal(e.code, ERR_BUSY);
	assert_int_equal(access(memory, F_OK), -1);
	x.is_away = false;
	assert_ok(net_block_claim(&o, &other, &e), &e);
	assert_int_not_equal(other.number, first.number);
	net_block_release(&other, data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(host_reaches_instance, setup, teardown),
		cmocka_unit_test_setup_teardown(attach_twice_gives_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(forward_reaches_what_listens, setup, teardown),
		cmocka_unit_test_setup_teardown(only_its_application_is_reached, setup, teardown),
		cmocka_unit_test_setup_teardown(host_is_not_reached, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    the_world_is_reached_but_no_private_range, setup, teardown),
		cmocka_unit_test_setup_teardown(connections_are_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(a_new_daemon_adopts, setup, teardown),
		cmocka_unit_test_setup_teardown(half_made_ones_are_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(the_rate_follows, setup, teardown),
		cmocka_unit_test_setup_teardown(detach_frees_address_and_link, setup, teardown),
		cmocka_unit_test(another_firewall_is_seen),
		cmocka_unit_test_setup_teardown(another_source_is_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(ipv6_has_no_way, setup, teardown),
		cmocka_unit_test_setup_teardown(workers_share_it, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_at_any_instant, setup, teardown),
		cmocka_unit_test_setup_teardown(sockets_are_made_inside, setup, teardown),
		cmocka_unit_test_setup_teardown(two_nodes_share_a_machine, setup, teardown),
		cmocka_unit_test_setup_teardown(a_second_daemon_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(dead_nodes_blocks_are_swept, setup, teardown),
		cmocka_unit_test_setup_teardown(blocks_of_other_machines_are_left, setup, teardown),
	};

	if (geteuid() != 0) {
		puts("1..0 # skipped: needs root");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
