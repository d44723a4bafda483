#include "broker/ssh_server.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/auth.h"
#include "broker/broker.h"
#include "broker/gear_command.h"
#include "broker/gear_stream.h"
#include "broker/gear_word.h"
#include "broker/push_ssh.h"
#include "broker/record.h"
#include "broker/session.h"
#include "broker/ssh_key.h"
#include "broker/ssh_source.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/secret.h"
#include "lib/http/http_server.h"
#include "lib/http/stream.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_exec.h"

enum {
	BACKLOG = 256,
	LOGINS_MAX = 96, /* not yet logged in, of all */
	LOGINS_OF_SOURCE_MAX = 24,
	RATE = 40, /* new connections a second of one source */
	BURST = 80,
	ACCEPTS_A_TURN = 8,
	TOKEN_BYTES = 16,
	CALLS_MAX = 80, /* streams of one connection */
	LOOK_MS = 1000, /* may those who are in stay? */
	SWEEP_TURNS = 60,
	USER_TIMEOUT_MS = 60 * 1000,
	KEYS = 2,
};
static const char *const key_files[KEYS] = { "ssh_host_ed25519_key", "ssh_host_rsa_key" };

/* One connection with its program. */
struct conn {
	LIST_ENTRY(conn) link;
	struct ssh_server *server; /* borrowed */
	struct ssh_source *source;
	char *token; /* owned: what the program shows */
	struct child *child;
	int64_t since_ms;
	bool is_in;
	struct auth_who who;
	struct wire_ssh_key key;
	char *app_id, *gear;     /* owned */
	LIST_HEAD(, call) calls; /* owned */
	int call_n;
};

/* One stream of a connection's program. */
struct call {
	LIST_ENTRY(call) link;
	struct conn *conn; /* borrowed; NULL: it is gone */
	struct ssh_server *server;
	const char *path;      /* constant */
	struct stream *stream; /* owned until somebody has it */
	struct gear_stream *relay;
	struct session *session;
	struct push_ssh *push;
	struct gear_command *command;
};

struct ssh_server {
	struct broker *b; /* borrowed */
	struct http_server *programs;
	int fd, port;
	int keys[KEYS]; /* owned */
	struct loop_io *io;
	struct loop_timer *look;
	int turns;
	struct ssh_source_set *sources;
	struct map *by_token; /* borrowed values */
	LIST_HEAD(, conn) conns;
	int conn_n, login_n;
	bool is_draining;
};

static void settle(struct ssh_server *s);

/* --- ends --- */

static void
free_call(struct call *c)
{
	LIST_REMOVE(c, link);
	if (c->conn != NULL)
		c->conn->call_n--;
	gear_stream_cancel(c->relay);
	session_cancel(c->session);
	if (c->push != NULL)
		push_ssh_leave(c->push);
	gear_command_leave(c->command);
	stream_free(c->stream);
	free(c);
}

static void
release(void *p)
{
	struct conn *c = p;

	auth_who_fini(&c->who);
	wire_ssh_key_fini(&c->key);
	secret_free(c->token);
	free(c->app_id);
	free(c->gear);
	free(c);
}

static void
end_conn(struct conn *c)
{
	struct ssh_server *s = c->server;

	LIST_REMOVE(c, link);
	s->conn_n--;
	if (!c->is_in)
		s->login_n--;
	(void)map_take(s->by_token, c->token);
	ssh_source_end(c->source, c->is_in);
	child_free(STEAL(c->child));
	while (!LIST_EMPTY(&c->calls))
		free_call(LIST_FIRST(&c->calls));
	loop_free_later(s->b->loop, release, c);
	settle(s);
}

static void
on_program_end(struct child *child, const struct child_end *end, void *arg)
{
	struct conn *c = arg;

	(void)child;
	if (end->err_len > 0)
		log_info("ssh_connection", LOG_STR("said", end->err), LOG_STR("why", end->why));
	if (c->is_in)
		log_info("ssh_ended", LOG_STR("gear", c->gear), LOG_STR("login", c->who.login));
	end_conn(c);
}

/* --- programs' calls: who may enter --- */

