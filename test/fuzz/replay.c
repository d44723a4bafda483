/* Runs a fuzz target over its corpus without a fuzzer, and prints TAP.
 * usage: fuzz_X [FILE…]; without files those of $PINION_SRCDIR/test/fuzz/corpus/X. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "test/fuzz/fuzz.h"

enum { INPUT_MAX = 16 * 1024 * 1024 };

static int
is_seed(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static void
list_corpus(const char *program, struct str_list *out)
{
	const char *slash = strrchr(program, '/');
	const char *name = slash == NULL ? program : slash + 1;
	const char *top = getenv("PINION_SRCDIR");
	AUTO(free) char *dir = NULL;
	struct dirent **entries = NULL;
	int n;

	if (str_has_prefix(name, "fuzz_"))
		name += strlen("fuzz_");
	dir = xasprintf("%s/test/fuzz/corpus/%s", top == NULL ? "." : top, name);
	n = scandir(dir, &entries, is_seed, alphasort);
	for (int i = 0; i < n; i++) {
		str_list_take(out, file_join(dir, entries[i]->d_name));
		free(entries[i]);
	}
	free(entries);
}

static int
replay(const char *path, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	uint8_t *exact;

	if (file_read(path, INPUT_MAX, &b, e) < 0)
		return -1;
	exact = xmalloc(b.n == 0 ? 1 : b.n); /* no NUL behind it: a read too far is seen */
	if (b.n > 0)
		memcpy(exact, b.p, b.n);
	(void)LLVMFuzzerTestOneInput(exact, b.n);
	free(exact);
	return 0;
}

int
main(int argc, char **argv)
{
	AUTO_FINI(str_list_fini) struct str_list files = { 0 };
	int failed = 0;

	for (int i = 1; i < argc; i++)
		str_list_add(&files, argv[i]);
	if (argc < 2)
		list_corpus(argv[0], &files);
	printf("1..%zu\n", files.n);
	for (size_t i = 0; i < files.n; i++) {
		const char *slash = strrchr(files.v[i], '/');
		struct err e = { 0 };

		(void)fflush(stdout);
		if (replay(files.v[i], &e) < 0) {
			printf("not ok %zu - %s: %s\n", i + 1, files.v[i], e.text);
			failed++;
		} else {
			printf("ok %zu - %s\n", i + 1, slash == NULL ? files.v[i] : slash + 1);
		}
	}
	return failed > 0 || files.n == 0;
}
