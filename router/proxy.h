/* router/proxy.h: one exchange: a request to an instance, its answer back, bodies both ways with
 * backpressure, retries while that is safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/http/http_body.h"
#include "lib/http/http_head.h"
#include "router/hold.h"
#include "router/host_table.h"
#include "router/proxy_head.h"

struct client_conn;
struct filter;
struct hedge;
struct host_endpoint;
struct lane;
struct proxy_page;
struct route_options;
struct stats_app;
struct upstream_conn;
struct upstream_pool;

enum {
	PROXY_TIMEOUT_S = 300,
	PROXY_TUNNEL_IDLE_S = 3600,
	PROXY_TRIES = 4,
	PROXY_ANSWER_HEAD_MAX = 64 * 1024,
};

struct proxy {
	struct proxy *next;               /* in lane->spare */
	struct client_conn *client;       /* borrowed: owns us */
	struct upstream_conn *up;         /* owned; NULL: none now */
	struct upstream_pool *pool;       /* taken; NULL: none */
	struct filter *filter;            /* owned: of a route with options; NULL: none */
	struct hedge *hedge;              /* owned: a second instance is asked, or will be */
	struct hold_link held;            /* it waits for its application, or for room there */
	const struct route_options *gate; /* a reference: pool's instance has it among so many */
	struct stats_app *app;            /* borrowed: counts it; NULL: it had no instance yet */
	struct host_endpoint *tried[PROXY_TRIES];
	struct buf head;           /* the request's head as it goes out; kept until the end */
	struct buf answer;         /* a head of an answer that came in parts */
	struct buf trailers;       /* of the answer */
	struct buf asked_trailers; /* of the request */
	struct http_body up_body, down_body;
	size_t head_sent;
	size_t answer_seen; /* bytes of answer that were scanned */
	int64_t bytes;      /* of the body that went to the client */
	int64_t body_in;    /* of the body as it came from it: such a request is sent once */
	int64_t start_us, start_unix_us;
	int64_t sent_us, first_us; /* the head was sent, the first byte of an answer came; 0: not */
	int64_t mark_us;           /* the wait or connect under way began; 0: none is */
	int64_t queue_us, connect_us; /* of those that ended */
	int64_t retry_us;             /* of tries that failed */
	int64_t timeout_ms;
	int64_t queue_end_ms;        /* it waits for room until then; 0: it never did */
	uint32_t method_n, target_n; /* at the start of head */
	uint32_t read_max;
	uint32_t host_n;
	struct buf names;     /* "host\0app\0instance\0", for the log and for retries */
	const char *why;      /* it failed, for the log: a sentence; NULL: it did not */
	const char *lost_why; /* of the last attempt that failed, with lost_status */
	int lost_status;
	int status;
	uint8_t tries;
	uint8_t id_n;
	uint8_t minor;      /* of the client's HTTP */
	bool keep;          /* the client's connection may stay */
	bool client_closes; /* it said so itself */
	bool up_keep;       /* the instance's connection may stay */
	bool up_done;       /* the request is sent */
	bool has_answer;    /* the final head of the answer went to the client */
	bool has_byte;      /* something of an answer arrived */
	bool down_done;
	bool up_chunked, down_chunked;
	bool is_idempotent;
	bool is_found;     /* its route was looked up */
	bool is_rewritten; /* the target is that of a route with a path, which was path */
	bool upgrade;
	bool wants_trailers;
	bool tunnel;
	bool up_fin, down_fin; /* tunnel: the end was passed on */
	bool wants_json;
	bool is_browsed; /* by a person: a page that loads itself again is an answer */
	bool is_head;
	bool has_own_id; /* the client sent none */
	bool is_next;    /* its turn has come */
	bool fresh;      /* an idle connection failed: make a new one */
	bool up_broken;  /* it takes no more; an answer may still lie there */
	int64_t up_idle_ms;
	char app_id[32]; /* "" : not known */
	char id[PROXY_ID_MAX];
	uint8_t path_n;
	char path[HOST_PATH_MAX];
};

/* Starts the exchange for h, which lies at the client's view. May answer at once. */
void proxy_start(struct client_conn *c, const struct http_head *h);
/* Something changed on the client's side. */
void proxy_client_ready(struct proxy *x);
void proxy_timeout(struct proxy *x);
/* Answers a request that has no exchange (a malformed one). */
void proxy_refuse(struct client_conn *c, int status, const char *why);
/* Ends the exchange after a whole answer; breaks it off, why: a sentence for the log. x is gone
 * after either. */
void proxy_finish(struct proxy *x);
void proxy_abort(struct proxy *x, int status, const char *why);
/* The instance goes away, and had its time to end it. x is gone. */
void proxy_cut(struct proxy *x);
/* An answer of the router's own (its id, and what the client wants, are filled in). x is gone. */
void proxy_answer(struct proxy *x, struct proxy_page p);
/* Pages that say why a request failed; later: and when to try again. x is gone after either. */
void proxy_fail(struct proxy *x, int status, const char *why);
void proxy_fail_later(struct proxy *x, int status, const char *why, int retry_after_s);
/* Gives back the connection (keep: to be used again) and the instance. */
void proxy_let_go(struct proxy *x, bool keep);
/* Sends what there is of the request. false: x is gone. */
bool proxy_send(struct proxy *x);
/* The first bytes of an answer came from x->up. x may be gone. */
void proxy_take_answer(struct proxy *x, const char *p, size_t n);
/* Of the connection to the instance: an upstream_fn. */
void proxy_on_up(struct upstream_conn *u, void *owner);
void proxy_touch(struct proxy *x); /* bytes moved: the deadline starts anew */
/* Closes what it holds, writes the log line. NULL is fine. */
void proxy_free(struct proxy *take_x);
/* Frees half of the spares that nobody needed since the last call; all. */
void proxy_trim_spares(struct lane *l);
void proxy_drop_spares(struct lane *l);
