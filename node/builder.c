#include "node/cart_store.h"
#include "node/builder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/cart/cart_dir.h"
#include "lib/http/http_server.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/oci/oci_layer.h"
#include "lib/wire/wire_node.h"
#include "node/build_container.h"
#include "node/build_output.h"
#include "node/build_start.h"
#include "node/build_work.h"
#include "node/container.h"
#include "node/gear.h"
#include "node/layer_store.h"
#include "node/node_dirs.h"

enum {
	ORDER_MAX = 1024 * 1024,
	UNPACK_QUEUE_MAX = 1024 * 1024,
	FILES_MAX = 200 * 1000,
	TIMEOUT_S = 600,
	OUTPUT_MAX = 10 * 1024 * 1024,
	GEAR_WAIT_MS = 60 * 1000,
	RUNS_MIN = 2,
	GEAR_POLL_MS = 5,
	TURN_POLL_MS = 50,
	DISK_CHECK_MS = 2000,
	DISK_DEFAULT_MB = 4096,
};

struct builder {
	struct builder_opts o;
	char *unpack; /* the program; owned */
	struct build_stack stack;
	struct child *ask_node, *ask_python;
	struct build *first;
	size_t active;
	int runs_max; /* builder instances at once */
};

enum phase {
	PHASE_ORDER,
	PHASE_TURN,
	PHASE_MAKE,
	PHASE_UNPACK,
	PHASE_PLAN,
	PHASE_GEAR,
	PHASE_RUN,
	PHASE_SEAL,
	PHASE_END
};

struct build {
	struct build *prev, *next;
	struct builder *b;
	enum phase phase;
	struct wire_build_order order;
	const struct cart_dir_entry *web;
	struct buf head; /* order line, then what came before the unpacker was there */
	bool has_order, has_all;
	char *dir; /* scratch */
	int repo;
	struct child *unpack;
	struct worker_job *job, *measure;
	struct build_container *run;
	struct gear *gear; /* held */
	struct loop_timer *timeout, *poll, *disk;
	int64_t gear_until_ms;
	struct oci_layer_result src;
	struct build_plan plan;
	struct wire_build_result result;
	struct build_output out;
	bool is_waiting; /* for its turn among builder instances; it was told */
	bool is_aborted;
	struct err why;
	int64_t start_us, phase_us;
};

static void next_phase(struct build *x, enum phase phase);
static void fail(struct build *x, const char *step, int exit_code, const struct err *e);

/* --- lines to the asker --- */

static void
say(struct build *x, const char *text)
{
	build_output_say(&x->out, text);
}

static void
on_output(const char *p, size_t n, void *arg)
{
	struct build *x = arg;

	build_output_write(&x->out, p, n);
	if (x->out.is_full && x->run != NULL)
		build_container_pause(x->run, true);
}

static void
on_drain(struct http_req *r, void *arg)
{
	struct build *x = arg;

	(void)r;
	x->out.is_full = false;
	if (x->run != NULL)
		build_container_pause(x->run, false);
}

/* --- the end --- */

static void
unlink_build(struct build *x)
{
	if (x->prev != NULL)
		x->prev->next = x->next;
	else
		x->b->first = x->next;
	if (x->next != NULL)
		x->next->prev = x->prev;
	x->b->active--;
}

static void
build_end(struct build *x)
{
	struct build_work *w;

	unlink_build(x);
	loop_timer_cancel(x->timeout);
	loop_timer_cancel(x->poll);
	loop_timer_cancel(x->disk);
	child_free(x->unpack);
	worker_detach(x->job);
	worker_detach(x->measure);
	build_container_free(x->run);
	if (x->gear != NULL && x->b->o.hold_gear != NULL)
		x->b->o.hold_gear(x->gear, false, x->b->o.arg);
	if (x->dir != NULL) {
		w = xcalloc(1, sizeof *w);
		w->kind = BUILD_WORK_CLEAN;
		w->dir = x->dir;
		worker_submit(x->b->o.worker, build_work_run, build_work_free, build_work_free, w);
	}
	file_close(x->repo);
	wire_build_order_fini(&x->order);
	oci_layer_result_fini(&x->src);
	build_plan_fini(&x->plan);
	wire_build_result_fini(&x->result);
	buf_fini(&x->head);
	build_output_fini(&x->out);
	free(x);
}

