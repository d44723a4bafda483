/* pinion-init: PID 1 of an instance. Small, static, libc only: it is bound into each container.
 *
 * usage: pinion-init CONTROL-DIRECTORY
 *
 * CONTROL/settings says what to do: records `KEY=VALUE`, each ended by a NUL byte
 * (node/init_control.h writes it): start=WORD   once for each word of the start command; none: idle
 * until SIGTERM stop=WORD    command that runs first on SIGTERM env=K=V      environment of both;
 * none: that of pinion-init cwd=DIR      (/) log_dir=DIR  output of both goes to DIR/SOURCE.log;
 * none: to pinion-init's own source=NAME  (app)   log_size=BYTES (10 MiB)   log_count=N (5)
 *   stop_timeout_ms=N (30000)   umask=N, decimal (63 = 077)   stays=1
 *
 * The start command runs in a session of its own. Exit 0 with processes left: they are the
 * application (daemons), which lives until the last of them ends; with none left and `stays`: it
 * had nothing to run, and lives until SIGTERM. Any other end: what is left gets
 * SIGTERM. On SIGTERM: the stop command, then SIGTERM to every process, after stop_timeout_ms
 * SIGKILL. CONTROL/status tells how it stands. Exits as the start command did, or 128 + its signal.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/container_ids.h"
#include "node/init_command.h"
#include "node/init_filter.h"
#include "node/init_log.h"
#include "node/init_plan.h"
#include "node/init_report.h"

enum {
	FLUSH_MS = 2000,
	FAILED_GRACE_MS = 5000,
	REPORT_MS = 1000,
	HELD_MS = 50,
	OUTPUT_TURNS = 8,
	EXIT_USAGE = 64
};

struct init {
	struct init_plan *plan;
	int control_fd, signal_fd;
	int out_fd[2];        /* pipe of the commands' output; -1: none */
	struct init_log *log; /* NULL: none */
	pid_t start, stop;    /* 0: not running */
	bool is_ending;       /* SIGTERM was sent to all */
	bool is_idle;         /* lives without a process */
	int64_t deadline_ms;  /* SIGKILL to all; 0: none */
	int64_t told_dropped, told_ms;
	struct init_report report;
};

static struct init_plan the_plan; /* static: 1 MB, of which only the used part is ever touched */

static void
report(struct init *in)
{
	in->report.lines_dropped = in->log == NULL ? 0 : init_log_dropped(in->log);
	in->told_dropped = in->report.lines_dropped;
	in->told_ms = init_report_now_ms();
	init_report_write(&in->report, in->control_fd);
}

/* A line of ours among the application's. */
static void
say(struct init *in, const char *text)
{
	if (in->log == NULL)
		return;
	init_log_write(in->log, "[pinion] ", 9);
	init_log_write(in->log, text, strlen(text));
	init_log_write(in->log, "\n", 1);
}

/* --- commands --- */

/* After fork; writes errno to fail_fd when it cannot run. */
static void
become(const struct init *in, const struct init_plan_list *words, int fail_fd)
{
	sigset_t none;
	int fd = open("/dev/null", O_RDONLY), error;

	(void)setsid();
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	if (fd >= 0)
		(void)dup2(fd, 0);
	if (in->out_fd[1] >= 0) {
		(void)dup2(in->out_fd[1], 1);
		(void)dup2(in->out_fd[1], 2);
	}
	if (fd > 2)
		(void)close(fd);
	(void)umask(in->plan->umask);
	if (chdir(in->plan->cwd) == 0) {
		if (in->plan->env.n > 0)
			environ = in->plan->env.v;
		(void)execvp(words->v[0], words->v);
	}
	error = errno;
	if (write(fail_fd, &error, sizeof error) < 0)
		_exit(126);
	_exit(127);
}

/* 0: it runs; else errno. */
static int
run(const struct init *in, const struct init_plan_list *words, pid_t *out)
{
	int fail[2], error = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(fail, O_CLOEXEC) < 0)
		return errno;
	pid = fork();
	if (pid < 0)
		error = errno;
	if (pid == 0)
		become(in, words, fail[1]);
	(void)close(fail[1]);
	do {
		n = pid < 0 ? 0 : read(fail[0], &error, sizeof error);
	} while (n < 0 && errno == EINTR);
	(void)close(fail[0]);
	if (error == 0)
		*out = pid;
	return error;
}

static void
terminate(struct init *in, int64_t grace_ms)
{
	if (in->is_ending)
		return;
	in->is_ending = true;
	if (in->deadline_ms == 0)
		in->deadline_ms = init_report_now_ms() + grace_ms;
	(void)kill(-1, SIGTERM);
	(void)kill(-1, SIGCONT);
}

