/* oci_tar, oci_layer, oci_image: deterministic layers, and what comes in from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/codec/codec.h"
#include "lib/oci/oci_image.h"
#include "lib/oci/oci_layer.h"
#include "lib/oci/oci_tar.h"
#include "test/lib/tree.h"

static const struct oci_layer_opts defaults = { .prefix = "app-root/runtime/repo",
	.subdir = "",
	.files_max = 100,
	.bytes_max = 1 << 20,
	.fix_scripts = true };

static void
put_buf(const void *p, size_t n, void *arg)
{
	buf_add(arg, p, n);
}

/* A tree by our writer, read back by libarchive: it is a tar that others understand. */
static void
test_tar(void **state)
{
	static const char *const want[] = { "top/", "top/sub/", "top/sub/a-b", "top/sub/a/",
		"top/sub/a/x", "top/sub/link" };
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct oci_tar t = { .put = put_buf, .arg = &b };
	struct archive *a = archive_read_new();
	struct archive_entry *en = NULL;
	char *dir = tree_new();
	int fd = tree_open(dir);
	struct err e = { 0 };
	size_t n = 0;

	(void)state;
	tree_put(dir, "a/x", "content", 0755);
	tree_put(dir, "a-b", "", 0);
	tree_link(dir, "link", "a/x");
	assert_int_equal(oci_tar_tree(&t, fd, "top/sub", &e), 0);
	oci_tar_end(&t);
	assert_int_equal(t.total, b.n);
	assert_int_equal(b.n % 512, 0);
	archive_read_support_format_tar(a);
	assert_int_equal(archive_read_open_memory(a, b.p, b.n), ARCHIVE_OK);
	while (archive_read_next_header(a, &en) == ARCHIVE_OK) {
		assert_true(n < ARRAY_LEN(want));
		assert_string_equal(archive_entry_pathname(en), want[n++]);
		assert_int_equal(archive_entry_uid(en), OCI_TAR_UID);
		assert_int_equal(archive_entry_mtime(en), 0);
		if (n == 5) {
			char content[16] = "";

			assert_int_equal(archive_entry_perm(en), 0755);
			assert_int_equal(archive_read_data(a, content, sizeof content), 7);
			assert_string_equal(content, "content");
		}
	}
	assert_int_equal(n, ARRAY_LEN(want));
	archive_read_free(a);
	close(fd);
	tree_remove(dir);
}

/* Long names go through pax headers; whiteouts are written as the image format has them. */
static void
test_tar_names(void **state)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct oci_tar t = { .put = put_buf, .arg = &b };
	struct archive *a = archive_read_new();
	struct archive_entry *en = NULL;
	char *dir = tree_new();
	AUTO(free) char *gone = xasprintf("%s/gone", dir);
	char name[241];
	int fd = tree_open(dir), seen = 0;
	struct err e = { 0 };

	(void)state;
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	tree_put(dir, name, "1", 0);
	bool has_whiteout = mknod(gone, S_IFCHR | 0600, makedev(0, 0)) == 0;
	assert_int_equal(oci_tar_tree(&t, fd, "", &e), 0);
	oci_tar_end(&t);
	archive_read_support_format_tar(a);
	assert_int_equal(archive_read_open_memory(a, b.p, b.n), ARCHIVE_OK);
	while (archive_read_next_header(a, &en) == ARCHIVE_OK)
		seen += strcmp(archive_entry_pathname(en), name) == 0 ||
		        strcmp(archive_entry_pathname(en), ".wh.gone") == 0;
	assert_int_equal(seen, has_whiteout ? 2 : 1);
	archive_read_free(a);
	close(fd);
	tree_remove(dir);
}

/* --- unpacking --- */

struct item {
	const char *name;
	unsigned type;    /* AE_IFREG …; 0: a hard link */
	const char *text; /* content, or target */
	unsigned perm;
};

