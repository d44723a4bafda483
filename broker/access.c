#include "broker/access.h"

#include <string.h>

#include "broker/auth.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

enum { PATH_NAME_MAX = 64 };

/* Is the word (n bytes) one of the space-separated scopes? */
static bool
scopes_have(const char *scopes, const char *word, size_t n)
{
	for (const char *p = scopes; *p != '\0'; p += strcspn(p, " "), p += strspn(p, " ")) {
		if (strcspn(p, " ") == n && strncmp(p, word, n) == 0)
			return true;
	}
	return false;
}

bool
access_has_scope(const struct auth_who *w, const char *scope)
{
	return w->scopes != NULL && scopes_have(w->scopes, scope, strlen(scope));
}

static bool
has_object_scope(const struct auth_who *w, const char *kind, const char *id, const char *word)
{
	AUTO(free) char *scope = xasprintf("%s/%s/%s", kind, id, word);

	return access_has_scope(w, scope);
}

enum role { ROLE_NONE, ROLE_VIEW, ROLE_EDIT, ROLE_ADMIN, ROLE_OWNER };

static const char *const role_names[] = {
	[ROLE_VIEW] = "view", [ROLE_EDIT] = "edit", [ROLE_ADMIN] = "admin"
};

static enum role
role_of(const char *word)
{
	for (enum role r = ROLE_VIEW; r <= ROLE_ADMIN; r++) {
		if (strcmp(word, role_names[r]) == 0)
			return r;
	}
	return ROLE_NONE;
}

bool
access_is_role(const char *word)
{
	return role_of(word) != ROLE_NONE;
}

static enum role
role_in(const struct auth_who *w, const struct wire_domain *d)
{
	if (strcmp(w->login, d->owner) == 0)
		return ROLE_OWNER;
	for (size_t i = 0; i < d->members.n; i++) {
		const struct wire_member *m = &d->members.v[i];

		if (w->user_id != NULL && strcmp(m->id, w->user_id) == 0 &&
		    strcmp(m->login, w->login) == 0)
			return role_of(m->role);
	}
	return ROLE_NONE;
}

bool
access_is_member(const struct auth_who *w, const struct wire_domain *d)
{
	return role_in(w, d) != ROLE_NONE;
}

static enum role
role_for(enum access_want want)
{
	switch (want) {
	case ACCESS_VIEW:
		return ROLE_VIEW;
	case ACCESS_EDIT:
	case ACCESS_ADMIN:
	case ACCESS_SCALE:
		return ROLE_EDIT;
	case ACCESS_MEMBERS:
		return ROLE_ADMIN;
	case ACCESS_OWNER:
		break;
	}
	return ROLE_OWNER;
}

bool
access_domain_may(const struct auth_who *w, const struct wire_domain *d, enum access_want want)
{
	bool is_admin;
	bool is_edit;

	if (role_in(w, d) < role_for(want))
		return false;
	if (access_has_scope(w, "session"))
		return true;
	is_admin = has_object_scope(w, "domain", d->id, "admin");
	is_edit = is_admin || has_object_scope(w, "domain", d->id, "edit");
	switch (want) {
	case ACCESS_VIEW:
		return access_has_scope(w, "read") || is_edit ||
		       has_object_scope(w, "domain", d->id, "view");
	case ACCESS_EDIT:
	case ACCESS_ADMIN:
	case ACCESS_SCALE:
		return is_edit;
	case ACCESS_OWNER:
	case ACCESS_MEMBERS:
		return is_admin;
	}
	return false;
}

bool
access_app_may(const struct auth_who *w, const struct wire_domain *d, const struct wire_app *a,
    enum access_want want)
{
	bool is_admin;
	bool is_edit;

	if (access_domain_may(w, d, want))
		return true;
	if (role_in(w, d) < role_for(want))
		return false;
	is_admin = has_object_scope(w, "application", a->id, "admin");
	is_edit = is_admin || has_object_scope(w, "application", a->id, "edit");
	switch (want) {
	case ACCESS_VIEW:
		return is_edit || has_object_scope(w, "application", a->id, "view") ||
		       has_object_scope(w, "application", a->id, "scale");
	case ACCESS_EDIT:
		return is_edit;
	case ACCESS_SCALE:
		return is_edit || has_object_scope(w, "application", a->id, "scale");
	case ACCESS_ADMIN:
	case ACCESS_OWNER:
	case ACCESS_MEMBERS:
		return is_admin;
	}
	return false;
}

/* Lower-case copy of a name out of a path, or NULL when no object can have it. */
static char *
path_name(const char *name)
{
	char *s;

	if (!str_is_name(name, PATH_NAME_MAX))
		return NULL;
	s = xstrdup(name);
	str_lower(s);
	return s;
}

static int
domain_missing(const char *domain, struct err *e)
{
	return err_set(e, ERR_NOT_FOUND, "domain", "Domain '%s' not found.", domain);
}

