/* lib/wire/wire_feed.h: lines of the watch feeds for nodes and routers. */
#pragma once

#include "lib/codec/codec.h"

enum wire_feed_type {
	WIRE_FEED_RESET,  /* a snapshot follows: all puts until SYNC are everything there is */
	WIRE_FEED_PUT,    /* kind, key, value */
	WIRE_FEED_DELETE, /* kind, key */
	WIRE_FEED_SYNC,   /* all up to revision was sent; also the heartbeat, every 5 s */
};
extern const struct codec_name wire_feed_type_names[]; /* reset put delete sync */

struct wire_feed {
	int type;
	char *kind; /* "gear", "instance", "layers", "route" */
	char *key;
	char *value;      /* JSON of the kind's table */
	int64_t revision; /* SYNC: resume with ?from=revision+1 */
	char *cluster;    /* RESET and first line of a resumed feed: the store's cluster id */
	int64_t epoch;
};
DECLARE_CODEC(wire_feed, struct wire_feed)