/* A tar, or a zip, of these entries, on a memfd at its start. */
static int
make_archive(const struct item *items, size_t n, bool is_zip)
{
	int fd = memfd_create("archive", MFD_CLOEXEC);
	struct archive *a = archive_write_new();

	if (is_zip)
		archive_write_set_format_zip(a);
	else
		archive_write_set_format_pax_restricted(a);
	assert_int_equal(archive_write_open_fd(a, fd), ARCHIVE_OK);
	for (size_t i = 0; i < n; i++) {
		struct archive_entry *en = archive_entry_new();
		bool is_file = items[i].type == AE_IFREG;

		archive_entry_set_pathname(en, items[i].name);
		archive_entry_set_perm(en, items[i].perm == 0 ? 0644 : items[i].perm);
		archive_entry_set_mtime(en, 1000000, 0);
		archive_entry_set_filetype(en, items[i].type == 0 ? AE_IFREG : items[i].type);
		if (items[i].type == 0)
			archive_entry_set_hardlink(en, items[i].text);
		if (items[i].type == AE_IFLNK)
			archive_entry_set_symlink(en, items[i].text);
		archive_entry_set_size(en, is_file ? (la_int64_t)strlen(items[i].text) : 0);
		assert_true(
		    archive_write_header(a, en) >= ARCHIVE_WARN); /* of Latin-1 names it warns */
		if (is_file)
			archive_write_data(a, items[i].text, strlen(items[i].text));
		archive_entry_free(en);
	}
	archive_write_close(a);
	archive_write_free(a);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static int
unpack(const char *dir, const struct item *items, size_t n, const struct oci_layer_opts *o,
    struct oci_layer_result *r, struct err *e)
{
	AUTO(file_close) int tar = make_archive(items, n, false);
	AUTO(file_close) int fd = tree_open(dir);

	return oci_layer_unpack(tar, fd, o, r, e);
}

static int
unpack_zip_or_tar(const char *dir, const struct item *items, size_t n, bool is_zip,
    const struct oci_layer_opts *o, struct oci_layer_result *r, struct err *e)
{
	AUTO(file_close) int zip = make_archive(items, n, true);
	AUTO(file_close) int fd = tree_open(dir);

	return is_zip ? oci_layer_unpack(zip, fd, o, r, e) : unpack(dir, items, n, o, r, e);
}

static char *
read_file(const char *dir, const char *name)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	AUTO(free) char *path = file_join(dir, name);
	struct err e = { 0 };

	if (file_read(path, 4096, &b, &e) < 0)
		return NULL;
	return b.p == NULL ? xstrdup("") : buf_steal(&b);
}

static void
expect_file(const char *dir, const char *name, const char *want)
{
	AUTO(free) char *have = read_file(dir, name);

	if (have == NULL || strcmp(have, want) != 0)
		fail_msg("%s is '%s', wanted '%s'", name, have == NULL ? "(none)" : have, want);
}

