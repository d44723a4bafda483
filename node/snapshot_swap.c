#include "node/snapshot_swap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "node/container_ids.h"

enum { PASSES = 5, PHASE_MAX = 16, DIR_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };

static const char storage_in_data[] = "restore/new/data/.pinion-storage";

/* The directories of one swap; -1: not there. */
struct swap {
	int gear, data, new_data, old_data, storage, new_storage, old_storage;
};

static void
swap_fini(struct swap *s)
{
	file_close(s->gear);
	file_close(s->data);
	file_close(s->new_data);
	file_close(s->old_data);
	file_close(s->storage);
	file_close(s->new_storage);
	file_close(s->old_storage);
}

static char *
restore_dir(const char *gear_dir)
{
	return file_join(gear_dir, "restore");
}

/* Opens rel step by step, no link followed. */
static int
open_in(int gear, const char *rel, bool make)
{
	AUTO(free) char *path = xstrdup(rel);
	int fd = openat(gear, ".", DIR_FLAGS);
	char *save = NULL;

	for (char *p = strtok_r(path, "/", &save); p != NULL && fd >= 0;
	     p = strtok_r(NULL, "/", &save)) {
		int next;

		if (make)
			(void)mkdirat(fd, p, 0711);
		next = openat(fd, p, DIR_FLAGS);
		close(fd);
		fd = next;
	}
	return fd;
}

