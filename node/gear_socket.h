/* node/gear_socket.h: where a gear says `gear restart` and the like: a Unix socket of its own,
 * bound into its instances at GEAR_SOCKET_DIR. Who is asked for is known by the socket, and that
 * nobody else speaks by the peer's user; the bytes go to the broker as they are (doc/protocol.md),
 * in bounds. Loop thread. */
#pragma once

#include "lib/base/err.h"

struct container_spec;
struct gear;
struct gear_sockets;
struct loop;
struct node_dirs;
struct worker;

#define GEAR_SOCKET_DIR "/run/pinion/gear"

struct gear_sockets_opts { /* borrowed for its life */
	struct loop *loop;
	const struct node_dirs *dirs;
	const char *broker;                         /* base of the calls */
	const char *ca_file, *cert_file, *key_file; /* of an https broker, as of tls_client */
	const char *token, *node;
	struct worker *worker;
};
struct gear_sockets *gear_sockets_new(const struct gear_sockets_opts *o);
void gear_sockets_free(struct gear_sockets *take_s);

/* From now on; open already: nothing. */
void gear_sockets_open(struct gear_sockets *s, const struct gear *g);
/* Not any more; never opened: nothing. */
void gear_sockets_close(struct gear_sockets *s, const char *gear);

/* Blocks: the directory, and the bind of it. */
int gear_socket_bind(const struct node_dirs *d, const char *gear, struct container_spec *s,
    struct err *e) MUST_CHECK;
