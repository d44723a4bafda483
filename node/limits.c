#include "node/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/str.h"
#include "node/limits_tree.h"

enum {
	CPU_PERIOD_US = 100000,
	DEPTH_MAX = 8,
	KILL_PASSES = 50,
	PIDS_MAX = 65536,
	/* Made by us; the runtime makes itself what else it wants. */
	USED = LIMITS_MEMORY | LIMITS_CPU | LIMITS_CPUACCT | LIMITS_PIDS | LIMITS_FREEZER |
	       LIMITS_IO | LIMITS_CPUSET,
};

struct limits {
	char *tag; /* owned */
	struct limits_tree tree;
};

void
limits_pid_list_fini(struct limits_pid_list *l)
{
	free(l->v);
	*l = (struct limits_pid_list){ 0 };
}

void
limits_close(struct limits *take_l)
{
	if (take_l == NULL)
		return;
	limits_tree_fini(&take_l->tree);
	free(take_l->tag);
	free(take_l);
}

static bool
is_name(const char *s)
{
	static const char set[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	size_t n = strlen(s);

	return n > 0 && n <= 100 && strspn(s, set) == n;
}

static int
check_names(struct limits_group g, struct err *e)
{
	if ((g.gear != NULL && !is_name(g.gear)) || (g.instance != NULL && !is_name(g.instance)) ||
	    (g.gear == NULL && g.instance != NULL))
		return err_set(e, ERR_INVALID, "cgroup", "names are 1..100 of [A-Za-z0-9_-]");
	return 0;
}

char *
limits_path(const struct limits *l, struct limits_group g)
{
	return xasprintf("/pinion/%s%s%s%s%s", l->tag, g.gear == NULL ? "" : "/",
	    g.gear == NULL ? "" : g.gear, g.instance == NULL ? "" : "/",
	    g.instance == NULL ? "" : g.instance);
}

static char *
dir_of(const struct limits *l, const struct limits_hierarchy *h, struct limits_group g)
{
	AUTO(free) char *path = limits_path(l, g);

	return xasprintf("%s%s", h->mount, path);
}

static bool
is_mixed(const struct limits *l)
{
	return limits_tree_v2(&l->tree) != NULL && l->tree.n > 1;
}

const char *
limits_layout(const struct limits *l)
{
	if (is_mixed(l))
		return "hybrid";
	return limits_tree_v2(&l->tree) != NULL ? "v2" : "v1";
}

const char *
limits_hide_mount(const struct limits *l)
{
	return is_mixed(l) ? limits_tree_v2(&l->tree)->mount : NULL;
}

/* --- start --- */

/* For files that not every kernel has. */
static bool
try_write(const char *dir, const char *file, const char *value)
{
	struct err e = { 0 };

	return limits_tree_write(dir, file, value, &e) == 0;
}

/* Attaching a process costs 8-20 ms on a quiet machine without it. Options that the file system has
 * are named again, or they would be dropped. */
static void
favour_moves(const struct limits_hierarchy *h)
{
	AUTO(file_close) int fd = -1;
	struct str rest = str_of(h->options), word;
	int rc = 0;

	if (strstr(h->options, "favordynmods") != NULL)
		return;
	fd = (int)syscall(SYS_fspick, AT_FDCWD, h->mount, 1 /* FSPICK_CLOEXEC */);
	while (fd >= 0 && rc == 0 && rest.n > 0) {
		char option[64];

		rest = str_cut(rest, ',', &word);
		(void)snprintf(option, sizeof option, "%.*s", (int)word.n, word.p);
		if (word.n > 0 && !str_eq(word, "rw") && !str_eq(word, "ro"))
			rc = (int)syscall(SYS_fsconfig, fd, 0 /* SET_FLAG */, option, NULL, 0);
	}
	if (fd >= 0 && rc == 0)
		rc = (int)syscall(SYS_fsconfig, fd, 0, "favordynmods", NULL, 0);
	if (fd < 0 || rc < 0 || syscall(SYS_fsconfig, fd, 7 /* RECONFIGURE */, NULL, NULL, 0) < 0)
		log_info("limits_favordynmods_refused", LOG_STR("error", strerror(errno)));
}

/* What children of dir get in a v2 hierarchy; only what is there and not on already. */
static int
enable_controllers(const struct limits_hierarchy *h, const char *dir, struct err *e)
{
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = {
		{ LIMITS_MEMORY, "+memory" },
		{ LIMITS_CPU, "+cpu" },
		{ LIMITS_PIDS, "+pids" },
		{ LIMITS_IO, "+io" },
	};
	unsigned now;
	size_t i;

	if (!h->is_v2)
		return 0;
	now = limits_tree_controllers(dir, "cgroup.subtree_control");
	for (i = 0; i < ARRAY_LEN(words); i++) {
		if (!(h->controllers & words[i].bit & ~now))
			continue;
		if (limits_tree_write(dir, "cgroup.subtree_control", words[i].word, e) < 0)
			return err_wrap(e, "cgroup controllers (processes in an inner group?)");
	}
	return 0;
}

static int
make_dir(const char *dir, struct err *e)
{
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make %s", dir);
	return 0;
}

/* A new group of a v1 cpuset has no processor and no memory: it gets those of the group above. That
 * its load need not be balanced by itself (the root's is, over all processors) goes first: else the
 * kernel would lay out the whole machine's scheduling anew with each group that comes or goes. */
static int
fill_cpuset(const char *up, const char *dir, struct err *e)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	size_t i;

	for (i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_FINI(buf_fini) struct buf own = { 0 };
		AUTO_FINI(buf_fini) struct buf theirs = { 0 };

		if (limits_tree_read(dir, files[i], &own) && own.n > 0 && own.p[0] != '\n')
			continue;
		if (i == 0)
			(void)try_write(dir, "cpuset.sched_load_balance", "0");
		if (limits_tree_read(up, files[i], &theirs) &&
		    limits_tree_write(dir, files[i], theirs.p, e) < 0)
			return -1;
	}
	return 0;
}

