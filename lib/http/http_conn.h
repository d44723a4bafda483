/* lib/http/http_conn.h: one connection of the server and the request under way on it. Internal to
 * http_server, http_conn and http_req. */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/http/http_body.h"
#include "lib/http/http_head.h"
#include "lib/http/http_server.h"

enum http_conn_state {
	HTTP_CONN_HEAD,    /* waits for a head; idle when nothing of it is there */
	HTTP_CONN_REQUEST, /* a request is with its handler */
	HTTP_CONN_FLUSH,   /* answered: the rest goes out, what is left of the body is skipped */
	HTTP_CONN_LINGER,  /* said its last: drops input until the peer closes, so that it can read
	                    */
	HTTP_CONN_DEAD,
};

struct http_conn {
	struct http_server *server;    /* borrowed */
	struct http_conn *prev, *next; /* borrowed: the server's list */
	struct http_req *req;          /* owned; in HTTP_CONN_REQUEST only */
	struct event io;               /* edge-triggered, added once */
	struct event timer;            /* not after deadline_ms */
	struct event kick;             /* made active when a call changed what is to be done */
	int fd;                        /* owned */
	enum http_conn_state state;
	struct buf in; /* unread input from in_off on; without memory when empty */
	size_t in_off;
	size_t in_seen; /* bytes of a head already looked at */
	struct buf out; /* unsent output from out_off on; without memory when empty */
	size_t out_off;
	struct http_body body;
	int64_t skipped; /* bytes of an unwanted body */
	int64_t since_ms, rx_ms, tx_ms;
	int64_t deadline_ms, timer_ms; /* 0: none; what the timer is set to */
	bool can_read, can_write;      /* as the kernel last said */
	bool peer_closed;              /* the peer will send nothing more: taken as gone */
	bool is_broken;                /* reset, or a failed write */
	bool body_done;
	bool close_after; /* no request after this one */
	bool is_pumping, again;
	bool is_unix;
	char peer[INET6_ADDRSTRLEN];
};

struct http_param {
	char *name, *value; /* owned */
};

struct http_req {
	struct http_conn *conn;    /* borrowed */
	char *raw;                 /* owned: the head's bytes, values NUL-terminated */
	char *path;                /* owned */
	const char *query;         /* borrowed from raw */
	struct http_param *params; /* owned; made when first asked for */
	size_t param_n;
	bool has_params;
	struct http_head head; /* slices of raw */
	http_data_fn *data_fn;
	http_body_fn *body_fn;
	void *read_arg;
	size_t body_max;
	struct buf body; /* of read_all */
	http_close_fn *close_fn;
	void *close_arg;
	http_drain_fn *drain_fn;
	void *drain_arg;
	bool is_paused;
	bool told_end;       /* of the body */
	bool wants_continue; /* 100 Continue is owed before the body is read */
	bool has_begun, has_ended, is_aborted;
	bool is_chunked, has_no_body; /* the answer */
	bool is_full;                 /* write said so, and on_drain is owed */
};

struct http_listener {
	struct http_listener *next; /* owned */
	struct http_server *server; /* borrowed */
	struct event ev;
	int fd;     /* owned */
	char *path; /* owned: of a Unix socket, or NULL */
	uint64_t dev, ino;
};

struct http_server {
	struct loop *loop; /* borrowed */
	struct http_server_opts opts;
	char *server_name; /* owned, or NULL */
	http_handler_fn *handler;
	void *arg;
	struct http_listener *listeners; /* owned, newest first */
	struct http_conn *conns;         /* owned */
	struct event retry;              /* accepts again after a shortage */
	struct buf spare;                /* an input buffer for whoever reads next */
	int conn_n;
	size_t active;
	bool is_accepting, is_draining;
	int64_t date_s;
	char date[32];
};

/* Takes fd; the connection is the server's. */
void http_conn_new(struct http_server *s, int take_fd, const struct sockaddr *peer);
/* on_close of its request, then the end; the memory goes after the present turn. */
void http_conn_close(struct http_conn *c);
/* The connection is no longer the server's: gives its socket to the caller and appends what was
 * read and not used to early. Its request, which was not answered, is gone. */
int http_conn_release(struct http_conn *c, struct buf *early);
/* Does what is to be done soon, never inside the caller. */
void http_conn_kick(struct http_conn *c);
/* Waits for a request of which nothing came yet. */
bool http_conn_is_idle(const struct http_conn *c);
/* Reads and answers what there is now; true if the connection is idle then. */
bool http_conn_try(struct http_conn *c);
size_t http_conn_queued(const struct http_conn *c); /* unsent bytes */
/* The buffer to append output to; http_conn_kick sends it. */
struct buf *http_conn_out(struct http_conn *c);

/* NULL: the target's path is not decodable. h's slices are copied. */
struct http_req *http_req_new(struct http_conn *c, const struct http_head *h, const char *p);
void http_req_free(struct http_req *take_r);
/* A whole answer of the server's own, without a request. */
void http_req_write_error(struct http_conn *c, int status, const char *text);

/* A connection ended: there is room for another. */
void http_server_conn_closed(struct http_server *s, struct http_conn *c);
const char *http_server_date(struct http_server *s);
