/* router/sock.h: one non-blocking stream with edge-triggered readiness: a socket, or what a layer
 * makes of one (TLS), or of a part of one (a stream of HTTP/2). It holds no buffer but what its
 * peer did not take. */
#pragma once

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct lane;
struct sock;

/* Something may have changed: look at the flags. */
typedef void sock_fn(struct sock *s);

/* What lies between a sock and the kernel. One with seal has the socket below it, and leaves in
 * lane->sealed what is to be sent, whichever function it is; one with send is told by its owner
 * when something can be read or written, and has no descriptor of its own. */
struct sock_layer {
	/* As recv(2): -1 with EAGAIN when there is nothing now. *out_more: more may lie there. */
	ssize_t (*recv)(struct sock *s, void *p, size_t n, bool *out_more);
	/* 0: all of it; 1: nothing yet, ask again when something happens; -1: broken. */
	int (*seal)(struct sock *s, const struct iovec *v, int n);
	ssize_t (*send)(struct sock *s, const struct iovec *v, int n); /* as sendmsg(2) */
	void (*shut)(struct sock *s);                /* nothing more will be sent */
	void (*drop)(struct sock *s, bool is_reset); /* it closes: frees s->over */
	bool (*pending)(const struct sock *s); /* what was sent last is not out; NULL: it is */
};

struct sock {
	struct event ev;
	const struct sock_layer *layer; /* NULL: none */
	void *over;                     /* the layer's */
	struct lane *lane;              /* borrowed */
	sock_fn *fn;
	char *spill; /* owned: bytes that wait for room; NULL = none */
	uint32_t spill_off, spill_n, spill_cap;
	int fd; /* owned; -1: closed */
	bool can_read;
	bool can_write;
	bool half_closed; /* the peer has sent its FIN: read up to the end */
	bool eof;         /* and it was read */
	bool watched;
	bool unsure;   /* can_read is off only because a read was short */
	bool shuts;    /* the end goes out when nothing is pending */
	bool is_reset; /* it closes with an error */
};

/* Takes fd. can_write: it need not be waited for. Nothing is told before sock_watch, or before a
 * write finds no room. */
void sock_start(struct sock *s, struct lane *l, int take_fd, bool can_write, sock_fn *fn);
/* Puts a layer over a socket. over: the layer's own, freed by its drop. */
void sock_lay(struct sock *s, const struct sock_layer *layer, void *take_over);
/* A stream without a descriptor: all goes through the layer. */
void sock_start_layer(
    struct sock *s, struct lane *l, const struct sock_layer *layer, void *over, sock_fn *fn);
/* Tells fn from now on. Twice is fine. */
void sock_watch(struct sock *s);
void sock_close(struct sock *s); /* twice is fine */
void sock_reset(struct sock *s); /* the close will be a reset: the peer sees an error */
void sock_shut(struct sock *s);  /* the peer sees the end, once it has all; reading goes on */
bool sock_is_open(const struct sock *s);
/* > 0: bytes; 0: nothing now, or the end (s->eof); -1: broken. A short read is taken as the last
 * one until something happens. */
ssize_t sock_read(struct sock *s, void *p, size_t n);
/* For who needs more to go on: asks the kernel even after a short read. A reset may lie behind its
 * bytes, and the event that told of both is gone. */
ssize_t sock_read_on(struct sock *s, void *p, size_t n);
/* One writev. Returns the bytes taken (all of them where a layer seals: some may be kept), 0 when
 * there is no room or TLS still shakes hands, -1 when it is broken. */
ssize_t sock_try(struct sock *s, const struct iovec *v, int n);
/* Writes; keeps what the peer does not take. 0, or -1 when it is broken. Not before sock_try has
 * taken something where a layer seals: what is kept there is sealed. */
int sock_write(struct sock *s, const struct iovec *v, int n);
/* Writes what was kept. 0, or -1 when it is broken. */
int sock_flush(struct sock *s);
static inline bool
sock_pending(const struct sock *s)
{
	return s->spill_n != 0;
}
/* The same, at the end: also of what the layer took, but has not passed on. */
bool sock_is_unsent(const struct sock *s);
/* Calls fn again in the next turn of the loop, so that others get theirs. */
void sock_again(struct sock *s);