/* Was it made before, all of it? One made by half has no processors. */
static bool
is_made(const struct limits_hierarchy *h, const char *dir)
{
	AUTO_FINI(buf_fini) struct buf mems = { 0 };

	if (h->is_v2 || (h->controllers & LIMITS_CPUSET) == 0)
		return access(dir, F_OK) == 0;
	return limits_tree_read(dir, "cpuset.mems", &mems) && mems.n > 0 && mems.p[0] != '\n';
}

/* The group's directory and those above; controllers go down to it. */
static int
make_in(
    const struct limits *l, const struct limits_hierarchy *h, struct limits_group g, struct err *e)
{
	AUTO(free) char *rel = limits_path(l, g);
	AUTO(free) char *dir = xstrdup(h->mount);
	AUTO(free) char *leaf = dir_of(l, h, g);
	char *p = rel, *next;

	if (is_made(h, leaf))
		return 0;
	do {
		AUTO(free) char *up = NULL;

		next = strchr(p + 1, '/');
		if (enable_controllers(h, dir, e) < 0)
			return -1;
		up = dir;
		dir = xasprintf("%s%.*s", up, next == NULL ? (int)strlen(p) : (int)(next - p), p);
		if (make_dir(dir, e) < 0 || (!h->is_v2 && (h->controllers & LIMITS_CPUSET) != 0 &&
		                                fill_cpuset(up, dir, e) < 0))
			return -1;
		p = next;
	} while (p != NULL);
	return 0;
}

static bool
is_used(const struct limits_hierarchy *h)
{
	return h->is_v2 || (h->controllers & USED) != 0;
}

static int
make_all(const struct limits *l, struct limits_group g, struct err *e)
{
	size_t i;

	for (i = 0; i < l->tree.n; i++) {
		if (is_used(&l->tree.v[i]) && make_in(l, &l->tree.v[i], g, e) < 0)
			return -1;
	}
	return 0;
}

struct limits *
limits_open(const char *tag, const char *mountinfo, struct err *e)
{
	AUTO(limits_close) struct limits *l = xcalloc(1, sizeof *l);
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	const char *path = mountinfo != NULL ? mountinfo : "/proc/self/mountinfo";

	l->tag = xstrdup(tag);
	if (!is_name(tag)) {
		(void)err_set(e, ERR_INVALID, "tag", "must be 1..100 of [A-Za-z0-9_-]");
		return NULL;
	}
	if (file_read(path, 16 * 1024 * 1024, &b, e) < 0 ||
	    limits_tree_parse(buf_str(&b), &l->tree, e) < 0)
		return NULL;
	if (mountinfo == NULL && limits_tree_v2(&l->tree) != NULL)
		favour_moves(limits_tree_v2(&l->tree));
	if (make_all(l, (struct limits_group){ 0 }, e) < 0)
		return NULL;
	return STEAL(l);
}

