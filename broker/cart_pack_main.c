/* pinion-cart-pack: makes one plain tar of a cartridge's archive, which is hostile input, in a
 * process that can do nothing else: it has three open files and a list of a few system calls. The
 * archive is stdin (a file), the tar goes to stdout, a manifest that replaces the archive's is fd 3
 * when the last argument says so. Exit 0: the manifest's text on stderr; 1: the reason. */
#include <errno.h>
#include <locale.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/oci/oci_cart.h"
#include "lib/wire/wire_cart.h"

enum { MANIFEST_FD = 3, MEMORY_MB = 256, CPU_S = 120 };

static void
bound(int what, rlim_t most)
{
	const struct rlimit r = { most, most };

	(void)setrlimit((__rlimit_resource_t)what, &r);
}

#ifndef __SANITIZE_ADDRESS__
/* What reading, unpacking and writing need; all else fails with EPERM. */
static int
forbid_calls(struct err *e)
{
	static const int allowed[] = { SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(writev),
		SCMP_SYS(lseek), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(mmap),
		SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect), SCMP_SYS(madvise),
		SCMP_SYS(brk), SCMP_SYS(futex), SCMP_SYS(clock_gettime), SCMP_SYS(getrandom),
		SCMP_SYS(rt_sigreturn), SCMP_SYS(close), SCMP_SYS(exit), SCMP_SYS(exit_group) };
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc = ctx == NULL ? -1 : 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(allowed); i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	if (rc == 0)
		rc = seccomp_load(ctx);
	if (ctx != NULL)
		seccomp_release(ctx);
	return rc < 0 ? err_set(e, ERR_SYSTEM, NULL, "cannot give up system calls") : 0;
}
#endif

static int
lock_up(int64_t out_max, struct err *e)
{
	bound(RLIMIT_CORE, 0);
	bound(RLIMIT_CPU, CPU_S);
	bound(RLIMIT_FSIZE, (rlim_t)out_max);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot give up privileges");
#ifndef __SANITIZE_ADDRESS__
	bound(RLIMIT_AS, (rlim_t)MEMORY_MB * 1024 * 1024);
	return forbid_calls(e);
#else
	return 0;
#endif
}

static int
read_manifest(struct buf *b, struct err *e)
{
	char block[4096];
	ssize_t n;

	while ((n = read(MANIFEST_FD, block, sizeof block)) > 0) {
		if (buf_add_max(b, block, (size_t)n, WIRE_CART_MANIFEST_MAX, e) < 0)
			return -1;
	}
	return n < 0 ? err_set(e, ERR_SYSTEM, NULL, "cannot read the manifest") : 0;
}

static int
run(int argc, char **argv)
{
	AUTO_FINI(buf_fini) struct buf given = { 0 };
	AUTO_FINI(buf_fini) struct buf manifest = { 0 };
	struct oci_cart_opts o = { 0 };
	struct err e = { 0 };

	if (argc != 5) {
		fprintf(stderr,
		    "pinion-cart-pack is run by pinion-broker: FILES BYTES RATIO given|own\n");
		return 2;
	}
	if (str_to_i64(str_of(argv[1]), 1, INT64_MAX, "files", &o.files_max, &e) < 0 ||
	    str_to_i64(str_of(argv[2]), 1, INT64_MAX, "bytes", &o.bytes_max, &e) < 0 ||
	    str_to_i64(str_of(argv[3]), 1, INT64_MAX, "ratio", &o.ratio_max, &e) < 0 ||
	    lock_up(2 * o.bytes_max, &e) < 0 ||
	    (strcmp(argv[4], "given") == 0 && read_manifest(&given, &e) < 0)) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	o.manifest = buf_str(&given);
	if (oci_cart_pack(STDIN_FILENO, STDOUT_FILENO, &o, &manifest, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	fwrite(manifest.p == NULL ? "" : manifest.p, 1, manifest.n, stderr);
	return 0;
}

int
main(int argc, char **argv)
{
	int rc;

	(void)setlocale(LC_ALL, "C.UTF-8");
	rc = run(argc, argv);
	fflush(NULL);
	_exit(rc);
}
