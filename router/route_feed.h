/* router/route_feed.h: lines of the broker's feed -> the table. The saved table is such lines too.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct cert_table;
struct challenge_table;
struct host_table;

/* Zero-initialise; what is known of the cluster survives reconnections. */
struct route_feed {
	struct host_table *table;           /* borrowed */
	struct cert_table *certs;           /* borrowed; NULL: no https */
	struct challenge_table *challenges; /* borrowed; NULL: none are answered */
	char *cluster;                      /* owned; NULL: none known */
	int64_t epoch;
	int64_t revision; /* of the last sync; 0: none */
	bool in_snapshot; /* from a reset to its sync */
	bool is_first;    /* the next line is the first of a connection */
};

void route_feed_fini(struct route_feed *f);
/* A new connection begins: an unfinished snapshot is forgotten. */
void route_feed_begin(struct route_feed *f);

enum route_feed_step {
	ROUTE_FEED_REFUSED = -1, /* drop the connection; e says why */
	ROUTE_FEED_RESET,        /* a snapshot begins */
	ROUTE_FEED_CHANGE,       /* the table changed; takes effect with the next sync */
	ROUTE_FEED_SYNC,         /* make it take effect as f->revision */
	ROUTE_FEED_SKIPPED,      /* not for a router, or a bad route: e says why */
};
/* Routes that are malformed are skipped and not fatal: the others must still be served. */
enum route_feed_step route_feed_line(struct route_feed *f, struct str line, struct err *e);
