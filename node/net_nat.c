#include "node/net_nat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "node/net_ns.h"
#include "node/net_rules.h"

void
net_nat_fini(struct net_nat *t)
{
	free(t->out);
	free(t->in);
	*t = (struct net_nat){ 0 };
}

static void
copy_hops(struct net_nat_hop **to, const struct net_nat_hop *from, size_t n)
{
	*to = n == 0 ? NULL : xcalloc(n, sizeof **to);
	if (n > 0)
		memcpy(*to, from, n * sizeof *from);
}

void
net_nat_copy(struct net_nat *to, const struct net_nat *from)
{
	net_nat_fini(to);
	copy_hops(&to->out, from->out, from->out_n);
	copy_hops(&to->in, from->in, from->in_n);
	to->out_n = from->out_n;
	to->in_n = from->in_n;
}

static bool
equal_hops(const struct net_nat_hop *a, const struct net_nat_hop *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(a[i].from, b[i].from) != 0 || strcmp(a[i].to, b[i].to) != 0 ||
		    a[i].from_port != b[i].from_port || a[i].to_port != b[i].to_port ||
		    a[i].from_loopback != b[i].from_loopback)
			return false;
	}
	return true;
}

bool
net_nat_equal(const struct net_nat *a, const struct net_nat *b)
{
	return a->out_n == b->out_n && a->in_n == b->in_n && equal_hops(a->out, b->out, a->out_n) &&
	       equal_hops(a->in, b->in, a->in_n);
}

/* The first one with that address and port counts. */
static void
add(struct net_nat_hop **v, size_t *n, const char *from, int from_port, const char *to, int to_port,
    bool from_loopback)
{
	struct net_nat_hop h = {
		.from_port = from_port, .to_port = to_port, .from_loopback = from_loopback
	};

	for (size_t i = 0; i < *n; i++) {
		if (strcmp((*v)[i].from, from) == 0 && (*v)[i].from_port == from_port)
			return;
	}
	(void)snprintf(h.from, sizeof h.from, "%s", from);
	(void)snprintf(h.to, sizeof h.to, "%s", to);
	*v = xreallocarray(*v, *n + 1, sizeof **v);
	(*v)[(*n)++] = h;
}

void
net_nat_out(struct net_nat *t, const char *from, int from_port, const char *to, int to_port)
{
	add(&t->out, &t->out_n, from, from_port, to, to_port, false);
}

void
net_nat_in(struct net_nat *t, const char *from, int from_port, const char *to, int to_port,
    bool from_loopback)
{
	add(&t->in, &t->in_n, from, from_port, to, to_port, from_loopback);
}

/* In namespaces the tables' names are ours alone. A sender's loopback address would not come back:
 * what leaves gets the instance's own. */
static const char frame[] =
    "table ip pinion_links {\n"
    "  map out { type ipv4_addr . inet_service : ipv4_addr . inet_service; }\n"
    "  map in { type ipv4_addr . inet_service : ipv4_addr . inet_service; }\n"
    "  set local { type ipv4_addr . inet_service; }\n"
    "  chain begin { type nat hook output priority -100; policy accept; }\n"
    "  chain leave { type nat hook postrouting priority srcnat; policy accept; }\n"
    "  chain come { type nat hook prerouting priority dstnat; policy accept; }\n"
    "  chain arrive { type nat hook input priority 100; policy accept; }\n"
    "}\n"
    "flush chain ip pinion_links begin\nflush chain ip pinion_links leave\n"
    "flush chain ip pinion_links come\nflush chain ip pinion_links arrive\n"
    "flush map ip pinion_links out\nflush map ip pinion_links in\n"
    "flush set ip pinion_links local\n";

static const char rules[] =
    "add rule ip pinion_links begin dnat ip to ip daddr . tcp dport map @out\n"
    "add rule ip pinion_links leave oifname \"eth0\" ip saddr 127.0.0.0/8 masquerade\n"
    "add rule ip pinion_links come iifname \"eth0\" dnat ip to ip daddr . tcp dport map @in\n"
    "add rule ip pinion_links arrive iifname \"eth0\" ip daddr . tcp dport @local "
    "snat to 127.0.0.1\n";

static void
add_hops(struct buf *b, const char *map, const struct net_nat_hop *v, size_t n)
{
	if (n == 0)
		return;
	buf_addf(b, "add element ip pinion_links %s {", map);
	for (size_t i = 0; i < n; i++)
		buf_addf(b, "%s %s . %d : %s . %d", i == 0 ? "" : ",", v[i].from, v[i].from_port,
		    v[i].to, v[i].to_port);
	buf_adds(b, " }\n");
}

static void
make_text(const struct net_nat *t, struct buf *b)
{
	buf_adds(b, frame);
	add_hops(b, "out", t->out, t->out_n);
	add_hops(b, "in", t->in, t->in_n);
	for (size_t i = 0; i < t->in_n; i++) {
		if (t->in[i].from_loopback)
			buf_addf(b, "add element ip pinion_links local { %s . %d }\n", t->in[i].to,
			    t->in[i].to_port);
	}
	buf_adds(b, rules);
}

/* FNV-1a; never 0. */
static uint64_t
mark_of(struct str s)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3;
	return h == 0 ? 1 : h;
}

static int
run_set(void *arg, struct err *e)
{
	return net_rules_run(arg, "connect an instance with its services", e);
}

/* The link is marked with what is set: a new daemon need not set it again, which takes as long as
 * the kernel takes to free the old. */
int
net_nat_set(struct net *n, const char *instance, const struct net_nat *t, struct err *e)
{
	AUTO(free) char *path = net_ns_path(n, instance);
	AUTO(file_close) int ns = -1;
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	uint64_t mark;

	make_text(t, &text);
	mark = mark_of(buf_str(&text));
	if (net_mark(n, instance) == mark)
		return 0;
	ns = net_ns_open(path, e);
	if (ns < 0 || net_set_mark(n, instance, 0, e) < 0 ||
	    net_ns_run(ns, run_set, text.p, e) < 0 || net_set_mark(n, instance, mark, e) < 0)
		return err_wrap(e, "links of %s", instance);
	return 0;
}
