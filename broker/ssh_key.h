/* broker/ssh_key.h: the SSH keys of users: rules, changes, and whose key it is that somebody shows.
 */
#pragma once

#include <stdbool.h>

#include "broker/change.h"
#include "lib/base/err.h"
#include "lib/wire/wire_app.h"
#include "lib/wire/wire_user.h"

struct auth_who;
struct broker;

enum { SSH_KEYS_MAX = 100 /* of a user */ };

/* Rules for one field; ERR_INVALID names it. A name may be any that is not the end of a path. */
int ssh_key_check_name(const char *name, struct err *e) MUST_CHECK;
int ssh_key_check_type(const char *type, struct err *e) MUST_CHECK;
/* type: known, or NULL: not looked at. */
int ssh_key_check_content(const char *type, const char *content, struct err *e) MUST_CHECK;
const char *ssh_key_types(void); /* for messages */

/* name, login, type, content are given, checked. ERR_CONFLICT with field "name" or "content": taken
 * by another key of the user; ERR_LIMIT: too many. replaces: it must exist (ERR_NOT_FOUND). */
void ssh_key_put(
    struct broker *b, const struct wire_ssh_key *k, bool replaces, change_done_fn *done, void *arg);
void ssh_key_delete(
    struct broker *b, const char *login, const char *name, change_done_fn *done, void *arg);

/* Is it still there, and the same? */
bool ssh_key_is_valid(const struct broker *b, const struct wire_ssh_key *k);
/* Somebody shows a key and names what he wants to enter: a gear's uuid, or "APP-DOMAIN". Fills who
 * (his rights are `session`), the key and the application, if he may edit it; all zeroed before.
 * ERR_DENIED: anything else, without saying what. out_gear: uuid, owned by the caller. */
int ssh_key_admit(const struct broker *b, const char *user, const char *type, const char *content,
    struct auth_who *who, struct wire_ssh_key *key, struct wire_app *app, char **out_gear,
    struct err *e) MUST_CHECK;
/* May he still, with this key? */
bool ssh_key_admits(const struct broker *b, const struct auth_who *who,
    const struct wire_ssh_key *key, const char *app_id);
