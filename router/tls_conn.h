/* router/tls_conn.h: TLS over a socket (RFC 8446, RFC 5246), of a client or to an instance: the
 * layer between sock and the kernel. OpenSSL reads the socket itself; what it has to send is
 * gathered in lane->sealed, so that one write carries all of it. A client's connection of TLS 1.3
 * becomes a tls_light when its handshake is over. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bio_method_st;
struct bio_st;
struct sock;
struct ssl_ctx_st;
struct ssl_st;
struct tls_ctx;

/* How OpenSSL reads and writes a sock; the caller's. NULL: out of memory. */
struct bio_method_st *tls_conn_method(void);
/* For the connections to be of s: they learn the secrets that a client's handshake ends with. */
void tls_conn_listen(struct ssl_ctx_st *s);
/* Lays TLS over s, as its server. -1: out of memory; s is as before. */
int tls_conn_start(struct sock *s, struct tls_ctx *ctx);
/* As a client that asks for host. Nothing is taken before the handshake has ended, which whoever
 * writes drives on. */
void tls_conn_start_client(
    struct sock *s, struct ssl_st *take_ssl, struct bio_st *take_bio, const char *host);
/* Why that did not end well: a sentence; NULL: it did, or the socket failed, or it is none. */
const char *tls_conn_why(const struct sock *s);
/* Whether such a connection, idle, may take a request for host. */
bool tls_conn_may_serve(const struct sock *s, const char *host);
/* What the handshake took: told once, then, and without TLS, 0. */
int64_t tls_conn_take_us(struct sock *s);
