#include "node/node_dirs.h"

#include <sys/statvfs.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"

enum { TAG_LEN = 8 };

void
node_dirs_fini(struct node_dirs *d)
{
	char **all[] = { &d->data, &d->run, &d->gears, &d->layers, &d->scratch, &d->aside,
		&d->cartridges, &d->stack, &d->inst, &d->netns, &d->libexec, &d->tag };

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		free(*all[i]);
		*all[i] = NULL;
	}
}

/* The directory, made with that mode, as an absolute path without links. */
static char *
make_real(const char *path, mode_t mode, struct err *e)
{
	char *real;

	if (file_mkdirs(path, mode, e) < 0)
		return NULL;
	real = realpath(path, NULL);
	if (real == NULL)
		(void)err_set(e, ERR_SYSTEM, NULL, "resolve %s", path);
	return real;
}

static char *
real_or_same(const char *path)
{
	char *real = path == NULL ? NULL : realpath(path, NULL);

	return real != NULL ? real : xstrdup(path == NULL ? "" : path);
}

/* DIR/NAME, made; closed to all but root, for what lies below carries ids of containers. */
static char *
make_below(const char *dir, const char *name, struct err *e)
{
	AUTO(free) char *path = file_join(dir, name);

	return file_mkdirs(path, 0700, e) < 0 ? NULL : STEAL(path);
}

int
node_dirs_init(struct node_dirs *out, const char *data, const char *run, const char *cartridges,
    const char *stack, const char *libexec, struct err *e)
{
	AUTO_FINI(node_dirs_fini)
	struct node_dirs d = {
		.cartridges = real_or_same(cartridges),
		.stack = real_or_same(stack),
		.libexec = real_or_same(libexec),
	};
	char hex[65];

	if ((d.data = make_real(data, 0711, e)) == NULL ||
	    (d.run = make_real(run, 0711, e)) == NULL ||
	    (d.gears = make_below(d.data, "gears", e)) == NULL ||
	    (d.layers = make_below(d.data, "layers", e)) == NULL ||
	    (d.scratch = make_below(d.data, "scratch", e)) == NULL ||
	    (d.aside = make_below(d.data, "aside", e)) == NULL ||
	    (d.inst = make_below(d.run, "inst", e)) == NULL)
		return -1;
	d.netns = file_join(d.run, "netns");
	secret_sha256_hex(d.data, strlen(d.data), hex);
	d.tag = xstrndup(hex, TAG_LEN);
	*out = d;
	d = (struct node_dirs){ 0 };
	return 0;
}

static bool
is_mount(const char *path)
{
	struct statx sx;

	return statx(AT_FDCWD, path, 0, 0, &sx) == 0 &&
	       (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

int
node_dirs_share(const struct node_dirs *d, struct err *e)
{
	const char *const paths[] = { d->gears, d->netns };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		if (file_mkdirs(paths[i], 0700, e) < 0)
			return -1;
		if (is_mount(paths[i]))
			continue;
		if (mount(paths[i], paths[i], NULL, MS_BIND, NULL) < 0 ||
		    mount(NULL, paths[i], NULL, MS_SHARED, NULL) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "make %s a shared mount", paths[i]);
	}
	return 0;
}

void
node_dirs_unshare(const struct node_dirs *d)
{
	(void)umount2(d->netns, MNT_DETACH);
	(void)umount2(d->gears, 0);
}

char *
node_dirs_gear(const struct node_dirs *d, const char *uuid)
{
	return file_join(d->gears, uuid);
}

char *
node_dirs_layer(const struct node_dirs *d, const char *digest)
{
	const char *hex = strchr(digest, ':');

	return file_join(d->layers, hex == NULL ? digest : hex + 1);
}

char *
node_dirs_instance(const struct node_dirs *d, const char *id)
{
	return file_join(d->inst, id);
}

int64_t
node_dirs_free_percent(const struct node_dirs *d)
{
	struct statvfs fs;

	if (statvfs(d->data, &fs) < 0 || fs.f_blocks == 0)
		return 100;
	return (int64_t)(fs.f_bavail * 100 / fs.f_blocks);
}

int
node_dirs_check_room(const struct node_dirs *d, int64_t percent, struct err *e)
{
	int64_t has = node_dirs_free_percent(d);

	if (has >= percent)
		return 0;
	return err_set(e, ERR_LIMIT, "disk",
	    "the node's disk is nearly full (%lld %% is free): nothing new is begun until the "
	    "administrator makes room",
	    (long long)has);
}
