#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/acme.h"
#include "broker/api.h"
#include "broker/app.h"
#include "broker/app_traffic.h"
#include "broker/auth.h"
#include "broker/blob.h"
#include "broker/broker.h"
#include "broker/backup.h"
#include "broker/broker_conf.h"
#include "broker/build.h"
#include "broker/build_record.h"
#include "broker/cart_fetch.h"
#include "broker/catalog.h"
#include "broker/gear_command.h"
#include "broker/gear_stream.h"
#include "broker/drain.h"
#include "broker/idler.h"
#include "broker/net_guard.h"
#include "broker/node_link.h"
#include "broker/push.h"
#include "broker/push_http.h"
#include "broker/push_ssh.h"
#include "broker/repo.h"
#include "broker/repo_serve.h"
#include "broker/restore_run.h"
#include "broker/rollout.h"
#include "broker/router_lines.h"
#include "broker/router_link.h"
#include "broker/run_instance.h"
#include "broker/session.h"
#include "broker/ssh_server.h"
#include "broker/staple.h"
#include "broker/tree_relay.h"
#include "broker/tls_keys.h"
#include "broker/watch_feed.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/http/http_server.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/store/store.h"

enum { WORKERS = 4, DRAIN_MS = 10000, DRAIN_LOOK_MS = 20 };

struct daemon {
	struct broker b;
	struct http_server *public, *internal, *hooks;
	struct loop_signal *term, *interrupt;
	struct loop_timer *drain;
	int64_t drain_until;
	int rc;
};

/* --- requests --- */

static void
on_public(struct http_req *r, void *arg)
{
	struct daemon *d = arg;
	const char *path = http_req_path(r);

	if (str_has_prefix(path, "/git/"))
		push_http_handle(d->b.git, r);
	else if (str_has_prefix(path, "/broker/"))
		api_handle(&d->b, r);
	else if (strcmp(path, "/") == 0)
		http_req_reply_text(r, 200,
		    "This is a Pinion broker. Its API is at /broker/rest, repositories at /git.\n"
		    "Start with: pinion login URL\n");
	else
		http_req_reply_text(r, 404, "There is nothing here. The API is at /broker/rest.\n");
}

static void
on_internal(struct http_req *r, void *arg)
{
	struct daemon *d = arg;
	const char *path = http_req_path(r);

	if (str_has_prefix(path, "/internal/node/")) {
		if (!node_link_admits(node_link_token(d->b.nodes), r))
			return;
		if (strcmp(path, "/internal/node/feed") == 0)
			watch_feed_node(d->b.feeds, r);
		else if (str_has_prefix(path, "/internal/node/blob/"))
			blob_store_serve(d->b.blobs, r);
		else if (strcmp(path, "/internal/node/layer") == 0)
			tree_relay_layer(&d->b, r);
		else if (strcmp(path, "/internal/node/command") == 0)
			gear_command_handle(d->b.commands, r);
		else if (strcmp(path, "/internal/node/repo") == 0)
			repo_serve(&d->b, r);
		else if (strcmp(path, "/internal/node/volume") == 0)
			tree_relay_volume(&d->b, r);
		else
			node_link_handle(d->b.nodes, r);
	} else if (str_has_prefix(path, "/internal/router/")) {
		if (!node_link_admits(router_link_token(d->b.routers), r))
			return;
		if (strcmp(path, "/internal/router/feed") == 0)
			watch_feed_router(d->b.feeds, r);
		else if (strcmp(path, "/internal/router/report") == 0)
			router_link_handle(d->b.routers, r);
		else if (strcmp(path, "/internal/router/lines") == 0)
			router_lines_handle(d->b.router_lines, r);
		else if (strcmp(path, "/internal/router/traffic") == 0)
			router_link_traffic(d->b.routers, r);
		else
			http_req_reply_text(r, 404, "There is no %s.\n", path);
	} else {
		http_req_reply_text(r, 404, "There is no %s.\n", path);
	}
}

static void
on_hook(struct http_req *r, void *arg)
{
	struct daemon *d = arg;

	if (strcmp(http_req_path(r), "/acme") == 0)
		acme_handle(&d->b, r);
	else
		push_handle_hook(d->b.pushes, r);
}

/* --- start and end --- */

