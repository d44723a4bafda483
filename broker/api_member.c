/* Members of domains and their roles. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "broker/access.h"
#include "broker/api_call.h"
#include "broker/api_domain.h"
#include "broker/api_handlers.h"
#include "broker/api_view.h"
#include "broker/broker.h"
#include "broker/domain.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

enum {
	WORD_MAX = 256,
	EXIT_MEMBER = 1,
	EXIT_UNKNOWN = 132,
	EXIT_LIMIT = 222,
	NO_INDEX = -1,
};

/* --- reading --- */

void
api_member_list(struct api_call *c)
{
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };

	if (!api_domain_load(c, ACCESS_VIEW, &d))
		return;
	api_view_members(c, api_data(c, "members"), NULL, &d, false);
	api_send(c, 200);
}

static const struct wire_member *
find(const struct wire_domain *d, const char *word)
{
	for (size_t i = 0; i < d->members.n; i++) {
		if (strcmp(d->members.v[i].id, word) == 0 ||
		    strcmp(d->members.v[i].login, word) == 0)
			return &d->members.v[i];
	}
	return NULL;
}

static bool
is_owner(const struct api_call *c, const struct wire_domain *d, const char *word)
{
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct err e = { 0 };

	return strcmp(d->owner, word) == 0 || (record_get(c->b->store, store_key_user(d->owner),
	                                           &wire_user_codec, &u, NULL, &e) == 0 &&
	                                          strcmp(u.id, word) == 0);
}

/* The member that the path names; NULL with *out_owner: the owner; else the call has ended. */
static const struct wire_member *
of_path(struct api_call *c, const struct wire_domain *d, bool *out_owner)
{
	const char *id = api_param_of_path(c->params, "id");
	const struct wire_member *m = find(d, id);

	*out_owner = m == NULL && is_owner(c, d, id);
	if (m == NULL && !*out_owner)
		api_fail(c, 404, EXIT_MEMBER, NULL, "Member '%.80s' not found.", id);
	return m;
}

void
api_member_show(struct api_call *c)
{
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	const struct wire_member *m;
	bool owner;

	if (!api_domain_load(c, ACCESS_VIEW, &d))
		return;
	m = of_path(c, &d, &owner);
	if (m == NULL && !owner)
		return;
	api_view_member(c, api_data(c, "member"), NULL, &d, m);
	api_send(c, 200);
}

/* --- changes --- */

struct state {
	char *domain; /* owned */
	struct wire_member_list changes;
	size_t removed; /* of them */
	bool deletes;   /* answer as after a delete */
	int bad_status; /* of what was asked; 0: nothing is wrong */
};

static void
state_free(void *p)
{
	struct state *s = p;

	for (size_t i = 0; i < s->changes.n; i++)
		wire_member_fini(&s->changes.v[i]);
	free(s->changes.v);
	free(s->domain);
	free(s);
}

static struct state *
state_new(struct api_call *c, const struct wire_domain *d)
{
	struct state *s = xcalloc(1, sizeof *s);

	s->domain = xstrdup(d->name);
	api_call_keep(c, s, state_free);
	return s;
}

static void
add_change(struct state *s, const char *id, const char *login, const char *role)
{
	struct wire_member *m = codec_list_add(&wire_member_codec, &s->changes);

	m->id = xstrdup(id);
	m->login = xstrdup(login);
	m->role = xstrdup(role);
	s->removed += strcmp(role, "none") == 0;
}

static void
stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct state *s = c->state;
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	struct err why = { 0 };

	if (e != NULL) {
		api_fail_err(c, e, e->code == ERR_LIMIT ? EXIT_LIMIT : EXIT_MEMBER);
		return;
	}
	if (s->deletes) {
		api_send_deleted(c, "The members of domain %s were changed.", s->domain);
		return;
	}
	if (record_get(
	        c->b->store, store_key_domain(s->domain), &wire_domain_codec, &d, NULL, &why) < 0) {
		api_fail_err(c, &why, EXIT_MEMBER);
		return;
	}
	if (s->changes.n == 1 && s->removed == 0)
		api_view_member(c, api_data(c, "member"), NULL, &d, find(&d, s->changes.v[0].id));
	else
		api_view_members(c, api_data(c, "members"), NULL, &d, false);
	api_message(c, "info", 0, NULL, "The members of domain %s were changed.", d.name);
	api_send(c, 200);
}

