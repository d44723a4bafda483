#include "node/init_filter.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024, TAG_MAX = 64, EXIT_USAGE = 64 };

struct filter {
	char tag[TAG_MAX + 1];
	char name[TAG_MAX + 5]; /* TAG.log */
	int dir, fd;            /* -1: none */
	int64_t max_size, max_files;
	bool to_file, to_out;
	bool is_relay; /* the file only once stdout was given up */
	char chunk[CHUNK];
	size_t n;
};

static volatile sig_atomic_t is_told; /* SIGUSR1: stdout is to be given up */

static void
on_told(int signo)
{
	(void)signo;
	is_told = 1;
}

bool
init_filter_is(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');
	const char *name = slash == NULL ? argv0 : slash + 1;

	return strcmp(name, "logshifter") == 0 || strcmp(name, "cart-relay") == 0;
}

bool
init_filter_size(const char *text, int64_t *out)
{
	static const char units[] = "KMGT";
	char *end;
	long long n = strtoll(text, &end, 10);
	const char *unit = *end == '\0' ? NULL : strchr(units, toupper((unsigned char)*end));
	int shift = unit == NULL ? 0 : (int)(unit - units + 1) * 10;

	if (end == text || n < 0 || (*end != '\0' && (unit == NULL || end[1] != '\0')) ||
	    n > (INT64_MAX >> (shift + 1)))
		return false;
	*out = (int64_t)n << shift;
	return true;
}

/* LOGSHIFTER_<TAG>_<what>, the tag in upper case, what is no letter or digit as '_'. */
static const char *
setting(const struct filter *f, const char *what)
{
	char name[2 * TAG_MAX + 64];
	size_t n = (size_t)snprintf(name, sizeof name, "LOGSHIFTER_%s", f->tag);

	for (size_t i = 0; i < n; i++)
		name[i] =
		    isalnum((unsigned char)name[i]) ? (char)toupper((unsigned char)name[i]) : '_';
	(void)snprintf(name + n, sizeof name - n, "_%s", what);
	return getenv(name);
}

/* --- the file --- */

static void
reopen(struct filter *f)
{
	if (f->fd >= 0)
		(void)close(f->fd);
	f->fd = openat(f->dir, f->name,
	    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640);
}

/* Removes the oldest file when there are as many as are kept; false: there are fewer. Their names
 * sort by age. */
