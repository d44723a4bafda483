#include "broker/ssh_key.h"

#include <arpa/inet.h>
#include <string.h>
#include <time.h>

#include "broker/access.h"
#include "broker/auth.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "broker/wish.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/store/store_key.h"

enum { NAME_LEN_MAX = 256, CONTENT_LEN_MAX = 16 * 1024, UUID_LEN = 24 };

static const char *const types[] = {
	"ssh-rsa",
	"ssh-dss",
	"ssh-ed25519",
	"ecdsa-sha2-nistp256",
	"ecdsa-sha2-nistp384",
	"ecdsa-sha2-nistp521",
	"sk-ssh-ed25519@openssh.com",
	"sk-ecdsa-sha2-nistp256@openssh.com",
	"ssh-rsa-cert-v01@openssh.com",
	"ssh-dss-cert-v01@openssh.com",
	"ssh-rsa-cert-v00@openssh.com",
	"ssh-dss-cert-v00@openssh.com",
	"krb5-principal",
};

const char *
ssh_key_types(void)
{
	return "ssh-rsa, ssh-dss, ssh-ed25519, ecdsa-sha2-nistp256, ecdsa-sha2-nistp384, "
	       "ecdsa-sha2-nistp521, sk-ssh-ed25519@openssh.com, "
	       "sk-ecdsa-sha2-nistp256@openssh.com, their -cert-v01@openssh.com and "
	       "-cert-v00@openssh.com forms for rsa and dss, krb5-principal";
}

/* --- rules --- */

int
ssh_key_check_name(const char *name, struct err *e)
{
	static const char *const ends[] = { ".json", ".xml", ".yml", ".yaml", ".html", ".xhtml" };
	size_t n = name == NULL ? 0 : strlen(name);
	bool ok = n > 0 && n <= NAME_LEN_MAX && name[0] != '.';

	for (size_t i = 0; ok && i < n; i++) {
		unsigned char c = (unsigned char)name[i];

		ok = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		     strchr("_.-@+", c) != NULL;
	}
	for (size_t i = 0; ok && i < ARRAY_LEN(ends); i++)
		ok = !str_has_suffix(name, ends[i]);
	if (!ok)
		return err_set(e, ERR_INVALID, "name",
		    "A key's name has 1 to %d letters, digits or _.-@+, does not begin with a dot "
		    "and does not end like a format (.json).",
		    NAME_LEN_MAX);
	return 0;
}

int
ssh_key_check_type(const char *type, struct err *e)
{
	for (size_t i = 0; type != NULL && i < ARRAY_LEN(types); i++) {
		if (strcmp(type, types[i]) == 0)
			return 0;
	}
	return err_set(
	    e, ERR_INVALID, "type", "Type is required and must be one of: %s.", ssh_key_types());
}

/* A public key begins with its own type. */
static bool
says_type(const char *content, const char *type)
{
	size_t n = 0, want = strlen(type);
	AUTO(free) char *raw = str_base64_decode(str_of(content), &n);
	uint32_t len;

	if (raw == NULL || n < sizeof len + want)
		return false;
	memcpy(&len, raw, sizeof len);
	return ntohl(len) == want && memcmp(raw + sizeof len, type, want) == 0;
}

