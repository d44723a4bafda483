/* Which application does a command mean? */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/api_client.h"
#include "cli/git.h"
#include "cli/output.h"
#include "lib/base/mem.h"

static char *
path_of(const char *domain, const char *name)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	buf_adds(&b, "domain/");
	buf_add_url(&b, domain);
	buf_adds(&b, "/application/");
	buf_add_url(&b, name);
	return buf_steal(&b);
}

/* The one application of that name among those the user sees. */
static char *
find_by_name(const struct cmd_line *l, const char *name, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf domains = { 0 };
	const char *found = NULL;
	size_t n = 0;

	if (api_call(l, "GET", "applications", NULL, &r, e) < 0)
		return NULL;
	for (size_t i = 0; i < codec_count(r.data); i++) {
		const struct codec_value *app = codec_at(r.data, i);
		const char *app_name = codec_string(codec_get(app, "name"));
		const char *domain = codec_string(codec_get(app, "domain_id"));

		if (app_name == NULL || domain == NULL || strcasecmp(app_name, name) != 0)
			continue;
		found = domain;
		buf_addf(&domains, "%s%s", n++ == 0 ? "" : ", ", domain);
	}
	if (n == 1)
		return path_of(found, name);
	if (n == 0)
		(void)err_set(e, ERR_NOT_FOUND, NULL,
		    "there is no application '%s': see pinion app list", name);
	else
		(void)err_set(e, ERR_INVALID, NULL,
		    "several domains have an application '%s' (%s): say --domain D or D/%s", name,
		    domains.p, name);
	return NULL;
}

char *
api_app_path(const struct cmd_line *l, const char *name, struct err *e)
{
	const char *domain = cmd_option(l, "domain");

	if (name == NULL)
		name = cmd_option(l, "app");
	if (name == NULL) {
		AUTO_FINI(api_login_fini) struct api_login login = { 0 };
		AUTO(free) char *remote_domain = NULL;
		AUTO(free) char *remote_app = NULL;

		if (api_login_load(&login, e) < 0)
			return NULL;
		if (git_find_app(login.url, &remote_domain, &remote_app))
			return path_of(remote_domain, remote_app);
		(void)err_set(e, ERR_INVALID, "app",
		    "is needed outside a clone: give its name, or --app NAME");
		return NULL;
	}
	const char *slash = strchr(name, '/');
	if (slash != NULL) {
		AUTO(free) char *before = xstrndup(name, (size_t)(slash - name));

		return path_of(before, slash + 1);
	}
	return domain != NULL ? path_of(domain, name) : find_by_name(l, name, e);
}

char *
api_domain(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };

	if (cmd_has(l, "domain"))
		return xstrdup(cmd_option(l, "domain"));
	if (api_call(l, "GET", "domains", NULL, &r, e) < 0)
		return NULL;
	const char *name = codec_string(codec_get(codec_at(r.data, 0), "name"));
	if (codec_count(r.data) == 1 && name != NULL)
		return xstrdup(name);
	if (codec_count(r.data) == 0)
		(void)err_set(
		    e, ERR_NOT_FOUND, "domain", "you have none yet: pinion domain create NAME");
	else
		(void)err_set(
		    e, ERR_INVALID, "domain", "you have several: say which with --domain NAME");
	return NULL;
}

int
api_app_list(
    const struct cmd_line *l, const char *what, const struct output_column *columns, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *app = api_app_path(l, cmd_arg(l, 0), e);
	AUTO(free) char *path = app == NULL ? NULL : xasprintf("%s/%s", app, what);

	if (path == NULL || api_call(l, "GET", path, NULL, &r, e) < 0)
		return -1;
	output_table(l, r.data, columns);
	return 0;
}

int
api_event(
    const struct cmd_line *l, const char *path, const char *body, const char *done, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *events = xasprintf("%s/events", path);

	if (api_call(l, "POST", events, body, &r, e) < 0)
		return -1;
	if (cmd_has(l, "json"))
		output_object(l, r.data, NULL);
	output_note(l, "%s", done);
	return 0;
}
