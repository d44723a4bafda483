#include "node/node_stream.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/http_server.h"
#include "lib/loop/worker.h"
#include "lib/wire/wire_node.h"
#include "node/act_http.h"
#include "node/builder.h"
#include "node/cron.h"
#include "node/gear_act.h"
#include "node/gear_exec.h"
#include "node/gear_log.h"
#include "node/gear_move.h"
#include "node/gear_table.h"
#include "node/instance.h"
#include "node/layer_store.h"
#include "node/limits.h"
#include "node/net.h"
#include "node/node_dirs.h"
#include "node/node_sync.h"
#include "node/snapshot.h"
#include "node/tree_stream.h"

enum { SOCKET_MODE = 0666, LINES_DEFAULT = 100 }; /* the directory and the token keep others out */

struct node_stream {
	struct snapshots *snapshots;
	struct node_stream_opts o;
	struct http_server *server;
	struct gear_exec *exec;
};

static const char *const json_headers[] = { "Content-Type: application/json", NULL };

/* --- status, inventory --- */

static void
reply_json(struct http_req *r, const struct codec *c, const void *value)
{
	AUTO(free) char *json = codec_to_json(c, value);

	http_req_reply(r, 200, json_headers, json, strlen(json));
}

static void
handle_status(struct node_stream *s, struct http_req *r, const char *name)
{
	struct wire_node_facts facts = { 0 };

	(void)name;
	s->o.fill_facts(&facts, s->o.arg);
	reply_json(r, &wire_node_facts_codec, &facts);
	codec_fini(&wire_node_facts_codec, &facts);
}

/* What the kernel has of ours, read on a worker. */
struct inventory_job {
	struct node_stream *stream; /* done only */
	struct http_req *req;       /* NULL: the client went away */
	struct net *net;
	const struct limits *limits;
	const struct node_dirs *dirs;
	struct wire_report report;
	struct buf out;
};

static void
free_inventory(void *take_job)
{
	struct inventory_job *j = take_job;

	codec_fini(&wire_report_codec, &j->report);
	buf_fini(&j->out);
	free(j);
}

static void
add_strings(struct buf *out, const char *key, const struct str_list *l)
{
	buf_addf(out, ",\"%s\":[", key);
	for (size_t i = 0; i < l->n; i++) {
		buf_adds(out, i > 0 ? "," : "");
		buf_add_json_str(out, l->v[i]);
	}
	buf_addc(out, ']');
}

static void
add_links(struct inventory_job *j)
{
	AUTO_FINI(net_link_list_fini) struct net_link_list links = { 0 };
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };
	struct err e = { 0 };

	if (net_list(j->net, &links, &e) < 0)
		log_warn("inventory_links", LOG_ERR(&e));
	for (size_t i = 0; i < links.n; i++)
		str_list_take(&names, xasprintf("%s %s %s", links.v[i].instance, links.v[i].address,
		                          links.v[i].veth));
	add_strings(&j->out, "links", &names);
}

static void
add_cgroups(struct inventory_job *j)
{
	AUTO_FINI(str_list_fini) struct str_list gears = { 0 };
	AUTO_FINI(str_list_fini) struct str_list all = { 0 };
	struct err e = { 0 };

	if (limits_list(j->limits, NULL, &gears, &e) < 0)
		log_warn("inventory_cgroups", LOG_ERR(&e));
	for (size_t i = 0; i < gears.n; i++) {
		AUTO_FINI(str_list_fini) struct str_list ids = { 0 };

		str_list_add(&all, gears.v[i]);
		if (limits_list(j->limits, gears.v[i], &ids, &e) < 0)
			continue;
		for (size_t k = 0; k < ids.n; k++)
			str_list_take(&all, xasprintf("%s/%s", gears.v[i], ids.v[k]));
	}
	add_strings(&j->out, "cgroups", &all);
}

