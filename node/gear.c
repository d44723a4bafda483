#include "node/gear.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "node/container.h"
#include "node/gear_home.h"

enum {
	NAME_LEN = 128,
	IDENT_LEN = 512,
	BASES_MAX = GEAR_OLDER_MAX,
	LINES_MAX = 1000,
	ENV_MODE = 0640,
	DISK_FLOOR_KB = 8 * 1024,
};

static const struct codec_field cart_fields[] = {
	CODEC_STR(struct gear_cart, name, NAME_LEN, CODEC_REQUIRED),
	CODEC_STR(struct gear_cart, ident, IDENT_LEN, CODEC_REQUIRED),
	CODEC_STR(struct gear_cart, digest, NAME_LEN, CODEC_OMIT_NULL),
	CODEC_STR(struct gear_cart, short_name, NAME_LEN, 0),
	CODEC_STR(struct gear_cart, base, NAME_LEN, CODEC_REQUIRED),
	CODEC_STRS(struct gear_cart, older, BASES_MAX, 0),
	CODEC_STR(struct gear_cart, was_ident, IDENT_LEN, CODEC_OMIT_NULL),
	CODEC_STR(struct gear_cart, was_digest, NAME_LEN, CODEC_OMIT_NULL),
	CODEC_INT(struct gear_cart, was_at, 0, BASES_MAX, CODEC_OMIT_NULL),
	CODEC_BOOL(struct gear_cart, is_service, 0),
	CODEC_BOOL(struct gear_cart, is_installed, 0),
	CODEC_STRS(struct gear_cart, messages, LINES_MAX, 0),
	CODEC_LIST(struct gear_cart, properties, &wire_var_codec, LINES_MAX, CODEC_SECRET),
	CODEC_OBJ(struct gear_cart, asks, &wire_asks_codec, 0),
	CODEC_END,
};
DEFINE_CODEC(gear_cart, struct gear_cart, cart_fields)

static const struct codec_field record_fields[] = {
	CODEC_INT(struct gear_record, format, 1, 2, CODEC_REQUIRED),
	CODEC_STR(struct gear_record, uuid, NAME_LEN, CODEC_REQUIRED),
	CODEC_INT(struct gear_record, uid_base, CONTAINER_IDS, UINT32_MAX, CODEC_REQUIRED),
	CODEC_STR(struct gear_record, app_id, NAME_LEN, 0),
	CODEC_STR(struct gear_record, volume, NAME_LEN, 0),
	CODEC_INT(struct gear_record, disk_mb, 0, INT32_MAX, 0),
	CODEC_STRS(struct gear_record, bases, BASES_MAX, CODEC_OMIT_NULL),
	CODEC_LIST(struct gear_record, carts, &gear_cart_codec, BASES_MAX, 0),
	CODEC_BOOL(struct gear_record, is_made, 0),
	CODEC_BOOL(struct gear_record, was_ready, 0),
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

struct gear_cart *
gear_cart_find(const struct gear *g, const char *name)
{
	for (size_t i = 0; i < g->record.carts.n; i++) {
		if (strcmp(g->record.carts.v[i].name, name) == 0)
			return &g->record.carts.v[i];
	}
	return NULL;
}

char *
gear_cart_ident(const struct wire_gear_cart *c, const char *vendor)
{
	if (vendor == NULL)
		vendor = c->vendor == NULL ? "" : c->vendor;
	return xasprintf("%s:%s:%s:%s", vendor, c->name, c->version,
	    c->cart_version == NULL ? "" : c->cart_version);
}

/* The i-th field of an identity, which has four; caller owns. */
static char *
ident_part(const char *ident, int i)
{
	while (i-- > 0 && ident != NULL) {
		ident = strchr(ident, ':');
		ident = ident == NULL ? NULL : ident + 1;
	}
	return ident == NULL ? xstrdup("") : xstrndup(ident, strcspn(ident, ":"));
}

void
gear_cart_spec(const struct gear_cart *c, struct wire_gear_cart *out)
{
	out->vendor = ident_part(c->ident, 0);
	out->name = xstrdup(c->name);
	out->version = ident_part(c->ident, 2);
	out->cart_version = ident_part(c->ident, 3);
	out->digest = xstrdup_null(c->digest);
	out->is_service = c->is_service;
}

void
gear_forget_carts(struct gear *g)
{
	struct gear_cart_list *l = &g->record.carts;

	for (size_t i = 0; i < l->n; i++)
		gear_cart_fini(&l->v[i]);
	free(l->v);
	*l = (struct gear_cart_list){ 0 };
	g->record.was_ready = false;
}

void
gear_migrate(struct gear *g)
{
	struct gear_record *r = &g->record;

	for (size_t i = 0; i < r->bases.n; i++) {
		struct gear_cart *c = codec_list_add(&gear_cart_codec, &r->carts);

		c->name = ident_part(r->bases.v[i], 1);
		c->ident = xstrdup(r->bases.v[i]);
		c->base = xasprintf("%zu", i + 1);
		c->is_installed = true;
	}
	str_list_fini(&r->bases);
	r->format = 2;
}

void
gear_keep_configured(struct gear *g)
{
	struct wire_gear_cart_list *l = &g->spec.cartridges;
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		const struct gear_cart *c = gear_cart_find(g, l->v[i].name);
		AUTO(free) char *version = c == NULL ? NULL : ident_part(c->ident, 2);
		AUTO(free) char *cart_version = c == NULL ? NULL : ident_part(c->ident, 3);

		if (c == NULL) {
			wire_gear_cart_fini(&l->v[i]);
			continue;
		}
		mem_set_str(&l->v[i].version, version);
		mem_set_str(&l->v[i].cart_version, cart_version);
		mem_set_str(&l->v[i].digest, c->digest);
		l->v[n++] = l->v[i];
	}
	l->n = n;
}