struct ssh_server_login {
	char *user, *type, *content;
	bool is_signed;
};
enum { USER_MAX = 256, TYPE_MAX = 256, CONTENT_MAX = 32 * 1024 };
static const struct codec_field login_fields[] = {
	CODEC_STR(struct ssh_server_login, user, USER_MAX, CODEC_REQUIRED),
	CODEC_STR(struct ssh_server_login, type, TYPE_MAX, CODEC_REQUIRED),
	CODEC_STR(struct ssh_server_login, content, CONTENT_MAX, CODEC_REQUIRED),
	CODEC_BOOL(struct ssh_server_login, is_signed, 0),
	CODEC_END,
};
DECLARE_CODEC(ssh_server_login, struct ssh_server_login)
DEFINE_CODEC(ssh_server_login, struct ssh_server_login, login_fields)

static int
take_login(struct conn *c, struct str json, struct err *e)
{
	AUTO_FINI(ssh_server_login_fini) struct ssh_server_login l = { 0 };
	AUTO_FINI(auth_who_fini) struct auth_who who = { 0 };
	AUTO_FINI(wire_ssh_key_fini) struct wire_ssh_key key = { 0 };
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	AUTO(free) char *gear = NULL;

	if (c->is_in)
		return err_set(e, ERR_CONFLICT, NULL, "somebody is in already");
	if (codec_decode(&ssh_server_login_codec, json.p, json.n, &l, 0, e) < 0 ||
	    ssh_key_admit(c->server->b, l.user, l.type, l.content, &who, &key, &app, &gear, e) < 0)
		return -1;
	if (!l.is_signed)
		return 0;
	c->is_in = true;
	c->server->login_n--;
	ssh_source_logged_in(c->source);
	c->who = who;
	c->key = key;
	who = (struct auth_who){ 0 };
	key = (struct wire_ssh_key){ 0 };
	c->gear = STEAL(gear);
	c->app_id = xstrdup(app.id);
	log_info("ssh_login", LOG_STR("gear", c->gear), LOG_STR("login", c->who.login),
	    LOG_STR("key", c->key.name));
	settle(c->server);
	return 0;
}

/* --- programs' calls: sessions and ports --- */

static void
on_relay_end(void *arg)
{
	struct call *c = arg;

	c->relay = NULL;
	free_call(c);
}

static void
on_session_end(void *arg)
{
	struct call *c = arg;

	c->session = NULL;
	free_call(c);
}

static void
on_command_end(void *arg)
{
	struct call *c = arg;

	c->command = NULL;
	free_call(c);
}

static void
on_push_end(void *arg)
{
	struct call *c = arg;

	c->push = NULL;
	free_call(c);
}

static void
fail(struct call *c, const struct err *e)
{
	stream_send_error(STEAL(c->stream), e);
	free_call(c);
}

static const char *
find_var(const struct wire_exec *x, const char *name)
{
	for (size_t i = 0; i < x->env.n; i++) {
		if (strcmp(x->env.v[i].name, name) == 0)
			return x->env.v[i].value;
	}
	return NULL;
}

static void
start_git(struct call *c, const struct wire_exec *x, const struct wire_app *app,
    const char *service, const char *path)
{
	const struct push_ssh_opts o = {
		.app = app,
		.login = c->conn->who.login,
		.service = service,
		.protocol = find_var(x, "GIT_PROTOCOL"),
	};
	struct err e = { 0 };

	if (!push_ssh_is_repo(path, c->conn->gear, app->name)) {
		(void)err_set(&e, ERR_NOT_FOUND, NULL,
		    "remote: There is no repository %.200s here: its path is ~/git/%s.git", path,
		    app->name);
		fail(c, &e);
		return;
	}
	c->push = push_ssh_start(c->server->b->ssh_pushes, STEAL(c->stream), &o, on_push_end, c);
	if (c->push == NULL)
		free_call(c);
}

static void
start_relay(struct call *c, const char *what, struct str order)
{
	const struct gear_stream_opts o = { .gear = c->conn->gear, .what = what, .order = order };

	c->relay = gear_stream_start(c->server->b->streams, STEAL(c->stream), &o, on_relay_end, c);
	if (c->relay == NULL)
		free_call(c);
}

/* Words of OpenShift v2 that mean another program than the gear's own of that name. */
static void
translate(struct wire_exec *x)
{
	if (x->command == NULL || !str_has_prefix(x->command, "tail "))
		return;
	AUTO(free)
	char *command = xasprintf("/usr/lib/pinion/gear-tail %s", x->command + strlen("tail "));
	mem_set_str(&x->command, command);
}

