/* router/h2_client.h: instances that speak HTTP/2 without TLS (h2c, by prior knowledge): one
 * connection of a lane and endpoint carries many exchanges. To an exchange its stream is a sock
 * that speaks HTTP/1.1, as a client's stream is one to h2_stream: what differs lies here alone. */
#pragma once

#include "router/sock.h"

struct h2_client;
struct upstream_pool;

enum {
	H2_CLIENT_STREAMS = 100,     /* of a connection; then another one is made */
	H2_CLIENT_WINDOW = 64 * 1024 /* of a stream: what its client does not take is kept here */
};

/* Starts s as a stream to p's endpoint, on a connection that has room or a new one. -1: errno. */
int h2_client_open(struct upstream_pool *p, struct sock *s, sock_fn *fn);
/* Closes all connections: no stream is left, or what is under way on them breaks. */
void h2_client_close_all(struct upstream_pool *p);