/* --- what a group may see of itself --- */

/* The v1 hierarchy that holds the members whom the v2 one may miss; NULL: there is none. */
static const struct limits_hierarchy *
find_v1(const struct limits *l)
{
	const struct limits_hierarchy *h = limits_tree_find(&l->tree, LIMITS_PIDS);

	if (h == NULL || h->is_v2)
		h = limits_tree_find(&l->tree, LIMITS_MEMORY);
	return h == NULL || h->is_v2 ? NULL : h;
}

void
limits_view_list_fini(struct limits_view_list *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		free(l->v[i].dir);
		free(l->v[i].target);
	}
	free(l->v);
	*l = (struct limits_view_list){ 0 };
}

static void
add_view(const struct limits *l, const struct limits_hierarchy *h, struct limits_group g,
    const char *name, struct limits_view_list *out)
{
	out->v = xreallocarray(out->v, out->n + 1, sizeof *out->v);
	out->v[out->n++] = (struct limits_view){
		.dir = dir_of(l, h, g),
		.target = xasprintf("/sys/fs/cgroup%s%s", name[0] == '\0' ? "" : "/", name),
	};
}

void
limits_view(const struct limits *l, struct limits_group g, struct limits_view_list *out)
{
	static const struct {
		unsigned bit;
		const char *name;
	} shown[] = {
		{ LIMITS_MEMORY, "memory" },
		{ LIMITS_CPU, "cpu" },
		{ LIMITS_CPUACCT, "cpuacct" },
		{ LIMITS_CPUSET, "cpuset" },
		{ LIMITS_PIDS, "pids" },
	};
	size_t i;

	if (find_v1(l) == NULL) {
		add_view(l, limits_tree_v2(&l->tree), g, "", out);
		return;
	}
	for (i = 0; i < ARRAY_LEN(shown); i++) {
		const struct limits_hierarchy *h = limits_tree_find(&l->tree, shown[i].bit);

		if (h != NULL && !h->is_v2)
			add_view(l, h, g, shown[i].name, out);
	}
}

/* --- limits --- */

static int
set_memory(const struct limits_hierarchy *h, const char *dir, int64_t bytes, struct err *e)
{
	char text[32];

	(void)snprintf(text, sizeof text, "%lld", (long long)(bytes > 0 ? bytes : -1));
	if (h->is_v2) {
		const char *value = bytes > 0 ? text : "max";

		if (limits_tree_write(dir, "memory.max", value, e) < 0)
			return -1;
		/* Absent without swap. */
		(void)try_write(dir, "memory.swap.max", value);
		return 0;
	}
	/* Memory with swap is never below memory: down in one order, up in the other. */
	if (try_write(dir, "memory.limit_in_bytes", text)) {
		(void)try_write(dir, "memory.memsw.limit_in_bytes", text);
		return 0;
	}
	(void)try_write(dir, "memory.memsw.limit_in_bytes", text);
	return limits_tree_write(dir, "memory.limit_in_bytes", text, e);
}

int64_t
limits_memory_swap(const struct limits *l, int64_t memory_bytes)
{
	const struct limits_hierarchy *h = limits_tree_find(&l->tree, LIMITS_MEMORY);

	return h != NULL && h->is_v2 ? 2 * memory_bytes : memory_bytes;
}

/* Percent of one processor as microseconds of a period. */
static long long
cpu_us(int64_t percent)
{
	return (long long)percent * CPU_PERIOD_US / 100;
}

/* Each write of a processor's share has the kernel walk all groups of the machine. */
static bool
is_set(const char *dir, const char *file, const char *text)
{
	AUTO_FINI(buf_fini) struct buf now = { 0 };
	struct str line;

	if (!limits_tree_read(dir, file, &now))
		return false;
	(void)str_cut(buf_str(&now), '\n', &line);
	return str_eq(line, text);
}

static int
write_changed(const char *dir, const char *file, const char *text, struct err *e)
{
	return is_set(dir, file, text) ? 0 : limits_tree_write(dir, file, text, e);
}

