#include "node/listeners.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "node/net_ns.h"

enum {
	LISTENERS_MAX = 4096,
	TABLE_MAX = 4 * 1024 * 1024,
	STATE_LISTEN = 0x0a,
	COUNT_MAX = 1 << 24, /* of the sockets of one family */
};

void
listeners_fini(struct listeners *l)
{
	free(l->v);
	*l = (struct listeners){ 0 };
}

static bool
parse_hex(struct str s, uint32_t *out)
{
	uint32_t n = 0;
	size_t i;

	if (s.n == 0 || s.n > 8)
		return false;
	for (i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c >= '0' && c <= '9')
			n = n * 16 + (uint32_t)(c - '0');
		else if (c >= 'A' && c <= 'F')
			n = n * 16 + (uint32_t)(c - 'A' + 10);
		else
			return false;
	}
	*out = n;
	return true;
}

/* Words of the address as the kernel prints them: each in its own byte order. */
static bool
parse_words(struct str s, uint32_t *out, size_t n)
{
	size_t i;

	if (s.n != n * 8)
		return false;
	for (i = 0; i < n; i++) {
		if (!parse_hex((struct str){ s.p + i * 8, 8 }, &out[i]))
			return false;
	}
	return true;
}

static void
describe_v4(uint32_t address, const char *own, struct listener_addr *a)
{
	struct in_addr in = { address };

	(void)inet_ntop(AF_INET, &in, a->address, sizeof a->address);
	a->is_loopback = (ntohl(address) >> 24) == 127;
	a->is_any = address == 0 || (own != NULL && strcmp(own, a->address) == 0);
}

static void
describe_v6(const uint32_t w[4], const char *own, struct listener_addr *a)
{
	struct in6_addr in;

	memcpy(&in, w, sizeof in);
	if (IN6_IS_ADDR_V4MAPPED(&in)) {
		describe_v4(w[3], own, a);
		return;
	}
	(void)inet_ntop(AF_INET6, &in, a->address, sizeof a->address);
	a->is_any = IN6_IS_ADDR_UNSPECIFIED(&in);
	a->is_loopback = IN6_IS_ADDR_LOOPBACK(&in);
	a->is_v6_only = !a->is_any;
}

static bool
parse_address(struct str s, bool is_v6, const char *own, struct listener_addr *a)
{
	uint32_t w[4];

	if (!is_v6) {
		if (!parse_words(s, w, 1))
			return false;
		describe_v4(w[0], own, a);
		return true;
	}
	if (!parse_words(s, w, 4))
		return false;
	describe_v6(w, own, a);
	return true;
}

static struct str
next_word(struct str *line)
{
	struct str word;

	*line = str_trim(*line);
	*line = str_cut(*line, ' ', &word);
	return word;
}

/* `  0: 0100007F:1F90 00000000:0000 0A …` */
static bool
parse_line(struct str line, bool is_v6, const char *own, struct listener_addr *a)
{
	struct str local, address, port;
	uint32_t number, state;

	(void)next_word(&line);
	local = next_word(&line);
	(void)next_word(&line);
	if (!parse_hex(next_word(&line), &state) || state != STATE_LISTEN)
		return false;
	port = str_cut(local, ':', &address);
	if (!parse_hex(port, &number) || number == 0 || number > 65535)
		return false;
	*a = (struct listener_addr){ .port = (int)number };
	return parse_address(address, is_v6, own, a);
}

static int
compare(const void *pa, const void *pb)
{
	const struct listener_addr *a = pa, *b = pb;

	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	if (a->is_any != b->is_any)
		return a->is_any ? -1 : 1;
	if (a->is_v6_only != b->is_v6_only)
		return a->is_v6_only ? 1 : -1;
	return strcmp(a->address, b->address);
}

void
listeners_parse(struct str text, bool is_v6, const char *own, struct listeners *l)
{
	struct listener_addr a;
	struct str line;

	while (text.n > 0 && l->n < LISTENERS_MAX) {
		text = str_cut(text, '\n', &line);
		if (!parse_line(line, is_v6, own, &a))
			continue;
		l->v = xreallocarray(l->v, l->n + 1, sizeof *l->v);
		l->v[l->n++] = a;
	}
	if (l->n > 1)
		qsort(l->v, l->n, sizeof *l->v, compare);
}

static void
add_listener(struct listeners *l, const struct inet_diag_msg *m, const char *own)
{
	struct listener_addr a = { .port = ntohs(m->id.idiag_sport) };

	if (a.port == 0 || l->n >= LISTENERS_MAX)
		return;
	if (m->idiag_family == AF_INET)
		describe_v4(m->id.idiag_src[0], own, &a);
	else
		describe_v6(m->id.idiag_src, own, &a);
	l->v = xreallocarray(l->v, l->n + 1, sizeof *l->v);
	l->v[l->n++] = a;
}

