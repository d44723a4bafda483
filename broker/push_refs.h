/* broker/push_refs.h: the commands of a push: which refs may move, which one is deployed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/wire/wire_app.h"

struct broker;
struct store_txn;

struct push_command {
	char *old_oid, *new_oid, *ref; /* owned; all zeros: none */
	char *reason;                  /* owned; why it is refused; NULL: it is not */
	char *note;                    /* owned; a line for the pusher, or NULL */
	bool is_stored; /* only moves, by our transaction; else it is built, or refused */
};
struct push_refs {
	struct push_command *v; /* owned */
	size_t n;
	int tries;
};

/* Lines `OLD NEW REF`. ERR_INVALID, ERR_LIMIT. */
int push_refs_parse(struct push_refs *r, struct str text, struct err *e) MUST_CHECK;
void push_refs_fini(struct push_refs *r);
bool push_refs_is_zero(const char *oid);

/* Refuses what may not be, marks what only moves, and returns the command that is to be deployed,
 * or NULL. Borrowed. */
struct push_command *push_refs_judge(
    const struct broker *b, const struct wire_app *app, struct push_refs *r);

/* Moves in t what only moves; commands whose ref is not what the pusher saw are refused. 1: t has
 * something to submit; 0: nothing is left. */
int push_refs_fill(const struct broker *b, const char *app_id, struct push_refs *r,
    struct store_txn *t, struct err *e) MUST_CHECK;
/* The transaction failed: nothing of it moved. */
void push_refs_refuse_stored(struct push_refs *r, const char *why);
