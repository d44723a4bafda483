#include "router/memory_watch.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/loop/loop.h"
#include "router/fleet.h"
#include "router/lane.h"
#include "router/router_conf.h"

enum {
	LOOK_MS = 100,
	RESERVE = 2 * 1024 * 1024,
	FILE_MAX = 64 * 1024,
	PATH_LEN = 4096,
	LEFT_BELOW = 5, /* percent below its beginning a level ends */
};
static const int64_t no_limit = (int64_t)1 << 60; /* what v1 says then is more */
static const int begins[] = { [SHED_IDLE] = 75, [SHED_STALLED] = 85, [SHED_NEW] = 95 };

struct memory_watch {
	struct fleet *fleet;            /* borrowed */
	const struct router_conf *conf; /* borrowed */
	struct loop_timer *timer;       /* owned */
	enum shed_level level;
	int64_t max; /* that the lanes know; 0: none */
};

/* --- what is used, and what may be --- */

/* The number in a file; -1: there is none. */
static int64_t
number(const char *dir, const char *name)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	char path[PATH_LEN];
	struct err e = { 0 };
	struct str line;
	int64_t n;

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	if (file_read(path, FILE_MAX, &b, &e) < 0)
		return -1;
	(void)str_cut(buf_str(&b), '\n', &line);
	if (str_to_i64(line, 0, INT64_MAX, name, &n, &e) < 0)
		return -1; /* "max" is none */
	return n;
}

/* What of a cgroup's memory is copies of files, which the kernel takes back when it must. */
static int64_t
file_caches(const char *dir, bool is_v2)
{
	static const char *const names[2][2] = { { "total_inactive_file ", "total_active_file " },
		{ "inactive_file ", "active_file " } };
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	char path[PATH_LEN];
	struct err e = { 0 };
	int64_t all = 0, n;

	(void)snprintf(path, sizeof path, "%s/memory.stat", dir);
	if (file_read(path, FILE_MAX, &b, &e) < 0)
		return 0;
	for (struct str rest = buf_str(&b), line; rest.n > 0;) {
		rest = str_cut(rest, '\n', &line);
		for (int i = 0; i < 2; i++) {
			size_t k = strlen(names[is_v2][i]);

			if (line.n > k && memcmp(line.p, names[is_v2][i], k) == 0 &&
			    str_to_i64((struct str){ line.p + k, line.n - k }, 0, no_limit,
			        "memory.stat", &n, &e) == 0)
				all += n;
		}
	}
	return all;
}

static void
closer(struct memory_use *u, int64_t used, int64_t max)
{
	if (used < 0 || max <= 0 || max >= no_limit)
		return;
	if (u->max == 0 || (double)used / (double)max > (double)u->used / (double)u->max)
		*u = (struct memory_use){ used, max };
}

static void
look_at_group(struct memory_use *u, const char *dir, bool is_v2)
{
	int64_t max = number(dir, is_v2 ? "memory.max" : "memory.limit_in_bytes");
	int64_t high = is_v2 ? number(dir, "memory.high") : -1, used;

	if (high >= 0 && (max < 0 || high < max))
		max = high;
	if (max < 0 || max >= no_limit)
		return;
	used = number(dir, is_v2 ? "memory.current" : "memory.usage_in_bytes");
	if (used >= max / 100 * begins[SHED_IDLE])
		used -= file_caches(dir, is_v2);
	closer(u, used, max);
}

/* From the group itself up to the root, each may have a limit. */
static void
look_at_groups(struct memory_use *u, const char *top, struct str path, bool is_v2)
{
	char dir[PATH_LEN];
	size_t top_n = strlen(top);

	if (path.n >= sizeof dir - top_n)
		return;
	(void)snprintf(dir, sizeof dir, "%s%.*s", top, (int)path.n, path.p);
	for (;;) {
		char *slash;

		look_at_group(u, dir, is_v2);
		slash = strrchr(dir + top_n, '/');
		if (slash == NULL)
			return;
		*slash = '\0';
	}
}

