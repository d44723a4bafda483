#include "node/container_host.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/child_run.h"
#include "node/container.h"
#include "node/mount_base.h"
#include "node/node_dirs.h"
#include "node/seccomp.h"

enum { COMPILE_MS = 60000, FILTER_MAX = 256 * 1024 };

void
container_host_stop(struct container_host *h)
{
	container_clean_abort_all(h);
}

void
container_host_free(struct container_host *take_h)
{
	if (take_h == NULL)
		return;
	stack_fini(&take_h->stack);
	file_close(take_h->base_ns);
	free(take_h->runtime);
	free(take_h->runtime_root);
	free(take_h->seccomp);
	free(take_h->filter);
	free(take_h->filter_text);
	free(take_h->spawn);
	free(take_h->init);
	free(take_h->stage);
	free(take_h);
}

DEFINE_AUTO(struct container_host *, container_host_free)

/* A path as it is, a name by PATH. */
static char *
find_program(const char *name, struct err *e)
{
	static const char *const dirs[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
		"/usr/bin", "/sbin", "/bin" };

	if (strchr(name, '/') != NULL) {
		if (access(name, X_OK) == 0)
			return realpath(name, NULL);
		(void)err_set(e, ERR_NOT_FOUND, "runtime", "%s cannot be run", name);
		return NULL;
	}
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		AUTO(free) char *path = file_join(dirs[i], name);

		if (access(path, X_OK) == 0)
			return STEAL(path);
	}
	(void)err_set(e, ERR_NOT_FOUND, "runtime",
	    "no OCI runtime %s on PATH: install the package, or name another by --runtime", name);
	return NULL;
}

static bool
is_below(const char *path, const char *dir)
{
	return str_has_prefix(path, dir) && path[strlen(dir)] == '/';
}

/* The helper covers it in its own mount namespace; so nothing that it needs may lie below, and the
 * container's root user must be able to pass. */
static char *
find_stage(const struct node_dirs *d, struct err *e)
{
	static const char *const candidates[] = { "/mnt", "/srv", "/media", "/opt" };
	const char *needed[] = { d->data, d->run, d->stack, d->libexec, d->cartridges };
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(candidates); i++) {
		bool is_free = stat(candidates[i], &st) == 0 && S_ISDIR(st.st_mode);

		for (size_t j = 0; j < ARRAY_LEN(needed); j++)
			is_free = is_free && !is_below(needed[j], candidates[i]);
		if (is_free)
			return xstrdup(candidates[i]);
	}
	(void)err_set(e, ERR_SYSTEM, "data",
	    "one of /mnt, /srv, /media, /opt must exist and hold neither data nor programs of "
	    "ours");
	return NULL;
}

static char *
find_helper(const struct node_dirs *d, const char *name, struct err *e)
{
	AUTO(free) char *path = file_join(d->libexec, name);

	if (access(path, X_OK) < 0) {
		(void)err_set(e, ERR_SYSTEM, "libexec", "%s cannot be run", path);
		return NULL;
	}
	return STEAL(path);
}

static int64_t
find_nofile(void)
{
	enum { WANTED = 65536 };
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_max == RLIM_INFINITY || r.rlim_max > WANTED)
		return WANTED;
	return (int64_t)r.rlim_max;
}

/* Compiled once, for all containers and entries. */
static int
compile_filter(struct container_host *h, struct err *e)
{
	AUTO(free) char *program = find_helper(h->dirs, "pinion-seccomp", e);
	const char *const argv[] = { program, NULL };
	const struct child_opts o = {
		.argv = argv,
		.has_stdin = true,
		.timeout_ms = COMPILE_MS,
		.out_max = FILTER_MAX,
	};
	AUTO_FINI(buf_fini) struct buf out = { 0 };

	if (program == NULL || child_run(&o, h->seccomp, strlen(h->seccomp), &out, e) != 0)
		return -1;
	h->filter = file_join(h->dirs->run, "seccomp.bpf");
	h->filter_text = str_base64(out.p, out.n);
	return file_replace_fast(h->filter, out.p, out.n, 0600, e);
}

/* Without it starts only take longer. */
static int
make_base(const struct node_dirs *d)
{
	AUTO(free) char *netns = file_join(d->run, "netns");
	const char *const dirs[] = { d->gears, netns };
	struct err e = { 0 };
	int fd = mount_base_make(dirs, ARRAY_LEN(dirs), &e);

	if (fd < 0)
		log_info("containers_without_base", LOG_ERR(&e));
	return fd;
}

struct container_host *
container_host_new(
    struct loop *l, struct worker *w, const struct container_host_opts *o, struct err *e)
{
	AUTO(container_host_free) struct container_host *h = xcalloc(1, sizeof *h);
	const char *base;

	h->loop = l;
	h->worker = w;
	h->dirs = o->dirs;
	h->limits = o->limits;
	h->nofile = find_nofile();
	h->base_ns = -1;
	h->runtime_root = file_join(o->dirs->run, "crun");
	if ((h->runtime = find_program(o->runtime, e)) == NULL ||
	    (h->stage = find_stage(o->dirs, e)) == NULL ||
	    (h->spawn = find_helper(o->dirs, "pinion-spawn", e)) == NULL ||
	    (h->init = find_helper(o->dirs, "pinion-init", e)) == NULL ||
	    (h->seccomp = seccomp_load(o->seccomp, e)) == NULL || compile_filter(h, e) < 0 ||
	    file_mkdirs(h->runtime_root, 0700, e) < 0 || stack_open(o->dirs, &h->stack, e) < 0)
		return NULL;
	h->base_ns = make_base(h->dirs);
	base = strrchr(h->runtime, '/');
	h->is_crun = str_has_prefix(base == NULL ? h->runtime : base + 1, "crun");
	log_info("containers_ready", LOG_STR("runtime", h->runtime), LOG_STR("stage", h->stage),
	    LOG_STR("cgroups", limits_layout(h->limits)));
	return STEAL(h);
}
