#include "router/takeover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/fd_packet.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "router/fleet.h"

/* Packets: "SOCKET NAME" with its descriptor, for each; then "end". Back: "serving". */
static const char socket_word[] = "socket ", end_word[] = "end", serving_word[] = "serving",
                  socket_name[] = "takeover.sock";

enum { SOCKETS_MAX = 4096, ASK_S = 10, PACKET_MAX = TAKEOVER_NAME_MAX + 16 };

struct takeover {
	struct loop *loop; /* borrowed */
	struct takeover_opts o;
	struct loop_io *listen_io, *peer_io; /* owned */
	int fd, peer;                        /* owned; -1: none */
	bool has_failed;
};

/* --- descriptors --- */

void
takeover_sockets_fini(struct takeover_sockets *s)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->v[i].fd >= 0)
			close(s->v[i].fd);
	}
	free(s->v);
	*s = (struct takeover_sockets){ 0 };
}

/* With the port that was found, if it is known. */
static void
name_of(const struct entry *entry, char out[TAKEOVER_NAME_MAX])
{
	const char *colon = strrchr(entry->address, ':');
	int host = colon == NULL ? (int)strlen(entry->address) : (int)(colon - entry->address);
	const char *port = entry->port != 0 ? entry->port_text : colon == NULL ? "" : colon + 1;

	(void)snprintf(
	    out, TAKEOVER_NAME_MAX, "%s %.*s:%s", entry->proto, host, entry->address, port);
}

int
takeover_sockets_take(struct takeover_sockets *s, const struct entry *entry)
{
	char name[TAKEOVER_NAME_MAX];
	size_t host;

	name_of(entry, name);
	host = (size_t)(strrchr(name, ':') - name) + 1;
	for (size_t i = 0; s != NULL && i < s->n; i++) {
		int fd = s->v[i].fd;

		if (fd < 0 || strncmp(s->v[i].name, name, host) != 0 ||
		    (strcmp(name + host, "0") != 0 &&
		        strcmp(s->v[i].name + host, name + host) != 0))
			continue;
		s->v[i].fd = -1;
		return fd;
	}
	return -1;
}

/* --- the new one --- */

/* false: the end, or no such packet. */
static bool
take_packet(struct takeover_sockets *out, const char *text, int fd)
{
	size_t word = sizeof socket_word - 1;
	struct takeover_socket *s;

	if (fd < 0 || strncmp(text, socket_word, word) != 0 || out->n == SOCKETS_MAX) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	out->v = xreallocarray(out->v, out->n + 1, sizeof *out->v);
	s = &out->v[out->n++];
	(void)snprintf(s->name, sizeof s->name, "%s", text + word);
	s->fd = fd;
	return true;
}

int
takeover_ask(const char *dir, struct takeover_sockets *out, struct err *e)
{
	int passed, fd = fd_packet_connect(dir, socket_name, ASK_S, e);
	char text[PACKET_MAX];
	ssize_t n;

	if (fd < 0)
		return e->code == ERR_NONE ? -1 : err_field(e, "state-dir");
	while ((n = fd_packet_recv(fd, text, sizeof text, &passed)) > 0 &&
	       take_packet(out, text, passed))
		continue;
	if (n > 0 && strcmp(text, end_word) == 0)
		return fd;
	close(fd);
	takeover_sockets_fini(out);
	return err_set(e, ERR_BUSY, "state-dir",
	    "the router that runs with %s did not pass its sockets on: is another one just taking "
	    "over? Try again",
	    dir);
}

void
takeover_done(int take_fd)
{
	if (!fd_packet_send(take_fd, serving_word, -1))
		log_warn("takeover_not_told", LOG_STR("why", strerror(errno)));
	close(take_fd);
}

/* --- the one that runs --- */

static void on_peer(int fd, int what, void *arg);
static int open_path(struct takeover *t, struct err *e);

static void
drop_peer(struct takeover *t)
{
	loop_io_cancel(STEAL(t->peer_io));
	if (t->peer >= 0)
		close(t->peer);
	t->peer = -1;
}

static void
drop_path(struct takeover *t)
{
	loop_io_cancel(STEAL(t->listen_io));
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

static void
fail(struct takeover *t)
{
	struct err e = { 0 };

	drop_peer(t);
	log_warn("takeover_failed");
	/* It may have put its own socket there. */
	drop_path(t);
	if (open_path(t, &e) < 0)
		log_error("takeover_impossible", LOG_ERR(&e));
	t->o.on_failed(t->o.arg);
}

static void
give_one(const struct entry *entry, int fd, void *arg)
{
	struct takeover *t = arg;
	char name[TAKEOVER_NAME_MAX], text[PACKET_MAX];

	name_of(entry, name);
	(void)snprintf(text, sizeof text, "%s%s", socket_word, name);
	t->has_failed = t->has_failed || !fd_packet_send(t->peer, text, fd);
}

void
takeover_give(struct takeover *t)
{
	if (t->peer < 0)
		return;
	t->has_failed = false;
	fleet_each_socket(t->o.fleet, give_one, t);
	if (t->has_failed || !fd_packet_send(t->peer, end_word, -1))
		fail(t);
}

static void
on_peer(int fd, int what, void *arg)
{
	struct takeover *t = arg;
	char text[PACKET_MAX];
	int passed;
	ssize_t n = fd_packet_recv(fd, text, sizeof text, &passed);

	(void)what;
	if (passed >= 0)
		close(passed);
	if (n <= 0 || strcmp(text, serving_word) != 0) {
		fail(t);
		return;
	}
	drop_peer(t);
	drop_path(t);
	t->o.on_done(t->o.arg);
}

static void
on_connect(int fd, int what, void *arg)
{
	struct takeover *t = arg;
	pid_t pid = 0;
	int peer = fd_packet_accept(fd, &pid);

	(void)what;
	if (peer < 0)
		return;
	if (t->peer >= 0) {
		close(peer); /* one at a time */
		return;
	}
	log_info("takeover_asked", LOG_INT("pid", pid));
	t->peer = peer;
	t->peer_io = loop_io_start(t->loop, peer, LOOP_READ, on_peer, t);
	t->o.on_ask(t->o.arg);
}

static int
open_path(struct takeover *t, struct err *e)
{
	t->fd = fd_packet_listen(t->o.dir, socket_name, e);
	if (t->fd < 0)
		return err_field(e, "state-dir");
	t->listen_io = loop_io_start(t->loop, t->fd, LOOP_READ, on_connect, t);
	return 0;
}

struct takeover *
takeover_new(struct loop *l, const struct takeover_opts *o, struct err *e)
{
	struct takeover *t = xcalloc(1, sizeof *t);

	t->loop = l;
	t->o = *o;
	t->fd = t->peer = -1;
	if (file_mkdirs(o->dir, 0700, e) < 0 || open_path(t, e) < 0) {
		takeover_free(t);
		return NULL;
	}
	return t;
}

void
takeover_free(struct takeover *take_t)
{
	if (take_t == NULL)
		return;
	drop_peer(take_t);
	drop_path(take_t);
	free(take_t);
}
