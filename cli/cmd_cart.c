/* Cartridges of an application: add, remove, list, show, status, storage, start, stop, restart. */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/prompt.h"
#include "cli/variables.h"
#include "lib/base/mem.h"

static const struct output_column list_columns[] = {
	{ "NAME", "name" },
	{ "TYPE", "type" },
	{ "WHAT IT IS", "display_name" },
	{ "FROM", "url" },
	{ NULL, NULL },
};
static const struct output_column cart_columns[] = {
	{ "Name", "name" },
	{ "Type", "type" },
	{ "What it is", "display_name" },
	{ "Version", "version" },
	{ "Gears", "current_scale" },
	{ "Gear size", "gear_profile" },
	{ "From", "url" },
	{ "Added", "added_time" },
	{ NULL, NULL },
};

/* `APP CARTRIDGE…`, or with --app or inside a clone `CARTRIDGE…`: the application's path, and where
 * the cartridges begin. */
static char *
app_path(const struct cmd_line *l, size_t *first, struct err *e)
{
	bool has_app = !cmd_has(l, "app") && l->args.n > 1;

	*first = has_app ? 1 : 0;
	return api_app_path(l, has_app ? cmd_arg(l, 0) : NULL, e);
}

static char *
cart_path(const struct cmd_line *l, const char *below, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	size_t first;
	AUTO(free) char *app = app_path(l, &first, e);

	if (app == NULL)
		return NULL;
	buf_addf(&b, "%s/cartridge/", app);
	buf_add_url(&b, cmd_arg(l, first));
	buf_adds(&b, below);
	return buf_steal(&b);
}

static void
print_properties(const struct cmd_line *l, const struct codec_value *cart)
{
	const struct codec_value *v = codec_get(cart, "properties");

	for (size_t i = 0; !cmd_has(l, "json") && i < codec_count(v); i++) {
		const struct codec_value *p = codec_at(v, i);
		const char *name = codec_string(codec_get(p, "name"));
		const char *value = codec_string(codec_get(p, "value"));
		AUTO(free)
		char *line =
		    xasprintf("%s  %s", name == NULL ? "" : name, value == NULL ? "" : value);

		output_line(line, strlen(line));
	}
}

static void
print_carts(const struct cmd_line *l, const struct codec_value *data)
{
	if (codec_type(data) != CODEC_ARRAY) {
		output_object(l, data, cart_columns);
		print_properties(l, data);
		return;
	}
	output_table(l, data, list_columns);
	for (size_t i = 0; i < codec_count(data); i++)
		print_properties(l, codec_at(data, i));
}

/* A word with "://" is the address of a manifest. */
static void
add_json(const struct cmd_line *l, const char *word, struct buf *body)
{
	bool is_url = strstr(word, "://") != NULL;

	buf_adds(body, is_url ? "{\"url\":" : "{\"name\":");
	buf_add_json_str(body, word);
	if (is_url && cmd_has(l, "checksum")) {
		buf_adds(body, ",\"checksum\":");
		buf_add_json_str(body, cmd_option(l, "checksum"));
	}
	if (is_url && cmd_has(l, "version")) {
		buf_adds(body, ",\"version\":");
		buf_add_json_str(body, cmd_option(l, "version"));
	}
	buf_addc(body, '}');
}

static int
run_add(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(variables_fini) struct variables vars = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	size_t first;
	AUTO(free) char *app = NULL;

	if (variables_from_options(l, "env", &vars, e) < 0)
		return -1;
	app = app_path(l, &first, e);
	if (app == NULL)
		return -1;
	AUTO(free) char *path = xasprintf("%s/cartridges", app);
	buf_adds(&body, "{\"cartridges\":[");
	for (size_t i = first; i < l->args.n; i++) {
		buf_adds(&body, i == first ? "" : ",");
		add_json(l, cmd_arg(l, i), &body);
	}
	buf_addc(&body, ']');
	if (vars.n > 0) {
		buf_adds(&body, ",\"environment_variables\":");
		variables_json(&vars, &body);
	}
	buf_addc(&body, '}');
	if (api_call(l, "POST", path, body.p, &r, e) < 0)
		return -1;
	print_carts(l, r.data);
	return 0;
}

static int
run_remove(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = cart_path(l, "", e);
	const char *name = cmd_arg(l, l->args.n - 1);

	if (path == NULL || prompt_confirm(l, e, "Remove %s with its data?", name) < 0 ||
	    api_call(l, "DELETE", path, NULL, &r, e) < 0)
		return -1;
	output_note(l, "%s is gone.", name);
	return 0;
}

static int
run_list(const struct cmd_line *l, struct err *e)
{
	return api_app_list(l, "cartridges", list_columns, e);
}

static int
run_show(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = cart_path(l, "", e);

	if (path == NULL || api_call(l, "GET", path, NULL, &r, e) < 0)
		return -1;
	print_carts(l, r.data);
	return 0;
}

static int
run_status(const struct cmd_line *l, struct err *e)
{
	static const struct output_column columns[] = {
		{ "GEAR", "gear_id" },
		{ "STATUS", "message" },
		{ NULL, NULL },
	};
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = cart_path(l, "?include=status_messages", e);

	if (path == NULL || api_call(l, "GET", path, NULL, &r, e) < 0)
		return -1;
	output_table(l, codec_get(r.data, "status_messages"), columns);
	return 0;
}

