/* router/tls_out.h: TLS to instances: what all such connections of a lane share, and the session of
 * an instance, so that the next handshake is short. Certificates are not looked at, as in v2: the
 * address is the node's word already. */
#pragma once

struct sock;
struct ssl_session_st;
struct tls_out;

struct tls_out *tls_out_new(void);         /* NULL: OpenSSL cannot be set up */
void tls_out_free(struct tls_out *take_t); /* its connections are gone; NULL is fine */
/* Lays TLS over s, as a client that asks for host (unless that is an address). session: where the
 * last one of the instance is kept, longer than s lives. -1: errno; s is as before. */
int tls_out_start(
    struct tls_out *t, struct sock *s, const char *host, struct ssl_session_st **session);
void tls_out_forget(struct ssl_session_st **session); /* frees what is kept; NULL in it is fine */
