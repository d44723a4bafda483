#include "broker/auth.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "broker/auth_memory.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_user.h"

enum {
	HASH_THREADS = 2,
	HASH_WAITING_MAX = 64,
	PASSWORD_MIN = 8,
	PASSWORD_MAX = 1024,
	LOGIN_MAX = 128,
	TOKEN_HEX = 64,
	HEADER_MAX = 8192,
	BUSY_RETRY_S = 2,
};

/* A hash of nothing that anyone has: unknown logins cost what wrong passwords cost. */
static const char no_hash[] = "$argon2id$v=19$m=19456,t=2,p=1$"
                              "c2FsdHNhbHRzYWx0c2FsdA$"
                              "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

static const char realm[] = "WWW-Authenticate: Basic realm=\"Pinion\"";
static const char denied_text[] = "HTTP Basic: Access denied.\n";

struct auth {
	struct broker *b;           /* borrowed */
	struct worker *worker;      /* owned; hashes */
	struct auth_memory *memory; /* owned */
	int waiting;                /* hash jobs not done */
};

/* One hash or verification on a worker. */
struct job {
	struct auth *auth;
	char *password; /* owned, wiped */
	char *encoded;  /* owned; to verify against; NULL: make a hash */
	char *made;     /* owned; the new hash */
	bool ok;
	struct err e; /* refused before any work, or the hash could not be made */
	/* what follows; exactly one of the two */
	auth_hash_fn *hashed;
	auth_verify_fn *verified;
	void *arg;
	char *login; /* owned; verified: whose */
	char *peer;  /* owned */
	int64_t auth_rev;
};

struct auth_ask {
	struct auth *auth;
	struct loop_timer *later; /* owned; an answer that needs no worker */
	struct worker_job *job;   /* the job under way, or NULL */
	struct auth_who who;
	bool ok;
	int status;
	char *header; /* owned */
	char *text;   /* owned */
	auth_done_fn *done;
	void *arg;
};

void
auth_who_copy(struct auth_who *to, const struct auth_who *from)
{
	*to = (struct auth_who){
		.login = xstrdup_null(from->login),
		.user_id = xstrdup_null(from->user_id),
		.is_admin = from->is_admin,
		.scopes = xstrdup_null(from->scopes),
		.token_id = xstrdup_null(from->token_id),
	};
}

void
auth_who_fini(struct auth_who *w)
{
	free(w->login);
	free(w->user_id);
	free(w->scopes);
	free(w->token_id);
	*w = (struct auth_who){ 0 };
}

struct auth *
auth_new(struct broker *b)
{
	struct auth *a = xcalloc(1, sizeof *a);

	a->b = b;
	a->worker = worker_new(b->loop, HASH_THREADS);
	a->memory = auth_memory_new();
	return a;
}

void
auth_free(struct auth *take_a)
{
	if (take_a == NULL)
		return;
	worker_free(take_a->worker);
	auth_memory_free(take_a->memory);
	free(take_a);
}

/* --- work on workers --- */

static void
job_free(void *arg)
{
	struct job *j = arg;

	j->auth->waiting--;
	secret_free(j->password);
	free(j->encoded);
	free(j->made);
	free(j->login);
	free(j->peer);
	free(j);
}

static void
job_run(void *arg)
{
	struct job *j = arg;

	if (j->encoded != NULL) {
		j->ok = secret_password_verify(j->encoded, j->password);
		return;
	}
	j->made = secret_password_hash(j->password, &j->e);
	j->ok = j->made != NULL;
}

static void
job_done(void *arg)
{
	struct job *j = arg;

	if (j->hashed != NULL) {
		j->hashed(j->made, j->ok ? NULL : &j->e, j->arg);
	} else if (j->e.code != ERR_NONE) {
		j->verified(false, &j->e, j->arg);
	} else {
		if (j->ok)
			auth_memory_verified(
			    j->auth->memory, j->login, j->password, j->auth_rev, loop_now_ms());
		else
			auth_memory_failed(j->auth->memory, j->login, j->peer, loop_now_ms());
		j->verified(j->ok, NULL, j->arg);
	}
	job_free(j);
}

static struct worker_job *
job_submit(struct auth *a, struct job *take_j)
{
	take_j->auth = a;
	a->waiting++;
	return worker_submit(a->worker, job_run, job_done, job_free, take_j);
}

static int
busy(const struct auth *a, struct err *e)
{
	if (a->waiting < HASH_WAITING_MAX)
		return 0;
	return err_set(e, ERR_BUSY, NULL, "Too many logins at once. Try again in a few seconds.");
}

