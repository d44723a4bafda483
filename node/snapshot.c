#include "node/snapshot.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/where.h"
#include "lib/cart/cart_dir.h"
#include "lib/http/http_server.h"
#include "lib/loop/child.h"
#include "lib/loop/worker.h"
#include "lib/wire/wire_snapshot.h"
#include "node/cart_find.h"
#include "node/gear_table.h"
#include "node/instance.h"
#include "node/node_dirs.h"
#include "node/snapshot_swap.h"
#include "node/tree_stream.h"

enum {
	ORDER_MAX = 64 * 1024,
	QUEUE_MAX = 1024 * 1024,
	FILES_KEPT = 64,
	ROOM_KEPT_KB = 4096, /* of the gear's disk, for what runs meanwhile */
	DUMP_S = 3600,       /* of a database */
};

enum kind { KIND_SAVE, KIND_RESTORE, KIND_READY, KIND_COMMIT, KIND_DISCARD };

struct snapshots {
	struct snapshots_opts o;
	char *program;              /* owned: pinion-snapshot */
	LIST_HEAD(, snapshot) list; /* under way */
};

struct snapshot {
	LIST_ENTRY(snapshot) link;
	struct snapshots *all;
	enum kind kind;
	struct gear *gear;  /* held */
	struct http_req *r; /* NULL: the asker is gone */
	struct wire_snapshot_order order;
	struct buf head; /* what came of the body before the child */
	bool has_order, has_all, wants_git, is_binary, has_begun;
	char *apart; /* owned: services of other gears, with commas between */
	struct gear_act *act;
	struct child *child;
	struct worker_job *job;
	char *answer;  /* owned: told when the work is done; NULL: nothing to say */
	char *failure; /* owned: told when all is cleaned up */
	int failure_status;
};

static const char *const json_headers[] = { "Content-Type: application/json", NULL };
static const char *const archive_headers[] = { "Content-Type: application/gzip", NULL };

static void
end(struct snapshot *s)
{
	LIST_REMOVE(s, link);
	gear_act_cancel(s->act);
	child_free(s->child);
	worker_detach(s->job);
	gear_table_release(s->all->o.act.gears, s->gear);
	wire_snapshot_order_fini(&s->order);
	buf_fini(&s->head);
	free(s->apart);
	free(s->answer);
	free(s->failure);
	free(s);
}

static void
fail(struct snapshot *s, int status, const char *text)
{
	if (s->r != NULL && s->has_begun)
		http_req_abort(s->r);
	else if (s->r != NULL)
		http_req_reply_text(s->r, status, "%s\n", text);
	s->r = NULL;
}

/* The gear's cartridges as this node has them; NULL: not all of them. The caller frees the array.
 */
static const struct cart_dir_entry **
carts_of(const struct snapshot *s)
{
	struct err e = { 0 };

	return cart_find_all(s->all->o.act.carts, &s->gear->spec.cartridges, &e);
}

/* One of each kind may be under way for a gear, and none beside a restore. NULL: answered. */
static struct snapshot *
start(struct snapshots *all, struct http_req *r, const char *uuid, enum kind kind)
{
	struct gear *g = gear_table_find(all->o.act.gears, uuid);
	struct snapshot *s;

	if (g == NULL || g->state != GEAR_READY) {
		http_req_reply_text(r, g == NULL ? 404 : 409, "The gear %s is not %s.\n", uuid,
		    g == NULL ? "on this node" : "ready");
		return NULL;
	}
	LIST_FOREACH (s, &all->list, link) {
		if (s->gear == g) {
			http_req_reply_text(
			    r, 409, "A snapshot of the gear is being saved or restored already.\n");
			return NULL;
		}
	}
	s = xcalloc(1, sizeof *s);
	*s = (struct snapshot){ .all = all, .kind = kind, .gear = g, .r = r };
	LIST_INSERT_HEAD(&all->list, s, link);
	gear_table_hold(all->o.act.gears, g);
	return s;
}

/* --- saving --- */

