#include "node/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "node/proc_own.h"

enum { PATH_SIZE = 4096, LOG_TAIL = 2048, PID_LOW = 300, PID_SPREAD = 25000 };
enum { INOTIFY_MAX = 256, WATCHES_MAX = 65536 }; /* of one instance */

static long
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

int
spawn_join(const struct spawn_order *o, struct err *e)
{
	for (int i = 0; i < o->cgroup_n; i++) {
		if (write(o->cgroups[i], "0", 1) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "enter the cgroup");
		close(o->cgroups[i]);
	}
	return 0;
}

/* Only the v2 core beside v1 controllers: the runtime does not know it. It moves the container into
 * all others by itself, and may freeze those to end a start that failed: it must not be in there.
 */
static int
join_core(const struct spawn_order *o, struct err *e)
{
	struct statfs fs;

	for (int i = 0; i < o->cgroup_n; i++) {
		if (o->joins_core && fstatfs(o->cgroups[i], &fs) == 0 &&
		    fs.f_type == CGROUP2_SUPER_MAGIC && write(o->cgroups[i], "0", 1) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "enter the cgroup");
		close(o->cgroups[i]);
	}
	return 0;
}

/* What the container needs of what its first mount namespace lacks, taken along from the host's. */
struct luggage {
	int volume, netns; /* detached mounts; -1: none */
};

static int
pick_up(const char *path, int *out, struct err *e)
{
	if (path[0] == '\0' || access(path, F_OK) < 0)
		return 0;
	*out = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return *out >= 0 ? 0 : err_set(e, ERR_SYSTEM, NULL, "take along %s", path);
}

static int
put_down(int take_tree, const char *path, struct err *e)
{
	int rc = 0;

	if (take_tree < 0)
		return 0;
	if (syscall(SYS_move_mount, take_tree, "", AT_FDCWD, path, 4 /* F_EMPTY_PATH */) < 0)
		rc = err_set(e, ERR_SYSTEM, NULL, "mount %s again", path);
	close(take_tree);
	return rc;
}

/* A mount namespace of our own; what is mounted here dies with us or lives on in the container. */
static int
leave_host(const struct spawn_order *o, struct err *e)
{
	struct luggage l = { -1, -1 };

	if (o->base > 0 &&
	    (pick_up(o->volume, &l.volume, e) < 0 || pick_up(o->netns, &l.netns, e) < 0))
		return -1;
	if (o->base > 0 && setns(o->base, CLONE_NEWNS) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "enter the mount namespace to start from");
	if (o->base > 0)
		close(o->base); /* the runtime has no use for it */
	if (unshare(CLONE_NEWNS) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "make a mount namespace");
	/* Slave: what the host unmounts meanwhile goes away here too. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "make / a slave");
	if (put_down(l.volume, o->volume, e) < 0 || put_down(l.netns, o->netns, e) < 0)
		return -1;
	if (o->hide[0] != '\0' && umount2(o->hide, MNT_DETACH) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "take away %s", o->hide);
	return 0;
}

static int
write_file(const char *dir, const char *name, const char *text, struct err *e)
{
	char path[PATH_SIZE];
	size_t n = strlen(text);
	bool ok;
	int fd;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ok = fd >= 0 && write(fd, text, n) == (ssize_t)n;
	if (!ok)
		(void)err_set(e, ERR_SYSTEM, NULL, "write %s", path);
	if (fd >= 0)
		close(fd);
	return ok ? 0 : -1;
}

static int
write_bundle(const struct spawn_order *o, struct err *e)
{
	if (mkdir(o->bundle, 0700) < 0 && errno != EEXIST)
		return err_set(e, ERR_SYSTEM, NULL, "mkdir %s", o->bundle);
	return write_file(o->bundle, "notes", o->notes, e) < 0
	           ? -1
	           : write_file(o->bundle, "config.json", o->config, e);
}

/* The instance holds these three as long as it lives, so they must be nobody's pipe. */
static void
set_stdio(const char *log)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int out = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

	dup2(null, 0);
	dup2(out < 0 ? null : out, 1);
	dup2(out < 0 ? null : out, 2);
}

