#include "lib/base/where.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"

/* Directory of the running program; caller owns. */
static char *
own_directory(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

	if (n <= 0)
		return xstrdup(".");
	path[n] = '\0';
	char *slash = strrchr(path, '/');
	if (slash != NULL)
		*slash = '\0';
	return xstrdup(path);
}

static char *
find(const char *const *formats, size_t n, const char *fixed, const char *name, struct err *e)
{
	AUTO(free) char *own = own_directory();

	for (size_t i = 0; i < n; i++) {
		AUTO(free) char *dir = xasprintf("%s%s", own, formats[i]);
		AUTO(free) char *path = file_join(dir, name);
		char *real = realpath(path, NULL);

		if (real != NULL)
			return real;
	}
	char *path = file_join(fixed, name);
	if (file_exists(path))
		return path;
	free(path);
	(void)err_set(e, ERR_NOT_FOUND, NULL,
	    "cannot find %s beside %s or in %s: is Pinion installed?", name, own, fixed);
	return NULL;
}

char *
where_program(const char *name, struct err *e)
{
	static const char *const formats[] = { "", "/../sbin", "/../bin", "/../libexec/pinion",
		"/.." };

	return find(formats, ARRAY_LEN(formats), PKGLIBEXECDIR, name, e);
}

char *
where_data(const char *name, struct err *e)
{
	static const char *const formats[] = { "", "/../share/pinion", "/../../share/pinion" };

	return find(formats, ARRAY_LEN(formats), PKGDATADIR, name, e);
}
