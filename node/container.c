#include "node/container.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/codec/codec.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/container_host.h"
#include "node/node_dirs.h"
#include "node/spawn.h"

enum { ID_MAX = 60, START_MS = 60000, CONFIG_MAX = 1024 * 1024, SPAWN_FDS_MAX = 13 };

struct container {
	struct container_host *host; /* borrowed */
	char *id, *gear;             /* owned */
	struct str_list notes;
	pid_t pid;
	int pidfd;                     /* owned; -1 */
	struct loop_io *pid_io;        /* owned: tells the end */
	struct worker_job *job;        /* of the start */
	struct child *spawn;           /* owned: of the start */
	struct buf order;              /* of the start */
	struct container_clean *clean; /* borrowed: after a start that failed */
	container_started_fn *on_started;
	void *started_arg;
	container_end_fn *on_end;
	void *end_arg;
	struct err failed;
};

/* --- the spec --- */

void
container_spec_fini(struct container_spec *s)
{
	free(s->id);
	free(s->gear);
	free(s->upper);
	free(s->work);
	free(s->tmp);
	free(s->netns);
	free(s->hostname);
	for (size_t i = 0; i < s->binds.n; i++) {
		free(s->binds.v[i].source);
		free(s->binds.v[i].target);
	}
	free(s->binds.v);
	for (size_t i = 0; i < s->env.n; i++)
		codec_fini(&wire_var_codec, &s->env.v[i]);
	free(s->env.v);
	str_list_fini(&s->lowers);
	str_list_fini(&s->hosts);
	str_list_fini(&s->home_links);
	str_list_fini(&s->args);
	str_list_fini(&s->notes);
	*s = (struct container_spec){ 0 };
}

void
container_spec_bind(
    struct container_spec *s, const char *source, const char *target, bool ro, bool idmapped)
{
	s->binds.v = xreallocarray(s->binds.v, s->binds.n + 1, sizeof *s->binds.v);
	s->binds.v[s->binds.n++] = (struct container_bind){
		.source = xstrdup(source),
		.target = xstrdup(target),
		.ro = ro,
		.idmapped = idmapped,
	};
}

void
container_spec_env(struct container_spec *s, const char *name, const char *value)
{
	struct wire_var *v = codec_list_add(&wire_var_codec, &s->env);

	mem_set_str(&v->name, name);
	mem_set_str(&v->value, value);
}

static int
check_spec(const struct container_spec *s, struct err *e)
{
	size_t n = s->id == NULL ? 0 : strlen(s->id);

	if (n == 0 || n > ID_MAX || strspn(s->id, "abcdefghijklmnopqrstuvwxyz0123456789-") != n)
		return err_set(e, ERR_INVALID, "id", "must be 1 to %d of a-z, 0-9 and -, is \"%s\"",
		    ID_MAX, n == 0 ? "" : s->id);
	if (s->gear == NULL || s->gear[0] == '\0' || strchr(s->gear, '/') != NULL)
		return err_set(e, ERR_INVALID, "gear", "must be the gear's uuid");
	if (s->lowers.n == 0 || s->lowers.n > SPAWN_LOWERS_MAX)
		return err_set(e, ERR_INVALID, "lowers", "must be 1 to %d layers, are %zu",
		    SPAWN_LOWERS_MAX, s->lowers.n);
	if (s->binds.n > SPAWN_BINDS_MAX || s->home_links.n > SPAWN_LINKS_MAX)
		return err_set(e, ERR_INVALID, "binds", "must be at most %d", SPAWN_BINDS_MAX);
	if (s->uid_base < CONTAINER_IDS)
		return err_set(e, ERR_BUG, "uid_base", "would be the host's own users");
	if (s->args.n == 0)
		return err_set(e, ERR_INVALID, "args", "name the program of PID 1");
	return 0;
}

/* --- handles --- */

static struct container *
new_container(struct container_host *h, const char *gear, const char *id)
{
	struct container *c = xcalloc(1, sizeof *c);

	*c = (struct container){
		.host = h,
		.id = xstrdup(id),
		.gear = xstrdup(gear),
		.pidfd = -1,
	};
	return c;
}

