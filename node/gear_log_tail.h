/* node/gear_log_tail.h: between tail and follow: where reading goes on. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "node/gear_log.h"

struct gear_log_groups;

/* In a source's newest file at that time. inode 0: no file was there. */
struct gear_log_position {
	ino_t inode;
	off_t offset;
};

/* As gear_log_tail; positions: one for each group, zeroed by the caller, or NULL. lines: at
 * least 1. */
int gear_log_tail_groups(const char *root, const char *gear, const struct gear_log_groups *groups,
    size_t lines, struct gear_log_lines *out, struct gear_log_position *positions);