static void
test_unpack(void **state)
{
	static const struct item items[] = {
		{ "./", AE_IFDIR, "", 0 },
		{ "a", AE_IFDIR, "", 0700 },
		{ "a/run.sh", AE_IFREG, "#!/bin/sh\r\necho\r\n", 0711 },
		{ "b.txt", AE_IFREG, "one\r\ntwo\r\n", 0666 },
		{ "big.bin", AE_IFREG, "version https://git-lfs.github.com/spec/v1\noid x\n", 0 },
		{ "caf\xe9", AE_IFREG, "x", 0 },
		{ "link", AE_IFLNK, "a/run.sh", 0 },
		{ "up", AE_IFLNK, "../../..", 0 },
	};
	AUTO_FINI(oci_layer_result_fini) struct oci_layer_result r = { 0 };
	AUTO(free) char *digest = NULL;
	AUTO(free) char *script = NULL;
	char *dir = tree_new();
	struct err e = { 0 };
	struct stat st;
	int64_t size = 0;
	int fd;

	(void)state;
	if (unpack(dir, items, ARRAY_LEN(items), &defaults, &r, &e) < 0)
		fail_msg("%s", e.text);
	expect_file(dir, "a/run.sh", "#!/bin/sh\necho\n");
	expect_file(dir, "b.txt", "one\r\ntwo\r\n");
	expect_file(dir, "caf\xe9", "x");
	script = file_join(dir, "a/run.sh");
	assert_int_equal(stat(script, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0755);
	assert_int_equal(st.st_mtime, 1000000);
	assert_int_equal(r.fixed.n, 1);
	assert_int_equal(r.lfs_pointers.n, 1);
	assert_false(r.has_submodules);
	/* What was told on the way is what the tree says afterwards. */
	fd = tree_open(dir);
	digest = oci_tar_digest(fd, defaults.prefix, &size, &e);
	close(fd);
	assert_string_equal(digest, r.digest);
	assert_int_equal(size, r.size);
	tree_remove(dir);
}

/* The same files in any order, with any directories named: the same layer. */
static void
test_order(void **state)
{
	static const struct item sorted[] = { { "a", AE_IFDIR, "", 0 }, { "a/b", AE_IFREG, "1", 0 },
		{ "c", AE_IFREG, "2", 0 } };
	static const struct item mixed[] = { { "c", AE_IFREG, "old", 0 },
		{ "a/b", AE_IFREG, "1", 0 }, { "c", AE_IFREG, "2", 0 } };
	AUTO_FINI(oci_layer_result_fini) struct oci_layer_result r = { 0 };
	AUTO_FINI(oci_layer_result_fini) struct oci_layer_result s = { 0 };
	char *one = tree_new(), *two = tree_new();
	struct err e = { 0 };

	(void)state;
	assert_int_equal(unpack(one, sorted, 3, &defaults, &r, &e), 0);
	assert_int_equal(unpack(two, mixed, 3, &defaults, &s, &e), 0);
	assert_string_equal(r.digest, s.digest);
	assert_int_equal(r.size, s.size);
	expect_file(two, "c", "2");
	tree_remove(one);
	tree_remove(two);
}

static void
test_subdir(void **state)
{
	static const struct item items[] = { { "x", AE_IFREG, "not me", 0 },
		{ "svc/api", AE_IFDIR, "", 0 }, { "svc/api/run", AE_IFREG, "me", 0 },
		{ "svc/api2/run", AE_IFREG, "nor me", 0 } };
	AUTO_FINI(oci_layer_result_fini) struct oci_layer_result r = { 0 };
	struct oci_layer_opts o = defaults;
	char *dir = tree_new();
	AUTO(free) char *other = file_join(dir, "x");
	struct err e = { 0 };

	(void)state;
	o.subdir = "svc/api";
	assert_int_equal(unpack(dir, items, 4, &o, &r, &e), 0);
	expect_file(dir, "run", "me");
	assert_int_equal(r.files, 1);
	assert_false(file_exists(other));
	tree_remove(dir);
}

static void
test_hard_links(void **state)
{
	static const struct item items[] = { { "a", AE_IFREG, "same", 0 }, { "b", 0, "a", 0 } };
	AUTO_FINI(oci_layer_result_fini) struct oci_layer_result r = { 0 };
	char *dir = tree_new();
	struct err e = { 0 };

	(void)state;
	assert_int_equal(unpack(dir, items, 2, &defaults, &r, &e), 0);
	expect_file(dir, "b", "same");
	tree_remove(dir);
}

static const struct hostile {
	struct item items[3];
	enum err_code code;
	const char *word;
} hostile[] = {
	{ { { "../x", AE_IFREG, "1", 0 } }, ERR_INVALID, "'../x' has '..'" },
	{ { { "a/../../x", AE_IFREG, "1", 0 } }, ERR_INVALID, "'..'" },
	{ { { "/x", AE_IFREG, "1", 0 } }, ERR_INVALID, "absolute name" },
	{ { { "d", AE_IFLNK, "/etc", 0 }, { "d/x", AE_IFREG, "1", 0 } }, ERR_INVALID,
	    "make it relative" },
	{ { { "d", AE_IFLNK, "../../../../x", 0 } }, ERR_INVALID, "leaves the application" },
	{ { { "d", AE_IFLNK, "..", 0 }, { "d/x", AE_IFREG, "1", 0 } }, ERR_INVALID,
	    "no directory" },
	{ { { "f", AE_IFREG, "1", 0 }, { "f/x", AE_IFREG, "1", 0 } }, ERR_INVALID, "no directory" },
	{ { { "d", AE_IFDIR, "", 0 }, { "d", AE_IFREG, "1", 0 } }, ERR_INVALID,
	    "directory is already" },
	{ { { "d", AE_IFREG, "1", 0 }, { "d", AE_IFDIR, "", 0 } }, ERR_INVALID, "file is already" },
	{ { { "h", 0, "/etc/passwd", 0 } }, ERR_INVALID, "hard link" },
	{ { { "h", 0, "../x", 0 } }, ERR_INVALID, "hard link" },
	{ { { "h", 0, "absent", 0 } }, ERR_INVALID, "hard link" },
	{ { { "l", AE_IFLNK, "x", 0 }, { "h", 0, "l", 0 } }, ERR_INVALID, "hard link" },
	{ { { "c", AE_IFCHR, "", 0 } }, ERR_INVALID, "device" },
	{ { { "p", AE_IFIFO, "", 0 } }, ERR_INVALID, "pipe" },
	{ { { "\x1b[2J/../x", AE_IFREG, "1", 0 } }, ERR_INVALID, "\\x1b[2J" },
};

static void
test_hostile(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
		AUTO_FINI(oci_layer_result_fini) struct oci_layer_result r = { 0 };
		char *dir = tree_new();
		struct err e = { 0 };
		size_t n = hostile[i].items[1].name == NULL ? 1 : 2;

		if (unpack(dir, hostile[i].items, n, &defaults, &r, &e) == 0)
			fail_msg("accepted: %s", hostile[i].items[0].name);
		if (e.code != hostile[i].code || strstr(e.text, hostile[i].word) == NULL)
			fail_msg("%s: %s", hostile[i].items[0].name, e.text);
		assert_null(r.digest);
		tree_remove(dir);
	}
}

