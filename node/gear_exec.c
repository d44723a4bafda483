#include "node/gear_exec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/stream_child.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_exec.h"
#include "node/container.h"
#include "node/gear_port.h"
#include "node/instance_session.h"

struct gear_exec {
	struct gear_exec_opts o;
	LIST_HEAD(, exec) list;
	struct gear_port_set *ports; /* owned */
};

/* One program, from the request to its end. */
struct exec {
	LIST_ENTRY(exec) link;
	struct gear_exec *all; /* borrowed */
	char *gear;            /* owned */
	struct stream *stream; /* owned until the program is about to start */
	struct wire_exec order;
	bool has_order;
	struct instance_session *session;
	struct stream_child *child; /* owned */
	int leader; /* of the program's session, in the host's pid namespace; 0: unknown */
};

static void
release(void *p)
{
	struct exec *x = p;

	codec_fini(&wire_exec_codec, &x->order);
	free(x->gear);
	free(x);
}

static void
end(struct exec *x)
{
	LIST_REMOVE(x, link);
	stream_child_free(x->child);
	instance_session_close(x->session);
	stream_free(x->stream);
	loop_free_later(x->all->o.loop, release, x);
}

static void
refuse(struct exec *x, const struct err *e)
{
	log_info("exec_refused", LOG_STR("gear", x->gear), LOG_ERR(e));
	if (x->stream != NULL)
		stream_send_error(STEAL(x->stream), e);
	if (x->child != NULL)
		stream_child_refuse(STEAL(x->child), e);
	end(x);
}

/* --- the program --- */

/* pinion-spawn's only child is the program, and leads its session. */
static int
find_leader(const struct child *spawn)
{
	AUTO(free)
	char *path =
	    xasprintf("/proc/%d/task/%d/children", (int)child_pid(spawn), (int)child_pid(spawn));
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	struct err e = { 0 };

	return file_read(path, 4096, &text, &e) < 0 ? 0 : atoi(buf_str(&text).p);
}

static void
on_lost(struct stream_child *c, void *arg)
{
	struct exec *x = arg;

	x->leader = find_leader(stream_child_process(c));
	stream_child_hang_up(c);
}

static void
on_kill(struct stream_child *c, void *arg)
{
	struct exec *x = arg;

	(void)c;
	if (x->leader > 0)
		instance_session_kill(x->session, x->leader);
}

static void
on_over(struct stream_child *c, const struct child_end *e, void *arg)
{
	struct exec *x = arg;

	(void)c;
	log_info("exec_ended", LOG_STR("gear", x->gear),
	    LOG_STR("instance", instance_session_id(x->session)),
	    LOG_STR("why", e == NULL ? "its client is gone" : e->why));
	end(x);
}

static const struct stream_child_calls child_calls = { on_lost, on_kill, on_over };

static bool
is_named(const char *var, const char *name)
{
	size_t n = strlen(name);

	return strncmp(var, name, n) == 0 && var[n] == '=';
}

/* The session's own go over the gear's: TERM and what the client sent, never the platform's. */
static void
add_var(struct str_list *env, const char *name, const char *value)
{
	for (size_t i = 0; i < env->n; i++) {
		if (is_named(env->v[i], name)) {
			free(env->v[i]);
			env->v[i] = xasprintf("%s=%s", name, value);
			return;
		}
	}
	str_list_take(env, xasprintf("%s=%s", name, value));
}

static void
add_vars(const struct wire_exec *o, struct str_list *env)
{
	for (size_t i = 0; i < o->env.n; i++)
		add_var(env, o->env.v[i].name, o->env.v[i].value);
	if (o->login != NULL && o->login[0] != '\0')
		add_var(env, "OPENSHIFT_LOGIN", o->login);
	if (o->has_terminal)
		add_var(env, "TERM", o->term == NULL || o->term[0] == '\0' ? "xterm" : o->term);
	add_var(env, "SHELL", "/bin/bash");
}

/* As v2's: a command goes to a shell, none is an interactive one. */
static void
add_args(const struct wire_exec *o, struct str_list *args)
{
	str_list_copy(args, &o->args);
	if (args->n > 0)
		return;
	str_list_add(args, "/bin/bash");
	if (o->command != NULL && o->command[0] != '\0') {
		str_list_add(args, "-c");
		str_list_add(args, o->command);
	} else {
		str_list_add(args, "--init-file");
		str_list_add(args, "/usr/bin/rhcsh");
		str_list_add(args, "-i");
	}
}

static const char **
view(const struct str_list *l)
{
	const char **v = xcalloc(l->n + 1, sizeof *v);

	for (size_t i = 0; i < l->n; i++)
		v[i] = l->v[i];
	return v;
}

static int
open_ends(struct exec *x, struct stream_ends *f, struct err *e)
{
	int master, slave;

	if (!x->order.has_terminal)
		return stream_child_pipes(x->child, f, e);
	if (instance_session_terminal(x->session, &master, &slave, e) < 0)
		return -1;
	stream_child_terminal(
	    x->child, master, (struct stream_size){ (int)x->order.columns, (int)x->order.rows });
	f->fd[0] = slave;
	return 0;
}

