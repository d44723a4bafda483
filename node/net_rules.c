#include "node/net_rules.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <nftables/libnftables.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"

enum { LINKS_MAX = 4096 };

/* libnftables keeps some state for the whole process. */
static pthread_mutex_t nft_lock = PTHREAD_MUTEX_INITIALIZER;

struct net_rules {
	struct nft_ctx *nft; /* owned; guarded by nft_lock */
	char *tag;           /* owned */
};

/* No host, link-local, private, multicast or reserved address by way of the world. */
static const char denied[] = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, "
                             "172.16.0.0/12, 192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, "
                             "224.0.0.0/3";

static struct nft_ctx *
nft_open(struct err *e)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);

	if (nft == NULL || nft_ctx_buffer_output(nft) != 0 || nft_ctx_buffer_error(nft) != 0) {
		(void)err_set(e, ERR_SYSTEM, NULL, "cannot set up nftables");
		if (nft != NULL)
			nft_ctx_free(nft);
		return NULL;
	}
	return nft;
}

/* With nft_lock. */
static int
nft_run(struct nft_ctx *nft, const char *text, const char *what, struct err *e)
{
	const char *why;
	size_t n;

	if (nft_run_cmd_from_buffer(nft, text) == 0)
		return 0;
	why = nft_ctx_get_error_buffer(nft);
	n = strcspn(why, "\n");
	(void)err_set(e, ERR_SYSTEM, NULL, "cannot %s by nftables: %.*s", what, (int)n, why);
	e->sys = 0;
	return -1;
}

static void
add_members(const struct net_rules_member *v, size_t n, const char *set, struct buf *out)
{
	size_t i, written = 0;

	for (i = 0; i < n; i++) {
		bool is_src = strcmp(set, "src") == 0, is_app = strcmp(set, "app") == 0;

		if (!is_src && v[i].group == 0)
			continue;
		buf_adds(out, written++ == 0 ? "    elements = { " : ", ");
		if (is_src)
			buf_addf(out, "\"%s\" . %s", v[i].veth, v[i].address);
		else
			buf_addf(out, "\"%s\" %s %u", v[i].veth, is_app ? ":" : ".", v[i].group);
	}
	if (written > 0)
		buf_adds(out, " }\n");
}

static void
add_sets(const struct str_list *allow, const struct net_rules_member *v, size_t n, struct buf *out)
{
	size_t i;

	buf_adds(out, "  set src { type ifname . ipv4_addr\n");
	add_members(v, n, "src", out);
	buf_adds(out, "  }\n  map app { type ifname : mark\n");
	add_members(v, n, "app", out);
	buf_adds(out, "  }\n  set member { type ifname . mark\n");
	add_members(v, n, "member", out);
	buf_adds(out, "  }\n  set peer { type ipv4_addr . mark\n");
	buf_addf(out,
	    "  }\n  set deny4 { type ipv4_addr\n    flags interval\n    elements = { %s }\n  }\n"
	    "  set allow4 { type ipv4_addr\n    flags interval\n    auto-merge\n",
	    denied);
	for (i = 0; allow != NULL && i < allow->n; i++)
		buf_addf(out, "%s%s", i == 0 ? "    elements = { " : ", ", allow->v[i]);
	if (allow != NULL && allow->n > 0)
		buf_adds(out, " }\n");
	buf_adds(out, "  }\n");
}

/* An interface is ours by its prefix; `app` gives the mark of who sends, `member` holds to whom it
 * may send; `peer` holds the addresses on other nodes that belong to an application, whose own node
 * lets no one else use them. The mark lives within one chain. What comes from another node too
 * early, before it is known here, is dropped: it is sent again. */
