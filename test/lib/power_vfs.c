#include "test/lib/power_vfs.h"

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <sqlite3.h>
#include <string.h>

enum { SECTOR = 512 };

/* What was done to a file since its last sync. */
struct change {
	sqlite3_int64 at;
	char *data; /* owned; NULL: truncation to `at` */
	size_t n;
};

struct tracked {
	struct tracked *next;
	char *path; /* owned */
	struct buf synced;
	struct change *changes; /* owned */
	size_t change_n, change_cap;
	bool is_deleted;
	bool is_gone; /* and stays so */
};

struct power_vfs {
	sqlite3_vfs vfs;
	sqlite3_vfs *real;    /* borrowed */
	pthread_mutex_t lock; /* recursive; guards all below */
	const char *dir;      /* borrowed */
	struct tracked *files;
	power_vfs_tick_fn *on_tick;
	void *tick_arg;
	int fail_n[POWER_VFS_FAULTS];
	int failed;
};

struct power_file {
	sqlite3_file base;
	struct power_vfs *v;
	struct tracked *t;  /* NULL: not below dir */
	sqlite3_file *real; /* lies behind this struct */
};

/* --- what the disk holds --- */

static void
change_fini(struct change *c)
{
	free(c->data);
}

static void
forget_changes(struct tracked *t)
{
	for (size_t i = 0; i < t->change_n; i++)
		change_fini(&t->changes[i]);
	t->change_n = 0;
}

static void
resize(struct buf *b, size_t n)
{
	if (n > b->n) {
		size_t more = n - b->n;

		buf_reserve(b, more);
		memset(b->p + b->n, 0, more);
		b->n = n;
		b->p[n] = '\0';
	} else {
		buf_truncate(b, n);
	}
}

static void
change_bytes(struct buf *b, const struct change *c, size_t from, size_t n)
{
	size_t at = (size_t)c->at + from;

	if (b->n < at + n)
		resize(b, at + n);
	memcpy(b->p + at, c->data + from, n);
}

static void
add_change(struct tracked *t, sqlite3_int64 at, const void *data, size_t n)
{
	struct change *c;

	if (t->change_n == t->change_cap) {
		t->change_cap = t->change_cap == 0 ? 16 : t->change_cap * 2;
		t->changes = xreallocarray(t->changes, t->change_cap, sizeof *t->changes);
	}
	c = &t->changes[t->change_n++];
	*c = (struct change){ .at = at, .n = n };
	if (data != NULL) {
		c->data = xmalloc(n == 0 ? 1 : n);
		memcpy(c->data, data, n);
	}
}

static void
apply_all(struct buf *b, const struct tracked *t)
{
	for (size_t i = 0; i < t->change_n; i++) {
		const struct change *c = &t->changes[i];

		if (c->data == NULL)
			resize(b, (size_t)c->at);
		else
			change_bytes(b, c, 0, c->n);
	}
}

static bool
flip(uint64_t *random)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return (*random >> 60) & 1;
}

static void
apply_torn(struct buf *b, const struct change *c, uint64_t *random)
{
	for (size_t from = 0, n; from < c->n; from += n) {
		n = SECTOR - ((size_t)c->at + from) % SECTOR;
		if (n > c->n - from)
			n = c->n - from;
		if (flip(random))
			change_bytes(b, c, from, n);
	}
}

static void
apply_some(struct buf *b, const struct tracked *t, bool is_torn, uint64_t *random)
{
	for (size_t i = 0; i < t->change_n; i++) {
		const struct change *c = &t->changes[i];

		if (c->data != NULL && is_torn)
			apply_torn(b, c, random);
		else if (!flip(random))
			continue;
		else if (c->data == NULL)
			resize(b, (size_t)c->at);
		else
			change_bytes(b, c, 0, c->n);
	}
}

static void
lock(struct power_vfs *v)
{
	pthread_mutex_lock(&v->lock);
}

static void
unlock(struct power_vfs *v)
{
	pthread_mutex_unlock(&v->lock);
}

void
power_vfs_image(struct power_vfs *v, const char *out, enum power_vfs_loss loss, uint64_t seed)
{
	uint64_t random = seed;

	lock(v);
	for (struct tracked *t = v->files; t != NULL; t = t->next) {
		AUTO_FINI(buf_fini) struct buf b = { 0 };
		AUTO(free) char *path = file_join(out, strrchr(t->path, '/') + 1);
		struct err e = { 0 };

		/* A deleted file may come back when the directory was not synced. */
		if (t->is_gone || (t->is_deleted && (loss < POWER_VFS_WRITES || flip(&random))))
			continue;
		buf_add(&b, t->synced.p, t->synced.n);
		if (loss == POWER_VFS_NONE)
			apply_all(&b, t);
		else if (loss != POWER_VFS_ALL)
			apply_some(&b, t, loss == POWER_VFS_TORN, &random);
		if (file_replace_fast(path, b.p, b.n, 0600, &e) < 0)
			abort();
	}
	unlock(v);
}

