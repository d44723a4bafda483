/* node/gear_log_scan.h: the log files below a gear's root, opened safely: the gear's own user may
 * have put links, pipes or a million files there. Blocking. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

enum {
	GEAR_LOG_SCAN_FILES = 100, /* of one source: SOURCE.log, SOURCE.log.1 … .99 */
	GEAR_LOG_SCAN_GROUPS = 512,
	GEAR_LOG_SCAN_ENTRIES = 4096, /* looked at in one directory */
};

/* The files of one source of one instance. */
struct gear_log_group {
	char *instance, *source;          /* owned */
	int numbers[GEAR_LOG_SCAN_FILES]; /* that exist, ascending: newest first */
	size_t n;
};
struct gear_log_groups {
	struct gear_log_group *v; /* owned; by instance, then source */
	size_t n;
	struct str_list instances; /* all directories, also those without a log */
};
void gear_log_groups_fini(struct gear_log_groups *g);

/* only: one instance's, or NULL. An absent root has none. */
int gear_log_scan(
    const char *root, const char *only, struct gear_log_groups *out, struct err *e) MUST_CHECK;

struct gear_log_file {
	int fd; /* owned; -1: it is gone, or no file */
	ino_t inode;
	off_t size;
};
struct gear_log_file gear_log_open(const char *root, const struct gear_log_group *g, int number);