/* One table; 1: the dump goes on, 0: it has ended. */
static int
read_answer(int fd, const char *own, struct listeners *l, struct err *e)
{
	char in[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)in;
	ssize_t got = recv(fd, in, sizeof in, 0);
	size_t n = got < 0 ? 0 : (size_t)got;

	if (got < 0)
		return errno == EINTR ? 1 : err_set(e, ERR_SYSTEM, NULL, "list sockets");
	for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		const struct nlmsgerr *why = NLMSG_DATA(h);

		if (h->nlmsg_type == NLMSG_DONE)
			return 0;
		if (h->nlmsg_type == NLMSG_ERROR) {
			errno = -why->error;
			return err_set(e, ERR_SYSTEM, NULL, "list sockets");
		}
		if (h->nlmsg_type == TCPDIAG_GETSOCK &&
		    h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
			add_listener(l, NLMSG_DATA(h), own);
	}
	return 1;
}

/* The older of the two requests, for it lists both families in one walk; the kernel goes through
 * the listening sockets of the whole machine each time. */
static int
read_all(int fd, const char *own, struct listeners *l, struct err *e)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req r;
	} q = {
		.h = { .nlmsg_len = sizeof q,
		    .nlmsg_type = TCPDIAG_GETSOCK,
		    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.r = { .idiag_states = 1U << STATE_LISTEN },
	};
	int rc;

	if (send(fd, &q, sizeof q, 0) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "list sockets");
	while ((rc = read_answer(fd, own, l, e)) > 0)
		;
	return rc;
}

struct reading {
	const char *own;
	struct listeners *l;
};

static int
read_here(void *arg, struct err *e)
{
	struct reading *r = arg;
	AUTO(file_close) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "list sockets");
	return read_all(fd, r->own, r->l, e);
}

static int
read_table(
    pid_t pid, const char *name, bool is_v6, const char *own, struct listeners *l, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	char path[48];

	(void)snprintf(path, sizeof path, "/proc/%d/net/%s", (int)pid, name);
	if (file_read(path, TABLE_MAX, &b, e) < 0)
		return -1;
	if (b.n > 0)
		listeners_parse(buf_str(&b), is_v6, own, l);
	return 0;
}

/* A kernel without inet_diag. */
static int
read_tables(pid_t pid, const char *own, struct listeners *l, struct err *e)
{
	struct err none = { 0 };

	if (read_table(pid, "tcp", false, own, l, e) < 0)
		return -1;
	/* Absent where the kernel has no IPv6. */
	if (read_table(pid, "tcp6", true, own, l, &none) < 0 && none.code != ERR_NOT_FOUND) {
		*e = none;
		return -1;
	}
	return 0;
}

static int64_t
count_sockets(pid_t pid, const char *file, const char *key)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	char path[48];
	const char *at;
	struct err e = { 0 };

	(void)snprintf(path, sizeof path, "/proc/%d/net/%s", (int)pid, file);
	at = file_read(path, TABLE_MAX, &b, &e) < 0 || b.n == 0 ? NULL : strstr(b.p, key);
	return at == NULL ? -1 : strtoll(at + strlen(key), NULL, 10);
}

int64_t
listeners_sockets(pid_t pid)
{
	int64_t v4 = count_sockets(pid, "sockstat", "TCP: inuse ");
	int64_t v6 = count_sockets(pid, "sockstat6", "TCP6: inuse ");

	return v4 < 0 ? -1 : v4 * COUNT_MAX + (v6 < 0 ? 0 : v6 % COUNT_MAX);
}

/* By netlink, where the kernel looks at listening sockets only: for a read of /proc/net/tcp it goes
 * through the whole machine's table of connections, milliseconds of it. */
int
listeners_read(pid_t pid, const char *own, struct listeners *l, struct err *e)
{
	AUTO(free) char *path = xasprintf("/proc/%d/ns/net", (int)pid);
	AUTO(file_close) int ns = open(path, O_RDONLY | O_CLOEXEC);
	AUTO_FINI(listeners_fini) struct listeners found = { 0 };
	struct reading r = { own, &found };
	struct err why = { 0 };

	if (ns < 0)
		return err_set(
		    e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, NULL, "open %s", path);
	if (net_ns_run(ns, read_here, &r, &why) < 0) {
		listeners_fini(&found);
		if (read_tables(pid, own, &found, e) < 0)
			return -1;
	}
	if (found.n > 1)
		qsort(found.v, found.n, sizeof *found.v, compare);
	listeners_fini(l);
	*l = found;
	found = (struct listeners){ 0 };
	return 0;
}

static bool
is_ours(const struct listener_addr *a)
{
	return a->port == 53 && strcmp(a->address, "127.0.0.53") == 0;
}

const struct listener_addr *
listeners_pick(const struct listeners *l, int preferred)
{
	const struct listener_addr *best = NULL;
	size_t i;

	for (i = 0; i < l->n; i++) {
		const struct listener_addr *a = &l->v[i];

		if (is_ours(a) || a->is_v6_only)
			continue;
		if (a->port == preferred)
			return a;
		if (best == NULL)
			best = a;
	}
	return best;
}

const struct listener_addr *
listeners_unreachable(const struct listeners *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (l->v[i].is_v6_only)
			return &l->v[i];
	}
	return NULL;
}
