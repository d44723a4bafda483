/* node/gear_usage.h: how much of their disks the gears use, looked at every 10 s. Loop thread; what
 * blocks runs on a worker. */
#pragma once

#include <stdint.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"

struct gear_usage;
struct loop;
struct volumes;
struct worker;

/* Adds the uuids of those whose volume is mounted. */
typedef void gear_usage_list_fn(struct str_list *uuids, void *arg);
typedef void gear_usage_fn(const char *uuid, int64_t used_kb, void *arg);

struct gear_usage_opts { /* all borrowed */
	struct loop *loop;
	struct worker *worker;
	struct volumes *volumes; /* of another kind than "image": nothing is looked at */
	gear_usage_list_fn *list;
	gear_usage_fn *fn;
	void *arg;
};

struct gear_usage *gear_usage_new(const struct gear_usage_opts *o);
void gear_usage_free(struct gear_usage *take_u);
