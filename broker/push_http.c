#include "broker/push_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "broker/access.h"
#include "broker/auth.h"
#include "broker/broker.h"
#include "broker/push.h"
#include "broker/push_gunzip.h"
#include "broker/record.h"
#include "broker/repo.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_server.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "lib/store/store_key.h"

enum {
	STDIN_MAX = 256 * 1024,    /* queued for git before the client is paused */
	FETCH_BODY_MAX = 64 << 20, /* a client's side of a fetch */
	CHILDREN_MAX = 64,
	CHILDREN_OF_ONE_MAX = 16, /* of one user, so that none can take all */
	GIT_TIMEOUT_MS = 2 * 3600 * 1000,
	ENV_MAX = 40,
	GIT_PROTOCOL_MAX = 64,
	LOG_MAX = 2000,
};

#define GIT_PROGRAM "/usr/bin/git"
#define AGENT "pinion"

enum service { SERVICE_FETCH, SERVICE_PUSH };
static const char *const service_names[] = { "git-upload-pack", "git-receive-pack" };

struct exchange {
	LIST_ENTRY(exchange) link;
	struct push_http *ph;       /* borrowed */
	struct http_req *r;         /* borrowed; NULL: the client went away */
	struct auth_ask *auth;      /* while it runs */
	struct repo_ask *repo;      /* while it runs */
	struct child *child;        /* owned */
	struct push *push;          /* owned */
	struct push_gunzip *gunzip; /* owned */
	char *domain, *name, *login;
	char *app_id;
	enum service service;
	bool is_over;      /* in no list any more */
	bool is_info;      /* info/refs */
	bool has_begun;    /* the answer's head was sent */
	bool is_body_read; /* the request's body came to its end */
	int64_t body_n, body_max;
	struct buf log; /* git's stderr */
};

struct push_http {
	struct broker *b; /* borrowed */
	LIST_HEAD(, exchange) list;
	int children;
};

struct push_http *
push_http_new(struct broker *b)
{
	struct push_http *p = xcalloc(1, sizeof *p);

	p->b = b;
	return p;
}

static void
exchange_release(void *p)
{
	struct exchange *x = p;

	free(x->domain);
	free(x->name);
	free(x->login);
	free(x->app_id);
	buf_fini(&x->log);
	free(x);
}

/* The exchange is over; the request was answered or is gone. */
static void
exchange_end(struct exchange *x)
{
	if (x->is_over)
		return;
	LIST_REMOVE(x, link);
	x->is_over = true;
	x->r = NULL;
	auth_cancel(STEAL(x->auth));
	repo_ask_cancel(STEAL(x->repo));
	if (x->child != NULL) {
		child_free(STEAL(x->child));
		x->ph->children--;
	}
	if (x->push != NULL) {
		push_end(STEAL(x->push));
		repo_pushed(x->ph->b->repos, x->app_id);
	}
	push_gunzip_free(STEAL(x->gunzip));
	loop_free_later(x->ph->b->loop, exchange_release, x);
}

void
push_http_free(struct push_http *take_p)
{
	if (take_p == NULL)
		return;
	while (!LIST_EMPTY(&take_p->list))
		exchange_end(LIST_FIRST(&take_p->list));
	free(take_p);
}

static void refuse(struct exchange *x, int status, const char *fmt, ...) PRINTF(3, 4);

static void
refuse(struct exchange *x, int status, const char *fmt, ...)
{
	struct http_req *r = x->r;
	char text[1200];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	exchange_end(x);
	if (r != NULL)
		http_req_reply_text(r, status, "%s\n", text);
}

static void
refuse_err(struct exchange *x, const struct err *e)
{
	int status = err_http_status(e->code);

	refuse(x, status == 422 ? 403 : status, "%s", e->text);
}

/* --- bytes between the client and git --- */

static void
on_client_close(struct http_req *r, void *arg)
{
	struct exchange *x = arg;

	(void)r;
	x->r = NULL;
	if (x->child == NULL) {
		exchange_end(x);
		return;
	}
	/* What git already has goes its way: its output is read and dropped. */
	child_pause(x->child, false);
	if (!x->is_body_read)
		child_close_stdin(x->child);
	if (x->service == SERVICE_FETCH)
		exchange_end(x);
}

static void
on_git_drain(struct child *c, void *arg)
{
	struct exchange *x = arg;

	(void)c;
	if (x->r != NULL && !x->is_body_read)
		http_req_pause(x->r, false);
}

static void
to_git(const char *p, size_t n, void *arg)
{
	struct exchange *x = arg;

	if (x->child != NULL && child_write(x->child, p, n) > STDIN_MAX && x->r != NULL)
		http_req_pause(x->r, true);
}

