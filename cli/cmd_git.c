/* Git: clone with credentials, remote, credential helper. */
#include <stdio.h>
#include <string.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/credential.h"
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
	AUTO(free) char *helper = git_credential_helper(e);
	if (helper == NULL)
		return -1;
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
	AUTO(free) char *helper = git_credential_helper(e);
	if (helper == NULL || set_config(key, helper, e) < 0 ||
	    set_config("remote.pinion.url", url, e) < 0 ||
	    set_config("remote.pinion.fetch", "+refs/heads/*:refs/remotes/pinion/*", e) < 0)
		return -1;
	output_note(l, "The remote 'pinion' is %s\nDeploy:  git push pinion HEAD", url);
	return 0;
}

/* The helper by a command's name, for those who set it by hand. */
static int
run_credential(const struct cmd_line *l, struct err *e)
{
	return credential_answer(cmd_arg(l, 0), stdin, stdout, e);
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
