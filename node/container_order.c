#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "node/bundle.h"
#include "node/container.h"
#include "node/container_host.h"
#include "node/node_dirs.h"
#include "node/spawn.h"

enum { FDS_MAX = 2 + SPAWN_CGROUPS_MAX };

static void
put(struct buf *out, const char *key, const char *value)
{
	buf_add(out, key, strlen(key) + 1);
	buf_add(out, value, strlen(value) + 1);
}

static void
put_int(struct buf *out, const char *key, int64_t value)
{
	char text[32];

	(void)snprintf(text, sizeof text, "%" PRId64, value);
	put(out, key, text);
}

static void
put_runtime(struct buf *out, const struct container_host *h, const char *id)
{
	const char *hide = limits_hide_mount(h->limits);

	put(out, "id", id);
	put(out, "runtime", h->runtime);
	put(out, "runtime_root", h->runtime_root);
	put(out, "cgroup_manager", h->is_crun ? "cgroupfs" : "");
	put(out, "hide", h->is_crun && hide != NULL ? hide : "");
}

static void
put_file(struct buf *out, const char *name, const char *text)
{
	put(out, "file", name);
	put(out, "text", text);
}

static void
put_files(struct buf *out, const struct container_spec *s)
{
	AUTO_FINI(buf_fini) struct buf hosts = { 0 };
	AUTO(free)
	char *passwd = xasprintf("root:x:0:0:root:/root:/usr/sbin/nologin\n"
	                         "%s:x:%d:%d:OpenShift guest:/var/lib/openshift/%s/:/bin/bash\n"
	                         "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n"
	                         "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
	    s->gear, CONTAINER_UID, CONTAINER_UID, s->gear);
	AUTO(free)
	char *group = xasprintf("root:x:0:\ntty:x:5:\n%s:x:%d:\nwww-data:x:33:\nnogroup:x:65534:\n",
	    s->gear, CONTAINER_UID);
	const char *name = s->hostname == NULL ? s->id : s->hostname;
	AUTO(free) char *hostname = xasprintf("%s\n", name);

	/* No localhost at ::1: what listens there is reached by nobody (node/listeners.h). */
	buf_addf(&hosts, "127.0.0.1 localhost\n::1 ip6-localhost\n127.0.1.1 %s\n", name);
	for (size_t i = 0; i < s->hosts.n; i++)
		buf_addf(&hosts, "%s\n", s->hosts.v[i]);
	put_file(out, "passwd", passwd);
	put_file(out, "group", group);
	put_file(out, "hosts", hosts.p);
	put_file(out, "hostname", hostname);
	put_file(out, "resolv.conf", "nameserver 127.0.0.53\noptions timeout:2 attempts:2\n");
}

static void
put_bind(struct buf *out, const struct container_spec *s, const struct container_bind *b)
{
	AUTO(free)
	char *target = b->target[0] == '~'
	                   ? xasprintf("/var/lib/openshift/%s%s", s->gear, b->target + 1)
	                   : xstrdup(b->target);
	AUTO(free) char *flags = xasprintf("%s%s", b->ro ? "ro" : "rw", b->idmapped ? "+ids" : "");

	put(out, "bind", flags);
	put(out, "source", b->source);
	put(out, "target", target);
}

/* For adoption: lines, so that nobody has to read the config again. */
static void
put_notes(struct buf *out, const struct container_spec *s)
{
	AUTO_FINI(buf_fini) struct buf limits = { 0 };
	AUTO_FINI(buf_fini) struct buf text = { 0 };

	codec_encode(&wire_limits_codec, &s->limits, &limits);
	buf_addf(&text, "gear=%s\nlimits=%s\n", s->gear, limits.p);
	for (size_t i = 0; i < s->notes.n; i++) {
		if (strchr(s->notes.v[i], '\n') == NULL)
			buf_addf(&text, "%s\n", s->notes.v[i]);
	}
	put(out, "notes", text.p);
}

/* Programs size themselves by their cgroup. */
static void
put_views(struct buf *out, const struct container_host *h, const struct container_spec *s)
{
	AUTO_FINI(limits_view_list_fini) struct limits_view_list views = { 0 };

	limits_view(h->limits, (struct limits_group){ s->gear, s->id }, &views);
	for (size_t i = 0; i < views.n; i++) {
		const struct container_bind b = { views.v[i].dir, views.v[i].target, true, false };

		put_bind(out, s, &b);
	}
}

