/* broker/placement.h: which node a gear goes to. */
#pragma once

#include "lib/base/err.h"
#include "lib/codec/codec.h"

struct broker;

struct placement_need {
	const char *cartridge; /* "nodejs-20": a node must have it */
	int64_t disk_mb;
	const char *near;   /* only this node will do; NULL: any */
	const char *app_id; /* gears of the same application are spread; NULL: a new one */
};

/* Id of the node (caller owns), or NULL: ERR_BUSY, no node is there that can take it. */
char *placement_pick(const struct broker *b, const struct placement_need *need, struct err *e);
/* Has that node room for so much more of a gear that it has? ERR_LIMIT. */
int placement_has_room(
    const struct broker *b, const char *node, int64_t mb, struct err *e) MUST_CHECK;
