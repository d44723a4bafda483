#include "broker/acme_run.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/acme_reason.h"
#include "broker/broker.h"
#include "broker/change.h"
#include "broker/record.h"
#include "broker/router_link.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/http_server.h"
#include "lib/http/tls_cert.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_cert.h"

enum {
	ACCOUNT_MS = 60 * 1000,
	ISSUE_MS = 5 * 60 * 1000,
	LOOK_MS = 20, /* whether routers have the challenge */
	LOOKS_MAX = 1000,
	CHAIN_MAX = TLS_CERT_CHAIN_MAX,
	ARGS_MAX = 24,
	ENV_MAX = 16,
};

struct acme_run {
	struct broker *b; /* borrowed */
	struct acme_run_opts o;
	char *host, *challenge; /* owned, as all strings */
	char *token;            /* what its client shows */
	char *dir;              /* of the request and the answer */
	char *key;              /* PEM; wiped */
	struct worker_job *job; /* NULL: none */
	struct child *child;    /* owned */
	struct loop_timer *later;
	struct err e;
	struct tls_cert cert;
	/* the challenge */
	char *record;           /* key in the store; NULL: none */
	struct http_req *asker; /* waits for routers; NULL: none */
	struct loop_timer *look;
	int64_t revision; /* that routers are to have; 0: not stored yet */
	int looks;
	bool is_storing, is_dead;
};

/* --- files, away from the loop --- */

struct files {
	struct acme_run *r; /* for done only */
	char *dir, *host;   /* owned */
	char *key;          /* wiped; NULL: still to be made */
	struct tls_cert cert;
	struct err e;
};

static void
files_free(void *p)
{
	struct files *f = p;

	free(f->dir);
	free(f->host);
	secret_free(f->key);
	tls_cert_fini(&f->cert);
	free(f);
}

static void
run_request(void *p)
{
	struct files *f = p;
	AUTO(free) char *path = file_join(f->dir, "request.pem");
	AUTO(free) char *request = NULL;

	if (file_mkdirs(f->dir, 0700, &f->e) == 0 &&
	    tls_cert_request(f->host, &f->key, &request, &f->e) == 0)
		(void)!file_replace_fast(path, request, strlen(request), 0600, &f->e);
}

static bool
is_for(const struct tls_cert *c, const char *host)
{
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };

	tls_cert_names(c->chain, &names);
	return str_list_has(&names, host);
}

static void
run_result(void *p)
{
	struct files *f = p;
	AUTO(free) char *path = file_join(f->dir, "request-cert.pem");
	AUTO_FINI(buf_fini) struct buf chain = { 0 };
	struct err ignored = { 0 };

	if (file_read(path, CHAIN_MAX, &chain, &f->e) < 0 ||
	    tls_cert_read(chain.p == NULL ? "" : chain.p, f->key, NULL, &f->cert, &f->e) < 0)
		(void)err_wrap(&f->e, "what the authority gave");
	else if (!is_for(&f->cert, f->host))
		(void)err_set(
		    &f->e, ERR_INVALID, NULL, "the authority's certificate is not for %s", f->host);
	(void)!file_remove_tree(f->dir, &ignored);
}

static void
run_removal(void *p)
{
	struct err e = { 0 };

	if (file_remove_tree(p, &e) < 0)
		log_warn("acme_remains", LOG_ERR(&e));
}

static void
on_files(struct acme_run *r, worker_fn *run, worker_fn *done)
{
	struct files *f = xcalloc(1, sizeof *f);

	*f = (struct files){
		.r = r, .dir = xstrdup(r->dir), .host = xstrdup(r->host), .key = STEAL(r->key)
	};
	r->job = worker_submit(r->b->worker, run, done, files_free, f);
}

/* --- the challenge --- */

/* Ends the wait of the client's hook. */
static void
reply(struct acme_run *r, int status, const char *text)
{
	struct http_req *q = STEAL(r->asker);

	loop_timer_cancel(STEAL(r->look));
	if (q != NULL)
		http_req_reply_text(q, status, "%s\n", text);
}

static void
on_look(void *arg)
{
	struct acme_run *r = arg;

	if (r->revision != 0 && router_link_has(r->b->routers, r->revision))
		reply(r, 200, "all routers answer it");
	else if (++r->looks > LOOKS_MAX)
		reply(r, 503, "a router does not take the challenge");
}

static void
on_asker_gone(struct http_req *q, void *arg)
{
	struct acme_run *r = arg;

	(void)q;
	r->asker = NULL;
	loop_timer_cancel(STEAL(r->look));
}

struct put {
	struct acme_run *r; /* NULL: it is gone */
	struct broker *b;   /* borrowed */
	char *record;       /* owned */
	char *value;        /* owned; NULL: it goes */
};

static int
build_challenge(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct put *p = arg;

	(void)b;
	(void)e;
	if (p->value != NULL)
		store_txn_put(t, p->record, p->value, strlen(p->value));
	else
		store_txn_delete(t, p->record);
	return 0;
}

static void run_free(struct acme_run *r);

