#include "broker/push_ssh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "broker/broker.h"
#include "broker/push.h"
#include "broker/repo.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/stream_child.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"

enum {
	CHILDREN_MAX = 64,
	CHILDREN_OF_ONE_MAX = 16,
	GIT_TIMEOUT_MS = 2 * 3600 * 1000,
	ENV_MAX = 40,
	PROTOCOL_MAX = 64,
	PATH_LEN_MAX = 512,
};
#define GIT_PROGRAM "/usr/bin/git"

struct push_ssh_set {
	struct broker *b; /* borrowed */
	LIST_HEAD(, push_ssh) list;
};

struct push_ssh {
	LIST_ENTRY(push_ssh) link;
	struct push_ssh_set *all; /* borrowed */
	struct stream *stream;    /* owned until the child has it */
	struct repo_ask *repo;
	struct stream_child *child; /* owned */
	struct push *push;          /* owned */
	char *app_id, *domain, *name, *login, *protocol;
	bool is_push;
	push_ssh_end_fn *on_end; /* NULL: nobody waits */
	void *arg;
};

/* --- the command --- */

static char *
unquote(struct str s)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	bool quoted = false;

	s = str_trim(s);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\'')
			quoted = !quoted;
		else if (s.p[i] == '\\' && !quoted && i + 1 < s.n)
			buf_addc(&b, s.p[++i]);
		else
			buf_addc(&b, s.p[i]);
	}
	return b.n == 0 ? xstrdup("") : buf_steal(&b);
}

bool
push_ssh_parse(const char *command, char **out_service, char **out_path)
{
	static const char *const services[] = { "git-upload-pack", "git-receive-pack",
		"git upload-pack", "git receive-pack" };

	for (size_t i = 0; i < ARRAY_LEN(services); i++) {
		size_t n = strlen(services[i]);

		if (strncmp(command, services[i], n) != 0 || command[n] != ' ' ||
		    strlen(command) > PATH_LEN_MAX)
			continue;
		*out_service = xstrdup(services[i % 2]);
		*out_path = unquote(str_of(command + n));
		return true;
	}
	return false;
}

bool
push_ssh_is_repo(const char *path, const char *gear, const char *app)
{
	AUTO(free) char *home = xasprintf("/var/lib/openshift/%s/git/", gear);
	const char *const prefixes[] = { "/~/git/", "~/git/", "git/", "/git/", "./git/", home };
	size_t n = strlen(app);

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		const char *rest = path + strlen(prefixes[i]);

		if (!str_has_prefix(path, prefixes[i]) || strncasecmp(rest, app, n) != 0)
			continue;
		rest += n;
		if (str_has_prefix(rest, ".git"))
			rest += strlen(".git");
		if (strspn(rest, "/") == strlen(rest))
			return true;
	}
	return false;
}

/* --- life --- */

struct push_ssh_set *
push_ssh_set_new(struct broker *b)
{
	struct push_ssh_set *s = xcalloc(1, sizeof *s);

	s->b = b;
	return s;
}

static void
release(void *p)
{
	struct push_ssh *x = p;

	free(x->app_id);
	free(x->domain);
	free(x->name);
	free(x->login);
	free(x->protocol);
	free(x);
}

static void
drop(struct push_ssh *x)
{
	LIST_REMOVE(x, link);
	repo_ask_cancel(STEAL(x->repo));
	stream_child_free(STEAL(x->child));
	stream_free(STEAL(x->stream));
	if (x->push != NULL) {
		push_end(STEAL(x->push));
		repo_pushed(x->all->b->repos, x->app_id);
	}
	loop_free_later(x->all->b->loop, release, x);
}

static void
end(struct push_ssh *x)
{
	push_ssh_end_fn *fn = x->on_end;
	void *arg = x->arg;

	drop(x);
	if (fn != NULL)
		fn(arg);
}

void
push_ssh_set_free(struct push_ssh_set *take_s)
{
	if (take_s == NULL)
		return;
	while (!LIST_EMPTY(&take_s->list))
		drop(LIST_FIRST(&take_s->list));
	free(take_s);
}

void
push_ssh_leave(struct push_ssh *p)
{
	p->on_end = NULL; /* the stream's own end does the rest */
}

/* As git's own errors look. */
static void
refuse(struct push_ssh *x, const struct err *e)
{
	struct err said = *e;

	(void)snprintf(said.text, sizeof said.text, "remote: %s", e->text);
	if (x->stream != NULL)
		stream_send_error(STEAL(x->stream), &said);
	if (x->child != NULL)
		stream_child_refuse(STEAL(x->child), &said);
	end(x);
}

/* --- git --- */

/* A fetch ends with its client; a push goes on, only nobody reads what it says. */
static void
on_lost(struct stream_child *c, void *arg)
{
	const struct push_ssh *x = arg;

	if (!x->is_push)
		stream_child_hang_up(c);
}

static void
on_over(struct stream_child *c, const struct child_end *e, void *arg)
{
	struct push_ssh *x = arg;

	(void)c;
	if (e == NULL || e->status != 0)
		log_info("git_ended", LOG_STR("app", x->name),
		    LOG_STR("service", x->is_push ? "git-receive-pack" : "git-upload-pack"),
		    LOG_STR("why", e == NULL ? "its client is gone" : e->why));
	end(x);
}

static const struct stream_child_calls child_calls = { on_lost, NULL, on_over };

