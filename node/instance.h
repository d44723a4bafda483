/* node/instance.h: the instances of this node: each a container of a gear for one deployment, kept
 * as the broker wants it. One state machine an instance (instance_set_state), on the loop; what
 * blocks runs on workers. Instances live on when the daemon ends and are adopted by the next. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/loop/child.h"
#include "lib/wire/wire_gear.h"

struct cart_store;
struct container_entry;
struct container_host;
struct gear;
struct gear_table;
struct http_client;
struct instance;
struct instances;
struct layer_fetch_opts;
struct limits;
struct loop;
struct net;
struct node_dirs;
struct peer_table;
struct worker;

/* Its status has changed. */
typedef void instances_fn(const struct wire_instance_status *st, void *arg);

struct gear_repos;
struct instances_opts { /* all borrowed for its life */
	struct loop *loop;
	struct worker *worker;
	struct container_host *containers;
	const struct node_dirs *dirs;
	const struct limits *limits;
	struct cart_store *carts;
	struct gear_table *gears;
	struct net *net;
	const char *resolver; /* socket of pinion-resolver; NULL: none */
	const struct peer_table *peers;
	struct http_client *http;
	const struct layer_fetch_opts *fetch;
	struct gear_repos *repos;
	instances_fn *on_change;
	void *arg;
};

/* Blocks: looks for what an earlier daemon left running. */
struct instances *instances_open(const struct instances_opts *o, struct err *e) MUST_CHECK;
void instances_close(struct instances *take_is); /* containers run on */

void instances_apply(struct instances *is, const struct wire_instance *spec);
/* The broker no longer names it: what is left of it is removed, then it is forgotten. */
void instances_forget(struct instances *is, const char *id);
/* Its gear's state has changed. */
void instances_gear_changed(struct instances *is, const struct gear *g);
/* What is on other nodes of an application has changed. */
void instances_peers_changed(struct instances *is, const char *app_id);
/* After a full sync: what an earlier daemon left and nobody wants is removed. */
void instances_sweep(struct instances *is);
/* Stops all for the end of the node; done is called once when nothing runs any more. */
typedef void instances_done_fn(void *arg);
void instances_stop_all(struct instances *is, instances_done_fn *done, void *arg);

/* Wakes what this node has of an application, its services first: thaws it, or starts it. order:
 * the order to sleep that ends (and those before it); 0: the present one. true: all is awake. Else
 * fn tells (may be NULL) once, later: e ERR_BUSY: not within ms; ERR_SYSTEM: a start failed. */
typedef void instances_woken_fn(const struct err *e, void *arg);
struct instances_wait;
bool instances_wake(struct instances *is, const char *app_id, int64_t order);
/* Thaws what is frozen of one gear, at once: before anything of it is entered. */
void instances_thaw(struct instances *is, const char *gear);
struct instances_wait *instances_wait_awake(
    struct instances *is, const char *app_id, int64_t ms, instances_woken_fn *fn, void *arg);
void instances_wait_cancel(struct instances_wait *take_w); /* before fn; NULL is fine */

/* One that has a network. */
struct instances_host {
	const char *id, *app, *gear, *address;
	int port;
	bool is_ready;
	bool is_web;
	bool was_asleep; /* was put to sleep, once */
};
typedef void instances_host_fn(const struct instances_host *host, void *arg);
void instances_hosts(const struct instances *is, instances_host_fn *fn, void *arg);
/* false: of some it is still looked for what an earlier daemon left running. */
bool instances_are_known(const struct instances *is);
/* Digests of the layers that instances use; appended. There may be others of containers that are
 * not known yet. */
void instances_layers(const struct instances *is, struct str_list *out);
/* Does anything run, or may it, of the gear's service cartridge cart? */
bool instances_serve(const struct instances *is, const char *gear, const char *cart);

/* Where a command is to run: cart NULL: for the gear's web cartridges, else for that service
 * cartridge. The newest ready instance, or the newest that lives. Borrowed; NULL: none lives. */
const char *instances_pick(const struct instances *is, const char *gear, const char *cart);
/* Ready, and neither asleep nor about to be: work of the platform's own wakes none. */
bool instances_is_awake(const struct instances *is, const char *id);
/* container_enter by name. ERR_NOT_FOUND: it does not run. */
struct child *instances_enter(struct instances *is, const char *id,
    const struct container_entry *entry, child_out_fn *on_out, child_end_fn *on_end, void *arg,
    struct err *e) MUST_CHECK;