/* Not every kernel has it; it is never above the quota, so it goes first and comes last. */
static void
set_burst(const char *dir, const char *file, const struct limits_spec *s, bool on)
{
	int64_t percent = s->cpu_burst_percent;
	char text[32];

	if (percent > s->cpu_percent)
		percent = s->cpu_percent;
	(void)snprintf(text, sizeof text, "%lld", on ? cpu_us(percent) : 0);
	if ((!on || percent > 0) && !is_set(dir, file, text) && !try_write(dir, file, text))
		log_debug("limits_without_burst", LOG_STR("cgroup", dir));
}

static int
set_cpu_v2(const char *dir, const struct limits_spec *s, struct err *e)
{
	char text[64];

	if (s->cpu_percent > 0)
		(void)snprintf(text, sizeof text, "%lld %d", cpu_us(s->cpu_percent), CPU_PERIOD_US);
	else
		(void)snprintf(text, sizeof text, "max %d", CPU_PERIOD_US);
	set_burst(dir, "cpu.max.burst", s, false);
	if (limits_tree_write(dir, "cpu.max", text, e) < 0)
		return -1;
	set_burst(dir, "cpu.max.burst", s, true);
	if (s->cpu_shares == 0)
		return 0;
	/* The conversion of the OCI runtimes: 2…262144 to 1…10000. */
	(void)snprintf(
	    text, sizeof text, "%lld", 1 + ((long long)s->cpu_shares - 2) * 9999 / 262142);
	return limits_tree_write(dir, "cpu.weight", text, e);
}

static int
set_cpu(
    const struct limits_hierarchy *h, const char *dir, const struct limits_spec *s, struct err *e)
{
	char text[32];

	if (h->is_v2)
		return set_cpu_v2(dir, s, e);
	(void)snprintf(text, sizeof text, "%d", CPU_PERIOD_US);
	if (write_changed(dir, "cpu.cfs_period_us", text, e) < 0)
		return -1;
	(void)snprintf(
	    text, sizeof text, "%lld", s->cpu_percent > 0 ? cpu_us(s->cpu_percent) : -1LL);
	set_burst(dir, "cpu.cfs_burst_us", s, false);
	if (write_changed(dir, "cpu.cfs_quota_us", text, e) < 0)
		return -1;
	set_burst(dir, "cpu.cfs_burst_us", s, true);
	(void)snprintf(text, sizeof text, "%lld", (long long)s->cpu_shares);
	return s->cpu_shares == 0 ? 0 : write_changed(dir, "cpu.shares", text, e);
}

static int
set_pids(const char *dir, int64_t n, struct err *e)
{
	char text[32];

	(void)snprintf(text, sizeof text, "%lld", (long long)n);
	return limits_tree_write(dir, "pids.max", n > 0 ? text : "max", e);
}

static int
set_all(const struct limits *l, struct limits_group g, const struct limits_spec *s, struct err *e)
{
	static const unsigned wanted[] = { LIMITS_MEMORY, LIMITS_CPU, LIMITS_PIDS };
	size_t i;

	for (i = 0; i < ARRAY_LEN(wanted); i++) {
		const struct limits_hierarchy *h = limits_tree_find(&l->tree, wanted[i]);
		AUTO(free) char *dir = NULL;
		int rc;

		if (h == NULL)
			return err_set(e, ERR_SYSTEM, NULL,
			    "this kernel offers no cgroup controller for %s",
			    i == 0   ? "memory"
			    : i == 1 ? "cpu"
			             : "pids");
		dir = dir_of(l, h, g);
		rc = i == 0   ? set_memory(h, dir, s->memory_bytes, e)
		     : i == 1 ? set_cpu(h, dir, s, e)
		              : set_pids(dir, s->pids, e);
		if (rc < 0)
			return -1;
	}
	return 0;
}

int
limits_make(
    const struct limits *l, struct limits_group g, const struct limits_spec *spec, struct err *e)
{
	if (check_names(g, e) < 0 || make_all(l, g, e) < 0)
		return -1;
	return spec == NULL ? 0 : set_all(l, g, spec, e);
}

/* --- members --- */

