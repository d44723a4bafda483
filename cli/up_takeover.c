#include "cli/up_takeover.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/fd_packet.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/codec/codec.h"
#include "lib/loop/loop.h"

/* The running one says FACTS with the lock, and "clear"; the new one "clear", "router", "done". */
static const char clear_word[] = "clear", router_word[] = "router", done_word[] = "done",
                  socket_name[] = "takeover.sock";

enum { PACKET_MAX = 4096, ANSWER_S = 60 };

struct up_takeover {
	struct loop *loop; /* borrowed */
	struct up_takeover_opts o;
	struct loop_io *listen_io, *peer_io; /* owned */
	int fd, peer;                        /* owned; -1: none */
};

/* --- the new one --- */

void
up_takeover_place_fini(struct up_place *p)
{
	file_close(p->fd);
	file_close(p->lock_fd);
	if (p->facts != NULL)
		codec_value_free(p->facts);
	*p = (struct up_place){ .fd = -1, .lock_fd = -1 };
}

static int
is_lost(struct err *e)
{
	return err_set(e, ERR_BUSY, "takeover",
	    "the 'pinion up' that runs does not answer: is another one just taking over? Try "
	    "again");
}

int
up_takeover_ask(const char *run, struct up_place *out, struct err *e)
{
	AUTO_FINI(up_takeover_place_fini) struct up_place p = { .fd = -1, .lock_fd = -1 };
	char text[PACKET_MAX];

	p.fd = fd_packet_connect(run, socket_name, ANSWER_S, e);
	if (p.fd < 0 && e->code != ERR_NONE)
		return -1;
	if (p.fd >= 0) {
		ssize_t n = fd_packet_recv(p.fd, text, sizeof text, &p.lock_fd);

		if (n <= 0 || p.lock_fd < 0)
			return is_lost(e);
		p.facts = codec_parse(text, (size_t)n, e);
		if (p.facts == NULL)
			return -1;
	}
	*out = p;
	p = (struct up_place){ .fd = -1, .lock_fd = -1 };
	return 0;
}

static int
say(struct up_place *p, const char *word, struct err *e)
{
	return fd_packet_send(p->fd, word, -1) ? 0 : is_lost(e);
}

int
up_takeover_clear(struct up_place *p, struct err *e)
{
	char text[PACKET_MAX];
	int passed = -1;

	if (say(p, clear_word, e) < 0)
		return -1;
	ssize_t n = fd_packet_recv(p->fd, text, sizeof text, &passed);
	file_close(passed);
	return n > 0 && strcmp(text, clear_word) == 0 ? 0 : is_lost(e);
}

int
up_takeover_router(struct up_place *p, struct err *e)
{
	return say(p, router_word, e);
}

void
up_takeover_done(struct up_place *p)
{
	if (!fd_packet_send(p->fd, done_word, -1))
		log_warn("takeover_not_told");
	file_close(p->fd);
	p->fd = -1;
}

/* --- the one that runs --- */

static void
drop_peer(struct up_takeover *t)
{
	loop_io_cancel(STEAL(t->peer_io));
	file_close(t->peer);
	t->peer = -1;
}

static void
drop_path(struct up_takeover *t)
{
	loop_io_cancel(STEAL(t->listen_io));
	file_close(t->fd);
	t->fd = -1;
}

static int open_path(struct up_takeover *t, struct err *e);

static void
fail(struct up_takeover *t)
{
	struct err e = { 0 };

	drop_peer(t);
	/* It may have put its own socket there. */
	drop_path(t);
	if (open_path(t, &e) < 0)
		log_error("takeover_impossible", LOG_ERR(&e));
	t->o.on_failed(t->o.arg);
}

static void
on_peer(int fd, int what, void *arg)
{
	struct up_takeover *t = arg;
	char text[PACKET_MAX];
	int passed = -1;
	ssize_t n = fd_packet_recv(fd, text, sizeof text, &passed);

	(void)what;
	file_close(passed);
	if (n > 0 && strcmp(text, clear_word) == 0) {
		t->o.on_ask(t->o.arg);
	} else if (n > 0 && strcmp(text, router_word) == 0) {
		t->o.on_router(t->o.arg);
	} else if (n > 0 && strcmp(text, done_word) == 0) {
		drop_peer(t);
		drop_path(t);
		t->o.on_done(t->o.arg);
	} else {
		fail(t);
	}
}

static void
on_connect(int fd, int what, void *arg)
{
	struct up_takeover *t = arg;
	pid_t pid = 0;
	int peer = fd_packet_accept(fd, &pid);

	(void)what;
	if (peer < 0)
		return;
	AUTO(free) char *facts = t->o.facts(t->o.arg);
	if (t->peer >= 0 || !fd_packet_send(peer, facts, t->o.lock_fd)) {
		file_close(peer); /* one at a time */
		return;
	}
	log_info("takeover_asked", LOG_INT("pid", pid));
	t->peer = peer;
	t->peer_io = loop_io_start(t->loop, peer, LOOP_READ, on_peer, t);
}

static int
open_path(struct up_takeover *t, struct err *e)
{
	t->fd = fd_packet_listen(t->o.run, socket_name, e);
	if (t->fd < 0)
		return -1;
	t->listen_io = loop_io_start(t->loop, t->fd, LOOP_READ, on_connect, t);
	return 0;
}

struct up_takeover *
up_takeover_new(struct loop *l, const struct up_takeover_opts *o, struct err *e)
{
	struct up_takeover *t = xcalloc(1, sizeof *t);

	t->loop = l;
	t->o = *o;
	t->peer = -1;
	if (open_path(t, e) < 0) {
		up_takeover_free(t);
		return NULL;
	}
	return t;
}

void
up_takeover_cleared(struct up_takeover *t)
{
	/* If it is gone, on_peer sees that. */
	if (t->peer >= 0 && !fd_packet_send(t->peer, clear_word, -1))
		log_warn("takeover_not_told");
}

void
up_takeover_free(struct up_takeover *take_t)
{
	if (take_t == NULL)
		return;
	drop_peer(take_t);
	drop_path(take_t);
	free(take_t);
}