static void
on_drain(void *arg)
{
	struct daemon *d = arg;

	if (http_server_active(d->public) == 0 || loop_now_ms() >= d->drain_until)
		loop_stop(d->b.loop);
}

static void
on_term(void *arg)
{
	struct daemon *d = arg;

	if (d->drain != NULL) {
		loop_stop(d->b.loop); /* asked twice */
		return;
	}
	log_info("broker_stopping");
	d->drain_until = loop_now_ms() + DRAIN_MS;
	if (d->public != NULL)
		http_server_drain(d->public);
	ssh_server_drain(d->b.ssh);
	d->drain = loop_timer_start(d->b.loop, DRAIN_LOOK_MS, true, on_drain, d);
	if (d->public == NULL || http_server_active(d->public) == 0)
		loop_stop(d->b.loop);
}

static void
give_up(struct daemon *d, const struct err *e)
{
	log_error("broker_cannot_start", LOG_ERR(e));
	d->rc = err_exit_code(e->code);
	loop_stop(d->b.loop);
}

static int
tell_ready(struct daemon *d, struct err *e)
{
	char line[64];
	int fd = (int)d->b.conf.ready_fd;
	int n = snprintf(line, sizeof line, "{\"port\":%d,\"ssh_port\":%d}\n",
	    http_server_port(d->public), ssh_server_port(d->b.ssh));

	log_info("broker_serves", LOG_STR("listen", d->b.conf.listen),
	    LOG_INT("port", http_server_port(d->public)));
	if (fd < 0)
		return 0;
	if (file_write_all(fd, line, (size_t)n, e) < 0)
		return err_wrap(e, "ready-fd");
	file_close(fd);
	return 0;
}

static int
serve(struct daemon *d, struct err *e)
{
	struct broker *b = &d->b;
	struct http_server_opts opts = { .server_name = "Pinion" };

	d->hooks = http_server_new(b->loop, NULL, on_hook, d);
	d->internal = http_server_new(b->loop, NULL, on_internal, d);
	d->public = http_server_new(b->loop, &opts, on_public, d);
	if (http_server_listen(d->hooks, b->conf.hook_socket, 0600, e) < 0 ||
	    http_server_listen(d->internal, b->conf.internal, 0660, e) < 0 ||
	    http_server_listen(d->public, b->conf.listen, 0, e) < 0 ||
	    ssh_server_listen(b->ssh, e) < 0)
		return -1;
	b->ssh_port = ssh_server_port(b->ssh);
	run_instance_sweep(b);
	restore_runs_resume(b->restores);
	return tell_ready(d, e);
}

static void
on_bootstrapped(const struct err *e, void *arg)
{
	struct daemon *d = arg;
	struct err bad = { 0 };

	if (e != NULL)
		bad = *e;
	if (e != NULL || serve(d, &bad) < 0)
		give_up(d, &bad);
}

static void
on_apps_recovered(const struct err *e, void *arg)
{
	struct daemon *d = arg;

	(void)e;
	auth_bootstrap(d->b.auth, on_bootstrapped, d);
}

static void
on_recovered(void *arg)
{
	struct daemon *d = arg;

	app_recover(&d->b, on_apps_recovered, d);
}

/* Makes the directory of a unix: address. */
static int
make_run_dir(const char *address, struct err *e)
{
	AUTO(free) char *path = NULL;
	char *slash;

	if (!str_has_prefix(address, "unix:/"))
		return 0;
	path = xstrdup(address + strlen("unix:"));
	slash = strrchr(path, '/');
	if (slash == path)
		return 0;
	*slash = '\0';
	return file_mkdirs(path, 0711, e);
}