static void
add_base_lower(const struct gear *g, const char *base, struct container_spec *s)
{
	str_list_take(&s->lowers, xasprintf("%s/base/%s", g->dir, base));
}

void
gear_add_lowers(const struct gear *g, const struct str_list *codes, const char *except,
    struct container_spec *s)
{
	const struct wire_gear_cart_list *l = &g->spec.cartridges;

	for (size_t i = l->n; i > 0; i--) {
		const char *code = codes != NULL && i - 1 < codes->n ? codes->v[i - 1] : "";
		const struct gear_cart *c = gear_cart_find(g, l->v[i - 1].name);

		if (c == NULL || (except != NULL && strcmp(c->name, except) == 0))
			continue;
		add_base_lower(g, c->base, s);
		if (!c->is_service && code[0] != '\0')
			str_list_add(&s->lowers, code);
		for (size_t k = 0; k < c->older.n; k++)
			add_base_lower(g, c->older.v[k], s);
	}
	add_base_lower(g, "0", s);
}

void
gear_read_priority(struct gear *g)
{
	enum { TEXT_MAX = 64, PRIORITY_MAX = 1 << 20, PRIORITY = 100 };
	AUTO(free) char *path = xasprintf("%s/base/0/.start_priority", g->dir);
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	struct str line;
	struct err e = { 0 };

	g->start_priority = PRIORITY;
	if (!file_exists(path))
		return;
	if (file_read(path, TEXT_MAX, &text, &e) == 0) {
		(void)str_cut(buf_str(&text), '\n', &line);
		if (str_to_i64(str_trim(line), 0, PRIORITY_MAX, "start_priority",
		        &g->start_priority, &e) == 0)
			return;
	}
	log_warn("start_priority_ignored", LOG_STR("gear", g->record.uuid), LOG_ERR(&e));
	g->start_priority = PRIORITY;
}

void
gear_add_binds(const struct gear *g, struct container_spec *s)
{
	AUTO(free) char *data = file_join(g->dir, "data");
	AUTO(free) char *logs = file_join(g->dir, "logs");
	AUTO(free) char *env = file_join(g->dir, "env");
	AUTO(free) char *auth = file_join(g->dir, "auth");

	container_spec_bind(s, data, "~/app-root/data", false, true);
	container_spec_bind(s, logs, "~/app-root/logs", false, true);
	container_spec_bind(s, env, "~/.env", true, true);
	if (file_exists(
	        auth)) /* gears that were made by an older release get it with their next spec */
		container_spec_bind(s, auth, "~/.auth", true, true);
}

void
gear_bind_services(
    const struct gear *g, const char *own, const char *except, struct container_spec *s)
{
	for (size_t i = 0; i < g->record.carts.n; i++) {
		const struct gear_cart *c = &g->record.carts.v[i];
		bool is_own = own != NULL && strcmp(c->name, own) == 0;
		AUTO(free) char *dir = xasprintf("%s/svc/%s", g->dir, c->name);
		AUTO(free) char *to = xasprintf("~/%s", c->name);

		if (c->is_service && (except == NULL || strcmp(c->name, except) != 0))
			container_spec_bind(s, dir, to, !is_own, true);
	}
}

int
gear_check_room(const struct gear *g, struct err *e)
{
	struct statvfs fs;

	if (statvfs(g->dir, &fs) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "look at %s", g->dir);
	if (fs.f_bavail * fs.f_frsize / 1024 < DISK_FLOOR_KB)
		return err_set(e, ERR_LIMIT, "disk",
		    "the gear's disk is full: less than %d MB are left; remove files in "
		    "~/app-root/data",
		    DISK_FLOOR_KB / 1024);
	return 0;
}

