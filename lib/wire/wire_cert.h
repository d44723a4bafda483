/* lib/wire/wire_cert.h: certificates and ticket keys, as the store holds them and routers get them.
 */
#pragma once

#include "lib/codec/codec.h"

/* key: store_key_cert(host); kind "cert" of the routers' feed, key = host. */
struct wire_cert {
	char *host;   /* exact, or "*.example.com": one label before it */
	char *app_id; /* whose alias; NULL: the platform's */
	char *chain;  /* PEM */
	char *key;    /* PEM */
	char *source; /* user, acme, admin */
	int64_t added_at, not_before, not_after; /* Unix time */
	char *staple;                            /* OCSP response, base64; NULL: none */
	char *extra;
};
DECLARE_CODEC(wire_cert, struct wire_cert)

enum { WIRE_TICKET_KEYS_MAX = 4 };
/* A key of session tickets. */
struct wire_ticket_key {
	char *key; /* 80 bytes, base64: name 16, AES 32, HMAC 32 */
	int64_t made_at;
};
DECLARE_CODEC(wire_ticket_key, struct wire_ticket_key)
struct wire_ticket_key_list {
	struct wire_ticket_key *v;
	size_t n;
};
/* kind "tickets" of the routers' feed: tickets are made with the first, and taken by all. */
struct wire_tickets {
	struct wire_ticket_key_list keys;
};
DECLARE_CODEC(wire_tickets, struct wire_tickets)
