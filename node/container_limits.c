#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "node/container.h"
#include "node/container_host.h"
#include "node/node_dirs.h"

enum { SHM_KB = 64 * 1024, PASSES = 10 };

struct limits_spec
container_limits(const struct wire_limits *l)
{
	return (struct limits_spec){
		.memory_bytes = l->memory_mb * 1024 * 1024,
		.cpu_percent = l->cpu_percent,
		.cpu_burst_percent = l->cpu_burst_percent,
		.cpu_shares = l->cpu_shares,
		.pids = l->pids,
	};
}

int64_t
container_nofile(const struct container_host *h, const struct wire_limits *l)
{
	return l->nofile > 0 && l->nofile < h->nofile ? l->nofile : h->nofile;
}

/* A quarter of the memory, which it counts in. */
int64_t
container_shm_kb(const struct wire_limits *l)
{
	return l->memory_mb > 0 ? l->memory_mb * 256 : SHM_KB;
}

/* From outside: the mount belongs to the container's namespaces, whose owner we are. */
static int
resize_shm(pid_t pid, int64_t kb, struct err *e)
{
	AUTO(free) char *path = xasprintf("/proc/%d/root/dev/shm", (int)pid);
	AUTO(file_close)
	int fd = (int)syscall(SYS_fspick, AT_FDCWD, path, FSPICK_CLOEXEC | FSPICK_NO_AUTOMOUNT);
	char size[32];

	(void)snprintf(size, sizeof size, "%lldk", (long long)kb);
	if (fd < 0 || syscall(SYS_fsconfig, fd, FSCONFIG_SET_STRING, "size", size, 0) < 0 ||
	    syscall(SYS_fsconfig, fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "change the size of /dev/shm");
	return 0;
}

/* Children inherit it: again until a pass finds nobody with another. More than now needs a right
 * that a node's root may lack: then it holds from the next start. */
static void
set_nofile(const struct limits *l, struct limits_group g, int64_t n)
{
	const struct rlimit want = { (rlim_t)n, (rlim_t)n };
	bool is_same = false;

	for (int pass = 0; pass < PASSES && !is_same; pass++) {
		AUTO_FINI(limits_pid_list_fini) struct limits_pid_list pids = { 0 };
		struct err e = { 0 };

		is_same = true;
		if (limits_pids(l, g, &pids, &e) < 0)
			return;
		for (size_t i = 0; i < pids.n; i++) {
			struct rlimit r;

			if (prlimit(pids.v[i], RLIMIT_NOFILE, NULL, &r) < 0 ||
			    r.rlim_max == want.rlim_max)
				continue;
			if (prlimit(pids.v[i], RLIMIT_NOFILE, &want, NULL) == 0) {
				is_same = false;
			} else if (errno == EPERM) {
				log_info(
				    "container_nofile_later", LOG_STR("container", g.instance));
				return;
			}
		}
	}
}

/* So that the next daemon knows what is in force. */
static int
keep_limits(
    const struct container_host *h, const char *id, const struct wire_limits *l, struct err *e)
{
	AUTO(free) char *dir = node_dirs_instance(h->dirs, id);
	AUTO(free) char *path = file_join(dir, "limits");
	AUTO_FINI(buf_fini) struct buf text = { 0 };

	codec_encode(&wire_limits_codec, l, &text);
	return file_replace_fast(path, text.p, text.n, 0600, e);
}

int
container_set_limits(const struct container_host *h, const char *gear, const char *id,
    const struct wire_limits *l, struct err *e)
{
	const struct limits_group g = { gear, id };
	const struct limits_spec spec = container_limits(l);
	pid_t pid = limits_init_pid(h->limits, g);

	if (pid <= 0)
		return err_set(e, ERR_NOT_FOUND, NULL, "container %s does not run", id);
	if (limits_make(h->limits, g, &spec, e) < 0 || resize_shm(pid, container_shm_kb(l), e) < 0)
		return -1;
	set_nofile(h->limits, g, container_nofile(h, l));
	return keep_limits(h, id, l, e);
}
