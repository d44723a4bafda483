/* `pinion up`: broker, node and router on one machine. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/up_daemon.h"
#include "cli/up_dirs.h"
#include "cli/up_takeover.h"
#include "cli/up_view.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/where.h"
#include "lib/codec/codec.h"
#include "lib/http/http_client.h"
#include "lib/loop/loop.h"

enum {
	BROKER,
	NODE,
	ROUTER,
	DAEMONS,
	SSH_PORT = 2222,
	HTTPS_PORT = 8443,
	GRACE_MS = 10000,
	CERT_MS = 3600 * 1000,
	GEARS_GRACE_MS = 120000, /* stop timeouts of gears are theirs to keep */
	DRAIN_S = 10,
	DRAIN_MAX_S = 86400,
};

struct up {
	struct loop *loop;
	struct http_client *client;
	struct up_dirs dirs;
	struct up_daemon *daemons[DAEMONS]; /* owned */
	char *listen;                       /* owned; with the port once it is known */
	char *router_listen;                /* owned */
	char *https_listen;                 /* owned; NULL: no https */
	char *ssh_listen;                   /* owned; NULL: no SSH */
	const char *domain;
	const char *ready_file; /* NULL: none */
	char *cartridges, *stacks;
	char *programs[DAEMONS];
	char *hook, *ssh;
	char *cart_pack, *acme;
	const char *app_cert;        /* NULL: none is given */
	const struct cmd_line *line; /* borrowed */
	struct loop_timer *again;    /* looks at app_cert */
	int64_t drain_s;
	bool is_ready[DAEMONS];
	bool keeps_gears, is_stopping, is_announced, stops_rest, has_failed;

	struct up_place place;        /* of another, until we serve */
	struct up_takeover *takeover; /* owned: ours, for another; NULL: not yet */
	bool gives_place, comes_back; /* to another; or it failed */
	bool is_given;                /* it serves: only our router is left */
};

/* --- what each daemon is started with --- */

static void
add(struct str_list *l, const char *name, char *take_value)
{
	str_list_add(l, name);
	str_list_take(l, take_value);
}

static void
add_user(struct str_list *l, struct up_user u)
{
	add(l, "--user", xasprintf("%u:%u", u.uid, u.gid));
	str_list_add(l, "--");
}

static void
view_argv(struct str_list *l)
{
	str_list_add(l, "/proc/self/exe");
	str_list_add(l, "up-view");
}

static char *
in_view(const char *name)
{
	return file_join(UP_VIEW_DIR, name);
}

static char *
broker_socket(const struct up *u)
{
	return xasprintf("unix:%s/internal.sock", u->dirs.run_broker);
}

static char *
router_url(const struct up *u)
{
	return xasprintf("http://%s", u->router_listen);
}

/* Certificates: what is set of them. */
static void
add_certs(struct str_list *l, const struct up *u)
{
	static const char *const same[] = { "acme-directory", "acme-contact", "acme-challenge" };

	if (u->app_cert != NULL)
		add(l, "--app-cert", in_view("secrets/app-cert.pem"));
	if (cmd_has(u->line, "acme-ca-file"))
		add(l, "--acme-ca-file", in_view("secrets/acme-ca.pem"));
	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		if (cmd_has(u->line, same[i])) {
			str_list_take(l, xasprintf("--%s", same[i]));
			str_list_add(l, cmd_option(u->line, same[i]));
		}
	}
}