static void
start(struct init *in)
{
	int error = run(in, &in->plan->start, &in->start);

	if (error == 0) {
		in->report.phase = "running";
		in->report.pid = in->start;
		return;
	}
	in->report.start_ended = true;
	in->report.exit_code = 127;
	in->report.start_ended_ms = init_report_now_ms();
	(void)snprintf(in->report.error, sizeof in->report.error, "cannot run %.300s: %s",
	    in->plan->start.v[0], strerror(error));
	say(in, in->report.error);
	terminate(in, FAILED_GRACE_MS);
}

static void
stop(struct init *in)
{
	int error;

	if (in->deadline_ms != 0)
		return;
	in->report.phase = "stopping";
	in->deadline_ms = init_report_now_ms() + in->plan->stop_timeout_ms;
	report(in);
	if (in->plan->stop.n == 0 || (in->start == 0 && !in->report.start_ended)) {
		terminate(in, 0);
		return;
	}
	error = run(in, &in->plan->stop, &in->stop);
	if (error != 0) {
		char text[400];

		(void)snprintf(text, sizeof text, "cannot run the stop command %.300s: %s",
		    in->plan->stop.v[0], strerror(error));
		say(in, text);
		terminate(in, 0);
	}
}

/* An action under way in this instance (control restart) may have ended the last process of the
 * application and be about to start it again: CONTROL/held, written by cart-action. It counts as
 * long as such an entry lives, which is nobody's child here. */
static bool
is_held(const struct init *in)
{
	return !in->is_ending && faccessat(in->control_fd, "held", F_OK, 0) == 0 &&
	       kill(-1, 0) == 0;
}

/* At most what one turn should take: signals have their turn too. */
static void
read_output(struct init *in, int turns)
{
	static char part[32 * 1024];

	while (turns-- > 0) {
		ssize_t n = read(in->out_fd[0], part, sizeof part);

		if (n <= 0)
			return;
		init_log_write(in->log, part, (size_t)n);
	}
}

static void
start_ended(struct init *in, int status)
{
	in->start = 0;
	in->report.start_ended = true;
	in->report.start_ended_ms = init_report_now_ms();
	in->report.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	in->report.exit_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	if (in->report.exit_code != 0 &&
	    in->log != NULL) { /* who reads the report looks for its words */
		read_output(in, OUTPUT_TURNS);
		init_log_flush(in->log, FLUSH_MS);
	}
	if (in->report.exit_code != 0 && !is_held(in))
		terminate(in, FAILED_GRACE_MS);
	report(in);
}

/* false: no process is left. */
static bool
reap(struct init *in)
{
	int status;
	pid_t pid;
	bool has_started = false;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == in->start) {
			start_ended(in, status);
			has_started = in->report.exit_code == 0;
		} else if (pid == in->stop) {
			in->stop = 0;
			terminate(in, 0);
		}
	}
	in->is_idle |= has_started && pid < 0 && in->plan->stays;
	return pid == 0;
}

/* --- loop --- */

static void
on_signal(struct init *in)
{
	struct signalfd_siginfo si;

	while (read(in->signal_fd, &si, sizeof si) == (ssize_t)sizeof si) {
		int signo = (int)si.ssi_signo;

		if (signo == SIGTERM || signo == SIGINT)
			stop(in);
		else if (signo != SIGCHLD && in->start > 0)
			(void)kill(in->start, signo);
	}
}

static int
wait_ms(const struct init *in)
{
	int64_t now = init_report_now_ms(), ms = -1;

	if (in->deadline_ms != 0)
		ms = in->deadline_ms > now ? in->deadline_ms - now : 0;
	/* Lines dropped by a disk that is full are told even when nothing else happens. */
	if (in->log != NULL && init_log_dropped(in->log) != in->told_dropped &&
	    (ms < 0 || ms > REPORT_MS))
		ms = REPORT_MS;
	return ms > 60000 ? 60000 : (int)ms;
}

static void
check_times(struct init *in)
{
	int64_t now = init_report_now_ms();

	if (in->deadline_ms != 0 && now >= in->deadline_ms) {
		(void)kill(-1, SIGKILL);
		in->is_ending = true;
		in->deadline_ms = now + 1000;
	}
	if (in->log != NULL && now - in->told_ms >= REPORT_MS &&
	    init_log_dropped(in->log) != in->told_dropped)
		report(in);
}

static void
loop(struct init *in)
{
	struct pollfd p[2] = { { .fd = in->signal_fd, .events = POLLIN },
		{ .fd = in->out_fd[0], .events = POLLIN } };

	in->is_idle = in->plan->start.n == 0;
	for (;;) {
		bool has_children = reap(in), is_over = in->report.start_ended || in->is_idle;

		if (!has_children && is_over && (!in->is_idle || in->is_ending) && !is_held(in))
			return;
		(void)poll(p, 2, !has_children && is_over && !in->is_idle ? HELD_MS : wait_ms(in));
		if (p[1].revents != 0)
			read_output(in, OUTPUT_TURNS);
		if (p[0].revents != 0)
			on_signal(in);
		check_times(in);
	}
}

