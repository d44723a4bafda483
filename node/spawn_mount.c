#include "node/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "node/container_ids.h"

/* <sys/mount.h> and <linux/mount.h> cannot be included together. */
int mount(const char *source, const char *target, const char *type, unsigned long flags,
    const void *data);
enum { MOUNT_NOSUID = 2, MOUNT_NODEV = 4, PATH_SIZE = 4096, SMALL_SIZE = 512 };

/* What the mounts share while they are made. */
struct mounter {
	const struct spawn_order *o;
	int userns;
	int stage; /* O_PATH of the stage tmpfs */
	int root;  /* O_PATH of the container's root */
};

int
spawn_mount_act_as(long base, struct err *e)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	setfsgid((gid_t)base);
	setfsuid((uid_t)base);
	if (syscall(SYS_capget, &head, data) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "capget");
	data[0].effective = data[0].permitted & ~(1U << CAP_SYS_RESOURCE);
	data[1].effective = data[1].permitted;
	if (syscall(SYS_capset, &head, data) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "capset");
	return 0;
}

static int
write_map(pid_t pid, const char *name, long base, struct err *e)
{
	char path[SMALL_SIZE], text[SMALL_SIZE];
	int n = snprintf(text, sizeof text, "0 %ld %d\n", base, CONTAINER_IDS);
	int fd;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, (size_t)n) != n) {
		(void)err_set(e, ERR_SYSTEM, NULL, "write %s", path);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	close(fd);
	return 0;
}

int
spawn_mount_userns(long base, struct err *e)
{
	char path[SMALL_SIZE];
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	int fd = -1;

	if (pid < 0)
		return err_set(e, ERR_SYSTEM, NULL, "make a user namespace");
	if (pid == 0) {
		for (;;)
			pause();
	}
	snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
	if (write_map(pid, "uid_map", base, e) == 0 && write_map(pid, "gid_map", base, e) == 0) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			(void)err_set(e, ERR_SYSTEM, NULL, "open %s", path);
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return fd;
}

/* A detached copy of the mount at source, with attributes; userns -1: ids as they are. */
static int
clone_tree(const char *source, unsigned long attrs, int userns, struct err *e)
{
	struct mount_attr attr = { .attr_set = attrs | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open_tree %s", source);
	if (userns >= 0) {
		attr.attr_set |= MOUNT_ATTR_IDMAP;
		attr.userns_fd = (uint64_t)userns;
	}
	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0) {
		(void)err_set(e, ERR_SYSTEM, NULL,
		    "map the ids of %s (its file system must support idmapped mounts: ext4, xfs, "
		    "btrfs)",
		    source);
		close(fd);
		return -1;
	}
	return fd;
}

/* Attaches take_tree at the open target. */
static int
attach(int take_tree, int target, const char *name, struct err *e)
{
	int rc = (int)syscall(SYS_move_mount, take_tree, "", target, "",
	    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);

	if (rc < 0)
		(void)err_set(e, ERR_SYSTEM, NULL, "mount on %s", name);
	close(take_tree);
	return rc;
}

static int
make_dir(int at, const char *path, mode_t mode, struct err *e)
{
	if (mkdirat(at, path, mode) < 0 && errno != EEXIST)
		return err_set(e, ERR_SYSTEM, NULL, "mkdir %s", path);
	return 0;
}

/* Attaches a copy of source at the new directory stage/m/NAME. */
static int
stage_tree(
    struct mounter *m, const char *source, const char *name, unsigned long attrs, struct err *e)
{
	int tree = clone_tree(source, attrs, m->userns, e);
	int at, rc;

