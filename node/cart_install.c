#include "node/cart_install.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/cart/cart_dir.h"
#include "lib/loop/worker.h"
#include "node/cart_code.h"
#include "node/cart_run.h"
#include "node/container.h"
#include "node/gear.h"
#include "node/gear_env.h"
#include "node/init_control.h"
#include "node/node_dirs.h"
#include "node/tree_copy.h"

enum { TIMEOUT_MS = 600 * 1000, OUTPUT_MAX = 64 * 1024, REASON_MAX = 600, BINDS_MAX = 16 };

/* Before and after the scripts: the worker's part. The gear is in GEAR_CONFIGURING: nobody else
 * writes its record. */
struct install_job {
	struct cart_install *install; /* for done only */
	const struct node_dirs *dirs;
	struct gear *gear;
	const struct cart_dir_entry *cart;
	const struct cart_dir_entry **carts; /* owned array: of the gear's bases, then this one */
	size_t n;
	char *uuid;               /* owned: the spec may change meanwhile */
	char *dir;                /* inst/<id>: {up,work/work,tmp}; owned */
	char *svc;                /* the services' directories; owned */
	struct str_list services; /* their names */
	struct str_list codes;    /* code layers of carts */
	bool only_files;          /* no container: the base is made at once */
	bool is_service;          /* its directory lies on the volume: svc/NAME */
	struct err e;
	int rc;
};

struct cart_install {
	struct cart_install_opts o;
	struct gear *gear;
	const struct cart_dir_entry *cart;
	struct install_job *job_data; /* between its two runs */
	struct worker_job *job;
	struct cart_run *run;
	char *id;
	struct buf out; /* last output, for the reason of a failure */
	cart_install_fn *fn;
	void *arg;
};

static void
job_free(void *p)
{
	struct install_job *j = p;

	free(j->carts);
	free(j->uuid);
	free(j->dir);
	free(j->svc);
	str_list_fini(&j->services);
	str_list_fini(&j->codes);
	free(j);
}

static void
install_free(struct cart_install *i)
{
	if (i->job_data != NULL)
		job_free(i->job_data);
	buf_fini(&i->out);
	free(i->id);
	free(i);
}

static void
finish(struct cart_install *i, const struct err *e)
{
	cart_install_fn *fn = i->fn;
	void *arg = i->arg;

	install_free(i);
	fn(e, arg);
}

static const struct cart_dir_entry *
find_cart(const struct cart_install_opts *o, const struct wire_gear_cart *c)
{
	const struct cart_dir_entry *x =
	    cart_dir_find(o->carts, c->name, c->version, c->cart_version);

	/* A release that is gone from here: the newest one of that software version. */
	return x != NULL ? x : cart_dir_find(o->carts, c->name, c->version, NULL);
}

/* --- the worker's part --- */

static bool
is_in(const struct str_list *names, const struct cart_dir_entry *c)
{
	return str_list_has(names, c->cart.name);
}

