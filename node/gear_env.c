#include "node/gear_env.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "lib/cart/gear_ports.h"
#include "lib/wire/wire_env.h"
#include "node/whiteout.h"

enum {
	VALUE_MAX = 64 * 1024,   /* of one file */
	TOTAL_MAX = 1024 * 1024, /* of all: execve has its own bound of 128 KiB a string */
	VARS_MAX = 2000,
};
static const char node_path[] = "/bin:/usr/bin:/usr/sbin";
static const char env_suffix[] = "/env";

/* The environment while it is composed. */
struct compose {
	const struct gear_env *in;
	struct omap *vars; /* name -> value */
	struct map *fixed; /* names of layers 1 and 2 */
	struct map *gear;  /* names of layer 2 alone: ~/.env */
	size_t bytes;
};

/* Where a layer's names are noted, beside its values: or NULL. */
struct marks {
	struct map *a, *b;
};

static int
set_var(
    struct compose *c, const char *name, const char *value, const struct marks *m, struct err *e)
{
	c->bytes += strlen(name) + strlen(value) + 2;
	if (c->bytes > TOTAL_MAX || omap_count(c->vars) > VARS_MAX)
		return err_set(e, ERR_LIMIT, name,
		    "the environment has more than %d variables or %d KiB", VARS_MAX,
		    TOTAL_MAX / 1024);
	omap_set(c->vars, name, xstrdup(value));
	if (m != NULL && m->a != NULL)
		map_set(m->a, name, c);
	if (m != NULL && m->b != NULL)
		map_set(m->b, name, c);
	return 0;
}

static void
add_var(struct wire_var_list *l, const char *name, const char *value)
{
	struct wire_var *v = codec_list_add(&wire_var_codec, l);

	v->name = xstrdup(name);
	v->value = xstrdup(value == NULL ? "" : value);
}

static size_t
primary_index(const struct wire_gear *g)
{
	for (size_t i = 0; i < g->cartridges.n; i++) {
		if (g->cartridges.v[i].is_web)
			return i;
	}
	return 0;
}

static void
add_number(struct wire_var_list *l, const char *short_name, const char *name, int64_t value)
{
	AUTO(free) char *whole = xasprintf("OPENSHIFT_%s_%s", short_name, name);
	AUTO(free) char *text = xasprintf("%" PRId64, value);

	add_var(l, whole, text);
}

static bool
is_reached_by_tls(const struct wire_cart_endpoint *ep)
{
	for (size_t i = 0; i < ep->mappings.n; i++) {
		if (ep->mappings.v[i].ssl_to_gear)
			return true;
	}
	return false;
}

/* Public ports are for the application's other gears: only a scalable one has some. */
static void
add_endpoints(const struct gear_env *in, struct wire_var_list *out)
{
	AUTO_FINI(gear_ports_fini) struct gear_port_list ports = { 0 };
	AUTO_FINI(str_list_fini) struct str_list seen = { 0 };

	gear_ports_list(in->carts, in->carts_n, &ports);
	for (size_t i = 0; i < ports.n; i++) {
		const struct gear_port *p = &ports.v[i];
		const char *word = in->carts[p->cart]->cart.short_name;
		AUTO(free) char *ip = xasprintf("OPENSHIFT_%s_%s", word, p->ep->private_ip_name);

		if (!str_list_has(&seen, ip))
			add_var(out, ip, p->ip);
		str_list_add(&seen, ip);
		add_number(out, word, p->ep->private_port_name, p->port);
		if (p->ep->websocket_port_name != NULL && p->ep->websocket_port > 0)
			add_number(out, word, p->ep->websocket_port_name, p->ep->websocket_port);
		if (p->ep->public_port_name != NULL &&
		    (in->gear->is_scalable || p->ep->is_ssl_to_gear))
			add_number(out, word, p->ep->public_port_name, p->public_port);
		if (is_reached_by_tls(p->ep) && wire_env_get(out, "SSL_TO_GEAR") == NULL)
			add_var(out, "SSL_TO_GEAR", "1");
	}
}

