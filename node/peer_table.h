/* node/peer_table.h: gears of this node's applications that are on other nodes, as the broker tells
 * (wire_peers). The firewall follows; who depends on them is told. Loop thread. */
#pragma once

#include "lib/wire/wire_peer.h"

struct net;
struct peer_table;
struct worker;

/* What is known of an application's peers, and the firewall with it, is another. */
typedef void peer_table_change_fn(const char *app_id, void *arg);

struct peer_table_opts { /* borrowed for its life */
	struct worker *worker;
	struct net *net;
	peer_table_change_fn *on_change;
	void *arg;
};
struct peer_table *peer_table_new(const struct peer_table_opts *o);
void peer_table_free(struct peer_table *take_t);

void peer_table_apply(struct peer_table *t, const struct wire_peers *p);
void peer_table_forget(struct peer_table *t, const char *app_id);

/* NULL: it has none. Borrowed until the loop's next turn. */
const struct wire_peers *peer_table_find(const struct peer_table *t, const char *app_id);
typedef void peer_table_each_fn(const struct wire_peers *p, void *arg);
void peer_table_each(const struct peer_table *t, peer_table_each_fn *fn, void *arg);