static void
broker_argv(struct str_list *l, void *arg)
{
	const struct up *u = arg;

	view_argv(l);
	up_view_bind(l, u->dirs.broker, "data", true);
	up_view_bind(l, u->dirs.secrets, "secrets", false);
	up_view_bind(l, u->dirs.admin_password, "admin-password", false);
	up_view_bind(l, u->cartridges, "cartridges", false);
	up_view_bind(l, u->programs[BROKER], "pinion-broker", false);
	up_view_bind(l, u->hook, "pinion-hook", false);
	up_view_bind(l, u->cart_pack, "pinion-cart-pack", false);
	up_view_bind(l, u->acme, "pinion-acme", false);
	up_view_bind(l, u->ssh, "pinion-ssh", false);
	add_user(l, u->dirs.broker_user);
	str_list_take(l, in_view("pinion-broker"));
	add(l, "--data", in_view("data"));
	add(l, "--listen", xstrdup(u->listen));
	add(l, "--internal", broker_socket(u));
	add(l, "--hook-socket", xasprintf("unix:%s/hook.sock", u->dirs.run_broker));
	add(l, "--hook-program", in_view("pinion-hook"));
	add(l, "--cart-pack-program", in_view("pinion-cart-pack"));
	add(l, "--acme-hook-program", in_view("pinion-acme"));
	add_certs(l, u);
	if (u->ssh_listen != NULL) {
		add(l, "--ssh", xstrdup(u->ssh_listen));
		add(l, "--ssh-keys", in_view("secrets"));
		add(l, "--ssh-program", in_view("pinion-ssh"));
		add(l, "--ssh-socket", xasprintf("unix:%s/ssh.sock", u->dirs.run_broker));
	}
	add(l, "--node-token-file", in_view("secrets/node.token"));
	add(l, "--router-token-file", in_view("secrets/router.token"));
	add(l, "--broker-token-file", in_view("secrets/broker.token"));
	add(l, "--admin-password-file", in_view("admin-password"));
	add(l, "--cartridges", in_view("cartridges"));
	add(l, "--app-domain", xstrdup(u->domain));
	add(l, "--router-url", router_url(u));
	add(l, "--ready-fd", xstrdup("3"));
}

static void
node_argv(struct str_list *l, void *arg)
{
	const struct up *u = arg;

	str_list_add(l, u->programs[NODE]);
	add(l, "--id", xstrdup("local"));
	add(l, "--data", xstrdup(u->dirs.node));
	add(l, "--run", xstrdup(u->dirs.run));
	add(l, "--broker", broker_socket(u));
	add(l, "--token-file", file_join(u->dirs.secrets, "node.token"));
	add(l, "--broker-token-file", file_join(u->dirs.secrets, "broker.token"));
	add(l, "--stream", xasprintf("unix:%s/node.sock", u->dirs.run));
	add(l, "--wake", xasprintf("unix:%s/wake.sock", u->dirs.run));
	add(l, "--wake-token-file", file_join(u->dirs.secrets, "wake.token"));
	add(l, "--cartridges", xstrdup(u->cartridges));
	add(l, "--stack", file_join(u->stacks, "host"));
	add(l, "--ready-fd", xstrdup("3"));
}

static void
router_argv(struct str_list *l, void *arg)
{
	const struct up *u = arg;

	view_argv(l);
	up_view_bind(l, u->dirs.router, "data", true);
	up_view_bind(l, u->dirs.secrets, "secrets", false);
	up_view_bind(l, u->programs[ROUTER], "pinion-router", false);
	add_user(l, u->dirs.router_user);
	str_list_take(l, in_view("pinion-router"));
	add(l, "--id", xstrdup("local"));
	add(l, "--http", xstrdup(u->router_listen));
	if (u->https_listen != NULL)
		add(l, "--https", xstrdup(u->https_listen));
	add(l, "--feed", broker_socket(u));
	add(l, "--token-file", in_view("secrets/router.token"));
	add(l, "--wake-token-file", in_view("secrets/wake.token"));
	add(l, "--state-dir", in_view("data"));
	add(l, "--access-log", in_view("data/access.log"));
	add(l, "--drain", xasprintf("%" PRId64, u->drain_s));
	add(l, "--ready-fd", xstrdup("3"));
}

/* --- ready --- */