/* "2", "2GB", "2 gb". */
static int
read_gb(const struct cmd_line *l, const char *option, int64_t *out, struct err *e)
{
	const char *text = cmd_option(l, option);
	size_t n = strspn(text, "0123456789");

	if (text[n + strspn(text + n, " ")] != '\0' &&
	    strcasecmp(text + n + strspn(text + n, " "), "gb") != 0)
		return err_set(e, ERR_INVALID, option, "must be whole GB, like 2 or 2GB");
	return str_to_i64((struct str){ text, n }, 0, INT32_MAX, option, out, e);
}

static int
set_storage(const struct cmd_line *l, const char *path, struct api_reply *r, struct err *e)
{
	int64_t has = codec_int(codec_get(r->data, "additional_gear_storage"), 0), gb = 0;
	AUTO(free) char *body = NULL;

	if (cmd_has(l, "set") ? read_gb(l, "set", &has, e) < 0
	                      : read_gb(l, cmd_has(l, "add") ? "add" : "remove", &gb, e) < 0)
		return -1;
	if (cmd_has(l, "remove") && gb > has && !cmd_has(l, "force"))
		return err_set(e, ERR_INVALID, "remove",
		    "there are only %" PRId64 " GB beside the profile's (--force: down to none)",
		    has);
	has += cmd_has(l, "remove") ? -gb : gb;
	body = xasprintf("{\"additional_gear_storage\":%" PRId64 "}", has < 0 ? 0 : has);
	api_reply_fini(r);
	return api_call(l, "PUT", path, body, r, e);
}

static int
run_storage(const struct cmd_line *l, struct err *e)
{
	static const struct output_column columns[] = {
		{ "Cartridge", "name" },
		{ "GB of the profile", "base_gear_storage" },
		{ "GB beside it", "additional_gear_storage" },
		{ NULL, NULL },
	};
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = cart_path(l, "", e);
	int given = cmd_has(l, "add") + cmd_has(l, "remove") + cmd_has(l, "set");

	if (given > 1)
		return err_set(e, ERR_INVALID, "add", "give one of --add, --remove and --set");
	if (path == NULL || api_call(l, "GET", path, NULL, &r, e) < 0 ||
	    (given == 1 && set_storage(l, path, &r, e) < 0))
		return -1;
	output_object(l, r.data, columns);
	return 0;
}

static int
send_event(const struct cmd_line *l, const char *event, const char *done, struct err *e)
{
	AUTO(free) char *path = cart_path(l, "", e);
	AUTO(free) char *body = xasprintf("{\"event\":\"%s\"}", event);

	return path == NULL ? -1 : api_event(l, path, body, done, e);
}

static int
run_start(const struct cmd_line *l, struct err *e)
{
	return send_event(l, "start", "It runs.", e);
}

static int
run_stop(const struct cmd_line *l, struct err *e)
{
	return send_event(l, "stop", "It is stopped.", e);
}

static int
run_restart(const struct cmd_line *l, struct err *e)
{
	return send_event(l, "restart", "It was restarted.", e);
}

static const struct cmd_option add_options[] = {
	CMD_APP_OPTIONS,
	{ "env", 'e', "NAME=VALUE", "an environment variable; may be given again" },
	{ "checksum", 0, "SUM", "of the archive behind a URL: sha256:HEX or md5:HEX" },
	{ "version", 0, "V", "of the software, when the manifest behind a URL has several" },
	{ NULL, 0, NULL, NULL },
};
static const struct cmd_option remove_options[] = {
	CMD_APP_OPTIONS,
	{ "yes", 'y', NULL, "do not ask" },
	{ NULL, 0, NULL, NULL },
};

static const struct cmd_option storage_options[] = {
	CMD_APP_OPTIONS,
	{ "show", 0, NULL, "only show it (as without an option)" },
	{ "add", 0, "GB", "so much more" },
	{ "remove", 0, "GB", "so much less" },
	{ "set", 0, "GB", "so much beside the profile's" },
	{ "force", 0, NULL, "with --remove: down to none" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_cart_table[] = {
	{ "cartridge add", "[APP] CARTRIDGE…", 1, -1,
	    "add cartridges to an application\n\nA name of the catalogue (see pinion cartridges), "
	    "or the http(s) address of a manifest. With one argument the application is that of "
	    "--app or of the clone one stands in.",
	    add_options, run_add, false },
	{ "cartridge remove", "[APP] CARTRIDGE", 1, 2,
	    "remove a cartridge with its data from an application", remove_options, run_remove,
	    false },
	{ "cartridge list", "[APP]", 0, 1, "list the cartridges of an application", cmd_app_options,
	    run_list, false },
	{ "cartridge show", "[APP] CARTRIDGE", 1, 2,
	    "show a cartridge of an application with what it tells of itself", cmd_app_options,
	    run_show, false },
	{ "cartridge status", "[APP] CARTRIDGE", 1, 2, "ask the cartridge how it is",
	    cmd_app_options, run_status, false },
	{ "cartridge storage", "[APP] CARTRIDGE", 1, 2,
	    "show or change the disk of the cartridge's gears\n\nBeside what their profile gives, "
	    "in "
	    "GB; in force at once. All cartridges of a gear share\nits disk. How much a user may "
	    "have is the administrator's affair (user set).",
	    storage_options, run_storage, false },
	{ "cartridge start", "[APP] CARTRIDGE", 1, 2, "start a stopped cartridge", cmd_app_options,
	    run_start, false },
	{ "cartridge stop", "[APP] CARTRIDGE", 1, 2, "stop a cartridge alone", cmd_app_options,
	    run_stop, false },
	{ "cartridge restart", "[APP] CARTRIDGE", 1, 2, "restart a cartridge alone",
	    cmd_app_options, run_restart, false },
	{ 0 },
};
