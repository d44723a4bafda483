/* router/client_conn.h: HTTP/1.1 client side of a connection: reads heads, runs one exchange after
 * the other, keeps what was read too early. One that speaks HTTP/2 hands its bytes to h2_session.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "router/lane.h"
#include "router/peer.h"
#include "router/sock.h"

struct entry;
struct h2_session;
struct proxy;
struct upstream_pool;

enum {
	CLIENT_LINGER_MS = 2 * 1000,
	CLIENT_HEAD_MAX = 32 * 1024,
	CLIENT_LINGER_MAX = 16 * 1024 * 1024, /* bytes thrown away before the end */
};

enum client_state {
	CLIENT_IDLE,   /* between requests */
	CLIENT_HEAD,   /* in the middle of a head */
	CLIENT_BUSY,   /* an exchange or a tunnel runs */
	CLIENT_FLUSH,  /* the last answer goes out */
	CLIENT_LINGER, /* it is out; the rest of the request is thrown away */
	CLIENT_GREET,  /* the PROXY protocol comes first */
	CLIENT_H2,     /* it speaks HTTP/2: its streams are connections of their own */
};

/* What follows an answer. */
enum client_next {
	CLIENT_NEXT_REQUEST,
	CLIENT_NEXT_LINGER, /* the end, but the client may still send: it must not see a reset */
	CLIENT_NEXT_CLOSE,  /* the client itself said that it is the end */
};

struct client_conn {
	union {
		struct lane_timer timer;
		struct lane_grave grave; /* closed: no deadline any more */
	};
	struct sock sock;
	struct client_conn *next, *prev; /* in lane->clients */
	const struct entry *entry;       /* borrowed: where it came in */
	struct proxy *x;                 /* owned: the exchange under way */
	struct h2_session *h2;           /* owned; NULL: HTTP/1.1 */
	struct buf *in;   /* owned: read, but not consumed in its callback; NULL: nothing */
	const char *view; /* not consumed: in the lane's scratch, or in `in` */
	struct peer *hop; /* owned: of a trusted proxy; NULL: peer, see client_conn_hop */
	uint32_t view_n;
	union {
		uint32_t seen;     /* bytes of a head that were scanned */
		uint32_t lingered; /* CLIENT_LINGER: bytes thrown away */
	};
	struct peer peer;      /* of the request under way */
	uint8_t state;         /* enum client_state */
	bool view_is_kept : 1; /* view lies in `in` */
	bool running : 1;      /* run is on the stack */
	bool closes : 1;       /* CLIENT_FLUSH: then close at once */
	bool may_be_h2 : 1;    /* it has not spoken yet */
	bool is_stream : 1;    /* of the connection of another */
	bool is_large : 1;     /* and its head does not fit */
	bool is_trusted : 1;   /* hop tells who the client is */
	bool is_counted : 1;   /* in the lane's crowd */
};

/* Who connected: not the client, if that is a trusted proxy. */
static inline const struct peer *
client_conn_hop(const struct client_conn *c)
{
	return c->hop != NULL ? c->hop : &c->peer;
}

/* Serves an accepted connection; takes fd. entry: borrowed, where it came in. */
void client_conn_start(
    struct lane *l, const struct entry *entry, int take_fd, const struct peer *peer);
/* Serves a request within c, as if it came on a connection of its own. layer, over: its bytes.
 * NULL: its address has too many. */
struct client_conn *client_conn_start_stream(
    struct client_conn *c, const struct sock_layer *layer, void *over);
void client_conn_close(struct client_conn *take_c);
/* Makes unconsumed input visible in c->view, reading if there is none. false: nothing now, or the
 * end (c->sock.eof), or broken (*out_broken). */
bool client_conn_fill(struct client_conn *c, size_t max, bool *out_broken);
void client_conn_consume(struct client_conn *c, size_t n);
/* Moves what was not consumed out of the scratch, before another uses that. */
void client_conn_park(struct client_conn *c);
/* The exchange ended. */
void client_conn_done(struct client_conn *c, enum client_next next);
/* The next deadline. */
void client_conn_deadline(struct client_conn *c, int64_t ms);
/* Breaks off the exchanges that p has. */
void client_conn_cut(struct lane *l, const struct upstream_pool *p);
/* Each connection of the lane ends with its next answer; idle_too: those between two requests now.
 */
void client_conn_drain(struct lane *l, bool idle_too);