static void
on_client_data(struct http_req *r, const char *p, size_t n, void *arg)
{
	struct exchange *x = arg;
	struct err e = { 0 };
	int rc = 0;

	if (n == 0) {
		x->is_body_read = true;
		if (x->child != NULL)
			child_close_stdin(x->child);
		return;
	}
	x->body_n += (int64_t)n;
	if (x->body_n > x->body_max)
		rc = err_set(&e, ERR_LIMIT, NULL, "the request is larger than %lld bytes",
		    (long long)x->body_max);
	else if (x->gunzip != NULL)
		rc = push_gunzip_feed(x->gunzip, p, n, x->body_max, to_git, x, &e);
	else
		to_git(p, n, x);
	if (rc == 0)
		return;
	log_warn("git_body_refused", LOG_STR("app", x->name), LOG_ERR(&e));
	x->r = NULL;
	http_req_on_close(r, NULL, NULL);
	http_req_on_drain(r, NULL, NULL);
	if (x->service == SERVICE_PUSH && x->child != NULL) {
		x->is_body_read = true;
		child_close_stdin(x->child); /* git ends by itself and takes its quarantine away */
	} else {
		exchange_end(x);
	}
	http_req_abort(r);
}

static void
on_client_drain(struct http_req *r, void *arg)
{
	struct exchange *x = arg;

	(void)r;
	if (x->child != NULL)
		child_pause(x->child, false);
}

static void begin_answer(struct exchange *x);

static void
on_git_out(struct child *c, int fd, const char *p, size_t n, void *arg)
{
	struct exchange *x = arg;

	if (fd == 2) {
		if (x->log.n < LOG_MAX)
			buf_add(&x->log, p, n < LOG_MAX ? n : LOG_MAX);
		return;
	}
	if (x->r == NULL)
		return;
	begin_answer(x);
	if (!http_req_write(x->r, p, n))
		child_pause(c, true);
}

static void
on_git_end(struct child *c, const struct child_end *end, void *arg)
{
	struct exchange *x = arg;
	struct http_req *r = x->r;

	(void)c;
	if (end->status != 0 || x->log.n > 0)
		log_info("git_ended", LOG_STR("service", service_names[x->service]),
		    LOG_STR("app", x->name), LOG_STR("why", end->why),
		    LOG_STR("stderr", x->log.p == NULL ? "" : x->log.p));
	if (r != NULL)
		begin_answer(x);
	exchange_end(x);
	if (r != NULL)
		http_req_end(r);
}

/* Adds GIT_PROTOCOL when the client's header is harmless. */
static char *
protocol_of(const struct http_req *r)
{
	const char *h = http_req_header(r, "Git-Protocol");

	if (h == NULL || strlen(h) > GIT_PROTOCOL_MAX ||
	    strspn(h, "abcdefghijklmnopqrstuvwxyz0123456789=:.-") != strlen(h))
		return NULL;
	return xasprintf("GIT_PROTOCOL=%s", h);
}

static int
start_git(struct exchange *x, const char *git_dir, struct err *e)
{
	struct broker *b = x->ph->b;
	const char *service = x->service == SERVICE_PUSH ? "receive-pack" : "upload-pack";
	const char *argv[8] = { GIT_PROGRAM, service };
	const char *env[ENV_MAX + 1] = { NULL };
	const char *const *more = x->push == NULL ? NULL : push_env(x->push);
	const char *const *base = repo_store_env(b->repos);
	AUTO(free) char *protocol = protocol_of(x->r);
	size_t n = 0, k = 2;

	for (size_t i = 0; base[i] != NULL && n < ENV_MAX; i++)
		env[n++] = base[i];
	for (size_t i = 0; more != NULL && more[i] != NULL && n < ENV_MAX; i++)
		env[n++] = more[i];
	if (protocol != NULL && n < ENV_MAX)
		env[n++] = protocol;
	if (x->service == SERVICE_FETCH)
		argv[k++] = "--strict";
	argv[k++] = x->is_info ? "--http-backend-info-refs" : "--stateless-rpc";
	argv[k++] = git_dir;
	x->child = child_start(b->loop,
	    &(struct child_opts){ .argv = argv,
	        .env = env,
	        .cwd = git_dir,
	        .has_stdin = true,
	        .timeout_ms = GIT_TIMEOUT_MS },
	    on_git_out, on_git_end, x, e);
	if (x->child == NULL)
		return -1;
	x->ph->children++;
	child_on_drain(x->child, on_git_drain);
	return 0;
}

/* Not before git says something: a client that waits for "100 Continue" has to be read first. */
static void
begin_answer(struct exchange *x)
{
	AUTO(free)
	char *type = xasprintf("Content-Type: application/x-%s-%s", service_names[x->service],
	    x->is_info ? "advertisement" : "result");
	const char *headers[] = { type, "Cache-Control: no-cache, max-age=0, must-revalidate",
		"Expires: Fri, 01 Jan 1980 00:00:00 GMT", "Pragma: no-cache", NULL };

	if (x->has_begun)
		return;
	x->has_begun = true;
	http_req_begin(x->r, 200, headers);
	http_req_on_drain(x->r, on_client_drain, x);
}

