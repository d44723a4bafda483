/* For administrators: gear profiles. */
#include <stdlib.h>
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/profile.h"
#include "lib/base/mem.h"

enum { EXIT_SIZE = 134, USERS_MAX = 50 };

static const struct {
	const char *name;
	size_t at;
	int64_t max;
} fields[] = {
	{ "memory_mb", offsetof(struct wire_limits, memory_mb), INT32_MAX },
	{ "cpu_percent", offsetof(struct wire_limits, cpu_percent), 100000 },
	{ "cpu_shares", offsetof(struct wire_limits, cpu_shares), 262144 },
	{ "cpu_burst_percent", offsetof(struct wire_limits, cpu_burst_percent), 100000 },
	{ "pids", offsetof(struct wire_limits, pids), 4194304 },
	{ "disk_mb", offsetof(struct wire_limits, disk_mb), INT32_MAX },
	{ "files", offsetof(struct wire_limits, files), INT32_MAX },
	{ "net_kbit", offsetof(struct wire_limits, net_kbit), INT32_MAX },
	{ "nofile", offsetof(struct wire_limits, nofile), 1048576 },
};

static int64_t *
field_of(struct wire_limits *l, size_t i)
{
	return (int64_t *)(void *)((char *)l + fields[i].at);
}

static void
view(struct api_json *j, const char *name, struct wire_limits *l)
{
	api_json_obj(j, NULL);
	api_json_str(j, "name", name);
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		api_json_int(j, fields[i].name, *field_of(l, i));
	api_json_end_obj(j);
}

void
api_profile_list(struct api_call *c)
{
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };

	profile_names(c->b, &names);
	api_json_arr(api_data(c, "gear_profiles"), NULL);
	for (size_t i = 0; i < names.n; i++) {
		struct wire_limits l = { 0 };

		if (profile_get(c->b, names.v[i], &l))
			view(&c->json, names.v[i], &l);
	}
	api_json_end_arr(&c->json);
	api_send(c, 200);
}

static void
stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const char *name = c->state;
	struct wire_limits l = { 0 };

	if (e != NULL) {
		api_fail_err(c, e, EXIT_SIZE);
		return;
	}
	(void)profile_get(c->b, name, &l);
	view(api_data(c, "gear_profile"), name, &l);
	api_send(c, 200);
}

/* Fields that are not given keep what they are; of a new one they are those of small. */
void
api_profile_set(struct api_call *c)
{
	const char *name = api_param_of_path(c->params, "name");
	AUTO_FINI(str_list_fini) struct str_list users = { 0 };
	struct wire_limits l = { 0 };
	struct err e = { 0 };

	if (!profile_get(c->b, name, &l))
		(void)profile_get(c->b, "small", &l);
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		if (api_param_int(
		        c->params, fields[i].name, 0, fields[i].max, field_of(&l, i), &e) < 0) {
			api_fail_err(c, &e, EXIT_SIZE);
			return;
		}
	}
	if (api_param_strs(c->params, "users", USERS_MAX, &users, &e) < 0 ||
	    profile_check(name, &l, &e) < 0) {
		api_fail_err(c, &e, EXIT_SIZE);
		return;
	}
	api_call_keep(c, xstrdup(name), free);
	profile_set(c->b, name, &l, &users, stored, c);
}

static void
removed(const struct err *e, void *arg)
{
	struct api_call *c = arg;

	if (e != NULL)
		api_fail_err(c, e, EXIT_SIZE);
	else
		api_send_deleted(c, "The profile is removed, or has its usual limits again.");
}

void
api_profile_remove(struct api_call *c)
{
	profile_remove(c->b, api_param_of_path(c->params, "name"), removed, c);
}
