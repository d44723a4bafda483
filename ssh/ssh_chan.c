#include <libssh/callbacks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/stream.h"
#include "lib/http/stream_dial.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_exec.h"
#include "ssh/ssh_gate.h"

enum { ENV_BYTES_MAX = 32 * 1024, EXIT_REFUSED = 255, TERM_MAX = 128, ANSWER_PIECE = 32 * 1024 };

/* A channel, from its opening until both sides have closed it. */
struct ssh_chan {
	struct ssh_chan *next;
	struct ssh_gate *gate; /* borrowed */
	ssh_channel channel;
	struct ssh_channel_callbacks_struct callbacks;
	struct wire_exec order; /* of a session */
	size_t env_bytes;
	bool is_port;
	bool has_started; /* a program or connection was asked for */
	struct stream_dial *dial;
	struct buf request; /* ORDER, until the stream is there */
	struct stream *stream;
	bool is_ready;
	bool is_pulling; /* libssh may call back while it is read from: that waits */
	bool eof_from_client, eof_passed_on;
	struct buf out[2]; /* stdout, stderr: not yet taken by the client's window */
	bool out_ended;    /* of a port */
	bool has_exit, is_closing, is_dead;
	int status;
	char signal[STREAM_SIGNAL_MAX + 1];
};

/* --- to the client --- */

static bool
has_unsent(const struct ssh_chan *c)
{
	return c->out[0].n > 0 || c->out[1].n > 0;
}

/* As much as the client's window and the socket take. */
static void
send_out(struct ssh_chan *c, int i)
{
	struct buf *b = &c->out[i];
	size_t done = 0;

	while (done < b->n && (ssh_get_poll_flags(c->gate->session) & SSH_WRITE_PENDING) == 0) {
		uint32_t room = ssh_channel_window_size(c->channel);
		size_t n = b->n - done;
		int rc;

		n = n > room ? room : n;
		n = n > ANSWER_PIECE ? ANSWER_PIECE : n;
		if (n == 0)
			break;
		rc = i == 0 ? ssh_channel_write(c->channel, b->p + done, (uint32_t)n)
		            : ssh_channel_write_stderr(c->channel, b->p + done, (uint32_t)n);
		if (rc <= 0) {
			if (rc < 0)
				done = b->n; /* nobody is there any more */
			break;
		}
		done += (size_t)rc;
	}
	buf_drop(b, done);
	if (done > 0 && c->stream != NULL)
		stream_used(c->stream, i + 1, done);
	if (b->n == 0) {
		buf_fini(b);
		*b = (struct buf){ 0 };
	}
}

static void
close_channel(struct ssh_chan *c)
{
	if (c->is_closing)
		return;
	c->is_closing = true;
	stream_dial_cancel(STEAL(c->dial));
	if (c->has_exit && c->signal[0] != '\0')
		(void)ssh_channel_request_send_exit_signal(c->channel, c->signal, 0, "", "");
	else if (c->has_exit)
		(void)ssh_channel_request_send_exit_status(c->channel, c->status);
	(void)ssh_channel_send_eof(c->channel);
	(void)ssh_channel_close(c->channel);
}

static void
pump(struct ssh_chan *c)
{
	if (c->is_closing || c->is_dead)
		return;
	send_out(c, 0);
	send_out(c, 1);
	if (!has_unsent(c) && c->has_exit)
		close_channel(c);
	else if (!has_unsent(c) && c->out_ended && c->is_port)
		(void)ssh_channel_send_eof(c->channel);
}

/* The end of a session for a reason that is no exit. */
static void
fail(struct ssh_chan *c, const struct err *e)
{
	c->has_exit = true;
	if (c->is_port) {
		log_info("ssh_port_refused", LOG_ERR(e));
		c->status = 0;
	} else {
		AUTO(free)
		char *text = xasprintf("%s%s\n", e->text, c->order.has_terminal ? "\r" : "");

		buf_adds(&c->out[c->order.has_terminal ? 0 : 1], text);
		c->status = EXIT_REFUSED;
	}
	pump(c);
	ssh_gate_settle(c->gate);
}

