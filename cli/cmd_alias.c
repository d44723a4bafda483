/* Host names of one's own. */
#include <string.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"

enum { PEM_MAX = 64 * 1024 };

static const struct output_column columns[] = {
	{ "ALIAS", "id" },
	{ "CERTIFICATE", "has_private_ssl_certificate" },
	{ "UNTIL", "certificate_expires_at" },
	{ "ACME", "acme_status" },
	{ "PROBLEM", "acme_error" },
	{ NULL, NULL },
};

/* "aliases" or "alias/NAME" below the application, which the first of two arguments names, or
 * --app. */
static char *
path_of(const struct cmd_line *l, bool of_one, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf path = { 0 };
	AUTO(free) char *app = api_app_path(l, l->args.n > 1 ? cmd_arg(l, 0) : NULL, e);

	if (app == NULL)
		return NULL;
	buf_addf(&path, "%s/%s", app, of_one ? "alias/" : "aliases");
	if (of_one)
		buf_add_url(&path, cmd_arg(l, l->args.n - 1));
	return buf_steal(&path);
}

static int
add_file(const struct cmd_line *l, const char *option, const char *member, struct buf *body,
    struct err *e)
{
	AUTO_FINI(buf_fini) struct buf pem = { 0 };

	if (!cmd_has(l, option))
		return 0;
	if (file_read(cmd_option(l, option), PEM_MAX, &pem, e) < 0)
		return err_wrap(e, "--%s", option);
	buf_add_json_member(body, member, pem.p == NULL ? "" : pem.p);
	secret_wipe(pem.p, pem.n);
	return 0;
}

/* {…certificate…}, with the alias's name where it is made. */
static int
make_body(const struct cmd_line *l, const char *alias, struct buf *body, struct err *e)
{
	if (cmd_has(l, "certificate") != cmd_has(l, "key"))
		return err_set(e, ERR_INVALID, cmd_has(l, "key") ? "--certificate" : "--key",
		    "a certificate and its key go together: give both files");
	if (cmd_has(l, "acme") && cmd_has(l, "certificate"))
		return err_set(e, ERR_INVALID, "--acme",
		    "give --certificate and --key, or --acme, but not both");
	if (cmd_has(l, "challenge") && !cmd_has(l, "acme"))
		return err_set(e, ERR_INVALID, "--challenge", "is a way of --acme: give that, too");
	buf_addc(body, '{');
	buf_add_json_member(body, "id", alias);
	if (cmd_has(l, "acme"))
		buf_add_json_member(
		    body, "acme", cmd_has(l, "challenge") ? cmd_option(l, "challenge") : "any");
	if (add_file(l, "certificate", "ssl_certificate", body, e) < 0 ||
	    add_file(l, "key", "private_key", body, e) < 0 ||
	    add_file(l, "pass-file", "pass_phrase", body, e) < 0)
		return -1;
	buf_addc(body, '}');
	return 0;
}

static int
send_body(
    const struct cmd_line *l, const char *method, bool of_one, const char *alias, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	AUTO(free) char *path = path_of(l, of_one, e);
	int rc;

	if (path == NULL || make_body(l, alias, &body, e) < 0)
		return -1;
	rc = api_call(l, method, path, body.p, &r, e);
	secret_wipe(body.p, body.n);
	if (rc == 0 && cmd_has(l, "json"))
		output_object(l, r.data, NULL);
	return rc;
}

static int
run_add(const struct cmd_line *l, struct err *e)
{
	return send_body(l, "POST", false, cmd_arg(l, l->args.n - 1), e);
}

static int
run_cert(const struct cmd_line *l, struct err *e)
{
	if (cmd_has(l, "remove") + cmd_has(l, "certificate") + cmd_has(l, "acme") != 1)
		return err_set(e, ERR_INVALID, "--certificate",
		    "give --certificate FILE and --key FILE, or --acme, or --remove");
	return send_body(l, "PUT", true, cmd_arg(l, l->args.n - 1), e);
}

static int
run_list(const struct cmd_line *l, struct err *e)
{
	return api_app_list(l, "aliases", columns, e);
}

static int
run_remove(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = path_of(l, true, e);

	return path == NULL ? -1 : api_call(l, "DELETE", path, NULL, &r, e);
}

#define CERT_OPTIONS                                                                               \
	{ "certificate", 0, "FILE", "its certificate and those of the chain, PEM" },               \
	    { "key", 0, "FILE", "the key of the certificate, PEM" },                               \
	    { "pass-file", 0, "FILE", "file with the pass phrase of the key" },                    \
	    { "acme", 0, NULL, "have the platform get the certificate, and renew it" },            \
	{                                                                                          \
		"challenge", 0, "WAY",                                                             \
		    "of --acme: http-01 or tls-alpn-01 (default: the platform's)"                  \
	}
static const struct cmd_option add_options[] = {
	CMD_APP_OPTIONS,
	CERT_OPTIONS,
	{ NULL, 0, NULL, NULL },
};
static const struct cmd_option cert_options[] = {
	CMD_APP_OPTIONS,
	CERT_OPTIONS,
	{ "remove", 0, NULL, "take the certificate away, and get none by ACME" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_alias_table[] = {
	{ "alias add", "[APP] HOST", 1, 2,
	    "let a host name of your own lead to an application\n\nPoint the name at the router in "
	    "your DNS. *.example.com takes all names below it.",
	    add_options, run_add, false },
	{ "alias list", "[APP]", 0, 1, "list the aliases and whether they have a certificate",
	    cmd_app_options, run_list, false },
	{ "alias cert", "[APP] HOST", 1, 2,
	    "give an alias its certificate, replace it, or take it away", cert_options, run_cert,
	    false },
	{ "alias remove", "[APP] HOST", 1, 2, "remove an alias and its certificate",
	    cmd_app_options, run_remove, false },
	{ 0 },
};
