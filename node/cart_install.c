#include "node/cart_install.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/cart/cart_dir.h"
#include "lib/cart/cart_needs.h"
#include "lib/cart/gear_ports.h"
#include "lib/loop/worker.h"
#include "lib/wire/wire_env.h"
#include "node/cart_code.h"
#include "node/cart_files.h"
#include "node/cart_merge.h"
#include "node/cart_message.h"
#include "node/cart_run.h"
#include "node/cart_store.h"
#include "node/container.h"
#include "node/gear.h"
#include "node/gear_env.h"
#include "node/init_control.h"
#include "node/net.h"
#include "node/node_dirs.h"
#include "node/resolver_link.h"
#include "node/tree_copy.h"

static const char run_prefix[] = "config-"; /* of the runs' ids */

enum {
	TIMEOUT_MS = 600 * 1000, /* of the scripts */
	TRIAL_S = 120,           /* and of the start of an upgraded service, at least */
	OUTPUT_MAX = 64 * 1024,
	REASON_MAX = 600,
};

/* Before and after the scripts: the worker's part. */
struct install_job {
	struct cart_install *install; /* for done only */
	enum cart_install_kind kind;
	const struct node_dirs *dirs;
	struct net *net;
	const char *resolver;
	struct gear gear;                    /* spec, record and dir owned: a copy */
	const struct cart_dir_entry *cart;   /* NULL: its code is not here */
	const struct cart_dir_entry **carts; /* owned array, as gear.spec.cartridges; NULLs in it */
	struct gear_cart now;                /* what is to be entered in the record */
	bool is_upgrade, is_compatible;
	bool is_return; /* to the release before the last upgrade: what that left is as it was */
	char *dir;      /* inst/<id>: {up,work/work,tmp}; owned */
	char *own;      /* of a service: directory that holds <Name>/; NULL: overlaid; owned */
	struct str_list codes;  /* code layers of carts */
	struct str_list lowers; /* of the home, top first */
	bool has_over;          /* dir/over hides something in the bases that are there */
	bool only_files;        /* no container: the base is made at once */
	struct err e;
};

struct cart_install {
	struct cart_install_opts o;
	struct gear *gear;
	struct install_job *job_data; /* between its two runs */
	struct worker_job *job;
	struct cart_run *run;
	char *id;
	struct buf out; /* last output, for the reason of a failure */
	struct cart_message said;
	struct err why;  /* it failed, and what it made is being removed */
	bool is_waiting; /* prepared: for the end of the service that is upgraded */
	cart_install_fn *fn;
	void *arg;
};

static void
job_free(void *p)
{
	struct install_job *j = p;

	wire_gear_fini(&j->gear.spec);
	gear_record_fini(&j->gear.record);
	gear_cart_fini(&j->now);
	free(j->gear.dir);
	free(j->carts);
	free(j->dir);
	free(j->own);
	str_list_fini(&j->codes);
	str_list_fini(&j->lowers);
	free(j);
}

/* The run's directory and network go; what is in the record stays. */
static void
run_discard(void *p)
{
	struct install_job *j = p;
	const char *id = strrchr(j->dir, '/') + 1;
	struct err e = { 0 };

	if (j->net != NULL && !j->only_files) {
		if (j->resolver != NULL && resolver_link_remove(j->resolver, id, &e) < 0)
			log_debug("configure_resolver", LOG_STR("container", id), LOG_ERR(&e));
		if (net_detach(j->net, id, &e) < 0)
			log_warn("configure_network", LOG_STR("container", id), LOG_ERR(&e));
	}
	if (file_remove_tree(j->dir, &e) < 0)
		log_warn("configure_remains", LOG_STR("path", j->dir), LOG_ERR(&e));
}

static void
install_free(struct cart_install *i)
{
	mem_set_str(&i->gear->upgrading, NULL);
	/* Once no worker and no container is in it. */
	if (i->job_data != NULL)
		worker_submit(i->o.worker, run_discard, job_free, job_free, i->job_data);
	buf_fini(&i->out);
	cart_message_fini(&i->said);
	free(i->id);
	free(i);
}

static void
finish(struct cart_install *i, const struct err *e)
{
	cart_message_end(&i->said, e == NULL);
	mem_set_str(&i->gear->upgrading, NULL);
	i->fn(e, &i->said, i->arg);
	install_free(i);
}

