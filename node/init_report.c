#include "node/init_report.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int64_t
init_report_now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* out has room for 6 bytes for each of s. */
static void
escape(const char *s, char *out)
{
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			out += sprintf(out, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			out += sprintf(out, "\\u%04x", c);
		else
			*out++ = (char)c;
	}
	*out = '\0';
}

void
init_report_write(const struct init_report *r, int dir_fd)
{
	char text[4096], error[sizeof r->error * 6 + 1];
	bool is_good;
	int fd, n;

	escape(r->error, error);
	n = snprintf(text, sizeof text,
	    "{\"phase\":\"%s\",\"pid\":%lld,\"start_ended\":%s,\"exit_code\":%d,\"exit_signal\":%d,"
	    "\"began_ms\":%lld,\"start_ended_ms\":%lld,\"exited_ms\":%lld,\"lines_dropped\":%lld,"
	    "\"error\":\"%s\"}\n",
	    r->phase, (long long)r->pid, r->start_ended ? "true" : "false", r->exit_code,
	    r->exit_signal, (long long)r->began_ms, (long long)r->start_ended_ms,
	    (long long)r->exited_ms, (long long)r->lines_dropped, error);
	fd = openat(
	    dir_fd, "status.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	is_good = fd >= 0 && write(fd, text, (size_t)n) == n;
	if (fd >= 0)
		(void)close(fd);
	if (!is_good || renameat(dir_fd, "status.new", dir_fd, "status") < 0)
		(void)fprintf(stderr, "pinion-init: cannot write the status file: %m\n");
}