void
container_free(struct container *take_c)
{
	if (take_c == NULL)
		return;
	worker_detach(take_c->job);
	container_clean_detach(take_c->clean);
	child_free(take_c->spawn);
	loop_io_cancel(take_c->pid_io);
	file_close(take_c->pidfd);
	str_list_fini(&take_c->notes);
	buf_fini(&take_c->order);
	free(take_c->id);
	free(take_c->gear);
	free(take_c);
}
DEFINE_AUTO(struct container *, container_free)
DEFINE_AUTO(struct map *, map_free)

static void
on_pidfd(int fd, int what, void *arg)
{
	struct container *c = arg;

	(void)fd;
	(void)what;
	loop_io_cancel(STEAL(c->pid_io));
	c->pid = 0;
	log_debug("container_ended", LOG_STR("gear", c->gear), LOG_STR("container", c->id));
	if (c->on_end != NULL)
		c->on_end(c, c->end_arg); /* c may be gone now */
}

/* From now on the end of PID 1 is told. */
static void
watch(struct container *c, pid_t pid, int take_pidfd)
{
	c->pid = pid;
	c->pidfd = file_raise(take_pidfd);
	c->pid_io = loop_io_start(c->host->loop, c->pidfd, LOOP_READ, on_pidfd, c);
}

pid_t
container_pid(const struct container *c)
{
	return c->pid;
}

const char *
container_note(const struct container *c, const char *key)
{
	size_t n = strlen(key);

	for (size_t i = 0; i < c->notes.n; i++) {
		if (strncmp(c->notes.v[i], key, n) == 0 && c->notes.v[i][n] == '=')
			return c->notes.v[i] + n + 1;
	}
	return NULL;
}

void
container_on_end(struct container *c, container_end_fn *fn, void *arg)
{
	c->on_end = fn;
	c->end_arg = arg;
}

/* --- start: cgroups on a worker, then the helper --- */

struct start_job {
	struct container *owner; /* for done only */
	const struct container_host *host;
	char *gear, *id; /* owned */
	char *scratch;   /* owned; NULL: the upper is the caller's */
	bool is_builder;
	struct limits_spec limits;
	struct limits_entry cgroups;
	struct err e;
};

static void
free_start(void *take_job)
{
	struct start_job *j = take_job;

	limits_entry_close(&j->cgroups);
	free(j->gear);
	free(j->id);
	free(j->scratch);
	free(j);
}

/* SCRATCH/<id>/{up,work/work} for a container whose upper nobody keeps but its maker. */
static int
make_scratch(const struct start_job *j, struct err *e)
{
	static const char *const names[] = { "up", "work", "work/work" };
	uid_t uid = j->is_builder ? CONTAINER_UID : 0;

	if (file_mkdirs(j->scratch, 0755, e) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO(free) char *path = file_join(j->scratch, names[i]);

		if (file_mkdirs(path, i == 0 ? 0750 : 0755, e) < 0)
			return -1;
		if (i == 0 && chown(path, uid, CONTAINER_UID) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "chown %s", path);
	}
	return 0;
}

static void
run_start(void *job)
{
	struct start_job *j = job;
	const struct limits_group g = { .gear = j->gear, .instance = j->id };

	if (j->scratch != NULL && make_scratch(j, &j->e) < 0)
		return;
	if (limits_make(j->host->limits, g, &j->limits, &j->e) < 0)
		return;
	fault_point("container_cgroups");
	if (limits_entry_open(j->host->limits, g, &j->cgroups, &j->e) < 0)
		j->cgroups = (struct limits_entry){ 0 };
}

static void
on_cleaned(const struct err *e, void *arg)
{
	struct container *c = arg;
	struct err failed = c->failed; /* whoever is told may free c first */

	(void)e;
	c->clean = NULL;
	c->on_started(c, &failed, c->started_arg);
}