/* ADDR:PORT with the port that was found. */
static void
set_port(char **address, int64_t port)
{
	char *colon = strrchr(*address, ':');

	if (port <= 0 || colon == NULL)
		return;
	char *with = xasprintf("%.*s:%" PRId64, (int)(colon - *address), *address, port);
	free(*address);
	*address = with;
}

static int64_t
ready_port(const char *line, const char *name)
{
	struct err e = { 0 };
	struct codec_value *v = codec_parse(line, strlen(line), &e);
	int64_t port = codec_int(codec_get(v, name), 0);

	if (v != NULL)
		codec_value_free(v);
	return port;
}

static void
write_ready_file(const struct up *u)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };

	if (u->ready_file == NULL)
		return;
	buf_addf(&b,
	    "{\"broker_url\":\"http://%s\",\"router_url\":\"http://%s\",\"domain\":", u->listen,
	    u->router_listen);
	buf_add_json_str(&b, u->domain);
	if (u->https_listen != NULL)
		buf_addf(&b, ",\"https_url\":\"https://%s\"", u->https_listen);
	if (u->ssh_listen != NULL)
		buf_addf(&b, ",\"ssh_address\":\"%s\",\"ssh_port\":%s", u->ssh_listen,
		    strrchr(u->ssh_listen, ':') + 1);
	buf_adds(&b, ",\"admin_user\":\"admin\",\"admin_password_file\":");
	buf_add_json_str(&b, u->dirs.admin_password);
	buf_adds(&b, "}\n");
	if (file_replace_fast(u->ready_file, b.p, b.n, 0644, &e) < 0)
		log_error("ready_file_failed", LOG_ERR(&e));
}

static void finish_takeover(struct up *u);
static void start_rest(struct up *u);

static void
announce(struct up *u)
{
	start_rest(u);
	for (int i = 0; i < DAEMONS; i++)
		if (!u->is_ready[i])
			return;
	if (u->is_announced || u->is_stopping)
		return;
	u->is_announced = true;
	finish_takeover(u);
	write_ready_file(u);
	AUTO(free)
	char *ssh =
	    u->ssh_listen == NULL ? xstrdup("") : xasprintf("  SSH          %s\n", u->ssh_listen);
	AUTO(free)
	char *https =
	    u->https_listen == NULL ? xstrdup("") : xasprintf(", https at %s", u->https_listen);
	(void)printf("Pinion serves.\n  API and git  http://%s\n  applications "
	             "http://NAME-DOMAIN.%s, at %s%s\n"
	             "%s"
	             "  log in       pinion login http://%s --user admin --password-file %s\n"
	             "  stop         kill %d\n",
	    u->listen, u->domain, u->router_listen, https, ssh, u->listen, u->dirs.admin_password,
	    (int)getpid());
	(void)fflush(stdout);
}

static void
on_broker_ready(const char *line, void *arg)
{
	struct up *u = arg;

	set_port(&u->listen, ready_port(line, "port"));
	if (u->ssh_listen != NULL)
		set_port(&u->ssh_listen, ready_port(line, "ssh_port"));
	u->is_ready[BROKER] = true;
	announce(u);
}

static void
on_node_ready(const char *line, void *arg)
{
	struct up *u = arg;

	(void)line;
	u->is_ready[NODE] = true;
	announce(u);
}

static void on_gone(void *arg);
static void on_lost(const char *name, void *arg);
static void on_router_ready(const char *line, void *arg);

static void
start_daemon(struct up *u, int i)
{
	static const struct up_daemon_opts all[DAEMONS] = {
		[BROKER] = { "pinion-broker", broker_argv, on_broker_ready, on_gone, on_lost,
		    NULL },
		[NODE] = { "pinion-node", node_argv, on_node_ready, on_gone, on_lost, NULL },
		[ROUTER] = { "pinion-router", router_argv, on_router_ready, on_gone, on_lost,
		    NULL },
	};
	struct up_daemon_opts o = all[i];

	o.arg = u;
	if (u->daemons[i] == NULL && !u->is_stopping)
		u->daemons[i] = up_daemon_start(u->loop, &o);
}

