#include "router/host_endpoint.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/wire/wire_route.h"
#include "router/host_key.h"

enum { BUCKETS_MIN = 64, ADDRESS_MAX = 16 };

/* By linear hashing: a bucket is split with each endpoint that comes, so that none costs more than
 * another, however many there are. */
struct host_endpoint_set {
	struct host_endpoint **bucket; /* owned */
	size_t cap;                    /* room for buckets */
	size_t level;                  /* a power of two: level <= buckets < 2 * level */
	size_t split;                  /* buckets below it were split: level + split there are */
	size_t n;
	uint64_t seed;
	int lanes;
};

static uint32_t
now_ds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t); /* as lanes have it */
	return (uint32_t)(t.tv_sec * 10 + t.tv_nsec / 100000000);
}

/* What names an endpoint. */
struct name {
	unsigned char address[ADDRESS_MAX];
	uint8_t address_n;
	in_port_t port;
	bool is_tls;
	const char *id;
};

/* --- one --- */

/* "127.0.0.1" as most are: quicker than inet_pton, and no less strict. */
static bool
parse_four(const char *p, unsigned char out[4])
{
	for (int i = 0; i < 4; i++) {
		unsigned v = 0, digits = 0;

		for (; *p >= '0' && *p <= '9' && digits < 3; p++, digits++)
			v = v * 10 + (unsigned)(*p - '0');
		if (digits == 0 || v > 255 || (digits > 1 && p[-(int)digits] == '0') ||
		    *p != (i < 3 ? '.' : '\0'))
			return false;
		out[i] = (unsigned char)v;
		p++;
	}
	return true;
}

static int
parse_name(const struct wire_endpoint *w, bool is_tls, struct name *out, struct err *e)
{
	if (w->port < 1 || w->port > 65535)
		return err_set(
		    e, ERR_INVALID, "port", "must be 1..65535, is %lld", (long long)w->port);
	out->port = htons((uint16_t)w->port);
	out->is_tls = is_tls;
	out->id = w->id == NULL ? "" : w->id;
	if (w->address != NULL && parse_four(w->address, out->address))
		out->address_n = 4;
	else if (w->address != NULL && inet_pton(AF_INET6, w->address, out->address) == 1)
		out->address_n = 16;
	else
		return err_set(e, ERR_INVALID, "address", "is no IPv4 or IPv6 address: \"%s\"",
		    w->address == NULL ? "" : w->address);
	return 0;
}

static struct name
name_of(const struct host_endpoint *ep)
{
	struct name m = { .address_n = ep->address_n,
		.port = ep->port,
		.is_tls = ep->is_tls,
		.id = host_endpoint_id(ep) };

	memcpy(m.address, ep->data, ep->address_n);
	return m;
}

static bool
is_named(const struct host_endpoint *ep, const struct name *m)
{
	return ep->port == m->port && ep->address_n == m->address_n && ep->is_tls == m->is_tls &&
	       memcmp(ep->data, m->address, m->address_n) == 0 &&
	       strcmp(host_endpoint_id(ep), m->id) == 0;
}

int
host_endpoint_check(const struct wire_endpoint *w, struct err *e)
{
	struct name unused;

	return parse_name(w, false, &unused, e);
}

bool
host_endpoint_is(const struct host_endpoint *ep, const struct wire_endpoint *w, bool is_tls)
{
	struct name m;
	struct err e = { 0 };

	return parse_name(w, is_tls, &m, &e) == 0 && is_named(ep, &m);
}

const char *
host_endpoint_id(const struct host_endpoint *ep)
{
	return ep->data + ep->address_n;
}

socklen_t
host_endpoint_address(const struct host_endpoint *ep, struct sockaddr_storage *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	if (ep->address_n == 4) {
		*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = ep->port };
		memcpy(&in->sin_addr, ep->data, 4);
		return sizeof *in;
	}
	*in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = ep->port };
	memcpy(&in6->sin6_addr, ep->data, 16);
	return sizeof *in6;
}

char *
host_endpoint_text(const struct host_endpoint *ep, char out[HOST_ENDPOINT_TEXT])
{
	char address[INET6_ADDRSTRLEN];
	bool six = ep->address_n == 16;

	(void)inet_ntop(six ? AF_INET6 : AF_INET, ep->data, address, sizeof address);
	(void)snprintf(
	    out, HOST_ENDPOINT_TEXT, six ? "[%s]:%d" : "%s:%d", address, ntohs(ep->port));
	return out;
}

struct host_use *
host_endpoint_use(struct host_endpoint *ep, int lane)
{
	struct host_use *u = atomic_load_explicit(&ep->use, memory_order_acquire), *made;
	size_t size = ep->lanes * sizeof *u;

	if (u != NULL)
		return &u[lane];
	made = aligned_alloc(_Alignof(struct host_use), size);
	if (made == NULL)
		abort();
	memset(made, 0, size);
	if (atomic_compare_exchange_strong(&ep->use, &u, made))
		return &made[lane];
	free(made); /* another lane was first */
	return &u[lane];
}

