#include "router/proxy_protocol.h"

#include <arpa/inet.h>
#include <string.h>

#include "lib/base/cidr.h"
#include "lib/base/err.h"
#include "lib/base/str.h"

enum {
	LINE_MAX_1 = 107, /* with its end */
	HEAD_2 = 16,
	COMMAND_LOCAL = 0,
	COMMAND_PROXY = 1,
	FAMILY_INET = 1,
	FAMILY_INET6 = 2,
	PORTS = 4,
};

static const char sign_1[] = "PROXY ", sign_2[] = "\r\n\r\n\0\r\nQUIT\n";

/* --- version 1: a line --- */

static bool
parse_address(struct str text, bool six, uint8_t out[16])
{
	char copy[PEER_TEXT];

	if (text.n == 0 || text.n >= sizeof copy || memchr(text.p, '\0', text.n) != NULL)
		return false;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	return (strchr(copy, ':') != NULL) == six && cidr_address(copy, out);
}

static bool
parse_port(struct str text, uint16_t *out)
{
	struct err e = { 0 };
	int64_t v;

	if (text.n == 0 || text.n > 5 || (text.n > 1 && *text.p == '0') ||
	    str_to_i64(text, 0, 65535, "port", &v, &e) < 0)
		return false;
	*out = (uint16_t)v;
	return true;
}

static enum proxy_protocol_result
parse_1(const char *p, size_t n, struct proxy_protocol *out)
{
	const char *end = memchr(p, '\n', n < LINE_MAX_1 ? n : LINE_MAX_1);
	struct str rest, word[5];
	struct peer to;
	bool six;

	if (end == NULL)
		return n < LINE_MAX_1 ? PROXY_PROTOCOL_MORE : PROXY_PROTOCOL_BAD;
	out->size = (size_t)(end + 1 - p);
	if (out->size < sizeof sign_1 + 1 || end[-1] != '\r')
		return PROXY_PROTOCOL_BAD;
	rest = (struct str){ p + sizeof sign_1 - 1, out->size - sizeof sign_1 - 1 };
	for (size_t i = 0; i < 5; i++)
		rest = str_cut(rest, ' ', &word[i]);
	if (str_eq(word[0], "UNKNOWN"))
		return PROXY_PROTOCOL_OK;
	six = str_eq(word[0], "TCP6");
	if ((!six && !str_eq(word[0], "TCP4")) || rest.p != NULL ||
	    !parse_address(word[1], six, out->client.address) ||
	    !parse_address(word[2], six, to.address) || !parse_port(word[3], &out->client.port) ||
	    !parse_port(word[4], &to.port))
		return PROXY_PROTOCOL_BAD;
	out->has_client = true;
	return PROXY_PROTOCOL_OK;
}

/* --- version 2: bytes --- */

static enum proxy_protocol_result
parse_2(const uint8_t *p, size_t n, struct proxy_protocol *out)
{
	size_t length;

	if (n < HEAD_2)
		return PROXY_PROTOCOL_MORE;
	length = (size_t)p[14] << 8 | p[15];
	out->size = HEAD_2 + length;
	if (p[12] >> 4 != 2 || (p[12] & 15) > COMMAND_PROXY || out->size > PROXY_PROTOCOL_MAX)
		return PROXY_PROTOCOL_BAD;
	if (n < out->size)
		return PROXY_PROTOCOL_MORE;
	if ((p[12] & 15) == COMMAND_LOCAL)
		return PROXY_PROTOCOL_OK;
	p += HEAD_2;
	/* Behind the addresses lie TLVs, which tell nothing that we need. */
	if (p[-3] >> 4 == FAMILY_INET) {
		struct sockaddr_in in = { .sin_family = AF_INET };

		if (length < 2 * sizeof in.sin_addr + PORTS)
			return PROXY_PROTOCOL_BAD;
		memcpy(&in.sin_addr, p, sizeof in.sin_addr);
		memcpy(&in.sin_port, p + 2 * sizeof in.sin_addr, sizeof in.sin_port);
		out->client = peer_of((const struct sockaddr *)&in);
		out->has_client = true;
	} else if (p[-3] >> 4 == FAMILY_INET6) {
		struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

		if (length < 2 * sizeof in6.sin6_addr + PORTS)
			return PROXY_PROTOCOL_BAD;
		memcpy(&in6.sin6_addr, p, sizeof in6.sin6_addr);
		memcpy(&in6.sin6_port, p + 2 * sizeof in6.sin6_addr, sizeof in6.sin6_port);
		out->client = peer_of((const struct sockaddr *)&in6);
		out->has_client = true;
	}
	return PROXY_PROTOCOL_OK;
}

static bool
begins(const char *p, size_t n, const char *sign, size_t sign_n)
{
	return memcmp(p, sign, n < sign_n ? n : sign_n) == 0;
}

enum proxy_protocol_result
proxy_protocol_parse(const void *p, size_t n, struct proxy_protocol *out)
{
	*out = (struct proxy_protocol){ 0 };
	if (n == 0)
		return PROXY_PROTOCOL_MORE;
	if (begins(p, n, sign_1, sizeof sign_1 - 1))
		return parse_1(p, n, out);
	if (begins(p, n, sign_2, sizeof sign_2 - 1))
		return parse_2(p, n, out);
	return PROXY_PROTOCOL_BAD;
}
