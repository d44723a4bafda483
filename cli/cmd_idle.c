/* Sleep of applications: now, or by itself. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "lib/base/mem.h"

enum { SECONDS_MAX = 366 * 86400 };

/* "90", "90s", "15m", "2h", "7d"; "never": -1; "default": 0. */
static int
read_time(const char *text, const char *field, int64_t *out, struct err *e)
{
	static const struct {
		char unit;
		int64_t s;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	size_t n = strlen(text);
	int64_t factor = 1;

	if (strcmp(text, "never") == 0 || strcmp(text, "default") == 0) {
		*out = *text == 'n' ? -1 : 0;
		return 0;
	}
	for (size_t i = 0; n > 1 && i < ARRAY_LEN(units); i++) {
		if (text[n - 1] == units[i].unit) {
			factor = units[i].s;
			n--;
			break;
		}
	}
	if (str_to_i64((struct str){ text, n }, 1, SECONDS_MAX / factor, field, out, e) < 0)
		return err_set(e, ERR_INVALID, field,
		    "must be a time (30s, 15m, 2h, 7d), 'never' or 'default', is '%.40s'", text);
	*out *= factor;
	return 0;
}

static int
change_settings(const struct cmd_line *l, const char *app, struct err *e)
{
	static const struct {
		const char *option, *field;
	} fields[] = { { "after", "idle_freeze" }, { "reclaim-after", "idle_reclaim" },
		{ "stop-after", "idle_stop" } };
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const char *text = cmd_option(l, fields[i].option);
		int64_t s = -1;

		if (i == 0 && cmd_has(l, "never"))
			text = "never";
		if (text == NULL)
			continue;
		if (read_time(text, fields[i].option, &s, e) < 0)
			return -1;
		buf_addf(&body, "%c\"%s\":%" PRId64, body.n == 0 ? '{' : ',', fields[i].field, s);
	}
	buf_addc(&body, '}');
	if (api_call(l, "PUT", app, body.p, &r, e) < 0)
		return -1;
	output_note(l, "Kept.");
	return 0;
}

static int
run_idle(const struct cmd_line *l, struct err *e)
{
	const char *level = cmd_has(l, "level") ? cmd_option(l, "level") : "frozen";
	AUTO(free) char *app = api_app_path(l, cmd_arg(l, 0), e);
	AUTO_FINI(buf_fini) struct buf body = { 0 };

	if (app == NULL)
		return -1;
	if (cmd_has(l, "after") || cmd_has(l, "reclaim-after") || cmd_has(l, "stop-after") ||
	    cmd_has(l, "never"))
		return change_settings(l, app, e);
	buf_adds(&body, "{\"event\":\"idle\",\"level\":");
	buf_add_json_str(&body, level);
	buf_addc(&body, '}');
	return api_event(l, app, body.p, "It sleeps until the next request.", e);
}

static int
run_unidle(const struct cmd_line *l, struct err *e)
{
	AUTO(free) char *app = api_app_path(l, cmd_arg(l, 0), e);

	if (app == NULL)
		return -1;
	return api_event(l, app, "{\"event\":\"unidle\"}", "It is awake.", e);
}

static const struct cmd_option idle_options[] = {
	{ "level", 0, "LEVEL", "how deep: frozen (the default), reclaimed, stopped" },
	{ "after", 0, "TIME", "freeze it after so long without a request: 15m, never, default" },
	{ "reclaim-after", 0, "TIME", "give its memory back after so long" },
	{ "stop-after", 0, "TIME", "stop it after so long, until the next request" },
	{ "never", 0, NULL, "never let it sleep by itself" },
	CMD_APP_OPTIONS,
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_idle_table[] = {
	{ "idle", "[APP]", 0, 1,
	    "put an application to sleep, or say when it may\n\nThe next request wakes it. With a "
	    "time, nothing happens now: the setting is kept; 'default' is the platform's.",
	    idle_options, run_idle, false },
	{ "unidle", "[APP]", 0, 1, "wake an application", cmd_app_options, run_unidle, false },
	{ 0 },
};