static void
add_mount(struct str line, const struct node_dirs *d, struct str_list *out)
{
	struct str field, rest = line;

	for (int i = 0; i < 5; i++)
		rest = str_cut(rest, ' ', &field);
	AUTO(free) char *point = xstrndup(field.p, field.n);
	if (str_has_prefix(point, d->data) || str_has_prefix(point, d->run))
		str_list_add(out, point);
}

static void
add_mounts(struct inventory_job *j)
{
	enum { MOUNTINFO_MAX = 16 * 1024 * 1024 };
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	AUTO_FINI(str_list_fini) struct str_list points = { 0 };
	struct str line, rest;
	struct err e = { 0 };

	if (file_read("/proc/self/mountinfo", MOUNTINFO_MAX, &text, &e) < 0)
		log_warn("inventory_mounts", LOG_ERR(&e));
	rest = buf_str(&text);
	while (rest.n > 0) {
		rest = str_cut(rest, '\n', &line);
		add_mount(line, j->dirs, &points);
	}
	add_strings(&j->out, "mounts", &points);
}

static void
run_inventory(void *job)
{
	struct inventory_job *j = job;

	codec_encode(&wire_report_codec, &j->report, &j->out);
	buf_truncate(&j->out, j->out.n - 1); /* the closing brace */
	add_links(j);
	add_cgroups(j);
	add_mounts(j);
	buf_addc(&j->out, '}');
}

static void
done_inventory(void *job)
{
	struct inventory_job *j = job;

	if (j->req != NULL)
		http_req_reply(j->req, 200, json_headers, j->out.p, j->out.n);
	free_inventory(j);
}

static void
on_inventory_lost(struct http_req *r, void *arg)
{
	struct inventory_job *j = arg;

	(void)r;
	j->req = NULL;
}

static void
handle_inventory(struct node_stream *s, struct http_req *r, const char *name)
{
	struct inventory_job *j = xcalloc(1, sizeof *j);

	(void)name;
	*j = (struct inventory_job){
		.stream = s,
		.req = r,
		.net = s->o.net,
		.limits = s->o.limits,
		.dirs = s->o.dirs,
	};
	node_sync_fill_report(s->o.sync, &j->report);
	http_req_on_close(r, on_inventory_lost, j);
	worker_submit(s->o.worker, run_inventory, done_inventory, free_inventory, j);
}

/* --- logs --- */

/* One reader of a gear's log. */
struct log_stream {
	struct http_req *req;
	struct gear_log_follow *follow; /* NULL: only the tail */
	struct node_stream *stream;
	char *root, *gear; /* owned */
	size_t lines;
	struct gear_log_lines tail;
	struct err e;
};

static void
free_log_stream(void *take_job)
{
	struct log_stream *l = take_job;

	gear_log_follow_cancel(l->follow);
	gear_log_lines_fini(&l->tail);
	free(l->root);
	free(l->gear);
	free(l);
}

static bool
write_lines(struct http_req *r, const struct gear_log_lines *lines)
{
	AUTO_FINI(buf_fini) struct buf out = { 0 };

	for (size_t i = 0; i < lines->n; i++) {
		codec_encode(&wire_log_line_codec, &lines->v[i], &out);
		buf_addc(&out, '\n');
	}
	return out.n == 0 || http_req_write(r, out.p, out.n);
}

static void
run_tail(void *job)
{
	struct log_stream *l = job;

	if (gear_log_tail(l->root, l->gear, NULL, l->lines, &l->tail, &l->e) < 0)
		log_warn("log_unread", LOG_STR("gear", l->gear), LOG_ERR(&l->e));
}

static void
done_tail(void *job)
{
	struct log_stream *l = job;

	if (l->req != NULL && l->e.code != ERR_NONE) {
		http_req_reply_text(l->req, err_http_status(l->e.code), "%s\n", l->e.text);
	} else if (l->req != NULL) {
		http_req_begin(l->req, 200, json_headers);
		(void)write_lines(l->req, &l->tail);
		http_req_end(l->req);
	}
	free_log_stream(l);
}