static int
open_parts(struct broker *b, struct err *e)
{
	AUTO(free) char *store = file_join(b->conf.data, "store");
	AUTO(free) char *scratch = file_join(b->conf.data, "scratch");

	if (file_mkdirs(b->conf.data, 0711, e) < 0 || file_remove_tree(scratch, e) < 0 ||
	    make_run_dir(b->conf.internal, e) < 0 || make_run_dir(b->conf.hook_socket, e) < 0 ||
	    make_run_dir(b->conf.ssh_socket, e) < 0)
		return -1;
	b->loop = loop_new();
	b->worker = worker_new(b->loop, WORKERS);
	b->client = http_client_new(b->loop);
	if ((b->store = store_sqlite_open(b->loop, store, e)) == NULL ||
	    (b->catalog = catalog_new(b->conf.cartridges, e)) == NULL ||
	    (b->nodes = node_link_new(b, e)) == NULL ||
	    (b->routers = router_link_new(b, e)) == NULL ||
	    (b->repos = repo_store_new(b, e)) == NULL ||
	    (b->guard = net_guard_new(&b->conf.download_allow, e)) == NULL ||
	    (b->blobs = blob_store_new(b, e)) == NULL)
		return -1;
	catalog_watch(b->catalog, b->store);
	b->auth = auth_new(b);
	b->feeds = watch_feed_new(b);
	b->pushes = push_set_new(b);
	b->git = push_http_new(b);
	b->ssh_pushes = push_ssh_set_new(b);
	b->streams = gear_streams_new(b);
	b->sessions = session_set_new(b);
	b->commands = gear_command_set_new(b);
	b->ssh = ssh_server_new(b);
	b->builds = build_queue_new(b);
	b->backups = backups_new(b);
	b->rollout = rollout_new(b);
	b->restores = restore_runs_new(b);
	b->idler = idler_new(b);
	b->traffic = app_traffic_new();
	b->router_lines = router_lines_new(b);
	b->drains = drains_new(b);
	b->tls_keys = tls_keys_start(b);
	b->staples = staple_start(b);
	return b->conf.acme_directory == NULL || (b->acme = acme_start(b, e)) != NULL ? 0 : -1;
}

static void
close_parts(struct daemon *d)
{
	struct broker *b = &d->b;

	ssh_server_free(b->ssh);
	push_http_free(b->git);
	push_ssh_set_free(b->ssh_pushes);
	session_set_free(b->sessions);
	gear_command_set_free(b->commands);
	gear_streams_free(b->streams);
	watch_feed_free(b->feeds);
	http_server_free(d->public);
	http_server_free(d->internal);
	http_server_free(d->hooks);
	backups_free(b->backups);
	build_queue_free(b->builds);
	push_set_free(b->pushes);
	tls_keys_stop(b->tls_keys);
	staple_stop(b->staples);
	acme_stop(b->acme);
	drains_free(b->drains);
	b->drains = NULL;
	idler_free(b->idler);
	b->idler = NULL;
	app_traffic_free(STEAL(b->traffic));
	rollout_free(b->rollout);
	api_end(b);
	restore_runs_free(b->restores);
	cart_fetch_end(b);
	blob_store_free(b->blobs);
	loop_timer_cancel(d->drain);
	loop_signal_cancel(d->term);
	loop_signal_cancel(d->interrupt);
	worker_free(b->worker);
	auth_free(b->auth);
	router_lines_free(b->router_lines);
	node_link_free(b->nodes);
	router_link_free(b->routers);
	repo_store_free(b->repos);
	net_guard_free(b->guard);
	catalog_free(b->catalog);
	http_client_free(b->client);
	store_close(b->store);
	if (b->loop != NULL)
		loop_free(b->loop);
	broker_conf_fini(&b->conf);
}

int
main(int argc, char **argv)
{
	struct daemon d = { 0 };
	enum log_level level = LOG_INFO;
	struct err e = { 0 };
	int rc;

	mem_setup();
	rc = broker_conf_load(argc, argv, &d.b.conf, &e);
	if (rc > 0) {
		broker_conf_fini(&d.b.conf);
		return 0;
	}
	if (rc == 0 && log_level_parse(d.b.conf.log_level, &level) < 0)
		rc = err_set(
		    &e, ERR_INVALID, "log-level", "log-level is debug, info, warn or error");
	log_setup("pinion-broker", level, d.b.conf.log_json);
	(void)umask(0027);
	(void)signal(SIGPIPE, SIG_IGN);
	if (rc == 0)
		rc = open_parts(&d.b, &e);
	if (rc < 0) {
		log_error("broker_cannot_start", LOG_STR("field", e.field), LOG_ERR(&e));
		close_parts(&d);
		return err_exit_code(e.code);
	}
	d.term = loop_signal_start(d.b.loop, SIGTERM, on_term, &d);
	d.interrupt = loop_signal_start(d.b.loop, SIGINT, on_term, &d);
	build_record_recover(&d.b, on_recovered, &d);
	loop_run(d.b.loop);
	log_info("broker_stopped");
	close_parts(&d);
	return d.rc;
}