/* Lines "0::/PATH" (v2) and "N:CONTROLLER,…:/PATH" (v1; cgroups(7)). */
static void
look_at_cgroups(struct memory_use *u, const char *proc, const char *root)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	char path[PATH_LEN], v1[PATH_LEN];
	struct err e = { 0 };

	(void)snprintf(path, sizeof path, "%s/cgroup", proc);
	(void)snprintf(v1, sizeof v1, "%s/memory", root);
	if (file_read(path, FILE_MAX, &b, &e) < 0)
		return;
	for (struct str rest = buf_str(&b), line, word; rest.n > 0;) {
		rest = str_cut(rest, '\n', &line);
		line = str_cut(line, ':', &word);
		line = str_cut(line, ':', &word);
		if (word.n == 0)
			look_at_groups(u, root, line, true);
		else if (str_eq(word, "memory"))
			look_at_groups(u, v1, line, false);
	}
}

struct memory_use
memory_watch_look(const char *proc, const char *root, int64_t mb)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct memory_use u = { 0 };
	struct err e = { 0 };
	char path[PATH_LEN];
	int64_t size = 0, resident = 0, page = sysconf(_SC_PAGESIZE);
	struct str rest, word;
	struct rlimit r;

	(void)snprintf(path, sizeof path, "%s/statm", proc);
	if (file_read(path, FILE_MAX, &b, &e) == 0) {
		rest = str_cut(buf_str(&b), ' ', &word);
		(void)str_cut(rest, ' ', &rest);
		if (str_to_i64(word, 0, no_limit / page, "size", &size, &e) == 0 &&
		    getrlimit(RLIMIT_AS, &r) == 0 && r.rlim_cur != RLIM_INFINITY)
			closer(&u, size * page, (int64_t)r.rlim_cur);
		if (str_to_i64(rest, 0, no_limit / page, "resident", &resident, &e) == 0)
			closer(&u, resident * page, mb * 1024 * 1024);
	}
	look_at_cgroups(&u, proc, root);
	return u;
}

enum shed_level
memory_watch_level(struct memory_use u, enum shed_level now)
{
	int64_t percent = u.max == 0 ? 0 : u.used / (u.max / 100 + 1);

	for (int i = SHED_NEW; i > SHED_NONE; i--) {
		if (percent >= begins[i] - (i <= (int)now ? LEFT_BELOW : 0))
			return (enum shed_level)i;
	}
	return SHED_NONE;
}

/* --- telling the lanes --- */

static void
apply(struct lane *l, void *arg)
{
	shed_memory(l, (enum shed_level)(uintptr_t)arg);
}

static void
set_max(struct lane *l, void *arg)
{
	shed_set_memory(l, (int64_t)(uintptr_t)arg);
}

static void
look(void *arg)
{
	struct memory_watch *w = arg;
	struct memory_use u = memory_watch_look("/proc/self", "/sys/fs/cgroup", w->conf->memory_mb);
	enum shed_level level = memory_watch_level(u, w->level);

	if (mem_is_reserve_used() && !mem_reserve(RESERVE))
		level = SHED_NEW;
	if (level != w->level)
		log_warn("memory_level", LOG_INT("level", level), LOG_INT("mb", u.used >> 20),
		    LOG_INT("max_mb", u.max >> 20));
	if (u.max != w->max)
		fleet_each_lane(w->fleet, set_max,
		    (void *)(uintptr_t)(u.max == 0 ? INT64_MAX : u.max / fleet_lanes(w->fleet)));
	w->max = u.max;
	if (level != SHED_NONE || w->level != SHED_NONE)
		fleet_each_lane(w->fleet, apply, (void *)(uintptr_t)level);
	if (w->level != SHED_NONE)
		(void)malloc_trim(0); /* what was given up lies in small pieces */
	w->level = level;
	loop_timer_again(w->timer, LOOK_MS);
}

struct memory_watch *
memory_watch_new(struct loop *l, struct fleet *f, const struct router_conf *conf)
{
	struct memory_watch *w = xcalloc(1, sizeof *w);

	w->fleet = f;
	w->conf = conf;
	(void)mem_reserve(RESERVE);
	w->timer = loop_timer_start(l, LOOK_MS, false, look, w);
	look(w);
	return w;
}

void
memory_watch_free(struct memory_watch *take_w)
{
	if (take_w == NULL)
		return;
	loop_timer_cancel(take_w->timer);
	free(take_w);
}