/* A deployment as an archive: three directories, and links of dependencies to the stack. */
static const struct hostile artifacts[] = {
	{ { { "./repo/", AE_IFDIR, "", 0 }, { "./repo/x", AE_IFREG, "1", 0 } }, ERR_NONE, "" },
	{ { { "repo/x", AE_IFREG, "1", 0 }, { "dependencies/p", AE_IFLNK, "/usr/bin/x", 0 } },
	    ERR_NONE, "" },
	{ { { "repo/p", AE_IFLNK, "/usr/bin/x", 0 } }, ERR_INVALID, "make it relative" },
	{ { { "dependencies/p", AE_IFLNK, "/usr/../etc/x", 0 } }, ERR_INVALID, "make it relative" },
	{ { { "dependencies/p", AE_IFLNK, "/etc/x", 0 } }, ERR_INVALID, "make it relative" },
	{ { { "repo", AE_IFLNK, "../data", 0 } }, ERR_INVALID, "must be a directory" },
	{ { { "data/x", AE_IFREG, "1", 0 } }, ERR_INVALID, "lies outside of repo/" },
	{ { { "repository/x", AE_IFREG, "1", 0 } }, ERR_INVALID, "lies outside of repo/" },
	{ { { "dependencies/x", AE_IFREG, "1", 0 } }, ERR_INVALID, "has no repo/" },
	{ { { "metadata.json", AE_IFREG, "{}", 0 } }, ERR_INVALID, "has no repo/" },
};

static void
test_artifacts(void **state)
{
	struct oci_layer_opts o = defaults;

	(void)state;
	o.prefix = "app-root/runtime";
	o.is_artifact = true;
	for (size_t i = 0; i < 2 * ARRAY_LEN(artifacts); i++) {
		AUTO_FINI(oci_layer_result_fini) struct oci_layer_result r = { 0 };
		const struct hostile *h = &artifacts[i / 2];
		char *dir = tree_new();
		struct err e = { 0 };
		size_t n = h->items[1].name == NULL ? 1 : 2;
		int rc = unpack_zip_or_tar(dir, h->items, n, i % 2 == 1, &o, &r, &e);

		if (e.code != h->code || strstr(e.text, h->word) == NULL)
			fail_msg("%s: %s", h->items[0].name, e.text);
		assert_int_equal(rc == 0, h->code == ERR_NONE);
		tree_remove(dir);
	}
}

