/* Login, the own account, domains. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/prompt.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"

/* "http://HOST:PORT" of what was typed: a scheme is added, a path dropped. Caller owns. */
static char *
broker_url(const char *typed, struct err *e)
{
	AUTO(free)
	char *full = strstr(typed, "://") == NULL ? xasprintf("http://%s", typed) : xstrdup(typed);
	AUTO_FINI(str_url_fini) struct str_url url = { 0 };

	if (str_url_parse(full, "URL", &url, e) < 0)
		return NULL;
	if (strcmp(url.scheme, "http") != 0 && strcmp(url.scheme, "https") != 0) {
		(void)err_set(e, ERR_INVALID, "URL", "must begin with http:// or https://");
		return NULL;
	}
	const char *bracket = strchr(url.host, ':') == NULL ? "" : "[";
	const char *end = bracket[0] == '\0' ? "" : "]";
	if (url.port == 0)
		return xasprintf("%s://%s%s%s", url.scheme, bracket, url.host, end);
	return xasprintf("%s://%s%s%s:%d", url.scheme, bracket, url.host, end, url.port);
}

static int
run_login(const struct cmd_line *l, struct err *e)
{
	AUTO(free) char *url = broker_url(cmd_arg(l, 0), e);
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(api_login_fini) struct api_login login = { 0 };
	char host[128] = "?";

	if (url == NULL)
		return -1;
	AUTO(free)
	char *user = cmd_has(l, "user") ? xstrdup(cmd_option(l, "user")) : prompt_line("User: ", e);
	AUTO(secret_free)
	char *password = user == NULL ? NULL : prompt_password(l, "Password: ", e);
	if (password == NULL)
		return -1;
	(void)gethostname(host, sizeof host - 1);
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	AUTO(free) char *note = xasprintf("pinion on %s", host);
	buf_adds(&body, "{\"scope\":\"session\",\"note\":");
	buf_add_json_str(&body, note);
	buf_addc(&body, '}');
	if (api_call_as(l, url, user, password, "POST", "user/authorizations", body.p, &r, e) < 0)
		return e->code == ERR_UNAUTHENTICATED ? err_set(e, ERR_UNAUTHENTICATED, "user",
		                                            "user name or password is wrong")
		                                      : -1;
	const char *token = codec_string(codec_get(r.data, "token"));
	if (token == NULL)
		return err_set(
		    e, ERR_SYSTEM, NULL, "%s answered without a token: is it a broker?", url);
	login.url = STEAL(url);
	login.user = STEAL(user);
	login.token = xstrdup(token);
	if (api_login_save(&login, e) < 0)
		return -1;
	output_note(l, "Logged in to %s as %s.", login.url, login.user);
	return 0;
}

static int
run_logout(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(api_login_fini) struct api_login login = { 0 };
	struct err ignored = { 0 };

	if (api_login_load(&login, &ignored) == 0) {
		AUTO(free) char *path = xasprintf("user/authorization/%s", login.token);

		(void)!api_call(l, "DELETE", path, NULL, &r, &ignored);
	}
	if (api_login_forget(e) < 0)
		return -1;
	output_note(l, "Logged out.");
	return 0;
}

static int
run_whoami(const struct cmd_line *l, struct err *e)
{
	static const struct output_column columns[] = {
		{ "User", "login" },
		{ "Gears used", "consumed_gears" },
		{ "Gears at most", "max_gears" },
		{ "Domains at most", "max_domains" },
		{ NULL, NULL },
	};
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };

	if (api_call(l, "GET", "user", NULL, &r, e) < 0)
		return -1;
	output_object(l, r.data, columns);
	return 0;
}