static struct tracked *
track(struct power_vfs *v, const char *path)
{
	struct tracked *t;
	struct err e = { 0 };

	if (path == NULL || strncmp(path, v->dir, strlen(v->dir)) != 0)
		return NULL;
	for (t = v->files; t != NULL; t = t->next) {
		if (strcmp(t->path, path) == 0)
			break;
	}
	if (t == NULL) {
		t = xcalloc(1, sizeof *t);
		t->path = xstrdup(path);
		t->next = v->files;
		v->files = t;
		buf_adds(&t->synced, "");
		if (file_exists(path) && file_read(path, SIZE_MAX / 2, &t->synced, &e) < 0)
			abort();
	} else if (t->is_deleted) {
		buf_clear(&t->synced);
		forget_changes(t);
		t->is_deleted = t->is_gone = false;
	}
	return t;
}

/* --- faults --- */

static bool
strike(struct power_vfs *v, enum power_vfs_fault fault)
{
	if (v->fail_n[fault] == 0)
		return false;
	if (v->fail_n[fault] > 0)
		v->fail_n[fault]--;
	v->failed++;
	return true;
}

void
power_vfs_fail(struct power_vfs *v, enum power_vfs_fault fault, int n)
{
	lock(v);
	v->fail_n[fault] = n;
	unlock(v);
}

int
power_vfs_failed(struct power_vfs *v)
{
	int n;

	lock(v);
	n = v->failed;
	v->failed = 0;
	unlock(v);
	return n;
}

static void
tick(struct power_vfs *v)
{
	if (v->on_tick != NULL)
		v->on_tick(v, v->tick_arg);
}

void
power_vfs_on_tick(struct power_vfs *v, power_vfs_tick_fn *fn, void *arg)
{
	lock(v);
	v->on_tick = fn;
	v->tick_arg = arg;
	unlock(v);
}

/* --- files --- */

static sqlite3_file *
real_of(sqlite3_file *f)
{
	return ((struct power_file *)f)->real;
}

static int
x_close(sqlite3_file *f)
{
	return real_of(f)->pMethods->xClose(real_of(f));
}

static int
x_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	return real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}

static int
real_write(struct power_file *pf, const void *p, int n, sqlite3_int64 at)
{
	int rc = pf->real->pMethods->xWrite(pf->real, p, n, at);

	if (rc == SQLITE_OK)
		add_change(pf->t, at, p, (size_t)n);
	return rc;
}

static int
tracked_write(struct power_file *pf, const void *p, int n, sqlite3_int64 at)
{
	sqlite3_int64 size = 0;

	(void)pf->real->pMethods->xFileSize(pf->real, &size);
	if (at + n > size && strike(pf->v, POWER_VFS_FULL))
		return SQLITE_FULL;
	if (strike(pf->v, POWER_VFS_WRITE)) {
		(void)real_write(pf, p, n / 2, at);
		return SQLITE_IOERR_WRITE;
	}
	return real_write(pf, p, n, at);
}

static int
x_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	struct power_file *pf = (struct power_file *)f;
	int rc;

	if (pf->t == NULL)
		return pf->real->pMethods->xWrite(pf->real, p, n, at);
	lock(pf->v);
	tick(pf->v);
	rc = tracked_write(pf, p, n, at);
	tick(pf->v);
	unlock(pf->v);
	return rc;
}

static int
x_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct power_file *pf = (struct power_file *)f;
	int rc;

	if (pf->t == NULL)
		return pf->real->pMethods->xTruncate(pf->real, size);
	lock(pf->v);
	tick(pf->v);
	rc = pf->real->pMethods->xTruncate(pf->real, size);
	if (rc == SQLITE_OK)
		add_change(pf->t, size, NULL, 0);
	tick(pf->v);
	unlock(pf->v);
	return rc;
}

static int
tracked_sync(struct power_file *pf, int flags)
{
	int rc;

	if (strike(pf->v, POWER_VFS_SYNC))
		return SQLITE_IOERR_FSYNC;
	if (strike(pf->v, POWER_VFS_SYNC_LOST)) {
		forget_changes(pf->t);
		return SQLITE_IOERR_FSYNC;
	}
	rc = pf->real->pMethods->xSync(pf->real, flags);
	if (rc == SQLITE_OK) {
		apply_all(&pf->t->synced, pf->t);
		forget_changes(pf->t);
	}
	return rc;
}

