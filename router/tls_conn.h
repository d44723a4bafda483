/* router/tls_conn.h: TLS over a client's socket (RFC 8446, RFC 5246): the layer between sock and
 * the kernel. OpenSSL reads the socket itself; what it has to send is gathered in lane->sealed, so
 * that one write carries all of it. */
#pragma once

#include <stdint.h>

struct bio_method_st;
struct sock;
struct tls_ctx;

/* How OpenSSL reads and writes a sock; the caller's. NULL: out of memory. */
struct bio_method_st *tls_conn_method(void);
/* Lays TLS over s, as its server. -1: out of memory; s is as before. */
int tls_conn_start(struct sock *s, struct tls_ctx *ctx);
/* What the handshake took: told once, then, and without TLS, 0. */
int64_t tls_conn_take_us(struct sock *s);