static void
on_tail_lost(struct http_req *r, void *arg)
{
	struct log_stream *l = arg;

	(void)r;
	l->req = NULL;
}

static bool
on_lines(const struct gear_log_lines *lines, const struct err *e, void *arg)
{
	struct log_stream *l = arg;

	if (e == NULL)
		return write_lines(l->req, lines);
	log_warn("log_follow_ended", LOG_STR("gear", l->gear), LOG_ERR(e));
	http_req_end(l->req);
	l->follow = NULL;
	free_log_stream(l);
	return true;
}

static void
on_drained(struct http_req *r, void *arg)
{
	struct log_stream *l = arg;

	(void)r;
	gear_log_follow_resume(l->follow);
}

static void
on_follow_lost(struct http_req *r, void *arg)
{
	(void)r;
	free_log_stream(arg);
}

static void
start_follow(struct node_stream *s, struct log_stream *l)
{
	http_req_begin(l->req, 200, json_headers);
	l->follow =
	    gear_log_follow_start(s->o.loop, s->o.worker, l->root, l->gear, l->lines, on_lines, l);
	http_req_on_drain(l->req, on_drained, l);
	http_req_on_close(l->req, on_follow_lost, l);
}

static void
handle_logs(struct node_stream *s, struct http_req *r, const char *uuid)
{
	struct gear *g = gear_table_find(s->o.gears, uuid);
	const char *lines = http_req_param(r, "lines");
	const char *follow = http_req_param(r, "follow");
	int64_t n = LINES_DEFAULT;
	struct err e = { 0 };
	struct log_stream *l;

	if (g == NULL) {
		http_req_reply_text(r, 404, "This node has no gear %s.\n", uuid);
		return;
	}
	if (lines != NULL &&
	    str_to_i64(str_of(lines), 0, GEAR_LOG_LINES_MAX, "lines", &n, &e) < 0) {
		http_req_reply_text(r, err_http_status(e.code), "%s\n", e.text);
		return;
	}
	l = xcalloc(1, sizeof *l);
	*l = (struct log_stream){
		.req = r,
		.stream = s,
		.root = file_join(g->dir, "logs"),
		.gear = xstrdup(uuid),
		.lines = (size_t)n,
	};
	if (follow != NULL && strcmp(follow, "1") == 0) {
		start_follow(s, l);
		return;
	}
	http_req_on_close(r, on_tail_lost, l);
	worker_submit(s->o.worker, run_tail, done_tail, free_log_stream, l);
}

static void
handle_action(struct node_stream *s, struct http_req *r, const char *uuid)
{
	const struct gear_act_opts o = {
		.loop = s->o.loop,
		.gears = s->o.gears,
		.instances = s->o.instances,
		.carts = s->o.carts,
	};

	act_http_handle(&o, r, uuid);
}

/* --- shutdown --- */

struct shutdown {
	struct http_req *req; /* NULL: nobody waits any more */
};

static void
on_stopped(void *arg)
{
	struct shutdown *sh = arg;

	if (sh->req != NULL)
		http_req_reply(sh->req, 200, json_headers, "{}", 2);
	free(sh);
}

static void
on_shutdown_lost(struct http_req *r, void *arg)
{
	struct shutdown *sh = arg;

	(void)r;
	sh->req = NULL;
}

static void
handle_shutdown(struct node_stream *s, struct http_req *r, const char *name)
{
	const char *stops = http_req_param(r, "stop-gears");
	struct shutdown *sh = xcalloc(1, sizeof *sh);

	(void)name;
	sh->req = r;
	http_req_on_close(r, on_shutdown_lost, sh);
	s->o.shutdown(stops != NULL && strcmp(stops, "1") == 0, on_stopped, sh, s->o.arg);
}

/* --- all --- */

