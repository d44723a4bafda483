/* node/instance_state.h: inside of the instance modules: instance.c (states), instance_prepare.c
 * (what must be there before a start, and be gone after an end), instance_probe.c (is it ready?).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "lib/http/http_client.h"
#include "lib/wire/wire_gear.h"
#include "node/gear_act.h"
#include "node/init_control.h"
#include "node/instance.h"
#include "node/net.h"
#include "node/net_nat.h"

struct child;
struct container;
struct container_spec;
struct instances;
struct layer_fetch;
struct loop_timer;
struct worker_job;

/* What is under way: one thing at a time; its end calls the function named in the part below. */
enum instance_step {
	STEP_IDLE,    /* nothing; state says why */
	STEP_ADOPT,   /* looking for a living container */
	STEP_FETCH,   /* layers from another node */
	STEP_PREPARE, /* directories, network, settings: worker */
	STEP_START,   /* container */
	STEP_RELEASE, /* release command, in a container that does nothing else */
	STEP_PROBE,   /* waiting for the endpoint */
	STEP_POST,    /* post-deploy */
	STEP_RUN,     /* ready */
	STEP_STOP,    /* SIGTERM sent */
	STEP_FAIL,    /* collecting the last lines: worker */
	STEP_CLEAN,   /* container */
	STEP_REMOVE,  /* network, directories: worker */
	STEP_BACKOFF, /* waiting to start again */
};

struct instance_hot;
struct instance_live;

struct instance {
	struct instances *table;
	struct instance *app_next, *app_prev; /* of the same application */
	struct wire_instance spec;
	struct wire_instance_status status;
	char *output;      /* owned: of a release command that failed */
	struct gear *gear; /* held, or NULL */
	enum instance_step step;
	bool is_forgotten; /* unknown to the broker: remove, then forget */
	bool is_stopping_node;
	bool was_ready;    /* once: a crash is started again for ever */
	bool is_releasing; /* the container now is the release command's */
	bool has_released;
	bool is_failing;           /* a reason is set; cleaning follows */
	bool has_remains;          /* something of it may be there */
	bool has_ended;            /* PID 1 ended while a job was under way */
	bool is_late;              /* the start limit passed while a job was under way */
	bool was_adopted;          /* runs since before this daemon */
	struct wire_limits limits; /* in force in its container */
	bool must_check;           /* an earlier daemon may have left something of it */
	struct net_link link;
	struct net_nat nat; /* what is set in its namespace, if has_nat */
	bool has_nat;
	int64_t nat_run; /* begun_us of the run that nat_job is for */
	struct worker_job *nat_job;
	struct container *container;
	struct worker_job *job;
	struct child *child;
	struct http_call *call;
	struct layer_fetch *fetch;
	struct str_list env;      /* of hooks and the release command, until it is ready */
	struct str_list post;     /* argv of what is to run before it serves; empty: nothing */
	struct str_list installs; /* cartridges whose post_install is in it */
	struct loop_timer *timer; /* of the step */
	struct loop_timer *limit; /* start timeout */
	int64_t begun_ms;         /* monotonic: start of this run */
	int64_t begun_us;         /* the same, for the figures of the log */
	int64_t platform_us;      /* what it took until PID 1 ran */
	int64_t ready_ms;
	int64_t backoff_ms;
	int64_t probe_ms;      /* interval */
	int64_t probe_sockets; /* what instance_probe.c saw last */
	int probe_skipped;
	int64_t open_ms;  /* since when its endpoint answers; 0: it does not */
	int forward_port; /* what NAT leads to now; 0: not set */
	char forward_loopback[46];
	int v6_port;                 /* it listens there on ::1 alone, out of reach; 0: no */
	int64_t other_port_ms;       /* since when another port than $PORT is open; 0: none */
	int health_status;           /* last answer; 0: none */
	int64_t health_bad_ms;       /* since when it answers wrongly */
	struct gear_act *status_act; /* its cartridge is asked before it is ready */
	char *status_why;            /* owned: what it said last; NULL: nothing, or it is well */
	struct instance_live *live;  /* owned; NULL: nobody looks */
	struct instance_hot *hot;    /* owned; NULL: none is under way */
	char *deployed;              /* owned: whose tree its home has; NULL: not known yet */
	bool is_boot, is_granted;    /* of the daemon's start: waits for its turn; may begin */
	bool was_left; /* an earlier daemon left it living: its sleep is what the kernel says */
};

struct instances {
	struct instances_opts o;
	struct map *all;            /* id → struct instance, owned */
	struct map *by_app;         /* application → its first struct instance, borrowed */
	struct str_list bare_links; /* instances of which only a network was found */
	LIST_HEAD(, instance_session) sessions; /* each owned by who opened it */
	struct str_list leftovers;              /* "gear/id" found at the start, not claimed yet */
	struct loop_timer *boot;                /* NULL: nobody waits for its turn */
	int64_t opened_ms;
	bool is_booted;               /* the broker has named all: what comes now is new */
	struct instances_wait *waits; /* owned: who waits for a wake */
	instances_done_fn *on_stopped;
	void *stopped_arg;
};