/* In the child: `RUNTIME --root R run -d --pid-file P -b BUNDLE ID`. */
static void
exec_runtime(const struct spawn_order *o, const char *log)
{
	char pid_file[PATH_SIZE];
	const char *argv[16];
	struct err e = { 0 };
	int n = 0;

	snprintf(pid_file, sizeof pid_file, "%s/pid", o->bundle);
	argv[n++] = o->runtime;
	argv[n++] = "--root";
	argv[n++] = o->runtime_root;
	if (o->cgroup_manager[0] != '\0') {
		argv[n++] = "--cgroup-manager";
		argv[n++] = o->cgroup_manager;
	}
	argv[n++] = "run";
	argv[n++] = "-d";
	argv[n++] = "--pid-file";
	argv[n++] = pid_file;
	argv[n++] = "-b";
	argv[n++] = o->bundle;
	argv[n++] = o->id;
	argv[n] = NULL;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	set_stdio(log);
	if (join_core(o, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		_exit(SPAWN_EXIT_FAILED);
	}
	execv(o->runtime, (char *const *)argv);
	fprintf(stderr, "cannot run %s: %s\n", o->runtime, strerror(errno));
	_exit(SPAWN_EXIT_FAILED);
}

/* Puts the last bytes of the file into text. */
static void
read_tail(const char *path, char text[LOG_TAIL])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	ssize_t n = 0;

	if (size > 0)
		n = pread(fd, text, LOG_TAIL - 1, size > LOG_TAIL - 1 ? size - (LOG_TAIL - 1) : 0);
	text[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
}

static int
run_runtime(const struct spawn_order *o, struct err *e)
{
	char log[PATH_SIZE], text[LOG_TAIL];
	int status;
	pid_t pid;

	snprintf(log, sizeof log, "%s/start.log", o->bundle);
	pid = fork();
	if (pid < 0)
		return err_set(e, ERR_SYSTEM, NULL, "fork");
	if (pid == 0)
		exec_runtime(o, log);
	for (int i = 0; i < o->cgroup_n; i++)
		close(o->cgroups[i]);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return err_set(e, ERR_SYSTEM, NULL, "wait for %s", o->runtime);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	read_tail(log, text);
	errno = 0;
	return err_set(e, ERR_SYSTEM, NULL, "%s failed: %s", o->runtime,
	    text[0] == '\0' ? "it said nothing" : text);
}

static long
read_pid(const struct spawn_order *o)
{
	char path[PATH_SIZE], text[LOG_TAIL];

	snprintf(path, sizeof path, "%s/pid", o->bundle);
	read_tail(path, text);
	return strtol(text, NULL, 10);
}

static bool
write_sysctl(int proc, const char *path, unsigned value)
{
	int fd = openat(proc, path, O_WRONLY | O_CLOEXEC);
	char text[32];
	int n = snprintf(text, sizeof text, "%u", value);
	bool ok = fd >= 0 && write(fd, text, (size_t)n) == n;

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Inside the instance's namespaces of processes and, from the second step on, of users. */
static void
write_sysctls(int user, unsigned random)
{
	int proc = proc_own_open();

	(void)write_sysctl(proc, "sys/kernel/ns_last_pid", PID_LOW + random % PID_SPREAD);
	if (user < 0 || setns(user, CLONE_NEWUSER) < 0)
		return;
	(void)write_sysctl(proc, "sys/user/max_inotify_instances", INOTIFY_MAX);
	(void)write_sysctl(proc, "sys/user/max_inotify_watches", WATCHES_MAX);
	(void)write_sysctl(proc, "sys/user/max_fanotify_groups", 0);
}

/* Small pid namespaces would give the same numbers after each start, and a pid file left by a crash
 * would name a stranger: numbers go on at random. And what the kernel counts for root, who made the
 * user namespace, has a bound of its own in it. Only a process inside can say so. */
static void
settle_namespaces(long pid)
{
	char path[64];
	unsigned random;
	int fd, user;
	pid_t child;

	if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
		return;
	(void)snprintf(path, sizeof path, "/proc/%ld/ns/pid", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWPID) < 0)
		return;
	close(fd);
	(void)snprintf(path, sizeof path, "/proc/%ld/ns/user", pid);
	user = open(path, O_RDONLY | O_CLOEXEC);
	child = fork();
	if (child == 0) {
		write_sysctls(user, random);
		_exit(0);
	}
	if (user >= 0)
		close(user);
	if (child > 0)
		(void)waitpid(child, NULL, 0);
}

int
spawn_delete(const struct spawn_order *o)
{
	const char *argv[12] = { o->runtime, "--root", o->runtime_root };
	struct err e = { 0 };
	int n = 3;

	if (o->cgroup_manager[0] != '\0') {
		argv[n++] = "--cgroup-manager";
		argv[n++] = o->cgroup_manager;
	}
	if (leave_host(o, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return SPAWN_EXIT_FAILED;
	}
	argv[n++] = "delete";
	argv[n++] = "-f";
	argv[n++] = o->id;
	argv[n] = NULL;
	execv(o->runtime, (char *const *)argv);
	fprintf(stderr, "cannot run %s: %s\n", o->runtime, strerror(errno));
	return SPAWN_EXIT_FAILED;
}

int
spawn_start(const struct spawn_order *o)
{
	long begin = now_us(), mounted, pid;
	struct err e = { 0 };

	if (write_bundle(o, &e) < 0 || leave_host(o, &e) < 0 || spawn_mount_all(o, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return SPAWN_EXIT_FAILED;
	}
	fault_point("spawn_mounted");
	mounted = now_us();
	if (run_runtime(o, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return SPAWN_EXIT_FAILED;
	}
	fault_point("spawn_ran");
	pid = read_pid(o);
	if (pid > 1)
		settle_namespaces(pid);
	printf("%ld %ld %ld\n", pid, mounted - begin, now_us() - mounted);
	(void)fflush(stdout);
	_exit(0); /* half in another pid namespace, nothing that runs at exit may start anything */
}