static void
store(struct api_call *c, struct state *s)
{
	if (s->bad_status != 0)
		api_fail_all(c, s->bad_status);
	else
		domain_set_members(c->b, s->domain, &s->changes, stored, c);
}

static void PRINTF(6, 7) bad(struct api_call *c, struct state *s, int status, const char *field,
    int index, const char *fmt, ...)
{
	AUTO(free) char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	api_message_at(c, "error", status == 404 ? EXIT_UNKNOWN : EXIT_MEMBER, field, index, text);
	if (s->bad_status != 404)
		s->bad_status = status;
}

/* A word of one member asked for: of the object, or of the call itself when v is NULL. NULL: not
 * there, or no string. */
static const char *
word_of(const struct api_call *c, const struct codec_value *v, const char *key)
{
	const struct codec_value *x =
	    v == NULL ? api_param_value(c->params, key) : codec_get(v, key);
	const char *word = x == NULL ? NULL : codec_string(x);

	return word == NULL || *word == '\0' || strlen(word) > WORD_MAX ? NULL : word;
}

struct search {
	const char *id;
	char *login; /* owned */
};

static bool
match_user(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_user *u = rec;
	struct search *s = arg;

	(void)key;
	(void)rev;
	if (strcmp(u->id, s->id) != 0)
		return true;
	s->login = xstrdup(u->login);
	return false;
}

/* Who is meant, into out_id and out_login (owned by the caller); false: nobody, and that was said.
 */
static bool
find_user(struct api_call *c, struct state *s, const char *id, const char *login, int index,
    char **out_id, char **out_login)
{
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct search search = { .id = id };
	struct err e = { 0 };

	if (id != NULL) {
		record_each_with(
		    c->b->store, STORE_PREFIX_USER, id, &wire_user_codec, match_user, &search);
		*out_login = search.login;
		*out_id = search.login == NULL ? NULL : xstrdup(id);
		if (*out_login == NULL)
			bad(c, s, 404, "id", index, "There is no account with identifier %.80s.",
			    id);
		return *out_login != NULL;
	}
	if (record_get(c->b->store, store_key_user(login), &wire_user_codec, &u, NULL, &e) < 0) {
		bad(c, s, 404, "login", index, "There is no account with login %.80s.", login);
		return false;
	}
	*out_id = STEAL(u.id);
	*out_login = STEAL(u.login);
	return true;
}

static bool
is_wish(const char *role)
{
	return role != NULL && (access_is_role(role) || strcmp(role, "none") == 0);
}

static void
bad_role(struct api_call *c, struct state *s, int index)
{
	bad(c, s, 422, "role", index, "The role must be one of: view, edit, admin, none.");
}

static void
bad_owner(struct api_call *c, struct state *s, const char *field, int index, const char *login)
{
	bad(c, s, 422, field, index,
	    "%s owns the domain: the role cannot be changed or taken away.", login);
}

/* One wish into the changes. v NULL: the parameters of the call itself; role NULL: in v. */
static void
read_one(struct api_call *c, struct state *s, const struct wire_domain *d,
    const struct codec_value *v, const char *role, int index)
{
	const char *type = word_of(c, v, "type");
	const char *id =
	    v != NULL && codec_string(v) != NULL ? codec_string(v) : word_of(c, v, "id");
	const char *login = word_of(c, v, "login");
	AUTO(free) char *user_id = NULL;
	AUTO(free) char *user_login = NULL;
	bool removes;

	if (role == NULL)
		role = word_of(c, v, "role");
	if (!is_wish(role)) {
		bad_role(c, s, index);
		return;
	}
	if (type != NULL && strcmp(type, "user") != 0) {
		bad(c, s, 422, "type", index, "The type of a member must be: user.");
		return;
	}
	if (id == NULL && login == NULL) {
		bad(c, s, 422, "login", index, "Each member needs an 'id' or a 'login'.");
		return;
	}
	if (!find_user(c, s, id, login, index, &user_id, &user_login))
		return;
	removes = strcmp(role, "none") == 0;
	if (strcmp(user_login, d->owner) == 0) {
		bad_owner(c, s, "role", index, user_login);
		return;
	}
	if (removes && find(d, user_id) == NULL && index == NO_INDEX) {
		bad(c, s, 422, NULL, index, "%s is not a direct member of this domain.",
		    user_login);
		return;
	}
	if (removes && find(d, user_id) == NULL)
		api_message_at(
		    c, "warning", 0, NULL, index, "Not a direct member: nothing to remove.");
	add_change(s, user_id, user_login, role);
}

