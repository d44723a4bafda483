/* node/init_plan.h: what pinion-init is to do, from its settings file. Part of the static program:
 * libc only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { INIT_PLAN_MAX = 1024 * 1024, INIT_PLAN_WORDS = 4096 };

/* Strings lie in text. Lists end with NULL; an empty one has v[0] == NULL. */
struct init_plan_list {
	char *v[INIT_PLAN_WORDS + 1];
	size_t n;
};
struct init_plan {
	char text[INIT_PLAN_MAX + 1];
	struct init_plan_list start, stop, env;
	const char *cwd, *log_dir, *source;
	int64_t log_size, log_count, stop_timeout_ms;
	mode_t umask;
	bool stays; /* also when the start command leaves no process */
};

/* Fills p from n bytes at p->text with defaults for what is not named. NULL, or what is wrong. */
const char *init_plan_parse(struct init_plan *p, size_t n);
