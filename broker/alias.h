/* broker/alias.h: an application's own host names: their rules, routes and certificates. A name is
 * taken by its route, which is there as long as the alias is. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/wire/wire_app.h"

struct broker;
struct store_txn;
struct tls_cert;

/* Lower case, without a final dot; caller owns. NULL: ERR_INVALID, field "id". */
char *alias_name(const struct broker *b, const char *name, struct err *e);
/* Borrowed; NULL: it is none of the application's. */
const struct wire_alias *alias_find(const struct wire_app *a, const char *host);

enum alias_word {
	ALIAS_ADD,     /* ERR_CONFLICT: the name is taken; ERR_LIMIT: too many */
	ALIAS_UPDATE,  /* the certificate */
	ALIAS_CERTIFY, /* the certificate that came by ACME; ERR_NOT_FOUND: none is waited for */
	ALIAS_REMOVE,
};
struct alias_order {
	enum alias_word word;
	const char *host;            /* as of alias_name */
	const struct tls_cert *cert; /* NULL: none (any more) */
	const char *acme;            /* how one is to be got by ACME (see wire_acme), which leaves a
	                                certificate that is there; NULL: not */
};
typedef void alias_done_fn(const struct err *e, void *arg);
/* All of order is copied. ERR_NOT_FOUND: there is no such application or alias. */
void alias_change(struct broker *b, const char *app_id, const struct alias_order *order,
    alias_done_fn *done, void *arg);

/* In the transaction that removes the application's routes. What waits for ACME is found to be
 * without use when it is due. */
void alias_put_none(const struct broker *b, struct store_txn *t, const struct wire_app *a);