/* --- start and end --- */

static const char *
load(struct init *in)
{
	size_t n = 0;
	ssize_t got = 1;
	int fd = openat(in->control_fd, "settings", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return strerror(errno);
	while (n < INIT_PLAN_MAX && got > 0) {
		got = read(fd, in->plan->text + n, INIT_PLAN_MAX - n);
		n += got > 0 ? (size_t)got : 0;
	}
	(void)close(fd);
	if (got != 0)
		return "too long, or not readable";
	return init_plan_parse(in->plan, n);
}

static void
open_signals(struct init *in)
{
	sigset_t s;

	(void)sigemptyset(&s);
	(void)sigaddset(&s, SIGTERM);
	(void)sigaddset(&s, SIGINT);
	(void)sigaddset(&s, SIGHUP);
	(void)sigaddset(&s, SIGUSR1);
	(void)sigaddset(&s, SIGUSR2);
	(void)sigaddset(&s, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &s, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	in->signal_fd = signalfd(-1, &s, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Without a log directory the commands write where we do. */
static void
open_log(struct init *in)
{
	int dir;

	in->out_fd[0] = in->out_fd[1] = -1;
	if (in->plan->log_dir == NULL)
		return;
	dir = open(in->plan->log_dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (dir < 0) {
		(void)snprintf(in->report.error, sizeof in->report.error,
		    "cannot open the log directory %.300s: %s", in->plan->log_dir, strerror(errno));
		return;
	}
	in->log = init_log_start(dir, in->plan->source, in->plan->log_size, in->plan->log_count);
	if (in->log == NULL || pipe2(in->out_fd, O_CLOEXEC) < 0)
		return;
	/* Only our end: the application's writes block as it is used to. */
	(void)fcntl(in->out_fd[0], F_SETFL, O_NONBLOCK);
	(void)fcntl(in->out_fd[1], F_SETPIPE_SZ, 256 * 1024);
}

static int
finish(struct init *in)
{
	if (in->log != NULL) {
		read_output(in, 1024);
		init_log_flush(in->log, FLUSH_MS);
	}
	in->report.phase = "exited";
	in->report.exited_ms = init_report_now_ms();
	report(in);
	if (in->report.exit_signal != 0)
		return 128 + in->report.exit_signal;
	return in->report.exit_code < 0 ? 0 : in->report.exit_code;
}

/* Here and not by the runtime, which would set them before it makes the user namespace: then they
 * would bound all gears together. */
static void
set_rlimits(void)
{
	const struct rlimit signals = { CONTAINER_SIGPENDING, CONTAINER_SIGPENDING };
	const struct rlimit queues = { CONTAINER_MSGQUEUE, CONTAINER_MSGQUEUE };

	(void)setrlimit(RLIMIT_SIGPENDING, &signals);
	(void)setrlimit(RLIMIT_MSGQUEUE, &queues);
}

int
main(int argc, char **argv)
{
	struct init in = { .plan = &the_plan,
		.out_fd = { -1, -1 },
		.report = { .phase = "starting", .exit_code = -1 } };
	const char *why;

	if (argc > 0 && init_filter_is(argv[0]))
		return init_filter_run(argc, argv);
	if (argc > 0 && init_command_is(argv[0]))
		return init_command_run(argc, argv);
	(void)prctl(PR_SET_DUMPABLE, 0);
	set_rlimits();
	if (argc != 2 || getpid() != 1) {
		(void)fprintf(stderr, "usage, as the first process of a pid namespace: pinion-init "
		                      "CONTROL-DIRECTORY\n");
		return EXIT_USAGE;
	}
	in.control_fd = open(argv[1], O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (in.control_fd < 0) {
		(void)fprintf(stderr, "pinion-init: cannot open %s: %m\n", argv[1]);
		return EXIT_USAGE;
	}
	(void)syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
	in.report.began_ms = init_report_now_ms();
	open_signals(&in);
	why = load(&in);
	if (why != NULL) {
		(void)snprintf(in.report.error, sizeof in.report.error, "settings: %s", why);
		in.report.start_ended = true;
		in.report.exit_code = EXIT_USAGE;
		return finish(&in);
	}
	open_log(&in);
	report(&in);
	if (in.plan->start.n > 0)
		start(&in);
	else
		in.report.phase = "running";
	report(&in);
	loop(&in);
	return finish(&in);
}
