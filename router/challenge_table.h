/* router/challenge_table.h: what the router answers to authorities that give certificates
 * (HTTP-01, RFC 8555 8.3): few, for seconds. Changed by the control thread, read by lanes: a lock
 * that only requests below /.well-known/acme-challenge/ take. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"
#include "lib/wire/wire_acme.h"

struct challenge_table;

#define CHALLENGE_PATH "/.well-known/acme-challenge/"

struct challenge_table *challenge_table_new(void);
void challenge_table_free(struct challenge_table *take_t); /* NULL is fine */

/* --- control thread --- */
/* key: as the feed has it, HOST/TOKEN. ERR_INVALID. */
int challenge_table_put(struct challenge_table *t, const char *key, const struct wire_challenge *c,
    struct err *e) MUST_CHECK;
bool challenge_table_delete(struct challenge_table *t, const char *key);
/* All of them go: a snapshot begins, which holds those that are left. */
void challenge_table_clear(struct challenge_table *t);
typedef void challenge_visit_fn(const char *key, const struct wire_challenge *c, void *arg);
void challenge_table_each(struct challenge_table *t, challenge_visit_fn *fn, void *arg);

/* --- any thread --- */
/* The answer for a target that begins with CHALLENGE_PATH. false: there is none. */
bool challenge_table_find(struct challenge_table *t, const char *host, const char *target, size_t n,
    char out[WIRE_CHALLENGE_ANSWER_MAX + 1]);