static int
start(struct exec *x, const struct str_list *gear_env, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list env = { 0 };
	AUTO_FINI(str_list_fini) struct str_list args = { 0 };
	AUTO_FINI(stream_ends_fini) struct stream_ends f = STREAM_ENDS_NONE;
	struct child *c;

	str_list_copy(&env, gear_env);
	add_vars(&x->order, &env);
	add_args(&x->order, &args);
	AUTO(free_ptr) const char **argv = view(&args);
	AUTO(free_ptr) const char **envp = view(&env);
	x->child = stream_child_new(STEAL(x->stream), &child_calls, x);
	if (open_ends(x, &f, e) < 0)
		return -1;
	const struct container_entry entry = {
		.argv = argv,
		.env = envp,
		.in_fd = f.fd[0],
		.out_fd = x->order.has_terminal ? f.fd[0] : f.fd[1],
		.err_fd = x->order.has_terminal ? f.fd[0] : f.fd[2],
		.has_terminal = x->order.has_terminal,
		.is_session = true,
	};
	c = instance_session_enter(x->session, &entry, stream_child_ended, x->child, e);
	if (c == NULL)
		return -1;
	log_info("exec_started", LOG_STR("gear", x->gear),
	    LOG_STR("instance", instance_session_id(x->session)),
	    LOG_STR("login", x->order.login == NULL ? "" : x->order.login));
	stream_child_started(x->child, c);
	return 0;
}

static void
on_ready(const struct str_list *env, const struct err *e, void *arg)
{
	struct exec *x = arg;
	struct err bad = { 0 };

	if (x->stream == NULL)
		end(x); /* the client did not wait */
	else if (e != NULL)
		refuse(x, e);
	else if (start(x, env, &bad) < 0)
		refuse(x, &bad);
}

static void
on_retires(int64_t seconds, void *arg)
{
	struct exec *x = arg;
	const char *frame = x->order.has_terminal ? "\r\n*** " : "";
	const char *end = x->order.has_terminal ? " ***\r\n" : "\n";
	bool is_long = seconds >= 120;
	AUTO(free)
	char *text = xasprintf("%sA newer deployment is live. This session ends in %lld %s.%s",
	    frame, (long long)(is_long ? seconds / 60 : seconds), is_long ? "minutes" : "seconds",
	    end);

	if (x->child != NULL)
		stream_child_tell(x->child, text);
}

static const struct instance_session_calls session_calls = { on_ready, on_retires };

/* --- the order --- */

static int
take_order(struct exec *x, struct str json, struct err *e)
{
	const struct instance_session_opts o = { .gear = x->gear };
	struct instance_session_opts s = o;

	if (codec_decode(&wire_exec_codec, json.p, json.n, &x->order, 0, e) < 0 ||
	    wire_exec_check(&x->order, e) < 0)
		return -1;
	s.instance = x->order.instance;
	s.cart = x->order.cart;
	x->session = instance_session_open(x->all->o.instances, &s, &session_calls, x, e);
	return x->session == NULL ? -1 : 0;
}

static void
on_control(struct stream *s, const struct stream_frame *f, void *arg)
{
	struct exec *x = arg;
	struct err e = { 0 };

	(void)s;
	if (f->type == STREAM_RESIZE && x->has_order) {
		x->order.columns = stream_frame_size(f).columns;
		x->order.rows = stream_frame_size(f).rows;
	}
	if (f->type != STREAM_ORDER)
		return;
	x->has_order = true;
	if (take_order(x, f->data, &e) < 0)
		refuse(x, &e);
}

static void
on_close(struct stream *s, const struct err *e, void *arg)
{
	(void)s;
	(void)e;
	end(arg);
}

static const struct stream_calls order_calls = { NULL, NULL, on_control, on_close };

void
gear_exec_handle(struct gear_exec *all, struct http_req *r, const char *gear)
{
	struct exec *x;

	if (!stream_wanted(r))
		return;
	x = xcalloc(1, sizeof *x);
	*x = (struct exec){
		.all = all,
		.gear = xstrdup(gear),
	};
	LIST_INSERT_HEAD(&all->list, x, link);
	x->stream = stream_accept(r, &order_calls, x);
}

void
gear_exec_handle_port(struct gear_exec *x, struct http_req *r, const char *gear)
{
	gear_port_handle(x->ports, r, gear);
}

struct gear_exec *
gear_exec_new(const struct gear_exec_opts *o)
{
	struct gear_exec *x = xcalloc(1, sizeof *x);

	x->o = *o;
	x->ports = gear_port_set_new(o);
	return x;
}

void
gear_exec_free(struct gear_exec *take_x)
{
	if (take_x == NULL)
		return;
	while (!LIST_EMPTY(&take_x->list))
		end(LIST_FIRST(&take_x->list));
	gear_port_set_free(take_x->ports);
	free(take_x);
}
