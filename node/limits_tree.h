/* node/limits_tree.h: the cgroup hierarchies of this machine and their files. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/str.h"

enum limits_controller {
	LIMITS_MEMORY = 1,
	LIMITS_CPU = 2,
	LIMITS_CPUACCT = 4,
	LIMITS_PIDS = 8,
	LIMITS_FREEZER = 16,
	LIMITS_IO = 32,
	LIMITS_CPUSET = 64,
};

struct limits_hierarchy {
	char *mount;   /* owned */
	char *options; /* owned; of the file system */
	unsigned controllers;
	bool is_v2;
};

enum { LIMITS_HIERARCHIES_MAX = 16 };
struct limits_tree {
	struct limits_hierarchy v[LIMITS_HIERARCHIES_MAX];
	size_t n;
};

/* Finds them in text of the format of /proc/self/mountinfo. ERR_SYSTEM: there is none. */
int limits_tree_parse(struct str mountinfo, struct limits_tree *out, struct err *e) MUST_CHECK;
void limits_tree_fini(struct limits_tree *t);
/* The one that has the controller; the v2 one: NULL when none. */
const struct limits_hierarchy *limits_tree_find(const struct limits_tree *t, unsigned controller);
const struct limits_hierarchy *limits_tree_v2(const struct limits_tree *t);

/* Files: dir is a cgroup's directory. */
int limits_tree_write(
    const char *dir, const char *file, const char *value, struct err *e) MUST_CHECK;
/* false: absent or unreadable. */
bool limits_tree_read(const char *dir, const char *file, struct buf *out);
/* Bits of a file of names, such as cgroup.controllers. */
unsigned limits_tree_controllers(const char *dir, const char *file);
/* A single number, or the one after key in a file of `key number` lines; -1: none. */
int64_t limits_tree_number(const char *dir, const char *file, const char *key);