/* The job ends with its error on the next turn, without work. */
static void
job_refuse(struct auth *a, struct job *take_j)
{
	take_j->auth = a;
	a->waiting++;
	loop_post(a->b->loop, job_done, take_j);
}

void
auth_hash(struct auth *a, const char *password, auth_hash_fn *done, void *arg)
{
	struct job *j = xcalloc(1, sizeof *j);

	j->password = xstrdup(password);
	j->hashed = done;
	j->arg = arg;
	if (busy(a, &j->e) < 0)
		job_refuse(a, j);
	else
		(void)job_submit(a, j);
}

/* Verifies on a worker. u NULL: no such user, takes as long. */
static struct worker_job *
verify_slowly(struct auth *a, const struct wire_user *u, const char *login, const char *password,
    const char *peer, auth_verify_fn *done, void *arg)
{
	struct job *j = xcalloc(1, sizeof *j);
	bool has_hash = u != NULL && u->password_hash != NULL;

	j->password = xstrdup(password);
	j->encoded = xstrdup(has_hash ? u->password_hash : no_hash);
	j->login = xstrdup(login);
	j->peer = xstrdup(peer);
	j->auth_rev = u == NULL ? 0 : u->auth_rev;
	j->verified = done;
	j->arg = arg;
	return job_submit(a, j);
}

void
auth_verify(struct auth *a, const char *login, const char *password, const char *peer,
    auth_verify_fn *done, void *arg)
{
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct err e = { 0 };
	int64_t wait_s = auth_memory_wait_s(a->memory, login, peer, loop_now_ms());
	bool exists;

	if (wait_s > 0)
		(void)err_set(&e, ERR_LIMIT, NULL,
		    "Too many failed logins. Try again in %" PRId64 " s.", wait_s);
	if (wait_s > 0 || busy(a, &e) < 0) {
		struct job *j = xcalloc(1, sizeof *j);

		*j = (struct job){ .e = e, .verified = done, .arg = arg };
		job_refuse(a, j);
		return;
	}
	exists =
	    record_get(a->b->store, store_key_user(login), &wire_user_codec, &u, NULL, &e) == 0;
	(void)verify_slowly(a, exists ? &u : NULL, login, password, peer, done, arg);
}

/* --- answers --- */

static void
ask_free(struct auth_ask *q)
{
	loop_timer_cancel(q->later);
	auth_who_fini(&q->who);
	free(q->header);
	free(q->text);
	free(q);
}

void
auth_cancel(struct auth_ask *take_q)
{
	if (take_q == NULL)
		return;
	worker_detach(take_q->job);
	ask_free(take_q);
}

static void
ask_answer(void *arg)
{
	struct auth_ask *q = arg;
	struct auth_answer ans = {
		.who = q->ok ? &q->who : NULL,
		.status = q->status,
		.headers = { q->header, NULL, NULL },
		.text = q->text,
	};

	q->done(&ans, q->arg);
	ask_free(q);
}

static struct auth_ask *
ask_later(struct auth_ask *q)
{
	q->later = loop_timer_start(q->auth->b->loop, 0, false, ask_answer, q);
	return q;
}

static void
ask_refuse(struct auth_ask *q, int status, const char *header, const char *text)
{
	q->ok = false;
	q->status = status;
	mem_set_str(&q->header, header);
	mem_set_str(&q->text, text);
}

static void
ask_refuse_basic(struct auth_ask *q)
{
	ask_refuse(q, 401, realm, denied_text);
}

static void
ask_refuse_bearer(struct auth_ask *q, const char *why)
{
	AUTO(free)
	char *header = xasprintf("WWW-Authenticate: Bearer realm=\"Pinion\", "
	                         "error=\"invalid_token\", error_description=\"%s\"",
	    why);
	AUTO(free) char *text = xasprintf("%s Log in again: pinion login.\n", why);

	ask_refuse(q, 401, header, text);
}

static void
ask_refuse_wait(struct auth_ask *q, int status, int64_t wait_s, const char *text)
{
	AUTO(free) char *header = xasprintf("Retry-After: %" PRId64, wait_s);

	ask_refuse(q, status, header, text);
}

static void
ask_accept(struct auth_ask *q, const struct wire_user *u, const char *scopes, const char *token_id)
{
	q->ok = true;
	q->who = (struct auth_who){
		.login = xstrdup(u->login),
		.user_id = xstrdup(u->id),
		.is_admin = u->is_admin,
		.scopes = xstrdup(scopes),
		.token_id = xstrdup_null(token_id),
	};
}

/* --- tokens --- */

enum token_verdict { TOKEN_GOOD, TOKEN_UNKNOWN, TOKEN_EXPIRED };