static int
take_exec(struct call *c, struct str json, struct err *e)
{
	AUTO_FINI(wire_exec_fini) struct wire_exec x = { 0 };
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	AUTO_FINI(str_list_fini) struct str_list argv = { 0 };
	AUTO(free) char *service = NULL;
	AUTO(free) char *path = NULL;

	if (codec_decode(&wire_exec_codec, json.p, json.n, &x, 0, e) < 0 ||
	    wire_exec_check(&x, e) < 0 ||
	    record_app_by_id(c->server->b->store, c->conn->app_id, &app, NULL, e) < 0)
		return -1;
	mem_set_str(&x.login, c->conn->who.login);
	translate(&x);
	if (x.command != NULL && push_ssh_parse(x.command, &service, &path)) {
		start_git(c, &x, &app, service, path);
		return 0;
	}
	if (x.command != NULL && gear_word_split(x.command, &argv) && gear_word_is(&argv)) {
		const struct gear_command_opts command = {
			.app_id = app.id, .gear = c->conn->gear, .login = x.login, .argv = &argv
		};

		c->command = gear_command_start(
		    c->server->b->commands, STEAL(c->stream), &command, on_command_end, c);
		if (c->command == NULL)
			free_call(c);
		return 0;
	}
	const struct session_opts o = {
		.app_id = c->conn->app_id, .gear = c->conn->gear, .exec = &x
	};
	c->session = session_start(c->server->b->sessions, STEAL(c->stream), &o, on_session_end, c);
	if (c->session == NULL)
		free_call(c);
	return 0;
}

static int
take_port(struct call *c, struct str json, struct err *e)
{
	AUTO_FINI(wire_port_fini) struct wire_port p = { 0 };
	AUTO_FINI(buf_fini) struct buf order = { 0 };

	if (codec_decode(&wire_port_codec, json.p, json.n, &p, 0, e) < 0)
		return -1;
	codec_encode(&wire_port_codec, &p, &order);
	start_relay(c, "port", buf_str(&order));
	return 0;
}

static void
on_control(struct stream *s, const struct stream_frame *f, void *arg)
{
	struct call *c = arg;
	struct err e = { 0 };
	int rc;

	if (f->type != STREAM_ORDER)
		return;
	if (strcmp(c->path, "/ssh/login") == 0) {
		rc = take_login(c->conn, f->data, &e);
		if (rc == 0) {
			stream_send(s, STREAM_READY, NULL, 0);
			stream_finish(STEAL(c->stream));
			free_call(c);
			return;
		}
	} else if (!c->conn->is_in) {
		rc = err_set(&e, ERR_DENIED, NULL, "nobody is logged in");
	} else if (strcmp(c->path, "/ssh/exec") == 0) {
		rc = take_exec(c, f->data, &e);
	} else {
		rc = take_port(c, f->data, &e);
	}
	if (rc < 0)
		fail(c, &e);
}

static void
on_close(struct stream *s, const struct err *e, void *arg)
{
	(void)s;
	(void)e;
	free_call(arg);
}

static const struct stream_calls calls = { NULL, NULL, on_control, on_close };

static const char *
known_path(const char *path)
{
	static const char *const paths[] = { "/ssh/login", "/ssh/exec", "/ssh/port" };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		if (strcmp(path, paths[i]) == 0)
			return paths[i];
	}
	return NULL;
}

static void
on_request(struct http_req *r, void *arg)
{
	struct ssh_server *s = arg;
	const char *auth = http_req_header(r, "Authorization");
	const char *path = known_path(http_req_path(r));
	struct conn *conn;
	struct call *c;

	conn = auth != NULL && str_has_prefix(auth, "Bearer ")
	           ? map_get(s->by_token, auth + strlen("Bearer "))
	           : NULL;
	if (conn == NULL || path == NULL) {
		http_req_reply_text(r, conn == NULL ? 401 : 404, "This is not for you.\n");
		return;
	}
	if (conn->call_n >= CALLS_MAX) {
		http_req_reply_text(r, 429, "The connection has too many sessions.\n");
		return;
	}
	if (!stream_wanted(r))
		return;
	c = xcalloc(1, sizeof *c);
	*c = (struct call){
		.conn = conn,
		.server = s,
		.path = path,
	};
	LIST_INSERT_HEAD(&conn->calls, c, link);
	conn->call_n++;
	c->stream = stream_accept(r, &calls, c);
}

