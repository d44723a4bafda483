#include "node/cart_action.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"

static const char runner[] = "/usr/lib/pinion/cart-action";

bool
cart_action_handles(const struct cart_dir_entry *c, const char *action)
{
	if (strcmp(action, "prepare") == 0) /* a hook of the build without a control action */
		return false;
	return !c->cart.pinion.is_given || str_list_has(&c->cart.pinion.actions, action);
}

/* "[-]ACTION:NAME:VERSION"; '-': the cartridge has nothing to do, its hooks still run. */
static void
add_step(const struct cart_dir_entry *c, const char *action, struct str_list *out)
{
	str_list_take(out, xasprintf("%s%s:%s:%s", cart_action_handles(c, action) ? "" : "-",
	                       action, c->cart.name, c->cart.version));
}

/* Whose environment the process gets: other cartridges' scripts add their own to it. */
static void
add_acting(const struct cart_dir_entry *c, struct str_list *out)
{
	str_list_add(out, "--acting");
	str_list_add(out, c->cart.name);
}

void
cart_action_argv(const struct cart_dir_entry *c, const char *action, struct str_list *out)
{
	str_list_add(out, runner);
	add_acting(c, out);
	add_step(c, action, out);
}

static void
add_args(const struct str_list *args, struct str_list *out)
{
	for (size_t i = 0; args != NULL && i < args->n; i++) {
		str_list_add(out, "--arg");
		str_list_add(out, args->v[i]);
	}
}

void
cart_action_call_argv(const struct cart_dir_entry *c, const char *action,
    const struct str_list *args, struct str_list *out)
{
	str_list_add(out, runner);
	add_acting(c, out);
	add_args(args, out);
	add_step(c, action, out);
}

void
cart_action_hook_argv(const struct cart_dir_entry *c, const char *hook, const struct str_list *args,
    struct str_list *out)
{
	str_list_add(out, runner);
	add_acting(c, out);
	add_args(args, out);
	str_list_add(out, "--hook");
	str_list_take(out, xasprintf("%s:%s:%s", hook, c->cart.name, c->cart.version));
}

static size_t
primary_of(const struct cart_dir_entry *const *carts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (wire_cart_is_web(&carts[i]->cart))
			return i;
	}
	return 0;
}

bool
cart_action_only_starts(const struct cart_dir_entry *web, bool is_template)
{
	return is_template && !web->cart.pinion.is_given && !web->cart.install_build_required;
}

static void
add_start(const struct cart_dir_entry *c, bool is_restart, struct str_list *out)
{
	add_step(c, is_restart && !c->cart.pinion.is_given ? "restart" : "start", out);
}

void
cart_action_start_argv(const struct cart_dir_entry *const *carts, size_t n,
    const struct wire_instance *i, struct str_list *out)
{
	size_t primary = primary_of(carts, n);
	bool deploys = n > 0 && !cart_action_only_starts(carts[primary], i->is_template);

	str_list_add(out, runner);
	str_list_add(out, "--exec");
	if (n == 0)
		return;
	add_acting(carts[primary], out);
	if (deploys && cart_action_handles(carts[primary], "update-configuration"))
		add_step(carts[primary], "update-configuration", out);
	for (size_t k = 0; k < n; k++) {
		if (k != primary)
			add_start(carts[k], i->is_restart, out);
	}
	if (deploys)
		add_step(carts[primary], "deploy", out);
	add_start(carts[primary], i->is_restart, out);
}

void
cart_action_service_argv(const struct cart_dir_entry *c, struct str_list *out)
{
	str_list_add(out, runner);
	str_list_add(out, "--exec");
	add_step(c, "start", out);
}

void
cart_action_stop_argv(const struct cart_dir_entry *const *carts, size_t n, struct str_list *out)
{
	size_t primary = primary_of(carts, n);

	str_list_add(out, runner);
	if (n == 0)
		return;
	add_acting(carts[primary], out);
	add_step(carts[primary], "stop", out);
	for (size_t i = n; i > 0; i--) {
		if (i - 1 != primary)
			add_step(carts[i - 1], "stop", out);
	}
}

void
cart_action_hot_argv(
    const struct cart_dir_entry *c, const struct wire_storage_list *keeps, struct str_list *out)
{
	str_list_add(out, "/usr/lib/pinion/hot-deploy");
	for (size_t i = 0; i < keeps->n; i++) {
		str_list_add(out, "--keep");
		str_list_take(out, wire_storage_place(&keeps->v[i]));
	}
	str_list_add(out, "--");
	add_acting(c, out);
	add_step(c, "update-configuration", out);
	add_step(c, "deploy", out);
	add_step(c, "post-deploy", out);
}

static void
begin_post(const struct cart_dir_entry *c, struct str_list *out)
{
	if (out->n > 0)
		return;
	str_list_add(out, runner);
	add_acting(c, out);
}

void
cart_action_post_deploy_argv(const struct cart_dir_entry *c, struct str_list *out)
{
	begin_post(c, out);
	add_step(c, "post-deploy", out);
}

void
cart_action_post_install_argv(const struct cart_dir_entry *c, struct str_list *out)
{
	begin_post(c, out);
	str_list_take(out, xasprintf("+post_install:%s:%s", c->cart.name, c->cart.version));
}

/* Hooks of an action in the application's layer: ACTION, pre_ACTION, post_ACTION and the sourced
 * ones with the cartridge's name. Those names begin alike. */
static bool
has_hooks(const struct cart_dir_entry *c, const char *app_layer, const char *action)
{
	static const char dir[] = "app-root/runtime/repo/.openshift/action_hooks";
	AUTO(file_close) int root = open(app_layer, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO(free) char *plain = xstrdup(action);
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };
	struct err ignored = { 0 };

	for (char *p = plain; *p != '\0'; p++)
		*p = *p == '-' ? '_' : *p;
	str_list_add(&names, plain);
	str_list_take(&names, xasprintf("pre_%s", plain));
	str_list_take(&names, xasprintf("post_%s", plain));
	str_list_take(&names, xasprintf("pre_%s_%s", action, c->cart.name));
	str_list_take(&names, xasprintf("post_%s_%s", action, c->cart.name));
	str_list_take(&names, xasprintf("pre_%s_%s-%s", action, c->cart.name, c->cart.version));
	str_list_take(&names, xasprintf("post_%s_%s-%s", action, c->cart.name, c->cart.version));
	for (size_t i = 0; root >= 0 && i < names.n; i++) {
		AUTO(free) char *rel = file_join(dir, names.v[i]);
		AUTO(file_close)
		int fd = file_open_beneath(root, rel, O_PATH | O_CLOEXEC, 0, &ignored);

		if (fd >= 0)
			return true;
	}
	return false;
}

bool
cart_action_is_needed(const struct cart_dir_entry *c, const char *app_layer, const char *action)
{
	return cart_action_handles(c, action) || app_layer == NULL ||
	       has_hooks(c, app_layer, action);
}

void
cart_action_release_argv(const char *command, struct str_list *out)
{
	str_list_add(out, "/bin/bash");
	str_list_add(out, "-c");
	str_list_take(out, xasprintf("cd \"$OPENSHIFT_REPO_DIR\" || exit 1; %s", command));
}