static int
open_all(struct swap *s, const char *gear_dir, struct err *e)
{
	*s = (struct swap){ -1, -1, -1, -1, -1, -1, -1 };
	s->gear = open(gear_dir, DIR_FLAGS);
	if (s->gear < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", gear_dir);
	s->data = open_in(s->gear, "data", false);
	s->new_data = open_in(s->gear, "restore/new/data", false);
	s->old_data = open_in(s->gear, "restore/old/data", true);
	s->storage = open_in(s->gear, "storage", false);
	s->new_storage = open_in(s->gear, storage_in_data, false);
	s->old_storage = open_in(s->gear, "restore/old/storage", true);
	if (s->data < 0 || s->old_data < 0 || s->old_storage < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open the data of %s", gear_dir);
	return 0;
}

static bool
is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* All entries of one directory into another; -1 with errno. */
static int
move_all(int from, int to)
{
	bool is_empty = false;

	for (int pass = 0; pass < PASSES && !is_empty; pass++) {
		int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *d = fd < 0 ? NULL : fdopendir(fd);
		struct dirent *de;

		if (d == NULL) {
			file_close(fd);
			return -1;
		}
		is_empty = true;
		while ((de = readdir(d)) != NULL) {
			if (is_dots(de->d_name))
				continue;
			is_empty = false;
			if (renameat(from, de->d_name, to, de->d_name) < 0 && errno != ENOENT) {
				int saved = errno;

				closedir(d);
				errno = saved;
				return -1;
			}
		}
		closedir(d);
	}
	return 0;
}

/* Those of storage that the snapshot has too: from one place to the other. */
static int
move_storage(const struct swap *s, int from, int to)
{
	int fd = s->new_storage < 0 ? -1 : openat(s->new_storage, ".", DIR_FLAGS);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	int rc = 0;

	while (rc == 0 && d != NULL && (de = readdir(d)) != NULL) {
		struct stat st;

		if (is_dots(de->d_name) || s->storage < 0 ||
		    fstatat(from, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
			continue;
		/* Only what is a persistent path of this gear. */
		if (to == s->storage &&
		    faccessat(s->old_storage, de->d_name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		rc = renameat(from, de->d_name, to, de->d_name);
	}
	if (d != NULL)
		closedir(d);
	return rc;
}

static int
write_phase(const char *gear_dir, const char *phase, struct err *e)
{
	AUTO(free) char *path = xasprintf("%s/restore/phase", gear_dir);

	return file_replace(path, phase, strlen(phase), 0600, e);
}

static int
sync_volume(const struct swap *s, struct err *e)
{
	return syncfs(s->gear) < 0 ? err_set(e, ERR_SYSTEM, NULL, "write the gear's disk") : 0;
}

/* Old data out of the way; what fails is taken back. */
static int
move_out(const struct swap *s, const char *gear_dir, struct err *e)
{
	struct err unused = { 0 };
	int sys;

	if (move_all(s->data, s->old_data) == 0 && move_storage(s, s->storage, s->old_storage) == 0)
		return sync_volume(s, e);
	sys = errno;
	if (move_all(s->old_data, s->data) < 0 ||
	    (s->storage >= 0 && move_all(s->old_storage, s->storage) < 0))
		log_error("restore_not_undone", LOG_STR("dir", gear_dir));
	else if (snapshot_swap_discard(gear_dir, &unused) < 0)
		log_warn("restore_remains", LOG_STR("dir", gear_dir), LOG_ERR(&unused));
	errno = sys;
	return err_set(e, ERR_SYSTEM, NULL, "move the old data of %s", gear_dir);
}

static int
move_in(const struct swap *s, const char *gear_dir, struct err *e)
{
	if (move_storage(s, s->new_storage, s->storage) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "restore the persistent paths of %s", gear_dir);
	if (s->new_data >= 0)
		(void)unlinkat(s->new_data, ".pinion-storage", AT_REMOVEDIR);
	if (s->new_data >= 0 && move_all(s->new_data, s->data) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "restore the data of %s", gear_dir);
	return sync_volume(s, e);
}

/* The disk has room for what comes next; the repository stays until all is discarded. */
static int
drop_old(const char *gear_dir, struct err *e)
{
	AUTO(free) char *old = xasprintf("%s/restore/old", gear_dir);
	AUTO(free) char *data = xasprintf("%s/restore/new/data", gear_dir);

	return file_remove_tree(old, e) < 0 ? -1 : file_remove_tree(data, e);
}

/* From the phase that is written down on. */
static int
go_on(const char *gear_dir, const char *phase, struct err *e)
{
	AUTO_FINI(swap_fini) struct swap s = { -1, -1, -1, -1, -1, -1, -1 };

	if (open_all(&s, gear_dir, e) < 0)
		return -1;
	if (strcmp(phase, "out") == 0) {
		if (move_out(&s, gear_dir, e) < 0)
			return -1;
		fault_point("restore_out");
		if (write_phase(gear_dir, "in", e) < 0)
			return -1;
	}
	if (move_in(&s, gear_dir, e) < 0)
		return -1;
	fault_point("restore_in");
	return write_phase(gear_dir, "done", e) < 0 ? -1 : drop_old(gear_dir, e);
}

int
snapshot_swap_discard(const char *gear_dir, struct err *e)
{
	AUTO(free) char *dir = restore_dir(gear_dir);
	AUTO(free) char *phase = file_join(dir, "phase");

	/* First: what is half removed must not be taken for a swap. */
	(void)unlink(phase);
	return file_remove_tree(dir, e);
}

int
snapshot_swap_begin(const char *gear_dir, char **out_dir, struct err *e)
{
	AUTO(free) char *dir = restore_dir(gear_dir);
	AUTO(free) char *fresh = file_join(dir, "new");

	if (snapshot_swap_discard(gear_dir, e) < 0 || file_mkdirs(dir, 0711, e) < 0)
		return -1;
	if (mkdir(fresh, 0750) < 0 || chown(fresh, CONTAINER_UID, CONTAINER_UID) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "make %s", fresh);
	*out_dir = STEAL(fresh);
	return 0;
}

int
snapshot_swap_ready(const char *gear_dir, struct err *e)
{
	AUTO(file_close) int fd = open(gear_dir, DIR_FLAGS);

	if (fd < 0 || syncfs(fd) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "write the gear's disk");
	return write_phase(gear_dir, "ready", e);
}

/* "" where nothing is under way. */
static int
read_phase(const char *gear_dir, struct buf *out, struct err *e)
{
	AUTO(free) char *path = xasprintf("%s/restore/phase", gear_dir);

	buf_adds(out, "");
	return file_exists(path) ? file_read(path, PHASE_MAX, out, e) : 0;
}

int
snapshot_swap_commit(const char *gear_dir, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf phase = { 0 };

	if (read_phase(gear_dir, &phase, e) < 0)
		return -1;
	if (str_eq(buf_str(&phase), "done"))
		return 0;
	if (!str_eq(buf_str(&phase), "ready"))
		return err_set(e, ERR_NOT_FOUND, NULL, "nothing was unpacked to be restored");
	fault_point("restore_unpacked");
	if (write_phase(gear_dir, "out", e) < 0)
		return -1;
	fault_point("restore_journal");
	return go_on(gear_dir, "out", e);
}

int
snapshot_swap_recover(const char *gear_dir, struct err *e)
{
	AUTO(free) char *dir = restore_dir(gear_dir);
	AUTO_FINI(buf_fini) struct buf phase = { 0 };

	if (!file_exists(dir))
		return 0;
	if (read_phase(gear_dir, &phase, e) < 0)
		return -1;
	if (phase.n == 0)
		return snapshot_swap_discard(gear_dir, e);
	if (str_eq(buf_str(&phase), "ready") || str_eq(buf_str(&phase), "done"))
		return 0; /* the broker says what becomes of it */
	log_info("restore_goes_on", LOG_STR("dir", gear_dir), LOG_STR("phase", phase.p));
	return go_on(gear_dir, phase.p, e);
}
