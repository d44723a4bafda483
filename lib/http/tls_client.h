/* lib/http/tls_client.h: one outgoing TLS connection on the loop: connected to an address that the
 * caller resolved, the peer's certificate verified against its host name; bytes both ways. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"

struct loop;
struct tls_client;

/* What the peer sends; borrowed for the call. false: no more of it until tls_client_resume. */
typedef bool tls_client_data_fn(const char *p, size_t n, void *arg);

struct tls_client_opts {
	const char *address; /* numeric; IPv4 or IPv6 */
	int port;
	const char *host;                 /* that the certificate must name */
	const char *ca_file;              /* NULL: the system's */
	const char *cert_file, *key_file; /* that are shown to the peer; NULL: none */
	int64_t connect_ms;               /* until the handshake has ended; 0: 10 s */
	tls_client_data_fn *on_data;      /* NULL: it is read and dropped */
};

/* e NULL: connected, or with is_drained the queue is empty again. Else it is broken, and to be
 * closed: the peer's certificate, a refused connection, a peer that went away. */
typedef void tls_client_fn(const struct err *e, void *arg);

/* All borrowed for the call. Never calls back from inside. NULL: ERR_INVALID, ERR_SYSTEM. */
struct tls_client *tls_client_start(struct loop *l, const struct tls_client_opts *o,
    tls_client_fn *fn, void *arg, struct err *e) MUST_CHECK;
/* Copies into the queue; only when connected. */
void tls_client_write(struct tls_client *c, const void *p, size_t n);
void tls_client_resume(struct tls_client *c);
size_t tls_client_queued(const struct tls_client *c);
void tls_client_close(struct tls_client *take_c); /* what is queued is lost; NULL is fine */
DEFINE_AUTO(struct tls_client *, tls_client_close)
