#include "lib/base/fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef ENABLE_FAULT_POINTS

enum { FAULT_MAX = 128 };

/* "NAME" or "NAME:N"; counts the passings of the name that is armed. */
static bool
is_due(const char *armed, const char *name)
{
	static _Atomic long passed;
	size_t n = strlen(name);
	long wanted = 1;

	if (strncmp(armed, name, n) != 0 || (armed[n] != '\0' && armed[n] != ':'))
		return false;
	if (armed[n] == ':')
		wanted = strtol(armed + n + 1, NULL, 10);
	return ++passed >= wanted;
}

static bool
read_armed(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, out, size - 1);
	close(fd);
	if (n <= 0)
		return false;
	out[n] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return true;
}

void
fault_hit(const char *name)
{
	const char *armed = getenv("PINION_FAULT");
	const char *file = getenv("PINION_FAULT_FILE");
	char text[FAULT_MAX];

	if (armed != NULL && is_due(armed, name))
		kill(getpid(), SIGKILL);
	if (file == NULL || !read_armed(file, text, sizeof text) || !is_due(text, name))
		return;
	unlink(file);
	kill(getpid(), SIGKILL);
}

#endif
