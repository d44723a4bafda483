#include "node/gear_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/http/stream_dial.h"
#include "lib/http/stream_frame.h"
#include "lib/http/stream_relay.h"
#include "lib/http/stream_tls.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/container.h"
#include "node/container_ids.h"
#include "node/gear.h"
#include "node/node_dirs.h"

enum {
	BACKLOG = 8,
	ASKERS_MAX = 8, /* of one gear */
	RATE = 5,       /* a second */
	BURST = 20,
	A_TURN = 8,
};

struct gear_sockets {
	struct gear_sockets_opts o;
	struct map *all; /* by uuid */
};

struct gear_socket {
	struct gear_sockets *all; /* borrowed */
	char *uuid;               /* owned */
	int64_t uid_base;
	int fd; /* owned */
	struct loop_io *io;
	LIST_HEAD(, asker) askers;
	int n;
	int64_t tokens, since_ms;
};

/* One command. */
struct asker {
	LIST_ENTRY(asker) link;
	struct gear_socket *socket; /* borrowed */
	int fd;                     /* owned until the relay has it */
	struct worker_job *resolve;
	struct stream_dial *dial;
	struct stream_relay *relay;
};

static char *
dir_of(const struct node_dirs *d, const char *gear)
{
	return xasprintf("%s/gear/%s", d->run, gear);
}

static int
make_dir(const struct node_dirs *d, const char *gear, char **out, struct err *e)
{
	AUTO(free) char *all = file_join(d->run, "gear");
	AUTO(free) char *dir = dir_of(d, gear);

	if ((mkdir(all, 0711) < 0 && errno != EEXIST) || (mkdir(dir, 0711) < 0 && errno != EEXIST))
		return err_set(e, ERR_SYSTEM, NULL, "make %s", dir);
	if (chmod(dir, 0711) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "chmod %s", dir);
	*out = STEAL(dir);
	return 0;
}

int
gear_socket_bind(
    const struct node_dirs *d, const char *gear, struct container_spec *s, struct err *e)
{
	AUTO(free) char *dir = NULL;

	if (make_dir(d, gear, &dir, e) < 0)
		return -1;
	container_spec_bind(s, dir, GEAR_SOCKET_DIR, true, false);
	return 0;
}

/* --- commands --- */

static void
end(struct asker *a)
{
	LIST_REMOVE(a, link);
	a->socket->n--;
	worker_detach(a->resolve);
	stream_dial_cancel(a->dial);
	stream_relay_cancel(a->relay);
	file_close(a->fd);
	free(a);
}