static bool
knows_router(const struct up *u)
{
	const char *colon = strrchr(u->router_listen, ':');

	return u->is_ready[ROUTER] || (u->place.fd >= 0 && strcmp(colon, ":0") != 0);
}

/* The broker tells users the router's address: it starts when that is known. The place of another
 * router is taken last: until then that serves, whatever happens to us. */
static void
start_rest(struct up *u)
{
	struct err e = { 0 };

	if (u->is_stopping)
		return;
	start_daemon(u, NODE);
	if (knows_router(u))
		start_daemon(u, BROKER);
	if (u->place.fd >= 0 && u->daemons[ROUTER] == NULL) {
		if (knows_router(u) && (!u->is_ready[BROKER] || !u->is_ready[NODE]))
			return;
		fault_point("up_takeover");
		if (up_takeover_router(&u->place, &e) < 0)
			log_warn("takeover_not_told", LOG_ERR(&e));
	}
	start_daemon(u, ROUTER);
}

static void
on_router_ready(const char *line, void *arg)
{
	struct up *u = arg;

	set_port(&u->router_listen, ready_port(line, "http"));
	if (u->https_listen != NULL)
		set_port(&u->https_listen, ready_port(line, "https"));
	u->is_ready[ROUTER] = true;
	announce(u);
}

/* --- the end --- */

static void
stop_daemon(struct up *u, int i)
{
	if (u->daemons[i] != NULL)
		up_daemon_stop(u->daemons[i], false, GRACE_MS);
}

static bool
is_running(const struct up *u, int i)
{
	return u->daemons[i] != NULL && up_daemon_is_running(u->daemons[i]);
}

/* --- the place of another, and another in ours --- */

static void on_gone_for_another(struct up *u);

/* What the router needs for the end of its connections. */
static int64_t
leave_ms(const struct up *u)
{
	return u->drain_s * 1000 + GRACE_MS;
}

static char *
takeover_facts(void *arg)
{
	const struct up *u = arg;
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	buf_addf(&b, "{\"listen\":\"%s\",\"router-listen\":\"%s\"", u->listen, u->router_listen);
	if (u->https_listen != NULL)
		buf_addf(&b, ",\"https\":\"%s\"", u->https_listen);
	if (u->ssh_listen != NULL)
		buf_addf(&b, ",\"ssh\":\"%s\"", u->ssh_listen);
	buf_adds(&b, "}");
	return xstrndup(b.p, b.n);
}

static void
on_takeover_ask(void *arg)
{
	struct up *u = arg;

	if (u->is_stopping || u->gives_place)
		return;
	u->gives_place = true;
	u->comes_back = false;
	stop_daemon(u, NODE);
	stop_daemon(u, BROKER);
}

static void
on_takeover_router(void *arg)
{
	struct up *u = arg;

	if (!u->is_stopping)
		up_daemon_stop(u->daemons[ROUTER], true, leave_ms(u));
}

/* Now it is the other's. */
static void
on_takeover_done(void *arg)
{
	struct up *u = arg;

	u->ready_file = NULL;
	log_info("place_given");
	file_close(u->dirs.lock_fd);
	u->dirs.lock_fd = -1;
	u->is_given = true;
	on_gone_for_another(u);
}

/* What ended, or is to end, is there again. */
static void
come_back(struct up *u)
{
	static const int order[] = { BROKER, NODE };

	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		if (!up_daemon_is_running(u->daemons[order[i]]))
			up_daemon_renew(u->daemons[order[i]]);
	u->gives_place = u->comes_back = false;
}

static void
on_takeover_failed(void *arg)
{
	struct up *u = arg;

	log_warn("takeover_failed");
	if (!u->gives_place || u->is_stopping)
		return;
	u->comes_back = true;
	if (up_daemon_is_stopping(u->daemons[ROUTER]))
		up_daemon_renew(u->daemons[ROUTER]);
	on_gone_for_another(u);
}