	if (tree < 0)
		return -1;
	if (make_dir(m->stage, name, 0755, e) < 0 ||
	    (at = openat(m->stage, name, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0) {
		close(tree);
		return e->code != ERR_NONE ? -1 : err_set(e, ERR_SYSTEM, NULL, "open %s", name);
	}
	rc = attach(tree, at, name, e);
	close(at);
	return rc;
}

/* Opens the entry of dir, made when it is not there. */
static int
open_or_make(int dir, const char *name, bool is_dir)
{
	const int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(dir, name, flags);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (is_dir ? mkdirat(dir, name, 0755) < 0 : mknodat(dir, name, S_IFREG | 0644, 0) < 0)
		return -1;
	return openat(dir, name, flags);
}

/* Opens path below the root, which no link can lead elsewhere; makes what is missing, the last part
 * a directory or an empty file. */
static int
open_target(int root, const char *path, bool is_dir, struct err *e)
{
	const char *p = path + strspn(path, "/");
	char name[SMALL_SIZE];
	int dir = root, fd = -1;
	struct stat st;

	while (*p != '\0') {
		size_t n = strcspn(p, "/");
		bool is_last = p[n] == '\0';

		if (n >= sizeof name)
			return err_set(e, ERR_INVALID, NULL, "%s is too long", path);
		memcpy(name, p, n);
		name[n] = '\0';
		fd = open_or_make(dir, name, is_dir || !is_last);
		if (dir != root)
			close(dir);
		if (fd < 0)
			return err_set(e, ERR_SYSTEM, NULL, "open %s in the container", path);
		dir = fd;
		p += n + strspn(p + n, "/");
	}
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISLNK(st.st_mode)) {
		close(fd);
		return err_set(e, ERR_DENIED, NULL, "%s is a link in the container", path);
	}
	return fd;
}

static int
bind_one(struct mounter *m, const struct spawn_bind *b, struct err *e)
{
	struct stat st;
	int tree, at, rc;

	if (stat(b->source, &st) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "%s", b->source);
	at = open_target(m->root, b->target, S_ISDIR(st.st_mode), e);
	if (at < 0)
		return -1;
	tree =
	    clone_tree(b->source, b->ro ? MOUNT_ATTR_RDONLY : 0, b->idmapped ? m->userns : -1, e);
	rc = tree < 0 ? -1 : attach(tree, at, b->target, e);
	close(at);
	return rc;
}

static int
bind_stack(struct mounter *m, struct err *e)
{
	const struct spawn_bind fixed[] = {
		{ .source = m->o->usr, .target = "usr", .ro = true },
		{ .source = m->o->etc, .target = "etc", .ro = true },
		{ .source = m->o->init, .target = "run/pinion/init", .ro = true },
	};

	for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
		if (bind_one(m, &fixed[i], e) < 0)
			return -1;
	}
	return 0;
}

static int
write_file(int at, const char *name, const char *text, struct err *e)
{
	size_t n = strlen(text);
	int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	bool ok = fd >= 0 && write(fd, text, n) == (ssize_t)n;

	if (!ok)
		(void)err_set(e, ERR_SYSTEM, NULL, "write %s", name);
	if (fd >= 0)
		close(fd);
	return ok ? 0 : -1;
}

/* The files of /etc that name the gear. */
static int
bind_files(struct mounter *m, struct err *e)
{
	char at[SMALL_SIZE], source[PATH_SIZE], target[SMALL_SIZE];

	if (make_dir(m->stage, "id", 0755, e) < 0)
		return -1;
	for (int i = 0; i < m->o->file_n; i++) {
		const struct spawn_file *f = &m->o->files[i];
		struct spawn_bind b = { .source = source, .target = target, .ro = true };

		snprintf(at, sizeof at, "id/%s", f->name);
		snprintf(source, sizeof source, "%s/id/%s", m->o->stage, f->name);
		snprintf(target, sizeof target, "etc/%s", f->name);
		if (write_file(m->stage, at, f->text == NULL ? "" : f->text, e) < 0 ||
		    bind_one(m, &b, e) < 0)
			return -1;
	}
	return 0;
}

