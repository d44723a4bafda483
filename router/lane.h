/* router/lane.h: one thread of the router: its loop, clock, scratch memory, mailbox. Nothing of a
 * lane is touched by another thread, but its mailbox. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/http/http_head.h"
#include "router/wheel.h"

struct access_ring;
struct basic_auth;
struct challenge_table;
struct app_lines_box;
struct client_conn;
struct crowd;
struct event;
struct event_base;
struct fleet;
struct host_endpoint;
struct hold;
struct host_root;
struct host_route;
struct lane;
struct lane_mail;
struct proxy;
struct rate;
struct router_conf;
struct shed;
struct stats;
struct tls_out;
struct upstream_pool;

enum {
	LANE_SCRATCH = 256 * 1024,   /* bytes of one read at most */
	LANE_READ = 64 * 1024,       /* bytes of a first read */
	LANE_READ_SMALL = 16 * 1024, /* of each while memory is short */
	LANE_FRAMES = 64 * 1024,     /* bytes of frames read at once */
};

typedef void lane_fn(struct lane *l, void *arg);

/* Objects that may be on the stack are parked here and freed when the callback ends. */
struct lane_grave {
	struct lane_grave *next;
};

/* A deadline of a connection: fn is told when it passes. */
struct lane_timer {
	struct wheel_timer timer;
	void (*fn)(struct lane_timer *t);
};

struct lane {
	struct event_base *base;            /* owned */
	const struct router_conf *conf;     /* borrowed */
	const struct host_root *root;       /* borrowed: the table in force; NULL: none yet */
	struct fleet *fleet;                /* borrowed: all lanes */
	struct challenge_table *challenges; /* borrowed */
	void (*on_gone)(
	    struct lane *l, struct host_endpoint *ep); /* a retired one has no users here */
	/* About once a second while there are timers; NULL: nothing. */
	void (*trim)(struct lane *l);
	void (*on_drained)(struct lane *l); /* the last client left; called once */
	void (*on_hold)(struct lane *l, const struct host_route *r);  /* the first request for r
	                                                                 waits; NULL: nobody asks */
	void (*on_sleep)(struct lane *l, const struct host_route *r); /* a request for one asleep */
	void *sleep_arg;                                              /* borrowed, for on_sleep */
	struct hold *hold;           /* owned: requests that wait for their application */
	struct hold *queue;          /* owned: those that wait for room */
	struct upstream_pool *pools; /* all of them */
	struct app_lines_box *lines; /* borrowed; NULL: nobody to tell */
	struct stats *stats;         /* owned */
	struct access_ring *log;     /* borrowed; NULL: no access log */
	char *scratch;               /* owned: LANE_SCRATCH bytes, valid within one callback */
	struct buf frames;           /* of HTTP/2, to be sent */
	char *frames_in;             /* owned: read ones; NULL: never yet */
	unsigned char *records_in;   /* owned: of TLS, sealed; NULL: never yet */
	struct buf out;              /* a head or page being made */
	struct buf sealed;           /* what a layer over a socket has to send */
	struct http_head head;       /* the head being parsed */
	int64_t now_ms;              /* monotonic; of this callback */
	int64_t unix_offset_us;      /* from the monotonic clock to Unix time */
	int64_t offset_until_ms;     /* it is looked at again then */
	struct wheel wheel;
	struct lane_grave *graves;
	struct rate *rates;           /* owned; NULL: no route asked for one yet */
	struct basic_auth *auth;      /* likewise */
	struct tls_out *tls;          /* owned; NULL: no instance spoke it yet */
	struct shed *shed;            /* owned: what is given up when there is too little */
	struct crowd *crowd;          /* owned: clients by address; NULL: any may have all */
	int64_t kept, kept_max;       /* bytes that peers did not take; beyond it reads are small */
	int compressors;              /* at work */
	struct proxy *spare;          /* owned: exchanges to use again */
	int spare_n, spare_low;       /* how many, the fewest since the last trim */
	struct client_conn *clients;  /* all of them */
	int64_t client_n, client_max; /* more wait in the listener's queue */
	int64_t fd_max;               /* of this lane: beyond it no idle connection is kept */
	int64_t upstream_n;
	uint64_t random[2];
	uint64_t requests;
	int index;
	bool draining; /* no new requests */
	int depth;
	unsigned tick_n;           /* ticks that were */
	bool ticks;                /* tick is set: only while there are timers */
	struct event *tick;        /* owned */
	struct event *mailev;      /* owned */
	int mail_fd;               /* owned */
	pthread_mutex_t mail_lock; /* guards mail, mail_tail */
	struct lane_mail *mail, **mail_tail;
};

struct lane *lane_new(int index, const struct router_conf *conf, struct err *e);
void lane_free(struct lane *take_l); /* its connections are gone already */
/* Runs until lane_stop. On the lane's own thread. */
void lane_run(struct lane *l);
void lane_stop(struct lane *l);
/* Calls fn on the lane's thread. From any thread. */
void lane_post(struct lane *l, lane_fn *fn, void *arg);
/* Calls what was posted, now: on the lane's thread, before it runs. */
void lane_take_mail(struct lane *l);

/* Around each callback of the loop. */
void lane_begin(struct lane *l);
void lane_end(struct lane *l);
/* Frees p, whose first member is a struct lane_grave, when the callback ends. */
void lane_bury(struct lane *l, struct lane_grave *take_p);

/* LANE_FRAMES bytes for frames that are read, valid within one callback. */
char *lane_frames(struct lane *l);
/* LANE_SCRATCH bytes for what is read to be opened, valid within one callback. */
unsigned char *lane_records(struct lane *l);

uint64_t lane_random(struct lane *l);
/* digits: a multiple of 16. */
void lane_random_hex(struct lane *l, char *to, int digits);
int64_t lane_monotonic_us(void);
int64_t lane_unix_us(struct lane *l, int64_t monotonic_us); /* Unix time of a moment */
/* Bytes of a first read, and of each whose bytes were not taken at once. */
static inline uint32_t
lane_read_first(const struct lane *l)
{
	return l->kept < l->kept_max ? LANE_READ : LANE_READ_SMALL;
}