static int
run_passwd(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };

	if (isatty(STDIN_FILENO) == 0 &&
	    (!cmd_has(l, "old-password-file") || !cmd_has(l, "password-file")))
		return err_set(e, ERR_INVALID, NULL,
		    "without a terminal both passwords come from files: give "
		    "--old-password-file and --password-file");
	AUTO(secret_free)
	char *old = prompt_secret(cmd_option(l, "old-password-file"), "Present password: ", e);
	AUTO(secret_free) char *new = old == NULL ? NULL : prompt_password(l, "New password: ", e);

	if (new == NULL)
		return -1;
	if (!cmd_has(l, "password-file") && isatty(STDIN_FILENO) != 0) {
		AUTO(secret_free) char *again = prompt_secret(NULL, "New password again: ", e);

		if (again == NULL)
			return -1;
		if (!secret_equal(new, again))
			return err_set(
			    e, ERR_INVALID, "password", "the two differ: nothing was changed");
	}
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	buf_adds(&body, "{\"old\":");
	buf_add_json_str(&body, old);
	buf_adds(&body, ",\"new\":");
	buf_add_json_str(&body, new);
	buf_addc(&body, '}');
	int rc = api_call(l, "PUT", "user/password", body.p, &r, e);
	secret_wipe(body.p, body.n);
	if (rc == 0)
		output_note(l, "The password was changed.");
	return rc;
}

static int
run_domain_create(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };

	buf_adds(&body, "{\"name\":");
	buf_add_json_str(&body, cmd_arg(l, 0));
	buf_addc(&body, '}');
	if (api_call(l, "POST", "domains", body.p, &r, e) < 0)
		return -1;
	if (cmd_has(l, "json"))
		output_object(l, r.data, NULL);
	output_note(l, "The domain %s is yours.", cmd_arg(l, 0));
	return 0;
}

static int
run_domain_list(const struct cmd_line *l, struct err *e)
{
	static const struct output_column columns[] = {
		{ "NAME", "name" },
		{ "SUFFIX", "suffix" },
		{ "CREATED", "creation_time" },
		{ NULL, NULL },
	};
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };

	if (api_call(l, "GET", "domains", NULL, &r, e) < 0)
		return -1;
	output_table(l, r.data, columns);
	return 0;
}

static int
run_domain_delete(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf path = { 0 };
	bool force = cmd_has(l, "force");

	if (prompt_confirm(l, e, "Delete the domain %s%s?", cmd_arg(l, 0),
	        force ? " and all its applications" : "") < 0)
		return -1;
	buf_adds(&path, "domain/");
	buf_add_url(&path, cmd_arg(l, 0));
	if (api_call(l, "DELETE", path.p, force ? "{\"force\":true}" : NULL, &r, e) < 0)
		return -1;
	output_note(l, "The domain %s is gone.", cmd_arg(l, 0));
	return 0;
}

static const struct cmd_option login_options[] = {
	{ "user", 'u', "NAME", "user name (asked for otherwise)" },
	{ "password-file", 0, "FILE", "file that holds the password; - is standard input" },
	{ NULL, 0, NULL, NULL },
};

static const struct cmd_option passwd_options[] = {
	{ "old-password-file", 0, "FILE", "file that holds the present password" },
	{ "password-file", 0, "FILE", "file that holds the new password" },
	{ NULL, 0, NULL, NULL },
};

static const struct cmd_option domain_delete_options[] = {
	{ "force", 0, NULL, "delete its applications too" },
	{ "yes", 'y', NULL, "do not ask" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_account_table[] = {
	{ "login", "URL", 1, 1,
	    "log in to a broker\n\nThe password is asked for, or read from a file; what is kept is "
	    "a token.",
	    login_options, run_login, false },
	{ "logout", "", 0, 0, "forget the login and revoke its token", NULL, run_logout, false },
	{ "whoami", "", 0, 0, "show the user and its limits", NULL, run_whoami, false },
	{ "passwd", "", 0, 0, "change the own password", passwd_options, run_passwd, false },
	{ "domain create", "NAME", 1, 1, "make a domain: the namespace of applications", NULL,
	    run_domain_create, false },
	{ "domain list", "", 0, 0, "list the domains", NULL, run_domain_list, false },
	{ "domain delete", "NAME", 1, 1, "delete a domain", domain_delete_options,
	    run_domain_delete, false },
	{ 0 },
};
