#include "cli/git.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/where.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"

enum { ARGS_MAX = 64, OUTPUT_MAX = 256 * 1024, QUICK_MS = 10000 };

struct run {
	struct buf out;
	int status;
	bool done;
};

static void
on_end(struct child *c, const struct child_end *end, void *arg)
{
	struct run *r = arg;

	(void)c;
	buf_add(&r->out, end->out, end->out_len);
	r->status = end->status;
	r->done = true;
}

static int
start_and_wait(const char *const *args, bool captures, struct run *r, struct err *e)
{
	const char *argv[ARGS_MAX] = { "/usr/bin/git" };
	char cwd[PATH_MAX];
	size_t n = 1;

	for (; *args != NULL && n + 1 < ARGS_MAX; args++)
		argv[n++] = *args;
	if (getcwd(cwd, sizeof cwd) == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "cannot find the working directory");
	struct loop *l = loop_new();
	struct child_opts o = {
		.argv = argv,
		.env = (const char *const *)environ,
		.cwd = cwd,
		.out_max = OUTPUT_MAX,
		.timeout_ms = captures ? QUICK_MS : 0,
		.out_fd = captures ? 0 : STDOUT_FILENO,
		.err_fd = captures ? 0 : STDERR_FILENO,
	};
	struct child *c = child_start(l, &o, NULL, on_end, r, e);
	if (c != NULL)
		(void)loop_run_until(l, &r->done, INT64_MAX / 2 - loop_now_ms());
	child_free(c);
	loop_free(l);
	return c == NULL ? -1 : 0;
}

int
git_run(const char *const *args, struct err *e)
{
	struct run r = { 0 };
	int rc = start_and_wait(args, false, &r, e);

	buf_fini(&r.out);
	return rc < 0 ? -1 : r.status;
}

/* Standard output of a quick git command, or NULL when it failed. */
static char *
ask(const char *const *args)
{
	struct run r = { 0 };
	struct err e = { 0 };

	if (start_and_wait(args, true, &r, &e) < 0 || r.status != 0) {
		buf_fini(&r.out);
		return NULL;
	}
	return buf_steal(&r.out);
}

bool
git_is_repository(void)
{
	AUTO(free) char *out = ask((const char *const[]){ "rev-parse", "--git-dir", NULL });

	return out != NULL;
}

/* What follows the prefix, or NULL. */
static struct str
without(struct str s, const char *prefix)
{
	size_t n = strlen(prefix);

	if (s.p == NULL || s.n < n || memcmp(s.p, prefix, n) != 0)
		return (struct str){ NULL, 0 };
	return (struct str){ s.p + n, s.n - n };
}

/* BROKER/git/DOMAIN/APP.git; a user name in front of the host is of no matter. */
bool
git_parse_remote(const char *broker_url, struct str url, char **out_domain, char **out_app)
{
	const char *host = strstr(broker_url, "://");

	if (host == NULL)
		return false;
	AUTO(free) char *scheme = xstrndup(broker_url, (size_t)(host + 3 - broker_url));
	AUTO(free) char *prefix = xasprintf("%s/git/", host + 3);
	struct str user, domain, app, rest = without(url, scheme);
	struct str after = rest.p == NULL ? rest : str_cut(rest, '@', &user);
	if (after.p != NULL && memchr(user.p, '/', user.n) == NULL)
		rest = after;
	rest = without(rest, prefix);
	if (rest.p == NULL)
		return false;
	app = str_cut(rest, '/', &domain);
	if (app.n > 4 && memcmp(app.p + app.n - 4, ".git", 4) == 0)
		app.n -= 4;
	if (app.p == NULL || app.n == 0 || domain.n == 0 || memchr(app.p, '/', app.n) != NULL)
		return false;
	*out_domain = xstrndup(domain.p, domain.n);
	*out_app = xstrndup(app.p, app.n);
	return true;
}

bool
git_find_app(const char *broker_url, char **out_domain, char **out_app)
{
	AUTO(free)
	char *out =
	    ask((const char *const[]){ "config", "--get-regexp", "^remote\\..*\\.url$", NULL });
	bool found = false;

	if (out == NULL)
		return false;
	for (struct str rest = str_of(out), line; rest.p != NULL;) {
		struct str name, url;

		rest = str_cut(rest, '\n', &line);
		url = str_cut(line, ' ', &name);
		bool is_ours = str_eq(name, "remote.pinion.url");
		if ((found && !is_ours) || url.p == NULL)
			continue;
		char *domain, *app;
		if (!git_parse_remote(broker_url, url, &domain, &app))
			continue;
		if (found) {
			free(*out_domain);
			free(*out_app);
		}
		*out_domain = domain;
		*out_app = app;
		found = true;
	}
	return found;
}

char *
git_credential_key(const char *broker_url)
{
	return xasprintf("credential.%s.helper", broker_url);
}

/* The helper's path: git hands the string to a shell, so it is quoted for one. */
char *
git_credential_helper(struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	AUTO(free) char *path = where_program("pinion-git-credential", e);

	if (path == NULL)
		return NULL;
	buf_adds(&b, "!'");
	for (const char *p = path; *p != '\0'; p++) {
		if (*p == '\'')
			buf_adds(&b, "'\\''");
		else
			buf_addc(&b, *p);
	}
	buf_addc(&b, '\'');
	return buf_steal(&b);
}
