#include "broker/repo_submodule.h"

#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/build_record.h"
#include "broker/record.h"
#include "broker/repo.h"
#include "lib/base/mem.h"
#include "lib/store/store.h"

void
repo_submodule_fini(struct repo_submodule_plan *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free((char *)p->parts[i].git_dir);
		free((char *)p->parts[i].sha1);
		free((char *)p->parts[i].prefix);
	}
	p->n = 0;
}

/* url against base, as `git submodule` does it: "./" and "../" take parts off base's end. NULL: it
 * leaves the server. Caller owns. */
static char *
resolve(const char *base, const char *url)
{
	AUTO(free) char *left = xstrdup(base);
	char *host, *slash;

	while (left[0] != '\0' && left[strlen(left) - 1] == '/')
		left[strlen(left) - 1] = '\0';
	host = strstr(left, "://");
	if (host == NULL)
		return NULL;
	host += 3;
	for (;;) {
		if (str_has_prefix(url, "./")) {
			url += 2;
		} else if (str_has_prefix(url, "../")) {
			url += 3;
			slash = strrchr(host, '/');
			if (slash == NULL)
				return NULL;
			*slash = '\0';
		} else {
			return xasprintf("%s/%s", left, url);
		}
	}
}

/* "SCHEME://HOST/git/DOMAIN/APP[.git]" of the same server as base: its names, else false. */
static bool
parse_own(const char *base, const char *url, char **out_domain, char **out_app)
{
	const char *git = strstr(base, "/git/");
	struct str domain, rest;
	size_t n;

	if (git == NULL)
		return false;
	n = (size_t)(git - base) + strlen("/git/");
	if (strncmp(base, url, n) != 0)
		return false;
	rest = str_cut(str_of(url + n), '/', &domain);
	while (rest.n > 0 && rest.p[rest.n - 1] == '/')
		rest.n--;
	if (rest.n > 4 && memcmp(rest.p + rest.n - 4, ".git", 4) == 0)
		rest.n -= 4;
	if (domain.n == 0 || rest.n == 0 || memchr(rest.p, '/', rest.n) != NULL)
		return false;
	*out_domain = xstrndup(domain.p, domain.n);
	*out_app = xstrndup(rest.p, rest.n);
	str_lower(*out_domain);
	str_lower(*out_app);
	return true;
}

static void
add(struct repo_submodule_plan *p, const char *git_dir, const char *sha1, const char *path)
{
	p->parts[p->n++] = (struct repo_archive_part){ .git_dir = xstrdup(git_dir),
		.sha1 = xstrdup(sha1),
		.prefix = *path == '\0' ? xstrdup("") : xasprintf("%s/", path) };
}

static int
add_submodule(struct broker *b, const struct build_record *r, const struct wire_app *app,
    const struct repo_git_submodule *s, struct repo_submodule_plan *out,
    repo_submodule_line_fn *say, void *arg, struct err *e)
{
	bool is_relative = str_has_prefix(s->url, "./") || str_has_prefix(s->url, "../");
	AUTO(free) char *url = is_relative ? resolve(r->git_url, s->url) : xstrdup(s->url);
	AUTO(free) char *domain = NULL, *name = NULL, *dir = NULL, *line = NULL;
	AUTO_FINI(wire_app_fini) struct wire_app other = { 0 };
	struct err none = { 0 };

	if (url == NULL || !parse_own(r->git_url, url, &domain, &name)) {
		line = xasprintf(
		    "Submodule '%s' (%.200s) is not on this server: its directory stays empty",
		    s->path, s->url);
		say(line, arg);
		return 0;
	}
	if (record_app(b->store, domain, name, &other, NULL, &none) < 0 ||
	    strcmp(other.owner, app->owner) != 0)
		return err_set(e, ERR_NOT_FOUND, NULL,
		    "submodule '%s': there is no application %s in a domain %s of yours", s->path,
		    name, domain);
	dir = repo_dir(b->repos, other.id);
	line = xasprintf("Submodule '%s': checked out '%.7s' of %s", s->path, s->sha1, name);
	say(line, arg);
	add(out, dir, s->sha1, s->path);
	return 0;
}

int
repo_submodule_plan(struct broker *b, const struct build_record *r, const char *git_dir,
    const struct repo_git_look *look, struct repo_submodule_plan *out, repo_submodule_line_fn *say,
    void *arg, struct err *e)
{
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };

	add(out, git_dir, r->sha1, "");
	if (look->submodules_n == 0)
		return 0;
	if (record_app_by_id(b->store, r->app_id, &app, NULL, e) < 0)
		return -1;
	for (size_t i = 0; i < look->submodules_n; i++) {
		if (add_submodule(b, r, &app, &look->submodules[i], out, say, arg, e) < 0)
			return -1;
	}
	return 0;
}
