/* Snapshots into a directory: whatever comes, nothing is made outside it, and nothing in it but
 * what has a name there. The first byte chooses cartridges' renaming, services and the kind. */
#include "test/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/oci/oci_snapshot.h"

enum { INPUT_MAX = 64 * 1024 };
static char top[] = "/dev/shm/pinion-fuzz-snapshot.XXXXXX";

static void
remove_top(void)
{
	struct err e = { 0 };

	(void)!file_remove_tree(top, &e);
}

/* Made once; the name that it gets may hold an X too. */
static void
prepare(void)
{
	static bool is_ready;

	if (is_ready)
		return;
	check(mkdtemp(top) != NULL);
	atexit(remove_top);
	is_ready = true;
}

static bool
is_known(const char *name)
{
	static const char *const names[] = { "data", "git", "deployments", "deployment", "parts",
		"merged" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

static void
check_top(const char *in)
{
	DIR *d = opendir(in);
	struct dirent *de;
	struct stat st;

	check(lstat(top, &st) == 0 && st.st_nlink == 3);
	while ((de = readdir(d)) != NULL)
		check(de->d_name[0] == '.' || is_known(de->d_name));
	closedir(d);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const renames[] = { "s|app/data|app-root/data|", "s#\\(a*\\)#\\1&#g",
		"s/^/..\\//", "broken" };
	AUTO_FINI(str_list_fini) struct str_list transforms = { 0 };
	AUTO_FINI(str_list_fini) struct str_list here = { 0 };
	AUTO_FINI(str_list_fini) struct str_list apart = { 0 };
	const struct oci_snapshot_in o = { .app_name = "app",
		.transforms = &transforms,
		.wants_git = n % 2 == 0,
		.is_binary = n > 0 && (data[0] & 16u) != 0,
		.here = &here,
		.apart = &apart,
		.files_max = 64,
		.bytes_max = 1 << 20 };
	AUTO_FINI(oci_snapshot_result_fini) struct oci_snapshot_result r = { 0 };
	AUTO(free) char *in = NULL;
	AUTO(file_close) int tar = memfd_create("tar", MFD_CLOEXEC);
	AUTO(file_close) int dir = -1;
	struct err e = { 0 };

	if (n == 0 || n > INPUT_MAX)
		return 0;
	prepare();
	for (size_t i = 0; i < ARRAY_LEN(renames); i++) {
		if ((data[0] & 1u << i) != 0)
			str_list_add(&transforms, renames[i]);
	}
	str_list_add(&here, "redis");
	str_list_add(&apart, "postgresql-9.2");
	in = file_join(top, "in");
	check(mkdir(in, 0755) == 0);
	dir = open(in, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(dir >= 0 && tar >= 0 && write(tar, data + 1, n - 1) == (ssize_t)n - 1);
	check(lseek(tar, 0, SEEK_SET) == 0);
	if (oci_snapshot_read(tar, dir, &o, &r, &e) < 0 ||
	    oci_snapshot_parts_sort(dir, &o, &r, &e) < 0)
		check(e.code != ERR_NONE && e.text[0] != '\0');
	check_top(in);
	check(file_remove_tree(in, &e) == 0);
	return 0;
}