static void
on_challenge(const struct err *e, void *arg)
{
	struct put *p = arg;
	struct acme_run *r = p->r;

	if (e != NULL)
		log_error("challenge_not_kept", LOG_STR("key", p->record), LOG_ERR(e));
	if (r != NULL) {
		r->is_storing = false;
		r->revision = store_rev(r->b->store);
		if (e != NULL)
			reply(r, 503, e->text);
		if (r->is_dead)
			run_free(r);
	}
	free(p->record);
	secret_free(p->value);
	free(p);
}

static void
put_challenge(struct acme_run *r, char *take_value)
{
	struct put *p = xcalloc(1, sizeof *p);

	*p = (struct put){ .r = take_value == NULL ? NULL : r,
		.b = r->b,
		.record = xstrdup(r->record),
		.value = take_value };
	r->is_storing = r->is_storing || take_value != NULL;
	change_start(r->b, build_challenge, on_challenge, p);
}

static void
drop_challenge(struct acme_run *r)
{
	if (r->record == NULL)
		return;
	put_challenge(r, NULL);
	free(STEAL(r->record));
}

/* What routers get; record is its key in the store. NULL: e. */
static char *
value_of(const struct wire_acme_word *w, char **record, struct err *e)
{
	const struct wire_challenge c = { .host = w->host, .token = w->token, .answer = w->answer };
	AUTO_FINI(tls_cert_fini) struct tls_cert made = { 0 };
	AUTO(free) char *host = NULL;

	if (wire_challenge_check(&c, e) < 0)
		return NULL;
	if (strcmp(w->type, WIRE_ACME_HTTP) == 0) {
		*record = store_key_challenge(w->host, w->token);
		return codec_to_json(&wire_challenge_codec, &c);
	}
	if (tls_cert_make_challenge(w->host, w->answer, &made, e) < 0)
		return NULL;
	host = xasprintf("acme-tls/1 %s", w->host);
	*record = store_key_cert(host);
	const struct wire_cert cert = { .host = host,
		.chain = made.chain,
		.key = made.key,
		.source = (char *)(uintptr_t) "acme",
		.not_before = made.not_before,
		.not_after = made.not_after };
	return codec_to_json(&wire_cert_codec, &cert);
}

static void
begin(struct acme_run *r, const struct wire_acme_word *w, struct http_req *q)
{
	struct err e = { 0 };
	char *value;

	if (strcmp(w->type, r->challenge) != 0 || r->record != NULL || r->asker != NULL) {
		http_req_reply_text(q, 409, "not by %.16s\n", w->type);
		return;
	}
	value = value_of(w, &r->record, &e);
	if (value == NULL) {
		http_req_reply_text(q, 400, "%s: %s\n", e.field, e.text);
		return;
	}
	r->asker = q;
	r->revision = 0;
	r->looks = 0;
	http_req_on_close(q, on_asker_gone, r);
	r->look = loop_timer_start(r->b->loop, LOOK_MS, true, on_look, r);
	put_challenge(r, value);
}

bool
acme_run_has(const struct acme_run *r, const char *token)
{
	return !r->is_dead && secret_equal(r->token, token);
}

void
acme_run_hear(struct acme_run *r, const struct wire_acme_word *w, struct http_req *q)
{
	if (strcmp(w->host, r->host) != 0) {
		http_req_reply_text(q, 409, "not for %.255s\n", w->host);
		return;
	}
	if (strcmp(w->word, "begin") == 0) {
		begin(r, w, q);
		return;
	}
	drop_challenge(r);
	http_req_reply_text(q, 200, "it is gone\n");
}

/* --- the end --- */

static void
run_free(struct acme_run *r)
{
	free(r->host);
	free(r->challenge);
	secret_free(r->token);
	free(r->dir);
	free(r->record);
	secret_free(r->key);
	tls_cert_fini(&r->cert);
	free(r);
}

void
acme_run_cancel(struct acme_run *take_r)
{
	struct acme_run *r = take_r;

	if (r == NULL)
		return;
	reply(r, 503, "it is over");
	worker_detach(STEAL(r->job));
	child_free(STEAL(r->child));
	loop_timer_cancel(STEAL(r->later));
	drop_challenge(r);
	worker_submit(r->b->worker, run_removal, free, free, xstrdup(r->dir));
	r->is_dead = true;
	if (!r->is_storing)
		run_free(r);
}

static void
finish(void *arg)
{
	struct acme_run *r = arg;
	bool is_good = r->e.code == ERR_NONE;

	r->o.on_end(r, is_good ? &r->cert : NULL, is_good ? NULL : &r->e, r->o.arg);
	acme_run_cancel(r);
}

static void
end(struct acme_run *r, const struct err *e)
{
	if (e != NULL)
		r->e = *e;
	loop_timer_cancel(r->later);
	r->later = loop_timer_start(r->b->loop, 0, false, finish, r);
}

static void
on_result(void *p)
{
	struct files *f = p;
	struct acme_run *r = f->r;

	r->job = NULL;
	r->cert = f->cert;
	f->cert = (struct tls_cert){ 0 };
	end(r, f->e.code == ERR_NONE ? NULL : &f->e);
	files_free(f);
}