struct root_entry {
	const char *path;
	const char *link; /* NULL: a directory */
	mode_t mode;
};
static const struct root_entry root_entries[] = {
	{ "usr", NULL, 0755 },
	{ "etc", NULL, 0755 },
	{ "proc", NULL, 0555 },
	{ "dev", NULL, 0755 },
	{ "sys", NULL, 0555 },
	{ "sys/fs", NULL, 0555 },
	{ "sys/fs/cgroup", NULL, 0555 },
	{ "tmp", NULL, 01777 },
	{ "run", NULL, 0755 },
	{ "run/pinion", NULL, 0755 },
	{ "var", NULL, 0755 },
	{ "var/lib", NULL, 0755 },
	{ "var/lib/openshift", NULL, 0755 },
	{ "var/www", NULL, 0755 },
	{ "root", NULL, 0700 },
	{ "mnt", NULL, 0755 },
	{ "srv", NULL, 0755 },
	{ "home", NULL, 0755 },
	{ "bin", "usr/bin", 0 },
	{ "sbin", "usr/sbin", 0 },
	{ "lib", "usr/lib", 0 },
	{ "lib32", "usr/lib32", 0 },
	{ "lib64", "usr/lib64", 0 },
	{ "libx32", "usr/libx32", 0 },
	{ "var/tmp", "../tmp", 0 },
	{ "var/run", "../run", 0 },
	{ "run/postgresql", "../tmp", 0 }, /* where its programs put their socket */
	{ "var/www/error", "/usr/share/apache2/error", 0 }, /* where v2's httpd.conf looks */
	{ "var/www/icons", "/usr/share/apache2/icons", 0 },
};

