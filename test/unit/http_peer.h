/* test/unit/http_peer.h: a raw socket peer on the test's own loop, and waiting for conditions. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/base/buf.h"

struct loop;
struct loop_io;

struct http_peer {
	struct loop *loop; /* borrowed */
	struct loop_io *io;
	int fd;
	struct buf in; /* all that came */
	bool at_end;   /* the other side closed, or reset */
	bool was_reset;
	bool is_stopped; /* does not read */
};

/* Connects to 127.0.0.1:port, or to a Unix socket when path is not NULL. */
void http_peer_open(struct http_peer *p, struct loop *l, int port, const char *path);
/* Wraps a connected socket. */
void http_peer_wrap(struct http_peer *p, struct loop *l, int take_fd);
void http_peer_close(struct http_peer *p);
/* Sends all, running the loop while the socket is full. */
void http_peer_send(struct http_peer *p, const char *s, size_t n);
void http_peer_puts(struct http_peer *p, const char *s);
void http_peer_stop_reading(struct http_peer *p, bool stopped);
/* Run the loop until it is so; fail the test after 10 s. */
void http_peer_expect(struct http_peer *p, const char *text);
void http_peer_expect_n(struct http_peer *p, size_t n);
void http_peer_expect_end(struct http_peer *p);
/* Times text occurs in what came. */
int http_peer_count(const struct http_peer *p, const char *text);
void http_peer_forget(struct http_peer *p);

/* Runs the loop until *done, or fails the test after 10 s. */
void http_peer_wait(struct loop *l, const bool *done);
/* The same until *n is at least want. */
void http_peer_wait_n(struct loop *l, const size_t *n, size_t want);
/* Runs the loop over what is ready now. */
void http_peer_step(struct loop *l);
/* Runs the loop for ms. */
void http_peer_turn(struct loop *l, int64_t ms);