/* login NULL: anyone's. A good one fills ask's who. */
static enum token_verdict
try_token(struct auth_ask *q, const char *token, const char *login)
{
	struct auth *a = q->auth;
	AUTO_FINI(wire_token_fini) struct wire_token t = { 0 };
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct err e = { 0 };
	char hex[65];

	if (!str_is_hex(token, TOKEN_HEX))
		return TOKEN_UNKNOWN;
	secret_sha256_hex(token, TOKEN_HEX, hex);
	if (record_get(a->b->store, store_key_token(hex), &wire_token_codec, &t, NULL, &e) < 0 ||
	    (login != NULL && strcmp(login, t.login) != 0))
		return TOKEN_UNKNOWN;
	if (t.expires_at <= (int64_t)time(NULL))
		return TOKEN_EXPIRED;
	if (record_get(a->b->store, store_key_user(t.login), &wire_user_codec, &u, NULL, &e) < 0 ||
	    strcmp(u.id, t.user_id) != 0 || u.auth_rev != t.auth_rev)
		return TOKEN_UNKNOWN;
	ask_accept(q, &u, t.scopes, t.id);
	return TOKEN_GOOD;
}

static void
ask_bearer(struct auth_ask *q, const char *token)
{
	switch (try_token(q, token, NULL)) {
	case TOKEN_GOOD:
		break;
	case TOKEN_UNKNOWN:
		ask_refuse_bearer(q, "The access token is not known.");
		break;
	case TOKEN_EXPIRED:
		ask_refuse_bearer(q, "The access token has expired.");
		break;
	}
}

/* --- passwords --- */

static void
ask_verified(bool ok, const struct err *e, void *arg)
{
	struct auth_ask *q = arg;

	(void)e;
	q->job = NULL;
	if (!ok) {
		auth_who_fini(&q->who);
		ask_refuse_basic(q);
	}
	q->ok = ok;
	ask_answer(q);
}

/* true: the answer is known already. */
static bool
ask_password(struct auth_ask *q, const char *login, const char *password, const char *peer)
{
	struct auth *a = q->auth;
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct err e = { 0 };
	int64_t wait_s = auth_memory_wait_s(a->memory, login, peer, loop_now_ms());
	bool exists;

	if (wait_s > 0) {
		ask_refuse_wait(
		    q, 429, wait_s, "Too many failed logins. Wait before the next try.\n");
		return true;
	}
	exists = auth_check_login(login, &e) == 0 && record_get(a->b->store, store_key_user(login),
	                                                 &wire_user_codec, &u, NULL, &e) == 0;
	if (exists && auth_memory_knows(a->memory, login, password, u.auth_rev, loop_now_ms())) {
		ask_accept(q, &u, "session", NULL);
		return true;
	}
	if (busy(a, &e) < 0) {
		ask_refuse_wait(q, 503, BUSY_RETRY_S, "Too many logins at once. Try again.\n");
		return true;
	}
	if (exists)
		ask_accept(q, &u, "session", NULL); /* if it verifies */
	q->job = verify_slowly(a, exists ? &u : NULL, login, password, peer, ask_verified, q);
	return false;
}

/* "login:password" from base64; NULL: malformed. Owned by the caller. */
static char *
basic_decode(struct str value)
{
	size_t n = 0;
	char *raw = str_base64_decode(str_trim(value), &n);
	char *s = NULL;

	if (raw != NULL && memchr(raw, '\0', n) == NULL && str_is_utf8(raw, n))
		s = xstrndup(raw, n);
	if (raw != NULL)
		secret_wipe(raw, n);
	free(raw);
	return s;
}

/* true: the answer is known already. */
static bool
ask_basic(struct auth_ask *q, struct str value, const char *peer)
{
	char *pair = basic_decode(value);
	char *password = pair == NULL ? NULL : strchr(pair, ':');
	bool known = true;

	if (password == NULL || strlen(password + 1) > PASSWORD_MAX) {
		ask_refuse_basic(q);
	} else {
		*password++ = '\0';
		if (try_token(q, password, pair) != TOKEN_GOOD)
			known = ask_password(q, pair, password, peer);
		*(password - 1) = ':'; /* all of it is wiped */
	}
	secret_free(pair);
	return known;
}

struct auth_ask *
auth_start(
    struct auth *a, const char *authorization, const char *peer, auth_done_fn *done, void *arg)
{
	struct auth_ask *q = xcalloc(1, sizeof *q);
	struct str scheme = { 0 };
	struct str value;