/* --- connections --- */

static int
start_program(struct conn *c, int fd, struct err *e)
{
	const struct broker_conf *conf = &c->server->b->conf;
	const char *const argv[] = { conf->ssh_program, NULL };
	AUTO(free) char *broker = xasprintf("PINION_SSH_BROKER=%s", conf->ssh_socket);
	AUTO(free) char *token = xasprintf("PINION_SSH_TOKEN=%s", c->token);
	const char *const env[] = { broker, token, "PATH=/usr/bin:/bin", "LANG=C.UTF-8", NULL };
	const int fds[] = { fd, c->server->keys[0], c->server->keys[1] };

	c->child = child_start(c->server->b->loop,
	    &(struct child_opts){ .argv = argv,
	        .env = env,
	        .pass_fds = fds,
	        .pass_n = ARRAY_LEN(fds),
	        .out_max = 4096 },
	    NULL, on_program_end, c, e);
	return c->child == NULL ? -1 : 0;
}

static void
set_options(int fd)
{
	const int on = 1, patience_ms = USER_TIMEOUT_MS;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof patience_ms);
}

/* A line before SSH's own, as RFC 4253 (4.2) allows: clients show it when asked to be verbose. */
static void
turn_away(int fd)
{
	static const char text[] = "Too many SSH connections: try again later.\r\n";

	(void)send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void
begin_conn(struct ssh_server *s, int fd, const struct sockaddr *from)
{
	struct ssh_source *source = ssh_source_begin(s->sources, from, loop_now_ms());
	struct conn *c;
	struct err e = { 0 };

	if (source == NULL) {
		turn_away(fd); /* too many, or too fast */
		return;
	}
	set_options(fd);
	c = xcalloc(1, sizeof *c);
	*c = (struct conn){
		.server = s,
		.source = source,
		.token = secret_random_hex(TOKEN_BYTES),
		.since_ms = loop_now_ms(),
	};
	LIST_INSERT_HEAD(&s->conns, c, link);
	s->conn_n++;
	s->login_n++;
	map_set(s->by_token, c->token, c);
	if (start_program(c, fd, &e) < 0) {
		log_warn("ssh_not_started", LOG_ERR(&e));
		end_conn(c);
	}
}

static void
on_accept(int fd, int what, void *arg)
{
	struct ssh_server *s = arg;

	(void)what;
	for (int i = 0; i < ACCEPTS_A_TURN && s->login_n < LOGINS_MAX; i++) {
		struct sockaddr_storage from = { 0 };
		socklen_t n = sizeof from;
		AUTO(file_close)
		int got = accept4(fd, (struct sockaddr *)&from, &n, SOCK_CLOEXEC);

		if (got < 0)
			break;
		if (s->conn_n >= s->b->conf.ssh_connections)
			turn_away(got);
		else
			begin_conn(s, got, (const struct sockaddr *)&from);
	}
	settle(s);
}

/* While many log in, the rest waits in the kernel, whose queue is bounded. */
static void
settle(struct ssh_server *s)
{
	bool has_room = s->login_n < LOGINS_MAX;

	if (s->io != NULL)
		loop_io_set(s->io, has_room && !s->is_draining ? LOOP_READ : 0);
}

/* Who lost the right to be here is thrown out; who loiters before the login gives way. */
static void
on_look(void *arg)
{
	struct ssh_server *s = arg;
	struct conn *next;

	for (struct conn *c = LIST_FIRST(&s->conns); c != NULL; c = next) {
		next = LIST_NEXT(c, link);
		if (!c->is_in || ssh_key_admits(s->b, &c->who, &c->key, c->app_id))
			continue;
		log_info("ssh_revoked", LOG_STR("gear", c->gear), LOG_STR("login", c->who.login),
		    LOG_STR("key", c->key.name));
		end_conn(c);
	}
	if (++s->turns % SWEEP_TURNS == 0)
		ssh_source_sweep(s->sources, loop_now_ms());
}

/* --- start and end --- */

struct ssh_server *
ssh_server_new(struct broker *b)
{
	const struct ssh_source_opts limits = { .connections_max =
		                                    (int)(b->conf.ssh_connections * 3 / 4),
		.logins_max = LOGINS_OF_SOURCE_MAX,
		.rate = RATE,
		.burst = BURST };
	struct ssh_server *s = xcalloc(1, sizeof *s);

	*s = (struct ssh_server){ .b = b, .fd = -1, .keys = { -1, -1 } };
	s->sources = ssh_source_set_new(&limits);
	s->by_token = map_new(NULL);
	return s;
}

static int
open_port(struct ssh_server *s, struct err *e)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV };
	const char *address = s->b->conf.ssh;
	const char *colon = strrchr(address, ':');
	struct addrinfo *list = NULL;
	struct sockaddr_storage bound = { 0 };
	socklen_t n = sizeof bound;
	const int on = 1;
	int rc;

	if (colon == NULL)
		return err_set(e, ERR_INVALID, "ssh", "ssh: give ADDR:PORT, as in 0.0.0.0:2222");
	AUTO(free) char *host = xstrndup(address, (size_t)(colon - address));
	char *bare = host;
	if (host[0] == '[' && str_has_suffix(host, "]")) {
		host[strlen(host) - 1] = '\0';
		bare = host + 1;
	}
	rc = getaddrinfo(bare, colon + 1, &hints, &list);
	if (rc != 0)
		return err_set(e, ERR_INVALID, "ssh", "ssh: %s: %s", address, gai_strerror(rc));
	s->fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	rc = s->fd < 0 ? -1 : setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (rc == 0)
		rc = bind(s->fd, list->ai_addr, list->ai_addrlen);
	freeaddrinfo(list);
	if (rc < 0 || listen(s->fd, BACKLOG) < 0 ||
	    getsockname(s->fd, (struct sockaddr *)&bound, &n) < 0)
		return err_set(e, ERR_SYSTEM, "ssh", "listen on %s for SSH", address);
	s->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
	                                            : ((struct sockaddr_in *)&bound)->sin_port);
	return 0;
}