static int
make_root(struct mounter *m, struct err *e)
{
	char options[SMALL_SIZE], path[PATH_SIZE];
	long base = m->o->uid_base;
	int rc;

	snprintf(path, sizeof path, "%s/rootfs", m->o->stage);
	snprintf(options, sizeof options, "mode=755,size=1m,uid=%ld,gid=%ld", base, base);
	if (make_dir(m->stage, "rootfs", 0755, e) < 0)
		return -1;
	if (mount("tmpfs", path, "tmpfs", MOUNT_NOSUID | MOUNT_NODEV, options) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "mount a tmpfs on %s", path);
	m->root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (m->root < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", path);
	for (size_t i = 0; i < sizeof root_entries / sizeof root_entries[0]; i++) {
		const struct root_entry *r = &root_entries[i];

		if (r->link == NULL)
			rc = mkdirat(m->root, r->path, r->mode);
		else
			rc = symlinkat(r->link, m->root, r->path);
		if (rc < 0)
			return err_set(e, ERR_SYSTEM, NULL, "make /%s", r->path);
	}
	return 0;
}

static int
mount_home(struct mounter *m, struct err *e)
{
	char options[PATH_SIZE], target[PATH_SIZE], name[SMALL_SIZE], parent[PATH_SIZE];
	const char *upper = strrchr(m->o->upper, '/'), *work = strrchr(m->o->work, '/');
	struct statvfs fs;
	int n = snprintf(options, sizeof options, "lowerdir=");

	for (int i = 0; i < m->o->lower_n; i++) {
		snprintf(name, sizeof name, "m/%d", i);
		if (stage_tree(m, m->o->lowers[i], name, MOUNT_ATTR_RDONLY, e) < 0)
			return -1;
		n += snprintf(
		    options + n, sizeof options - (size_t)n, "%s%s", i > 0 ? ":" : "", name);
	}
	snprintf(parent, sizeof parent, "%.*s", (int)(upper - m->o->upper), m->o->upper);
	if (stage_tree(m, parent, "m/up", 0, e) < 0)
		return -1;
	n += snprintf(options + n, sizeof options - (size_t)n,
	    ",upperdir=m/up%s,workdir=m/up%s,redirect_dir=off,index=off,metacopy=off,xino=off",
	    upper, work);
	if (n >= (int)sizeof options)
		return err_set(e, ERR_LIMIT, NULL, "too many layers: %d", m->o->lower_n);
	snprintf(target, sizeof target, "%s/rootfs%s", m->o->stage, m->o->home);
	if (make_dir(AT_FDCWD, target, 0755, e) < 0)
		return -1;
	if (chdir(m->o->stage) < 0 ||
	    mount("overlay", target, "overlay", MOUNT_NOSUID | MOUNT_NODEV, options) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "mount the overlay of %s", m->o->home);
	if (chdir("/") < 0 || statvfs(target, &fs) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "look at %s", target);
	if ((fs.f_flag & ST_RDONLY) != 0)
		return err_set(e, ERR_LIMIT, NULL,
		    "the home came up read-only: the gear's disk is full, or ids do not fit");
	return 0;
}

static int
link_homes(struct mounter *m, struct err *e)
{
	char path[SMALL_SIZE];

	for (int i = 0; i < m->o->link_n; i++) {
		snprintf(path, sizeof path, "var/lib/openshift/%s", m->o->links[i]);
		if (symlinkat(m->o->home, m->root, path) < 0 && errno != EEXIST)
			return err_set(e, ERR_SYSTEM, NULL, "link %s", path);
	}
	return 0;
}

static int
mount_tmp(struct mounter *m, struct err *e)
{
	const struct spawn_bind b = { .source = m->o->tmp, .target = "tmp", .idmapped = true };
	char path[PATH_SIZE];

	if (m->o->tmp[0] != '\0')
		return bind_one(m, &b, e);
	snprintf(path, sizeof path, "%s/rootfs/tmp", m->o->stage);
	if (mount("tmpfs", path, "tmpfs", MOUNT_NOSUID | MOUNT_NODEV, "mode=1777,size=64m") < 0)
		return err_set(e, ERR_SYSTEM, NULL, "mount a tmpfs on /tmp");
	return 0;
}

/* Unlocked: the user may make entries in the home (configure runs, builders). */
static int
own_home(struct mounter *m, struct err *e)
{
	uid_t uid = (uid_t)(m->o->uid_base + (m->o->unlocked ? CONTAINER_UID : 0));
	gid_t gid = (gid_t)(m->o->uid_base + CONTAINER_UID);
	char path[PATH_SIZE];
	struct stat st;

	snprintf(path, sizeof path, "%s/rootfs%s", m->o->stage, m->o->home);
	if (stat(path, &st) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "stat %s", path);
	if (st.st_uid != uid && chown(path, uid, gid) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "give the home to its user");
	return 0;
}

static int
make_stage(struct mounter *m, struct err *e)
{
	if (mount("tmpfs", m->o->stage, "tmpfs", MOUNT_NOSUID | MOUNT_NODEV, "mode=755,size=4m") <
	    0)
		return err_set(e, ERR_SYSTEM, NULL, "mount a tmpfs on %s", m->o->stage);
	m->stage = open(m->o->stage, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (m->stage < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", m->o->stage);
	return make_dir(m->stage, "m", 0755, e);
}

static int
mount_rest(struct mounter *m, struct err *e)
{
	if (make_root(m, e) < 0 || bind_stack(m, e) < 0 || bind_files(m, e) < 0)
		return -1;
	fault_point("spawn_root");
	if (mount_home(m, e) < 0 || own_home(m, e) < 0 || link_homes(m, e) < 0 ||
	    mount_tmp(m, e) < 0)
		return -1;
	fault_point("spawn_home");
	for (int i = 0; i < m->o->bind_n; i++) {
		if (bind_one(m, &m->o->binds[i], e) < 0)
			return -1;
	}
	return 0;
}

int
spawn_mount_all(const struct spawn_order *o, struct err *e)
{
	struct mounter m = { .o = o, .userns = -1, .stage = -1, .root = -1 };
	int rc = -1;

	umask(0);
	m.userns = spawn_mount_userns(o->uid_base, e);
	if (m.userns >= 0 && make_stage(&m, e) == 0 && spawn_mount_act_as(o->uid_base, e) == 0)
		rc = mount_rest(&m, e);
	if (rc == 0)
		rc = spawn_mount_act_as(0, e);
	umask(022);
	close(m.userns);
	close(m.stage);
	close(m.root);
	return rc;
}
