/* router/tls_hello.h: what a client's hello says before anything is chosen: bytes from outside. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { TLS_HELLO_HOST_MAX = 255 };

/* server_name extension (RFC 6066 3): lower case, without a final dot, into out. false: there is
 * none that is a host name. */
bool tls_hello_host(const unsigned char *p, size_t n, char out[TLS_HELLO_HOST_MAX + 1]);
/* application_layer_protocol_negotiation extension (RFC 7301): does it name proto? */
bool tls_hello_offers(const unsigned char *p, size_t n, const char *proto);