static void
send_result(struct build *x)
{
	x->result.us.total = loop_now_us() - x->start_us;
	build_output_end(&x->out, &x->result);
}

static void
succeed(struct build *x)
{
	x->result.ok = true;
	log_info("build_sealed", LOG_STR("app", x->order.gear.app_id),
	    LOG_STR("build", x->order.id), LOG_INT("us", loop_now_us() - x->start_us),
	    LOG_INT("reused", x->plan.deps_reused), LOG_INT("container", x->plan.needs_container));
	send_result(x);
	build_end(x);
}

static void
fail(struct build *x, const char *step, int exit_code, const struct err *e)
{
	x->result.ok = false;
	mem_set_str(&x->result.step, step);
	mem_set_str(&x->result.reason, e->text);
	x->result.exit_code = exit_code;
	log_info("build_failed", LOG_STR("app", x->order.gear.app_id),
	    LOG_STR("build", x->order.id), LOG_STR("step", step), LOG_ERR(e));
	send_result(x);
	build_end(x);
}

static const char *
phase_name(enum phase p)
{
	static const char *const names[] = { "order", "wait", "prepare", "unpack", "plan", "gear",
		"build", "seal", "end" };

	return names[p];
}

/* Ends the build wherever it stands; what blocks is waited for. */
static void
stop(struct build *x, const struct err *why)
{
	if (x->is_aborted)
		return;
	x->is_aborted = true;
	x->why = *why;
	if (x->run != NULL)
		build_container_abort(x->run, why);
	else if (x->job == NULL)
		fail(x, phase_name(x->phase), 0, why);
}

static void
on_close(struct http_req *r, void *arg)
{
	struct build *x = arg;
	struct err e = { 0 };

	(void)r;
	x->out.r = NULL;
	(void)err_set(&e, ERR_CONFLICT, NULL, "cancelled: the connection ended");
	stop(x, &e);
}

static void
on_timeout(void *arg)
{
	struct build *x = arg;
	struct err e = { 0 };

	(void)err_set(&e, ERR_LIMIT, NULL, "the build took longer than %lld s",
	    (long long)x->order.timeout_s);
	stop(x, &e);
}

static void
on_measured(void *p)
{
	struct build_work *w = p;
	struct build *x = w->build;
	struct err e = w->e;
	bool is_too_large = w->rc < 0;

	x->measure = NULL;
	build_work_free(w);
	if (is_too_large)
		stop(x, &e);
}

/* While the steps run. */
static void
on_disk_check(void *arg)
{
	struct build *x = arg;
	struct build_work *w;
	int64_t mb = x->order.gear.limits.disk_mb;

	if (x->measure != NULL || x->run == NULL)
		return;
	w = xcalloc(1, sizeof *w);
	w->build = x;
	w->kind = BUILD_WORK_MEASURE;
	w->dir = xstrdup(x->dir);
	w->bytes_max = (mb > 0 ? mb : DISK_DEFAULT_MB) * 2 * 1024 * 1024;
	x->measure = worker_submit(x->b->o.worker, build_work_run, on_measured, build_work_free, w);
}

/* --- from phase to phase --- */

static void
on_unpack_end(struct child *c, const struct child_end *end, void *arg)
{
	struct build *x = arg;
	struct err e = { 0 };
	size_t n = strcspn(end->err, "\n");
	int status;

	x->unpack = NULL;
	x->has_all = true; /* what still comes is thrown away */
	x->result.us.unpack = loop_now_us() - x->phase_us;
	if (end->status == 0 &&
	    codec_decode(&oci_layer_result_codec, end->out, end->out_len, &x->src, 0, &e) == 0) {
		child_free(c);
		fault_point("unpack_done");
		next_phase(x, PHASE_PLAN);
		return;
	}
	if (end->status == 1)
		(void)err_set(&e, ERR_INVALID, NULL, "%.*s", (int)n, end->err);
	else if (e.code == ERR_NONE)
		(void)err_set(&e, ERR_SYSTEM, NULL, "the unpacker failed (%s)", end->why);
	status = end->status;
	child_free(c);
	fail(x, "unpack", status, &e);
}

static void
on_unpack_drain(struct child *c, void *arg)
{
	struct build *x = arg;

	(void)c;
	if (x->out.r != NULL)
		http_req_pause(x->out.r, false);
}

