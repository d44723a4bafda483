/* broker/auth.h: who asks: passwords (argon2id on workers) and tokens; the memory of verified
 * passwords; limits on failed logins; the first user. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"

struct auth;
struct auth_ask;
struct broker;

struct auth_who {
	char *login;
	char *user_id;
	bool is_admin;
	char *scopes;   /* space-separated; "session" (everything) for a password */
	char *token_id; /* of the token that was used, or NULL */
};
void auth_who_copy(struct auth_who *to, const struct auth_who *from); /* to: zeroed */
void auth_who_fini(struct auth_who *w);

struct auth_answer {
	const struct auth_who *who; /* NULL: refused; borrowed for the call */
	int status;                 /* when refused: 401, 429, 500 or 503 */
	const char
	    *headers[3]; /* "WWW-Authenticate: …", "Retry-After: …", NULL; for http_req_reply */
	const char *text; /* the body, plain text */
};
typedef void auth_done_fn(const struct auth_answer *ans, void *arg);

struct auth *auth_new(struct broker *b);
void auth_free(struct auth *take_a);

/* Makes the user "admin" with the password of conf.admin_password_file when there is no such user
 * yet. Call before serving; done comes later, once. */
typedef void auth_bootstrap_fn(const struct err *e, void *arg);
void auth_bootstrap(struct auth *a, auth_bootstrap_fn *done, void *arg);

/* authorization: value of the header or NULL: `Basic` with a password or, as git clients do, a
 * token in the password's place; `Bearer TOKEN`. peer counts failed logins. done comes once, later,
 * never inside. */
struct auth_ask *auth_start(
    struct auth *a, const char *authorization, const char *peer, auth_done_fn *done, void *arg);
void auth_cancel(struct auth_ask *take_q); /* before done; NULL is fine */

/* Hash of a new password on a worker. ERR_BUSY: too many wait. done gets a borrowed hash. */
typedef void auth_hash_fn(const char *hash, const struct err *e, void *arg);
void auth_hash(struct auth *a, const char *password, auth_hash_fn *done, void *arg);
/* Is this the login's password? Counts as a login try. */
typedef void auth_verify_fn(bool ok, const struct err *e, void *arg);
void auth_verify(struct auth *a, const char *login, const char *password, const char *peer,
    auth_verify_fn *done, void *arg);

/* Rules for new passwords and logins: ERR_INVALID names the field and the fix. */
int auth_check_password(const char *password, struct err *e) MUST_CHECK;
int auth_check_login(const char *login, struct err *e) MUST_CHECK;