/* Nothing may stay behind a failed start. */
static void
fail_start(struct container *c, const struct err *e)
{
	c->failed = *e;
	log_warn(
	    "container_failed", LOG_STR("gear", c->gear), LOG_STR("container", c->id), LOG_ERR(e));
	c->clean = container_clean_start(c->host, c->gear, c->id, on_cleaned, c);
}

static void
on_spawned(struct child *child, const struct child_end *end, void *arg)
{
	struct container *c = arg;
	long pid = 0, mount_us = 0, run_us = 0;
	struct err e = { 0 };
	int fd;

	errno = 0;
	if (end->status != 0)
		(void)err_set(&e, ERR_SYSTEM, NULL, "start the container: %s",
		    end->err_len > 0 ? end->err : end->why);
	else if (sscanf(end->out, "%ld %ld %ld", &pid, &mount_us, &run_us) != 3 || pid <= 1)
		(void)err_set(&e, ERR_SYSTEM, NULL, "the runtime gave no process id");
	child_free(child);
	c->spawn = NULL;
	if (e.code != ERR_NONE) {
		fail_start(c, &e);
		return;
	}
	fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0U);
	if (fd < 0) {
		(void)err_set(&e, ERR_SYSTEM, NULL, "init ended at once");
		fail_start(c, &e);
		return;
	}
	watch(c, (pid_t)pid, fd);
	log_debug("container_runs", LOG_STR("gear", c->gear), LOG_STR("container", c->id),
	    LOG_INT("pid", pid), LOG_INT("mount_us", mount_us), LOG_INT("runtime_us", run_us));
	fault_point("container_runs");
	c->on_started(c, NULL, c->started_arg);
}

static void
done_start(void *job)
{
	struct start_job *j = job;
	struct container *c = j->owner;
	struct child_opts o = { .timeout_ms = START_MS };
	struct err e = j->e;

	c->job = NULL;
	if (e.code == ERR_NONE && j->cgroups.n > SPAWN_FDS_MAX - 1)
		(void)err_set(&e, ERR_LIMIT, NULL, "too many cgroup hierarchies");
	if (e.code == ERR_NONE)
		c->spawn = container_spawn(
		    c->host, "start", &c->order, -1, &j->cgroups, &o, NULL, on_spawned, c, &e);
	buf_fini(&c->order);
	free_start(j);
	if (c->spawn == NULL)
		fail_start(c, &e);
}

/* The spec with an upper of its own below scratch, where it has none. */
static char *
own_upper(const struct container_host *h, struct container_spec *s)
{
	AUTO(free) char *scratch = NULL;

	if (s->upper != NULL)
		return NULL;
	scratch = file_join(h->dirs->scratch, s->id);
	s->upper = file_join(scratch, "up");
	s->work = file_join(scratch, "work");
	return STEAL(scratch);
}

struct container *
container_start(struct container_host *h, const struct container_spec *s, container_started_fn *fn,
    void *arg, struct err *e)
{
	struct container_spec mine = *s; /* shallow */
	struct container *c;
	struct start_job *j;

	if (check_spec(s, e) < 0)
		return NULL;
	c = new_container(h, s->gear, s->id);
	c->on_started = fn;
	c->started_arg = arg;
	str_list_copy(&c->notes, &s->notes);
	j = xcalloc(1, sizeof *j);
	*j = (struct start_job){
		.owner = c,
		.host = h,
		.gear = xstrdup(s->gear),
		.id = xstrdup(s->id),
		.scratch = own_upper(h, &mine),
		.is_builder = s->is_builder,
		.limits = container_limits(&s->limits),
	};
	container_order_start(h, &mine, &c->order);
	if (s->upper == NULL) {
		free(mine.upper);
		free(mine.work);
	}
	c->job = worker_submit(h->worker, run_start, done_start, free_start, j);
	return c;
}

/* --- adoption --- */

struct adopt_job {
	struct container_host *host; /* done only, but for what is constant */
	char *gear, *id;             /* owned */
	container_adopted_fn *fn;
	void *arg;
	pid_t pid;
	int pidfd; /* owned */
	struct str_list notes;
};