int
limits_entry_open(
    const struct limits *l, struct limits_group g, struct limits_entry *out, struct err *e)
{
	struct limits_entry en = { .n = 0 };
	size_t i;

	if (check_names(g, e) < 0)
		return -1;
	for (i = 0; i < l->tree.n; i++) {
		AUTO(free) char *dir = dir_of(l, &l->tree.v[i], g);
		AUTO(free) char *path = file_join(dir, "cgroup.procs");
		int fd = open(path, O_WRONLY | O_CLOEXEC);

		if (fd >= 0) {
			en.fd[en.n++] = fd;
		} else if (errno != ENOENT) {
			(void)err_set(e, ERR_SYSTEM, NULL, "cannot open %s", path);
			limits_entry_close(&en);
			return -1;
		}
	}
	if (en.n == 0)
		return err_set(e, ERR_NOT_FOUND, NULL, "the cgroup is gone");
	*out = en;
	return 0;
}

void
limits_entry_close(struct limits_entry *en)
{
	while (en->n > 0)
		file_close(en->fd[--en->n]);
}

typedef bool dir_fn(const char *dir, void *arg);

/* Calls fn for dir and all below it, children first, until one says false. Absent: true. */
static bool
walk(const char *dir, int depth, dir_fn *fn, void *arg)
{
	DIR *d = opendir(dir);
	struct dirent *de;
	bool go_on = true;

	if (d == NULL)
		return true;
	while (go_on && depth < DEPTH_MAX && (de = readdir(d)) != NULL) {
		AUTO(free) char *sub = NULL;

		if (de->d_type != DT_DIR || strcmp(de->d_name, ".") == 0 ||
		    strcmp(de->d_name, "..") == 0)
			continue;
		sub = file_join(dir, de->d_name);
		go_on = walk(sub, depth + 1, fn, arg);
	}
	(void)closedir(d);
	return go_on && fn(dir, arg);
}

static void
read_pids(const char *dir, struct limits_pid_list *out)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct str rest, line;
	struct err e = { 0 };
	int64_t pid;

	if (!limits_tree_read(dir, "cgroup.procs", &b))
		return;
	for (rest = buf_str(&b); rest.n > 0 && out->n < PIDS_MAX;) {
		rest = str_cut(rest, '\n', &line);
		if (str_to_i64(line, 1, INT32_MAX, NULL, &pid, &e) < 0)
			continue;
		out->v = xreallocarray(out->v, out->n + 1, sizeof *out->v);
		out->v[out->n++] = (pid_t)pid;
	}
}

static bool
collect(const char *dir, void *arg)
{
	read_pids(dir, arg);
	return true;
}

static bool
is_empty(const char *dir, void *arg)
{
	AUTO_FINI(limits_pid_list_fini) struct limits_pid_list l = { 0 };

	(void)arg;
	read_pids(dir, &l);
	return l.n == 0;
}

bool
limits_populated(const struct limits *l, struct limits_group g)
{
	const struct limits_hierarchy *v2 = limits_tree_v2(&l->tree), *v1 = find_v1(l);

	if (v2 != NULL) {
		AUTO(free) char *dir = dir_of(l, v2, g);

		if (limits_tree_number(dir, "cgroup.events", "populated") == 1)
			return true;
	}
	if (v1 != NULL) {
		AUTO(free) char *dir = dir_of(l, v1, g);

		return !walk(dir, 0, is_empty, NULL);
	}
	return false;
}

int
limits_pids(
    const struct limits *l, struct limits_group g, struct limits_pid_list *out, struct err *e)
{
	const struct limits_hierarchy *v2 = limits_tree_v2(&l->tree), *v1 = find_v1(l);
	AUTO_FINI(limits_pid_list_fini) struct limits_pid_list found = { 0 };

	if (check_names(g, e) < 0)
		return -1;
	if (v1 != NULL) {
		AUTO(free) char *dir = dir_of(l, v1, g);

		read_pids(dir, &found);
	}
	if (v2 != NULL && found.n == 0) {
		AUTO(free) char *dir = dir_of(l, v2, g);

		read_pids(dir, &found);
	}
	*out = found;
	found = (struct limits_pid_list){ 0 };
	return 0;
}

/* Number of pid namespaces in which the process has a number, if the last of them is 1; else 0. */
static int
init_depth(pid_t pid)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	char dir[32];
	struct str rest, word = { 0 };
	const char *p;
	int depth = 0;

	(void)snprintf(dir, sizeof dir, "/proc/%d", (int)pid);
	if (!limits_tree_read(dir, "status", &b) || (p = strstr(b.p, "\nNSpid:")) == NULL)
		return 0;
	(void)str_cut(str_of(p + 7), '\n', &rest);
	rest = str_trim(rest);
	while (rest.n > 0) {
		rest = str_cut(rest, '\t', &word);
		depth++;
	}
	return str_eq(word, "1") ? depth : 0;
}