static void
on_gone_for_another(struct up *u)
{
	if (u->is_given) {
		if (!is_running(u, ROUTER))
			loop_stop(u->loop);
	} else if (!is_running(u, BROKER) && !is_running(u, NODE)) {
		if (u->comes_back)
			come_back(u);
		else
			up_takeover_cleared(u->takeover);
	}
}

/* From now on others ask us. */
static void
finish_takeover(struct up *u)
{
	struct up_takeover_opts o = { u->dirs.run, u->dirs.lock_fd, takeover_facts, on_takeover_ask,
		on_takeover_router, on_takeover_done, on_takeover_failed, u };
	struct err e = { 0 };

	u->takeover = up_takeover_new(u->loop, &o, &e);
	if (u->takeover == NULL)
		log_error("takeover_impossible", LOG_ERR(&e));
	if (u->place.fd >= 0)
		up_takeover_done(&u->place);
}

/* Order: the node with its gears, then router and broker together. */
static void
on_gone(void *arg)
{
	struct up *u = arg;
	bool node_runs = is_running(u, NODE);
	bool any = node_runs || is_running(u, BROKER) || is_running(u, ROUTER);

	if (!u->is_stopping && u->gives_place) {
		on_gone_for_another(u);
		return;
	}
	if (!any) {
		loop_stop(u->loop);
	} else if (!node_runs && !u->keeps_gears && !u->stops_rest) {
		u->stops_rest = true;
		stop_daemon(u, ROUTER);
		stop_daemon(u, BROKER);
	}
}

static void
on_gears_stopped(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct up *u = arg;

	(void)c;
	(void)body;
	if (e != NULL || status != 200) {
		log_warn("gears_not_stopped", LOG_INT("status", status),
		    LOG_STR("why", e == NULL ? "the node refused" : e->text));
		up_daemon_stop(u->daemons[NODE], false, GRACE_MS);
	}
}

static int
stop_gears(struct up *u, struct err *e)
{
	AUTO(free)
	char *url = xasprintf("unix:%s/node.sock:/v1/shutdown?stop-gears=1", u->dirs.run);
	AUTO(free) char *path = file_join(u->dirs.secrets, "broker.token");
	AUTO_FINI(buf_fini) struct buf token = { 0 };

	if (file_read(path, 4096, &token, e) < 0)
		return -1;
	struct http_call_opts o = {
		.method = "POST", .url = url, .bearer = token.p, .timeout_ms = GEARS_GRACE_MS
	};
	struct http_call *call = http_call_start(u->client, &o, on_gears_stopped, u, e);
	secret_wipe(token.p, token.n);
	return call == NULL ? -1 : 0;
}

static void
on_signal(void *arg)
{
	struct up *u = arg;
	struct err e = { 0 };

	if (u->is_stopping)
		return;
	u->is_stopping = true;
	log_info("stopping");
	if (u->ready_file != NULL && u->is_announced)
		(void)unlink(u->ready_file);
	if (u->keeps_gears || u->place.fd >= 0 || !is_running(u, NODE)) {
		for (int i = 0; i < DAEMONS; i++)
			stop_daemon(u, i);
		return;
	}
	if (stop_gears(u, &e) < 0) {
		log_warn("gears_not_stopped", LOG_ERR(&e));
		stop_daemon(u, NODE);
		return;
	}
	up_daemon_stop(u->daemons[NODE], true, GEARS_GRACE_MS);
}

static void
on_lost(const char *name, void *arg)
{
	struct up *u = arg;

	u->has_failed = true;
	log_error(
	    "gave_up", LOG_STR("daemon", name), LOG_STR("error", "it cannot start; see above"));
	on_signal(u);
}

/* --- start --- */

