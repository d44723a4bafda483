/* What an application's owner sets about its routes: route show, set, unset. */
#include <string.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/codec/codec.h"

enum { FILE_MAX = 256 * 1024 };

static char *
routing_path(const struct cmd_line *l, const char *name, struct err *e)
{
	AUTO(free) char *app = api_app_path(l, name, e);

	return app == NULL ? NULL : xasprintf("%s/routing", app);
}

static int
run_show(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = routing_path(l, cmd_arg(l, 0), e);

	if (path == NULL || api_call(l, "GET", path, NULL, &r, e) < 0)
		return -1;
	output_object(l, r.data, NULL);
	return 0;
}

/* "a,b" as an array. */
static void
add_list(struct buf *b, struct str items)
{
	bool first = true;

	buf_addc(b, '[');
	while (items.n > 0) {
		struct str one;

		items = str_cut(items, ',', &one);
		if (!first)
			buf_addc(b, ',');
		first = false;
		buf_add_json_strn(b, one.p, one.n);
	}
	buf_addc(b, ']');
}

/* It is looked at here, where it is known of which option it is. */
static int
add_json(struct buf *b, struct str name, struct str value, struct err *e)
{
	struct codec_value *v = codec_parse(value.p, value.n, e);
	AUTO(free) char *field = xstrndup(name.p, name.n);

	if (v == NULL)
		return err_wrap(e, field);
	codec_value_free(v);
	buf_addstr(b, value);
	return 0;
}

/* NAME=VALUE; VALUE @FILE: what is in the file; [ or {: JSON. The broker knows of what type it is.
 */
static int
add_option(struct buf *b, const char *word, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf file = { 0 };
	struct str name, value = str_cut(str_of(word), '=', &name);

	if (value.p == NULL || name.n == 0)
		return err_set(e, ERR_INVALID, "NAME=VALUE", "\"%.64s\" has no '='", word);
	if (value.n != 0 && *value.p == '@') {
		if (file_read(value.p + 1, FILE_MAX, &file, e) < 0)
			return -1;
		value = (struct str){ file.n == 0 ? "" : file.p, file.n };
	}
	buf_addc(b, b->n == 0 ? '{' : ',');
	buf_add_json_strn(b, name.p, name.n);
	buf_addc(b, ':');
	if (value.n != 0 && (*value.p == '[' || *value.p == '{'))
		return add_json(b, name, value, e);
	if (str_eq(name, "allow") || str_eq(name, "maintenance_allow"))
		add_list(b, value);
	else
		buf_add_json_strn(b, value.p, value.n);
	return 0;
}

static int
run_set(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	bool named = strchr(cmd_arg(l, 0), '=') == NULL;
	AUTO(free) char *path = NULL;

	for (size_t i = named ? 1 : 0; i < l->args.n; i++) {
		if (add_option(&body, cmd_arg(l, i), e) < 0)
			return -1;
	}
	if (body.n == 0)
		return err_set(e, ERR_INVALID, "NAME=VALUE", "must be given once at least");
	buf_addc(&body, '}');
	path = routing_path(l, named ? cmd_arg(l, 0) : NULL, e);
	if (path == NULL || api_call(l, "PATCH", path, body.p, &r, e) < 0)
		return -1;
	output_note(l, "It holds from now on.");
	return 0;
}

static int
run_unset(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	bool all = cmd_has(l, "all"), named = all ? l->args.n > 0 : l->args.n > 1;
	AUTO(free) char *path = routing_path(l, named ? cmd_arg(l, 0) : NULL, e);

	if (path == NULL)
		return -1;
	if (!all && l->args.n == 0)
		return err_set(e, ERR_INVALID, "NAME", "must be given, or --all");
	if (all && l->args.n > 1)
		return err_set(e, ERR_INVALID, "--all", "cannot be given with names");
	if (!all) {
		buf_adds(&body, "{\"unset\":");
		add_list(&body, str_of(cmd_arg(l, l->args.n - 1)));
		buf_addc(&body, '}');
	}
	if (api_call(l, all ? "DELETE" : "PATCH", path, all ? NULL : body.p, &r, e) < 0)
		return -1;
	output_note(l, "It is off from now on.");
	return 0;
}

static const struct cmd_option unset_options[] = {
	CMD_APP_OPTIONS,
	{ "all", 0, NULL, "everything that is set" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_route_table[] = {
	{ "route show", "[APP]", 0, 1, "show what is set about the application's routes",
	    cmd_app_options, run_show, false },
	{ "route set", "[APP] NAME=VALUE...", 1, -1,
	    "set options of the application's routes\n\nThey hold at once; nothing is restarted. "
	    "VALUE: text, a number, true or false, JSON,\nor @FILE for what is in the file.\n\n"
	    "maintenance, maintenance_page, maintenance_retry_s, maintenance_allow; allow\n"
	    "(networks: 10.0.0.0/8,2001:db8::/32); auth_users ([{\"name\",\"password\"}]), "
	    "auth_realm,\n"
	    "auth_hides; rate, rate_s, rate_burst (requests of an address); body_max, body_s,\n"
	    "answer_s; headers ([{\"op\",\"name\",\"value\",\"response\"}]); redirects\n"
	    "([{\"path\",\"to\",\"status\",\"host\"}]); error_pages ([{\"status\",\"body\"}]),\n"
	    "error_pages_for_app; paths ([{\"path\",\"app\",\"strips\"}]); weights\n"
	    "([{\"app\",\"weight\"}]); compress; https (allow, redirect, require, off), hsts_s,\n"
	    "hsts_subdomains, hsts_preload; sticky_cookie, sticky_s; concurrency, queue, queue_s;\n"
	    "slow_start_s; retry_percent (-1: never), hedge_ms; protocol (http1, "
	    "h2c).\n\nsticky_cookie=GEAR "
	    "keeps "
	    "a client at its instance by a cookie of that name, for sticky_s\nseconds (the "
	    "browser's "
	    "session); the application does not see it. Shares of a\ncanary: pinion canary set.",
	    cmd_app_options, run_set, false },
	{ "route unset", "[APP] NAME[,NAME]...", 0, 2,
	    "set options back to what they were at first", unset_options, run_unset, false },
	{ 0 },
};
