/* Archives into a directory: whatever comes, nothing is made outside it, and the digest told on the
 * way is that of the tree. */
#include "test/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/oci/oci_layer.h"
#include "lib/oci/oci_tar.h"

enum { INPUT_MAX = 64 * 1024 };
static char top[] = "/dev/shm/pinion-fuzz-layer.XXXXXX";

static void
remove_top(void)
{
	struct err e = { 0 };

	(void)!file_remove_tree(top, &e);
}

/* Made once: TOP/in, the target, and a witness beside it. */
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

static void
check_outside(void)
{
	AUTO(free) char *in = file_join(top, "in");
	struct stat st;

	/* One entry, a directory, and no more links to it than its own children make. */
	check(lstat(top, &st) == 0 && st.st_nlink == 3);
	check(lstat(in, &st) == 0 && S_ISDIR(st.st_mode));
}

static void
check_digest(int dir, const struct oci_layer_result *r, const char *prefix)
{
	AUTO(free) char *digest = NULL;
	struct err e = { 0 };
	int64_t size = 0;

	digest = oci_tar_digest(dir, prefix, &size, &e);
	check(digest != NULL && strcmp(digest, r->digest) == 0 && size == r->size);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct oci_layer_opts o = { .prefix = "app-root/runtime/repo",
		.subdir = n % 5 == 0 ? "a" : "",
		.files_max = 64,
		.bytes_max = 1 << 20,
		.fix_scripts = n % 2 == 0,
		.is_artifact = n % 3 == 0 };
	AUTO_FINI(oci_layer_result_fini) struct oci_layer_result r = { 0 };
	AUTO(free) char *in = NULL;
	AUTO(file_close) int tar = memfd_create("tar", MFD_CLOEXEC);
	AUTO(file_close) int dir = -1;
	struct err e = { 0 };

	if (n > INPUT_MAX)
		return 0;
	prepare();
	in = file_join(top, "in");
	check(mkdir(in, 0755) == 0);
	dir = open(in, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(dir >= 0 && tar >= 0 && (n == 0 || write(tar, data, n) == (ssize_t)n));
	check(lseek(tar, 0, SEEK_SET) == 0);
	if (oci_layer_unpack(tar, dir, &o, &r, &e) == 0)
		check_digest(dir, &r, o.prefix);
	else
		check(e.code != ERR_NONE && e.text[0] != '\0' && r.digest == NULL);
	check_outside();
	check(file_remove_tree(in, &e) == 0);
	return 0;
}
