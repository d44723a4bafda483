#include "router/affinity.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "router/balance.h"
#include "router/client_conn.h"
#include "router/cookie.h"
#include "router/filter.h"
#include "router/gate.h"
#include "router/head_edit.h"
#include "router/host_route.h"
#include "router/lane.h"
#include "router/proxy.h"
#include "router/route_options.h"
#include "router/to_https.h"
#include "router/upstream.h"

static const char digest_key[] = "pinion affinity";

static struct lane *
lane_of(const struct proxy *x)
{
	return x->client->sock.lane;
}

/* --- numbers --- */

/* FNV-1a. */
static uint64_t
add_bytes(uint64_t h, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * 0x100000001b3u;
	return h;
}

/* All bits of it count in all bits of the result (as in MurmurHash3's end). */
static uint64_t
mix(uint64_t h)
{
	h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
	h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
	return h ^ (h >> 33);
}

uint32_t
affinity_client(const uint8_t address[16])
{
	static const uint8_t four[12] = { [10] = 0xff, [11] = 0xff };
	size_t n = memcmp(address, four, sizeof four) == 0 ? 16 : 8;

	return (uint32_t)mix(add_bytes(0xcbf29ce484222325u, address, n));
}

unsigned
affinity_place(uint32_t client, const char *salt, const char *of)
{
	uint64_t h = add_bytes(0xcbf29ce484222325u, &client, sizeof client);

	h = add_bytes(h, salt, strlen(salt) + 1);
	return (unsigned)((mix(add_bytes(h, of, strlen(of))) >> 32) % AFFINITY_SHARES);
}

/* --- the cookie --- */

void
affinity_write(const struct affinity *a, char out[AFFINITY_TEXT])
{
	(void)snprintf(out, AFFINITY_TEXT, "%016" PRIx64 "-%08" PRIx32, a->instance, a->client);
}

static bool
read_hex(const char *p, size_t n, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < n; i++) {
		const char *digits = "0123456789abcdef";
		const char *d = p[i] == '\0' ? NULL : strchr(digits, p[i]);

		if (d == NULL)
			return false;
		*out = *out << 4 | (uint64_t)(d - digits);
	}
	return true;
}

bool
affinity_parse(const char *text, struct affinity *out)
{
	uint64_t instance, client;

	if (strlen(text) != AFFINITY_TEXT - 1 || !read_hex(text, 16, &instance) ||
	    text[16] != '-' || !read_hex(text + 17, 8, &client))
		return false;
	*out = (struct affinity){
		.instance = instance, .client = (uint32_t)client, .has_cookie = true
	};
	return true;
}

void
affinity_begin(struct proxy *x, const char *cookie, struct affinity *out)
{
	char value[AFFINITY_TEXT + 1];

	if (cookie != NULL && cookie_take(&x->head, cookie, value, sizeof value) &&
	    affinity_parse(value, out))
		return;
	*out = (struct affinity){ .client = affinity_client(x->client->peer.address) };
}

/* A digest, once in each lane. Never 0. */
static uint64_t
digest_of(const struct lane *l, struct host_endpoint *ep)
{
	struct host_use *u = host_endpoint_use(ep, l->index);
	const char *id = host_endpoint_id(ep);
	char address[HOST_ENDPOINT_TEXT];
	uint8_t d[32];

	if (u->digest == 0) {
		if (*id == '\0')
			id = host_endpoint_text(ep, address);
		secret_hmac(digest_key, strlen(digest_key), id, strlen(id), d);
		memcpy(&u->digest, d, sizeof u->digest);
		u->digest |= u->digest == 0;
	}
	return u->digest;
}

void
affinity_answer(const struct proxy *x, struct buf *head)
{
	const struct filter *f = x->filter;
	const struct wire_routing *set = &f->opts->set;
	struct affinity a = f->affinity;
	char value[AFFINITY_TEXT];
	AUTO_FINI(buf_fini) struct buf cookie = { 0 };

	if (set->sticky_cookie == NULL || x->pool == NULL)
		return;
	a.instance = digest_of(lane_of(x), x->pool->ep);
	if (a.has_cookie && (a.instance == f->affinity.instance || f->affinity.is_busy))
		return;
	affinity_write(&a, value);
	buf_addf(&cookie, "%s=%s; Path=%s; HttpOnly; SameSite=Lax", set->sticky_cookie, value,
	    f->below == NULL ? "/" : f->below);
	if (set->sticky_s != 0)
		buf_addf(&cookie, "; Max-Age=%" PRId64, set->sticky_s);
	if (to_https_came(x))
		buf_adds(&cookie, "; Secure");
	head_edit_add(head, "Set-Cookie", cookie.p);
	head_edit_add(head, "Cache-Control", "private"); /* it is this client's alone */
}

/* --- the choice --- */

static bool
was_tried(const struct proxy *x, const struct host_endpoint *ep)
{
	for (size_t i = 0; i < x->tries; i++) {
		if (x->tried[i] == ep)
			return true;
	}
	return false;
}

static struct upstream_pool *
pick(struct proxy *x, const struct host_route *r)
{
	struct lane *l = lane_of(x);
	uint64_t wanted = x->filter == NULL ? 0 : x->filter->affinity.instance;

	for (size_t i = 0; wanted != 0 && i < r->n; i++) {
		if (digest_of(l, r->ep[i]) != wanted || was_tried(x, r->ep[i]) ||
		    !balance_is_in(l, r->ep[i]))
			continue;
		if (gate_has_room(r->ep[i], gate_limit(r)))
			return upstream_pool_of(l, r->ep[i]);
		x->filter->affinity.is_busy = true;
	}
	return balance_pick(l, r, x->tried, x->tries);
}

struct upstream_pool *
affinity_pick(struct proxy *x, const struct host_route *r)
{
	const struct host_route *canary = r->rare == NULL ? NULL : r->rare->canary;
	struct upstream_pool *p;
	uint32_t client;
	bool is_in;

	if (x->filter != NULL)
		x->filter->affinity.is_busy = false;
	if (canary == NULL)
		return pick(x, r);
	client = x->filter != NULL ? x->filter->affinity.client
	                           : affinity_client(x->client->peer.address);
	is_in = affinity_place(client, "canary", host_route_app_id(r)) < r->rare->canary_percent;
	p = pick(x, is_in ? canary : r);
	return p != NULL ? p : pick(x, is_in ? r : canary);
}

const struct host_route *
affinity_part(const struct host_route *r, const struct host_endpoint *ep)
{
	const struct host_route *canary = r == NULL || r->rare == NULL ? NULL : r->rare->canary;

	for (size_t i = 0; canary != NULL && i < canary->n; i++) {
		if (canary->ep[i] == ep)
			return canary;
	}
	return r;
}