/* --- from the client --- */

/* Passes on what the channel holds, as far as there is room. */
static void
pull(struct ssh_chan *c)
{
	static char p[STREAM_FRAME_MAX];

	if (c->is_pulling)
		return;
	while (c->is_ready && c->stream != NULL) {
		size_t room = stream_room(c->stream, STREAM_STDIN);
		int n;

		if (room == 0)
			return;
		c->is_pulling = true;
		n = ssh_channel_read_nonblocking(
		    c->channel, p, (uint32_t)(room < sizeof p ? room : sizeof p), 0);
		c->is_pulling = false;
		if (n <= 0)
			break;
		stream_data(c->stream, STREAM_STDIN, p, (size_t)n);
	}
	if (c->eof_from_client && c->is_ready && c->stream != NULL && !c->eof_passed_on) {
		c->eof_passed_on = true;
		stream_end(c->stream, STREAM_STDIN);
	}
}

static int
on_channel_data(
    ssh_session session, ssh_channel channel, void *p, uint32_t n, int is_stderr, void *arg)
{
	struct ssh_chan *c = arg;
	size_t room;

	(void)session;
	(void)channel;
	if (is_stderr || c->is_closing)
		return (int)n;
	if (!c->is_ready || c->stream == NULL || c->is_pulling)
		return 0; /* it waits in the channel's window */
	room = stream_room(c->stream, STREAM_STDIN);
	if (room > n)
		room = n;
	stream_data(c->stream, STREAM_STDIN, p, room);
	return (int)room;
}

static void
on_channel_eof(ssh_session session, ssh_channel channel, void *arg)
{
	struct ssh_chan *c = arg;

	(void)session;
	(void)channel;
	c->eof_from_client = true;
	pull(c);
}

static void
on_channel_close(ssh_session session, ssh_channel channel, void *arg)
{
	struct ssh_chan *c = arg;

	(void)session;
	(void)channel;
	c->is_dead = true; /* freed after this turn */
}

static void
on_channel_signal(ssh_session session, ssh_channel channel, const char *name, void *arg)
{
	struct ssh_chan *c = arg;
	size_t n = strlen(name);

	(void)session;
	(void)channel;
	if (c->stream != NULL && c->is_ready && n > 0 && n <= STREAM_SIGNAL_MAX &&
	    strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == n)
		stream_send(c->stream, STREAM_SIGNAL, name, n);
}

/* --- the stream --- */

static void
on_data(struct stream *s, int channel, const char *p, size_t n, void *arg)
{
	struct ssh_chan *c = arg;

	if (n == 0) {
		c->out_ended = c->out_ended || channel == STREAM_STDOUT;
	} else if (channel != STREAM_STDOUT && channel != STREAM_STDERR) {
		stream_used(s, channel, n);
		return;
	} else {
		buf_add(&c->out[channel - 1], p, n);
	}
	pump(c);
	ssh_gate_settle(c->gate);
}

static void
on_room(struct stream *s, void *arg)
{
	struct ssh_chan *c = arg;

	(void)s;
	pull(c);
	ssh_gate_settle(c->gate);
}

static void
on_control(struct stream *s, const struct stream_frame *f, void *arg)
{
	struct ssh_chan *c = arg;

	(void)s;
	if (f->type == STREAM_READY) {
		c->is_ready = true;
		pull(c);
	} else if (f->type == STREAM_EXIT) {
		c->has_exit = true;
		c->status = (int)stream_frame_u32(f->data.p);
		(void)snprintf(
		    c->signal, sizeof c->signal, "%.*s", (int)(f->data.n - 4), f->data.p + 4);
		pump(c);
	}
	ssh_gate_settle(c->gate);
}