static void
refuse(int fd, enum err_code code, const char *text)
{
	AUTO_FINI(buf_fini) struct buf payload = { 0 };
	AUTO_FINI(buf_fini) struct buf frame = { 0 };

	buf_addc(&payload, (char)code);
	buf_adds(&payload, text);
	stream_frame_add(&frame, STREAM_ERROR, 0, payload.p, payload.n);
	(void)send(fd, frame.p, frame.n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void
on_relay_end(void *arg)
{
	struct asker *a = arg;

	a->relay = NULL;
	end(a);
}

static void
on_dialed(int take_fd, struct str early, const struct err *e, void *arg)
{
	struct asker *a = arg;
	int fd = a->fd;

	a->dial = NULL;
	if (e != NULL) {
		refuse(fd, e->code, e->text);
		end(a);
		return;
	}
	a->fd = -1;
	a->relay = stream_relay_start(
	    a->socket->all->o.loop, fd, (struct str){ 0 }, take_fd, early, on_relay_end, a);
}

/* The stream's end tells the gear; why, only the log. */
static void
on_tls_broken(const struct err *e, void *arg)
{
	(void)arg;
	if (e == NULL)
		return;
	if (e->code == ERR_DENIED)
		log_warn("broker_not_believed", LOG_ERR(e));
	else
		log_debug("gear_command_ended", LOG_ERR(e));
}

/* address: of an https broker; NULL: none is needed. */
static int
dial(struct asker *a, const char *address, struct err *e)
{
	const struct gear_sockets_opts *o = &a->socket->all->o;
	AUTO(free)
	char *url = xasprintf(
	    "%s/internal/node/command?node=%s&gear=%s", o->broker, o->node, a->socket->uuid);
	AUTO(free) char *authorization = xasprintf("Bearer %s", o->token);
	struct stream_dial_opts d = { .url = url, .authorization = authorization };
	const struct stream_tls_opts tls = { .url = url,
		.address = address,
		.ca_file = o->ca_file,
		.cert_file = o->cert_file,
		.key_file = o->key_file };

	if (address != NULL && (d.fd = stream_tls_open(o->loop, &tls, on_tls_broken, NULL, e)) < 0)
		return -1;
	a->dial = stream_dial_start(o->loop, &d, on_dialed, a, e);
	return a->dial == NULL ? -1 : 0;
}

static void
dial_or_end(struct asker *a, const char *address)
{
	struct err e = { 0 };

	if (dial(a, address, &e) == 0)
		return;
	refuse(a->fd, e.code, e.text);
	end(a);
}

/* Where an https broker is: the name is looked up on a worker. */
struct lookup {
	struct asker *a; /* done only */
	char *url;       /* owned */
	char *address;   /* owned */
	struct err e;
};

static void
lookup_free(void *p)
{
	struct lookup *l = p;

	free(l->url);
	free(l->address);
	free(l);
}

static void
lookup_run(void *p)
{
	struct lookup *l = p;

	l->address = stream_tls_resolve(l->url, &l->e);
}

static void
lookup_done(void *p)
{
	struct lookup *l = p;
	struct asker *a = l->a;

	a->resolve = NULL;
	if (l->address != NULL) {
		dial_or_end(a, l->address);
	} else {
		refuse(a->fd, l->e.code, l->e.text);
		end(a);
	}
	lookup_free(l);
}

static void
connect_broker(struct asker *a)
{
	const struct gear_sockets_opts *o = &a->socket->all->o;
	struct lookup *l;

	if (!str_has_prefix(o->broker, "https:")) {
		dial_or_end(a, NULL);
		return;
	}
	l = xcalloc(1, sizeof *l);
	*l = (struct lookup){ .a = a, .url = xstrdup(o->broker) };
	a->resolve = worker_submit(o->worker, lookup_run, lookup_done, lookup_free, l);
}

static bool
is_of_gear(const struct gear_socket *s, int fd)
{
	struct ucred peer = { 0 };
	socklen_t n = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 &&
	       (int64_t)peer.uid >= s->uid_base && (int64_t)peer.uid < s->uid_base + CONTAINER_IDS;
}

static bool
may_ask(struct gear_socket *s)
{
	int64_t now = loop_now_ms();
	int64_t more = (now - s->since_ms) * RATE / 1000;

	if (more > 0) {
		s->tokens = s->tokens + more > BURST ? BURST : s->tokens + more;
		s->since_ms = now;
	}
	if (s->tokens <= 0 || s->n >= ASKERS_MAX)
		return false;
	s->tokens--;
	return true;
}

static void
begin(struct gear_socket *s, int take_fd)
{
	AUTO(file_close) int fd = take_fd;
	struct asker *a;

	if (!is_of_gear(s, fd)) {
		refuse(fd, ERR_DENIED, "this is another gear's");
		return;
	}
	if (!may_ask(s)) {
		refuse(fd, ERR_BUSY, "too many commands at once: try again in a moment");
		return;
	}
	a = xcalloc(1, sizeof *a);
	*a = (struct asker){ .socket = s, .fd = fd };
	fd = -1;
	LIST_INSERT_HEAD(&s->askers, a, link);
	s->n++;
	connect_broker(a);
}

static void
on_accept(int fd, int what, void *arg)
{
	(void)what;
	for (int i = 0; i < A_TURN; i++) {
		int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (got < 0)
			return;
		begin(arg, got);
	}
}

/* --- sockets --- */

static void
free_socket(void *p)
{
	struct gear_socket *s = p;

	while (!LIST_EMPTY(&s->askers))
		end(LIST_FIRST(&s->askers));
	loop_io_cancel(s->io);
	file_close(s->fd);
	free(s->uuid);
	free(s);
}

/* The instances that run have the directory: what is made in it is there in them. */
static int
listen_in(const char *dir, struct err *e)
{
	AUTO(file_close) int at = open(dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO(file_close)
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int got;

	if (at < 0 || fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", dir);
	(void)snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/sock", at);
	(void)unlinkat(at, "sock", 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || fchmodat(at, "sock", 0666, 0) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "listen at %s/sock", dir);
	got = file_raise(fd);
	fd = -1;
	return got;
}

void
gear_sockets_open(struct gear_sockets *all, const struct gear *g)
{
	AUTO(free) char *dir = NULL;
	struct gear_socket *s;
	struct err e = { 0 };
	int fd = -1;

	if (map_get(all->all, g->record.uuid) != NULL)
		return;
	if (make_dir(all->o.dirs, g->record.uuid, &dir, &e) < 0 || (fd = listen_in(dir, &e)) < 0) {
		log_warn("gear_without_socket", LOG_STR("gear", g->record.uuid), LOG_ERR(&e));
		return;
	}
	s = xcalloc(1, sizeof *s);
	*s = (struct gear_socket){
		.all = all,
		.uuid = xstrdup(g->record.uuid),
		.uid_base = g->record.uid_base,
		.fd = fd,
		.tokens = BURST,
		.since_ms = loop_now_ms(),
	};
	s->io = loop_io_start(all->o.loop, fd, LOOP_READ, on_accept, s);
	map_set(all->all, s->uuid, s);
}

void
gear_sockets_close(struct gear_sockets *s, const char *gear)
{
	AUTO(free) char *dir = dir_of(s->o.dirs, gear);
	AUTO(free) char *path = file_join(dir, "sock");

	(void)map_remove(s->all, gear);
	(void)unlink(path);
	(void)rmdir(dir);
}

struct gear_sockets *
gear_sockets_new(const struct gear_sockets_opts *o)
{
	struct gear_sockets *s = xcalloc(1, sizeof *s);

	s->o = *o;
	s->all = map_new(free_socket);
	return s;
}

void
gear_sockets_free(struct gear_sockets *take_s)
{
	if (take_s == NULL)
		return;
	map_free(take_s->all);
	free(take_s);
}