static int
open_keys(struct ssh_server *s, struct err *e)
{
	for (int i = 0; i < KEYS; i++) {
		AUTO(free) char *path = file_join(s->b->conf.ssh_keys, key_files[i]);

		s->keys[i] = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (s->keys[i] < 0)
			return err_set(e, ERR_SYSTEM, "ssh-keys",
			    "open the host key %s (pinion-ssh --make-keys DIR makes it)", path);
	}
	return 0;
}

int
ssh_server_listen(struct ssh_server *s, struct err *e)
{
	const struct broker_conf *c = &s->b->conf;

	if (c->ssh == NULL || *c->ssh == '\0')
		return 0;
	if (c->ssh_keys == NULL)
		return err_set(e, ERR_INVALID, "ssh-keys",
		    "ssh-keys: name the directory of the host keys (pinion-ssh --make-keys DIR)");
	if (open_keys(s, e) < 0)
		return -1;
	s->programs = http_server_new(s->b->loop, NULL, on_request, s);
	if (http_server_listen(s->programs, c->ssh_socket, 0600, e) < 0 || open_port(s, e) < 0)
		return -1;
	s->io = loop_io_start(s->b->loop, s->fd, LOOP_READ, on_accept, s);
	s->look = loop_timer_start(s->b->loop, LOOK_MS, true, on_look, s);
	log_info("ssh_serves", LOG_STR("listen", c->ssh), LOG_INT("port", s->port));
	return 0;
}

int
ssh_server_port(const struct ssh_server *s)
{
	return s->port;
}

void
ssh_server_drain(struct ssh_server *s)
{
	s->is_draining = true;
	settle(s);
}

void
ssh_server_free(struct ssh_server *take_s)
{
	struct ssh_server *s = take_s;

	if (s == NULL)
		return;
	loop_io_cancel(STEAL(s->io));
	loop_timer_cancel(s->look);
	while (!LIST_EMPTY(&s->conns))
		end_conn(LIST_FIRST(&s->conns));
	http_server_free(s->programs);
	file_close(s->fd);
	for (int i = 0; i < KEYS; i++)
		file_close(s->keys[i]);
	ssh_source_set_free(s->sources);
	map_free(s->by_token);
	free(s);
}
