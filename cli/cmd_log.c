/* Logs of an application. */
#include <stdio.h>
#include <string.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "lib/base/mem.h"

static void
print_log_line(struct str line, void *arg)
{
	const struct cmd_line *l = arg;
	struct err e = { 0 };

	if (line.n == 0)
		return;
	if (cmd_has(l, "json")) {
		output_line(line.p, line.n);
		(void)fflush(stdout);
		return;
	}
	struct codec_value *v = codec_parse(line.p, line.n, &e);
	const char *time = codec_string(codec_get(v, "time"));
	const char *gear = codec_string(codec_get(v, "instance"));
	const char *source = codec_string(codec_get(v, "source"));
	const char *text = codec_string(codec_get(v, "line"));
	if (text != NULL) {
		AUTO(free)
		char *out = xasprintf("%s %s[%s] %s", time == NULL ? "" : time,
		    gear == NULL ? "" : gear, source == NULL ? "" : source, text);
		output_line(out, strlen(out));
		(void)fflush(stdout);
	}
	codec_value_free(v);
}

static int
run_logs(const struct cmd_line *l, struct err *e)
{
	const char *lines = cmd_option(l, "lines");
	int64_t n = 100;
	AUTO(free) char *app = api_app_path(l, cmd_arg(l, 0), e);

	if (app == NULL ||
	    (lines != NULL && str_to_i64(str_of(lines), 0, 100000, "lines", &n, e) < 0))
		return -1;
	AUTO(free)
	char *path = xasprintf("%s/logs?lines=%lld&follow=%s", app, (long long)n,
	    cmd_has(l, "follow") ? "true" : "false");
	return api_stream(l, path, print_log_line, (void *)(uintptr_t)l, e);
}

static const struct cmd_option log_options[] = {
	{ "follow", 'f', NULL, "go on with new lines, across instances and restarts" },
	{ "lines", 'n', "N", "begin with the last N lines (100)" },
	CMD_APP_OPTIONS,
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_log_table[] = {
	{ "logs", "[APP]", 0, 1, "show what the application printed", log_options, run_logs,
	    false },
	{ 0 },
};
