#include "node/spawn.h"

#include <stdlib.h>
#include <string.h>

/* A single-valued key. */
struct order_slot {
	const char *key;
	size_t offset;
};
static const struct order_slot slots[] = {
	{ "id", offsetof(struct spawn_order, id) },
	{ "bundle", offsetof(struct spawn_order, bundle) },
	{ "config", offsetof(struct spawn_order, config) },
	{ "volume", offsetof(struct spawn_order, volume) },
	{ "netns", offsetof(struct spawn_order, netns) },
	{ "notes", offsetof(struct spawn_order, notes) },
	{ "runtime", offsetof(struct spawn_order, runtime) },
	{ "runtime_root", offsetof(struct spawn_order, runtime_root) },
	{ "cgroup_manager", offsetof(struct spawn_order, cgroup_manager) },
	{ "stage", offsetof(struct spawn_order, stage) },
	{ "hide", offsetof(struct spawn_order, hide) },
	{ "usr", offsetof(struct spawn_order, usr) },
	{ "etc", offsetof(struct spawn_order, etc) },
	{ "init", offsetof(struct spawn_order, init) },
	{ "home", offsetof(struct spawn_order, home) },
	{ "tmp", offsetof(struct spawn_order, tmp) },
	{ "upper", offsetof(struct spawn_order, upper) },
	{ "work", offsetof(struct spawn_order, work) },
	{ "cwd", offsetof(struct spawn_order, cwd) },
	{ "seccomp", offsetof(struct spawn_order, seccomp) },
};

static int
set_slot(struct spawn_order *o, const char *key, const char *value)
{
	for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
		if (strcmp(slots[i].key, key) != 0)
			continue;
		memcpy((char *)o + slots[i].offset, &value, sizeof value);
		return 0;
	}
	return -1;
}

static int
set_number(struct spawn_order *o, const char *key, const char *value)
{
	if (strcmp(key, "uid_base") == 0)
		o->uid_base = strtol(value, NULL, 10);
	else if (strcmp(key, "uid") == 0)
		o->uid = strtol(value, NULL, 10);
	else if (strcmp(key, "base") == 0)
		o->base = (int)strtol(value, NULL, 10);
	else if (strcmp(key, "nofile") == 0)
		o->nofile = strtol(value, NULL, 10);
	else if (strcmp(key, "unlocked") == 0)
		o->unlocked = value[0] == '1';
	else if (strcmp(key, "joins_core") == 0)
		o->joins_core = value[0] == '1';
	else if (strcmp(key, "terminal") == 0)
		o->has_terminal = value[0] == '1';
	else if (strcmp(key, "session") == 0)
		o->is_session = value[0] == '1';
	else if (strcmp(key, "cgroup") == 0 && o->cgroup_n < SPAWN_CGROUPS_MAX)
		o->cgroups[o->cgroup_n++] = (int)strtol(value, NULL, 10);
	else
		return -1;
	return 0;
}

/* "rw", "ro", with "+ids" when idmapped; source and target follow as keys of their own. */
static int
set_bind(struct spawn_order *o, const char *key, const char *value)
{
	struct spawn_bind *b;

	if (strcmp(key, "bind") == 0) {
		if (o->bind_n == SPAWN_BINDS_MAX)
			return -1;
		o->binds[o->bind_n++] = (struct spawn_bind){
			.ro = strncmp(value, "ro", 2) == 0,
			.idmapped = strstr(value, "+ids") != NULL,
		};
		return 0;
	}
	if (o->bind_n == 0)
		return -1;
	b = &o->binds[o->bind_n - 1];
	if (strcmp(key, "source") == 0)
		b->source = value;
	else if (strcmp(key, "target") == 0)
		b->target = value;
	else
		return -1;
	return 0;
}

static int
set_list(struct spawn_order *o, const char *key, char *value)
{
	if (strcmp(key, "lower") == 0 && o->lower_n < SPAWN_LOWERS_MAX)
		o->lowers[o->lower_n++] = value;
	else if (strcmp(key, "arg") == 0 && o->arg_n < SPAWN_ARGS_MAX)
		o->args[o->arg_n++] = value;
	else if (strcmp(key, "env") == 0 && o->env_n < SPAWN_ARGS_MAX)
		o->env[o->env_n++] = value;
	else if (strcmp(key, "link") == 0 && o->link_n < SPAWN_LINKS_MAX)
		o->links[o->link_n++] = value;
	else if (strcmp(key, "file") == 0 && o->file_n < SPAWN_FILES_MAX)
		o->files[o->file_n++].name = value;
	else if (strcmp(key, "text") == 0 && o->file_n > 0)
		o->files[o->file_n - 1].text = value;
	else
		return -1;
	return 0;
}

int
spawn_order_parse(char *p, size_t n, struct spawn_order *out, struct err *e)
{
	char *end = p + n;

	if (n == 0 || p[n - 1] != '\0')
		return err_set(e, ERR_BUG, NULL, "the order has no end");
	*out = (struct spawn_order){
		.hide = "", .tmp = "", .cgroup_manager = "", .notes = "", .volume = "", .netns = ""
	};
	while (p < end) {
		char *key = p;
		char *value = p + strlen(p) + 1;

		if (value >= end)
			return err_set(e, ERR_BUG, key, "the order ends after %s", key);
		p = value + strlen(value) + 1;
		if (set_slot(out, key, value) == 0 || set_number(out, key, value) == 0 ||
		    set_bind(out, key, value) == 0 || set_list(out, key, value) == 0)
			continue;
		return err_set(e, ERR_BUG, key, "unknown, misplaced or one too many: %s", key);
	}
	return 0;
}
