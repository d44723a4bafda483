#include "cli/up_view.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"

void
up_view_bind(struct str_list *argv, const char *real, const char *name, bool is_writable)
{
	str_list_add(argv, is_writable ? "--bind-rw" : "--bind");
	str_list_add(argv, real);
	str_list_add(argv, name);
}

static int
fail(const char *what, const char *path)
{
	(void)fprintf(stderr, "pinion up-view: cannot %s %s: %s\n", what, path, strerror(errno));
	return 1;
}

/* Decodes mountinfo's \ooo in place. */
static void
unescape(char *s)
{
	char *to = s;

	for (; *s != '\0'; s++) {
		unsigned c;

		if (*s == '\\' && sscanf(s + 1, "%3o", &c) == 1) {
			*to++ = (char)c;
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

static void
close_file(FILE **f)
{
	if (*f != NULL)
		(void)fclose(*f);
}

/* What a daemon sees beside its view: the system, read-only to it by ownership. */
static bool
is_kept(const char *path)
{
	static const char *const kept[] = { "/proc", "/sys", "/dev", "/usr", "/etc", "/lib", "/bin",
		"/sbin", UP_VIEW_DIR };

	if (strcmp(path, "/") == 0 || strcmp(path, "/run") == 0 || strcmp(path, "/tmp") == 0)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		if (str_has_prefix(path, kept[i]))
			return true;
	return false;
}

static int
list_mounts(struct str_list *out)
{
	AUTO_FINI(close_file) FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[8192], path[4096];

	if (f == NULL)
		return -1;
	while (fgets(line, sizeof line, f) != NULL) {
		if (sscanf(line, "%*d %*d %*s %*s %4095s", path) != 1)
			continue;
		unescape(path);
		if (!is_kept(path))
			str_list_add(out, path);
	}
	return 0;
}

/* Leaves all other mounts: a copy of a gear's volume or network namespace would keep it busy for as
 * long as the daemon runs. */
static int
leave_mounts(void)
{
	AUTO_FINI(str_list_fini) struct str_list mounts = { 0 };

	if (list_mounts(&mounts) < 0)
		return fail("read", "/proc/self/mountinfo");
	for (size_t i = mounts.n; i-- > 0;)
		if (umount2(mounts.v[i], MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL &&
		    errno != ENOENT)
			return fail("leave", mounts.v[i]);
	return 0;
}

static int
open_view(void)
{
	struct err e = { 0 };

	if (file_mkdirs(UP_VIEW_DIR, 0755, &e) < 0) {
		(void)fprintf(stderr, "pinion up-view: %s\n", e.text);
		return 1;
	}
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return fail("leave the mount namespace at", "/");
	if (mount("view", UP_VIEW_DIR, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64k") < 0)
		return fail("mount", UP_VIEW_DIR);
	return 0;
}

static int
bind_path(const char *real, const char *name, bool is_writable)
{
	AUTO(free) char *target = xasprintf("%s/%s", UP_VIEW_DIR, name);
	struct stat st;

	if (stat(real, &st) < 0)
		return fail("find", real);
	if (S_ISDIR(st.st_mode) ? mkdir(target, 0755) < 0 : mknod(target, S_IFREG | 0644, 0) < 0)
		return fail("make", target);
	if (mount(real, target, NULL, MS_BIND | MS_REC, NULL) < 0)
		return fail("bind", real);
	if (!is_writable && mount(NULL, target, NULL,
	                        MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
		return fail("make read-only", real);
	return 0;
}

static int
become(const char *spec)
{
	unsigned uid, gid;
	pid_t parent = getppid();

	if (sscanf(spec, "%u:%u", &uid, &gid) != 2)
		return fail("read the user", spec);
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return fail("become", spec);
	/* The change of user dropped the tie to the parent. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail("tie to the parent of", spec);
	return 0;
}

int
up_view_main(int argc, char **argv)
{
	const char *user = NULL;
	int rc = open_view();
	int i = 2;

	for (; rc == 0 && i < argc && strcmp(argv[i], "--") != 0; i++) {
		bool is_writable = strcmp(argv[i], "--bind-rw") == 0;

		if ((is_writable || strcmp(argv[i], "--bind") == 0) && i + 2 < argc) {
			rc = bind_path(argv[i + 1], argv[i + 2], is_writable);
			i += 2;
		} else if (strcmp(argv[i], "--user") == 0 && i + 1 < argc) {
			user = argv[++i];
		}
	}
	if (rc != 0)
		return rc;
	if (i + 1 >= argc || user == NULL) {
		errno = EINVAL;
		return fail("run", "without a program and a user");
	}
	if (leave_mounts() != 0 || chdir("/") < 0 || become(user) != 0)
		return 1;
	(void)umask(077);
	(void)execv(argv[i + 1], argv + i + 1);
	return fail("run", argv[i + 1]);
}
