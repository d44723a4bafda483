#include "lib/base/cidr.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

enum { MAPPED_BITS = 96, ALL_BITS = 128 };

bool
cidr_address(const char *text, uint8_t out[16])
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	if (inet_pton(AF_INET, text, out + sizeof mapped) == 1) {
		memcpy(out, mapped, sizeof mapped);
		return true;
	}
	return inet_pton(AF_INET6, text, out) == 1;
}

/* Whether the first n bits are the same. */
static bool
same_bits(const uint8_t *a, const uint8_t *b, unsigned n)
{
	unsigned bytes = n / 8, rest = n % 8;

	if (memcmp(a, b, bytes) != 0)
		return false;
	return rest == 0 || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0;
}

static bool
is_cut_clean(const struct cidr *c)
{
	for (unsigned i = c->bits; i < ALL_BITS; i++) {
		if ((c->addr[i / 8] >> (7 - i % 8) & 1) != 0)
			return false;
	}
	return true;
}

int
cidr_parse(struct str text, struct cidr *out, struct err *e)
{
	struct str address, prefix = str_cut(text, '/', &address);
	char copy[CIDR_TEXT_MAX];
	int64_t bits;
	bool four;

	if (address.n >= sizeof copy)
		return err_set(e, ERR_INVALID, NULL, "is no IP address or network");
	memcpy(copy, address.p, address.n);
	copy[address.n] = '\0';
	if (memchr(copy, '\0', address.n) != NULL || !cidr_address(copy, out->addr))
		return err_set(e, ERR_INVALID, NULL,
		    "is no IP address or network like 192.0.2.0/24 or 2001:db8::/32");
	four = memchr(copy, ':', address.n) == NULL;
	bits = four ? ALL_BITS - MAPPED_BITS : ALL_BITS;
	if (prefix.p != NULL && str_to_i64(prefix, 0, bits, "prefix", &bits, e) < 0)
		return -1;
	out->bits = (uint8_t)(four ? bits + MAPPED_BITS : bits);
	if (!is_cut_clean(out))
		return err_set(e, ERR_INVALID, NULL,
		    "has bits behind its prefix /%d: is one address meant?", (int)bits);
	return 0;
}

int
cidr_list_add(struct cidr_list *l, struct str text, struct err *e)
{
	struct cidr c;

	if (cidr_parse(text, &c, e) < 0)
		return -1;
	l->v = xreallocarray(l->v, l->n + 1, sizeof *l->v);
	l->v[l->n++] = c;
	return 0;
}

void
cidr_list_fini(struct cidr_list *l)
{
	free(l->v);
	*l = (struct cidr_list){ 0 };
}

bool
cidr_list_has(const struct cidr_list *l, const uint8_t addr[16])
{
	for (size_t i = 0; i < l->n; i++) {
		if (same_bits(l->v[i].addr, addr, l->v[i].bits))
			return true;
	}
	return false;
}