static bool
is_admitted(const struct node_stream *s, struct http_req *r)
{
	const char *auth = http_req_header(r, "Authorization");

	if (auth != NULL && str_has_prefix(auth, "Bearer ") &&
	    secret_equal(s->o.token, auth + strlen("Bearer ")))
		return true;
	http_req_reply_text(r, 401, "The broker's token is missing or wrong.\n");
	return false;
}

static void
handle_build(struct node_stream *s, struct http_req *r, const char *name)
{
	(void)name;
	if (s->o.builder == NULL)
		http_req_reply_text(r, 503, "This node is stopping.\n");
	else
		builder_handle(s->o.builder, r);
}

static void
handle_layer(struct node_stream *s, struct http_req *r, const char *digest)
{
	AUTO(free) char *dir = NULL;

	if (!str_has_prefix(digest, "sha256:") || !layer_store_has(s->o.layers, digest)) {
		http_req_reply_text(r, 404, "This node has no layer %s.\n", digest);
		return;
	}
	dir = layer_store_path(s->o.layers, digest);
	tree_stream_send(s->o.loop, r, dir, false, NULL, NULL);
}

static void
handle_volume(struct node_stream *s, struct http_req *r, const char *uuid)
{
	gear_move_serve(s->o.loop, s->o.worker, s->o.gears, uuid, r);
}

static void
handle_template(struct node_stream *s, struct http_req *r, const char *uuid)
{
	const struct gear *g = gear_table_find(s->o.gears, uuid);
	AUTO(free) char *dir = g == NULL ? NULL : gear_template_dir(g);

	if (dir == NULL || !file_exists(dir))
		http_req_reply_text(r, 404, "Nothing has changed the template of %s.\n", uuid);
	else
		tree_stream_send(s->o.loop, r, dir, false, NULL, NULL);
}

static void
handle_exec(struct node_stream *s, struct http_req *r, const char *uuid)
{
	gear_exec_handle(s->exec, r, uuid);
}

static void
handle_port(struct node_stream *s, struct http_req *r, const char *uuid)
{
	gear_exec_handle_port(s->exec, r, uuid);
}

/* The jobs of a frequency, whatever the time. */
static void
handle_cron(struct node_stream *s, struct http_req *r, const char *name)
{
	for (int f = 0; cron_names[f] != NULL; f++) {
		if (strcmp(cron_names[f], name) == 0) {
			http_req_reply_text(
			    r, 200, "%zu\n", cron_run(s->o.cron, (enum cron_frequency)f));
			return;
		}
	}
	http_req_reply_text(
	    r, 404, "There are minutely, hourly, daily, weekly, monthly; not %s.\n", name);
}

static void
handle_save(struct node_stream *s, struct http_req *r, const char *uuid)
{
	snapshot_handle_save(s->snapshots, r, uuid);
}

static void
handle_restore(struct node_stream *s, struct http_req *r, const char *uuid)
{
	snapshot_handle_restore(s->snapshots, r, uuid);
}

static void
handle_restored_git(struct node_stream *s, struct http_req *r, const char *uuid)
{
	snapshot_handle_git(s->snapshots, r, uuid);
}

static void
handle_restored_deployment(struct node_stream *s, struct http_req *r, const char *uuid)
{
	snapshot_handle_deployment(s->snapshots, r, uuid);
}

static void
handle_restored_part(struct node_stream *s, struct http_req *r, const char *uuid)
{
	snapshot_handle_part(s->snapshots, r, uuid);
}

static void
handle_restore_commit(struct node_stream *s, struct http_req *r, const char *uuid)
{
	snapshot_handle_commit(s->snapshots, r, uuid);
}

static void
handle_restore_discard(struct node_stream *s, struct http_req *r, const char *uuid)
{
	snapshot_handle_discard(s->snapshots, r, uuid);
}

