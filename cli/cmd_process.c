/* What runs of an application. */
#include <inttypes.h>
#include <string.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "lib/base/mem.h"

static int
run_ps(const struct cmd_line *l, struct err *e)
{
	static const struct output_column columns[] = {
		{ "NAME", "name" },
		{ "STATE", "state" },
		{ "SINCE", "started_at" },
		{ "RESTARTS", "restarts" },
		{ "LAST CRASH", "last_crash" },
		{ "DEPLOYMENT", "deployment_id" },
		{ "CLIENTS %", "share" },
		{ "INSTANCE", "instance" },
		{ NULL, NULL },
	};
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *app = api_app_path(l, cmd_arg(l, 0), e);
	const struct codec_value *types;

	if (app == NULL)
		return -1;
	AUTO(free) char *path = xasprintf("%s/processes", app);
	if (api_call(l, "GET", path, NULL, &r, e) < 0)
		return -1;
	if (cmd_has(l, "json")) {
		output_object(l, r.data, NULL);
		return 0;
	}
	output_table(l, codec_get(r.data, "instances"), columns);
	types = codec_get(r.data, "types");
	for (size_t i = 0; i < codec_count(types); i++) {
		const char *name = codec_string(codec_get(codec_at(types, i), "name"));
		int64_t count = codec_int(codec_get(codec_at(types, i), "count"), 0);

		if (name != NULL && count == 0)
			output_note(
			    l, "The Procfile's %s does not run: pinion scale %s=1", name, name);
	}
	return 0;
}

const struct cmd cmd_process_table[] = {
	{ "ps", "[APP]", 0, 1, "show what runs of an application", cmd_app_options, run_ps, false },
	{ 0 },
};
