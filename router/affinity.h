/* router/affinity.h: who gets which deployment, and which instance.
 *
 * Each client has a number: of its address (an IPv6 client is its /64), or, where sessions are
 * sticky, from its cookie. By that it falls into shares: of other applications, of a canary. So it
 * stays with its share, and a larger one only takes clients in.
 *
 * The cookie ("INSTANCE-NUMBER" in hex) names an instance as well, by a digest of its id (in a
 * static table of its address): that one is asked as long as it is in the client's share and works.
 * Else there is another choice, and a new cookie. Where it only has no room (router/gate.h) another
 * one answers that request, and the cookie stays. The application does not see the cookie. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"

struct host_endpoint;
struct host_route;
struct proxy;
struct upstream_pool;

enum { AFFINITY_SHARES = 100, AFFINITY_TEXT = 16 + 1 + 8 + 1 };

struct affinity {
	uint64_t instance; /* that the cookie names; 0: none */
	uint32_t client;   /* its number */
	bool has_cookie;   /* and it is from there */
	bool is_busy;      /* that instance works, but has no room for the request */
};

uint32_t affinity_client(const uint8_t address[16]);
/* 0 to 99: where the client is among the shares of what `of` names; salt: of which kind they are.
 */
unsigned affinity_place(uint32_t client, const char *salt, const char *of);
/* A cookie's value and back. */
void affinity_write(const struct affinity *a, char out[AFFINITY_TEXT]);
bool affinity_parse(const char *text, struct affinity *out);

/* Of an exchange that begins: cookie is the name that its owner gave; NULL: sessions are not
 * sticky. Takes it out of x->head. */
void affinity_begin(struct proxy *x, const char *cookie, struct affinity *out);
/* As balance_pick for x and its route r, but within the client's share, and the instance that its
 * cookie names first. */
struct upstream_pool *affinity_pick(struct proxy *x, const struct host_route *r);
/* The part of r that ep is of: r, or its canary. r NULL: NULL. */
const struct host_route *affinity_part(const struct host_route *r, const struct host_endpoint *ep);
/* To the head of the answer: the cookie, unless the client has just that. */
void affinity_answer(const struct proxy *x, struct buf *head);