static const char chains[] =
    "  chain raw { type filter hook prerouting priority raw; policy accept;\n"
    "    iifname \"@*\" meta nfproto ipv6 drop\n"
    "    iifname \"@*\" iifname . ip saddr != @src drop\n"
    "  }\n"
    "  chain input { type filter hook input priority filter; policy accept;\n"
    "    iifname \"@*\" ct state established,related accept\n"
    "    iifname \"@*\" reject with icmpx type admin-prohibited\n"
    "  }\n"
    "  chain forward { type filter hook forward priority filter; policy accept;\n"
    "    iifname \"@*\" ct state new jump count\n"
    "    oifname \"@*\" goto inward\n"
    "    iifname \"@*\" goto outward\n"
    "  }\n"
    "  chain inward {\n"
    "    meta nfproto ipv6 drop\n"
    "    ct state established,related accept\n"
    "    iifname != \"@*\" goto abroad\n"
    "    meta mark set 0\n"
    "    meta mark set iifname map @app\n"
    "    oifname . meta mark @member accept\n"
    "    meta mark set 0\n"
    "    reject with icmpx type admin-prohibited\n"
    "  }\n"
    "  chain abroad {\n"
    "    meta mark set 0\n"
    "    meta mark set oifname map @app\n"
    "    ip saddr . meta mark @peer accept\n"
    "    meta mark set 0\n"
    "    ip saddr 100.64.0.0/10 drop\n"
    "    reject with icmpx type admin-prohibited\n"
    "  }\n"
    "  chain outward {\n"
    "    ct state established,related accept\n"
    "    meta mark set 0\n"
    "    meta mark set iifname map @app\n"
    "    ip daddr . meta mark @peer accept\n"
    "    meta mark set 0\n"
    "    ip daddr @allow4 accept\n"
    "    ip daddr @deny4 reject with icmpx type admin-prohibited\n"
    "    fib daddr type != unicast drop\n"
    "    accept\n"
    "  }\n"
    "  chain after { type nat hook postrouting priority srcnat; policy accept;\n"
    "    iifname \"@*\" oifname != \"@*\" jump leave\n"
    "  }\n"
    "  chain leave {\n"
    "    meta mark set 0\n"
    "    meta mark set iifname map @app\n"
    "    ip daddr . meta mark @peer return\n"
    "    meta mark set 0\n"
    "    masquerade\n"
    "  }\n";

/* The table of connections is the whole machine's: no instance may fill it. */
static void
add_count(int64_t connections, struct buf *out)
{
	if (connections == 0) {
		buf_adds(out, "  chain count { }\n");
		return;
	}
	buf_addf(out,
	    "  set conns { type ifname\n    size %d\n    flags dynamic\n  }\n"
	    "  chain count {\n"
	    "    add @conns { iifname ct count over %" PRId64 " } drop\n"
	    "  }\n",
	    LINKS_MAX, connections);
}

void
net_rules_text(
    const struct net_rules_opts *o, const struct net_rules_member *v, size_t n, struct buf *out)
{
	const char *p, *at;

	buf_addf(out, "table inet pinion_%s\ndelete table inet pinion_%s\ntable inet pinion_%s {\n",
	    o->tag, o->tag, o->tag);
	add_sets(o->allow, v, n, out);
	add_count(o->connections, out);
	for (p = chains; (at = strstr(p, "\"@*\"")) != NULL; p = at + 4) {
		buf_add(out, p, (size_t)(at - p));
		buf_addf(out, "\"pn%s*\"", o->tag);
	}
	buf_adds(out, p);
	buf_adds(out, "}\n");
}

static int
check_range(const char *s, size_t i, struct err *e)
{
	struct in_addr a;
	struct str host, bits = str_cut(str_of(s), '/', &host);
	char text[INET_ADDRSTRLEN];
	int64_t n = 32;

	if (host.n < sizeof text) {
		memcpy(text, host.p, host.n);
		text[host.n] = '\0';
		if (inet_pton(AF_INET, text, &a) == 1 &&
		    (bits.p == NULL || str_to_i64(bits, 1, 32, NULL, &n, e) == 0))
			return 0;
	}
	memset(e, 0, sizeof *e);
	(void)err_set(e, ERR_INVALID, NULL, "is no IPv4 range, such as 10.1.0.0/16: %.40s", s);
	return err_field(e, "allow[%zu]", i);
}

static int
load(struct net_rules *r, const struct net_rules_opts *o, const struct net_rules_member *v,
    size_t n, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	int rc;

	net_rules_text(o, v, n, &text);
	pthread_mutex_lock(&nft_lock);
	if (r->nft == NULL)
		r->nft = nft_open(e);
	rc = r->nft == NULL ? -1 : nft_run(r->nft, text.p, "load the rules", e);
	pthread_mutex_unlock(&nft_lock);
	return rc;
}

struct net_rules *
net_rules_open(
    const struct net_rules_opts *o, const struct net_rules_member *v, size_t n, struct err *e)
{
	AUTO(net_rules_close) struct net_rules *r = xcalloc(1, sizeof *r);
	struct net_rules_opts without = *o;
	struct err first = { 0 };
	size_t i;

	for (i = 0; o->allow != NULL && i < o->allow->n; i++) {
		if (check_range(o->allow->v[i], i, e) < 0)
			return NULL;
	}
	r->tag = xstrdup(o->tag);
	if (load(r, o, v, n, &first) == 0)
		return STEAL(r);
	without.connections = 0;
	if (load(r, &without, v, n, e) < 0)
		return NULL;
	log_warn("net_connections_unlimited", LOG_ERR(&first));
	return STEAL(r);
}