pid_t
limits_init_pid(const struct limits *l, struct limits_group g)
{
	AUTO_FINI(limits_pid_list_fini) struct limits_pid_list pids = { 0 };
	struct err e = { 0 };
	int best = 0;
	pid_t found = 0;
	size_t i;

	if (limits_pids(l, g, &pids, &e) < 0)
		return 0;
	for (i = 0; i < pids.n; i++) {
		int depth = init_depth(pids.v[i]);

		/* An application's own namespaces lie deeper. */
		if (depth > 1 && (best == 0 || depth < best)) {
			best = depth;
			found = pids.v[i];
		}
	}
	return found;
}

/* --- end --- */

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The kernel tells of an empty group by no means that v1 has too. */
static void
pause_us(unsigned *us)
{
	(void)usleep(*us);
	if (*us < 5000)
		*us *= 2;
}

/* Forks race with the reading: again until none is left. */
static void
kill_each(const struct limits *l, const struct limits_hierarchy *h, struct limits_group g)
{
	AUTO(free) char *dir = dir_of(l, h, g);
	unsigned us = 100;
	int pass;
	size_t i;

	for (pass = 0; pass < KILL_PASSES; pass++) {
		AUTO_FINI(limits_pid_list_fini) struct limits_pid_list pids = { 0 };

		(void)walk(dir, 0, collect, &pids);
		if (pids.n == 0)
			return;
		for (i = 0; i < pids.n; i++)
			(void)kill(pids.v[i], SIGKILL);
		pause_us(&us);
	}
}

int
limits_kill(const struct limits *l, struct limits_group g, struct err *e)
{
	const struct limits_hierarchy *v2 = limits_tree_v2(&l->tree), *v1 = find_v1(l);

	if (check_names(g, e) < 0)
		return -1;
	if (v2 != NULL) {
		AUTO(free) char *dir = dir_of(l, v2, g);

		if (access(dir, F_OK) == 0 && !try_write(dir, "cgroup.kill", "1"))
			kill_each(l, v2, g);
	}
	if (v1 != NULL) {
		struct err ignored = { 0 };

		/* A frozen one dies when it thaws. */
		if (limits_freeze(l, g, false, &ignored) < 0)
			log_debug("limits_not_thawed", LOG_ERR(&ignored));
		kill_each(l, v1, g);
	}
	return 0;
}

int
limits_wait_empty(const struct limits *l, struct limits_group g, int64_t timeout_ms, struct err *e)
{
	int64_t end = now_ms() + timeout_ms;
	unsigned us = 100;

	while (limits_populated(l, g)) {
		if (now_ms() >= end)
			return err_set(e, ERR_BUSY, NULL,
			    "processes of the cgroup live on after %lld ms", (long long)timeout_ms);
		pause_us(&us);
	}
	return 0;
}

static bool
remove_dir(const char *dir, void *arg)
{
	int64_t end = *(const int64_t *)arg;
	unsigned us = 100;

	while (rmdir(dir) < 0 && errno != ENOENT) {
		if (errno != EBUSY || now_ms() >= end)
			return false;
		pause_us(&us);
	}
	return true;
}

int
limits_remove(const struct limits *l, struct limits_group g, int64_t timeout_ms, struct err *e)
{
	int64_t end = now_ms() + timeout_ms;
	size_t i;

	if (check_names(g, e) < 0)
		return -1;
	for (i = 0; i < l->tree.n; i++) {
		AUTO(free) char *dir = dir_of(l, &l->tree.v[i], g);

		if (!walk(dir, 0, remove_dir, &end))
			return err_set(e, errno == EBUSY ? ERR_BUSY : ERR_SYSTEM, NULL,
			    "cannot remove %s", dir);
	}
	return 0;
}

/* --- figures --- */