/* What is served: a path, or with ends the two sides of a name, which the handler gets. */
static const struct {
	const char *method, *path, *end; /* end NULL: no name in it */
	void (*handle)(struct node_stream *s, struct http_req *r, const char *name);
} routes[] = {
	{ "POST", "/v1/builds", NULL, handle_build },
	{ "GET", "/v1/gears/", "/logs", handle_logs },
	{ "POST", "/v1/gears/", "/actions", handle_action },
	{ "POST", "/v1/gears/", "/exec", handle_exec },
	{ "POST", "/v1/gears/", "/port", handle_port },
	{ "GET", "/v1/gears/", "/volume", handle_volume },
	{ "GET", "/v1/gears/", "/template", handle_template },
	{ "POST", "/v1/gears/", "/snapshot", handle_save },
	{ "POST", "/v1/gears/", "/restore", handle_restore },
	{ "GET", "/v1/gears/", "/restore/git", handle_restored_git },
	{ "GET", "/v1/gears/", "/restore/part", handle_restored_part },
	{ "GET", "/v1/gears/", "/restore/deployment", handle_restored_deployment },
	{ "POST", "/v1/gears/", "/restore/commit", handle_restore_commit },
	{ "DELETE", "/v1/gears/", "/restore", handle_restore_discard },
	{ "GET", "/v1/layers/", "", handle_layer },
	{ "POST", "/v1/cron/", "", handle_cron },
	{ "GET", "/v1/status", NULL, handle_status },
	{ "GET", "/v1/inventory", NULL, handle_inventory },
	{ "POST", "/v1/shutdown", NULL, handle_shutdown },
};

/* The name between both sides, without a slash, or NULL; caller owns. */
static char *
name_in(const char *path, const char *begin, const char *end)
{
	const char *name, *slash;

	if (!str_has_prefix(path, begin))
		return NULL;
	name = path + strlen(begin);
	slash = name + strcspn(name, "/");
	return slash == name || strcmp(slash, end) != 0 ? NULL
	                                                : xstrndup(name, (size_t)(slash - name));
}

static void
on_request(struct http_req *r, void *arg)
{
	struct node_stream *s = arg;
	const char *path = http_req_path(r);

	if (!is_admitted(s, r))
		return;
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		AUTO(free) char *name = NULL;

		if (!str_eq(http_req_method(r), routes[i].method))
			continue;
		if (routes[i].end != NULL)
			name = name_in(path, routes[i].path, routes[i].end);
		if (name == NULL && (routes[i].end != NULL || strcmp(path, routes[i].path) != 0))
			continue;
		routes[i].handle(s, r, name);
		return;
	}
	http_req_reply_text(r, 404, "There is nothing at %s.\n", path);
}

DEFINE_AUTO(struct node_stream *, node_stream_close)

struct node_stream *
node_stream_open(const struct node_stream_opts *o, const char *address, struct err *e)
{
	AUTO(node_stream_close) struct node_stream *s = xcalloc(1, sizeof *s);
	static const struct http_server_opts opts = { .server_name = "pinion-node" };

	const struct gear_exec_opts exec = {
		.loop = o->loop,
		.worker = o->worker,
		.instances = o->instances,
		.net = o->net,
	};

	const struct snapshots_opts saves = {
		.act = { .loop = o->loop,
		    .gears = o->gears,
		    .instances = o->instances,
		    .carts = o->carts },
		.worker = o->worker,
		.dirs = o->dirs,
	};

	s->o = *o;
	s->exec = gear_exec_new(&exec);
	s->snapshots = snapshots_new(&saves, e);
	if (s->snapshots == NULL)
		return NULL;
	s->server = http_server_new(o->loop, &opts, on_request, s);
	return http_server_listen(s->server, address, SOCKET_MODE, e) < 0 ? NULL : STEAL(s);
}

void
node_stream_close(struct node_stream *take_s)
{
	if (take_s == NULL)
		return;
	if (take_s->server != NULL)
		http_server_free(take_s->server);
	gear_exec_free(take_s->exec);
	snapshots_free(take_s->snapshots);
	free(take_s);
}

void
node_stream_no_builds(struct node_stream *s)
{
	s->o.builder = NULL;
}