/* All that the call asks for: members[], member, or, without either, itself. */
static void
read_all(struct api_call *c, struct state *s, const struct wire_domain *d, const char *role)
{
	const struct codec_value *list = api_param_value(c->params, "members");
	const struct codec_value *one = api_param_value(c->params, "member");

	if (one != NULL && codec_type(one) != CODEC_NULL) {
		read_one(c, s, d, one, role, NO_INDEX);
	} else if (list == NULL || codec_type(list) == CODEC_NULL) {
		read_one(c, s, d, NULL, role, NO_INDEX);
	} else if (codec_type(list) != CODEC_ARRAY || codec_count(list) > WIRE_MEMBERS_MAX) {
		bad(c, s, 422, "members", NO_INDEX, "'members' must be an array of at most %d.",
		    WIRE_MEMBERS_MAX);
	} else {
		for (size_t i = 0; i < codec_count(list); i++)
			read_one(c, s, d, codec_at(list, i), role, (int)i);
	}
}

void
api_member_change(struct api_call *c)
{
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	struct state *s;

	if (!api_domain_load(c, ACCESS_MEMBERS, &d))
		return;
	s = state_new(c, &d);
	read_all(c, s, &d, NULL);
	store(c, s);
}

/* The member of the path. field: the parameter that says the role, or NULL. */
static void
change_one(struct api_call *c, const char *role, const char *field)
{
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	const struct wire_member *m;
	struct state *s;
	bool owner;

	if (!api_domain_load(c, ACCESS_MEMBERS, &d))
		return;
	m = of_path(c, &d, &owner);
	if (m == NULL && !owner)
		return;
	s = state_new(c, &d);
	if (!is_wish(role))
		bad_role(c, s, NO_INDEX);
	else if (owner)
		bad_owner(c, s, field, NO_INDEX, d.owner);
	else
		add_change(s, m->id, m->login, role);
	s->deletes = s->removed > 0;
	store(c, s);
}

void
api_member_update(struct api_call *c)
{
	change_one(c, word_of(c, NULL, "role"), "role");
}

static void
leave(struct api_call *c)
{
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	const struct wire_member *m;
	struct state *s;

	if (!api_domain_load(c, ACCESS_VIEW, &d))
		return;
	m = find(&d, c->who.user_id);
	if (m == NULL) {
		api_fail(c, 422, EXIT_MEMBER, NULL,
		    "You are the owner of this domain and cannot leave.");
		return;
	}
	if (!access_has_scope(&c->who, "session")) {
		api_fail(c, 403, EXIT_MEMBER, NULL,
		    "Leaving a domain needs a token with the scope 'session'.");
		return;
	}
	s = state_new(c, &d);
	s->deletes = true;
	add_change(s, m->id, m->login, "none");
	store(c, s);
}

void
api_member_remove(struct api_call *c)
{
	if (strcmp(api_param_of_path(c->params, "id"), "self") == 0)
		leave(c);
	else
		change_one(c, "none", NULL);
}

void
api_member_remove_many(struct api_call *c)
{
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	struct state *s;

	if (!api_domain_load(c, ACCESS_MEMBERS, &d))
		return;
	s = state_new(c, &d);
	if (api_param_has(c->params, "members") || api_param_has(c->params, "member")) {
		read_all(c, s, &d, "none");
	} else {
		for (size_t i = 0; i < d.members.n; i++)
			add_change(s, d.members.v[i].id, d.members.v[i].login, "none");
	}
	store(c, s);
}
