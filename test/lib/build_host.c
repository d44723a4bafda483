/* build_host DIR SOCKET SRCDIR BUILDDIR GEARS: a node's builder alone, on a Unix socket, with real
 * containers: for test/integration/builds.py. GEARS: a file of wire_gear lines; each gear gets a
 * volume and its cartridges. Prints "ready" once they are configured, ends on SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "lib/http/http_server.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/builder.h"
#include "node/cart_install.h"
#include "node/container.h"
#include "node/gear.h"
#include "node/gear_env.h"
#include "node/layer_store.h"
#include "node/limits.h"
#include "node/net.h"
#include "node/node_dirs.h"
#include "node/volume.h"

enum { GEARS_MAX = 64, UID_BASE = 1 << 20 };

struct host {
	struct node_dirs dirs;
	struct loop *loop;
	struct worker *worker;
	struct limits *limits;
	struct volumes *volumes;
	struct net *net;
	struct container_host *containers;
	struct cart_dir *carts;
	struct layer_store *layers;
	struct builder *builder;
	struct http_server *server;
	struct gear gears[GEARS_MAX];
	size_t n, ready;
};

static void
die(const struct err *e)
{
	fprintf(stderr, "build_host: %s: %s\n", e->field, e->text);
	exit(1);
}

static struct gear *
find_gear(const char *uuid, void *arg)
{
	struct host *h = arg;

	for (size_t i = 0; i < h->n; i++) {
		if (strcmp(h->gears[i].spec.uuid, uuid) == 0)
			return &h->gears[i];
	}
	return NULL;
}

static void configure(struct host *h);

static void
on_installed(const struct err *e, void *arg)
{
	if (e != NULL)
		die(e);
	configure(arg);
}

/* One cartridge after the other, one gear after the other. */
static void
configure(struct host *h)
{
	const struct cart_install_opts o = { h->loop, h->worker, h->containers, &h->dirs,
		h->carts };
	struct err e = { 0 };

	while (h->ready < h->n) {
		struct gear *g = &h->gears[h->ready];

		if (g->record.bases.n < g->spec.cartridges.n) {
			if (cart_install_start(&o, g, on_installed, h, &e) == NULL)
				die(&e);
			return;
		}
		g->state = GEAR_READY;
		h->ready++;
	}
	printf("ready\n");
	fflush(stdout);
}

static void
make_gear(struct host *h, const char *line, size_t n)
{
	struct gear *g = &h->gears[h->n];
	const struct cart_dir_entry *carts[8] = { 0 };
	struct gear_env env = { .gear = &g->spec, .carts = carts };
	struct wire_var_list vars = { 0 };
	struct err e = { 0 };

	if (codec_decode(&wire_gear_codec, line, n, &g->spec, 0, &e) < 0)
		die(&e);
	g->record.uuid = xstrdup(g->spec.uuid);
	g->record.uid_base = UID_BASE + (int64_t)h->n * CONTAINER_IDS;
	g->dir = node_dirs_gear(&h->dirs, g->spec.uuid);
	g->state = GEAR_CONFIGURING;
	for (; env.carts_n < g->spec.cartridges.n && env.carts_n < 8; env.carts_n++) {
		const struct wire_gear_cart *c = &g->spec.cartridges.v[env.carts_n];

		carts[env.carts_n] = cart_dir_find(h->carts, c->name, c->version, NULL);
	}
	gear_env_gear_vars(&env, &vars);
	if (volume_make(h->volumes, g->spec.uuid, 100, &e) < 0 ||
	    gear_write_env(g, "", &vars, true, &e) < 0)
		die(&e);
	for (size_t i = 0; i < vars.n; i++)
		wire_var_fini(&vars.v[i]);
	free(vars.v);
	h->n++;
}

static void
on_request(struct http_req *r, void *arg)
{
	struct host *h = arg;

	builder_handle(h->builder, r);
}

