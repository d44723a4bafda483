/* Archives of cartridges: what is let through unpacks without a word of complaint on the node. */
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
#include "lib/oci/oci_cart.h"
#include "lib/oci/oci_layer.h"

enum { INPUT_MAX = 64 * 1024, FILES = 64, BYTES = 1 << 20 };

static void
check_with(bool is_so, const struct err *e)
{
	if (is_so)
		return;
	fprintf(stderr, "%s\n", e->text);
	abort();
}

static void
unpack(int tar)
{
	const struct oci_layer_opts o = {
		.prefix = "", .subdir = "", .files_max = 4 * FILES * 32, .bytes_max = 4 * BYTES
	};
	AUTO_FINI(oci_layer_result_fini) struct oci_layer_result r = { 0 };
	char top[] = "/dev/shm/pinion-fuzz-cart.XXXXXX";
	AUTO(file_close) int dir = -1;
	struct err e = { 0 };
	struct err ignored = { 0 };
	int rc;

	check_with(mkdtemp(top) != NULL, &e);
	dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check_with(lseek(tar, 0, SEEK_SET) == 0, &e);
	rc = oci_layer_unpack(tar, dir, &o, &r, &e);
	(void)!file_remove_tree(top, &ignored);
	check_with(rc == 0, &e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct oci_cart_opts o = { .files_max = FILES, .bytes_max = BYTES, .ratio_max = 100 };
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	AUTO(file_close) int in = memfd_create("in", MFD_CLOEXEC);
	AUTO(file_close) int out = memfd_create("out", MFD_CLOEXEC);
	struct err e = { 0 };

	if (n > INPUT_MAX)
		return 0;
	if (n % 2 == 0)
		o.manifest = STR("Name: x\n");
	check_with(in >= 0 && out >= 0 && (n == 0 || write(in, data, n) == (ssize_t)n), &e);
	if (oci_cart_pack(in, out, &o, &text, &e) == 0)
		unpack(out);
	else
		check_with(e.code != ERR_NONE && e.text[0] != '\0', &e);
	return 0;
}