static void
add_env(const char *env[ENV_MAX + 1], size_t *n, const char *const *more)
{
	for (size_t i = 0; more != NULL && more[i] != NULL && *n < ENV_MAX; i++)
		env[(*n)++] = more[i];
}

static int
start_git(struct push_ssh *x, const char *git_dir, struct err *e)
{
	struct broker *b = x->all->b;
	AUTO(free)
	char *size =
	    xasprintf("receive.maxInputSize=%lld", (long long)b->conf.pack_max_mb * (1 << 20));
	AUTO(free)
	char *protocol = x->protocol == NULL ? NULL : xasprintf("GIT_PROTOCOL=%s", x->protocol);
	const char *const push[] = { GIT_PROGRAM, "-c", size, "receive-pack", git_dir, NULL };
	const char *const fetch[] = { GIT_PROGRAM, "upload-pack", "--strict", git_dir, NULL };
	const char *const more[] = { protocol, NULL };
	const char *env[ENV_MAX + 1] = { NULL };
	AUTO_FINI(stream_ends_fini) struct stream_ends f = STREAM_ENDS_NONE;
	struct child *c;
	size_t n = 0;

	add_env(env, &n, repo_store_env(b->repos));
	add_env(env, &n, x->push == NULL ? NULL : push_env(x->push));
	add_env(env, &n, more);
	x->child = stream_child_new(STEAL(x->stream), &child_calls, x);
	if (stream_child_pipes(x->child, &f, e) < 0)
		return -1;
	c = child_start(b->loop,
	    &(struct child_opts){
	        .argv = x->is_push ? push : fetch,
	        .env = env,
	        .cwd = git_dir,
	        .in_fd = f.fd[0],
	        .out_fd = f.fd[1],
	        .err_fd = f.fd[2],
	        .timeout_ms = GIT_TIMEOUT_MS,
	    },
	    NULL, stream_child_ended, x->child, e);
	if (c == NULL)
		return -1;
	stream_child_started(x->child, c);
	return 0;
}

static char *
url_of(const struct push_ssh *x)
{
	const struct broker_conf *c = &x->all->b->conf;

	if (c->public_url != NULL && *c->public_url != '\0')
		return xasprintf("%s/git/%s/%s.git", c->public_url, x->domain, x->name);
	return xasprintf("http://%s/git/%s/%s.git", c->listen, x->domain, x->name);
}

static void
on_repo(const char *git_dir, const struct err *e, void *arg)
{
	struct push_ssh *x = arg;
	struct err bad = { 0 };

	x->repo = NULL;
	if (e != NULL) {
		refuse(x, e);
		return;
	}
	if (x->is_push) {
		AUTO(free) char *url = url_of(x);

		x->push = push_begin(x->all->b->pushes,
		    &(struct push_info){
		        .app_id = x->app_id, .login = x->login, .git_dir = git_dir, .url = url });
	}
	if (start_git(x, git_dir, &bad) < 0)
		refuse(x, &bad);
}

/* --- the start --- */

static void
on_close(struct stream *s, const struct err *e, void *arg)
{
	(void)s;
	(void)e;
	end(arg);
}

static const struct stream_calls calls = { NULL, NULL, NULL, on_close };

static int
check(const struct push_ssh *x, const struct wire_app *app, struct err *e)
{
	const struct push_ssh *y;
	int all = 0, own = 0;

	LIST_FOREACH (y, &x->all->list, link) {
		all++;
		own += strcmp(y->login, x->login) == 0;
	}
	if (all > CHILDREN_MAX || own > CHILDREN_OF_ONE_MAX)
		return err_set(e, ERR_BUSY, NULL,
		    "Too many git operations are under way: try again in a minute.");
	if (x->is_push && app->deployment_type != NULL &&
	    strcmp(app->deployment_type, "binary") == 0)
		return err_set(e, ERR_DENIED, NULL,
		    "OPENSHIFT_DEPLOYMENT_TYPE is 'binary' - git-based deployments are disabled.");
	return 0;
}

static bool
is_harmless(const char *protocol)
{
	return protocol != NULL && strlen(protocol) <= PROTOCOL_MAX &&
	       strspn(protocol, "abcdefghijklmnopqrstuvwxyz0123456789=:.-") == strlen(protocol);
}

struct push_ssh *
push_ssh_start(struct push_ssh_set *s, struct stream *take_s, const struct push_ssh_opts *o,
    push_ssh_end_fn *on_end, void *arg)
{
	struct push_ssh *x = xcalloc(1, sizeof *x);
	struct err e = { 0 };

	*x = (struct push_ssh){
		.all = s,
		.stream = take_s,
		.app_id = xstrdup(o->app->id),
		.domain = xstrdup(o->app->domain),
		.name = xstrdup(o->app->name),
		.login = xstrdup(o->login),
		.protocol = is_harmless(o->protocol) ? xstrdup(o->protocol) : NULL,
		.is_push = strcmp(o->service, "git-receive-pack") == 0,
		.on_end = on_end,
		.arg = arg,
	};
	LIST_INSERT_HEAD(&s->list, x, link);
	stream_set_calls(take_s, &calls, x);
	if (check(x, o->app, &e) < 0) {
		x->on_end = NULL;
		refuse(x, &e);
		return NULL;
	}
	x->repo = x->is_push ? repo_open(s->b->repos, o->app->id, on_repo, x)
	                     : repo_open_read(s->b->repos, o->app, on_repo, x);
	return x;
}
