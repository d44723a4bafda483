#include "lib/wire/wire_peer.h"

enum {
	ID_MAX = 64,
	HOST_MAX = 255,
	ADDRESS_MAX = 15,
	PORT_MAX = 65535,
	NAMES_MAX = 8,
	ADDRESSES_MAX = 256,
	PORTS_MAX = 1000,
	GEARS_MAX = 10000,
};

static const struct codec_field port_fields[] = {
	CODEC_INT(struct wire_peer_port, from, 1, PORT_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_peer_port, address, ADDRESS_MAX, CODEC_REQUIRED),
	CODEC_INT(struct wire_peer_port, to, 1, PORT_MAX, CODEC_REQUIRED),
	CODEC_END,
};
DEFINE_CODEC(wire_peer_port, struct wire_peer_port, port_fields)

static const struct codec_field peer_fields[] = {
	CODEC_STR(struct wire_peer, gear, ID_MAX, CODEC_REQUIRED),
	CODEC_STRS(struct wire_peer, names, NAMES_MAX, 0),
	CODEC_BOOL(struct wire_peer, is_web, 0),
	CODEC_STRS(struct wire_peer, addresses, ADDRESSES_MAX, 0),
	CODEC_LIST(struct wire_peer, ports, &wire_peer_port_codec, PORTS_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_peer, struct wire_peer, peer_fields)

static const struct codec_field peers_fields[] = {
	CODEC_STR(struct wire_peers, app_id, ID_MAX, CODEC_REQUIRED),
	CODEC_LIST(struct wire_peers, gears, &wire_peer_codec, GEARS_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_peers, struct wire_peers, peers_fields)