static void
pkt(struct buf *b, const char *p, size_t n)
{
	buf_addf(b, "%04zx", n + 4);
	buf_add(b, p, n);
}

static void
service_header(const struct exchange *x, struct buf *b)
{
	AUTO(free) char *line = xasprintf("# service=%s\n", service_names[x->service]);

	pkt(b, line, strlen(line));
	buf_adds(b, "0000");
}

/* What a push sees: the record's refs, without asking git. */
static void
advertise_push(struct exchange *x)
{
	static const char caps[] = "report-status report-status-v2 delete-refs side-band-64k quiet "
	                           "ofs-delta object-format=sha1 agent=" AGENT;
	AUTO_FINI(wire_refs_fini) struct wire_refs refs = { 0 };
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };
	struct http_req *r = x->r;

	if (record_get(x->ph->b->store, store_key_refs(x->app_id), &wire_refs_codec, &refs, NULL,
	        &e) < 0 &&
	    e.code != ERR_NOT_FOUND) {
		refuse_err(x, &e);
		return;
	}
	begin_answer(x);
	service_header(x, &b);
	for (size_t i = 0; i < refs.refs.n; i++) {
		AUTO_FINI(buf_fini) struct buf line = { 0 };

		buf_addf(&line, "%s %s", refs.refs.v[i].oid, refs.refs.v[i].name);
		if (i == 0) {
			buf_addc(&line, '\0');
			buf_adds(&line, caps);
		}
		buf_addc(&line, '\n');
		pkt(&b, line.p, line.n);
	}
	if (refs.refs.n == 0) {
		AUTO_FINI(buf_fini) struct buf line = { 0 };

		buf_addf(&line, "%040d capabilities^{}", 0);
		buf_addc(&line, '\0');
		buf_adds(&line, caps);
		buf_addc(&line, '\n');
		pkt(&b, line.p, line.n);
	}
	buf_adds(&b, "0000");
	(void)http_req_write(r, b.p, b.n);
	exchange_end(x);
	http_req_end(r);
}

static char *
url_of(const struct exchange *x)
{
	const char *host = http_req_header(x->r, "Host");
	const struct broker_conf *c = &x->ph->b->conf;

	if (c->public_url != NULL && *c->public_url != '\0')
		return xasprintf("%s/git/%s/%s.git", c->public_url, x->domain, x->name);
	return xasprintf(
	    "http://%s/git/%s/%s.git", host == NULL ? "localhost" : host, x->domain, x->name);
}

/* The repository is as the record says: serve. */
static void
on_repo(const char *git_dir, const struct err *e, void *arg)
{
	struct exchange *x = arg;
	struct err bad = { 0 };

	x->repo = NULL;
	if (e != NULL) {
		refuse_err(x, e);
		return;
	}
	if (x->service == SERVICE_PUSH) {
		AUTO(free) char *url = url_of(x);

		x->push = push_begin(x->ph->b->pushes,
		    &(struct push_info){
		        .app_id = x->app_id, .login = x->login, .git_dir = git_dir, .url = url });
	}
	if (start_git(x, git_dir, &bad) < 0) {
		log_error("git_not_started", LOG_ERR(&bad));
		refuse_err(x, &bad);
		return;
	}
	if (x->is_info) {
		AUTO_FINI(buf_fini) struct buf b = { 0 };
		const char *protocol = http_req_header(x->r, "Git-Protocol");

		x->is_body_read = true;
		child_close_stdin(x->child);
		if (protocol == NULL || strstr(protocol, "version=2") == NULL) {
			service_header(x, &b);
			begin_answer(x);
			(void)http_req_write(x->r, b.p, b.n);
		}
		return;
	}
	http_req_read(x->r, on_client_data, x);
}

/* --- who, and which repository --- */

static bool
find_app(struct exchange *x, const struct auth_who *who, struct wire_app *app)
{
	struct err e = { 0 };

	if (access_app(x->ph->b, who, x->domain, x->name,
	        x->service == SERVICE_PUSH ? ACCESS_EDIT : ACCESS_VIEW, app, NULL, &e) < 0) {
		if (e.code == ERR_NOT_FOUND)
			refuse(x, 404, "There is no application %s in a domain %s of yours.",
			    x->name, x->domain);
		else
			refuse_err(x, &e);
		return false;
	}
	if (app->spec.deleted) {
		refuse(x, 404, "The application %s is being deleted.", x->name);
		return false;
	}
	if (x->service == SERVICE_PUSH && app->deployment_type != NULL &&
	    strcmp(app->deployment_type, "binary") == 0) {
		refuse(x, 403,
		    "OPENSHIFT_DEPLOYMENT_TYPE is 'binary' - git-based deployments are disabled.");
		return false;
	}
	return true;
}

