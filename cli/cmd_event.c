/* What happened to an application. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "lib/base/mem.h"

static void
print_event(const struct codec_value *v)
{
	const char *time = codec_string(codec_get(v, "last_time"));
	const char *kind = codec_string(codec_get(v, "kind"));
	const char *text = codec_string(codec_get(v, "text"));
	const char *instance = codec_string(codec_get(v, "instance"));
	int64_t count = codec_int(codec_get(v, "count"), 1);
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	buf_addf(&b, "%s %-11s %s", time == NULL ? "" : time, kind == NULL ? "" : kind,
	    text == NULL ? "" : text);
	if (instance != NULL && *instance != '\0')
		buf_addf(&b, " [%s]", instance);
	if (count > 1)
		buf_addf(&b, " (%" PRId64 " times)", count);
	output_line(b.p, b.n);
}

static void
on_line(struct str line, void *arg)
{
	const struct cmd_line *l = arg;
	struct err ignored = { 0 };
	struct codec_value *v;

	if (line.n == 0)
		return;
	if (cmd_has(l, "json")) {
		output_line(line.p, line.n);
	} else {
		v = codec_parse(line.p, line.n, &ignored);
		print_event(v);
		codec_value_free(v);
	}
	(void)fflush(stdout);
}

static int
run_events(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	const char *lines = cmd_option(l, "lines");
	int64_t n = 200;
	AUTO(free) char *app = api_app_path(l, cmd_arg(l, 0), e);

	if (app == NULL || (lines != NULL && str_to_i64(str_of(lines), 0, 200, "lines", &n, e) < 0))
		return -1;
	AUTO(free)
	char *path = xasprintf("%s/events?lines=%" PRId64 "&follow=%s", app, n,
	    cmd_has(l, "follow") ? "true" : "false");
	if (cmd_has(l, "follow"))
		return api_stream(l, path, on_line, (void *)(uintptr_t)l, e);
	if (api_call(l, "GET", path, NULL, &r, e) < 0)
		return -1;
	if (cmd_has(l, "json")) {
		output_object(l, r.data, NULL);
		return 0;
	}
	for (size_t i = 0; i < codec_count(r.data); i++)
		print_event(codec_at(r.data, i));
	return 0;
}

static const struct cmd_option event_options[] = {
	{ "follow", 'f', NULL, "go on with new events" },
	{ "lines", 'n', "N", "the last N events (200)" },
	CMD_APP_OPTIONS,
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_event_table[] = {
	{ "events", "[APP]", 0, 1,
	    "show what happened to an application: deployments, crashes, sleep and wake",
	    event_options, run_events, false },
	{ 0 },
};