static void
add_paths(const char *home, struct wire_var_list *out)
{
	static const struct {
		const char *name, *below;
	} dirs[] = {
		{ "HOME", "" },
		{ "OPENSHIFT_HOMEDIR", "" },
		{ "OPENSHIFT_DATA_DIR", "app-root/data/" },
		{ "OPENSHIFT_LOG_DIR", "app-root/logs/" },
		{ "OPENSHIFT_REPO_DIR", "app-root/runtime/repo/" },
		{ "OPENSHIFT_DEPENDENCIES_DIR", "app-root/runtime/dependencies/" },
		{ "OPENSHIFT_BUILD_DEPENDENCIES_DIR", "app-root/runtime/build-dependencies/" },
		{ "OPENSHIFT_DEPLOYMENTS_DIR", "app-deployments/" },
		{ "HISTFILE", "app-root/data/.bash_history" },
		{ "GEM_HOME", ".gem" },
	};

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		AUTO(free) char *value = xasprintf("%s%s", home, dirs[i].below);

		add_var(out, dirs[i].name, value);
	}
}

void
gear_env_gear_vars(const struct gear_env *in, struct wire_var_list *out)
{
	const struct wire_gear *g = in->gear;
	AUTO(free) char *home = xasprintf("/var/lib/openshift/%s/", g->uuid);
	AUTO(free) char *memory = xasprintf("%lld", (long long)g->limits.memory_mb);
	AUTO(free) char *keep = xasprintf("%lld", (long long)g->keep_deployments);

	add_paths(home, out);
	add_var(out, "OPENSHIFT_APP_NAME", g->app_name);
	add_var(out, "OPENSHIFT_APP_UUID", g->app_id);
	add_var(out, "OPENSHIFT_APP_DNS", g->app_dns);
	add_var(out, "OPENSHIFT_GEAR_NAME", g->gear_name);
	add_var(out, "OPENSHIFT_GEAR_UUID", g->uuid);
	add_var(out, "OPENSHIFT_GEAR_DNS", g->gear_dns);
	add_var(out, "OPENSHIFT_NAMESPACE", g->domain);
	add_var(out, "OPENSHIFT_TMP_DIR", "/tmp/");
	add_var(out, "TMP", "/tmp/");
	add_var(out, "TMPDIR", "/tmp/");
	add_var(out, "TMP_DIR", "/tmp/");
	add_var(out, "OPENSHIFT_GEAR_MEMORY_MB", memory);
	add_var(out, "OPENSHIFT_SECRET_TOKEN", g->secret_token);
	add_var(out, "OPENSHIFT_AUTO_DEPLOY", g->auto_deploy ? "true" : "false");
	add_var(out, "OPENSHIFT_DEPLOYMENT_BRANCH",
	    g->deployment_branch == NULL || g->deployment_branch[0] == '\0' ? "master"
	                                                                    : g->deployment_branch);
	add_var(out, "OPENSHIFT_KEEP_DEPLOYMENTS", keep);
	add_var(out, "OPENSHIFT_DEPLOYMENT_TYPE", "git");
	for (size_t i = 0; i < in->carts_n; i++) {
		if (in->carts[i] == NULL)
			continue;
		if (i == primary_index(g)) {
			AUTO(free) char *dir = xasprintf("%s%s/", home, in->carts[i]->cart.name);

			add_var(out, "OPENSHIFT_PRIMARY_CARTRIDGE_DIR", dir);
		}
	}
	add_endpoints(in, out);
	for (size_t i = 0; i < g->asked.n; i++) { /* what the gear itself has is not theirs */
		if (wire_env_get(out, g->asked.v[i].name) == NULL)
			add_var(out, g->asked.v[i].name, g->asked.v[i].value);
	}
}

void
gear_env_cart_vars(const char *uuid, const struct cart_dir_entry *c, struct wire_var_list *out)
{
	AUTO(free) char *dir_name = xasprintf("OPENSHIFT_%s_DIR", c->cart.short_name);
	AUTO(free) char *ident_name = xasprintf("OPENSHIFT_%s_IDENT", c->cart.short_name);
	AUTO(free) char *dir = xasprintf("/var/lib/openshift/%s/%s/", uuid, c->cart.name);
	AUTO(free) char *ident = wire_cart_ident(&c->cart);

	add_var(out, dir_name, dir);
	add_var(out, ident_name, ident);
}