static bool
remove_oldest(struct filter *f)
{
	char prefix[TAG_MAX + 8], oldest[256];
	int64_t count = 0;
	int fd = openat(f->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;

	if (d == NULL)
		return false;
	(void)snprintf(prefix, sizeof prefix, "%s-", f->name);
	oldest[0] = '\0';
	while ((de = readdir(d)) != NULL) {
		if (strncmp(de->d_name, prefix, strlen(prefix)) != 0 ||
		    strlen(de->d_name) >= sizeof oldest)
			continue;
		count++;
		if (oldest[0] == '\0' || strcmp(de->d_name, oldest) < 0)
			(void)snprintf(oldest, sizeof oldest, "%s", de->d_name);
	}
	(void)closedir(d);
	return count >= f->max_files && oldest[0] != '\0' && unlinkat(f->dir, oldest, 0) == 0;
}

static void
rotate(struct filter *f)
{
	char to[TAG_MAX + 32];
	time_t now = time(NULL);
	struct tm tm;

	(void)gmtime_r(&now, &tm);
	(void)snprintf(to, sizeof to, "%s-%04d%02d%02d%02d%02d%02d", f->name,
	    (tm.tm_year + 1900) % 10000, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
	    tm.tm_sec);
	if (faccessat(f->dir, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return; /* twice in a second: a little longer for once */
	while (remove_oldest(f)) {
	}
	(void)renameat(f->dir, f->name, f->dir, to);
	reopen(f);
}

/* Instances of a gear write the same file: the one that rotates holds the lock, others notice that
 * their file has another name now. */
static void
to_file(struct filter *f, const char *p, size_t n)
{
	struct stat mine, now;

	if (f->fd < 0)
		reopen(f);
	if (f->fd < 0)
		return;
	(void)flock(f->fd, LOCK_EX);
	if (fstat(f->fd, &mine) < 0 || fstatat(f->dir, f->name, &now, AT_SYMLINK_NOFOLLOW) < 0 ||
	    mine.st_ino != now.st_ino) {
		reopen(f);
		if (f->fd < 0 || fstat(f->fd, &mine) < 0)
			return;
	}
	if (f->max_size > 0 && mine.st_size > 0 && mine.st_size + (int64_t)n > f->max_size)
		rotate(f);
	while (n > 0 && f->fd >= 0) {
		ssize_t w = write(f->fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			break; /* disk full: dropped, the application is not held up */
		p += w;
		n -= (size_t)w;
	}
	if (f->fd >= 0)
		(void)flock(f->fd, LOCK_UN);
}

/* --- the other end --- */

static void
give_up_out(struct filter *f)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	f->to_out = false;
	f->to_file = true;
	if (fd >= 0) {
		(void)dup2(fd, 1);
		(void)dup2(fd, 2);
		(void)close(fd);
	}
}

static void
to_out(struct filter *f, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t w = write(1, p, n);

		if (w < 0 && errno == EINTR) {
			if (!is_told)
				continue;
			w = -1;
		}
		if (w <= 0) {
			give_up_out(f);
			return;
		}
		p += w;
		n -= (size_t)w;
	}
}

static void
pass(struct filter *f, const char *p, size_t n)
{
	if (n == 0)
		return;
	if (f->to_file)
		to_file(f, p, n);
	if (f->to_out)
		to_out(f, p, n);
}

/* Whole lines; one that is longer than the buffer is split. A relay holds nothing back. */
static void
pass_lines(struct filter *f, bool all)
{
	size_t n = f->n;

	if (!all && !f->is_relay && n < CHUNK) {
		while (n > 0 && f->chunk[n - 1] != '\n')
			n--;
	}
	pass(f, f->chunk, n);
	memmove(f->chunk, f->chunk + n, f->n - n);
	f->n -= n;
}

/* What is in the pipe already was written before the action ended. */
static void
drain(struct filter *f)
{
	struct pollfd p = { .fd = 0, .events = POLLIN };
	ssize_t got;

	while (poll(&p, 1, 0) == 1 && (p.revents & POLLIN) != 0) {
		got = read(0, f->chunk + f->n, CHUNK - f->n);
		if (got <= 0)
			break;
		f->n += (size_t)got;
		pass_lines(f, true);
	}
	give_up_out(f);
}

static int
run(struct filter *f)
{
	struct pollfd p = { .fd = 0, .events = POLLIN };
	sigset_t none, told;

	(void)sigemptyset(&none);
	(void)sigemptyset(&told);
	(void)sigaddset(&told, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &told, NULL);
	for (;;) {
		ssize_t got;

		if (is_told && f->to_out)
			drain(f);
		if (ppoll(&p, 1, NULL, &none) < 0)
			continue; /* a signal */
		got = read(0, f->chunk + f->n, CHUNK - f->n);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0)
			break;
		f->n += (size_t)got;
		pass_lines(f, false);
	}
	pass_lines(f, true);
	return 0;
}

/* --- start --- */

static bool
is_tag(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= TAG_MAX && s[0] != '.' && strchr(s, '/') == NULL;
}

/* Go's flags: -tag T, --tag T, -tag=T. */
static bool
parse(struct filter *f, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		const char *value;

		while (*a == '-')
			a++;
		value = strchr(a, '=');
		if (strncmp(a, "tag", 3) == 0 && (a[3] == '\0' || a[3] == '=')) {
			value = value != NULL ? value + 1 : ++i < argc ? argv[i] : "";
			if (!is_tag(value))
				return false;
			(void)snprintf(f->tag, sizeof f->tag, "%s", value);
		} else if (value == NULL && strcmp(a, "verbose") != 0) {
			i++; /* -config FILE, -statsfilename FILE, -statsinterval N: accepted */
		}
	}
	return f->tag[0] != '\0';
}

static void
configure(struct filter *f)
{
	const char *home = getenv("HOME"), *type = getenv("LOGSHIFTER_OUTPUT_TYPE");
	const char *dir = getenv("OPENSHIFT_LOG_DIR"), *text;
	char path[4096];

	(void)snprintf(path, sizeof path, "%s%s",
	    dir != NULL    ? dir
	    : home != NULL ? home
	                   : "",
	    dir != NULL ? "" : "/app-root/logs");
	f->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)snprintf(f->name, sizeof f->name, "%s.log", f->tag);
	f->max_size = 10 * 1024 * 1024;
	f->max_files = 10;
	text = setting(f, "MAX_FILESIZE");
	if (text != NULL)
		(void)init_filter_size(text, &f->max_size);
	text = setting(f, "MAX_FILES");
	if (text != NULL && atoi(text) > 0)
		f->max_files = atoi(text);
	f->to_file = !f->is_relay && (type == NULL || strcmp(type, "syslog") != 0) && f->dir >= 0;
	f->to_out = f->is_relay || !f->to_file || type == NULL || strcmp(type, "file") != 0;
}

int
init_filter_run(int argc, char **argv)
{
	static struct filter f = { .dir = -1, .fd = -1 };
	struct sigaction told = { .sa_handler = on_told };

	f.is_relay = strstr(argv[0], "cart-relay") != NULL;
	if (!parse(&f, argc, argv)) {
		(void)fprintf(stderr, "usage: logshifter -tag TAG\n");
		return EXIT_USAGE;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)sigaction(SIGUSR1, &told, NULL);
	configure(&f);
	/* In a call of a living instance the application's log is not to hold the call's output. */
	if (!f.is_relay && getenv("PINION_CALL") != NULL && f.to_file)
		f.to_out = false;
	return run(&f);
}
