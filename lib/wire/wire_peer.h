/* lib/wire/wire_peer.h: gears of an application that are on other nodes: what the broker tells a
 * node so that its gears of that application, and no others, reach them. Types and tables; no I/O.
 */
#pragma once

#include "lib/codec/codec.h"

/* What is at a port of the gear's name. */
struct wire_peer_port {
	int64_t from;  /* public port */
	char *address; /* "100.64.0.7" */
	int64_t to;
};
DECLARE_CODEC(wire_peer_port, struct wire_peer_port)
struct wire_peer_port_list {
	struct wire_peer_port *v;
	size_t n;
};

struct wire_peer {
	char *gear;                /* uuid */
	struct str_list names;     /* that stand for it */
	bool is_web;               /* its names stand for the addresses of its instances */
	struct str_list addresses; /* of its instances: these and ours reach each other */
	struct wire_peer_port_list ports;
};
DECLARE_CODEC(wire_peer, struct wire_peer)
struct wire_peer_list {
	struct wire_peer *v;
	size_t n;
};

/* kind "peers"; key = app id. */
struct wire_peers {
	char *app_id;
	struct wire_peer_list gears;
};
DECLARE_CODEC(wire_peers, struct wire_peers)
