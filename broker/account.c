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
	TOKENS_IN_TXN_MAX =
	    80, /* of STORE_TXN_MAX; the rest expire by themselves or are asked again */
};

struct op {
	char *login; /* owned; all that follows too */
	char *hash;
	char *token;
	char *id;
	char *scope;
	char *note;
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

struct removal {
	struct store_txn *t;
	const struct op *op;
	bool keeps; /* op->id names the one to keep, not the one to delete */
};

static bool
remove_token(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_token *k = rec;
	const struct removal *r = arg;
	const struct op *op = r->op;
	bool is_it = op->id == NULL || strcmp(k->id, op->id) == 0;

	if (strcmp(k->login, op->login) != 0)
		return true;
	if (op->id != NULL && is_it == r->keeps)
		return true;
	if (op->scope != NULL && !account_scopes_have(k->scopes, op->scope))
		return true;
	record_delete_cas(r->t, xstrdup(key), rev);
	return store_txn_count(r->t) < TOKENS_IN_TXN_MAX;
}

static void
remove_tokens(struct broker *b, struct store_txn *t, const struct op *op, bool keeps)
{
	struct removal r = { .t = t, .op = op, .keeps = keeps };

	record_each(b->store, STORE_PREFIX_TOKEN, &wire_token_codec, remove_token, &r);
}

static int
password_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct op *op = arg;
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	int64_t rev;

	if (record_get(b->store, store_key_user(op->login), &wire_user_codec, &u, &rev, e) < 0)
		return -1;
	mem_set_str(&u.password_hash, op->hash);
	u.auth_rev++;
	remove_tokens(b, t, op, op->id != NULL);
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
	remove_tokens(b, t, op, false);
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
	const struct op *op = arg;
	AUTO(free) char *user = store_key_user(op->login);
	char hex[65];

	(void)b;
	(void)e;
	secret_sha256_hex(op->token, strlen(op->token), hex);
	store_txn_if_exists(t, user);
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

bool
account_find_token(
    const struct broker *b, const char *login, const char *id, struct wire_token *out)
{
	struct find f = { .login = login, .id = id };

	record_each(b->store, STORE_PREFIX_TOKEN, &wire_token_codec, find_token, &f);
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

	record_each(b->store, STORE_PREFIX_TOKEN, &wire_token_codec, find_token, &f);
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
	remove_tokens(b, t, arg, false);
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