char *
gear_template_dir(const struct gear *g)
{
	return file_join(g->dir, "template");
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

/* Base layers are the shape of the home: locked. */
static int
move_base(const struct gear *g, const char *upper, const char *name, struct err *e)
{
	AUTO(free) char *base = xasprintf("%s/base/%s", g->dir, name);

	if (rename(upper, base) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "move %s to %s", upper, base);
	if (chown(base, 0, CONTAINER_UID) < 0 || chmod(base, 0750) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "set the owner of %s", base);
	return 0;
}

int
gear_add_base(struct gear *g, const char *upper, const struct gear_cart *c, struct err *e)
{
	AUTO_FINI(gear_cart_fini) struct gear_cart before = { 0 };
	AUTO(free) char *word = secret_random_hex(4);
	struct gear_cart *to = gear_cart_find(g, c->name);
	bool is_new = to == NULL;

	if (is_new)
		to = codec_list_add(&gear_cart_codec, &g->record.carts);
	before = *to;
	*to = (struct gear_cart){ 0 };
	codec_copy(&gear_cart_codec, to, c);
	free(to->base);
	to->base = xasprintf("%s.%s", c->name, word);
	if (move_base(g, upper, to->base, e) == 0) {
		fault_point("gear_base_moved");
		if (gear_save(g, e) == 0)
			return 0;
	}
	gear_cart_fini(to);
	*to = before;
	before = (struct gear_cart){ 0 };
	g->record.carts.n -= is_new;
	return -1;
}

int
gear_drop_cart(struct gear *g, const char *name, struct err *e)
{
	struct gear_cart_list *l = &g->record.carts;
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].name, name) == 0)
			gear_cart_fini(&l->v[i]);
		else
			l->v[n++] = l->v[i];
	}
	l->n = n;
	return gear_save(g, e);
}

static bool
has_base(const struct gear *g, const char *name)
{
	for (size_t i = 0; i < g->record.carts.n; i++) {
		const struct gear_cart *c = &g->record.carts.v[i];

		if (strcmp(c->base, name) == 0 || str_list_has(&c->older, name))
			return true;
	}
	return strcmp(name, "0") == 0;
}

int
gear_sweep_bases(const struct gear *g, struct err *e)
{
	AUTO(free) char *dir = file_join(g->dir, "base");
	AUTO_FINI(str_list_fini) struct str_list gone = { 0 };
	DIR *d = opendir(dir);
	const struct dirent *de;

	if (d == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", dir);
	while ((de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 &&
		    !has_base(g, de->d_name))
			str_list_take(&gone, file_join(dir, de->d_name));
	}
	closedir(d);
	for (size_t i = 0; i < gone.n; i++) {
		if (file_remove_tree(gone.v[i], e) < 0)
			return -1;
	}
	return 0;
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

static bool
is_publisher(const struct wire_gear_published_list *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].publisher, name) == 0)
			return true;
	}
	return strcmp(name, "user_vars") == 0;
}

int
gear_write_published(const struct gear *g, const struct wire_gear_published_list *l, struct err *e)
{
	AUTO(free) char *path = file_join(g->dir, "env");
	DIR *d = opendir(path);
	const struct dirent *de;
	int rc = 0;

	if (d == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "read %s", path);
	while (rc == 0 && (de = readdir(d)) != NULL) {
		AUTO(free) char *dir = file_join(path, de->d_name);

		if (de->d_name[0] != '.' && de->d_type == DT_DIR && !is_publisher(l, de->d_name))
			rc = file_remove_tree(dir, e);
	}
	closedir(d);
	for (size_t i = 0; rc == 0 && i < l->n; i++) {
		const char *name = l->v[i].publisher;

		if (name[0] == '.' || strchr(name, '/') != NULL || strcmp(name, "user_vars") == 0)
			return err_set(
			    e, ERR_INVALID, "published", "\"%s\" is no name of a publisher", name);
		rc = gear_write_env(g, name, &l->v[i].vars, true, e);
	}
	return rc;
}

static int
write_secret(const char *dir, const char *name, const char *text, struct err *e)
{
	AUTO(free) char *path = file_join(dir, name);

	if (text == NULL) {
		if (unlink(path) < 0 && errno != ENOENT)
			return err_set(e, ERR_SYSTEM, NULL, "remove %s", path);
		return 0;
	}
	if (file_replace_fast(path, text, strlen(text), 0640, e) < 0)
		return -1;
	if (lchown(path, 0, CONTAINER_UID) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "own %s", path);
	return 0;
}

int
gear_write_auth(const struct gear *g, struct err *e)
{
	AUTO(free) char *dir = file_join(g->dir, "auth");

	if (mkdir(dir, 0750) < 0 && errno != EEXIST)
		return err_set(e, ERR_SYSTEM, NULL, "make %s", dir);
	if (chown(dir, 0, CONTAINER_UID) < 0 ||
	    write_secret(dir, "token", g->spec.auth_token, e) < 0)
		return -1;
	return write_secret(dir, "iv", g->spec.auth_iv, e);
}