static int
x_sync(sqlite3_file *f, int flags)
{
	struct power_file *pf = (struct power_file *)f;
	int rc;

	if (pf->t == NULL)
		return pf->real->pMethods->xSync(pf->real, flags);
	lock(pf->v);
	tick(pf->v);
	rc = tracked_sync(pf, flags);
	tick(pf->v);
	unlock(pf->v);
	return rc;
}

static int
x_file_size(sqlite3_file *f, sqlite3_int64 *out)
{
	return real_of(f)->pMethods->xFileSize(real_of(f), out);
}

static int
x_lock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int
x_unlock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int
x_check_lock(sqlite3_file *f, int *out)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int
x_control(sqlite3_file *f, int op, void *arg)
{
	return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int
x_sector(sqlite3_file *f)
{
	return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int
x_device(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int
x_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **out)
{
	return real_of(f)->pMethods->xShmMap(real_of(f), region, size, extend, out);
}

static int
x_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
	return real_of(f)->pMethods->xShmLock(real_of(f), at, n, flags);
}

static void
x_shm_barrier(sqlite3_file *f)
{
	real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int
x_shm_unmap(sqlite3_file *f, int remove)
{
	return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}

/* Version 2: shared memory, but no mapped reads. */
static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = x_close,
	.xRead = x_read,
	.xWrite = x_write,
	.xTruncate = x_truncate,
	.xSync = x_sync,
	.xFileSize = x_file_size,
	.xLock = x_lock,
	.xUnlock = x_unlock,
	.xCheckReservedLock = x_check_lock,
	.xFileControl = x_control,
	.xSectorSize = x_sector,
	.xDeviceCharacteristics = x_device,
	.xShmMap = x_shm_map,
	.xShmLock = x_shm_lock,
	.xShmBarrier = x_shm_barrier,
	.xShmUnmap = x_shm_unmap,
};

/* --- the layer --- */

static int
x_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *f, int flags, int *out_flags)
{
	struct power_vfs *v = vfs->pAppData;
	struct power_file *pf = (struct power_file *)f;
	int rc;

	*pf = (struct power_file){ .v = v, .real = (sqlite3_file *)(pf + 1) };
	rc = v->real->xOpen(v->real, path, pf->real, flags, out_flags);
	if (rc != SQLITE_OK || pf->real->pMethods == NULL)
		return rc;
	pf->base.pMethods = &methods;
	lock(v);
	pf->t = track(v, path);
	unlock(v);
	return SQLITE_OK;
}

static int
x_delete(sqlite3_vfs *vfs, const char *path, int sync_dir)
{
	struct power_vfs *v = vfs->pAppData;
	int rc = v->real->xDelete(v->real, path, sync_dir);

	lock(v);
	for (struct tracked *t = v->files; t != NULL && rc == SQLITE_OK; t = t->next) {
		if (strcmp(t->path, path) == 0)
			t->is_deleted = true;
		/* With the directory synced no deleted file comes back, this one or another. */
		if (t->is_deleted && sync_dir) {
			buf_clear(&t->synced);
			forget_changes(t);
			t->is_gone = true;
		}
	}
	unlock(v);
	return rc;
}

struct power_vfs *
power_vfs_new(const char *dir)
{
	struct power_vfs *v = xcalloc(1, sizeof *v);
	pthread_mutexattr_t attr;

	v->real = sqlite3_vfs_find("unix");
	assert(v->real != NULL);
	v->vfs = *v->real;
	v->vfs.pNext = NULL;
	v->vfs.zName = "power";
	v->vfs.pAppData = v;
	v->vfs.szOsFile = (int)sizeof(struct power_file) + v->real->szOsFile;
	v->vfs.xOpen = x_open;
	v->vfs.xDelete = x_delete;
	v->dir = dir;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&v->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	if (sqlite3_vfs_register(&v->vfs, 1) != SQLITE_OK)
		abort();
	return v;
}

void
power_vfs_free(struct power_vfs *take_v)
{
	if (take_v == NULL)
		return;
	sqlite3_vfs_unregister(&take_v->vfs);
	for (struct tracked *t = take_v->files, *next; t != NULL; t = next) {
		next = t->next;
		forget_changes(t);
		free(t->changes);
		buf_fini(&t->synced);
		free(t->path);
		free(t);
	}
	pthread_mutex_destroy(&take_v->lock);
	free(take_v);
}