/* --- files --- */

static bool
is_skipped(const char *name)
{
	return !str_is_env_name(name); /* "X.erb", "X.rpmnew", ".x" are no names */
}

/* One file of dir: its content without one newline at the end and without NULs. 0: read, 1: none.
 */
static int
read_value(int dir, const char *name, char **out, bool *is_whiteout)
{
	AUTO(file_close)
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	AUTO(free) char *p = NULL;
	struct stat st;
	size_t n = 0, to = 0;
	ssize_t got;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && whiteout_is(&st))
		*is_whiteout = true;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > VALUE_MAX)
		return 1;
	p = xcalloc(1, VALUE_MAX + 1);
	while (n < VALUE_MAX && (got = read(fd, p + n, VALUE_MAX - n)) > 0)
		n += (size_t)got;
	if (n > 0 && p[n - 1] == '\n')
		n--;
	for (size_t i = 0; i < n; i++) {
		if (p[i] != '\0')
			p[to++] = p[i];
	}
	p[to] = '\0';
	*out = STEAL(p);
	return 0;
}

/* All variables of the directory at fd into the map, unless a layer above it has (or removed) them.
 */
static void
read_dir(int fd, struct omap *into, struct map *seen)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *de;

	if (d == NULL) {
		file_close(copy);
		return;
	}
	while ((de = readdir(d)) != NULL && omap_count(into) < VARS_MAX) {
		bool is_whiteout = false;
		char *value = NULL;

		if (is_skipped(de->d_name) || map_get(seen, de->d_name) != NULL)
			continue;
		if (read_value(fd, de->d_name, &value, &is_whiteout) == 0)
			omap_set(into, de->d_name, value);
		if (value != NULL || is_whiteout)
			map_set(seen, de->d_name, seen);
	}
	closedir(d);
}

