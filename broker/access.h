/* broker/access.h: may they: owners, roles of members and token scopes. What someone may not see
 * does not exist for them (ERR_NOT_FOUND). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/wire/wire_app.h"
#include "lib/wire/wire_user.h"

struct auth_who;
struct broker;

enum access_want {
	ACCESS_VIEW,    /* see */
	ACCESS_EDIT,    /* push, state, variables, scale, deployments */
	ACCESS_ADMIN,   /* delete an application: role edit, scope admin */
	ACCESS_OWNER,   /* rename or delete the domain */
	ACCESS_SCALE,   /* scale and state */
	ACCESS_MEMBERS, /* let others in: role admin */
};

bool access_is_role(const char *word); /* "view", "edit", "admin" */
/* Its owner or a member, whatever the token's scopes allow. */
bool access_is_member(const struct auth_who *w, const struct wire_domain *d);

bool access_domain_may(
    const struct auth_who *w, const struct wire_domain *d, enum access_want want);
bool access_app_may(const struct auth_who *w, const struct wire_domain *d, const struct wire_app *a,
    enum access_want want);
/* What is left of a create that failed: it is being removed, and nobody was told that it exists. */
bool access_is_ghost(const struct wire_app *a);
/* Everything that is the user's own: `session`, or `read` for reading. */
bool access_has_scope(const struct auth_who *w, const char *scope);

/* Load what they may act on into out (zeroed). Names in any case. ERR_NOT_FOUND: absent or
 * invisible; ERR_DENIED: visible, but the role or the token's scopes do not allow `want`. out_rev
 * may be NULL.
 */
int access_domain(const struct broker *b, const struct auth_who *w, const char *domain,
    enum access_want want, struct wire_domain *out, int64_t *out_rev, struct err *e) MUST_CHECK;
int access_app(const struct broker *b, const struct auth_who *w, const char *domain,
    const char *app, enum access_want want, struct wire_app *out, int64_t *out_rev,
    struct err *e) MUST_CHECK;
int access_app_by_id(const struct broker *b, const struct auth_who *w, const char *app_id,
    enum access_want want, struct wire_app *out, int64_t *out_rev, struct err *e) MUST_CHECK;