/* The next one may begin. */
static void
finish_save(struct snapshot *s)
{
	if (s->r != NULL)
		http_req_end(s->r);
	end(s);
}

static void
on_post_done(const struct wire_act_result *result, void *arg)
{
	struct snapshot *s = arg;

	s->act = NULL;
	if (!result->ok)
		log_warn("post_snapshot_failed", LOG_STR("gear", s->gear->record.uuid),
		    LOG_STR("reason", result->reason));
	finish_save(s);
}

/* The archive is whole, or lost: cartridges clean up what they dumped. */
static void
post_snapshot(struct snapshot *s)
{
	const struct wire_act_order order = { .action = "post-snapshot" };
	struct err e = { 0 };

	child_free(STEAL(s->child));
	if (s->order.is_deployment) {
		finish_save(s);
		return;
	}
	s->act =
	    gear_act_start(&s->all->o.act, s->gear->record.uuid, &order, NULL, on_post_done, s, &e);
	if (s->act == NULL)
		finish_save(s);
}

static void
on_archive(struct child *c, int fd, const char *p, size_t n, void *arg)
{
	struct snapshot *s = arg;

	if (fd == 2) {
		AUTO(free) char *text = xstrndup(p, n < 500 ? n : 500);

		log_warn(
		    "snapshot_save", LOG_STR("gear", s->gear->record.uuid), LOG_STR("text", text));
		return;
	}
	if (s->r == NULL)
		return;
	if (!s->has_begun)
		http_req_begin(s->r, 200, archive_headers);
	s->has_begun = true;
	if (!http_req_write(s->r, p, n))
		child_pause(c, true);
}

static void
on_room(struct http_req *r, void *arg)
{
	struct snapshot *s = arg;

	(void)r;
	if (s->child != NULL)
		child_pause(s->child, false);
}

static void
on_saved(struct child *c, const struct child_end *ended, void *arg)
{
	struct snapshot *s = arg;

	(void)c;
	if (ended->status != 0) {
		log_warn("snapshot_failed", LOG_STR("gear", s->gear->record.uuid),
		    LOG_STR("why", ended->why));
		fail(s, 500, "The snapshot could not be made: see the node's log.");
	}
	post_snapshot(s);
}

static void
on_child_room(struct child *c, void *arg)
{
	struct snapshot *s = arg;

	(void)c;
	if (s->r != NULL && !s->has_all)
		http_req_pause(s->r, false);
}

static void
feed(struct snapshot *s, const char *p, size_t n)
{
	if (n > 0 && child_write(s->child, p, n) > QUEUE_MAX && s->r != NULL)
		http_req_pause(s->r, true);
}

static void
feed_head(struct snapshot *s)
{
	child_on_drain(s->child, on_child_room);
	feed(s, s->head.p, s->head.n);
	buf_fini(&s->head);
	if (s->has_all)
		child_close_stdin(s->child);
	else if (s->r != NULL)
		http_req_pause(s->r, false);
}

