#include "broker/account.h"

#include <string.h>
#include <time.h>

#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/store/store_key.h"

enum {
	MAX_DOMAINS = 10,
	TOKENS_IN_TXN_MAX = 80, /* of STORE_TXN_MAX */
	TOKENS_MAX = 500,       /* of a user */
};

struct op {
	char *login; /* owned; all that follows too */
	char *hash;
	char *token;
	char *id;
	char *scope;
	char *note;
	struct account_limits limits;
	bool is_admin;
	struct wire_token record;
	change_done_fn *done;
	void *arg; /* borrowed */
};

static struct op *
op_new(const char *login, change_done_fn *done, void *arg)
{
	struct op *op = xcalloc(1, sizeof *op);

	*op = (struct op){ .login = xstrdup(login), .done = done, .arg = arg };
	return op;
}

static void
op_done(const struct err *e, void *arg)
{
	struct op *op = arg;

	op->done(e, op->arg);
	free(op->login);
	secret_free(op->hash);
	secret_free(op->token);
	free(op->id);
	free(op->scope);
	free(op->note);
	wire_token_fini(&op->record);
	free(op);
}

/* --- users --- */

static int
create_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct op *op = arg;
	AUTO(free) char *key = store_key_user(op->login);
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct store_kv kv;

	if (store_get(b->store, key, &kv))
		return err_set(e, ERR_CONFLICT, "login",
		    "There is a user '%s' already. Choose another login.", op->login);
	u = (struct wire_user){
		.id = record_new_id(),
		.login = xstrdup(op->login),
		.password_hash = xstrdup(op->hash),
		.is_admin = op->is_admin,
		.created_at = (int64_t)time(NULL),
		.max_gears = b->conf.max_gears,
		.max_storage_gb = b->conf.max_storage_gb,
		.max_domains = MAX_DOMAINS,
		.auth_rev = 1,
	};
	str_list_add(&u.gear_sizes, "small");
	record_put_cas(t, STEAL(key), 0, &wire_user_codec, &u);
	return 0;
}

void
account_create(struct broker *b, const char *login, const char *password_hash, bool is_admin,
    change_done_fn *done, void *arg)
{
	struct op *op = op_new(login, done, arg);

	op->hash = xstrdup(password_hash);
	op->is_admin = is_admin;
	change_start(b, create_build, op_done, op);
}

/* --- tokens in a transaction --- */

bool
account_scopes_have(const char *scopes, const char *scope)
{
	size_t n = strlen(scope);

	for (const char *p = scopes; *p != '\0'; p += strcspn(p, " "), p += strspn(p, " ")) {
		if (strcspn(p, " ") == n && strncmp(p, scope, n) == 0)
			return true;
	}
	return false;
}

bool
account_token_is_good(const struct wire_token *t, const struct wire_user *u)
{
	return strcmp(t->user_id, u->id) == 0 && t->auth_rev == u->auth_rev &&
	       t->expires_at > (int64_t)time(NULL);
}

/* Which tokens of a login go; the rest of struct op is not for them. */
struct removal {
	struct store_txn *t;
	const struct op *op;
	const struct wire_user *void_for; /* not NULL: only what can no longer be used */
	size_t kept;
};

static bool
is_chosen(const struct removal *r, const struct wire_token *k)
{
	const struct op *op = r->op;

	if (r->void_for != NULL)
		return !account_token_is_good(k, r->void_for);
	return (op->id == NULL || strcmp(k->id, op->id) == 0) &&
	       (op->scope == NULL || account_scopes_have(k->scopes, op->scope));
}

static bool
remove_token(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_token *k = rec;
	struct removal *r = arg;

	if (strcmp(k->login, r->op->login) != 0)
		return true;
	if (is_chosen(r, k) && store_txn_count(r->t) < TOKENS_IN_TXN_MAX)
		record_delete_cas(r->t, xstrdup(key), rev);
	else
		r->kept++;
	return true;
}

static size_t
remove_tokens(
    struct broker *b, struct store_txn *t, const struct op *op, const struct wire_user *void_for)
{
	struct removal r = { .t = t, .op = op, .void_for = void_for };

	record_each_with(
	    b->store, STORE_PREFIX_TOKEN, op->login, &wire_token_codec, remove_token, &r);
	return r.kept;
}

struct find {
	const char *login, *id; /* borrowed */
	char *key;              /* owned */
	int64_t rev;
	struct wire_token token;
};

static bool
find_token(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_token *k = rec;
	struct find *f = arg;

	if (strcmp(k->login, f->login) != 0 || strcmp(k->id, f->id) != 0)
		return true;
	f->key = xstrdup(key);
	f->rev = rev;
	codec_copy(&wire_token_codec, &f->token, k);
	return false;
}

/* Raising auth_rev voids all tokens at once; the one in use is raised with it. */
static int
password_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct op *op = arg;
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct find f = { .login = op->login, .id = op->id };
	int64_t rev;

	if (record_get(b->store, store_key_user(op->login), &wire_user_codec, &u, &rev, e) < 0)
		return -1;
	mem_set_str(&u.password_hash, op->hash);
	u.auth_rev++;
	if (op->id != NULL)
		record_each_with(
		    b->store, STORE_PREFIX_TOKEN, f.id, &wire_token_codec, find_token, &f);
	if (f.key != NULL) {
		f.token.auth_rev = u.auth_rev;
		record_put_cas(t, f.key, f.rev, &wire_token_codec, &f.token);
		wire_token_fini(&f.token);
	}
	record_put_cas(t, store_key_user(op->login), rev, &wire_user_codec, &u);
	return 0;
}