static void
free_adopt(void *take_job)
{
	struct adopt_job *j = take_job;

	file_close(j->pidfd);
	str_list_fini(&j->notes);
	free(j->gear);
	free(j->id);
	free(j);
}

static char *
bundle_file(const struct container_host *h, const char *id, const char *name)
{
	AUTO(free) char *dir = node_dirs_instance(h->dirs, id);

	return file_join(dir, name);
}

/* The bundle's notes, the gear first; limits changed since the start replace those of then. */
static void
read_notes(const struct container_host *h, const char *id, struct str_list *out)
{
	AUTO(free) char *path = bundle_file(h, id, "notes");
	AUTO(free) char *changed = bundle_file(h, id, "limits");
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	AUTO_FINI(buf_fini) struct buf limits = { 0 };
	struct err e = { 0 };
	struct str rest, line;

	if (file_exists(changed) && file_read(changed, CONFIG_MAX, &limits, &e) == 0)
		str_list_take(out, xasprintf("limits=%s", limits.p));
	if (file_read(path, CONFIG_MAX, &text, &e) < 0)
		return;
	for (rest = buf_str(&text); rest.n > 0;) {
		rest = str_cut(rest, '\n', &line);
		if (line.n > 0)
			str_list_take(out, xstrndup(line.p, line.n));
	}
}

/* The pidfd is of the process that is PID 1 before and after it was opened. */
static void
run_adopt(void *job)
{
	struct adopt_job *j = job;
	const struct limits_group g = { .gear = j->gear, .instance = j->id };
	pid_t pid = limits_init_pid(j->host->limits, g);

	if (pid <= 0)
		return;
	j->pidfd = (int)syscall(SYS_pidfd_open, pid, 0U);
	if (j->pidfd >= 0 && limits_init_pid(j->host->limits, g) == pid)
		j->pid = pid;
	read_notes(j->host, j->id, &j->notes);
}

static void
done_adopt(void *job)
{
	struct adopt_job *j = job;
	struct container *c = NULL;

	if (j->pid > 0) {
		c = new_container(j->host, j->gear, j->id);
		str_list_copy(&c->notes, &j->notes);
		watch(c, j->pid, j->pidfd);
		j->pidfd = -1;
		log_info(
		    "container_adopted", LOG_STR("gear", j->gear), LOG_STR("container", j->id));
	}
	j->fn(c, j->arg);
	free_adopt(j);
}

void
container_adopt(
    struct container_host *h, const char *gear, const char *id, container_adopted_fn *fn, void *arg)
{
	struct adopt_job *j = xcalloc(1, sizeof *j);

	*j = (struct adopt_job){
		.host = h,
		.gear = xstrdup(gear),
		.id = xstrdup(id),
		.fn = fn,
		.arg = arg,
		.pidfd = -1,
	};
	worker_submit(h->worker, run_adopt, done_adopt, free_adopt, j);
}

/* --- use and end --- */

/* Open files of what enters: as PID 1 has it; 0: unknown. */
static int64_t
nofile_of(pid_t pid)
{
	struct rlimit r;

	return prlimit(pid, RLIMIT_NOFILE, NULL, &r) < 0 ? 0 : (int64_t)r.rlim_max;
}

