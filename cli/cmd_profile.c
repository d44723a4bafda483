/* Gear profiles, for administrators. */
#include <stdio.h>
#include <string.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "lib/base/mem.h"

static const struct {
	const char *option, *field;
} limits[] = {
	{ "memory", "memory_mb" },
	{ "cpu", "cpu_percent" },
	{ "cpu-shares", "cpu_shares" },
	{ "cpu-burst", "cpu_burst_percent" },
	{ "pids", "pids" },
	{ "disk", "disk_mb" },
	{ "files", "files" },
	{ "net", "net_kbit" },
	{ "nofile", "nofile" },
};

static int
run_list(const struct cmd_line *l, struct err *e)
{
	static const struct output_column columns[] = {
		{ "PROFILE", "name" },
		{ "MEMORY MB", "memory_mb" },
		{ "CPU %", "cpu_percent" },
		{ "SHARES", "cpu_shares" },
		{ "BURST %", "cpu_burst_percent" },
		{ "PIDS", "pids" },
		{ "DISK MB", "disk_mb" },
		{ "FILES", "files" },
		{ "NET KBIT", "net_kbit" },
		{ "NOFILE", "nofile" },
		{ NULL, NULL },
	};
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };

	if (api_call(l, "GET", "gear_profiles", NULL, &r, e) < 0)
		return -1;
	output_table(l, r.data, columns);
	return 0;
}

static char *
profile_path(const struct cmd_line *l)
{
	AUTO_FINI(buf_fini) struct buf path = { 0 };

	buf_adds(&path, "gear_profiles/");
	buf_add_url(&path, cmd_arg(l, 0));
	return buf_steal(&path);
}

static int
run_set(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	AUTO(free) char *path = profile_path(l);

	buf_adds(&body, "{\"users\":[");
	for (size_t i = 0, n = 0; i < l->names.n; i++) {
		if (strcmp(l->names.v[i], "user") != 0)
			continue;
		if (n++ > 0)
			buf_addc(&body, ',');
		buf_add_json_str(&body, l->values.v[i]);
	}
	buf_addc(&body, ']');
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		const char *text = cmd_option(l, limits[i].option);
		int64_t v = 0;

		if (text == NULL)
			continue;
		if (str_to_i64(str_of(text), 0, INT32_MAX, limits[i].option, &v, e) < 0)
			return -1;
		buf_addf(&body, ",\"%s\":%lld", limits[i].field, (long long)v);
	}
	buf_addc(&body, '}');
	if (api_call(l, "PUT", path, body.p, &r, e) < 0)
		return -1;
	output_note(l, "Gears of the profile %s follow. A larger disk comes with their next start.",
	    cmd_arg(l, 0));
	return 0;
}

static int
run_remove(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = profile_path(l);

	return api_call(l, "DELETE", path, NULL, &r, e);
}

static const struct cmd_option set_options[] = {
	{ "memory", 0, "MB", "memory of an instance" },
	{ "cpu", 0, "PERCENT", "processor; 100 is one core" },
	{ "cpu-shares", 0, "N", "weight among others when the processors are busy" },
	{ "cpu-burst", 0, "PERCENT", "what may be saved up for a moment" },
	{ "pids", 0, "N", "processes and threads" },
	{ "disk", 0, "MB", "disk of a gear" },
	{ "files", 0, "N", "files on it" },
	{ "net", 0, "KBIT", "network rate each way; 0: any" },
	{ "nofile", 0, "N", "open files of a process; 0: what the host allows" },
	{ "user", 0, "LOGIN", "may use it from now on; may be given again" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_profile_table[] = {
	{ "admin profile list", "", 0, 0, "list the gear profiles", NULL, run_list, false },
	{ "admin profile set", "NAME", 1, 1,
	    "add a gear profile or change one\n\nRunning gears follow at once, without a restart. "
	    "What is not given stays; of a new\nprofile it is as in small.",
	    set_options, run_set, false },
	{ "admin profile remove", "NAME", 1, 1,
	    "remove a gear profile; small, medium and large get their usual limits", NULL,
	    run_remove, false },
	{ 0 },
};
