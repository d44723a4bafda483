#include "router/peer.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

struct peer
peer_of(const struct sockaddr *sa)
{
	struct peer p = { 0 };

	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

		memcpy(p.address, &in6->sin6_addr, sizeof p.address);
		p.port = ntohs(in6->sin6_port);
	} else if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

		memcpy(p.address, mapped, sizeof mapped);
		memcpy(p.address + sizeof mapped, &in->sin_addr, 4);
		p.port = ntohs(in->sin_port);
	}
	return p;
}

static char *
add_octet(char *to, unsigned v)
{
	if (v >= 100)
		*to++ = (char)('0' + v / 100);
	if (v >= 10)
		*to++ = (char)('0' + v / 10 % 10);
	*to++ = (char)('0' + v % 10);
	return to;
}

size_t
peer_text(const struct peer *p, char out[PEER_TEXT])
{
	char *to = out;

	if (memcmp(p->address, mapped, sizeof mapped) != 0) {
		(void)inet_ntop(AF_INET6, p->address, out, PEER_TEXT);
		return strlen(out);
	}
	for (size_t i = sizeof mapped; i < sizeof p->address; i++) {
		to = add_octet(to, p->address[i]);
		*to++ = '.';
	}
	*--to = '\0';
	return (size_t)(to - out);
}
