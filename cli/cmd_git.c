/* Git: clone with credentials, remote, credential helper. */
#include <stdio.h>
#include <string.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/git.h"
#include "cli/output.h"
#include "lib/base/mem.h"

/* git_http_url of the application; caller owns. */
static char *
git_url(const struct cmd_line *l, const char *name, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = api_app_path(l, name, e);

	if (path == NULL || api_call(l, "GET", path, NULL, &r, e) < 0)
		return NULL;
	const char *url = codec_string(codec_get(r.data, "git_http_url"));
	if (url == NULL)
		(void)err_set(e, ERR_SYSTEM, NULL, "the broker told no git URL");
	return xstrdup_null(url);
}

static int
run_clone(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_login_fini) struct api_login login = { 0 };
	const char *name = cmd_arg(l, 0);
	const char *slash = strchr(name, '/');

	AUTO(free) char *url = git_url(l, name, e);
	if (url == NULL || api_login_load(&login, e) < 0)
		return -1;
	AUTO(free) char *key = git_credential_key(login.url);
	AUTO(free) char *helper = git_credential_helper();
	AUTO(free) char *config = xasprintf("%s=%s", key, helper);
	const char *dir = cmd_arg(l, 1) != NULL ? cmd_arg(l, 1) : slash != NULL ? slash + 1 : name;
	const char *args[] = { "clone", "-c", config, "--", url, dir, NULL };
	int rc = git_run(args, e);
	if (rc > 0)
		return err_set(e, ERR_SYSTEM, NULL, "git clone failed (exit %d)", rc);
	return rc;
}

static int
set_config(const char *key, const char *value, struct err *e)
{
	return git_run((const char *const[]){ "config", "--local", key, value, NULL }, e) == 0
	           ? 0
	           : err_set(e, ERR_SYSTEM, NULL, "cannot set %s in this repository", key);
}

static int
run_remote(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_login_fini) struct api_login login = { 0 };

	if (!git_is_repository())
		return err_set(e, ERR_INVALID, NULL, "this is no git repository: git init first");
	AUTO(free) char *url = git_url(l, cmd_arg(l, 0), e);
	if (url == NULL || api_login_load(&login, e) < 0)
		return -1;
	AUTO(free) char *key = git_credential_key(login.url);
	AUTO(free) char *helper = git_credential_helper();
	if (set_config(key, helper, e) < 0 || set_config("remote.pinion.url", url, e) < 0 ||
	    set_config("remote.pinion.fetch", "+refs/heads/*:refs/remotes/pinion/*", e) < 0)
		return -1;
	output_note(l, "The remote 'pinion' is %s\nDeploy:  git push pinion HEAD", url);
	return 0;
}

/* git-credential(1), "get": user and token for the broker that one is logged in to. */
static int
run_credential(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_login_fini) struct api_login login = { 0 };
	AUTO_FINI(str_url_fini) struct str_url url = { 0 };
	char line[4096], host[512] = "", authority[512];

	if (strcmp(cmd_arg(l, 0), "get") != 0)
		return 0;
	while (fgets(line, sizeof line, stdin) != NULL && line[0] != '\n')
		if (sscanf(line, "host=%511s", host) == 1)
			continue;
	if (api_login_load(&login, e) < 0 || str_url_parse(login.url, "url", &url, e) < 0)
		return -1;
	if (url.port == 0)
		(void)snprintf(authority, sizeof authority, "%s", url.host);
	else
		(void)snprintf(authority, sizeof authority, "%s:%d", url.host, url.port);
	if (strcmp(authority, host) != 0)
		return 0;
	(void)printf(
	    "username=%s\npassword=%s\n", login.user == NULL ? "token" : login.user, login.token);
	return 0;
}

static const struct cmd_option domain_options[] = {
	{ "domain", 'd', "NAME", "the application's domain" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_git_table[] = {
	{ "git clone", "APP [DIR]", 1, 2, "clone an application's repository, ready to push",
	    domain_options, run_clone, false },
	{ "git remote", "APP", 1, 1,
	    "add the remote 'pinion' to the repository one stands in\n\nSets the credential helper "
	    "too, so "
	    "that no password is asked for.",
	    domain_options, run_remote, false },
	{ "git-credential", "get|store|erase", 1, 1, "git's credential helper", NULL,
	    run_credential, true },
	{ 0 },
};