static void
on_close(struct stream *s, const struct err *e, void *arg)
{
	struct ssh_chan *c = arg;

	(void)s;
	stream_free(STEAL(c->stream));
	if (c->has_exit) {
		pump(c);
		ssh_gate_settle(c->gate);
	} else if (c->is_port && c->is_ready) {
		c->has_exit = true;
		pump(c);
		ssh_gate_settle(c->gate);
	} else {
		fail(c, e);
	}
}

static const struct stream_calls calls = { on_data, on_room, on_control, on_close };

static void
on_dialed(int take_fd, struct str early, const struct err *e, void *arg)
{
	struct ssh_chan *c = arg;

	c->dial = NULL;
	if (e != NULL) {
		fail(c, e);
		return;
	}
	c->stream = stream_new(c->gate->loop, take_fd, early, &calls, c);
	stream_send(c->stream, STREAM_ORDER, c->request.p, c->request.n);
	buf_fini(&c->request);
	c->request = (struct buf){ 0 };
}

static int
start(struct ssh_chan *c, const char *path)
{
	AUTO(free) char *url = ssh_call_url(c->gate, path);
	const struct stream_dial_opts o = { .url = url, .authorization = c->gate->authorization };
	struct err e = { 0 };

	if (c->has_started || c->request.n > STREAM_ORDER_MAX)
		return -1;
	c->has_started = true;
	c->dial = stream_dial_start(c->gate->loop, &o, on_dialed, c, &e);
	if (c->dial == NULL)
		log_warn("ssh_no_broker", LOG_ERR(&e));
	return c->dial == NULL ? -1 : 0;
}

/* --- requests of a session --- */

static int
start_exec(struct ssh_chan *c)
{
	codec_encode(&wire_exec_codec, &c->order, &c->request);
	return start(c, "/ssh/exec");
}

static int
on_shell(ssh_session session, ssh_channel channel, void *arg)
{
	(void)session;
	(void)channel;
	return start_exec(arg) < 0 ? 1 : 0;
}

static int
on_exec(ssh_session session, ssh_channel channel, const char *command, void *arg)
{
	struct ssh_chan *c = arg;

	(void)session;
	(void)channel;
	if (strlen(command) > WIRE_EXEC_COMMAND_MAX)
		return 1;
	mem_set_str(&c->order.command, command);
	return start_exec(c) < 0 ? 1 : 0;
}

static int
on_subsystem(ssh_session session, ssh_channel channel, const char *name, void *arg)
{
	struct ssh_chan *c = arg;

	(void)session;
	(void)channel;
	if (strcmp(name, "sftp") != 0)
		return 1;
	str_list_fini(&c->order.args);
	str_list_add(&c->order.args, "/usr/lib/openssh/sftp-server");
	return start_exec(c) < 0 ? 1 : 0;
}

static int
on_pty(ssh_session session, ssh_channel channel, const char *term, int columns, int rows,
    int pixel_width, int pixel_height, void *arg)
{
	struct ssh_chan *c = arg;

	(void)session;
	(void)channel;
	(void)pixel_width;
	(void)pixel_height;
	if (c->has_started || strlen(term) >= TERM_MAX)
		return -1;
	c->order.has_terminal = true;
	mem_set_str(&c->order.term, term);
	c->order.columns = columns & 0xffff;
	c->order.rows = rows & 0xffff;
	return 0;
}

static int
on_window_change(ssh_session session, ssh_channel channel, int columns, int rows, int pixel_width,
    int pixel_height, void *arg)
{
	struct ssh_chan *c = arg;

	(void)session;
	(void)channel;
	(void)pixel_width;
	(void)pixel_height;
	if (c->stream != NULL)
		stream_send_size(
		    c->stream, (struct stream_size){ columns & 0xffff, rows & 0xffff });
	return 0;
}

