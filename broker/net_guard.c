#include "broker/net_guard.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* IPv4 addresses as ::ffff:a.b.c.d. */
struct range {
	uint8_t address[16];
	int bits;
};

struct net_guard {
	struct range *allow; /* owned */
	size_t n;
};

static const char *const inside[] = { "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8",
	"169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
	"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
	"240.0.0.0/4", "::/128", "::1/128", "100::/64", "2001::/23", "2001:db8::/32", "fc00::/7",
	"fe80::/10", "fec0::/10", "ff00::/8" };

/* IPv6 ranges that carry an IPv4 address, and at which byte. */
static const struct embedded {
	const char *range;
	int at;
} embedded[] = { { "64:ff9b::/96", 12 }, { "64:ff9b:1::/48", 12 }, { "2002::/16", 2 },
	{ "::/96", 12 } };

static void
map_v4(const uint8_t v4[4], uint8_t out[16])
{
	memset(out, 0, 16);
	out[10] = out[11] = 0xff;
	memcpy(out + 12, v4, 4);
}

static int
parse(const char *text, struct range *out)
{
	AUTO(free) char *address = xstrndup(text, strcspn(text, "/"));
	const char *slash = strchr(text, '/');
	struct err e = { 0 };
	int64_t bits = 128;
	uint8_t v4[4];
	int base = 0;

	if (inet_pton(AF_INET, address, v4) == 1) {
		map_v4(v4, out->address);
		base = 96;
	} else if (inet_pton(AF_INET6, address, out->address) != 1) {
		return -1;
	}
	if (slash != NULL && str_to_i64(str_of(slash + 1), 0, 128 - base, "", &bits, &e) < 0)
		return -1;
	out->bits = slash == NULL ? 128 : base + (int)bits;
	return 0;
}

static bool
is_in(const struct range *r, const uint8_t a[16])
{
	int whole = r->bits / 8;
	int rest = r->bits % 8;

	if (memcmp(r->address, a, (size_t)whole) != 0)
		return false;
	return rest == 0 || ((r->address[whole] ^ a[whole]) >> (8 - rest)) == 0;
}

static bool
is_in_text(const char *range, const uint8_t a[16])
{
	struct range r;

	return parse(range, &r) == 0 && is_in(&r, a);
}

static bool
address_of(const struct sockaddr *sa, uint8_t out[16])
{
	if (sa->sa_family == AF_INET) {
		map_v4((const uint8_t *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr,
		    out);
		return true;
	}
	if (sa->sa_family != AF_INET6)
		return false;
	memcpy(out, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
	return true;
}

/* An address of this machine: the platform's own, whatever its range. */
static bool
is_own(const uint8_t a[16])
{
	struct ifaddrs *list = NULL;
	bool found = false;

	if (getifaddrs(&list) < 0)
		return false;
	for (const struct ifaddrs *i = list; i != NULL && !found; i = i->ifa_next) {
		uint8_t own[16];

		found =
		    i->ifa_addr != NULL && address_of(i->ifa_addr, own) && memcmp(own, a, 16) == 0;
	}
	freeifaddrs(list);
	return found;
}

static bool
is_inside(const uint8_t a[16])
{
	for (size_t i = 0; i < ARRAY_LEN(inside); i++) {
		if (is_in_text(inside[i], a))
			return true;
	}
	return false;
}

static bool
allows(const struct net_guard *g, const uint8_t a[16])
{
	for (size_t i = 0; i < g->n; i++) {
		if (is_in(&g->allow[i], a))
			return true;
	}
	if (is_inside(a) || is_own(a))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(embedded); i++) {
		uint8_t within[16];

		map_v4(a + embedded[i].at, within);
		if (is_in_text(embedded[i].range, a) && (is_inside(within) || is_own(within)))
			return false;
	}
	return true;
}

bool
net_guard_allows(const struct sockaddr *sa, void *guard)
{
	uint8_t a[16];

	return address_of(sa, a) && allows(guard, a);
}

struct net_guard *
net_guard_new(const struct str_list *allow, struct err *e)
{
	AUTO(net_guard_free) struct net_guard *g = xcalloc(1, sizeof *g);

	g->allow = xcalloc(allow->n + 1, sizeof *g->allow);
	for (size_t i = 0; i < allow->n; i++) {
		if (parse(allow->v[i], &g->allow[g->n++]) == 0)
			continue;
		(void)err_set(e, ERR_INVALID, "download-allow",
		    "'%.64s' is no address range: give ADDRESS or ADDRESS/BITS", allow->v[i]);
		return NULL;
	}
	return STEAL(g);
}

void
net_guard_free(struct net_guard *take_g)
{
	if (take_g == NULL)
		return;
	free(take_g->allow);
	free(take_g);
}

int
net_guard_resolve(const struct net_guard *g, const char *host, char **out_address, struct err *e)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	AUTO(free) char *plain = xstrdup(host);
	struct addrinfo *list = NULL;
	char text[INET6_ADDRSTRLEN + 1] = "";
	size_t n = strlen(plain);
	uint8_t a[16];

	if (n > 2 && plain[0] == '[' && plain[n - 1] == ']') {
		memmove(plain, plain + 1, n - 2);
		plain[n - 2] = '\0';
	}
	if (getaddrinfo(plain, NULL, &hints, &list) != 0)
		return err_set(e, ERR_NOT_FOUND, NULL, "the name %.200s does not resolve", host);
	for (const struct addrinfo *i = list; i != NULL && text[0] == '\0'; i = i->ai_next) {
		if (address_of(i->ai_addr, a) && allows(g, a))
			(void)getnameinfo(
			    i->ai_addr, i->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
	}
	freeaddrinfo(list);
	if (text[0] == '\0')
		return err_set(e, ERR_DENIED, NULL,
		    "the address of %.200s is inside this installation or a private network", host);
	*out_address = xstrdup(text);
	return 0;
}