int
ssh_key_check_content(const char *type, const char *content, struct err *e)
{
	static const char base64[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
	size_t n = content == NULL ? 0 : strlen(content);
	bool is_principal = type != NULL && strcmp(type, "krb5-principal") == 0;

	if (n == 0 || n > CONTENT_LEN_MAX)
		return err_set(e, ERR_INVALID, "content",
		    "Key content is required and has at most %d characters.", CONTENT_LEN_MAX);
	if (is_principal && (content[0] == '#' || strpbrk(content, "\r\n") != NULL))
		return err_set(e, ERR_INVALID, "content",
		    "A principal is one line that does not begin with #.");
	if (!is_principal && strspn(content, base64) != n)
		return err_set(e, ERR_INVALID, "content",
		    "Invalid key content: give the base64 part of the public key, without type and "
		    "comment.");
	if (type != NULL && !is_principal && !says_type(content, type))
		return err_set(e, ERR_INVALID, "content",
		    "Invalid key content: it is no public key of the type %.64s.", type);
	return 0;
}

/* --- changes --- */

struct op {
	struct wire_ssh_key key;
	bool replaces;
	change_done_fn *done;
	void *arg; /* borrowed */
};

static struct op *
op_new(change_done_fn *done, void *arg)
{
	struct op *op = xcalloc(1, sizeof *op);

	op->done = done;
	op->arg = arg;
	return op;
}

static void
op_done(const struct err *e, void *arg)
{
	struct op *op = arg;

	op->done(e, op->arg);
	wire_ssh_key_fini(&op->key);
	free(op);
}

/* The others of the user. */
struct others {
	const struct wire_ssh_key *key;
	const struct wire_user *user;
	struct store_txn *t;
	size_t n;
	bool has_name, has_content;
};

static bool
look_at(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_ssh_key *k = rec;
	struct others *o = arg;

	if (strcmp(k->user_id, o->user->id) != 0) { /* of an earlier user of the login */
		if (strcmp(k->name, o->key->name) != 0)
			record_delete_cas(o->t, xstrdup(key), rev);
		return o->n++ < SSH_KEYS_MAX;
	}
	o->n++;
	if (strcmp(k->name, o->key->name) == 0)
		o->has_name = true;
	else if (strcmp(k->content, o->key->content) == 0)
		o->has_content = true;
	return true;
}

static int
check_others(const struct op *op, const struct others *o, struct err *e)
{
	if (op->replaces && !o->has_name)
		return err_set(e, ERR_NOT_FOUND, "name", "SSH key '%.80s' not found", op->key.name);
	if (!op->replaces && o->has_name)
		return err_set(e, ERR_CONFLICT, "name",
		    "SSH key with name %.80s already exists. Use a different name or delete the "
		    "existing key first.",
		    op->key.name);
	if (o->has_content)
		return err_set(e, ERR_CONFLICT, "content",
		    "Given public key is already in use. Use a different key or delete the one "
		    "that has it.");
	if (o->n >= SSH_KEYS_MAX && !op->replaces)
		return err_set(
		    e, ERR_LIMIT, NULL, "%s has %d SSH keys already.", op->key.login, SSH_KEYS_MAX);
	return 0;
}

/* The user's record is put back as it is, so that two additions do not pass each other. */
static int
put_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct op *op = arg;
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	AUTO(free) char *prefix = xasprintf("%s%s/", STORE_PREFIX_SSH_KEY, op->key.login);
	struct others o = { .key = &op->key, .user = &u, .t = t };
	int64_t rev;

	if (record_get(b->store, store_key_user(op->key.login), &wire_user_codec, &u, &rev, e) < 0)
		return -1;
	record_each(b->store, prefix, &wire_ssh_key_codec, look_at, &o);
	if (check_others(op, &o, e) < 0)
		return -1;
	mem_set_str(&op->key.user_id, u.id);
	record_put_cas(t, store_key_user(op->key.login), rev, &wire_user_codec, &u);
	record_put(
	    t, store_key_ssh_key(op->key.login, op->key.name), &wire_ssh_key_codec, &op->key);
	return 0;
}

void
ssh_key_put(
    struct broker *b, const struct wire_ssh_key *k, bool replaces, change_done_fn *done, void *arg)
{
	struct op *op = op_new(done, arg);

	codec_copy(&wire_ssh_key_codec, &op->key, k);
	op->key.created_at = (int64_t)time(NULL);
	op->replaces = replaces;
	change_start(b, put_build, op_done, op);
}

static int
delete_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct op *op = arg;
	AUTO_FINI(wire_ssh_key_fini) struct wire_ssh_key k = { 0 };
	int64_t rev;

	if (record_get(b->store, store_key_ssh_key(op->key.login, op->key.name),
	        &wire_ssh_key_codec, &k, &rev, e) < 0)
		return err_set(e, ERR_NOT_FOUND, "name", "SSH key '%.80s' not found", op->key.name);
	record_delete_cas(t, store_key_ssh_key(op->key.login, op->key.name), rev);
	return 0;
}

void
ssh_key_delete(
    struct broker *b, const char *login, const char *name, change_done_fn *done, void *arg)
{
	struct op *op = op_new(done, arg);

	op->key.login = xstrdup(login);
	op->key.name = xstrdup(name);
	change_start(b, delete_build, op_done, op);
}

/* --- who --- */

bool
ssh_key_is_valid(const struct broker *b, const struct wire_ssh_key *k)
{
	AUTO_FINI(wire_ssh_key_fini) struct wire_ssh_key now = { 0 };
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct err e = { 0 };

	return record_get(b->store, store_key_ssh_key(k->login, k->name), &wire_ssh_key_codec, &now,
	           NULL, &e) == 0 &&
	       strcmp(now.content, k->content) == 0 && strcmp(now.type, k->type) == 0 &&
	       record_get(b->store, store_key_user(k->login), &wire_user_codec, &u, NULL, &e) ==
	           0 &&
	       strcmp(u.id, now.user_id) == 0;
}

