#include "node/net_mnl.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "lib/base/file.h"
struct net_mnl {
	struct mnl_socket *s; /* owned */
	unsigned port, seq;
	char out[4096];
};

void
net_mnl_close(struct net_mnl *take_m)
{
	if (take_m == NULL)
		return;
	if (take_m->s != NULL)
		(void)mnl_socket_close(take_m->s);
	free(take_m);
}

struct net_mnl *
net_mnl_open(struct err *e)
{
	AUTO(net_mnl_close) struct net_mnl *m = xcalloc(1, sizeof *m);
	int fd;

	fd = file_raise(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
	m->s = fd < 0 ? NULL : mnl_socket_fdopen(fd);
	if (m->s == NULL)
		file_close(fd);
	if (m->s == NULL || mnl_socket_bind(m->s, 0, MNL_SOCKET_AUTOPID) < 0) {
		(void)err_set(e, ERR_SYSTEM, NULL, "cannot open a netlink socket");
		return NULL;
	}
	m->port = mnl_socket_get_portid(m->s);
	return STEAL(m);
}

static struct nlmsghdr *
start(struct net_mnl *m, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(m->out);

	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = ++m->seq;
	return h;
}

static struct ifinfomsg *
start_link(struct net_mnl *m, uint16_t type, uint16_t flags, int index, struct nlmsghdr **out)
{
	struct ifinfomsg *i;

	*out = start(m, type, (uint16_t)(NLM_F_ACK | flags));
	i = mnl_nlmsg_put_extra_header(*out, sizeof *i);
	i->ifi_family = AF_UNSPEC;
	i->ifi_index = index;
	return i;
}

enum { DUMP_TRIES = 50 };

/* Is the end of an answer among these messages? */
static bool
has_end(const char *p, ssize_t n)
{
	int left = (int)n;

	for (const struct nlmsghdr *h = (const void *)p; mnl_nlmsg_ok(h, left);
	     h = mnl_nlmsg_next(h, &left)) {
		if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
			return true;
	}
	return false;
}

/* Sends what is in m->out and waits for its end; cb sees each part of a dump. Returns errno; EINTR:
 * what was dumped changed meanwhile, ask again. */
static int
talk(struct net_mnl *m, const struct nlmsghdr *h, mnl_cb_t cb, void *arg)
{
	char in[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
	bool is_interrupted = false;
	ssize_t n;
	int rc = 0;

	if (mnl_socket_sendto(m->s, h, h->nlmsg_len) < 0)
		return errno;
	do {
		n = mnl_socket_recvfrom(m->s, in, sizeof in);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (is_interrupted)
			continue;
		rc = mnl_cb_run(in, (size_t)n, m->seq, m->port, cb, arg);
		is_interrupted = rc < 0 && errno == EINTR;
		if (rc < 0 && !is_interrupted)
			return errno;
	} while (n < 0 || (is_interrupted ? !has_end(in, n) : rc > 0));
	return is_interrupted ? EINTR : 0;
}

static int
ask(struct net_mnl *m, const struct nlmsghdr *h, const char *what, struct err *e)
{
	int rc = talk(m, h, NULL, NULL);

	if (rc == 0)
		return 0;
	errno = rc;
	return err_set(e, ERR_SYSTEM, NULL, "cannot %s", what);
}

static void
put_side(struct nlmsghdr *h, const char *name, const uint8_t mac[6])
{
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
	mnl_attr_put_u32(h, IFLA_NUM_TX_QUEUES, 1);
	mnl_attr_put_u32(h, IFLA_NUM_RX_QUEUES, 1);
}

int
net_mnl_add_veth(struct net_mnl *m, const struct net_mnl_veth *v, struct err *e)
{
	struct nlmsghdr *h;
	struct nlattr *info, *data, *peer;

	(void)start_link(m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, &h);
	put_side(h, v->name, v->mac);
	mnl_attr_put_u32(h, IFLA_GROUP, v->group);
	info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(h, VETH_INFO_PEER);
	(void)mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
	put_side(h, "eth0", v->peer_mac);
	mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)v->ns_fd);
	mnl_attr_nest_end(h, peer);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	return ask(m, h, "make a veth pair", e);
}

