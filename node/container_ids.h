/* node/container_ids.h: numbers that every container has in common. */
#pragma once

enum {
	CONTAINER_UID = 1000,  /* the gear's user and group, inside */
	CONTAINER_IDS = 65536, /* ids a gear has, from its uid base on */
	/* Limits of its user that the kernel counts for all gears together too. */
	CONTAINER_SIGPENDING = 4096,
	CONTAINER_MSGQUEUE = 204800,
};
