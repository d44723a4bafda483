#include "broker/repo_disk.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

static void
dir_close(DIR *d)
{
	if (d != NULL)
		(void)closedir(d);
}
DEFINE_AUTO(DIR *, dir_close)

static const char repo_config[] =
    "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n";

/* Old repositories have harmless flaws that other hosts take: they are no reason to refuse one. */
static const char fixed_config[] =
    "[safe]\n\tdirectory = *\n"
    "[core]\n\tfsync = committed\n\tfsyncMethod = batch\n\tbigFileThreshold = 16m\n"
    "\tpackedGitLimit = 64m\n\tpackedGitWindowSize = 8m\n"
    "[pack]\n\tthreads = 1\n\twindowMemory = 32m\n\tdeltaCacheSize = 16m\n"
    "[receive]\n\tprocReceiveRefs = refs\n\tfsckObjects = true\n\tautogc = false\n"
    "\tadvertiseAtomic = true\n\tadvertisePushOptions = false\n\tunpackLimit = 100\n"
    "[fetch]\n\tunpackLimit = 1\n\tfsckObjects = true\n"
    "[receive \"fsck\"]\n\tzeroPaddedFilemode = ignore\n\tmissingSpaceBeforeDate = ignore\n"
    "\tmissingSpaceBeforeEmail = ignore\n\tmissingNameBeforeEmail = ignore\n"
    "\tbadTimezone = ignore\n\tbadDate = ignore\n\tbadDateOverflow = ignore\n"
    "\tmissingEmail = ignore\n\tbadName = ignore\n\tbadEmail = ignore\n"
    "\tmissingTaggerEntry = ignore\n\tbadFilemode = ignore\n\tduplicateEntries = warn\n"
    "[fetch \"fsck\"]\n\tzeroPaddedFilemode = ignore\n\tmissingSpaceBeforeDate = ignore\n"
    "\tmissingSpaceBeforeEmail = ignore\n\tmissingNameBeforeEmail = ignore\n"
    "\tbadTimezone = ignore\n\tbadDate = ignore\n\tbadDateOverflow = ignore\n"
    "\tmissingEmail = ignore\n\tbadName = ignore\n\tbadEmail = ignore\n"
    "\tmissingTaggerEntry = ignore\n\tbadFilemode = ignore\n\tduplicateEntries = warn\n"
    "[uploadpack]\n\tallowFilter = true\n"
    "[gc]\n\tauto = 0\n\tautoDetach = false\n\tpackRefs = false\n"
    "[http]\n\tlowSpeedLimit = 1000\n\tlowSpeedTime = 60\n"
    "[init]\n\tdefaultBranch = master\n";

int
repo_disk_config(const char *path, const char *hooks, int64_t pack_max_mb, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	buf_adds(&b, fixed_config);
	buf_addf(&b, "[core]\n\thooksPath = %s\n", hooks);
	if (pack_max_mb > 0)
		buf_addf(&b, "[receive]\n\tmaxInputSize = %lldm\n", (long long)pack_max_mb);
	return file_replace(path, b.p, b.n, 0600, e);
}

int
repo_disk_make(const char *dir, struct err *e)
{
	static const char *const dirs[] = { "objects/info", "objects/pack", "refs/heads",
		"refs/tags" };
	AUTO(free) char *config = file_join(dir, "config");
	AUTO(free) char *head = file_join(dir, "HEAD");
	static const char first[] = "ref: refs/heads/master\n";

	if (file_exists(config))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		AUTO(free) char *path = file_join(dir, dirs[i]);

		if (file_mkdirs(path, 0700, e) < 0)
			return -1;
	}
	if (!file_exists(head) && file_replace_fast(head, first, sizeof first - 1, 0600, e) < 0)
		return -1;
	return file_replace_fast(config, repo_config, sizeof repo_config - 1, 0600, e);
}

static int
by_name(const void *a, const void *b)
{
	const struct wire_ref *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

void
repo_disk_sweep(const char *dir)
{
	AUTO(free) char *objects = file_join(dir, "objects");
	AUTO(dir_close) DIR *d = opendir(objects);
	const struct dirent *de;
	struct err e = { 0 };

	while (d != NULL && (de = readdir(d)) != NULL) {
		AUTO(free) char *path = NULL;

		if (strncmp(de->d_name, "tmp_objdir-", strlen("tmp_objdir-")) != 0)
			continue;
		path = file_join(objects, de->d_name);
		if (file_remove_tree(path, &e) < 0)
			log_warn("quarantine_not_removed", LOG_STR("path", path), LOG_ERR(&e));
	}
}

/* Refs in files of their own would hide those of packed-refs. */
static int
drop_loose(const char *dir, const char *sub, struct err *e)
{
	AUTO(free) char *path = file_join(dir, sub);

	if (rmdir(path) < 0 && errno != ENOENT && file_remove_tree(path, e) < 0)
		return -1;
	return file_mkdirs(path, 0700, e);
}

int
repo_disk_refs(const char *dir, const struct wire_refs *refs, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	AUTO(free) char *packed = file_join(dir, "packed-refs");
	AUTO(free) char *head = file_join(dir, "HEAD");
	AUTO(free) char *head_text = NULL;
	AUTO(free_ptr) const struct wire_ref **v = xcalloc(refs->refs.n + 1, sizeof *v);

	if (drop_loose(dir, "refs/heads", e) < 0 || drop_loose(dir, "refs/tags", e) < 0)
		return -1;
	for (size_t i = 0; i < refs->refs.n; i++)
		v[i] = &refs->refs.v[i];
	qsort(v, refs->refs.n, sizeof *v, by_name);
	buf_adds(&b, "# pack-refs with: sorted \n");
	for (size_t i = 0; i < refs->refs.n; i++)
		buf_addf(&b, "%s %s\n", v[i]->oid, v[i]->name);
	if (file_replace_fast(packed, b.p, b.n, 0600, e) < 0)
		return -1;
	if (refs->head == NULL || *refs->head == '\0')
		return 0;
	head_text = xasprintf("ref: %s\n", refs->head);
	return file_replace_fast(head, head_text, strlen(head_text), 0600, e);
}