int
net_mnl_set_alias(struct net_mnl *m, int index, const char *alias, struct err *e)
{
	struct nlmsghdr *h;

	(void)start_link(m, RTM_NEWLINK, 0, index, &h);
	mnl_attr_put_str(h, IFLA_IFALIAS, alias);
	return ask(m, h, "name a link", e);
}

int
net_mnl_set_up(struct net_mnl *m, int index, struct err *e)
{
	struct nlmsghdr *h;
	struct ifinfomsg *i = start_link(m, RTM_NEWLINK, 0, index, &h);

	i->ifi_flags = i->ifi_change = IFF_UP;
	return ask(m, h, "set a link up", e);
}

static void
put_families(struct nlmsghdr *h, bool route_localnet, bool has_ipv6)
{
	struct nlattr *af = mnl_attr_nest_start(h, IFLA_AF_SPEC), *family, *conf;

	if (route_localnet) {
		family = mnl_attr_nest_start(h, AF_INET);
		conf = mnl_attr_nest_start(h, IFLA_INET_CONF);
		mnl_attr_put_u32(h, IPV4_DEVCONF_ROUTE_LOCALNET, 1);
		mnl_attr_nest_end(h, conf);
		mnl_attr_nest_end(h, family);
	}
	if (has_ipv6) {
		family = mnl_attr_nest_start(h, AF_INET6);
		mnl_attr_put_u8(h, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
		mnl_attr_nest_end(h, family);
	}
	mnl_attr_nest_end(h, af);
}

int
net_mnl_set_families(struct net_mnl *m, int index, bool route_localnet, struct err *e)
{
	struct nlmsghdr *h;
	int rc;

	(void)start_link(m, RTM_NEWLINK, 0, index, &h);
	put_families(h, route_localnet, true);
	rc = talk(m, h, NULL, NULL);
	if (rc == EAFNOSUPPORT) { /* a kernel without IPv6 */
		(void)start_link(m, RTM_NEWLINK, 0, index, &h);
		put_families(h, route_localnet, false);
		rc = talk(m, h, NULL, NULL);
	}
	if (rc == 0)
		return 0;
	errno = rc;
	return err_set(e, ERR_SYSTEM, NULL, "cannot configure a link");
}

static struct nlmsghdr *
start_qdisc(struct net_mnl *m, uint16_t type, uint16_t flags, int index)
{
	struct nlmsghdr *h = start(m, type, (uint16_t)(NLM_F_ACK | flags));
	struct tcmsg *t = mnl_nlmsg_put_extra_header(h, sizeof *t);

	t->tcm_family = AF_UNSPEC;
	t->tcm_ifindex = index;
	t->tcm_parent = TC_H_ROOT;
	return h;
}

static void
put_tbf(struct nlmsghdr *h, int64_t kbit)
{
	const uint64_t rate = (uint64_t)kbit * 125; /* bytes/s */
	uint64_t burst = rate / 100, limit = rate / 20;
	struct tc_tbf_qopt o = { .rate = { .linklayer = TC_LINKLAYER_ETHERNET } };
	struct nlattr *nest;

	/* A burst takes the largest packet of the segmentation offload; 50 ms of queue. */
	burst = burst < 128 * 1024 ? 128 * 1024 : burst;
	burst = burst > INT32_MAX / 2 ? INT32_MAX / 2 : burst;
	limit = limit > INT32_MAX / 2 ? INT32_MAX / 2 : limit;
	o.rate.rate = rate >= UINT32_MAX ? UINT32_MAX : (uint32_t)rate;
	o.limit = (uint32_t)(burst + limit);
	mnl_attr_put_strz(h, TCA_KIND, "tbf");
	nest = mnl_attr_nest_start(h, TCA_OPTIONS);
	mnl_attr_put(h, TCA_TBF_PARMS, sizeof o, &o);
	mnl_attr_put_u32(h, TCA_TBF_BURST, (uint32_t)burst);
	if (rate >= UINT32_MAX)
		mnl_attr_put_u64(h, TCA_TBF_RATE64, rate);
	mnl_attr_nest_end(h, nest);
}

int
net_mnl_set_rate(struct net_mnl *m, int index, int64_t kbit, struct err *e)
{
	struct nlmsghdr *h;
	int rc;

	if (kbit > 0) {
		h = start_qdisc(m, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, index);
		put_tbf(h, kbit);
	} else {
		h = start_qdisc(m, RTM_DELQDISC, 0, index);
	}
	rc = talk(m, h, NULL, NULL);
	/* The default one cannot be deleted. */
	if (rc == 0 || (kbit <= 0 && (rc == ENOENT || rc == EINVAL)))
		return 0;
	errno = rc;
	return err_set(
	    e, rc == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, NULL, "cannot set a link's rate");
}

int
net_mnl_delete(struct net_mnl *m, int index, struct err *e)
{
	struct nlmsghdr *h;
	int rc;

	(void)start_link(m, RTM_DELLINK, 0, index, &h);
	rc = talk(m, h, NULL, NULL);
	if (rc == 0 || rc == ENODEV)
		return 0;
	errno = rc;
	return err_set(e, ERR_SYSTEM, NULL, "cannot delete a link");
}

int
net_mnl_delete_group(struct net_mnl *m, uint32_t group, struct err *e)
{
	struct nlmsghdr *h;
	int rc;

	(void)start_link(m, RTM_DELLINK, 0, 0, &h);
	mnl_attr_put_u32(h, IFLA_GROUP, group);
	rc = talk(m, h, NULL, NULL);
	if (rc == 0 || rc == ENODEV)
		return 0;
	errno = rc;
	return err_set(e, ERR_SYSTEM, NULL, "cannot delete the links of group %u", group);
}

static struct nlmsghdr *
address_message(struct net_mnl *m, uint16_t type, uint16_t flags, int index, uint32_t address)
{
	struct nlmsghdr *h = start(m, type, (uint16_t)(NLM_F_ACK | flags));
	struct ifaddrmsg *a = mnl_nlmsg_put_extra_header(h, sizeof *a);

	a->ifa_family = AF_INET;
	a->ifa_prefixlen = 32;
	a->ifa_index = (uint32_t)index;
	mnl_attr_put_u32(h, IFA_LOCAL, address);
	mnl_attr_put_u32(h, IFA_ADDRESS, address);
	return h;
}

int
net_mnl_add_address(struct net_mnl *m, int index, uint32_t address, struct err *e)
{
	struct nlmsghdr *h =
	    address_message(m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, address);

	return ask(m, h, "add an address", e);
}

int
net_mnl_delete_address(struct net_mnl *m, int index, uint32_t address, struct err *e)
{
	int rc = talk(m, address_message(m, RTM_DELADDR, 0, index, address), NULL, NULL);

	if (rc == 0 || rc == EADDRNOTAVAIL || rc == ENODEV)
		return 0;
	errno = rc;
	return err_set(e, ERR_SYSTEM, NULL, "cannot delete an address");
}

int
net_mnl_add_neighbour(
    struct net_mnl *m, int index, uint32_t address, const uint8_t mac[6], struct err *e)
{
	struct nlmsghdr *h = start(m, RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
	struct ndmsg *n = mnl_nlmsg_put_extra_header(h, sizeof *n);

	n->ndm_family = AF_INET;
	n->ndm_ifindex = index;
	n->ndm_state = NUD_PERMANENT;
	mnl_attr_put_u32(h, NDA_DST, address);
	mnl_attr_put(h, NDA_LLADDR, 6, mac);
	return ask(m, h, "add a neighbour", e);
}

static struct rtmsg *
start_route(struct net_mnl *m, struct nlmsghdr **out)
{
	struct rtmsg *r;

	*out = start(m, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
	r = mnl_nlmsg_put_extra_header(*out, sizeof *r);
	r->rtm_family = AF_INET;
	r->rtm_table = RT_TABLE_MAIN;
	r->rtm_protocol = RTPROT_STATIC;
	r->rtm_type = RTN_UNICAST;
	return r;
}

int
net_mnl_add_host_route(struct net_mnl *m, int index, uint32_t to, uint32_t source, struct err *e)
{
	struct nlmsghdr *h;
	struct rtmsg *r = start_route(m, &h);

	r->rtm_dst_len = 32;
	r->rtm_scope = RT_SCOPE_LINK;
	mnl_attr_put_u32(h, RTA_DST, to);
	mnl_attr_put_u32(h, RTA_PREFSRC, source);
	mnl_attr_put_u32(h, RTA_OIF, (uint32_t)index);
	return ask(m, h, "add a host route", e);
}

int
net_mnl_add_default_route(struct net_mnl *m, int index, uint32_t gateway, struct err *e)
{
	struct nlmsghdr *h;
	struct rtmsg *r = start_route(m, &h);

	r->rtm_flags = RTNH_F_ONLINK;
	r->rtm_scope = RT_SCOPE_UNIVERSE;
	mnl_attr_put_u32(h, RTA_GATEWAY, gateway);
	mnl_attr_put_u32(h, RTA_OIF, (uint32_t)index);
	return ask(m, h, "add the default route", e);
}

int
net_mnl_index(const struct net_mnl *m, const char *name)
{
	struct ifreq r = { 0 };

	if (strlen(name) >= sizeof r.ifr_name)
		return 0;
	memcpy(r.ifr_name, name, strlen(name) + 1);
	/* Any socket answers for the namespace that it was made in. */
	return ioctl(mnl_socket_get_fd(m->s), SIOCGIFINDEX, &r) < 0 ? 0 : r.ifr_ifindex;
}

/* Links of one dump; names and aliases are copies. */
struct found {
	struct net_mnl_link *v;
	size_t n;
};

static void
found_fini(struct found *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free((char *)f->v[i].name);
		free((char *)f->v[i].alias);
	}
	free(f->v);
	*f = (struct found){ 0 };
}

static int
on_link_attr(const struct nlattr *a, void *arg)
{
	struct net_mnl_link *l = arg;

	if (mnl_attr_get_type(a) == IFLA_IFNAME)
		l->name = mnl_attr_get_str(a);
	else if (mnl_attr_get_type(a) == IFLA_IFALIAS)
		l->alias = mnl_attr_get_str(a);
	return MNL_CB_OK;
}

static int
on_link(const struct nlmsghdr *h, void *arg)
{
	struct found *f = arg;
	const struct ifinfomsg *i = mnl_nlmsg_get_payload(h);
	struct net_mnl_link l = { .index = i->ifi_index };

	if (h->nlmsg_type != RTM_NEWLINK)
		return MNL_CB_OK;
	(void)mnl_attr_parse(h, sizeof *i, on_link_attr, &l);
	if (l.name == NULL)
		return MNL_CB_OK;
	f->v = xreallocarray(f->v, f->n + 1, sizeof *f->v);
	f->v[f->n++] = (struct net_mnl_link){ l.index, xstrdup(l.name), xstrdup_null(l.alias) };
	return MNL_CB_OK;
}

static int
dump_links(struct net_mnl *m, struct found *f)
{
	struct nlmsghdr *h = start(m, RTM_GETLINK, NLM_F_DUMP);
	struct ifinfomsg *i = mnl_nlmsg_put_extra_header(h, sizeof *i);

	i->ifi_family = AF_UNSPEC;
	return talk(m, h, on_link, f);
}

int
net_mnl_each_link(struct net_mnl *m, net_mnl_link_fn *fn, void *arg, struct err *e)
{
	AUTO_FINI(found_fini) struct found f = { 0 };
	int rc = dump_links(m, &f);

	/* Other programs' links come and go all the time. */
	for (int tries = 1; rc == EINTR && tries < DUMP_TRIES; tries++) {
		found_fini(&f);
		rc = dump_links(m, &f);
	}
	for (size_t k = 0; (rc == 0 || rc == EINTR) && k < f.n; k++)
		fn(&f.v[k], arg);
	if (rc == 0 || rc == EINTR)
		return 0;
	errno = rc;
	return err_set(e, ERR_SYSTEM, NULL, "cannot list the links");
}