static bool
is_crowded(const struct exchange *x)
{
	const struct exchange *y;
	int own = 0;

	LIST_FOREACH (y, &x->ph->list, link)
		own += y != x && y->login != NULL && strcmp(y->login, x->login) == 0;
	return own >= CHILDREN_OF_ONE_MAX || x->ph->children >= CHILDREN_MAX;
}

static void
on_auth(const struct auth_answer *ans, void *arg)
{
	struct exchange *x = arg;
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	struct http_req *r = x->r;
	struct repo_store *rs = x->ph->b->repos;

	x->auth = NULL;
	if (ans->who == NULL) {
		exchange_end(x);
		http_req_reply(r, ans->status, ans->headers, ans->text, strlen(ans->text));
		return;
	}
	if (!find_app(x, ans->who, &app))
		return;
	x->app_id = xstrdup(app.id);
	x->login = xstrdup(ans->who->login);
	mem_set_str(&x->name, app.name);
	mem_set_str(&x->domain, app.domain);
	if (x->service == SERVICE_PUSH && x->is_info)
		advertise_push(x);
	else if (is_crowded(x))
		refuse(x, 503, "Too many git operations are under way: try again in a minute.");
	else if (x->service == SERVICE_FETCH)
		x->repo = repo_open_read(rs, &app, on_repo, x);
	else
		x->repo = repo_open(rs, app.id, on_repo, x);
}

/* "/git/DOMAIN/APP.git/REST": false: no such path. */
static bool
parse_path(struct exchange *x, const char *path, const char **out_rest)
{
	struct str domain, name, rest = str_of(path + strlen("/git/"));

	rest = str_cut(rest, '/', &domain);
	rest = str_cut(rest, '/', &name);
	if (rest.p == NULL || domain.n == 0 || domain.n > 64 || name.n == 0 || name.n > 80)
		return false;
	if (name.n > 4 && memcmp(name.p + name.n - 4, ".git", 4) == 0)
		name.n -= 4;
	x->domain = xstrndup(domain.p, domain.n);
	x->name = xstrndup(name.p, name.n);
	*out_rest = rest.p;
	return true;
}

/* Which service the request is for; false: it was refused. */
static bool
parse_service(struct exchange *x, const char *rest)
{
	struct str method = http_req_method(x->r);
	const char *service = rest;

	x->is_info = strcmp(rest, "info/refs") == 0;
	if (x->is_info) {
		service = http_req_param(x->r, "service");
		if (service == NULL) {
			refuse(x, 403,
			    "The dumb HTTP protocol is not served: use git 1.6.6 or newer.");
			return false;
		}
	}
	if (strcmp(service, service_names[SERVICE_PUSH]) == 0)
		x->service = SERVICE_PUSH;
	else if (strcmp(service, service_names[SERVICE_FETCH]) == 0)
		x->service = SERVICE_FETCH;
	else {
		refuse(
		    x, 404, "There is no such path in a repository. git's smart HTTP is served.");
		return false;
	}
	if (!str_eq(method, x->is_info ? "GET" : "POST")) {
		refuse(x, 405, "This path takes %s only.", x->is_info ? "GET" : "POST");
		return false;
	}
	return true;
}

static bool
check_encoding(struct exchange *x)
{
	const char *coding = http_req_header(x->r, "Content-Encoding");

	if (coding == NULL || strcmp(coding, "identity") == 0)
		return true;
	if (strcmp(coding, "gzip") != 0 && strcmp(coding, "x-gzip") != 0) {
		refuse(x, 415, "Content-Encoding: only gzip is taken.");
		return false;
	}
	x->gunzip = push_gunzip_new();
	return true;
}

void
push_http_handle(struct push_http *p, struct http_req *r)
{
	struct exchange *x = xcalloc(1, sizeof *x);
	const char *rest;

	*x = (struct exchange){ .ph = p, .r = r };
	LIST_INSERT_HEAD(&p->list, x, link);
	if (!parse_path(x, http_req_path(r), &rest)) {
		refuse(x, 404, "There is no such repository. Its URL is /git/DOMAIN/APP.git.");
		return;
	}
	if (!parse_service(x, rest) || !check_encoding(x))
		return;
	x->body_max = x->service == SERVICE_PUSH ? p->b->conf.pack_max_mb * (1 << 20) + (1 << 20)
	                                         : FETCH_BODY_MAX;
	http_req_on_close(r, on_client_close, x);
	x->auth = auth_start(
	    p->b->auth, http_req_header(r, "Authorization"), http_req_peer(r), on_auth, x);
}