static void
on_term(void *arg)
{
	loop_stop(((struct host *)arg)->loop);
}

static void
open_all(struct host *h, char **argv)
{
	AUTO(free) char *data = file_join(argv[1], "node");
	AUTO(free) char *run = file_join(argv[1], "run");
	AUTO(free) char *cartridges = file_join(argv[3], "cartridges");
	AUTO(free) char *stack = file_join(argv[3], "stacks/host");
	AUTO(free) char *address = xasprintf("unix:%s", argv[2]);
	struct err e = { 0 };

	if (node_dirs_init(&h->dirs, data, run, cartridges, stack, argv[4], &e) < 0)
		die(&e);
	h->loop = loop_new();
	h->worker = worker_new(h->loop, 4);
	h->limits = limits_open(h->dirs.tag, NULL, &e);
	h->volumes = h->limits == NULL ? NULL : volumes_open(&h->dirs, "auto", &e);
	h->carts = h->volumes == NULL ? NULL : cart_dir_open(cartridges, &e);
	h->layers = h->carts == NULL ? NULL : layer_store_open(&h->dirs, &e);
	if (h->layers == NULL)
		die(&e);
	const struct net_opts no = {
		.tag = h->dirs.tag, .run_dir = h->dirs.run, .state_dir = h->dirs.data
	};
	const struct container_host_opts co = {
		.dirs = &h->dirs, .limits = h->limits, .runtime = "crun"
	};

	h->net = net_open(&no, &e);
	h->containers = h->net == NULL ? NULL : container_host_new(h->loop, h->worker, &co, &e);
	if (h->containers == NULL)
		die(&e);
	const struct builder_opts bo = { .loop = h->loop,
		.worker = h->worker,
		.containers = h->containers,
		.dirs = &h->dirs,
		.carts = h->carts,
		.layers = h->layers,
		.net = h->net,
		.find_gear = find_gear,
		.arg = h };

	h->builder = builder_new(&bo, &e);
	h->server = http_server_new(h->loop, NULL, on_request, h);
	if (h->builder == NULL || http_server_listen(h->server, address, 0600, &e) < 0)
		die(&e);
}

static void
close_all(struct host *h)
{
	struct err e = { 0 };

	builder_free(h->builder);
	http_server_free(h->server);
	container_host_free(h->containers);
	worker_free(h->worker);
	for (size_t i = 0; i < h->n; i++) {
		if (volume_remove(h->volumes, h->gears[i].spec.uuid, &e) < 0)
			fprintf(stderr, "build_host: %s\n", e.text);
		wire_gear_fini(&h->gears[i].spec);
		codec_fini(&gear_record_codec, &h->gears[i].record);
		free(h->gears[i].dir);
	}
	if (net_destroy_all(h->net, &e) < 0)
		fprintf(stderr, "build_host: %s\n", e.text);
	net_close(h->net);
	layer_store_close(h->layers);
	cart_dir_close(h->carts);
	volumes_close(h->volumes);
	limits_close(h->limits);
	loop_free(h->loop);
	node_dirs_fini(&h->dirs);
}

int
main(int argc, char **argv)
{
	static struct host h;
	AUTO_FINI(buf_fini) struct buf gears = { 0 };
	struct loop_signal *term;
	struct err e = { 0 };

	if (argc != 6)
		return 2;
	log_setup("build_host", LOG_INFO, false);
	open_all(&h, argv);
	if (file_read(argv[5], 1024 * 1024, &gears, &e) < 0)
		die(&e);
	for (const char *p = gears.p; p != NULL && *p != '\0' && h.n < GEARS_MAX;) {
		size_t n = strcspn(p, "\n");

		make_gear(&h, p, n);
		p += n + (p[n] == '\n');
	}
	term = loop_signal_start(h.loop, SIGTERM, on_term, &h);
	configure(&h);
	loop_run(h.loop);
	loop_signal_cancel(term);
	close_all(&h);
	return 0;
}
