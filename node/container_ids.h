/* node/container_ids.h: numbers that every container has in common. */
#pragma once

enum {
	CONTAINER_UID = 1000,  /* the gear's user and group, inside */
	CONTAINER_IDS = 65536, /* ids a gear has, from its uid base on */
};