static void
up_fini(struct up *u)
{
	for (int i = 0; i < DAEMONS; i++) {
		up_daemon_free(u->daemons[i]);
		free(u->programs[i]);
	}
	up_takeover_free(u->takeover);
	up_takeover_place_fini(&u->place);
	http_client_free(u->client);
	loop_free(u->loop);
	up_dirs_fini(&u->dirs);
	free(u->listen);
	free(u->router_listen);
	free(u->ssh_listen);
	free(u->https_listen);
	free(u->cartridges);
	free(u->stacks);
	free(u->hook);
	free(u->cart_pack);
	free(u->acme);
	free(u->ssh);
}

static int
find_programs(struct up *u, struct err *e)
{
	static const char *const names[DAEMONS] = { "pinion-broker", "pinion-node",
		"pinion-router" };

	for (int i = 0; i < DAEMONS; i++)
		if ((u->programs[i] = where_program(names[i], e)) == NULL)
			return -1;
	u->hook = where_program("pinion-hook", e);
	u->cart_pack = u->hook == NULL ? NULL : where_program("pinion-cart-pack", e);
	u->acme = u->cart_pack == NULL ? NULL : where_program("pinion-acme", e);
	u->ssh = u->acme == NULL ? NULL : where_program("pinion-ssh", e);
	if (u->ssh == NULL)
		return -1;
	if (u->cartridges == NULL)
		u->cartridges = where_data("cartridges", e);
	u->stacks = u->cartridges == NULL ? NULL : where_data("stacks", e);
	return u->stacks == NULL ? -1 : 0;
}

static int
check_address(const char *address, const char *field, struct err *e)
{
	AUTO_FINI(str_url_fini) struct str_url url = { 0 };
	AUTO(free) char *text = xasprintf("http://%s", address);
	const char *colon = strrchr(address, ':');

	if (colon == NULL || colon[1] == '\0')
		return err_set(e, ERR_INVALID, field,
		    "must be ADDR:PORT, as in 127.0.0.1:8000, is \"%s\"", address);
	if (strcmp(colon, ":0") == 0)
		return 0;
	return str_url_parse(text, field, &url, e);
}