bool
ssh_key_admits(const struct broker *b, const struct auth_who *who, const struct wire_ssh_key *key,
    const char *app_id)
{
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	struct err e = { 0 };

	return access_app_by_id(b, who, app_id, ACCESS_EDIT, &app, NULL, &e) == 0 &&
	       !app.spec.deleted &&
	       (ssh_key_is_valid(b, key) || wish_has_key(b, &app, key->content));
}

/* The application that a login name means, and the gear; caller owns. NULL: none. */
static char *
find_app(const struct broker *b, const char *user, char **out_gear)
{
	AUTO_FINI(wire_gear_fini) struct wire_gear gear = { 0 };
	AUTO(free) char *node = NULL;
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	struct err e = { 0 };
	struct str name, domain;

	if (strlen(user) >= UUID_LEN && str_is_hex(user, strlen(user))) {
		if (record_app_by_id(b->store, user, &app, NULL, &e) < 0 &&
		    record_gear(b->store, user, &gear, &node, &e) < 0)
			return NULL;
		*out_gear = xstrdup(user);
		return xstrdup(node == NULL ? app.id : gear.app_id);
	}
	domain = str_cut(str_of(user), '-', &name);
	AUTO(free) char *a = xstrndup(name.p, name.n);
	AUTO(free) char *d = xstrndup(domain.p == NULL ? "" : domain.p, domain.n);
	str_lower(d);
	if (!str_is_name(a, 32) || !str_is_name(d, 16) ||
	    record_app(b->store, d, a, &app, NULL, &e) < 0)
		return NULL;
	*out_gear = xstrdup(app.id);
	return xstrdup(app.id);
}

struct key_search {
	const struct broker *b;
	const char *type, *content, *app_id;
	struct auth_who *who;
	struct wire_ssh_key *key;
	struct wire_app *app;
	bool is_found;
};

/* The same key may be that of several users: one who may enter is enough. */
static bool
try_key(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_ssh_key *k = rec;
	struct key_search *s = arg;
	struct auth_who who = { .login = k->login, .user_id = k->user_id, .scopes = "session" };
	struct err e = { 0 };

	(void)key;
	(void)rev;
	if (strcmp(k->content, s->content) != 0 || strcmp(k->type, s->type) != 0 ||
	    !ssh_key_is_valid(s->b, k))
		return true;
	wire_app_fini(s->app);
	*s->app = (struct wire_app){ 0 };
	if (access_app_by_id(s->b, &who, s->app_id, ACCESS_EDIT, s->app, NULL, &e) < 0 ||
	    s->app->spec.deleted)
		return true;
	auth_who_copy(s->who, &who);
	codec_copy(&wire_ssh_key_codec, s->key, k);
	s->is_found = true;
	return false;
}

/* A key that a cartridge has added may enter its own application, or as a key of the domain all of
 * it: each with the rights of that application alone. */
static void
try_wish(struct key_search *s)
{
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	AUTO(free) char *scopes = xasprintf("application/%s/edit", s->app_id);
	struct auth_who who = { .scopes = scopes };
	struct err e = { 0 };

	if (!says_type(s->content, s->type) ||
	    record_app_by_id(s->b->store, s->app_id, &app, NULL, &e) < 0 ||
	    !wish_has_key(s->b, &app, s->content) ||
	    record_get(s->b->store, store_key_user(app.owner), &wire_user_codec, &u, NULL, &e) < 0)
		return;
	who.login = u.login;
	who.user_id = u.id;
	wire_app_fini(s->app);
	*s->app = (struct wire_app){ 0 };
	if (access_app_by_id(s->b, &who, s->app_id, ACCESS_EDIT, s->app, NULL, &e) < 0 ||
	    s->app->spec.deleted)
		return;
	auth_who_copy(s->who, &who);
	s->key->name = xasprintf("application-%s", app.name);
	s->key->login = xstrdup("");
	s->key->user_id = xstrdup("");
	s->key->type = xstrdup(s->type);
	s->key->content = xstrdup(s->content);
	s->is_found = true;
}

int
ssh_key_admit(const struct broker *b, const char *user, const char *type, const char *content,
    struct auth_who *who, struct wire_ssh_key *key, struct wire_app *app, char **out_gear,
    struct err *e)
{
	AUTO(free) char *gear = NULL;
	AUTO(free) char *app_id = find_app(b, user, &gear);
	struct key_search s = { b, type, content, app_id, who, key, app, false };

	if (app_id != NULL)
		record_each_with(
		    b->store, STORE_PREFIX_SSH_KEY, content, &wire_ssh_key_codec, try_key, &s);
	if (app_id != NULL && !s.is_found)
		try_wish(&s);
	if (!s.is_found)
		return err_set(
		    e, ERR_DENIED, NULL, "the key is not that of somebody who may enter");
	*out_gear = STEAL(gear);
	return 0;
}
