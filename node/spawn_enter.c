#include "node/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/container_ids.h"

enum {
	FILTER_MAX = 64 * 1024,
	EXIT_CANNOT_RUN = 126,
	EXIT_NOT_FOUND = 127,
	ENTER_NAMESPACES = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC |
	                   CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP,
};

/* As pinion-seccomp wrote it: an array of struct sock_filter. */
static int
read_filter(const char *path, struct sock_fprog *out, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		(void)err_set(e, ERR_SYSTEM, NULL, "open the seccomp filter %s", path);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (st.st_size > 0 && st.st_size <= FILTER_MAX &&
	    (size_t)st.st_size % sizeof(struct sock_filter) == 0)
		out->filter = malloc((size_t)st.st_size);
	if (out->filter == NULL || pread(fd, out->filter, (size_t)st.st_size, 0) != st.st_size) {
		close(fd);
		return err_set(e, ERR_SYSTEM, NULL, "read the seccomp filter %s", path);
	}
	close(fd);
	out->len = (unsigned short)((size_t)st.st_size / sizeof(struct sock_filter));
	return 0;
}

/* All capabilities go, for good: bounding set first, the rest by the change of user. */
static int
drop_privileges(const struct spawn_order *o, struct err *e)
{
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap) < 0 && errno != EINVAL)
			return err_set(e, ERR_SYSTEM, NULL, "drop capability %d", cap);
	}
	if (setgroups(0, NULL) < 0 || setresgid((gid_t)o->uid, (gid_t)o->uid, (gid_t)o->uid) < 0 ||
	    setresuid((uid_t)o->uid, (uid_t)o->uid, (uid_t)o->uid) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "become user %ld", o->uid);
	return 0;
}

static const char *
find_env(const struct spawn_order *o, const char *name)
{
	size_t n = strlen(name);

	for (int i = 0; i < o->env_n; i++) {
		if (strncmp(o->env[i], name, n) == 0 && o->env[i][n] == '=')
			return o->env[i] + n + 1;
	}
	return NULL;
}

/* In the container, as its user, with nothing left to lose. */
static int
exec_program(const struct spawn_order *o, const struct sock_fprog *filter)
{
	const char *path = find_env(o, "PATH");

	umask(077);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* after the change of user, which clears it */
	if (chdir(o->cwd) < 0) {
		fprintf(stderr, "cannot enter %s: %s\n", o->cwd, strerror(errno));
		return EXIT_CANNOT_RUN;
	}
	if (setenv("PATH", path == NULL ? "/usr/bin:/bin" : path, 1) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    (filter->len > 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter) < 0)) {
		fprintf(stderr, "cannot load the seccomp filter: %s\n", strerror(errno));
		return EXIT_CANNOT_RUN;
	}
	execvpe(o->args[0], o->args, o->env);
	fprintf(stderr, "cannot run %s: %s\n", o->args[0], strerror(errno));
	return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}

/* As the runtime gives them to PID 1. */
static int
set_rlimits(const struct spawn_order *o, struct err *e)
{
	const struct rlimit none = { 0, 0 };
	const struct rlimit files = { (rlim_t)o->nofile, (rlim_t)o->nofile };
	const struct rlimit signals = { CONTAINER_SIGPENDING, CONTAINER_SIGPENDING };
	const struct rlimit queues = { CONTAINER_MSGQUEUE, CONTAINER_MSGQUEUE };

	if (setrlimit(RLIMIT_CORE, &none) < 0 || setrlimit(RLIMIT_SIGPENDING, &signals) < 0 ||
	    setrlimit(RLIMIT_MSGQUEUE, &queues) < 0 ||
	    (o->nofile > 0 && setrlimit(RLIMIT_NOFILE, &files) < 0))
		return err_set(e, ERR_SYSTEM, NULL, "set the limits of the process");
	return 0;
}

static int
run_inside(const struct spawn_order *o, const struct sock_fprog *filter)
{
	struct err e = { 0 };

	setsid();
	if (o->has_terminal && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0) {
		fprintf(stderr, "cannot take the terminal: %s\n", strerror(errno));
		return EXIT_CANNOT_RUN;
	}
	if (set_rlimits(o, &e) < 0 || drop_privileges(o, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return EXIT_CANNOT_RUN;
	}
	return exec_program(o, filter);
}

/* --- a session's signals --- */

static const int passed_on[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT,
	SIGWINCH, SIGALRM };
enum { PASSED_ON = sizeof passed_on / sizeof passed_on[0] };
static volatile pid_t session;

static void
pass_on(int signo)
{
	int saved = errno;

	if (session > 0 && kill(-session, signo) < 0)
		(void)kill(session, signo); /* its setsid is still to come */
	errno = saved;
}

/* Blocked until the program is there to get them. */
static void
block_signals(sigset_t *old)
{
	sigset_t s;

	(void)sigemptyset(&s);
	for (int i = 0; i < PASSED_ON; i++)
		(void)sigaddset(&s, passed_on[i]);
	(void)sigprocmask(SIG_BLOCK, &s, old);
}

static void
pass_signals(pid_t pid, const sigset_t *old)
{
	const struct sigaction sa = { .sa_handler = pass_on, .sa_flags = SA_RESTART };

	session = pid;
	for (int i = 0; i < PASSED_ON; i++)
		(void)sigaction(passed_on[i], &sa, NULL);
	(void)sigprocmask(SIG_SETMASK, old, NULL);
}

/* The caller sees the same end, without a core of ours. */
static void
die_likewise(int signo)
{
	const struct rlimit none = { 0 };
	sigset_t s;

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)signal(signo, SIG_DFL);
	(void)sigemptyset(&s);
	(void)sigaddset(&s, signo);
	(void)sigprocmask(SIG_UNBLOCK, &s, NULL);
	(void)raise(signo);
}

static int
wait_for(const struct spawn_order *o, pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return SPAWN_EXIT_FAILED;
	}
	if (WIFSIGNALED(status) && o->is_session)
		die_likewise(WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int
spawn_enter(const struct spawn_order *o)
{
	struct sock_fprog filter = { 0 };
	struct err e = { 0 };
	sigset_t old;
	pid_t pid;

	if ((o->seccomp != NULL && read_filter(o->seccomp, &filter, &e) < 0) ||
	    spawn_join(o, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return SPAWN_EXIT_FAILED;
	}
	if (setns(SPAWN_FIRST_FD, ENTER_NAMESPACES) < 0) {
		fprintf(stderr, "enter the container: %s\n", strerror(errno));
		return SPAWN_EXIT_FAILED;
	}
	close(SPAWN_FIRST_FD);
	block_signals(&old);
	pid = fork(); /* only a child is in the new pid namespace */
	if (pid < 0) {
		fprintf(stderr, "fork: %s\n", strerror(errno));
		return SPAWN_EXIT_FAILED;
	}
	if (pid == 0) {
		(void)sigprocmask(SIG_SETMASK, &old, NULL);
		_exit(run_inside(o, &filter));
	}
	if (o->is_session)
		pass_signals(pid, &old);
	else
		(void)sigprocmask(SIG_SETMASK, &old, NULL);
	/* Whoever reads the output must see its end when the program closes it. */
	for (int fd = 0; fd <= 2; fd++)
		close(fd);
	_exit(wait_for(o, pid)); /* nothing that runs at exit may look about in the container */
}
