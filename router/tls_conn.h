/* router/tls_conn.h: TLS over a client's socket (RFC 8446, RFC 5246): the layer between sock and
 * the kernel. OpenSSL reads the socket itself; what it has to send is gathered in lane->sealed, so
 * that one write carries all of it. */
#pragma once

#include <stdbool.h>

#include "lib/base/str.h"

struct bio_method_st;
struct sock;
struct tls_ctx;

/* How OpenSSL reads and writes a sock; the caller's. NULL: out of memory. */
struct bio_method_st *tls_conn_method(void);
/* Lays TLS over s, as its server. -1: out of memory; s is as before. */
int tls_conn_start(struct sock *s, struct tls_ctx *ctx);
/* The handshake is over. */
bool tls_conn_is_ready(const struct sock *s);
/* The protocol that was agreed on by ALPN (RFC 7301); empty: none. */
struct str tls_conn_protocol(const struct sock *s);
