/* router/cert_table.h: certificates by host, for handshakes: kept as text, made ready at the first
 * handshake that asks, and bounded in how many are ready. Changed by the control thread, read by
 * lanes: a lock that is held for a look-up. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/wire/wire_cert.h"

struct cert_table;
struct ssl_ctx_st;

enum { CERT_TICKET_KEY = 80, CERT_READY_MAX = 1024 };

/* Makes what OpenSSL has ready of a certificate; any thread. NULL: it cannot be used. */
typedef struct ssl_ctx_st *cert_make_fn(
    const char *host, const char *chain, const char *key, const char *staple, void *arg);

struct cert_table *cert_table_new(cert_make_fn *make, void *arg);
void cert_table_free(struct cert_table *take_t);

/* --- control thread --- */
/* Connections that have the old one keep it. ERR_INVALID: no chain or key in it. */
int cert_table_put(struct cert_table *t, const struct wire_cert *c, struct err *e) MUST_CHECK;
bool cert_table_delete(struct cert_table *t, const char *host);
/* Marks all, and removes those that were not put since. */
void cert_table_begin_sweep(struct cert_table *t);
void cert_table_sweep(struct cert_table *t);
/* A walk through all but those of files (source "file"), which no sweep takes either: n at a time.
 * The table may change between two steps: who is put meanwhile is seen at the end. One walk at a
 * time. false: that was the last. */
typedef void cert_visit_fn(const struct wire_cert *c, void *arg);
void cert_table_begin_walk(struct cert_table *t);
bool cert_table_walk(struct cert_table *t, int n, cert_visit_fn *fn, void *arg);
/* 80 bytes each; the first makes tickets, all are taken. */
int cert_table_set_tickets(
    struct cert_table *t, const struct wire_tickets *keys, struct err *e) MUST_CHECK;
void cert_table_tickets(const struct cert_table *t, struct wire_tickets *out); /* zeroed */
/* A key more in front, the last beyond four goes: where no broker makes them. */
void cert_table_rotate(struct cert_table *t);

/* --- any thread --- */
size_t cert_table_count(struct cert_table *t);
/* By the exact name, then *.rest. NULL: none, or it cannot be used. The caller's: SSL_CTX_free. */
struct ssl_ctx_st *cert_table_find(struct cert_table *t, const char *host);
/* The key of that name (16 bytes), or the newest (name NULL), into out. 0: unknown; 1: the newest;
 * 2: an older one. */
int cert_table_ticket(
    struct cert_table *t, const unsigned char *name, unsigned char out[CERT_TICKET_KEY]);
