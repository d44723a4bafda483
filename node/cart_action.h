/* node/cart_action.h: command lines of cartridges' control actions with their hooks, for
 * container_enter and for PID 1. The work is done by small scripts of the stack
 * (/usr/lib/pinion/…), which run in the container as the gear's user. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/str.h"
#include "lib/wire/wire_gear.h"

struct cart_dir_entry;

/* Does the cartridge do anything for that action? Stock ones say so in their manifest
 * (`Pinion: Actions:`); others are always asked. */
bool cart_action_handles(const struct cart_dir_entry *c, const char *action);
/* `control ACTION` with the hooks pre_ACTION, post_ACTION (executed and sourced ones). */
void cart_action_argv(const struct cart_dir_entry *c, const char *action, struct str_list *out);
/* `control ACTION ARGS…` with its hooks, as an entry of a living instance. */
void cart_action_call_argv(const struct cart_dir_entry *c, const char *action,
    const struct str_list *args, struct str_list *out);
/* `hooks/HOOK ARGS…` of the cartridge; exit code 127: there is none. */
void cart_action_hook_argv(const struct cart_dir_entry *c, const char *hook,
    const struct str_list *args, struct str_list *out);
/* Is the application only started by its web cartridge, neither built nor deployed? So v2 did with
 * what a cartridge brings to begin with, unless its manifest says Install-Build-Required. */
bool cart_action_only_starts(const struct cart_dir_entry *web, bool is_template);
/* PID 1's start of a web instance: update-configuration, secondaries' start, deploy with its hook,
 * the primary's start. carts in configure order. A stock cartridge's server stays in the foreground
 * as this process; others leave daemons and exit 0. With i->is_restart those are asked to restart,
 * as in v2. */
void cart_action_start_argv(const struct cart_dir_entry *const *carts, size_t n,
    const struct wire_instance *i, struct str_list *out);
/* PID 1's start of a service's instance. */
void cart_action_service_argv(const struct cart_dir_entry *c, struct str_list *out);
/* In a living instance: what CTL/hot holds takes the place of the deployment that runs, but for
 * persistent paths; then update-configuration, deploy, post-deploy of the web cartridge. */
void cart_action_hot_argv(
    const struct cart_dir_entry *c, const struct wire_storage_list *keeps, struct str_list *out);
/* PID 1's stop: each cartridge's stop with its hooks, the primary first, the
 * others in reverse. */
void cart_action_stop_argv(
    const struct cart_dir_entry *const *carts, size_t n, struct str_list *out);
/* After readiness: post-deploy and its hook. */
void cart_action_post_deploy_argv(const struct cart_dir_entry *c, struct str_list *out);
/* Further to that: `post_install --version V` of a cartridge that was configured since. */
void cart_action_post_install_argv(const struct cart_dir_entry *c, struct str_list *out);
/* Is there anything for stop or post-deploy to do, given the application's layer (host path, or
 * NULL: unknown)? Saves an entry where there are neither hooks nor an action. Blocks shortly. */
bool cart_action_is_needed(
    const struct cart_dir_entry *c, const char *app_layer, const char *action);
/* The `release:` command of the Procfile, or that of a process type, in the repository directory.
 */
void cart_action_release_argv(const char *command, struct str_list *out);