static int
open_layer(const struct snapshot *s, const char *digest)
{
	AUTO(free) char *path = NULL;

	if (digest == NULL || *digest == '\0')
		return open(s->gear->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	path = node_dirs_layer(s->all->o.dirs, digest);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static const char *
text_of(const char *s)
{
	return s == NULL ? "" : s;
}

static void
add_exclusions(const struct snapshot *s, struct str_list *argv)
{
	AUTO(free_ptr) const struct cart_dir_entry **carts = carts_of(s);

	for (size_t i = 0; carts != NULL && i < s->gear->spec.cartridges.n; i++) {
		const struct str_list *l = &carts[i]->managed.snapshot_exclusions;

		for (size_t k = 0; k < l->n; k++)
			str_list_add(argv, l->v[k]);
	}
}

static int
start_child(struct snapshot *s, struct str_list *argv, const int *fds, size_t n,
    child_out_fn *on_out, child_end_fn *on_end, struct err *e)
{
	AUTO(free_ptr) const char **v = xcalloc(argv->n + 1, sizeof *v);
	struct child_opts o = { .argv = v, .has_stdin = true, .pass_fds = fds, .pass_n = n };

	for (size_t i = 0; i < argv->n; i++)
		v[i] = argv->v[i];
	s->child = child_start(s->all->o.act.loop, &o, on_out, on_end, s, e);
	return s->child == NULL ? -1 : 0;
}

static void
start_save(struct snapshot *s)
{
	const struct wire_snapshot_order *o = &s->order;
	AUTO_FINI(str_list_fini) struct str_list argv = { 0 };
	AUTO(file_close) int volume = open_layer(s, NULL);
	AUTO(file_close) int app = open_layer(s, o->layers.app);
	AUTO(file_close) int deps = open_layer(s, o->layers.deps);
	const char *const words[] = { s->all->program, o->is_deployment ? "archive" : "save",
		s->gear->record.uuid, o->app_name, text_of(o->datetime),
		app < 0 || deps < 0 ? "" : text_of(o->deployment_id), text_of(o->metadata),
		o->is_archive ? "1" : "0" };
	const int fds[] = { volume, app < 0 ? volume : app, deps < 0 ? volume : deps };
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		str_list_add(&argv, words[i]);
	if (o->is_deployment && (app < 0 || deps < 0)) {
		fail(s, 409, "The deployment is not on the application's node: try again.");
		post_snapshot(s);
		return;
	}
	if (!o->is_deployment)
		add_exclusions(s, &argv);
	if (volume < 0 || start_child(s, &argv, fds, 3, on_archive, on_saved, &e) < 0) {
		log_warn("snapshot_failed", LOG_ERR(&e));
		fail(s, 500, "The snapshot could not be begun.");
		post_snapshot(s);
		return;
	}
	feed_head(s);
}

/* A dump that failed is no snapshot; what an add-on does is its own affair. */
static bool
is_service(const struct snapshot *s, const char *cart)
{
	for (size_t i = 0; cart != NULL && i < s->gear->spec.cartridges.n; i++) {
		const struct wire_gear_cart *c = &s->gear->spec.cartridges.v[i];

		if (strcmp(c->name, cart) == 0)
			return c->is_service;
	}
	return false;
}

static void
on_pre_done(const struct wire_act_result *result, void *arg)
{
	struct snapshot *s = arg;

	s->act = NULL;
	if (!result->ok && is_service(s, result->cart)) {
		fail(s, 409, text_of(result->reason));
		post_snapshot(s);
		return;
	}
	if (!result->ok)
		log_info("pre_snapshot_failed", LOG_STR("gear", s->gear->record.uuid),
		    LOG_STR("reason", result->reason));
	start_save(s);
}

static bool
has_stopped_service(const struct snapshot *s)
{
	for (size_t i = 0; i < s->gear->spec.cartridges.n; i++) {
		const struct wire_gear_cart *c = &s->gear->spec.cartridges.v[i];

		if (c->is_service &&
		    instances_pick(s->all->o.act.instances, s->gear->record.uuid, c->name) == NULL)
			return true;
	}
	return false;
}

static void
pre_snapshot(struct snapshot *s)
{
	const struct wire_act_order order = { .action = "pre-snapshot", .timeout_s = DUMP_S };
	struct err e = { 0 };

	if (s->order.is_deployment) {
		start_save(s);
		return;
	}
	if (has_stopped_service(s)) {
		fail(s, 409,
		    "A service of the application does not run, so that its data cannot be "
		    "dumped: start the application first.");
		end(s);
		return;
	}
	s->act =
	    gear_act_start(&s->all->o.act, s->gear->record.uuid, &order, NULL, on_pre_done, s, &e);
	if (s->act == NULL) /* nothing runs: nothing changes meanwhile */
		start_save(s);
}

static void
on_save_body(struct http_req *r, const char *p, size_t n, void *arg)
{
	struct snapshot *s = arg;
	struct err e = { 0 };
	const char *nl;

	if (n == 0)
		s->has_all = true;
	if (s->child != NULL) {
		feed(s, p, n);
		if (n == 0)
			child_close_stdin(s->child);
		return;
	}
	buf_add(&s->head, p, n);
	if (s->has_order)
		return;
	nl = s->head.n == 0 ? NULL : memchr(s->head.p, '\n', s->head.n);
	if (nl == NULL && n > 0 && s->head.n < ORDER_MAX)
		return;
	if (nl == NULL || codec_decode(&wire_snapshot_order_codec, s->head.p,
	                      (size_t)(nl - s->head.p), &s->order, 0, &e) < 0) {
		fail(s, 400, nl == NULL ? "There is no order." : e.text);
		end(s);
		return;
	}
	s->has_order = true;
	buf_drop(&s->head, (size_t)(nl - s->head.p) + 1);
	if (!s->has_all)
		http_req_pause(r, true);
	pre_snapshot(s);
}

static void
on_save_lost(struct http_req *r, void *arg)
{
	struct snapshot *s = arg;

	(void)r;
	s->r = NULL;
	if (s->child != NULL)
		post_snapshot(s);
	else if (s->act == NULL)
		end(s);
	else
		s->has_all = true; /* what is under way ends by itself */
}

void
snapshot_handle_save(struct snapshots *all, struct http_req *r, const char *gear)
{
	struct snapshot *s = start(all, r, gear, KIND_SAVE);

	if (s == NULL)
		return;
	http_req_on_close(r, on_save_lost, s);
	http_req_on_drain(r, on_room, s);
	http_req_read(r, on_save_body, s);
}

/* --- restoring --- */

/* What blocks. */
struct work {
	struct snapshot *owner; /* done only */
	enum kind kind;
	char *dir;           /* owned: of the gear */
	char *out;           /* owned: where to unpack */
	int64_t room, files; /* that may be used */
	struct err e;
};

static void
work_free(void *p)
{
	struct work *w = p;

	free(w->dir);
	free(w->out);
	free(w);
}

static void
work_run(void *p)
{
	struct work *w = p;
	struct statvfs fs;

	if (w->kind == KIND_DISCARD) {
		if (snapshot_swap_discard(w->dir, &w->e) < 0)
			log_warn("restore_remains", LOG_STR("dir", w->dir), LOG_ERR(&w->e));
	} else if (w->kind == KIND_READY) {
		(void)!snapshot_swap_ready(w->dir, &w->e);
	} else if (w->kind == KIND_COMMIT) {
		if (snapshot_swap_commit(w->dir, &w->e) == 0)
			log_info("restore_swapped", LOG_STR("dir", w->dir));
	} else if (snapshot_swap_begin(w->dir, &w->out, &w->e) == 0 && statvfs(w->dir, &fs) == 0) {
		w->files = (int64_t)fs.f_favail - FILES_KEPT;
		w->room = ((int64_t)(fs.f_bavail * fs.f_frsize / 1024) - ROOM_KEPT_KB) * 1024;
	}
}

static void
submit(struct snapshot *s, enum kind kind, worker_fn *done)
{
	struct work *w = xcalloc(1, sizeof *w);

	*w = (struct work){ .owner = s, .kind = kind, .dir = xstrdup(s->gear->dir) };
	s->job = worker_submit(s->all->o.worker, work_run, done, work_free, w);
}

static void
on_work_done(void *p)
{
	struct work *w = p;
	struct snapshot *s = w->owner;
	struct err e = w->e;

	s->job = NULL;
	work_free(w);
	if (s->failure != NULL)
		fail(s, s->failure_status, s->failure);
	else if (e.code != ERR_NONE)
		fail(s, err_http_status(e.code), e.text);
	else if (s->r != NULL)
		http_req_reply(s->r, 200, json_headers, s->answer == NULL ? "{}" : s->answer,
		    s->answer == NULL ? 2 : strlen(s->answer));
	end(s);
}

static void
on_work_lost(struct http_req *r, void *arg)
{
	struct snapshot *s = arg;

	(void)r;
	s->r = NULL;
}

static void
discard(struct snapshot *s, int status, const char *why)
{
	child_free(STEAL(s->child));
	s->failure = xstrdup(why);
	s->failure_status = status;
	submit(s, KIND_DISCARD, on_work_done);
}

static void
on_unpacked(struct child *c, const struct child_end *ended, void *arg)
{
	struct snapshot *s = arg;
	AUTO_FINI(wire_snapshot_found_fini) struct wire_snapshot_found found = { 0 };
	AUTO(free) char *text = NULL;
	struct err e = { 0 };

	(void)c;
	if (ended->status == 0 && codec_decode(&wire_snapshot_found_codec, ended->out,
	                              ended->out_len, &found, CODEC_IGNORE, &e) == 0) {
		child_free(STEAL(s->child));
		s->answer = codec_to_json(&wire_snapshot_found_codec, &found);
		submit(s, KIND_READY, on_work_done);
		return;
	}
	text = ended->status == 1 ? xstrndup(ended->err, strcspn(ended->err, "\n"))
	                          : xasprintf("the snapshot could not be read (%s)", ended->why);
	discard(s, ended->status == 1 ? 422 : 500, text);
}

static void
on_restore_body(struct http_req *r, const char *p, size_t n, void *arg)
{
	struct snapshot *s = arg;

	(void)r;
	if (n == 0)
		s->has_all = true;
	if (s->child == NULL)
		return;
	feed(s, p, n);
	if (n == 0)
		child_close_stdin(s->child);
}

static void
on_restore_lost(struct http_req *r, void *arg)
{
	struct snapshot *s = arg;

	(void)r;
	s->r = NULL;
	if (s->child != NULL)
		discard(s, 0, "");
}

/* Its services, with commas between. Caller owns. */
static char *
services_of(const struct snapshot *s)
{
	struct buf b = { 0 };

	for (size_t i = 0; i < s->gear->spec.cartridges.n; i++) {
		const struct wire_gear_cart *c = &s->gear->spec.cartridges.v[i];

		if (c->is_service)
			buf_addf(&b, "%s%s", b.n == 0 ? "" : ",", c->name);
	}
	buf_adds(&b, "");
	return buf_steal(&b);
}

static int
start_unpack(struct snapshot *s, const struct work *w, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list argv = { 0 };
	AUTO(file_close) int dir = open(w->out, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO(free_ptr) const struct cart_dir_entry **carts = carts_of(s);
	int64_t limit = s->gear->spec.limits.files;
	int64_t files = limit > 0 && limit < w->files ? limit : w->files;
	AUTO(free) char *here = services_of(s);
	const char *const words[] = { s->all->program, "restore", s->gear->spec.app_name,
		s->wants_git ? "1" : "0", s->is_binary ? "1" : "0", here, text_of(s->apart) };

	if (dir < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", w->out);
	if (w->room <= 0 || files <= 0)
		return err_set(e, ERR_LIMIT, "disk",
		    "the gear's disk has no room beside its present data: remove files first");
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		str_list_add(&argv, words[i]);
	str_list_take(&argv, xasprintf("%lld", (long long)files));
	str_list_take(&argv, xasprintf("%lld", (long long)w->room));
	for (size_t i = 0; carts != NULL && i < s->gear->spec.cartridges.n; i++) {
		const struct str_list *l = &carts[i]->managed.restore_transforms;

		for (size_t k = 0; k < l->n; k++)
			str_list_add(&argv, l->v[k]);
	}
	return start_child(s, &argv, &dir, 1, NULL, on_unpacked, e);
}

static void
on_begun(void *p)
{
	struct work *w = p;
	struct snapshot *s = w->owner;
	struct err e = w->e;

	s->job = NULL;
	if (e.code == ERR_NONE && s->r != NULL && start_unpack(s, w, &e) == 0) {
		work_free(w);
		child_on_drain(s->child, on_child_room);
		http_req_read(s->r, on_restore_body, s);
		return;
	}
	work_free(w);
	discard(s, err_http_status(e.code), e.text);
}

static bool
has_flag(struct http_req *r, const char *name)
{
	const char *v = http_req_param(r, name);

	return v != NULL && strcmp(v, "1") == 0;
}

void
snapshot_handle_restore(struct snapshots *all, struct http_req *r, const char *gear)
{
	struct snapshot *s = start(all, r, gear, KIND_RESTORE);

	if (s == NULL)
		return;
	s->wants_git = has_flag(r, "git");
	s->is_binary = has_flag(r, "binary");
	s->apart = xstrdup(text_of(http_req_param(r, "apart")));
	http_req_on_close(r, on_restore_lost, s);
	submit(s, KIND_RESTORE, on_begun);
}

/* A tree of what was unpacked. */
static void
send_unpacked(struct snapshots *all, struct http_req *r, const char *gear, const char *what)
{
	const struct gear *g = gear_table_find(all->o.act.gears, gear);
	AUTO(free) char *dir = g == NULL ? NULL : xasprintf("%s/restore/new/%s", g->dir, what);
	struct stat st;

	if (dir == NULL || lstat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		http_req_reply_text(r, 404, "No %s was unpacked for the gear %s.\n", what, gear);
	else
		tree_stream_send(all->o.act.loop, r, dir, false, NULL, NULL);
}

void
snapshot_handle_git(struct snapshots *all, struct http_req *r, const char *gear)
{
	send_unpacked(all, r, gear, "git");
}

void
snapshot_handle_deployment(struct snapshots *all, struct http_req *r, const char *gear)
{
	send_unpacked(all, r, gear, "deployment");
}

void
snapshot_handle_part(struct snapshots *all, struct http_req *r, const char *gear)
{
	const struct gear *g = gear_table_find(all->o.act.gears, gear);
	const char *cart = http_req_param(r, "cart");
	AUTO(free) char *what = NULL;
	AUTO(free) char *path = NULL;
	AUTO(file_close) int fd = -1;

	if (g == NULL || cart == NULL || *cart == '\0' || strchr(cart, '/') != NULL) {
		http_req_reply_text(r, 404, "There is no such part of the gear %s.\n", gear);
		return;
	}
	what = xasprintf("parts/%s", cart);
	path = xasprintf("%s/restore/new/%s.tar.gz", g->dir, what);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		tree_stream_send_file(all->o.act.loop, r, fd);
	else
		send_unpacked(all, r, gear, what);
}

void
snapshot_handle_commit(struct snapshots *all, struct http_req *r, const char *gear)
{
	struct snapshot *s;

	if (instances_pick(all->o.act.instances, gear, NULL) != NULL) {
		http_req_reply_text(r, 409, "The application still runs in the gear %s.\n", gear);
		return;
	}
	s = start(all, r, gear, KIND_COMMIT);
	if (s == NULL)
		return;
	http_req_on_close(r, on_work_lost, s);
	submit(s, KIND_COMMIT, on_work_done);
}

void
snapshot_handle_discard(struct snapshots *all, struct http_req *r, const char *gear)
{
	struct snapshot *s = start(all, r, gear, KIND_DISCARD);

	if (s == NULL)
		return;
	http_req_on_close(r, on_work_lost, s);
	submit(s, KIND_DISCARD, on_work_done);
}

/* --- all --- */

struct snapshots *
snapshots_new(const struct snapshots_opts *o, struct err *e)
{
	char *program = where_program("pinion-snapshot", e);
	struct snapshots *s = program == NULL ? NULL : xcalloc(1, sizeof *s);

	if (s != NULL)
		*s = (struct snapshots){ .o = *o, .program = program };
	return s;
}

void
snapshots_free(struct snapshots *take_s)
{
	if (take_s == NULL)
		return;
	while (!LIST_EMPTY(&take_s->list))
		end(LIST_FIRST(&take_s->list));
	free(take_s->program);
	free(take_s);
}