/* Modes and links of a zip are told at its end; one that lacks it is damaged. */
static void
test_zip(void **state)
{
	static const struct item items[] = { { "repo/run", AE_IFREG, "#!/bin/sh\n", 0755 },
		{ "repo/l", AE_IFLNK, "run", 0 } };
	AUTO(file_close) int zip = make_archive(items, 2, true);
	struct oci_layer_opts o = defaults;
	struct err e = { 0 };

	(void)state;
	o.is_artifact = true;
	for (int i = 0; i < 3; i++) {
		AUTO_FINI(oci_layer_result_fini) struct oci_layer_result r = { 0 };
		char *dir = tree_new();
		AUTO(file_close) int fd = tree_open(dir);
		char target[8] = "";
		struct stat st;

		assert_int_equal(lseek(zip, 0, SEEK_SET), 0);
		o.bytes_max = i == 1 ? 50 : defaults.bytes_max;
		if (i == 2)
			assert_int_equal(ftruncate(zip, 60), 0);
		e.code = ERR_NONE;
		assert_int_equal(oci_layer_unpack(zip, fd, &o, &r, &e), i == 0 ? 0 : -1);
		assert_int_equal(e.code, i == 0 ? ERR_NONE : i == 1 ? ERR_LIMIT : ERR_INVALID);
		if (i == 0) {
			assert_int_equal(fstatat(fd, "repo/run", &st, 0), 0);
			assert_int_equal(st.st_mode & 0777, 0755);
			assert_int_equal(readlinkat(fd, "repo/l", target, sizeof target), 3);
		}
		tree_remove(dir);
	}
}

static void
test_limits(void **state)
{
	static const struct item items[] = { { "a", AE_IFREG, "12345", 0 },
		{ "b", AE_IFREG, "12345", 0 } };
	struct oci_layer_opts files = defaults, bytes = defaults;

	(void)state;
	files.files_max = 1;
	bytes.bytes_max = 9;
	for (int i = 0; i < 2; i++) {
		AUTO_FINI(oci_layer_result_fini) struct oci_layer_result r = { 0 };
		char *dir = tree_new();
		struct err e = { 0 };

		assert_int_equal(unpack(dir, items, 2, i == 0 ? &files : &bytes, &r, &e), -1);
		assert_int_equal(e.code, ERR_LIMIT);
		tree_remove(dir);
	}
}

static void
test_damaged(void **state)
{
	static const char *const texts[] = { "this is no archive, whatever it may be called",
		"\x1f\x8b\x08" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		AUTO_FINI(oci_layer_result_fini) struct oci_layer_result r = { 0 };
		AUTO(file_close) int fd = memfd_create("x", MFD_CLOEXEC);
		char *dir = tree_new();
		AUTO(file_close) int at = tree_open(dir);
		struct err e = { 0 };

		assert_int_equal(write(fd, texts[i], strlen(texts[i])), strlen(texts[i]));
		lseek(fd, 0, SEEK_SET);
		assert_int_equal(oci_layer_unpack(fd, at, &defaults, &r, &e), -1);
		assert_int_equal(e.code, ERR_INVALID);
		tree_remove(dir);
	}
}

static void
test_image(void **state)
{
	static const struct oci_image_layer layers[] = { { "sha256:aa", 10, "dependencies" },
		{ "sha256:bb", 20, "application" } };
	static const struct oci_image_label labels[] = { { "io.pinion.app", "5f" },
		{ "quoted", "a\"b" } };
	const struct oci_image im = { .arch = "amd64",
		.workdir = "/w",
		.layers = layers,
		.layers_n = 2,
		.labels = labels,
		.labels_n = 2 };
	AUTO_FINI(buf_fini) struct buf config = { 0 };
	AUTO_FINI(buf_fini) struct buf manifest = { 0 };
	struct codec_value *c, *m;
	struct err e = { 0 };

	(void)state;
	oci_image_config(&im, &config);
	oci_image_manifest(&im, "sha256:cc", config.n, &manifest);
	c = codec_parse(config.p, config.n, &e);
	m = codec_parse(manifest.p, manifest.n, &e);
	assert_non_null(c);
	assert_non_null(m);
	assert_string_equal(
	    codec_string(codec_at(codec_get(codec_get(c, "rootfs"), "diff_ids"), 1)), "sha256:bb");
	assert_string_equal(
	    codec_string(codec_get(codec_get(codec_get(c, "config"), "Labels"), "quoted")), "a\"b");
	assert_int_equal(codec_int(codec_get(m, "schemaVersion"), 0), 2);
	assert_int_equal(codec_int(codec_get(codec_get(m, "config"), "size"), 0), config.n);
	assert_int_equal(codec_int(codec_get(codec_at(codec_get(m, "layers"), 0), "size"), 0), 10);
	codec_value_free(c);
	codec_value_free(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tar),
		cmocka_unit_test(test_tar_names),
		cmocka_unit_test(test_unpack),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_subdir),
		cmocka_unit_test(test_hard_links),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_artifacts),
		cmocka_unit_test(test_zip),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
