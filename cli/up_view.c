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

static int
open_view(void)
{
	struct err e = { 0 };

	if (file_mkdirs(UP_VIEW_DIR, 0755, &e) < 0) {
		(void)fprintf(stderr, "pinion up-view: %s\n", e.text);
		return 1;
	}
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
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
	if (chdir("/") < 0 || become(user) != 0)
		return 1;
	(void)umask(077);
	(void)execv(argv[i + 1], argv + i + 1);
	return fail("run", argv[i + 1]);
}
