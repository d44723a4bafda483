/* router/peer.h: the address of a client, small: an IPv4 one in IPv6's form for it (RFC 4291
 * 2.5.5.2). */
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { PEER_TEXT = INET6_ADDRSTRLEN };

struct peer {
	uint8_t address[16];
	uint16_t port;
};

/* Of another family than IPv4 and IPv6: "::". */
struct peer peer_of(const struct sockaddr *sa);
/* The address as text; returns its length. */
size_t peer_text(const struct peer *p, char out[PEER_TEXT]);
