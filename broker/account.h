/* broker/account.h: changes of users and their tokens. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/change.h"
#include "lib/base/err.h"
#include "lib/wire/wire_user.h"

struct broker;

/* The password is hashed already. ERR_CONFLICT: the login is taken. */
void account_create(struct broker *b, const char *login, const char *password_hash, bool is_admin,
    change_done_fn *done, void *arg);
/* Forgets remembered passwords and voids the user's tokens but keep_token_id (may be NULL). */
void account_set_password(struct broker *b, const char *login, const char *password_hash,
    const char *keep_token_id, change_done_fn *done, void *arg);
/* What the user may have: -1 leaves a number as it is. */
struct account_limits {
	int64_t gears, domains, storage_gb;
	int downloads; /* of cartridges by URL: 1 or 0 */
};
void account_set_limits(struct broker *b, const char *login, const struct account_limits *l,
    change_done_fn *done, void *arg);
/* The user and all tokens. ERR_CONFLICT: still owns domains. */
void account_delete(struct broker *b, const char *login, change_done_fn *done, void *arg);

/* Tokens. The secret itself is not stored: its record's key is its hash. ERR_LIMIT: too many. */
void account_add_token(struct broker *b, const char *token, const struct wire_token *t,
    change_done_fn *done, void *arg);
void account_note_token(struct broker *b, const char *login, const char *id, const char *note,
    change_done_fn *done, void *arg);
/* id: of one token; NULL: all; scope: only those that hold it (NULL: any). */
void account_delete_tokens(struct broker *b, const char *login, const char *id, const char *scope,
    change_done_fn *done, void *arg);

/* One token of a user by its id, or NULL when there is none: out zeroed, filled if found. */
bool account_find_token(
    const struct broker *b, const char *login, const char *id, struct wire_token *out);
/* Neither expired nor void. */
bool account_token_is_good(const struct wire_token *t, const struct wire_user *u);
bool account_scopes_have(const char *scopes, const char *scope);