	*q = (struct auth_ask){ .auth = a, .done = done, .arg = arg };
	if (authorization == NULL || strlen(authorization) > HEADER_MAX) {
		ask_refuse_basic(q);
		return ask_later(q);
	}
	value = str_cut(str_of(authorization), ' ', &scheme);
	if (value.p == NULL) {
		ask_refuse_basic(q);
	} else if (str_eq_nocase(scheme, "bearer")) {
		AUTO(free) char *token = xstrndup(str_trim(value).p, str_trim(value).n);

		ask_bearer(q, token);
	} else if (!str_eq_nocase(scheme, "basic")) {
		ask_refuse_basic(q);
	} else if (!ask_basic(q, value, peer)) {
		return q;
	}
	return ask_later(q);
}

/* --- rules --- */

int
auth_check_password(const char *password, struct err *e)
{
	size_t n = strlen(password);

	if (n < PASSWORD_MIN || n > PASSWORD_MAX)
		return err_set(e, ERR_INVALID, "password",
		    "The password must have %d to %d bytes, has %zu.", PASSWORD_MIN, PASSWORD_MAX,
		    n);
	return 0;
}

int
auth_check_login(const char *login, struct err *e)
{
	size_t n = strlen(login);
	bool ok = n > 0 && n <= LOGIN_MAX && login[0] != '.' && login[0] != '-';

	for (size_t i = 0; ok && i < n; i++) {
		unsigned char c = (unsigned char)login[i];

		ok = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		     strchr("._@+-", c) != NULL;
	}
	if (!ok)
		return err_set(e, ERR_INVALID, "login",
		    "A login has 1 to %d letters, digits or ._@+- and begins with none of . and -.",
		    LOGIN_MAX);
	return 0;
}

/* --- the first user --- */

struct bootstrap {
	struct auth *auth;
	auth_bootstrap_fn *done;
	void *arg;
	struct err e;
	bool failed;
};

static void
bootstrap_end(void *arg)
{
	struct bootstrap *s = arg;

	s->done(s->failed ? &s->e : NULL, s->arg);
	free(s);
}

static void
bootstrap_stored(int64_t rev, const struct err *e, void *arg)
{
	struct bootstrap *s = arg;

	(void)rev;
	if (e != NULL && e->code != ERR_CONFLICT) {
		s->e = *e;
		s->failed = true;
	}
	if (e == NULL)
		log_info("user_made", LOG_STR("user", "admin"));
	bootstrap_end(s);
}

static void
bootstrap_hashed(const char *hash, const struct err *e, void *arg)
{
	struct bootstrap *s = arg;
	struct broker *b = s->auth->b;
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct store_txn *t;

	if (e != NULL) {
		s->e = *e;
		s->failed = true;
		bootstrap_end(s);
		return;
	}
	u = (struct wire_user){
		.id = record_new_id(),
		.login = xstrdup("admin"),
		.password_hash = xstrdup(hash),
		.is_admin = true,
		.created_at = (int64_t)time(NULL),
		.max_gears = b->conf.max_gears,
		.max_storage_gb = b->conf.max_storage_gb,
		.max_domains = 10,
		.auth_rev = 1,
	};
	str_list_add(&u.gear_sizes, "small");
	str_list_add(&u.gear_sizes, "medium");
	str_list_add(&u.gear_sizes, "large");
	t = store_txn_new();
	record_put_cas(t, store_key_user("admin"), 0, &wire_user_codec, &u);
	store_txn_submit(b->store, t, bootstrap_stored, s);
}

void
auth_bootstrap(struct auth *a, auth_bootstrap_fn *done, void *arg)
{
	struct bootstrap *s = xcalloc(1, sizeof *s);
	AUTO_FINI(buf_fini) struct buf file = { 0 };
	AUTO(free) char *key = store_key_user("admin");
	struct store_kv kv;
	struct str line;

	*s = (struct bootstrap){ .auth = a, .done = done, .arg = arg };
	if (a->b->conf.admin_password_file == NULL || store_get(a->b->store, key, &kv)) {
		loop_post(a->b->loop, bootstrap_end, s);
		return;
	}
	if (file_read(a->b->conf.admin_password_file, PASSWORD_MAX, &file, &s->e) < 0) {
		s->failed = true;
		loop_post(a->b->loop, bootstrap_end, s);
		return;
	}
	(void)str_cut(buf_str(&file), '\n', &line);
	buf_truncate(&file, line.n);
	if (auth_check_password(file.n == 0 ? "" : file.p, &s->e) < 0) {
		s->failed = true;
		loop_post(a->b->loop, bootstrap_end, s);
		return;
	}
	auth_hash(a, file.p, bootstrap_hashed, s);
	secret_wipe(file.p, file.n);
}