static int64_t
figure(const struct limits *l, struct limits_group g, unsigned controller, const char *v1_file,
    const char *v2_file, const char *key)
{
	const struct limits_hierarchy *h = limits_tree_find(&l->tree, controller);
	AUTO(free) char *dir = NULL;
	int64_t n;

	if (h == NULL)
		return 0;
	dir = dir_of(l, h, g);
	n = limits_tree_number(dir, h->is_v2 ? v2_file : v1_file, key);
	return n < 0 ? 0 : n;
}

int
limits_usage(const struct limits *l, struct limits_group g, struct limits_usage *out, struct err *e)
{
	const struct limits_hierarchy *acct = limits_tree_find(&l->tree, LIMITS_CPUACCT);

	if (check_names(g, e) < 0)
		return -1;
	*out = (struct limits_usage){
		.memory_bytes =
		    figure(l, g, LIMITS_MEMORY, "memory.usage_in_bytes", "memory.current", NULL),
		.memory_max_bytes =
		    figure(l, g, LIMITS_MEMORY, "memory.max_usage_in_bytes", "memory.peak", NULL),
		.pids = figure(l, g, LIMITS_PIDS, "pids.current", "pids.current", NULL),
		.oom_kills =
		    figure(l, g, LIMITS_MEMORY, "memory.oom_control", "memory.events", "oom_kill"),
	};
	if (acct != NULL)
		out->cpu_usec = figure(l, g, LIMITS_CPUACCT, "cpuacct.usage", "", NULL) / 1000;
	else
		out->cpu_usec = figure(l, g, LIMITS_CPU, "", "cpu.stat", "usage_usec");
	return 0;
}

int
limits_freeze(const struct limits *l, struct limits_group g, bool frozen, struct err *e)
{
	const struct limits_hierarchy *h = limits_tree_v2(&l->tree);
	AUTO(free) char *dir = NULL;

	if (check_names(g, e) < 0)
		return -1;
	if (h != NULL) {
		dir = dir_of(l, h, g);
		return limits_tree_write(dir, "cgroup.freeze", frozen ? "1" : "0", e);
	}
	h = limits_tree_find(&l->tree, LIMITS_FREEZER);
	if (h == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "this kernel offers no freezer");
	dir = dir_of(l, h, g);
	return limits_tree_write(dir, "freezer.state", frozen ? "FROZEN" : "THAWED", e);
}

bool
limits_is_frozen(const struct limits *l, struct limits_group g)
{
	const struct limits_hierarchy *h = limits_tree_v2(&l->tree);
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	AUTO(free) char *dir = NULL;

	if (h == NULL)
		h = limits_tree_find(&l->tree, LIMITS_FREEZER);
	if (h == NULL)
		return false;
	dir = dir_of(l, h, g);
	if (h->is_v2)
		return limits_tree_number(dir, "cgroup.freeze", NULL) == 1;
	return limits_tree_read(dir, "freezer.state", &b) && !str_has_prefix(b.p, "THAWED");
}

int
limits_reclaim(const struct limits *l, struct limits_group g, struct err *e)
{
	const struct limits_hierarchy *h = limits_tree_find(&l->tree, LIMITS_MEMORY);
	AUTO(free) char *dir = NULL;
	char text[32];

	if (check_names(g, e) < 0)
		return -1;
	if (h == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "this kernel offers no memory controller");
	dir = dir_of(l, h, g);
	if (h->is_v2) {
		(void)snprintf(text, sizeof text, "%lld",
		    (long long)limits_tree_number(dir, "memory.current", NULL));
		/* EAGAIN: less could be had than was asked for. */
		(void)try_write(dir, "memory.reclaim", text);
		return 0;
	}
	(void)try_write(dir, "memory.swappiness", "100");
	(void)try_write(dir, "memory.force_empty", "0");
	return 0;
}

int
limits_list(const struct limits *l, const char *gear, struct str_list *out, struct err *e)
{
	struct limits_group g = { .gear = gear };
	size_t i;

	if (check_names(g, e) < 0)
		return -1;
	for (i = 0; i < l->tree.n; i++) {
		AUTO(free) char *dir = dir_of(l, &l->tree.v[i], g);
		DIR *d = opendir(dir);
		struct dirent *de;

		if (d == NULL)
			continue;
		while ((de = readdir(d)) != NULL) {
			if (de->d_type == DT_DIR && is_name(de->d_name) &&
			    !str_list_has(out, de->d_name))
				str_list_add(out, de->d_name);
		}
		(void)closedir(d);
	}
	return 0;
}