static void
feed_unpacker(struct build *x, const char *p, size_t n)
{
	if (x->unpack == NULL || n == 0)
		return;
	if (child_write(x->unpack, p, n) > UNPACK_QUEUE_MAX && x->out.r != NULL)
		http_req_pause(x->out.r, true);
}

static void
start_unpack(struct build *x)
{
	const struct wire_limits *l = &x->order.gear.limits;
	bool is_artifact = x->order.is_artifact;
	const char *subdir =
	    is_artifact ? NULL : build_start_var(&x->order.gear.env, "PINION_SUBDIR");
	AUTO(file_close)
	int runtime = is_artifact ? openat(x->repo, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	AUTO(free) char *dir = xstrdup(subdir == NULL ? "" : subdir);
	AUTO(free) char *files = xasprintf("%d", FILES_MAX);
	AUTO(free)
	char *bytes =
	    xasprintf("%lld", (long long)(l->disk_mb > 0 ? l->disk_mb : 4096) * 1024 * 1024);
	const char *argv[] = { x->b->unpack, is_artifact ? "artifact" : "tree",
		is_artifact ? BUILD_WORK_RUNTIME : BUILD_WORK_REPO, dir, files, bytes, NULL };
	const int fds[] = { is_artifact ? runtime : x->repo };
	const struct child_opts o = {
		.argv = argv, .has_stdin = true, .pass_fds = fds, .pass_n = 1
	};
	size_t n = strlen(dir);
	struct err e = { 0 };

	while (n > 0 && (dir[n - 1] == '/'))
		dir[--n] = '\0';
	if (dir[0] == '/' || strstr(dir, "..") != NULL) {
		(void)err_set(&e, ERR_INVALID, "PINION_SUBDIR",
		    "PINION_SUBDIR must name a folder of the repository");
		fail(x, "unpack", 0, &e);
		return;
	}
	x->unpack = child_start(x->b->o.loop, &o, NULL, on_unpack_end, x, &e);
	if (x->unpack == NULL) {
		fail(x, "unpack", 0, &e);
		return;
	}
	child_on_drain(x->unpack, on_unpack_drain);
	feed_unpacker(x, x->head.p, x->head.n);
	buf_fini(&x->head);
	if (x->has_all)
		child_close_stdin(x->unpack);
	if (x->out.r != NULL)
		http_req_pause(x->out.r, false);
}

static void
on_run_done(const char *step, int exit_code, const struct err *e, void *arg)
{
	struct build *x = arg;

	x->run = NULL;
	x->result.us.build = loop_now_us() - x->phase_us;
	if (x->is_aborted)
		fail(x, step == NULL ? "build" : step, exit_code, &x->why);
	else if (e != NULL)
		fail(x, step == NULL ? "build" : step, exit_code, e);
	else
		next_phase(x, PHASE_SEAL);
}

static void
start_container(struct build *x)
{
	const struct build_container_in in = {
		.o = &x->b->o, .order = &x->order, .plan = &x->plan, .dir = x->dir, .gear = x->gear
	};

	x->run = build_container_start(&in, on_output, on_run_done, x);
}

/* Builder instances at once, in the order of their coming: each may take a gigabyte. */
static bool
may_run(const struct build *x)
{
	int running = 0;

	for (const struct build *o = x->b->first; o != NULL; o = o->next) {
		running += o->phase == PHASE_RUN;
		if (o != x && o->phase == PHASE_GEAR && o->phase_us < x->phase_us)
			return false;
	}
	return running < x->b->runs_max;
}

/* The gear may still be being made (an application's first push comes early). */
static void
await_gear(void *arg)
{
	struct build *x = arg;
	struct gear *g = x->b->o.find_gear(x->order.gear.uuid, x->b->o.arg);
	struct err e = { 0 };

	loop_timer_cancel(STEAL(x->poll));
	if (!may_run(x)) {
		if (!x->is_waiting)
			say(x, "Other builds run on this node: this one waits for its turn");
		x->is_waiting = true;
		x->gear_until_ms = loop_now_ms() + GEAR_WAIT_MS;
		loop_timer_again(x->timeout, x->order.timeout_s * 1000);
		x->poll = loop_timer_start(x->b->o.loop, TURN_POLL_MS, false, await_gear, x);
	} else if (g != NULL && g->state == GEAR_READY) {
		x->gear = g;
		if (x->b->o.hold_gear != NULL)
			x->b->o.hold_gear(g, true, x->b->o.arg);
		x->result.us.configure = loop_now_us() - x->phase_us;
		next_phase(x, PHASE_RUN);
	} else if (g != NULL && g->state == GEAR_FAILED) {
		(void)err_set(&e, ERR_SYSTEM, NULL, "the gear could not be made: %s",
		    g->reason == NULL ? "" : g->reason);
		fail(x, "gear", 0, &e);
	} else if (loop_now_ms() > x->gear_until_ms) {
		(void)err_set(&e, ERR_SYSTEM, NULL, "the gear was not ready within %d s",
		    GEAR_WAIT_MS / 1000);
		fail(x, "gear", 0, &e);
	} else {
		x->poll = loop_timer_start(x->b->o.loop, GEAR_POLL_MS, false, await_gear, x);
	}
}

/* One build of an application at a time: the broker keeps that order, but one that it gave up may
 * still be ending. */
static void
await_turn(void *arg)
{
	struct build *x = arg;

	loop_timer_cancel(STEAL(x->poll));
	for (const struct build *o = x->b->first; o != NULL; o = o->next) {
		if (o != x && o->phase > PHASE_TURN &&
		    strcmp(o->order.gear.app_id, x->order.gear.app_id) == 0) {
			x->poll =
			    loop_timer_start(x->b->o.loop, GEAR_POLL_MS, false, await_turn, x);
			return;
		}
	}
	next_phase(x, PHASE_MAKE);
}

static void
after_work(struct build *x, struct build_work *w)
{
	switch (w->kind) {
	case BUILD_WORK_MAKE:
		x->repo = w->repo;
		w->repo = -1;
		next_phase(x, PHASE_UNPACK);
		break;
	case BUILD_WORK_PLAN:
		x->plan = w->plan;
		w->plan = (struct build_plan){ 0 };
		memcpy(x->b->stack.digest, w->stack.digest, sizeof w->stack.digest);
		x->b->stack.mtime = w->stack.mtime;
		for (size_t i = 0; i < x->plan.notes.n; i++)
			say(x, x->plan.notes.v[i]);
		next_phase(x, x->plan.needs_container ? PHASE_GEAR : PHASE_SEAL);
		break;
	default:
		mem_set_str(&x->result.image, w->result.image);
		codec_copy(&wire_layers_codec, &x->result.layers, &w->result.layers);
		x->result.us.seal = loop_now_us() - x->phase_us;
		succeed(x);
		break;
	}
}

static void
on_work(void *p)
{
	struct build_work *w = p;
	struct build *x = w->build;
	struct err e = w->e;

	x->job = NULL;
	if (x->is_aborted)
		fail(x, phase_name(x->phase), 0, &x->why);
	else if (w->rc < 0)
		fail(x, w->kind == BUILD_WORK_PLAN ? "start" : phase_name(x->phase), 0, &e);
	else
		after_work(x, w);
	build_work_free(w);
}

static void
start_work(struct build *x)
{
	struct build_work *w = xcalloc(1, sizeof *w);

	w->build = x;
	w->kind = x->phase == PHASE_MAKE   ? BUILD_WORK_MAKE
	          : x->phase == PHASE_PLAN ? BUILD_WORK_PLAN
	                                   : BUILD_WORK_SEAL;
	w->layers = x->b->o.layers;
	w->web = x->web;
	w->dir = xstrdup(x->dir);
	w->repo = x->phase == PHASE_MAKE ? -1 : x->repo;
	w->stack = x->b->stack;
	w->stack.node = xstrdup_null(x->b->stack.node);
	w->stack.python = xstrdup_null(x->b->stack.python);
	codec_copy(&wire_build_order_codec, &w->order, &x->order);
	codec_copy(&oci_layer_result_codec, &w->src, &x->src);
	build_work_copy_plan(&w->plan, &x->plan);
	if (x->phase == PHASE_PLAN)
		build_plan_fini(&w->plan);
	x->job = worker_submit(x->b->o.worker, build_work_run, on_work, build_work_free, w);
}

static void
fill_result(struct build *x)
{
	struct wire_build_result *r = &x->result;

	codec_copy(&wire_start_codec, &r->start, &x->plan.start);
	mem_set_str(&r->release, x->plan.release == NULL ? "" : x->plan.release);
	for (size_t i = 0; i < x->plan.processes.n; i++)
		codec_copy(&wire_var_codec, codec_list_add(&wire_var_codec, &r->processes),
		    &x->plan.processes.v[i]);
	mem_set_str(&r->deps_key, x->plan.deps_key);
	r->deps_reused = x->plan.deps_reused;
	mem_set_str(&r->health_path, build_start_var(&x->order.gear.env, "PINION_HEALTH_PATH"));
}

static void
next_phase(struct build *x, enum phase phase)
{
	x->phase = phase;
	x->phase_us = loop_now_us();
	switch (phase) {
	case PHASE_TURN:
		await_turn(x);
		break;
	case PHASE_UNPACK:
		start_unpack(x);
		break;
	case PHASE_GEAR:
		x->gear_until_ms = loop_now_ms() + GEAR_WAIT_MS;
		await_gear(x);
		break;
	case PHASE_RUN:
		start_container(x);
		break;
	case PHASE_SEAL:
		fill_result(x);
		start_work(x);
		break;
	default:
		start_work(x);
		break;
	}
}

/* --- the request --- */

static const struct cart_dir_entry *
find_web(const struct builder *b, const struct wire_gear *g, struct err *e)
{
	const struct wire_gear_cart *c = wire_gear_web(&g->cartridges);
	const struct cart_dir_entry *d;

	if (c == NULL) {
		(void)err_set(e, ERR_INVALID, "gear.cartridges", "none of them is a web framework");
		return NULL;
	}
	d = cart_store_find(b->o.carts, c);
	if (d == NULL)
		(void)err_set(e, ERR_NOT_FOUND, "gear.cartridges",
		    "this node does not have the cartridge %s %s", c->name, c->version);
	return d;
}

static int
read_order(struct build *x, const char *p, size_t n, struct err *e)
{
	struct wire_build_order *o = &x->order;

	if (codec_decode(&wire_build_order_codec, p, n, o, CODEC_IGNORE, e) < 0)
		return -1;
	if (!str_is_hex(o->id, strlen(o->id)) || o->id[0] == '\0')
		return err_set(e, ERR_INVALID, "id", "must be hex digits");
	if (o->gear.uuid == NULL || o->gear.app_id == NULL)
		return err_set(e, ERR_INVALID, "gear", "needs uuid and app_id");
	for (const char *s = o->gear.app_id; *s != '\0'; s++) {
		if (!((*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || *s == '-'))
			return err_set(
			    e, ERR_INVALID, "gear.app_id", "must be letters, digits and '-'");
	}
	x->web = find_web(x->b, &o->gear, e);
	if (x->web == NULL)
		return -1;
	if (o->timeout_s <= 0)
		o->timeout_s = TIMEOUT_S;
	x->out.left = o->output_max > 0 ? o->output_max : OUTPUT_MAX;
	return 0;
}

static void
refuse(struct build *x, const struct err *e)
{
	http_req_reply_text(STEAL(x->out.r), err_http_status(e->code), "%s%s%s\n", e->field,
	    e->field[0] == '\0' ? "" : ": ", e->text);
	build_end(x);
}

static void
begin(struct build *x)
{
	static const char *const headers[] = { "Content-Type: application/x-ndjson", NULL };
	AUTO(free) char *name = xasprintf("tree-%s", x->order.id);

	x->dir = file_join(x->b->o.dirs->scratch, name);
	http_req_begin(x->out.r, 200, headers);
	http_req_on_drain(x->out.r, on_drain, x);
	x->timeout =
	    loop_timer_start(x->b->o.loop, x->order.timeout_s * 1000, false, on_timeout, x);
	x->disk = loop_timer_start(x->b->o.loop, DISK_CHECK_MS, true, on_disk_check, x);
	next_phase(x, PHASE_TURN);
}

/* The order's line, then the tar stream. */
static void
on_body(struct http_req *r, const char *p, size_t n, void *arg)
{
	struct build *x = arg;
	struct err e = { 0 };
	const char *nl;

	if (n == 0) {
		x->has_all = true;
		if (x->unpack != NULL)
			child_close_stdin(x->unpack);
		if (!x->has_order) {
			(void)err_set(&e, ERR_INVALID, "body", "must begin with a line of JSON");
			refuse(x, &e);
		}
		return;
	}
	if (x->phase > PHASE_UNPACK)
		return; /* the unpacker has seen enough */
	if (x->unpack != NULL) {
		feed_unpacker(x, p, n);
		return;
	}
	buf_add(&x->head, p, n);
	if (x->has_order) {
		http_req_pause(r, true);
		return;
	}
	nl = memchr(x->head.p, '\n', x->head.n);
	if (nl == NULL && x->head.n < ORDER_MAX)
		return;
	if (nl == NULL)
		(void)err_set(&e, ERR_LIMIT, "body", "the order has more than %d bytes", ORDER_MAX);
	if (nl == NULL || read_order(x, x->head.p, (size_t)(nl - x->head.p), &e) < 0 ||
	    node_dirs_check_room(x->b->o.dirs, x->b->o.disk_low_percent, &e) < 0) {
		refuse(x, &e);
		return;
	}
	x->has_order = true;
	buf_drop(&x->head, (size_t)(nl - x->head.p) + 1);
	begin(x);
}

void
builder_handle(struct builder *b, struct http_req *r)
{
	struct build *x = xcalloc(1, sizeof *x);

	*x = (struct build){
		.b = b, .out = { .r = r }, .repo = -1, .next = b->first, .start_us = loop_now_us()
	};
	if (b->first != NULL)
		b->first->prev = x;
	b->first = x;
	b->active++;
	http_req_on_close(r, on_close, x);
	http_req_read(r, on_body, x);
}

/* --- the builder --- */

/* "v20.1.2\n", "Python 3.11.2\n" -> the version alone; NULL: none. */
static char *
version_of(const struct child_end *end)
{
	const char *p = end->out + strcspn(end->out, "0123456789\n");
	size_t n = strspn(p, "0123456789.");

	return end->status != 0 || n == 0 ? NULL : xstrndup(p, n);
}

static void
on_node_version(struct child *c, const struct child_end *end, void *arg)
{
	struct builder *b = arg;

	b->stack.node = version_of(end);
	b->ask_node = NULL;
	child_free(c);
}

static void
on_python_version(struct child *c, const struct child_end *end, void *arg)
{
	struct builder *b = arg;

	b->stack.python = version_of(end);
	b->ask_python = NULL;
	child_free(c);
}

static struct child *
ask_version(struct builder *b, const char *program, child_end_fn *fn)
{
	const char *argv[] = { program, "--version", NULL };
	const struct child_opts o = { .argv = argv,
		.timeout_ms = 10000,
		.set_ids = geteuid() == 0,
		.uid = 65534,
		.gid = 65534 };
	struct err e = { 0 };

	return file_exists(program) ? child_start(b->o.loop, &o, NULL, fn, b, &e) : NULL;
}

/* Scratch of builds that a daemon before us did not end. */
static void
remove_remains(const char *dir)
{
	struct err e = { 0 };

	if (file_remove_tree(dir, &e) < 0 || file_mkdirs(dir, 0700, &e) < 0)
		log_warn("build_remains", LOG_STR("path", dir), LOG_ERR(&e));
}

struct builder *
builder_new(const struct builder_opts *o, struct err *e)
{
	struct builder *b = xcalloc(1, sizeof *b);

	b->o = *o;
	b->runs_max = (int)sysconf(_SC_NPROCESSORS_ONLN) < RUNS_MIN
	                  ? RUNS_MIN
	                  : (int)sysconf(_SC_NPROCESSORS_ONLN);
	b->unpack = file_join(o->dirs->libexec, "pinion-unpack");
	if (!file_exists(b->unpack)) {
		(void)err_set(e, ERR_NOT_FOUND, NULL, "%s is missing", b->unpack);
		builder_free(b);
		return NULL;
	}
	remove_remains(o->dirs->scratch);
	build_work_look_at_stack(&b->stack);
	b->ask_node = ask_version(b, "/usr/bin/node", on_node_version);
	b->ask_python = ask_version(b, "/usr/bin/python3", on_python_version);
	return b;
}

void
builder_free(struct builder *take_b)
{
	struct err e = { 0 };

	if (take_b == NULL)
		return;
	(void)err_set(&e, ERR_BUSY, NULL, "this node is stopping");
	while (take_b->first != NULL) {
		if (take_b->first->out.r != NULL && take_b->first->phase != PHASE_ORDER)
			http_req_on_close(take_b->first->out.r, NULL, NULL);
		fail(take_b->first, "build", 0, &e);
	}
	child_free(take_b->ask_node);
	child_free(take_b->ask_python);
	free(take_b->stack.node);
	free(take_b->stack.python);
	free(take_b->unpack);
	free(take_b);
}