/* The variables of ~/REL over all layers of the home, top first. */
static struct omap *
read_union(const struct str_list *homes, const char *rel)
{
	struct omap *vars = omap_new(free);
	struct map *seen = map_new(NULL);

	for (size_t i = 0; homes != NULL && i < homes->n; i++) {
		AUTO(file_close) int root = open(homes->v[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		AUTO(file_close) int fd = -1;
		struct err ignored = { 0 };

		if (root >= 0)
			fd = file_open_beneath(
			    root, rel, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, &ignored);
		if (fd >= 0)
			read_dir(fd, vars, seen);
		else if (root >= 0 && whiteout_hides(root, rel))
			break;
	}
	map_free(seen);
	return vars;
}

static int
set_all(struct compose *c, const struct omap *vars, const char *except, const struct marks *m,
    struct err *e)
{
	void *value = NULL;

	for (const char *k = omap_seek(vars, "", false, &value); k != NULL;
	     k = omap_seek(vars, k, true, &value)) {
		if ((except == NULL || strcmp(k, except) != 0) && set_var(c, k, value, m, e) < 0)
			return -1;
	}
	return 0;
}

static int
set_list(struct compose *c, const struct wire_var_list *l, const struct marks *m, struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		if (set_var(c, l->v[i].name, l->v[i].value, m, e) < 0)
			return -1;
	}
	return 0;
}

/* --- layers --- */

/* 1: of the node. */
static int
set_node_vars(struct compose *c, struct err *e)
{
	const struct marks m = { c->fixed, NULL };
	const char *dot = c->in->gear->app_dns == NULL ? NULL : strchr(c->in->gear->app_dns, '.');

	if (set_var(c, "OPENSHIFT_CARTRIDGE_SDK_BASH", "/usr/lib/openshift/cartridge_sdk/bash/sdk",
	        &m, e) < 0 ||
	    set_var(c, "OPENSHIFT_CARTRIDGE_SDK_RUBY",
	        "/usr/lib/openshift/cartridge_sdk/ruby/sdk.rb", &m, e) < 0 ||
	    set_var(c, "OPENSHIFT_UMASK", "077", &m, e) < 0 ||
	    set_var(c, "OPENSHIFT_CLOUD_DOMAIN", dot == NULL ? "" : dot + 1, &m, e) < 0)
		return -1;
	return 0;
}

/* The variables of .env itself (".") or of a directory below it. */
static int
set_env_dir(struct compose *c, const char *sub, const struct marks *m, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list roots = { 0 };
	struct omap *vars;
	int rc;

	if (c->in->env_dir == NULL)
		return 0;
	str_list_add(&roots, c->in->env_dir);
	vars = read_union(&roots, sub);
	rc = set_all(c, vars, NULL, m, e);
	omap_free(vars);
	return rc;
}

/* 2: of the gear. */
static int
set_gear_vars(struct compose *c, struct err *e)
{
	struct wire_var_list vars = { 0 };
	const struct marks m = { c->fixed, c->gear };
	int rc;

	gear_env_gear_vars(c->in, &vars);
	rc = set_list(c, &vars, &m, e);
	for (size_t i = 0; i < vars.n; i++)
		wire_var_fini(&vars.v[i]);
	free(vars.v);
	return rc < 0 ? -1 : set_env_dir(c, ".", &m, e);
}

/* 3, 5, 8: of one cartridge. */
static int
set_cart_vars(struct compose *c, const struct cart_dir_entry *x, const char *except, struct err *e)
{
	AUTO(free) char *rel = xasprintf("%s%s", x->cart.name, env_suffix);
	struct omap *files = read_union(c->in->homes, rel);
	struct wire_var_list own = { 0 };
	int rc;

	gear_env_cart_vars(c->in->gear->uuid, x, &own);
	rc = set_list(c, &own, NULL, e);
	for (size_t i = 0; i < own.n; i++)
		wire_var_fini(&own.v[i]);
	free(own.v);
	if (rc == 0)
		rc = set_all(c, files, except, NULL, e);
	omap_free(files);
	return rc;
}

/* 4: published by other cartridges: ~/.env/<publisher>/. */
static int
set_published(struct compose *c, struct err *e)
{
	DIR *d = c->in->env_dir == NULL ? NULL : opendir(c->in->env_dir);
	const struct dirent *de;
	int rc = 0;

	while (rc == 0 && d != NULL && (de = readdir(d)) != NULL) {
		if (de->d_name[0] != '.' && de->d_type == DT_DIR &&
		    strcmp(de->d_name, "user_vars") != 0)
			rc = set_env_dir(c, de->d_name, NULL, e);
	}
	if (d != NULL)
		closedir(d);
	return rc;
}

static void
append_path(struct buf *b, const char *element)
{
	if (element == NULL || element[0] == '\0')
		return;
	if (b->n > 0)
		buf_addc(b, ':');
	buf_adds(b, element);
}

/* Elements of all other cartridges: OPENSHIFT_*<suffix>. */
static void
append_others(const struct compose *c, const char *suffix, const char *primary, struct buf *b)
{
	void *value = NULL;

	for (const char *k = omap_seek(c->vars, "OPENSHIFT_", false, &value);
	     k != NULL && str_has_prefix(k, "OPENSHIFT_");
	     k = omap_seek(c->vars, k, true, &value)) {
		if (!str_has_suffix(k, suffix) || strcmp(k, primary) == 0)
			continue;
		if (strcmp(suffix, "_PATH_ELEMENT") == 0 &&
		    str_has_suffix(k, "_LD_LIBRARY_PATH_ELEMENT"))
			continue;
		append_path(b, value);
	}
}

/* "The primary's" names go by its directory, upper case, as in v2. */
static char *
element_name(const char *cart_name, const char *suffix)
{
	char *s = xasprintf("OPENSHIFT_%s%s", cart_name, suffix);

	for (char *p = s; *p != '\0'; p++) {
		if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 'a' + 'A');
		else if (*p == '-' || *p == '.')
			*p = '_';
	}
	return s;
}

/* 6: PATH and LD_LIBRARY_PATH. */
static int
set_search_paths(struct compose *c, const char *primary, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf path = { 0 };
	AUTO_FINI(buf_fini) struct buf lib = { 0 };
	AUTO(free) char *path_name = element_name(primary, "_PATH_ELEMENT");
	AUTO(free) char *lib_name = element_name(primary, "_LD_LIBRARY_PATH_ELEMENT");

	append_path(&path, omap_get(c->vars, path_name));
	append_others(c, "_PATH_ELEMENT", path_name, &path);
	append_path(&path, node_path);
	append_others(c, "_LD_LIBRARY_PATH_ELEMENT", lib_name, &lib);
	append_path(&lib, omap_get(c->vars, lib_name));
	if (set_var(c, "PATH", path.p, NULL, e) < 0)
		return -1;
	return lib.n == 0 ? 0 : set_var(c, "LD_LIBRARY_PATH", lib.p, NULL, e);
}

