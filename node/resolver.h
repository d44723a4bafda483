/* node/resolver.h: the program pinion-resolver: answers DNS at 127.0.0.53 in every instance's
 * namespace, through sockets that the node makes there and hands over. Its own process and user: it
 * outlives the node daemon. One loop; nothing blocks but short reads of small files. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "node/resolver_names.h"

struct loop;
struct loop_io;
struct resolver_udp_ask;
struct resolver_who;
struct resolver_tcp_conn;

enum { RESOLVER_INSTANCES_MAX = 8192 };

struct resolver;

/* An instance whose sockets we have. */
struct resolver_instance {
	struct resolver *r; /* borrowed */
	char *name, *app;   /* owned */
	char *host;         /* its own name; owned */
	uint32_t address;   /* network byte order; 0: not known */
	int udp_fd, tcp_fd; /* owned */
	struct loop_io *udp_io, *tcp_io;
	struct resolver_udp_ask *asks;   /* owned, newest first */
	struct resolver_tcp_conn *conns; /* owned, newest first */
	size_t ask_n, conn_n;
};

struct resolver {
	struct loop *loop;            /* borrowed */
	struct resolver_names *names; /* owned */
	struct map *instances;        /* owned; struct resolver_instance, owned */
	size_t ask_n, conn_n;         /* of all instances */
	int control_fd;               /* borrowed: listening SOCK_SEQPACKET */
	struct loop_io *control_io;
};

/* names, servers: files, as resolver_names_new. */
void resolver_init(
    struct resolver *r, struct loop *l, int control_fd, const char *names, const char *servers);
void resolver_fini(struct resolver *r);

/* Takes the sockets; an instance of that name is replaced. host, address: "-" when not known. */
int resolver_add(struct resolver *r, const struct resolver_who *who, int take_udp, int take_tcp,
    struct err *e) MUST_CHECK;
/* Addresses of a name for who asks; network byte order. -1: not ours: ask. */
int resolver_find(
    struct resolver_instance *in, const char *name, uint32_t out[RESOLVER_ADDRESSES_MAX]);
void resolver_remove(struct resolver *r, const char *name);
