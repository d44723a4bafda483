/* router/basic_auth.h: HTTP basic authentication (RFC 7617) of a route. A password is checked by
 * PBKDF2 once, which takes about a millisecond, and remembered as a keyed digest: a lane's own. How
 * often that is done is bounded, for an address and for the lane. */
#pragma once

#include <stdint.h>

#include "lib/base/str.h"

struct basic_auth;
struct rate;
struct wire_routing_user_list;

enum {
	BASIC_AUTH_PAIR_MAX = 400,  /* bytes of name and password */
	BASIC_AUTH_RATE = 5,        /* checks of an address in a second */
	BASIC_AUTH_BURST = 20,      /* at once */
	BASIC_AUTH_LANE_RATE = 100, /* of a lane in a second, and at once */
};

enum basic_auth_result { BASIC_AUTH_OK, BASIC_AUTH_NO, BASIC_AUTH_BUSY };

struct basic_auth *basic_auth_new(void);
void basic_auth_free(struct basic_auth *take_a); /* NULL is fine */
/* header: the value of Authorization. key: of the client in the rates. */
enum basic_auth_result basic_auth_check(struct basic_auth *a, struct rate *rates, uint64_t key,
    const struct wire_routing_user_list *users, struct str header, int64_t now_ms);
/* Name and password of a value, into out (their end is marked by NUL); false: it is malformed. */
bool basic_auth_parse(
    struct str header, char out[BASIC_AUTH_PAIR_MAX + 2], struct str *name, struct str *password);