static void
on_discarded(void *p)
{
	struct install_job *j = p;
	struct cart_install *i = j->install;

	i->job = NULL;
	job_free(j);
	finish(i, &i->why);
}

/* First its room is given back: what starts again may need it. */
static void
give_up(struct cart_install *i, const struct err *e)
{
	i->why = *e;
	i->job =
	    worker_submit(i->o.worker, run_discard, on_discarded, job_free, STEAL(i->job_data));
}

/* --- the worker's part: before --- */

static struct cart_files
files_of(const struct install_job *j, const char *up)
{
	return (struct cart_files){ .cart = j->cart,
		.uuid = j->gear.spec.uuid,
		.gear_dir = j->gear.dir,
		.up = up,
		.own = j->own,
		.lowers = &j->lowers };
}

static int
find_code(struct install_job *j, struct err *e)
{
	for (size_t i = 0; i < j->gear.spec.cartridges.n; i++) {
		char *code =
		    j->carts[i] == NULL ? xstrdup("") : cart_code_layer(j->dirs, j->carts[i], e);

		if (code == NULL)
			return -1;
		str_list_take(&j->codes, code);
	}
	return 0;
}

/* A service's directory, to be written by the scripts: its code below the run's own directory; it
 * takes the place of svc/<Name> at the end. For an upgrade the code lies over what is there. */