static void
endpoint_free(struct host_endpoint *take_ep)
{
	free(atomic_load(&take_ep->use));
	free(take_ep);
}

void
host_gone_free(struct host_gone *take_g)
{
	if (take_g == NULL)
		return;
	endpoint_free(take_g->ep);
	free(take_g);
}

/* --- the set --- */

static size_t
bucket_of(const struct host_endpoint_set *s, const struct name *m)
{
	char key[ADDRESS_MAX + sizeof m->port];
	uint32_t h;
	size_t b;

	memcpy(key, &m->port, sizeof m->port);
	memcpy(key + sizeof m->port, m->address, m->address_n);
	h = host_key_hash(s->seed, key, sizeof m->port + m->address_n) ^
	    host_key_hash(s->seed, m->id, strlen(m->id));
	b = h & (s->level - 1);
	return b < s->split ? h & (2 * s->level - 1) : b;
}

static void
split_one(struct host_endpoint_set *s)
{
	size_t from = s->split;
	struct host_endpoint *ep = s->bucket[from], *next;

	if (s->level + s->split == s->cap) {
		s->cap *= 2;
		s->bucket = xreallocarray(s->bucket, s->cap, sizeof *s->bucket);
	}
	s->bucket[from] = s->bucket[s->level + from] = NULL;
	s->split++;
	for (; ep != NULL; ep = next) {
		struct name m = name_of(ep);
		struct host_endpoint **to = &s->bucket[bucket_of(s, &m)];

		next = ep->next;
		ep->next = *to;
		*to = ep;
	}
	if (s->split == s->level) {
		s->level *= 2;
		s->split = 0;
	}
}

/* Where it is, or would be. */
static struct host_endpoint **
seek(const struct host_endpoint_set *s, const struct name *m)
{
	struct host_endpoint **at = &s->bucket[bucket_of(s, m)];

	while (*at != NULL && !is_named(*at, m))
		at = &(*at)->next;
	return at;
}

struct host_endpoint *
host_endpoint_ref(struct host_endpoint_set *s, const struct wire_endpoint *w, bool is_tls)
{
	struct host_endpoint *ep, **at;
	struct name m;
	struct err e = { 0 };
	size_t id_n;

	if (parse_name(w, is_tls, &m, &e) < 0)
		abort(); /* was checked before */
	at = seek(s, &m);
	if (*at != NULL) {
		(*at)->refs++;
		return *at;
	}
	id_n = strlen(m.id) + 1;
	ep = xcalloc(1, sizeof *ep + m.address_n + id_n);
	ep->refs = 1;
	ep->born_ds = now_ds();
	ep->port = m.port;
	ep->address_n = m.address_n == 4 ? 4 : 16;
	ep->is_tls = is_tls;
	ep->lanes = (uint8_t)s->lanes;
	memcpy(ep->data, m.address, m.address_n);
	memcpy(ep->data + m.address_n, m.id, id_n);
	*at = ep;
	s->n++;
	if (s->n > s->level + s->split)
		split_one(s);
	return ep;
}

struct host_gone *
host_endpoint_unref(struct host_endpoint_set *s, struct host_endpoint *ep)
{
	struct host_endpoint **at;
	struct host_gone *g;
	struct name m;

	if (--ep->refs != 0)
		return NULL;
	m = name_of(ep);
	at = seek(s, &m);
	*at = ep->next;
	s->n--;
	g = xcalloc(1, sizeof *g);
	g->ep = ep;
	ep->gone = g;
	return g;
}

bool
host_endpoint_is_routed(const struct host_endpoint_set *s, const struct host_endpoint *ep)
{
	struct name m = name_of(ep);

	return *seek(s, &m) != NULL;
}

struct host_endpoint_set *
host_endpoint_set_new(int lanes)
{
	struct host_endpoint_set *s = xcalloc(1, sizeof *s);

	s->lanes = lanes;
	s->level = BUCKETS_MIN;
	s->cap = 2 * BUCKETS_MIN;
	s->bucket = xcalloc(s->cap, sizeof *s->bucket);
	secret_random(&s->seed, sizeof s->seed);
	return s;
}

void
host_endpoint_set_free(struct host_endpoint_set *take_s)
{
	if (take_s == NULL)
		return;
	for (size_t i = 0; i < take_s->level + take_s->split; i++) {
		while (take_s->bucket[i] != NULL) {
			struct host_endpoint *ep = take_s->bucket[i];

			take_s->bucket[i] = ep->next;
			endpoint_free(ep);
		}
	}
	free(take_s->bucket);
	free(take_s);
}