/* --- the client --- */

/* The way out, as the broker has it. */
static void
add_proxies(struct str_list *env)
{
	static const char *const names[] = { "http_proxy", "https_proxy", "no_proxy" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (getenv(names[i]) != NULL)
			str_list_take(env, xasprintf("%s=%s", names[i], getenv(names[i])));
	}
}

/* The client with the words behind its options. */
static int
start_client(
    struct acme_run *r, const char *const *words, int64_t ms, child_end_fn *on_end, struct err *e)
{
	const struct broker_conf *c = &r->b->conf;
	AUTO(free) char *conf_dir = file_join(c->data, "acme");
	AUTO_FINI(str_list_fini) struct str_list env = { 0 };
	const char *argv[ARGS_MAX] = { NULL }, *envp[ENV_MAX] = { NULL };
	size_t n = 0;

	if (c->acme_ca_file != NULL && *c->acme_ca_file != '\0') {
		argv[n++] = c->acme_hook_program;
		argv[n++] = "trust";
		argv[n++] = c->acme_ca_file;
	}
	argv[n++] = c->acme_program;
	argv[n++] = "-y";
	argv[n++] = "-t";
	argv[n++] = "EC";
	argv[n++] = "-c";
	argv[n++] = conf_dir;
	argv[n++] = "-a";
	argv[n++] = c->acme_directory;
	argv[n++] = "-h";
	argv[n++] = c->acme_hook_program;
	for (; *words != NULL; words++)
		argv[n++] = *words;
	str_list_add(&env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
	str_list_add(&env, "LANG=C.UTF-8");
	str_list_take(&env, xasprintf("PINION_ACME_URL=%s:/acme", c->hook_socket));
	str_list_take(&env, xasprintf("PINION_ACME_TOKEN=%s", r->token));
	add_proxies(&env);
	for (size_t i = 0; i < env.n; i++)
		envp[i] = env.v[i];
	const struct child_opts o = {
		.argv = argv, .env = envp, .timeout_ms = ms, .new_session = true
	};

	r->child = child_start(r->b->loop, &o, NULL, on_end, r, e);
	return r->child == NULL ? -1 : 0;
}

static void
fail(struct acme_run *r, const struct child_end *ended)
{
	AUTO(free) char *why = acme_reason(ended->err, ended->err_len, ended->why);
	struct err e = { 0 };

	/* no errno with it: it is the other side that failed */
	(void)err_set(&e, ERR_INVALID, NULL, "%s", why);
	end(r, &e);
}

static void make_account(struct acme_run *r);

static void
on_issued(struct child *c, const struct child_end *ended, void *arg)
{
	struct acme_run *r = arg;

	r->child = NULL;
	if (ended->status == 0) {
		on_files(r, run_result, on_result);
	} else if (!r->o.makes_account && strstr(ended->err, "no account associated") != NULL) {
		r->o.makes_account = true; /* the authority forgot it, or is another */
		make_account(r);
	} else {
		fail(r, ended);
	}
	child_free(c);
}

static void
issue(struct acme_run *r)
{
	AUTO(free) char *request = file_join(r->dir, "request.pem");
	const char *words[] = { "issue", request, NULL };
	struct err e = { 0 };

	if (start_client(r, words, ISSUE_MS, on_issued, &e) < 0)
		end(r, &e);
}

static void
on_account(struct child *c, const struct child_end *ended, void *arg)
{
	struct acme_run *r = arg;

	r->child = NULL;
	if (ended->status != 0 && strstr(ended->err, "Account already exists") == NULL) {
		fail(r, ended);
	} else {
		r->o.on_account(r, r->o.arg);
		issue(r);
	}
	child_free(c);
}

static void
make_account(struct acme_run *r)
{
	const char *contact = r->b->conf.acme_contact;
	const char *words[] = { "new", contact != NULL && *contact != '\0' ? contact : NULL, NULL };
	struct err e = { 0 };

	if (start_client(r, words, ACCOUNT_MS, on_account, &e) < 0)
		end(r, &e);
}

static void
on_request(void *p)
{
	struct files *f = p;
	struct acme_run *r = f->r;
	struct err e = f->e;

	r->job = NULL;
	r->key = STEAL(f->key);
	files_free(f);
	if (e.code != ERR_NONE)
		end(r, &e);
	else if (r->o.makes_account)
		make_account(r);
	else
		issue(r);
}

struct acme_run *
acme_run_start(struct broker *b, const struct acme_run_opts *o)
{
	struct acme_run *r = xcalloc(1, sizeof *r);
	AUTO(free) char *name = secret_random_hex(8);

	*r = (struct acme_run){ .b = b,
		.o = *o,
		.host = xstrdup(o->host),
		.challenge = xstrdup(o->challenge),
		.token = secret_random_text(32),
		.dir = xasprintf("%s/acme/run/%s", b->conf.data, name) };
	on_files(r, run_request, on_request);
	return r;
}