static int
copy_own(struct install_job *j, const char *code, struct err *e)
{
	static const struct tree_copy_opts as_is = { 0 };
	AUTO(free) char *svc = file_join(j->gear.dir, "svc");
	AUTO(free) char *from_dir = file_join(code, j->cart->cart.name);
	AUTO(free) char *to_dir = NULL;
	AUTO(file_close) int from = -1;
	AUTO(file_close) int to = -1;

	if (j->kind == CART_TEARDOWN) {
		j->own = STEAL(svc);
		return 0;
	}
	if (j->is_upgrade) { /* there is much data in it */
		AUTO(free) char *up = file_join(j->dir, "up");

		return cart_merge_finish(&j->gear, e) < 0 ||
		               cart_merge_begin(j->cart, code, up, svc, j->is_compatible, e) < 0
		           ? -1
		           : gear_check_room(&j->gear, e);
	}
	j->own = file_join(j->dir, "svc");
	to_dir = file_join(j->own, j->cart->cart.name);
	if (file_mkdirs(to_dir, 0755, e) < 0)
		return -1;
	from = open(from_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	to = open(to_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0 || to < 0 || fchown(to, CONTAINER_UID, CONTAINER_UID) < 0)
		return err_set(
		    e, ERR_SYSTEM, NULL, "cannot copy the code of %s", j->cart->cart.name);
	return tree_copy(from, to, &as_is, e);
}

/* Between the new code and what older releases wrote: what setup makes anew does not show. */
static int
hide_rewritten(struct install_job *j, struct err *e)
{
	const struct gear_cart *before = gear_cart_find(&j->gear, j->now.name);
	AUTO(free) char *over = file_join(j->dir, "over");
	AUTO_FINI(str_list_fini) struct str_list below = { 0 };

	if (!j->is_upgrade || j->is_compatible || j->now.is_service || j->kind != CART_INSTALL)
		return 0;
	str_list_take(&below, xasprintf("%s/base/%s", j->gear.dir, before->base));
	for (size_t i = 0; i < before->older.n; i++)
		str_list_take(&below, xasprintf("%s/base/%s", j->gear.dir, before->older.v[i]));
	if (mkdir(over, 0755) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "make %s", over);
	for (size_t i = 0; i < below.n; i++) {
		if (cart_merge_hide(j->cart, over, below.v[i], e) < 0)
			return -1;
	}
	j->has_over = rmdir(over) < 0;
	return 0;
}

/* The upgrade of a service: its directory is a layer, which nobody writes. */
static bool
is_overlaid(const struct install_job *j)
{
	return j->is_upgrade && j->now.is_service && j->kind == CART_INSTALL;
}

static void
list_lowers(struct install_job *j, const char *code)
{
	AUTO_FINI(container_spec_fini) struct container_spec s = { 0 };
	const char *name = j->now.name;
	const struct gear_cart *before = gear_cart_find(&j->gear, name);

	if (is_overlaid(j))
		str_list_take(&j->lowers, file_join(j->gear.dir, "svc"));
	else if (j->own == NULL && j->kind == CART_INSTALL)
		str_list_add(&j->lowers, code);
	if (j->has_over)
		str_list_take(&j->lowers, file_join(j->dir, "over"));
	if (before != NULL && j->kind == CART_INSTALL) {
		str_list_take(&j->lowers, xasprintf("%s/base/%s", j->gear.dir, before->base));
		for (size_t i = 0; i < before->older.n; i++)
			str_list_take(
			    &j->lowers, xasprintf("%s/base/%s", j->gear.dir, before->older.v[i]));
	}
	gear_add_lowers(&j->gear, &j->codes, j->kind == CART_INSTALL ? name : NULL, &s);
	for (size_t i = 0; i < s.lowers.n; i++)
		str_list_add(&j->lowers, s.lowers.v[i]);
}

static int
attach_net(const struct install_job *j, const char *id, struct err *e)
{
	AUTO(file_close) int udp = -1;
	AUTO(file_close) int tcp = -1;
	struct net_link link;
	struct err quiet = { 0 };

	if (j->net == NULL)
		return 0;
	if (net_attach(j->net, id, j->gear.spec.app_id, j->gear.spec.limits.net_kbit, &link, e) < 0)
		return -1;
	if (j->resolver == NULL)
		return 0;
	udp = net_socket(j->net, id, SOCK_DGRAM, RESOLVER_ADDRESS, RESOLVER_PORT, &quiet);
	tcp = udp < 0
	          ? -1
	          : net_socket(j->net, id, SOCK_STREAM, RESOLVER_ADDRESS, RESOLVER_PORT, &quiet);
	const struct resolver_who who = { .instance = id,
		.app = j->gear.spec.app_id,
		.host = j->gear.spec.gear_name,
		.address = link.address };

	if (tcp < 0 || resolver_link_add(j->resolver, &who, udp, tcp, &quiet) < 0)
		log_warn("configure_resolver", LOG_STR("container", id), LOG_ERR(&quiet));
	return 0;
}

static int
sync_volume(const struct install_job *j, struct err *e)
{
	AUTO(file_close) int fd = open(j->gear.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || syncfs(fd) < 0 ? err_set(e, ERR_SYSTEM, NULL, "write the gear's disk") : 0;
}

/* It becomes a base of its own, above those that it hides. */
static int
move_over(struct install_job *j, struct err *e)
{
	AUTO(free) char *word = secret_random_hex(4);
	AUTO(free) char *name = xasprintf("%s.%s.over", j->now.name, word);
	AUTO(free) char *from = file_join(j->dir, "over");
	AUTO(free) char *to = xasprintf("%s/base/%s", j->gear.dir, name);

	if (!j->has_over)
		return 0;
	if (rename(from, to) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot move %s to %s", from, to);
	str_list_take(&j->now.older, STEAL(name));
	return 0;
}

/* Instances read and write a service's directory by its name: all at once, or not at all. */
static int
seal(struct install_job *j, const char *up, struct err *e)
{
	const struct gear_cart *before = gear_cart_find(&j->gear, j->now.name);
	AUTO(free) char *from = NULL;
	AUTO(free) char *to = xasprintf("%s/svc/%s", j->gear.dir, j->now.name);

	if (before != NULL && before->older.n + 2 > GEAR_OLDER_MAX)
		return err_set(e, ERR_LIMIT, "cartridges",
		    "%s was upgraded %zu times in this gear: remove it and add it anew",
		    j->now.name, before->older.n);
	if (move_over(j, e) < 0)
		return -1;
	if (before != NULL) {
		j->now.was_ident = xstrdup(before->ident);
		j->now.was_digest = xstrdup_null(before->digest);
		j->now.was_at = (int64_t)j->now.older.n;
		str_list_add(&j->now.older, before->base);
		for (size_t i = 0; i < before->older.n; i++)
			str_list_add(&j->now.older, before->older.v[i]);
	}
	if (j->own != NULL && before == NULL) {
		from = file_join(j->own, j->now.name);
		if (file_remove_tree(to, e) < 0)
			return -1;
		if (rename(from, to) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot move %s to %s", from, to);
		fault_point("cart_service_moved");
	}
	if (is_overlaid(j) && sync_volume(j, e) < 0)
		return -1;
	if (gear_add_base(&j->gear, up, &j->now, e) < 0)
		return -1;
	fault_point("cart_base_added");
	return is_overlaid(j) ? cart_merge_finish(&j->gear, e) : 0;
}

/* What the scripts have made of the template, which cart-beginning has put aside in /tmp:
 * files, directories and links alone. */
static int
keep_template(struct install_job *j, struct err *e)
{
	static const struct tree_copy_opts as_is = { 0 };
	AUTO(free) char *aside = file_join(j->dir, "tmp/beginning");
	AUTO(free) char *dir = gear_template_dir(&j->gear);
	AUTO(file_close)
	int from = open(aside, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO(file_close) int to = -1;

	if (from < 0)
		return 0;
	if (file_remove_tree(dir, e) < 0 || file_mkdirs(dir, 0700, e) < 0)
		return -1;
	to = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (to < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", dir);
	return tree_copy(from, to, &as_is, e);
}

static int
check_and_seal(struct install_job *j, struct err *e)
{
	AUTO(free) char *up = file_join(j->dir, "up");
	AUTO_FINI(str_list_fini) struct str_list others = { 0 };
	const struct cart_files f = files_of(j, up);

	for (size_t i = 0; i < j->gear.spec.cartridges.n; i++)
		str_list_add(&others, j->gear.spec.cartridges.v[i].name);
	/* on a disk that the scripts have filled nothing would start */
	if (gear_check_room(&j->gear, e) < 0 || cart_files_check(&f, &others, e) < 0 ||
	    cart_files_lock(&f, e) < 0 || keep_template(j, e) < 0)
		return -1;
	return seal(j, up, e);
}

static int
prepare(struct install_job *j, const char *id, struct err *e)
{
	AUTO(free) char *up = file_join(j->dir, "up");
	AUTO(free) char *ctl = file_join(j->dir, "ctl");
	AUTO(free) char *code = NULL;
	const struct init_settings idle = { 0 };
	struct cart_files f;

	if (gear_make_instance_dir(&j->gear, id, e) < 0 || find_code(j, e) < 0)
		return -1;
	code = cart_code_layer(j->dirs, j->cart, e);
	if (code == NULL || (j->now.is_service && copy_own(j, code, e) < 0) ||
	    hide_rewritten(j, e) < 0)
		return -1;
	list_lowers(j, code);
	f = files_of(j, up);
	if (cart_files_unlock(&f, e) < 0)
		return -1;
	if (j->only_files)
		return check_and_seal(j, e);
	if (attach_net(j, id, e) < 0)
		return -1;
	return init_control_write(ctl, &idle, e);
}

/* The bases of the release that is left lie on top of those of the one before. */
static void
go_back(struct install_job *j)
{
	struct gear_cart *c = gear_cart_find(&j->gear, j->now.name);
	struct str_list older = { 0 };
	size_t at = (size_t)c->was_at;

	mem_set_str(&c->ident, j->now.ident);
	mem_set_str(&c->digest, j->now.digest);
	mem_set_str(&c->base, c->older.v[at]);
	for (size_t i = at + 1; i < c->older.n; i++)
		str_list_add(&older, c->older.v[i]);
	str_list_fini(&c->older);
	c->older = older;
	mem_set_str(&c->was_ident, NULL);
	mem_set_str(&c->was_digest, NULL);
	if (gear_save(&j->gear, &j->e) == 0)
		fault_point("cart_gone_back");
}

static void
run_prepare(void *p)
{
	struct install_job *j = p;
	const char *id = strrchr(j->dir, '/') + 1;

	if (j->kind == CART_INSTALL && cart_needs_check(&j->cart->cart, &j->e) < 0) {
		(void)err_wrap(
		    &j->e, "this node cannot run %s %s", j->cart->cart.name, j->cart->cart.version);
		return;
	}
	if (j->is_return) {
		go_back(j);
		return;
	}
	if (prepare(j, id, &j->e) < 0)
		return;
	fault_point("cart_prepared");
	if (j->only_files)
		run_discard(j);
}

/* --- the worker's part: after --- */

static void
run_seal(void *p)
{
	struct install_job *j = p;

	fault_point("cart_ran");
	if (check_and_seal(j, &j->e) == 0)
		fault_point("cart_sealed");
	run_discard(j);
}

/* What a cartridge that goes leaves: a service's data, its published values, its name in the
 * record.
 */
static void
run_drop(void *p)
{
	struct install_job *j = p;
	AUTO(free) char *svc = xasprintf("%s/svc/%s", j->gear.dir, j->now.name);
	AUTO(free) char *env = xasprintf("%s/env/%s", j->gear.dir, j->now.name);

	if (gear_drop_cart(&j->gear, j->now.name, &j->e) == 0) {
		fault_point("cart_dropped");
		if (file_remove_tree(env, &j->e) < 0 ||
		    (j->now.is_service && file_remove_tree(svc, &j->e) < 0))
			log_warn("cartridge_remains", LOG_STR("gear", j->gear.record.uuid),
			    LOG_ERR(&j->e));
	}
	if (!j->only_files)
		run_discard(j);
}

/* --- the loop's part --- */

static void
on_sealed(void *p)
{
	struct install_job *j = p;
	struct cart_install *i = j->install;
	struct err e = j->e;

	i->job = NULL;
	if (e.code == ERR_NONE) {
		struct gear_cart_list old = i->gear->record.carts;

		for (size_t k = 0; k < old.n; k++) { /* what ran meanwhile */
			struct gear_cart *c = gear_cart_find(&j->gear, old.v[k].name);

			if (c != NULL && old.v[k].is_installed)
				c->is_installed = true;
		}
		i->gear->record.carts = j->gear.record.carts;
		j->gear.record.carts = old;
	}
	job_free(j);
	finish(i, e.code == ERR_NONE ? NULL : &e);
}

static void
on_out(const char *p, size_t n, void *arg)
{
	struct cart_install *i = arg;

	cart_message_feed(&i->said, p, n);
	buf_add(&i->out, p, n);
	if (i->out.n > OUTPUT_MAX)
		buf_drop(&i->out, i->out.n - OUTPUT_MAX / 2);
}

/* What an upgrade does not say anew stays as `install` said it. */
static void
keep_said(struct install_job *j, const struct cart_message *m)
{
	const struct gear_cart *before = gear_cart_find(&j->gear, j->now.name);

	str_list_copy(&j->now.messages, &m->lines);
	codec_copy(&wire_asks_codec, &j->now.asks, &m->asks);
	for (size_t k = 0; k < m->properties.n; k++)
		codec_copy(&wire_var_codec, codec_list_add(&wire_var_codec, &j->now.properties),
		    &m->properties.v[k]);
	for (size_t k = 0; j->is_upgrade && k < before->properties.n; k++) {
		const struct wire_var *v = &before->properties.v[k];

		if (wire_env_get(&m->properties, v->name) == NULL)
			codec_copy(&wire_var_codec,
			    codec_list_add(&wire_var_codec, &j->now.properties), v);
	}
}

static void
on_run_done(const char *step, int exit_code, const struct err *e, void *arg)
{
	struct cart_install *i = arg;
	struct install_job *j = i->job_data;
	struct err why;

	(void)exit_code;
	i->run = NULL;
	cart_message_end(&i->said, e == NULL);
	if (e != NULL && j->kind == CART_TEARDOWN)
		log_warn("teardown_failed", LOG_STR("gear", i->gear->record.uuid),
		    LOG_STR("cartridge", j->now.name), LOG_ERR(e));
	if (e == NULL || j->kind == CART_TEARDOWN) {
		keep_said(j, &i->said);
		i->job_data = NULL;
		i->job = worker_submit(i->o.worker, j->kind == CART_TEARDOWN ? run_drop : run_seal,
		    on_sealed, job_free, j);
		return;
	}
	why = *e;
	if (i->out.n > 0) {
		size_t from = i->out.n > REASON_MAX ? i->out.n - REASON_MAX : 0;

		(void)err_set(&why, e->code, NULL, "configuring %s: %s: %s", j->now.name, e->text,
		    i->out.p + from);
	}
	log_warn("configure_failed", LOG_STR("gear", i->gear->record.uuid),
	    LOG_STR("cartridge", j->now.name), LOG_STR("step", step == NULL ? "" : step),
	    LOG_ERR(&why));
	give_up(i, &why);
}

static void
add_script(struct cart_run_step_list *steps, const struct install_job *j, const char *script,
    const char *const *args)
{
	AUTO_FINI(str_list_fini) struct str_list argv = { 0 };

	str_list_take(&argv,
	    xasprintf("/var/lib/openshift/%s/%s/bin/%s", j->gear.spec.uuid, j->now.name, script));
	for (size_t i = 0; args[i] != NULL; i++)
		str_list_add(&argv, args[i]);
	cart_run_add(steps, script, &argv);
}

/* bin/upgrade SOFTWARE-VERSION OLD NEW. */
static void
add_upgrade(struct cart_run_step_list *steps, const struct install_job *j)
{
	const struct gear_cart *before = gear_cart_find(&j->gear, j->now.name);
	const char *old = before == NULL ? NULL : strrchr(before->ident, ':');
	const char *const args[] = { j->cart->cart.version, old == NULL ? "" : old + 1,
		j->cart->cart.cart_version, NULL };

	if (j->cart->has_upgrade)
		add_script(steps, j, "upgrade", args);
}

/* Longest that its instance would get. */
static int64_t
trial_s(const struct install_job *j)
{
	int64_t s = wire_env_seconds(&j->gear.spec.env, WIRE_ENV_START_TIMEOUT, 0);

	return s > TRIAL_S ? s : TRIAL_S;
}

/* A service that stops for its upgrade has to start in the new release, over data that it does not
 * change yet, or the old one goes on. */
static void
add_trial(struct cart_run_step_list *steps, const struct install_job *j)
{
	AUTO_FINI(gear_ports_fini) struct gear_port_list ports = { 0 };
	AUTO_FINI(str_list_fini) struct str_list argv = { 0 };
	AUTO(free) char *at = xstrdup("-");

	gear_ports_list(j->carts, j->gear.spec.cartridges.n, &ports);
	for (size_t i = ports.n; i > 0; i--) {
		const struct gear_port *p = &ports.v[i - 1];

		if (j->carts[p->cart] != j->cart)
			continue;
		free(at);
		at = xasprintf("%s:%d", p->ip, p->port);
	}
	str_list_add(&argv, "/usr/lib/pinion/cart-trial");
	str_list_take(&argv, xasprintf("%s:%s", j->now.name, j->cart->cart.version));
	str_list_add(&argv, at);
	str_list_take(&argv, xasprintf("%" PRId64, trial_s(j)));
	cart_run_add(steps, "start", &argv);
}

/* env/…erb, setup, the other templates, install. */
static void
list_steps(const struct install_job *j, struct cart_run_step_list *steps)
{
	static const char renderer[] = "/usr/lib/pinion/cart-templates";
	const struct cart_dir_entry *c = j->cart;
	const char *const version[] = { "--version", c->cart.version, NULL };
	const char *const none[] = { NULL };
	AUTO_FINI(str_list_fini) struct str_list env = { 0 };
	AUTO_FINI(str_list_fini) struct str_list rest = { 0 };

	if (j->kind == CART_TEARDOWN) {
		add_script(steps, j, "teardown", none);
		return;
	}
	str_list_add(&env, renderer);
	if (j->is_compatible)
		str_list_add(&env, "--drop"); /* as v2: what is rendered stays, its source goes */
	str_list_copy(&rest, &env);
	str_list_take(&env, xasprintf("%s/env/*.erb", c->cart.name));
	for (size_t i = 0; i < c->managed.processed_templates.n; i++)
		str_list_add(&rest, c->managed.processed_templates.v[i]);
	if (j->is_compatible) {
		cart_run_add(steps, "env templates", &env);
		if (c->managed.processed_templates.n > 0)
			cart_run_add(steps, "templates", &rest);
		add_upgrade(steps, j);
		return;
	}
	if (j->is_upgrade)
		add_upgrade(steps, j);
	if (c->has_erb)
		cart_run_add(steps, "env templates", &env);
	if (c->has_setup)
		add_script(steps, j, "setup", version);
	if (c->managed.processed_templates.n > 0)
		cart_run_add(steps, "templates", &rest);
	if (c->has_install && !j->is_upgrade)
		add_script(steps, j, "install", version);
	if (is_overlaid(j))
		add_trial(steps, j);
	if (wire_cart_is_web(&c->cart) && !c->cart.pinion.is_given && !j->is_upgrade) {
		AUTO_FINI(str_list_fini) struct str_list argv = { 0 };

		str_list_add(&argv, "/usr/lib/pinion/cart-beginning");
		str_list_add(&argv, c->cart.name);
		cart_run_add(steps, "template", &argv);
	}
}

static void
fill_spec(const struct cart_install *i, const struct install_job *j, struct container_spec *s)
{
	AUTO(free) char *ctl = file_join(j->dir, "ctl");
	const struct gear *g = &j->gear;

	s->id = xstrdup(i->id);
	s->gear = xstrdup(g->spec.uuid);
	s->uid_base = g->record.uid_base;
	str_list_copy(&s->lowers, &j->lowers);
	s->upper = file_join(j->dir, "up");
	s->work = file_join(j->dir, "work");
	s->tmp = file_join(j->dir, "tmp");
	gear_add_binds(g, s);
	gear_bind_services(g, j->now.name, is_overlaid(j) ? j->now.name : NULL, s);
	if (j->own != NULL && gear_cart_find(g, j->now.name) == NULL) {
		AUTO(free) char *from = file_join(j->own, j->now.name);
		AUTO(free) char *to = xasprintf("~/%s", j->now.name);

		container_spec_bind(s, from, to, false, true);
	}
	container_spec_bind(s, ctl, "/run/pinion/ctl", false, true);
	s->netns = j->net == NULL ? NULL : net_ns_path(j->net, i->id);
	codec_copy(&wire_limits_codec, &s->limits, &g->spec.limits);
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
	AUTO(free) char *env_dir = file_join(j->gear.dir, "env");
	AUTO(free)
	char *cwd = xasprintf("/var/lib/openshift/%s/%s", j->gear.spec.uuid, j->now.name);

	fill_spec(i, j, &spec);
	list_steps(j, &steps);
	if (j->own != NULL)
		str_list_add(&homes, j->own);
	str_list_add(&homes, spec.upper);
	str_list_take(&homes, file_join(j->gear.dir, "svc"));
	for (size_t k = 0; k < spec.lowers.n; k++)
		str_list_add(&homes, spec.lowers.v[k]);
	const struct cart_run_opts o = { .loop = i->o.loop,
		.worker = i->o.worker,
		.containers = i->o.containers,
		.carts = j->carts,
		.carts_n = j->gear.spec.cartridges.n,
		.spec = &spec,
		.steps = &steps,
		.gear = &j->gear.spec,
		.env_dir = env_dir,
		.homes = &homes,
		.acting = j->now.name,
		.cwd = cwd,
		.timeout_ms = TIMEOUT_MS + trial_s(j) * 1000 };

	return cart_run_start(&o, on_out, on_run_done, i, e);
}

static void
begin_run(struct cart_install *i)
{
	struct err e = { 0 };

	i->run = start_run(i, i->job_data, &e);
	if (i->run == NULL)
		give_up(i, &e);
}

static void
on_prepared(void *p)
{
	struct install_job *j = p;
	struct cart_install *i = j->install;
	struct err e = j->e;

	if (j->only_files && e.code == ERR_NONE) {
		on_sealed(j);
		return;
	}
	i->job = NULL;
	i->job_data = j;
	if (e.code != ERR_NONE) {
		give_up(i, &e);
		return;
	}
	if (is_overlaid(j) && !j->is_compatible) {
		mem_set_str(&i->gear->upgrading, j->now.name);
		i->is_waiting = !i->o.stop_service(i->gear, i->o.arg);
	}
	if (!i->is_waiting)
		begin_run(i);
}

void
cart_install_go_on(struct cart_install *i)
{
	if (!i->is_waiting)
		return;
	i->is_waiting = false;
	begin_run(i);
}

/* --- start --- */

/* The gear as the scripts find it: with the cartridge, which is not in the spec of one that goes.
 */
static void
copy_gear(struct install_job *j, const struct gear *g, const struct wire_gear_cart *c)
{
	codec_copy(&wire_gear_codec, &j->gear.spec, &g->spec);
	codec_copy(&gear_record_codec, &j->gear.record, &g->record);
	j->gear.dir = xstrdup(g->dir);
	if (wire_gear_find(&g->spec.cartridges, c->name) == NULL)
		codec_copy(&wire_gear_cart_codec,
		    codec_list_add(&wire_gear_cart_codec, &j->gear.spec.cartridges), c);
}

/* Those that are configured already, and the one that is to be. */
static void
find_carts(struct install_job *j, struct cart_store *s)
{
	const struct wire_gear_cart_list *l = &j->gear.spec.cartridges;

	j->carts = xcalloc(l->n + 1, sizeof *j->carts);
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].name, j->now.name) == 0)
			j->carts[i] = j->cart;
		else if (gear_cart_find(&j->gear, l->v[i].name) != NULL)
			j->carts[i] = cart_store_find(s, &l->v[i]);
	}
}

/* Not of a service: its data have been written to since. */
static bool
is_return(const struct gear_cart *before, const struct gear_cart *to)
{
	return before != NULL && !before->is_service && before->was_ident != NULL &&
	       strcmp(before->was_ident, to->ident) == 0 &&
	       strcmp(before->was_digest == NULL ? "" : before->was_digest,
	           to->digest == NULL ? "" : to->digest) == 0 &&
	       (size_t)before->was_at < before->older.n;
}

static void
describe(struct install_job *j, const struct wire_gear_cart *c, const struct gear_cart *before)
{
	const struct cart_dir_entry *x = j->cart;
	const char *old = before == NULL ? NULL : strrchr(before->ident, ':');

	j->now.name = xstrdup(c->name);
	j->now.ident = gear_cart_ident(c, x == NULL ? NULL : x->cart.cart_vendor);
	j->now.digest = xstrdup_null(c->digest);
	j->now.short_name = xstrdup(x == NULL ? "" : x->cart.short_name);
	j->now.base = xstrdup("");
	j->now.is_service = before != NULL ? before->is_service : c->is_service;
	/* What is not stock may tell its user something when it first starts. */
	j->now.is_installed =
	    x == NULL || before != NULL || (!x->has_post_install && x->cart.pinion.is_given);
	if (j->kind == CART_TEARDOWN) {
		j->only_files = x == NULL || !x->has_teardown;
		return;
	}
	j->is_upgrade = before != NULL;
	j->is_return = is_return(before, &j->now);
	j->is_compatible = old != NULL && str_list_has(&x->cart.compatible_versions, old + 1);
	j->only_files =
	    j->is_return || (!x->has_setup && !x->has_install && !x->has_erb && !j->is_upgrade);
}

struct cart_install *
cart_install_start(const struct cart_install_opts *o, enum cart_install_kind kind, struct gear *g,
    const struct wire_gear_cart *c, cart_install_fn *fn, void *arg, struct err *e)
{
	const struct cart_dir_entry *x = cart_store_find(o->carts, c);
	AUTO(free) char *word = secret_random_hex(4);
	struct cart_install *i;
	struct install_job *j;

	if (x == NULL && kind == CART_INSTALL) {
		(void)err_set(e, ERR_NOT_FOUND, "cartridges",
		    "this node does not have the cartridge %s %s", c->name, c->version);
		return NULL;
	}
	i = xcalloc(1, sizeof *i);
	*i = (struct cart_install){
		.o = *o, .gear = g, .fn = fn, .arg = arg, .id = xasprintf("%s%s", run_prefix, word)
	};
	j = xcalloc(1, sizeof *j);
	*j = (struct install_job){ .install = i,
		.kind = kind,
		.dirs = o->dirs,
		.net = x != NULL && x->cart.pinion.is_given ? NULL : o->net,
		.resolver = o->resolver,
		.cart = x,
		.dir = gear_instance_dir(g, i->id) };
	copy_gear(j, g, c);
	describe(j, c, gear_cart_find(g, c->name));
	find_carts(j, o->carts);
	i->job = worker_submit(o->worker,
	    kind == CART_TEARDOWN && j->only_files ? run_drop : run_prepare,
	    kind == CART_TEARDOWN && j->only_files ? on_sealed : on_prepared, job_free, j);
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

void
cart_install_forget(const char *gear_dir)
{
	AUTO(free) char *inst = file_join(gear_dir, "inst");
	AUTO_FINI(str_list_fini) struct str_list left = { 0 };
	DIR *d = opendir(inst);
	const struct dirent *de;
	struct err e = { 0 };

	while (d != NULL && (de = readdir(d)) != NULL) {
		if (str_has_prefix(de->d_name, run_prefix))
			str_list_take(&left, file_join(inst, de->d_name));
	}
	if (d != NULL)
		(void)closedir(d);
	for (size_t i = 0; i < left.n; i++) {
		if (file_remove_tree(left.v[i], &e) < 0)
			log_warn("configure_remains", LOG_STR("path", left.v[i]), LOG_ERR(&e));
	}
}