/* 7 and the end of 8: of the user, without the names that are the platform's. */
static int
set_user_vars(struct compose *c, const struct map *but, struct err *e)
{
	const struct wire_var_list *l = &c->in->gear->env;

	for (size_t i = 0; i < l->n; i++) {
		const char *name = l->v[i].name;

		if (map_get(but, name) != NULL && strcmp(name, "OPENSHIFT_SECRET_TOKEN") != 0)
			continue;
		if (set_var(c, name, l->v[i].value == NULL ? "" : l->v[i].value, NULL, e) < 0)
			return -1;
	}
	return 0;
}

static int
set_default(struct compose *c, const char *name, const char *value, struct err *e)
{
	return omap_get(c->vars, name) != NULL ? 0 : set_var(c, name, value, NULL, e);
}

/* What v2 does not know: where to listen, how to start. */
static int
set_pinion_vars(struct compose *c, struct err *e)
{
	const struct wire_start *s = c->in->start;

	if (set_default(c, "PORT", "8080", e) < 0 || set_default(c, "HOST", "0.0.0.0", e) < 0 ||
	    set_default(c, "LANG", "C.UTF-8", e) < 0 || set_default(c, "TZ", "UTC", e) < 0)
		return -1;
	if (c->in->deployment_id != NULL && c->in->deployment_id[0] != '\0' &&
	    set_var(c, "PINION_DEPLOYMENT_ID", c->in->deployment_id, NULL, e) < 0)
		return -1;
	if (s == NULL)
		return 0;
	if (set_var(c, "PINION_START_KIND", s->kind == NULL ? "" : s->kind, NULL, e) < 0 ||
	    set_var(c, "PINION_START_COMMAND", s->command == NULL ? "" : s->command, NULL, e) < 0)
		return -1;
	return 0;
}

static int
set_layers(struct compose *c, struct err *e)
{
	const struct gear_env *in = c->in;
	size_t index = primary_index(in->gear);
	const struct cart_dir_entry *primary = index < in->carts_n ? in->carts[index] : NULL;

	if (set_node_vars(c, e) < 0 || set_gear_vars(c, e) < 0)
		return -1;
	for (size_t i = 0; i < in->carts_n; i++) {
		if (in->carts[i] != NULL && set_cart_vars(c, in->carts[i], NULL, e) < 0)
			return -1;
	}
	if (set_published(c, e) < 0)
		return -1;
	if (primary != NULL && set_cart_vars(c, primary, NULL, e) < 0)
		return -1;
	if (set_search_paths(c, primary != NULL ? primary->cart.name : "", e) < 0 ||
	    set_user_vars(c, c->fixed, e) < 0)
		return -1;
	for (size_t i = 0; in->acting != NULL && i < in->carts_n; i++) {
		if (in->carts[i] != NULL && strcmp(in->carts[i]->cart.name, in->acting) == 0 &&
		    (set_cart_vars(c, in->carts[i], "PATH", e) < 0 ||
		        set_user_vars(c, c->gear, e) < 0))
			return -1;
	}
	return set_pinion_vars(c, e);
}

int
gear_env_compose(const struct gear_env *in, struct str_list *out, struct err *e)
{
	struct compose c = {
		.in = in, .vars = omap_new(free), .fixed = map_new(NULL), .gear = map_new(NULL)
	};
	void *value = NULL;
	int rc = set_layers(&c, e);

	for (const char *k = omap_seek(c.vars, "", false, &value); rc == 0 && k != NULL;
	     k = omap_seek(c.vars, k, true, &value))
		str_list_take(out, xasprintf("%s=%s", k, (const char *)value));
	omap_free(c.vars);
	map_free(c.fixed);
	map_free(c.gear);
	return rc;
}