void
account_set_password(struct broker *b, const char *login, const char *password_hash,
    const char *keep_token_id, change_done_fn *done, void *arg)
{
	struct op *op = op_new(login, done, arg);

	op->hash = xstrdup(password_hash);
	op->id = xstrdup_null(keep_token_id);
	change_start(b, password_build, op_done, op);
}

static void
set_unless(int64_t *to, int64_t value)
{
	if (value >= 0)
		*to = value;
}

static int
limits_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct op *op = arg;
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	int64_t rev;

	if (record_get(b->store, store_key_user(op->login), &wire_user_codec, &u, &rev, e) < 0)
		return err_set(e, ERR_NOT_FOUND, "login", "There is no user '%s'.", op->login);
	set_unless(&u.max_gears, op->limits.gears);
	set_unless(&u.max_domains, op->limits.domains);
	set_unless(&u.max_storage_gb, op->limits.storage_gb);
	if (op->limits.downloads >= 0)
		u.no_downloads = op->limits.downloads == 0;
	record_put_cas(t, store_key_user(op->login), rev, &wire_user_codec, &u);
	return 0;
}

void
account_set_limits(struct broker *b, const char *login, const struct account_limits *l,
    change_done_fn *done, void *arg)
{
	struct op *op = op_new(login, done, arg);

	op->limits = *l;
	change_start(b, limits_build, op_done, op);
}

static int
delete_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct op *op = arg;
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	int64_t rev;

	if (record_get(b->store, store_key_user(op->login), &wire_user_codec, &u, &rev, e) < 0)
		return err_set(e, ERR_NOT_FOUND, "login", "There is no user '%s'.", op->login);
	if (u.domains > 0)
		return err_set(e, ERR_CONFLICT, "force",
		    "The user '%s' has domains. Delete them first, or set force to true.",
		    op->login);
	(void)remove_tokens(b, t, op, NULL);
	record_delete_cas(t, store_key_user(op->login), rev);
	return 0;
}

void
account_delete(struct broker *b, const char *login, change_done_fn *done, void *arg)
{
	change_start(b, delete_build, op_done, op_new(login, done, arg));
}

/* --- tokens --- */

static int
token_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct op *op = arg;
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	char hex[65];
	int64_t rev;
	AUTO(free) char *user = store_key_user(op->login);

	if (record_get(b->store, store_key_user(op->login), &wire_user_codec, &u, &rev, e) < 0)
		return -1;
	if (remove_tokens(b, t, op, &u) >= TOKENS_MAX)
		return err_set(e, ERR_LIMIT, NULL,
		    "%s has %d authorizations. Delete those that are no longer used.", op->login,
		    TOKENS_MAX);
	mem_set_str(&op->record.user_id, u.id);
	op->record.auth_rev = u.auth_rev;
	secret_sha256_hex(op->token, strlen(op->token), hex);
	store_txn_if_rev(t, user, rev);
	record_put_cas(t, store_key_token(hex), 0, &wire_token_codec, &op->record);
	return 0;
}

void
account_add_token(struct broker *b, const char *token, const struct wire_token *t,
    change_done_fn *done, void *arg)
{
	struct op *op = op_new(t->login, done, arg);

	op->token = xstrdup(token);
	codec_copy(&wire_token_codec, &op->record, t);
	change_start(b, token_build, op_done, op);
}

bool
account_find_token(
    const struct broker *b, const char *login, const char *id, struct wire_token *out)
{
	struct find f = { .login = login, .id = id };

	record_each_with(b->store, STORE_PREFIX_TOKEN, f.id, &wire_token_codec, find_token, &f);
	*out = f.token;
	if (f.key == NULL)
		return false;
	free(f.key);
	return true;
}

static int
note_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct op *op = arg;
	struct find f = { .login = op->login, .id = op->id };

	record_each_with(b->store, STORE_PREFIX_TOKEN, f.id, &wire_token_codec, find_token, &f);
	if (f.key == NULL)
		return err_set(e, ERR_NOT_FOUND, "id", "Authorization '%.64s' not found.", op->id);
	mem_set_str(&f.token.note, op->note);
	record_put_cas(t, f.key, f.rev, &wire_token_codec, &f.token);
	wire_token_fini(&f.token);
	return 0;
}

void
account_note_token(struct broker *b, const char *login, const char *id, const char *note,
    change_done_fn *done, void *arg)
{
	struct op *op = op_new(login, done, arg);

	op->id = xstrdup(id);
	op->note = xstrdup(note);
	change_start(b, note_build, op_done, op);
}

static int
tokens_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	(void)e;
	(void)remove_tokens(b, t, arg, NULL);
	return 0;
}

void
account_delete_tokens(struct broker *b, const char *login, const char *id, const char *scope,
    change_done_fn *done, void *arg)
{
	struct op *op = op_new(login, done, arg);

	op->id = xstrdup_null(id);
	op->scope = xstrdup_null(scope);
	change_start(b, tokens_build, op_done, op);
}
