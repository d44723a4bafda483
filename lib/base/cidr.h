/* lib/base/cidr.h: networks of IPv4 and IPv6 addresses, "10.0.0.0/8", "2001:db8::/32" or one
 * address. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

enum { CIDR_TEXT_MAX = 64 };

/* IPv4 is mapped into IPv6 (::ffff:0:0/96), so that one comparison serves both. */
struct cidr {
	uint8_t addr[16];
	uint8_t bits;
};
struct cidr_list {
	struct cidr *v; /* owned */
	size_t n;
};

/* ERR_INVALID: no network; bits behind the prefix must be zero, or it is most likely a mistake. */
int cidr_parse(struct str text, struct cidr *out, struct err *e) MUST_CHECK;
/* Appends. */
int cidr_list_add(struct cidr_list *l, struct str text, struct err *e) MUST_CHECK;
void cidr_list_fini(struct cidr_list *l);
/* An address as text, 16 bytes of IPv6 out. false: it is none. */
bool cidr_address(const char *text, uint8_t out[16]);
bool cidr_list_has(const struct cidr_list *l, const uint8_t addr[16]);
