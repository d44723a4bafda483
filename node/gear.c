#include "node/gear.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "node/container.h"
#include "node/gear_home.h"

enum { NAME_LEN = 128, BASES_MAX = 64, ENV_MODE = 0640 };

static const struct codec_field record_fields[] = {
	CODEC_INT(struct gear_record, format, 1, 1, CODEC_REQUIRED),
	CODEC_STR(struct gear_record, uuid, NAME_LEN, CODEC_REQUIRED),
	CODEC_INT(struct gear_record, uid_base, CONTAINER_IDS, UINT32_MAX, CODEC_REQUIRED),
	CODEC_STR(struct gear_record, app_id, NAME_LEN, 0),
	CODEC_STR(struct gear_record, volume, NAME_LEN, 0),
	CODEC_INT(struct gear_record, disk_mb, 0, INT32_MAX, 0),
	CODEC_STRS(struct gear_record, bases, BASES_MAX, 0),
	CODEC_BOOL(struct gear_record, is_made, 0),
	CODEC_END,
};
DEFINE_CODEC(gear_record, struct gear_record, record_fields)

int
gear_save(const struct gear *g, struct err *e)
{
	AUTO(free) char *path = xasprintf("%s.json", g->dir);
	AUTO(free) char *json = codec_to_json(&gear_record_codec, &g->record);

	return file_replace(path, json, strlen(json), 0600, e);
}

void
gear_add_lowers(
    const struct gear *g, const struct str_list *code_dirs, size_t n, struct container_spec *s)
{
	for (size_t i = n; i > 0; i--) {
		str_list_take(&s->lowers, xasprintf("%s/base/%zu", g->dir, i));
		if (code_dirs != NULL && i - 1 < code_dirs->n && code_dirs->v[i - 1][0] != '\0')
			str_list_add(&s->lowers, code_dirs->v[i - 1]);
	}
	str_list_take(&s->lowers, xasprintf("%s/base/0", g->dir));
}

void
gear_add_binds(const struct gear *g, struct container_spec *s)
{
	AUTO(free) char *data = file_join(g->dir, "data");
	AUTO(free) char *logs = file_join(g->dir, "logs");
	AUTO(free) char *env = file_join(g->dir, "env");

	container_spec_bind(s, data, "~/app-root/data", false, true);
	container_spec_bind(s, logs, "~/app-root/logs", false, true);
	container_spec_bind(s, env, "~/.env", true, true);
}

void
gear_bind_services(const struct gear *g, const char *own, struct container_spec *s)
{
	for (size_t i = 0; i < g->spec.cartridges.n; i++) {
		const struct wire_gear_cart *c = &g->spec.cartridges.v[i];
		bool is_own = own != NULL && strcmp(c->name, own) == 0;
		AUTO(free) char *dir = xasprintf("%s/svc/%s", g->dir, c->name);
		AUTO(free) char *to = xasprintf("~/%s", c->name);

		if (c->is_service && (is_own || i < g->record.bases.n))
			container_spec_bind(s, dir, to, !is_own, true);
	}
}

char *
gear_instance_dir(const struct gear *g, const char *id)
{
	return xasprintf("%s/inst/%s", g->dir, id);
}

int
gear_make_instance_dir(const struct gear *g, const char *id, struct err *e)
{
	return gear_home_make_instance(g->dir, id, e);
}

int
gear_add_base(struct gear *g, const char *upper, const char *ident, struct err *e)
{
	AUTO(free) char *base = xasprintf("%s/base/%zu", g->dir, g->record.bases.n + 1);

	/* One that is there was not entered: its configure run died before the record was saved. */
	if (file_remove_tree(base, e) < 0)
		return -1;
	if (rename(upper, base) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "move %s to %s", upper, base);
	/* Base layers are the shape of the home: locked. */
	if (chown(base, 0, CONTAINER_UID) < 0 || chmod(base, 0750) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "set the owner of %s", base);
	fault_point("gear_base_moved");
	str_list_add(&g->record.bases, ident);
	if (gear_save(g, e) == 0)
		return 0;
	free(g->record.bases.v[--g->record.bases.n]);
	return -1;
}

static bool
is_named(const struct wire_var_list *vars, const char *name)
{
	for (size_t i = 0; i < vars->n; i++) {
		if (strcmp(vars->v[i].name, name) == 0)
			return true;
	}
	return false;
}

/* Only plain files: directories are other layers of the environment. */
static int
prune_env(int dir, const struct wire_var_list *vars)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (d == NULL) {
		file_close(fd);
		return -1;
	}
	while ((de = readdir(d)) != NULL) {
		if (de->d_type == DT_REG && !is_named(vars, de->d_name))
			(void)unlinkat(dir, de->d_name, 0);
	}
	closedir(d);
	return 0;
}

/* Beside it, then renamed: a reader never sees half a value. */
static int
write_var(int dir, const struct wire_var *v, struct err *e)
{
	const char *next = ".next";
	size_t n = strlen(v->value);
	AUTO(file_close) int fd = -1;

	if (strchr(v->name, '/') != NULL || v->name[0] == '.' || v->name[0] == '\0')
		return err_set(e, ERR_INVALID, "env", "\"%s\" is no name of a variable", v->name);
	(void)unlinkat(dir, next, 0);
	fd = openat(dir, next, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, ENV_MODE);
	if (fd < 0 || fchown(fd, 0, CONTAINER_UID) < 0 || fchmod(fd, ENV_MODE) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "write the variable %s", v->name);
	if (file_write_all(fd, v->value, n, e) < 0)
		return -1;
	if (renameat(dir, next, dir, v->name) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "write the variable %s", v->name);
	return 0;
}

int
gear_write_env(const struct gear *g, const char *dir, const struct wire_var_list *vars, bool prune,
    struct err *e)
{
	AUTO(free) char *path = xasprintf("%s/env/%s", g->dir, dir);
	AUTO(file_close) int fd = -1;

	if (dir[0] != '\0' && mkdir(path, 0750) == 0 && chown(path, 0, CONTAINER_UID) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "make %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", path);
	for (size_t i = 0; i < vars->n; i++) {
		if (write_var(fd, &vars->v[i], e) < 0)
			return -1;
	}
	if (prune && prune_env(fd, vars) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "read %s", path);
	return 0;
}
