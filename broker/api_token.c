/* Authorizations: tokens of the user who asks. */
#include <string.h>
#include <time.h>

#include "broker/account.h"
#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_view.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/store/store_key.h"

enum {
	TOKEN_BYTES = 32,
	NOTE_MAX = 4096,
	SCOPES_LEN_MAX = 1024,
	SCOPE_ID_MAX = 40,
	EXIT_MISSING = 129,
	HOUR_S = 3600,
	DAY_S = 24 * HOUR_S,
	MONTH_S = 30 * DAY_S,
};

static const char valid_scopes[] =
    "session, read, userinfo, domain/:id/view, domain/:id/edit, domain/:id/admin, "
    "application/:id/view, application/:id/edit, application/:id/admin";

/* --- listing --- */

struct list {
	struct wire_user user;
	struct omap *by_time; /* owned; values: struct wire_token, owned */
};

static void
free_token(void *p)
{
	wire_token_fini(p);
	free(p);
}

static bool
collect(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_token *t = rec;
	struct list *l = arg;
	struct wire_token *copy;
	AUTO(free) char *order = NULL;

	(void)key;
	(void)rev;
	if (strcmp(t->login, l->user.login) != 0 || !account_token_is_good(t, &l->user))
		return true;
	copy = xcalloc(1, sizeof *copy);
	codec_copy(&wire_token_codec, copy, t);
	/* newest first */
	order = xasprintf("%020lld %s", (long long)(INT64_MAX - t->created_at), t->id);
	omap_set(l->by_time, order, copy);
	return true;
}

void
api_token_list(struct api_call *c)
{
	struct list l = { 0 };
	struct api_json *j = api_data(c, "authorizations");
	void *value = NULL;
	struct err e = { 0 };

	if (record_get(c->b->store, store_key_user(c->who.login), &wire_user_codec, &l.user, NULL,
	        &e) < 0) {
		api_fail_err(c, &e, 1);
		return;
	}
	l.by_time = omap_new(free_token);

	record_each_with(
	    c->b->store, STORE_PREFIX_TOKEN, c->who.login, &wire_token_codec, collect, &l);
	api_json_arr(j, NULL);
	for (const char *k = omap_seek(l.by_time, "", false, &value); k != NULL;
	     k = omap_seek(l.by_time, k, true, &value))
		api_view_token(c, j, NULL, value, NULL);
	api_json_end_arr(j);
	omap_free(l.by_time);
	wire_user_fini(&l.user);
	api_send(c, 200);
}

void
api_token_show(struct api_call *c)
{
	const char *id = api_param_of_path(c->params, "id");
	AUTO_FINI(wire_token_fini) struct wire_token t = { 0 };

	if (!account_find_token(c->b, c->who.login, id, &t)) {
		api_fail(c, 404, EXIT_MISSING, NULL, "Authorization '%.80s' not found.", id);
		return;
	}
	api_view_token(c, api_data(c, "authorization"), NULL, &t, NULL);
	api_send(c, 200);
}

/* --- making one --- */

static bool
is_object_scope(const char *s, const char *kind)
{
	static const char *const rights[] = { "view", "edit", "admin" };
	size_t n = strlen(kind);
	const char *slash;

	if (strncmp(s, kind, n) != 0 || s[n] != '/')
		return false;
	slash = strchr(s + n + 1, '/');
	if (slash == NULL || slash == s + n + 1 || slash - (s + n + 1) >= SCOPE_ID_MAX)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(rights); i++) {
		if (strcmp(slash + 1, rights[i]) == 0)
			return true;
	}
	return false;
}

static bool
is_scope(const char *s)
{
	return strcmp(s, "session") == 0 || strcmp(s, "read") == 0 || strcmp(s, "userinfo") == 0 ||
	       is_object_scope(s, "domain") || is_object_scope(s, "application");
}

/* "A, b a" → "a b"; caller owns. */
static char *
scopes_normal(const char *words, struct err *e)
{
	AUTO(free) char *copy = xstrdup(words);
	AUTO_FINI(str_list_fini) struct str_list l = { 0 };
	AUTO_FINI(buf_fini) struct buf out = { 0 };
	char *save = NULL;

	str_lower(copy);
	for (char *s = strtok_r(copy, " ,\t\n", &save); s != NULL;
	     s = strtok_r(NULL, " ,\t\n", &save)) {
		if (!is_scope(s)) {
			(void)err_set(e, ERR_INVALID, "scopes",
			    "The scope '%.64s' is not known. Valid scopes: %s.", s, valid_scopes);
			return NULL;
		}
		if (!str_list_has(&l, s))
			str_list_add(&l, s);
	}
	for (size_t i = 0; i < l.n; i++)
		buf_addf(&out, "%s%s", i == 0 ? "" : " ", l.v[i]);
	return out.n == 0 ? xstrdup("userinfo") : buf_steal(&out);
}