/* instance_table.c */
/* The first instance of the application, then by app_next; NULL: it has none here. */
struct instance *instances_of_app(const struct instances *is, const char *app_id);

/* instance.c */
void instance_set_state(struct instance *i, int state);
/* Goes on with what comes next; called whenever something ended or was wished. */
void instance_next(struct instance *i);
/* The start failed, or what ran has ended: reason (a sentence) as printf. */
void instance_fail(struct instance *i, const char *fmt, ...) PRINTF(2, 3);
void instance_report(struct instance *i); /* its status, as it is now */
bool instance_wants_running(const struct instance *i);
void instance_note(struct instance *i, const char *fmt, ...) PRINTF(2, 3);

/* instance_prepare.c: each submits one job, whose end calls back on the loop (instance.c). */
void instance_prepare(struct instance *i);
/* s: what to start; borrowed. e: what failed. */
void instance_prepared(struct instance *i, const struct err *e, const struct container_spec *s);
void instance_rejoin(struct instance *i); /* network of a container that lives */
void instance_rejoined(struct instance *i, const struct err *e);
void instance_remove(struct instance *i, bool all); /* network; all: its directory too */
void instance_removed(struct instance *i, const struct err *e);
void instance_collect_log(struct instance *i);
/* in: what init said last, or NULL. */
void instance_log_collected(struct instance *i, const struct init_status *in,
    bool ran_out_of_memory, const struct str_list *lines);

/* instance_links.c: its way to the application's services. */
/* Of a service: port and address of its first endpoint; 0: it has none. is_stock: it is one of
 * ours, which opens it; of v2's only the status of start counts. */
int instance_links_endpoint(const struct instance *i, char ip[16], bool *is_stock);
/* "IP:PORT" of the endpoints of all cartridges but the web framework; appended. */
void instance_links_addons(const struct instance *i, struct str_list *out);
/* Of a web instance: where its cartridge says that it listens, when it says so. Does its start end
 * once all runs? Stock servers stay in the foreground. */
bool instance_links_front(const struct instance *i, char ip[16], int *port);
/* Whether it speaks TLS there. */
bool instance_links_is_tls(const struct instance *i);
/* What a run that begins is to have; its own address, not known yet, is "". */
void instance_links_want(const struct instance *i, struct net_nat *out);
void instance_links_update(struct instance *i);  /* of this one, when it has a network */
void instance_links_changed(struct instance *i); /* its state has: of all of the application */
/* instance_limits.c: a ready one gets its gear's limits, when those it has are others. false: they
 * are the same; else a job is under way, whose end calls instance_next. */
bool instance_follow_limits(struct instance *i);
/* What an earlier daemon has set. */
void instance_limits_adopt(struct instance *i);

/* instance_probe.c */
void instance_probe(struct instance *i); /* until ready → instance_is_ready, or instance_fail */
void instance_probe_stop(struct instance *i);
void instance_is_ready(struct instance *i);
/* Asks its health_path. */
struct http_call *instance_health_call(const struct instance *i, int64_t timeout_ms,
    int64_t connect_ms, http_call_end_fn *fn, void *arg, struct err *e) MUST_CHECK;

/* instance_hooks.c: commands of the application in its container. */
bool instance_run_post(
    struct instance *i); /* false: nothing to do; → instance_post_done, or fail */
void instance_post_done(struct instance *i);
void instance_run_release(struct instance *i); /* → instance_released, or instance_fail */
void instance_released(struct instance *i);

/* instance_session.c */
void instance_sessions_retire(const struct instance *i); /* tells those who are in it */
/* instance_boot.c */
void instance_boot_add(struct instance *i);
bool instance_boot_waits(struct instance *i); /* true: its turn comes, by instance_next */

/* instance_live.c */
void instance_live_start(struct instance *i); /* once it is ready */
void instance_live_stop(struct instance *i);  /* twice is fine */
/* The cartridge's `status` in this instance; NULL: there is nobody to ask. */
struct gear_act *instance_live_ask(struct instance *i, gear_act_done_fn *done, void *arg);
bool instance_live_is_well(const struct wire_act_result *r);

/* instance_hot.c: another deployment for what runs. */
bool instance_hot_is_due(const struct instance *i);
void instance_hot_start(struct instance *i); /* of a ready one; its end is told by its status */
void instance_hot_stop(struct instance *i);  /* twice is fine */
/* The file that says that it was ready, and with which deployment. Block; caller owns; NULL: not
 * there. */
void instance_mark(const char *path, const char *deployment);
char *instance_marked(const char *path);

/* instance_sleep.c */
/* What it is to be: what the broker wants, unless a wake ended that order. */
int instance_sleep_wanted(const struct instance *i);
void instance_sleep_follow(struct instance *i); /* of a ready one without a job: one step */
void instance_sleep_adopt(struct instance *i);  /* an earlier daemon's: asleep, or woken? */
void instance_sleep_thaw(struct instance *i);   /* at once: before anything is done to it */
/* Must wait for a service of its application that wakes before it. */
bool instance_sleep_waits(const struct instance *i);
void instance_sleep_changed(struct instance *i); /* its state did: others may wait for it */

/* instance_table.c */
void instances_drop(struct instance *i); /* frees it, later */
void instances_check_stopped(struct instances *is);
