/* node/cart_run.h: a short container that runs some commands of a cartridge one after the other,
 * each with the environment as it is then, and is gone afterwards. Used for configuring and
 * building. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/wire/wire_gear.h"
#include "node/container.h"

struct cart_dir_entry;
struct cart_run;
struct loop;
struct worker;

struct cart_run_step {
	char *name; /* "pre-build": for messages */
	struct str_list argv;
};
struct cart_run_step_list {
	struct cart_run_step *v; /* owned, with all in it */
	size_t n;
};
/* Appends a step with this argv, which is copied. */
void cart_run_add(struct cart_run_step_list *l, const char *name, const struct str_list *argv);
void cart_run_step_list_fini(struct cart_run_step_list *l);

struct cart_run_opts {     /* copied, but what is said to be borrowed */
	struct loop *loop; /* borrowed for the run's life, as the next four */
	struct worker *worker;
	struct container_host *containers;
	const struct cart_dir_entry *const
	    *carts; /* the array is copied, the entries are borrowed */
	size_t carts_n;
	const struct container_spec *spec;
	const struct cart_run_step_list *steps;
	const struct wire_gear *gear;
	const char *env_dir;          /* .env of the gear */
	const struct str_list *homes; /* layers for gear_env, top first, the upper among them */
	const char *acting;           /* the cartridge */
	const struct str_list *extra; /* "K=V" on top of the environment; NULL: none */
	const char *cwd;              /* in the container; NULL: the home */
	int64_t timeout_ms;           /* of all steps; 0: none */
};

/* Output, borrowed for the call. */
typedef void cart_run_out_fn(const char *p, size_t n, void *arg);
/* The container is gone. e NULL: all steps ended with 0. step: the one that failed, or NULL;
 * exit_code: its own. The run is gone when this returns. */
typedef void cart_run_done_fn(const char *step, int exit_code, const struct err *e, void *arg);

struct cart_run *cart_run_start(const struct cart_run_opts *o, cart_run_out_fn *on_out,
    cart_run_done_fn *done, void *arg, struct err *e) MUST_CHECK;
/* Stops reading output: the processes wait. */
void cart_run_pause(struct cart_run *r, bool paused);
/* Kills it; done comes with that error once all is gone. */
void cart_run_abort(struct cart_run *r, const struct err *why);
/* Forgets it: killed and removed in the background, done is not called. NULL is fine. */
void cart_run_free(struct cart_run *take_r);