/* Bounded, and no name that steers programs of the gear's own. 1: refused. */
static int
on_env(ssh_session session, ssh_channel channel, const char *name, const char *value, void *arg)
{
	struct ssh_chan *c = arg;
	struct wire_var *v;
	size_t n = strlen(name) + strlen(value);
	bool is_known = strncmp(name, "LC_", 3) == 0 || strcmp(name, "LANG") == 0 ||
	                strcmp(name, "TZ") == 0 || strcmp(name, "GIT_PROTOCOL") == 0 ||
	                strcmp(name, "COLORTERM") == 0;

	(void)session;
	(void)channel;
	if (!is_known || c->has_started || !str_is_env_name(name) ||
	    c->order.env.n >= WIRE_EXEC_ENV_MAX || c->env_bytes + n > ENV_BYTES_MAX)
		return 1;
	c->env_bytes += n;
	v = codec_list_add(&wire_var_codec, &c->order.env);
	v->name = xstrdup(name);
	v->value = xstrdup(value);
	return 0;
}

/* --- the life of channels --- */

static void
free_chan(struct ssh_chan *c)
{
	stream_dial_cancel(STEAL(c->dial));
	stream_free(STEAL(c->stream));
	(void)ssh_remove_channel_callbacks(c->channel, &c->callbacks);
	if (!c->is_closing)
		(void)ssh_channel_close(c->channel);
	ssh_channel_free(c->channel);
	buf_fini(&c->out[0]);
	buf_fini(&c->out[1]);
	buf_fini(&c->request);
	codec_fini(&wire_exec_codec, &c->order);
	c->gate->channel_n--;
	free(c);
}

static struct ssh_chan *
add_chan(struct ssh_gate *g, ssh_channel channel)
{
	struct ssh_chan *c = xcalloc(1, sizeof *c);

	c->next = g->channels;
	c->gate = g;
	c->channel = channel;
	g->channels = c;
	g->channel_n++;
	c->callbacks = (struct ssh_channel_callbacks_struct){
		.userdata = c,
		.channel_data_function = on_channel_data,
		.channel_eof_function = on_channel_eof,
		.channel_close_function = on_channel_close,
		.channel_signal_function = on_channel_signal,
		.channel_pty_request_function = on_pty,
		.channel_pty_window_change_function = on_window_change,
		.channel_shell_request_function = on_shell,
		.channel_exec_request_function = on_exec,
		.channel_env_request_function = on_env,
		.channel_subsystem_request_function = on_subsystem,
	};
	ssh_callbacks_init(&c->callbacks);
	(void)ssh_set_channel_callbacks(channel, &c->callbacks);
	return c;
}

ssh_channel
ssh_chan_open_session(ssh_session session, void *gate)
{
	struct ssh_gate *g = gate;
	ssh_channel channel;

	if (g->channel_n >= SSH_GATE_CHANNELS_MAX || (channel = ssh_channel_new(session)) == NULL)
		return NULL;
	(void)add_chan(g, channel);
	return channel;
}

bool
ssh_chan_open_port(struct ssh_gate *g, ssh_message m)
{
	const char *host = ssh_message_channel_request_open_destination(m);
	int port = ssh_message_channel_request_open_destination_port(m);
	ssh_channel channel;
	struct ssh_chan *c;

	if (host == NULL || port < 1 || port > 65535 || g->channel_n >= SSH_GATE_CHANNELS_MAX ||
	    wire_port_address(host) == NULL)
		return false;
	channel = ssh_message_channel_request_open_reply_accept(m);
	if (channel == NULL)
		return false;
	c = add_chan(g, channel);
	c->is_port = true;
	buf_adds(&c->request, "{\"host\":");
	buf_add_json_str(&c->request, host);
	buf_addf(&c->request, ",\"port\":%d}", port);
	if (start(c, "/ssh/port") < 0)
		close_channel(c);
	return true;
}

void
ssh_chan_pump_all(struct ssh_gate *g)
{
	struct ssh_chan **at = &g->channels;

	while (*at != NULL) {
		struct ssh_chan *c = *at;

		if (!c->is_dead)
			pull(c);
		pump(c);
		if (c->is_dead) {
			*at = c->next;
			free_chan(c);
		} else {
			at = &c->next;
		}
	}
}