void
net_rules_close(struct net_rules *take_r)
{
	if (take_r == NULL)
		return;
	if (take_r->nft != NULL) {
		pthread_mutex_lock(&nft_lock);
		nft_ctx_free(take_r->nft);
		pthread_mutex_unlock(&nft_lock);
	}
	free(take_r->tag);
	free(take_r);
}

static void
element_text(
    const struct net_rules *r, const char *verb, const struct net_rules_member *m, struct buf *out)
{
	buf_addf(out, "%s element inet pinion_%s src { \"%s\" . %s }\n", verb, r->tag, m->veth,
	    m->address);
	if (m->group == 0)
		return;
	buf_addf(out, "%s element inet pinion_%s app { \"%s\" : %u }\n", verb, r->tag, m->veth,
	    m->group);
	buf_addf(out, "%s element inet pinion_%s member { \"%s\" . %u }\n", verb, r->tag, m->veth,
	    m->group);
}

static int
run_locked(struct net_rules *r, const char *text, const char *what, struct err *e)
{
	int rc;

	pthread_mutex_lock(&nft_lock);
	rc = nft_run(r->nft, text, what, e);
	pthread_mutex_unlock(&nft_lock);
	return rc;
}

int
net_rules_add(struct net_rules *r, const struct net_rules_member *m, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf text = { 0 };

	element_text(r, "add", m, &text);
	return run_locked(r, text.p, "admit an instance", e);
}

int
net_rules_remove(struct net_rules *r, const struct net_rules_member *m, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf text = { 0 };

	/* Added first: a transaction that deletes what is absent would fail. */
	element_text(r, "add", m, &text);
	element_text(r, "delete", m, &text);
	return run_locked(r, text.p, "remove an instance's rules", e);
}

int
net_rules_peers(struct net_rules *r, uint32_t group, const struct str_list *now,
    const struct str_list *before, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf text = { 0 };

	for (size_t i = 0; i < before->n; i++) {
		if (!str_list_has(now, before->v[i]))
			buf_addf(&text,
			    "add element inet pinion_%s peer { %s . %u }\n"
			    "delete element inet pinion_%s peer { %s . %u }\n",
			    r->tag, before->v[i], group, r->tag, before->v[i], group);
	}
	for (size_t i = 0; i < now->n; i++)
		buf_addf(&text, "add element inet pinion_%s peer { %s . %u }\n", r->tag, now->v[i],
		    group);
	return text.n == 0 ? 0 : run_locked(r, text.p, "admit another node's gears", e);
}

int
net_rules_run(const char *text, const char *what, struct err *e)
{
	struct nft_ctx *nft;
	int rc;

	pthread_mutex_lock(&nft_lock);
	nft = nft_open(e);
	rc = nft == NULL ? -1 : nft_run(nft, text, what, e);
	if (nft != NULL)
		nft_ctx_free(nft);
	pthread_mutex_unlock(&nft_lock);
	return rc;
}

int
net_rules_delete_table(const char *tag, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf text = { 0 };

	buf_addf(&text, "table inet pinion_%s\ndelete table inet pinion_%s\n", tag, tag);
	return net_rules_run(text.p, "remove the rules", e);
}

bool
net_rules_is_forward_dropped(struct net_rules *r)
{
	bool is_dropped;

	pthread_mutex_lock(&nft_lock);
	is_dropped = nft_run_cmd_from_buffer(r->nft, "list chain ip filter FORWARD\n") == 0 &&
	             strstr(nft_ctx_get_output_buffer(r->nft), "policy drop") != NULL;
	(void)nft_ctx_get_error_buffer(r->nft); /* mostly there is no such chain */
	pthread_mutex_unlock(&nft_lock);
	return is_dropped;
}

/* Nothing is deleted the first time: closing a socket waits for what the kernel has still to free,
 * 16 ms on a quiet machine. */
int
net_rules_set_forward(const struct net_rules_forward *f, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	const char *to = f->to != NULL ? f->to : f->address;

	buf_adds(&text, "table ip pinion {\n"
	                "  chain pre { type nat hook prerouting priority dstnat; policy accept; }\n"
	                "  chain out { type nat hook output priority -100; policy accept; }\n"
	                "}\n"
	                "flush chain ip pinion pre\nflush chain ip pinion out\n");
	if (f->to != NULL || f->port != f->from) {
		static const char *const names[] = { "pre", "out" };
		size_t i;

		for (i = 0; i < ARRAY_LEN(names); i++)
			buf_addf(&text,
			    "add rule ip pinion %s ip daddr %s tcp dport %d dnat to %s:%d\n",
			    names[i], f->address, f->from, to, f->port);
	}
	return net_rules_run(text.p, "set a translation", e);
}
