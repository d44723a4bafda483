/* broker/record.h: records of the store as structs: read one, walk many, put into a transaction. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/codec/codec.h"
#include "lib/store/store.h"
#include "lib/wire/wire_app.h"

/* The record at key (taken and freed) into out (zeroed). ERR_NOT_FOUND: absent; ERR_BUG: does not
 * decode. out_rev (may be NULL): its revision, for store_txn_if_rev. */
int record_get(const struct store *s, char *take_key, const struct codec *c, void *out,
    int64_t *out_rev, struct err *e) MUST_CHECK;
int record_app(const struct store *s, const char *domain, const char *app, struct wire_app *out,
    int64_t *out_rev, struct err *e) MUST_CHECK;
/* By the application's id. */
int record_app_by_id(const struct store *s, const char *app_id, struct wire_app *out,
    int64_t *out_rev, struct err *e) MUST_CHECK;

/* The gear of that uuid, unless it is to go, into out (zeroed), with the node that has it (caller
 * owns). */
int record_gear(const struct store *s, const char *uuid, struct wire_gear *out, char **out_node,
    struct err *e) MUST_CHECK;

/* Puts the record at key (taken); with _cas only if the key is still at rev (0: does not exist). */
void record_put(struct store_txn *t, char *take_key, const struct codec *c, const void *rec);
void record_put_cas(
    struct store_txn *t, char *take_key, int64_t rev, const struct codec *c, const void *rec);
void record_delete_cas(struct store_txn *t, char *take_key, int64_t rev);

/* Visits the records under prefix in order of their keys; rec is borrowed for the call. A record
 * that does not decode is logged and left out. Return false to stop. */
typedef bool record_visit_fn(const char *key, int64_t rev, void *rec, void *arg);
void record_each(const struct store *s, const char *prefix, const struct codec *c,
    record_visit_fn *fn, void *arg);

/* The same, only records whose text holds `word` somewhere: what does not is not even decoded. The
 * caller looks at the member itself. */
void record_each_with(const struct store *s, const char *prefix, const char *word,
    const struct codec *c, record_visit_fn *fn, void *arg);

/* A new object id: 24 hex digits; those made by one process sort by their making. Caller owns. */
char *record_new_id(void);
