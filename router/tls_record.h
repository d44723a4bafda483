/* router/tls_record.h: records of TLS 1.3 behind the handshake (RFC 8446 5), for a server: what is
 * left to do for a connection when OpenSSL's object has ended its part, without its 12 KB. Has no
 * socket. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "lib/base/buf.h"

struct tls_record;
struct tls_record_kit;

enum {
	TLS_RECORD_HEAD = 5,
	TLS_RECORD_PLAIN = 16384,                                  /* bytes of data at most */
	TLS_RECORD_MAX = TLS_RECORD_HEAD + TLS_RECORD_PLAIN + 256, /* of a record */
};

enum tls_record_got {
	TLS_RECORD_DATA,   /* bytes of the application, or none of them */
	TLS_RECORD_QUIET,  /* what is nobody's data: new keys */
	TLS_RECORD_END,    /* close_notify */
	TLS_RECORD_BROKEN, /* the connection must end */
};

/* Algorithms that all connections share, read only. NULL: OpenSSL has them not. */
struct tls_record_kit *tls_record_kit_new(void);
void tls_record_kit_free(struct tls_record_kit *take_k); /* NULL is fine */

/* Without keys. kit: borrowed. */
struct tls_record *tls_record_new(const struct tls_record_kit *kit);
void tls_record_free(struct tls_record *take_r); /* wipes; NULL is fine */
/* A line of the form of SSLKEYLOGFILE, as the handshake goes on; others than of its two last
 * secrets are left aside. */
void tls_record_secret(struct tls_record *r, const char *line);
/* The handshake sent a record: counted once its last secret is known. */
void tls_record_sent(struct tls_record *r);
/* The handshake is over, and nothing behind it was read. suite: as in RFC 8446 B.4. false: no such
 * suite, not both secrets, or no memory. */
bool tls_record_start(struct tls_record *r, uint16_t suite);

/* Bytes of the record that p begins with, by its head, of which there are at least
 * TLS_RECORD_HEAD. 0: no connection has such a record. */
size_t tls_record_length(const unsigned char *p);
/* Opens the whole record p of n bytes. to: room for n - TLS_RECORD_HEAD bytes, or p +
 * TLS_RECORD_HEAD. answer: gets the alert if it is broken. */
enum tls_record_got tls_record_open(struct tls_record *r, unsigned char *p, size_t n,
    unsigned char *to, size_t *out_n, struct buf *answer);
/* Seals all of v behind what is in out, in as few records as hold it. -1: it cannot. */
int tls_record_seal(struct tls_record *r, struct buf *out, const struct iovec *v, int n);
/* The end of what is sent. */
void tls_record_close(struct tls_record *r, struct buf *out);
/* An alert for a record that is not even one: unexpected or too long. */
void tls_record_refuse(struct tls_record *r, struct buf *out);