static int
own(const char *path, struct err *e)
{
	if (lchown(path, CONTAINER_UID, CONTAINER_UID) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot own %s", path);
	return 0;
}

/* ROOT/a/b/c for "a/b/c", each owned by the user; but app-root by root, as in v2. */
static int
make_dirs(const char *root, const char *rel, struct err *e)
{
	for (const char *p = rel; *p != '\0';) {
		size_t n = strcspn(p, "/");
		AUTO(free)
		char *path = xasprintf("%s/%.*s", root, (int)((size_t)(p - rel) + n), rel);

		if (n > 0 && mkdir(path, 0755) < 0 && errno != EEXIST)
			return err_set(e, ERR_SYSTEM, NULL, "cannot make %s", path);
		if (p == rel && n == 8 && strncmp(p, "app-root", n) == 0) {
			if (lchown(path, 0, CONTAINER_UID) < 0)
				return err_set(e, ERR_SYSTEM, NULL, "cannot own %s", path);
		} else if (n > 0 && own(path, e) < 0) {
			return -1;
		}
		p += n + (p[n] == '/');
	}
	return 0;
}

static int
make_above(const char *root, const char *rel, struct err *e)
{
	AUTO(free) char *above = xstrdup(rel);
	char *slash = strrchr(above, '/');

	if (slash == NULL)
		return 0;
	*slash = '\0';
	return make_dirs(root, above, e);
}

/* Where "NAME/…" of the home is: the upper, or svc/ for a service's own directory. */
static const char *
root_of(const struct install_job *j, const char *up, const char *rel)
{
	size_t n = strlen(j->cart->cart.name);

	return j->is_service && strncmp(rel, j->cart->cart.name, n) == 0 && rel[n] == '/' ? j->svc
	                                                                                  : up;
}

/* All of a service's code becomes its own: it may write there for ever. What a configure run that
 * was cut short has left goes first. */
static int
copy_service(const struct install_job *j, const char *up, struct err *e)
{
	AUTO(free) char *layer = cart_code_layer(j->dirs, j->cart, e);
	AUTO(free) char *from_path = layer == NULL ? NULL : file_join(layer, j->cart->cart.name);
	AUTO(free) char *to_path = file_join(j->svc, j->cart->cart.name);
	AUTO(free) char *mount_point = file_join(up, j->cart->cart.name);
	const struct tree_copy_opts opts = { 0 };
	AUTO(file_close) int from = -1;
	AUTO(file_close) int to = -1;

	if (layer == NULL || file_remove_tree(to_path, e) < 0)
		return -1;
	if ((mkdir(mount_point, 0755) < 0 && errno != EEXIST) || own(mount_point, e) < 0)
		return e->code != 0 ? -1
		                    : err_set(e, ERR_SYSTEM, NULL, "cannot make %s", mount_point);
	if (mkdir(to_path, 0755) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make %s", to_path);
	from = open(from_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	to = open(to_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0 || to < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open %s", to < 0 ? to_path : from_path);
	return own(to_path, e) < 0 ? -1 : tree_copy(from, to, &opts, e);
}

/* env/ with the variables that are the platform's. */
static int
write_env(const char *up, const struct install_job *j, struct err *e)
{
	AUTO(free) char *rel = file_join(j->cart->cart.name, "env");
	struct wire_var_list vars = { 0 };
	const char *root = root_of(j, up, rel);
	int rc = make_dirs(root, rel, e);

	gear_env_cart_vars(j->uuid, j->cart, &vars);
	for (size_t i = 0; i < vars.n; i++) {
		AUTO(free) char *path = xasprintf("%s/%s/%s", root, rel, vars.v[i].name);

		if (rc == 0)
			rc = file_replace_fast(
			    path, vars.v[i].value, strlen(vars.v[i].value), 0644, e);
		wire_var_fini(&vars.v[i]);
	}
	free(vars.v);
	return rc;
}

/* Links of dependency_dirs: what lies behind them comes with a deployment. */
static int
make_links(const char *up, const struct install_job *j, const struct wire_managed_link_list *l,
    const char *where, struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		const char *root = root_of(j, up, l->v[i].link);
		AUTO(free) char *path = file_join(root, l->v[i].link);
		AUTO(free)
		char *target = xasprintf(
		    "/var/lib/openshift/%s/app-root/runtime/%s/%s", j->uuid, where, l->v[i].target);
		AUTO(free)
		char *behind = xasprintf("app-root/runtime/%s/%s", where, l->v[i].target);
		size_t n = strlen(path);

		while (n > 0 && path[n - 1] == '/')
			path[--n] = '\0';
		if (make_above(root, l->v[i].link, e) < 0 || make_dirs(up, behind, e) < 0)
			return -1;
		if (symlink(target, path) < 0 && errno != EEXIST)
			return err_set(
			    e, ERR_SYSTEM, NULL, "cannot make the link %s", l->v[i].link);
	}
	return 0;
}

/* locked_files that are in no layer below: made, so that scripts find them. */
static int
make_locked(const char *up, const struct install_job *j, struct err *e)
{
	const struct str_list *l = &j->cart->managed.locked_files;

	for (size_t i = 0; i < l->n; i++) {
		const char *root = root_of(j, up, l->v[i]);
		AUTO(free) char *path = file_join(root, l->v[i]);
		AUTO(free)
		char *code =
		    j->codes.n == 0 ? NULL : file_join(j->codes.v[j->codes.n - 1], l->v[i]);
		AUTO(file_close) int fd = -1;

		if (strchr(l->v[i], '*') != NULL || (code != NULL && file_exists(code)) ||
		    (root == j->svc && file_exists(path)))
			continue;
		if (str_has_suffix(l->v[i], "/")) {
			if (make_dirs(root, l->v[i], e) < 0)
				return -1;
			continue;
		}
		if (make_above(root, l->v[i], e) < 0)
			return -1;
		fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
		if (fd < 0 || fchown(fd, CONTAINER_UID, CONTAINER_UID) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot make %s", l->v[i]);
	}
	return 0;
}

static int
add_base(struct install_job *j, const char *up, struct err *e)
{
	AUTO(free) char *ident = wire_cart_ident(&j->cart->cart);

	return gear_add_base(j->gear, up, ident, e);
}

static int
prepare(struct install_job *j, struct err *e)
{
	AUTO(free) char *up = file_join(j->dir, "up");
	AUTO(free) char *ctl = file_join(j->dir, "ctl");
	const struct init_settings idle = { 0 };

	for (size_t i = 0; i < j->n; i++) {
		bool is_none = j->carts[i] == NULL || is_in(&j->services, j->carts[i]);
		char *code = is_none ? xstrdup("") : cart_code_layer(j->dirs, j->carts[i], e);

		if (code == NULL)
			return -1;
		str_list_take(&j->codes, code);
	}
	if ((j->is_service && copy_service(j, up, e) < 0) || write_env(up, j, e) < 0 ||
	    make_links(up, j, &j->cart->managed.dependency_dirs, "dependencies", e) < 0 ||
	    make_links(up, j, &j->cart->managed.build_dependency_dirs, "build-dependencies", e) <
	        0 ||
	    make_locked(up, j, e) < 0)
		return -1;
	if (j->only_files)
		return add_base(j, up, e);
	if ((mkdir(ctl, 0755) < 0 && errno != EEXIST) || own(ctl, e) < 0)
		return e->code != 0 ? -1 : err_set(e, ERR_SYSTEM, NULL, "cannot make %s", ctl);
	return init_control_write(ctl, &idle, e);
}

static void
run_prepare(void *p)
{
	struct install_job *j = p;
	const char *id = strrchr(j->dir, '/') + 1;

	j->rc = gear_make_instance_dir(j->gear, id, &j->e);
	if (j->rc == 0)
		j->rc = prepare(j, &j->e);
	if (j->rc == 0 && j->only_files)
		j->rc = file_remove_tree(j->dir, &j->e);
}

/* New visible entries of the home are refused, as in v2; app-root is shared, and services'
 * directories are mounted. */
static int
check_home(const struct install_job *j, const char *up, struct err *e)
{
	DIR *d = opendir(up);
	const struct dirent *de;
	int rc = 0;

	while (rc == 0 && d != NULL && (de = readdir(d)) != NULL) {
		if (de->d_name[0] != '.' && strcmp(de->d_name, j->cart->cart.name) != 0 &&
		    strcmp(de->d_name, "app-root") != 0 && !str_list_has(&j->services, de->d_name))
			rc = err_set(e, ERR_INVALID, NULL,
			    "the cartridge made %s in the gear's home, which it may not",
			    de->d_name);
	}
	if (d != NULL)
		closedir(d);
	return rc;
}

static void
run_seal(void *p)
{
	struct install_job *j = p;
	AUTO(free) char *up = file_join(j->dir, "up");
	struct err ignored = { 0 };

	j->rc = check_home(j, up, &j->e);
	if (j->rc == 0)
		j->rc = add_base(j, up, &j->e);
	if (file_remove_tree(j->dir, &ignored) < 0)
		log_warn("configure_remains", LOG_STR("path", j->dir), LOG_ERR(&ignored));
}

static void
run_discard(void *p)
{
	struct install_job *j = p;
	struct err e = { 0 };

	if (file_remove_tree(j->dir, &e) < 0)
		log_warn("configure_remains", LOG_STR("path", j->dir), LOG_ERR(&e));
}

/* --- the loop's part --- */

static void
on_sealed(void *p)
{
	struct install_job *j = p;
	struct cart_install *i = j->install;
	struct err e = j->e;
	bool ok = j->rc == 0;

	i->job = NULL;
	job_free(j);
	finish(i, ok ? NULL : &e);
}

static void
on_out(const char *p, size_t n, void *arg)
{
	struct cart_install *i = arg;

	buf_add(&i->out, p, n);
	if (i->out.n > OUTPUT_MAX)
		buf_drop(&i->out, i->out.n - OUTPUT_MAX / 2);
}

static void
on_run_done(const char *step, int exit_code, const struct err *e, void *arg)
{
	struct cart_install *i = arg;
	struct err why;

	(void)exit_code;
	i->run = NULL;
	if (e == NULL) {
		i->job =
		    worker_submit(i->o.worker, run_seal, on_sealed, job_free, STEAL(i->job_data));
		return;
	}
	why = *e;
	if (i->out.n > 0) {
		size_t from = i->out.n > REASON_MAX ? i->out.n - REASON_MAX : 0;

		(void)err_set(&why, e->code, NULL, "configuring %s: %s: %s", i->cart->cart.name,
		    e->text, i->out.p + from);
	}
	log_warn("configure_failed", LOG_STR("gear", i->gear->spec.uuid),
	    LOG_STR("cartridge", i->cart->cart.name), LOG_STR("step", step == NULL ? "" : step),
	    LOG_ERR(&why));
	worker_submit(i->o.worker, run_discard, job_free, job_free, STEAL(i->job_data));
	finish(i, &why);
}

static void
add_script(struct cart_run_step_list *steps, const struct cart_dir_entry *c, const char *uuid,
    const char *script)
{
	AUTO_FINI(str_list_fini) struct str_list argv = { 0 };

	str_list_take(
	    &argv, xasprintf("/var/lib/openshift/%s/%s/bin/%s", uuid, c->cart.name, script));
	str_list_add(&argv, "--version");
	str_list_add(&argv, c->cart.version);
	cart_run_add(steps, script, &argv);
}

/* env/…erb, setup, the other templates, install. */
static void
list_steps(const struct cart_dir_entry *c, const char *uuid, struct cart_run_step_list *steps)
{
	static const char renderer[] = "/usr/lib/pinion/cart-templates";
	AUTO_FINI(str_list_fini) struct str_list env = { 0 };
	AUTO_FINI(str_list_fini) struct str_list rest = { 0 };

	str_list_add(&env, renderer);
	str_list_take(&env, xasprintf("%s/env/*.erb", c->cart.name));
	str_list_add(&rest, renderer);
	for (size_t i = 0; i < c->managed.processed_templates.n; i++)
		str_list_add(&rest, c->managed.processed_templates.v[i]);
	if (c->has_erb)
		cart_run_add(steps, "env templates", &env);
	if (c->has_setup)
		add_script(steps, c, uuid, "setup");
	if (rest.n > 1)
		cart_run_add(steps, "templates", &rest);
	if (c->has_install)
		add_script(steps, c, uuid, "install");
}

static void
fill_spec(const struct cart_install *i, const struct install_job *j, struct container_spec *s)
{
	AUTO_FINI(str_list_fini) struct str_list below = { 0 };
	AUTO(free) char *ctl = file_join(j->dir, "ctl");
	const struct gear *g = i->gear;

	s->id = xstrdup(i->id);
	s->gear = xstrdup(g->spec.uuid);
	s->uid_base = g->record.uid_base;
	if (!j->is_service)
		str_list_add(&s->lowers, j->codes.v[j->codes.n - 1]);
	for (size_t k = 0; k + 1 < j->codes.n; k++)
		str_list_add(&below, j->codes.v[k]);
	gear_add_lowers(g, &below, g->record.bases.n, s);
	s->upper = file_join(j->dir, "up");
	s->work = file_join(j->dir, "work");
	s->tmp = file_join(j->dir, "tmp");
	gear_add_binds(g, s);
	gear_bind_services(g, j->is_service ? i->cart->cart.name : NULL, s);
	container_spec_bind(s, ctl, "/run/pinion/ctl", false, true);
	s->limits = g->spec.limits;
	s->hostname = xstrdup(g->spec.gear_name);
	str_list_add(&s->args, "/run/pinion/init");
	str_list_add(&s->args, "/run/pinion/ctl");
	s->is_builder = true;
}

static struct cart_run *
start_run(struct cart_install *i, const struct install_job *j, struct err *e)
{
	AUTO_FINI(container_spec_fini) struct container_spec spec = { 0 };
	AUTO_FINI(cart_run_step_list_fini) struct cart_run_step_list steps = { 0 };
	AUTO_FINI(str_list_fini) struct str_list homes = { 0 };
	AUTO(free) char *env_dir = file_join(i->gear->dir, "env");
	AUTO(free)
	char *cwd = xasprintf("/var/lib/openshift/%s/%s", i->gear->spec.uuid, i->cart->cart.name);

	fill_spec(i, j, &spec);
	list_steps(i->cart, i->gear->spec.uuid, &steps);
	str_list_add(&homes, j->svc);
	str_list_add(&homes, spec.upper);
	for (size_t k = 0; k < spec.lowers.n; k++)
		str_list_add(&homes, spec.lowers.v[k]);
	const struct cart_run_opts o = { .loop = i->o.loop,
		.worker = i->o.worker,
		.containers = i->o.containers,
		.carts = j->carts,
		.carts_n = j->n,
		.spec = &spec,
		.steps = &steps,
		.gear = &i->gear->spec,
		.env_dir = env_dir,
		.homes = &homes,
		.acting = i->cart->cart.name,
		.cwd = cwd,
		.timeout_ms = TIMEOUT_MS };

	return cart_run_start(&o, on_out, on_run_done, i, e);
}

static void
on_prepared(void *p)
{
	struct install_job *j = p;
	struct cart_install *i = j->install;
	struct err e = j->e;

	i->job = NULL;
	if (j->rc < 0 || j->only_files) {
		bool ok = j->rc == 0;

		job_free(j);
		finish(i, ok ? NULL : &e);
		return;
	}
	i->job_data = j;
	i->run = start_run(i, j, &e);
	if (i->run == NULL)
		finish(i, &e);
}

struct cart_install *
cart_install_start(const struct cart_install_opts *o, struct gear *g, cart_install_fn *fn,
    void *arg, struct err *e)
{
	size_t n = g->record.bases.n;
	const struct cart_dir_entry *c =
	    n < g->spec.cartridges.n ? find_cart(o, &g->spec.cartridges.v[n]) : NULL;
	struct cart_install *i;
	struct install_job *j;
	AUTO(free) char *word = NULL;

	if (c == NULL) {
		(void)err_set(e, ERR_NOT_FOUND, "cartridges",
		    "this node does not have the cartridge %s %s",
		    n < g->spec.cartridges.n ? g->spec.cartridges.v[n].name : "",
		    n < g->spec.cartridges.n ? g->spec.cartridges.v[n].version : "");
		return NULL;
	}
	word = secret_random_hex(4);
	i = xcalloc(1, sizeof *i);
	*i = (struct cart_install){ .o = *o,
		.gear = g,
		.cart = c,
		.fn = fn,
		.arg = arg,
		.id = xasprintf("config-%s", word) };
	j = xcalloc(1, sizeof *j);
	*j = (struct install_job){ .install = i,
		.dirs = o->dirs,
		.gear = g,
		.cart = c,
		.n = n + 1,
		.uuid = xstrdup(g->spec.uuid),
		.dir = gear_instance_dir(g, i->id),
		.svc = file_join(g->dir, "svc"),
		.is_service = g->spec.cartridges.v[n].is_service,
		.only_files = !c->has_setup && !c->has_install && !c->has_erb };
	for (size_t k = 0; k < g->spec.cartridges.n; k++) {
		if (g->spec.cartridges.v[k].is_service)
			str_list_add(&j->services, g->spec.cartridges.v[k].name);
	}
	j->carts = xcalloc(n + 2, sizeof *j->carts);
	for (size_t k = 0; k < n; k++)
		j->carts[k] = find_cart(o, &g->spec.cartridges.v[k]);
	j->carts[n] = c;
	i->job = worker_submit(o->worker, run_prepare, on_prepared, job_free, j);
	return i;
}

void
cart_install_cancel(struct cart_install *take_i)
{
	if (take_i == NULL)
		return;
	worker_detach(take_i->job);
	cart_run_free(take_i->run);
	install_free(take_i);
}