static int
app_missing(const char *app, struct err *e)
{
	return err_set(e, ERR_NOT_FOUND, "application", "Application '%s' not found.", app);
}

static int
denied(const struct auth_who *w, const struct wire_domain *d, enum access_want want,
    const char *kind, struct err *e)
{
	enum role least = role_for(want);

	if (role_in(w, d) < least)
		return err_set(e, ERR_DENIED, NULL,
		    "You are not permitted to perform this action (%s on %s). It needs %s of "
		    "domain '%s'.",
		    least == ROLE_OWNER ? "owner" : role_names[least], kind,
		    least == ROLE_OWNER ? "the owner"
		                        : (least == ROLE_EDIT ? "the role edit" : "the role admin"),
		    d->name);
	return err_set(e, ERR_DENIED, NULL,
	    "You are not permitted to perform this action with the scopes of your token (%s on "
	    "%s). "
	    "Use a token with the scope 'session'.",
	    w->scopes == NULL ? "" : w->scopes, kind);
}

int
access_domain(const struct broker *b, const struct auth_who *w, const char *domain,
    enum access_want want, struct wire_domain *out, int64_t *out_rev, struct err *e)
{
	AUTO(free) char *name = path_name(domain);
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	struct err why = { 0 };

	if (name == NULL)
		return domain_missing(domain, e);
	if (record_get(b->store, store_key_domain(name), &wire_domain_codec, &d, out_rev, &why) < 0)
		return why.code == ERR_NOT_FOUND ? domain_missing(domain, e) : (*e = why, -1);
	if (!access_domain_may(w, &d, want)) {
		if (!access_domain_may(w, &d, ACCESS_VIEW))
			return domain_missing(domain, e);
		return denied(w, &d, want, "domain", e);
	}
	*out = d;
	memset(&d, 0, sizeof d);
	return 0;
}

bool
access_is_ghost(const struct wire_app *a)
{
	bool is_empty = a->initial_git_url != NULL && strcmp(a->initial_git_url, "empty") == 0;
	bool has_served = a->status.deployment != NULL && a->status.deployment[0] != '\0';

	return a->spec.deleted && !is_empty && !has_served;
}

static int
check_app(const struct broker *b, const struct auth_who *w, const char *asked,
    enum access_want want, const struct wire_app *a, struct err *e)
{
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	struct err why = { 0 };

	if (record_get(b->store, store_key_domain(a->domain), &wire_domain_codec, &d, NULL, &why) <
	    0)
		return why.code == ERR_NOT_FOUND ? app_missing(asked, e) : (*e = why, -1);
	/* what is being deleted can only be seen and deleted; what never served, only deleted */
	if (a->spec.deleted && want != ACCESS_ADMIN && (want != ACCESS_VIEW || access_is_ghost(a)))
		return app_missing(asked, e);
	if (access_app_may(w, &d, a, want))
		return 0;
	if (!access_app_may(w, &d, a, ACCESS_VIEW))
		return app_missing(asked, e);
	return denied(w, &d, want, "application", e);
}

int
access_app(const struct broker *b, const struct auth_who *w, const char *domain, const char *app,
    enum access_want want, struct wire_app *out, int64_t *out_rev, struct err *e)
{
	AUTO(free) char *d = path_name(domain);
	AUTO(free) char *n = path_name(app);
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(wire_domain_fini) struct wire_domain dom = { 0 };
	struct err why = { 0 };

	if (d == NULL)
		return domain_missing(domain, e);
	if (n == NULL || record_app(b->store, d, n, &a, out_rev, &why) < 0) {
		if (why.code != ERR_NONE && why.code != ERR_NOT_FOUND)
			return *e = why, -1;
		why = (struct err){ 0 };
		if (access_domain(b, w, domain, ACCESS_VIEW, &dom, NULL, &why) < 0)
			return *e = why, -1;
		return app_missing(app, e);
	}
	if (check_app(b, w, app, want, &a, &why) < 0) {
		/* who may not even see the domain is told just that */
		if (why.code == ERR_NOT_FOUND &&
		    access_domain(b, w, domain, ACCESS_VIEW, &dom, NULL, e) < 0)
			return -1;
		return *e = why, -1;
	}
	*out = a;
	memset(&a, 0, sizeof a);
	return 0;
}

int
access_app_by_id(const struct broker *b, const struct auth_who *w, const char *app_id,
    enum access_want want, struct wire_app *out, int64_t *out_rev, struct err *e)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct err why = { 0 };

	if (!str_is_hex(app_id, 24))
		return app_missing(app_id, e);
	if (record_app_by_id(b->store, app_id, &a, out_rev, &why) < 0)
		return why.code == ERR_NOT_FOUND ? app_missing(app_id, e) : (*e = why, -1);
	if (check_app(b, w, app_id, want, &a, e) < 0)
		return -1;
	*out = a;
	memset(&a, 0, sizeof a);
	return 0;
}