struct child *
container_enter(struct container *c, const struct container_entry *entry, child_out_fn *on_out,
    child_end_fn *on_end, void *arg, struct err *e)
{
	const struct limits_group g = { .gear = c->gear, .instance = c->id };
	AUTO_FINI(limits_entry_close) struct limits_entry cgroups = { 0 };
	AUTO_FINI(buf_fini) struct buf order = { 0 };
	struct child_opts o = {
		.has_stdin = entry->has_stdin,
		.in_fd = entry->in_fd,
		.out_fd = entry->out_fd,
		.err_fd = entry->err_fd,
		.merge_stderr = entry->merge_stderr,
		.out_max = entry->out_max,
		.timeout_ms = entry->timeout_ms,
	};

	if (c->pid == 0) {
		(void)err_set(e, ERR_NOT_FOUND, NULL, "container %s does not run", c->id);
		return NULL;
	}
	if (limits_entry_open(c->host->limits, g, &cgroups, e) < 0)
		return NULL;
	if (cgroups.n > SPAWN_FDS_MAX - 2) {
		(void)err_set(e, ERR_LIMIT, NULL, "too many cgroup hierarchies");
		return NULL;
	}
	container_order_enter(c->host, c->gear, nofile_of(c->pid), entry, &order);
	return container_spawn(
	    c->host, "enter", &order, c->pidfd, &cgroups, &o, on_out, on_end, arg, e);
}

int
container_signal(struct container *c, int signo)
{
	if (c->pid == 0)
		return -1;
	return (int)syscall(SYS_pidfd_send_signal, c->pidfd, signo, NULL, 0U);
}

struct kill_job {
	const struct limits *limits;
	char *gear, *id; /* owned */
};

static void
free_kill(void *take_job)
{
	struct kill_job *j = take_job;

	free(j->gear);
	free(j->id);
	free(j);
}

static void
run_kill(void *job)
{
	struct kill_job *j = job;
	struct err e = { 0 };

	if (limits_kill(
	        j->limits, (struct limits_group){ .gear = j->gear, .instance = j->id }, &e) < 0)
		log_warn("container_kill_failed", LOG_STR("container", j->id), LOG_ERR(&e));
}

void
container_kill(struct container *c)
{
	struct kill_job *j = xcalloc(1, sizeof *j);

	*j = (struct kill_job){
		.limits = c->host->limits,
		.gear = xstrdup(c->gear),
		.id = xstrdup(c->id),
	};
	worker_submit(c->host->worker, run_kill, free_kill, free_kill, j);
}

void
container_destroy(struct container *take_c, container_gone_fn *fn, void *arg)
{
	container_clean(take_c->host, take_c->gear, take_c->id, fn, arg);
	container_free(take_c);
}

/* Whose bundle it is, by its notes; caller owns; NULL: it does not say. */
static char *
read_gear(const struct container_host *h, const char *id)
{
	AUTO_FINI(str_list_fini) struct str_list notes = { 0 };

	read_notes(h, id, &notes);
	for (size_t i = 0; i < notes.n; i++) {
		if (str_has_prefix(notes.v[i], "gear="))
			return xstrdup(notes.v[i] + strlen("gear="));
	}
	return NULL;
}

/* Bundles whose cgroups are gone already. */
static int
list_bundles(
    const struct container_host *h, const struct map *seen, struct str_list *out, struct err *e)
{
	DIR *d = opendir(h->dirs->inst);
	struct dirent *de;

	if (d == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", h->dirs->inst);
	while ((de = readdir(d)) != NULL) {
		AUTO(free) char *gear = NULL;

		if (de->d_name[0] == '.' || map_get(seen, de->d_name) != NULL)
			continue;
		gear = read_gear(h, de->d_name);
		str_list_take(out, xasprintf("%s/%s", gear == NULL ? "unknown" : gear, de->d_name));
	}
	closedir(d);
	return 0;
}

/* Cgroups, and bundles with or without one. */
int
container_list(struct container_host *h, struct str_list *out, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list gears = { 0 };
	AUTO(map_free) struct map *seen = map_new(NULL);

	if (limits_list(h->limits, NULL, &gears, e) < 0)
		return -1;
	for (size_t i = 0; i < gears.n; i++) {
		AUTO_FINI(str_list_fini) struct str_list ids = { 0 };

		if (limits_list(h->limits, gears.v[i], &ids, e) < 0)
			return -1;
		for (size_t j = 0; j < ids.n; j++) {
			str_list_take(out, xasprintf("%s/%s", gears.v[i], ids.v[j]));
			map_set(seen, ids.v[j], h);
		}
	}
	return list_bundles(h, seen, out, e);
}