/* Is nobody there yet? */
static bool
is_free(const char *address)
{
	AUTO_FINI(str_url_fini) struct str_url url = { 0 };
	AUTO(free) char *text = xasprintf("http://%s", address);
	struct sockaddr_in to = { .sin_family = AF_INET };
	AUTO(file_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int on = 1;
	struct err e = { 0 };

	if (str_url_parse(text, "ssh", &url, &e) < 0 ||
	    inet_pton(AF_INET, url.host, &to.sin_addr) != 1)
		return true; /* the broker will say */
	to.sin_port = htons((uint16_t)url.port);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	return bind(fd, (const struct sockaddr *)&to, sizeof to) == 0;
}

/* The address that the other serves `what` at, if that is on the same host as near; or NULL. */
static const char *
place_address(const struct up *u, const char *near, const char *what)
{
	const char *other = u->place.fd < 0 ? NULL : codec_string(codec_get(u->place.facts, what));
	size_t host = (size_t)(strrchr(near, ':') - near) + 1;

	return other != NULL && strncmp(other, near, host) == 0 && strchr(other + host, ':') == NULL
	           ? other
	           : NULL;
}

/* "a free port" is the one that the other has. */
static void
keep_port(const struct up *u, char **address, const char *what)
{
	const char *other = place_address(u, *address, what);

	if (other == NULL || !str_has_suffix(*address, ":0"))
		return;
	free(*address);
	*address = xstrdup(other);
}

/* Where a port beside `near` is served: as wished ("none": not), else where the other has it, else
 * at the usual one, or a free one when that is taken or near has one, too. */
static int
choose_port(const struct up *u, char **out, const char *near, const char *wish, int usual,
    const char *field, struct err *e)
{
	const char *colon = strrchr(near, ':'), *other = place_address(u, near, field);

	if (wish != NULL && strcmp(wish, "none") == 0)
		return 0;
	if (wish != NULL) {
		if (check_address(wish, field, e) < 0)
			return -1;
		*out = xstrdup(wish);
		keep_port(u, out, field);
		return 0;
	}
	if (other != NULL) {
		*out = xstrdup(other);
		return 0;
	}
	*out = xasprintf("%.*s:%d", (int)(colon - near), near, usual);
	if (strcmp(colon, ":0") != 0 && is_free(*out))
		return 0;
	free(*out);
	*out = xasprintf("%.*s:0", (int)(colon - near), near);
	return 0;
}

/* Those that the broker is to read come as copies that are its own. */
static int
put_certs(const struct up *u, struct err *e)
{
	if (u->app_cert != NULL && up_dirs_put(&u->dirs, u->app_cert, "app-cert.pem", e) < 0)
		return err_wrap(e, "app-cert");
	if (cmd_has(u->line, "acme-ca-file") &&
	    up_dirs_put(&u->dirs, cmd_option(u->line, "acme-ca-file"), "acme-ca.pem", e) < 0)
		return err_wrap(e, "acme-ca-file");
	return 0;
}

static void
on_cert_time(void *arg)
{
	struct err e = { 0 };

	if (put_certs(arg, &e) < 0)
		log_warn("certificate_stays", LOG_ERR(&e));
}

static int
ask_other(struct up *u, const char *data, struct err *e)
{
	AUTO(free) char *run = up_dirs_run(data);

	return run == NULL ? 0 : up_takeover_ask(run, &u->place, e);
}

static int
choose_addresses(struct up *u, const struct cmd_line *l, struct err *e)
{
	const char *listen = cmd_option(l, "listen");
	const char *router = cmd_option(l, "router-listen");

	u->listen = xstrdup(listen == NULL ? "127.0.0.1:8000" : listen);
	u->router_listen = xstrdup(router == NULL ? "127.0.0.1:8080" : router);
	if (check_address(u->listen, "listen", e) < 0 ||
	    check_address(u->router_listen, "router-listen", e) < 0)
		return -1;
	keep_port(u, &u->listen, "listen");
	keep_port(u, &u->router_listen, "router-listen");
	if (choose_port(u, &u->ssh_listen, u->listen, cmd_option(l, "ssh"), SSH_PORT, "ssh", e) < 0)
		return -1;
	return choose_port(
	    u, &u->https_listen, u->router_listen, cmd_option(l, "https"), HTTPS_PORT, "https", e);
}

static int
up_open(struct up *u, const struct cmd_line *l, struct err *e)
{
	const char *data = cmd_option(l, "data");

	if (cmd_option(l, "cartridges") != NULL) {
		u->cartridges = realpath(cmd_option(l, "cartridges"), NULL);
		if (u->cartridges == NULL)
			return err_set(e, ERR_INVALID, "cartridges", "cannot find %s",
			    cmd_option(l, "cartridges"));
	}
	u->domain = cmd_has(l, "domain") ? cmd_option(l, "domain") : "apps.localhost";
	u->ready_file = cmd_option(l, "ready-file");
	u->keeps_gears = cmd_has(l, "keep-gears");
	u->line = l;
	u->app_cert = cmd_option(l, "app-cert");
	u->drain_s = DRAIN_S;
	if (data == NULL)
		return err_set(e, ERR_INVALID, "data", "is required: pinion up --data DIR");
	if (cmd_has(l, "drain") &&
	    str_to_i64(str_of(cmd_option(l, "drain")), 0, DRAIN_MAX_S, "drain", &u->drain_s, e) < 0)
		return -1;
	if (cmd_has(l, "takeover") && ask_other(u, data, e) < 0)
		return -1;
	if (choose_addresses(u, l, e) < 0)
		return -1;
	if (!str_is_host(u->domain))
		return err_set(e, ERR_INVALID, "domain",
		    "must be a DNS name in lower case, is \"%s\"", u->domain);
	if (geteuid() != 0)
		return err_set(e, ERR_DENIED, NULL, "must run as root: it makes containers");
	if (find_programs(u, e) < 0)
		return -1;
	int lock_fd = u->place.lock_fd;
	u->place.lock_fd = -1;
	if (up_dirs_open(data, lock_fd, &u->dirs, e) < 0)
		return -1;
	if (put_certs(u, e) < 0)
		return -1;
	if (u->ssh_listen != NULL && up_dirs_host_keys(&u->dirs, u->ssh, e) < 0)
		return -1;
	return u->place.fd < 0 ? 0 : up_takeover_clear(&u->place, e);
}

static int
run_up(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(up_fini)
	struct up u = { .dirs.lock_fd = -1, .place = { .fd = -1, .lock_fd = -1 } };

	/* Directories on the way must be passable for the daemons' users; what is private is so by
	 * its own mode. */
	(void)umask(022);
	if (up_open(&u, l, e) < 0)
		return -1;
	log_setup("pinion-up", LOG_INFO, false);
	(void)signal(SIGPIPE, SIG_IGN);
	u.loop = loop_new();
	u.client = http_client_new(u.loop);
	struct loop_signal *term = loop_signal_start(u.loop, SIGTERM, on_signal, &u);
	struct loop_signal *interrupt = loop_signal_start(u.loop, SIGINT, on_signal, &u);
	u.again = loop_timer_start(u.loop, CERT_MS, true, on_cert_time, &u);
	start_rest(&u);
	loop_run(u.loop);
	loop_signal_cancel(term);
	loop_signal_cancel(interrupt);
	loop_timer_cancel(u.again);
	if (u.has_failed)
		return err_set(
		    e, ERR_INVALID, NULL, "a daemon cannot start: its last lines above say why");
	return 0;
}

static const struct cmd_option up_options[] = {
	{ "data", 0, "DIR", "where everything is kept (required)" },
	{ "listen", 0, "ADDR:PORT", "API and git (127.0.0.1:8000; port 0: a free one)" },
	{ "router-listen", 0, "ADDR:PORT", "applications (127.0.0.1:8080; port 0: a free one)" },
	{ "https", 0, "ADDR:PORT",
	    "applications by https (port 8443 beside them, or a free one if it is taken; none: no "
	    "https)" },
	{ "ssh", 0, "ADDR:PORT",
	    "SSH (port 2222 beside the API, or a free one if it is taken; none: no SSH)" },
	{ "domain", 0, "NAME", "suffix of the applications' host names (apps.localhost)" },
	{ "app-cert", 0, "FILE",
	    "certificate of all applications, *.NAME, its chain and its key, PEM; looked at every "
	    "hour (default: one that nobody trusts)" },
	{ "acme-directory", 0, "URL",
	    "authority that gives aliases their certificates, whose terms you agree to" },
	{ "acme-contact", 0, "MAIL", "mail address for the account there" },
	{ "acme-ca-file", 0, "FILE", "whom to trust about the directory (the system's)" },
	{ "acme-challenge", 0, "WAY", "http-01 (default) or tls-alpn-01" },
	{ "cartridges", 0, "DIR", "cartridges of the catalogue (default: the installed ones)" },
	{ "ready-file", 0, "FILE", "JSON with the addresses, once everything serves" },
	{ "keep-gears", 0, NULL, "on stop, leave the gears running" },
	{ "takeover", 0, NULL,
	    "take the place of the one that runs on DIR, if any: for a new version or other "
	    "options; no request is refused or cut" },
	{ "drain", 0, "SECONDS", "how long connections of a router that leaves may last (10)" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_up_table[] = {
	{ "up", "--data DIR", 0, 0,
	    "run Pinion on this machine\n\nStarts broker, node and router, restarts what dies, "
	    "stops all on "
	    "SIGTERM or SIGINT.\nStarted again on the same DIR, all applications come back.",
	    up_options, run_up, false },
	{ 0 },
};