/* Seconds a token may live: the smallest of its scopes; what is out of bounds gets the default. */
static int64_t
lifetime(const char *scopes, int64_t wanted)
{
	bool is_session = account_scopes_have(scopes, "session");
	int64_t max = is_session ? 7 * DAY_S : 6 * MONTH_S;
	int64_t dflt = is_session ? DAY_S : MONTH_S;

	return wanted <= 0 || wanted > max ? dflt : wanted;
}

struct token_state {
	struct wire_token record;
	char *token; /* owned, wiped */
};

static void
token_state_free(void *p)
{
	struct token_state *s = p;

	wire_token_fini(&s->record);
	secret_free(s->token);
	free(s);
}

static void
token_stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	struct token_state *s = c->state;

	if (e != NULL) {
		api_fail_err(c, e, 1);
		return;
	}
	api_view_token(c, api_data(c, "authorization"), NULL, &s->record, s->token);
	api_send(c, 201);
}

/* The parameters of a new token; scopes: caller owns. */
static int
read_wish(struct api_call *c, char **out_scopes, const char **note, int64_t *expires, struct err *e)
{
	const char *words = NULL;

	if (api_param_str(c->params, "scope", SCOPES_LEN_MAX, &words, e) < 0 ||
	    (words == NULL && api_param_str(c->params, "scopes", SCOPES_LEN_MAX, &words, e) < 0) ||
	    api_param_str(c->params, "note", NOTE_MAX, note, e) < 0)
		return -1;
	/* what is no number counts as "the default", as it always did */
	if (api_param_int(c->params, "expires_in", INT64_MIN, INT64_MAX, expires, e) < 0)
		*e = (struct err){ 0 };
	*out_scopes = scopes_normal(words == NULL ? "userinfo" : words, e);
	return *out_scopes == NULL ? -1 : 0;
}

void
api_token_create(struct api_call *c)
{
	AUTO(free) char *scopes = NULL;
	const char *note = NULL;
	int64_t expires = -1;
	struct err e = { 0 };
	struct token_state *s;

	if (read_wish(c, &scopes, &note, &expires, &e) < 0) {
		api_fail_err(c, &e, 1);
		return;
	}
	s = xcalloc(1, sizeof *s);
	api_call_keep(c, s, token_state_free);
	s->token = secret_random_hex(TOKEN_BYTES);
	s->record = (struct wire_token){
		.id = record_new_id(),
		.login = xstrdup(c->who.login),
		.note = xstrdup_null(note),
		.scopes = xstrdup(scopes),
		.created_at = (int64_t)time(NULL),
	};
	s->record.expires_at = s->record.created_at + lifetime(scopes, expires);
	account_add_token(c->b, s->token, &s->record, token_stored, c);
}

/* --- changing and deleting --- */

static void
token_noted(const struct err *e, void *arg)
{
	struct api_call *c = arg;

	if (e != NULL)
		api_fail_err(c, e, EXIT_MISSING);
	else
		api_token_show(c);
}

void
api_token_update(struct api_call *c)
{
	const char *note = "";
	struct err e = { 0 };

	if (api_param_str(c->params, "note", NOTE_MAX, &note, &e) < 0) {
		api_fail_err(c, &e, 1);
		return;
	}
	account_note_token(
	    c->b, c->who.login, api_param_of_path(c->params, "id"), note, token_noted, c);
}

static void
tokens_deleted(const struct err *e, void *arg)
{
	struct api_call *c = arg;

	if (e != NULL)
		api_fail_err(c, e, EXIT_MISSING);
	else
		api_send_deleted(c, "Authorizations were deleted.");
}

/* id of one token, or the token itself. */
void
api_token_delete(struct api_call *c)
{
	const char *id = api_param_of_path(c->params, "id");
	AUTO_FINI(wire_token_fini) struct wire_token t = { 0 };
	struct err e = { 0 };
	char hex[65];

	if (str_is_hex(id, 64)) {
		secret_sha256_hex(id, 64, hex);
		if (record_get(
		        c->b->store, store_key_token(hex), &wire_token_codec, &t, NULL, &e) == 0)
			id = t.id;
	}
	account_delete_tokens(c->b, c->who.login, id, NULL, tokens_deleted, c);
}

void
api_token_delete_all(struct api_call *c)
{
	const char *scope = NULL;
	struct err e = { 0 };

	if (api_param_str(c->params, "scope", SCOPES_LEN_MAX, &scope, &e) < 0) {
		api_fail_err(c, &e, 1);
		return;
	}
	account_delete_tokens(c->b, c->who.login, NULL, scope, tokens_deleted, c);
}