void
container_order_start(
    const struct container_host *h, const struct container_spec *s, struct buf *out)
{
	AUTO(free) char *bundle_dir = node_dirs_instance(h->dirs, s->id);
	AUTO(free) char *rootfs = file_join(h->stage, "rootfs");
	AUTO(free) char *volume = node_dirs_gear(h->dirs, s->gear);
	AUTO(free) char *home = xasprintf("/var/lib/openshift/%s", s->gear);
	AUTO(free)
	char *cgroup =
	    limits_path(h->limits, (struct limits_group){ .gear = s->gear, .instance = s->id });
	AUTO_FINI(buf_fini) struct buf config = { 0 };
	int64_t memory = container_limits(&s->limits).memory_bytes;
	const struct bundle b = {
		.spec = s,
		.rootfs = rootfs,
		.cgroup = cgroup,
		.seccomp = h->seccomp,
		.filter = h->is_crun ? h->filter_text : NULL,
		.nofile = container_nofile(h, &s->limits),
		.shm_kb = container_shm_kb(&s->limits),
		.memory = memory,
		.memory_swap = limits_memory_swap(h->limits, memory),
	};

	bundle_write(&b, &config);
	put_runtime(out, h, s->id);
	put(out, "bundle", bundle_dir);
	put(out, "config", config.p);
	put_notes(out, s);
	put(out, "volume", volume);
	put(out, "netns", s->netns == NULL ? "" : s->netns);
	put(out, "stage", h->stage);
	put(out, "usr", h->stack.usr);
	put(out, "etc", h->stack.etc);
	put(out, "init", h->init);
	put(out, "home", home);
	put(out, "tmp", s->tmp == NULL ? "" : s->tmp);
	put(out, "upper", s->upper);
	put(out, "work", s->work);
	put_int(out, "uid_base", s->uid_base);
	put_int(out, "unlocked", s->is_builder);
	put_int(out, "joins_core", strcmp(limits_layout(h->limits), "hybrid") == 0);
	for (size_t i = 0; i < s->lowers.n; i++)
		put(out, "lower", s->lowers.v[i]);
	for (size_t i = 0; i < s->binds.n; i++)
		put_bind(out, s, &s->binds.v[i]);
	put_views(out, h, s);
	for (size_t i = 0; i < s->home_links.n; i++)
		put(out, "link", s->home_links.v[i]);
	put_files(out, s);
}

void
container_order_enter(const struct container_host *h, const char *gear, int64_t nofile,
    const struct container_entry *entry, struct buf *out)
{
	AUTO(free) char *home = xasprintf("/var/lib/openshift/%s", gear);

	put(out, "cwd", entry->cwd == NULL ? home : entry->cwd);
	put(out, "seccomp", h->filter);
	put_int(out, "uid", CONTAINER_UID);
	put_int(out, "terminal", entry->has_terminal);
	put_int(out, "session", entry->is_session);
	put_int(out, "nofile", nofile);
	for (size_t i = 0; entry->argv[i] != NULL; i++)
		put(out, "arg", entry->argv[i]);
	for (size_t i = 0; entry->env != NULL && entry->env[i] != NULL; i++)
		put(out, "env", entry->env[i]);
}

void
container_order_delete(const struct container_host *h, const char *id, struct buf *out)
{
	put_runtime(out, h, id);
}

static int
make_memfd(const struct buf *order, struct err *e)
{
	int fd = memfd_create("order", MFD_CLOEXEC);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "memfd_create");
	if (file_write_all(fd, order->p, order->n, e) < 0) {
		file_close(fd);
		return -1;
	}
	return fd;
}

/* Test builds hand their fault points on to the helper. */
static void
fill_env(const char *env[4])
{
	int n = 0;

	env[n++] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
#ifdef ENABLE_FAULT_POINTS
	static const char *const names[] = { "PINION_FAULT", "PINION_FAULT_FILE" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *value = getenv(names[i]);

		if (value != NULL)
			env[n++] = xasprintf("%s=%s", names[i], value);
	}
#endif
	env[n] = NULL;
}

static void
free_env(const char *env[4])
{
	for (int i = 1; env[i] != NULL; i++)
		free((char *)env[i]);
}

struct child *
container_spawn(const struct container_host *h, const char *mode, struct buf *order, int pidfd,
    const struct limits_entry *cgroups, struct child_opts *opts, child_out_fn *on_out,
    child_end_fn *on_end, void *arg, struct err *e)
{
	const char *argv[] = { h->spawn, mode, NULL };
	const char *env[4];
	struct child *c;
	int fds[FDS_MAX], fd;
	size_t n = 1;

	if (pidfd >= 0) {
		fds[n++] = pidfd;
	} else if (h->base_ns >= 0) {
		put_int(order, "base", (int64_t)(SPAWN_ORDER_FD + n));
		fds[n++] = h->base_ns;
	}
	for (int i = 0; cgroups != NULL && i < cgroups->n && n < FDS_MAX; i++) {
		put_int(order, "cgroup", (int64_t)(SPAWN_ORDER_FD + n));
		fds[n++] = cgroups->fd[i];
	}
	fd = make_memfd(order, e);
	if (fd < 0)
		return NULL;
	fds[0] = fd;
	fill_env(env);
	opts->argv = argv;
	opts->env = env;
	opts->pass_fds = fds;
	opts->pass_n = n;
	c = child_start(h->loop, opts, on_out, on_end, arg, e);
	free_env(env);
	file_close(fd);
	return c;
}
