/* pinion-unpack: unpacks a source tree, which is hostile input, in a process that can do nothing
 * else: root is the target directory (fd 3), user 1000, no capability, bounded memory. The tar
 * comes on stdin; the last line of stdout is oci_layer_result as JSON. Exit 1: the reason on
 * stderr. */
#include <grp.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/oci/oci_layer.h"
#include "node/container.h"

enum { DIR_FD = 3 };

/* Gives up all that a process can give up. Without root (tests) only what is left to it. */
static int
lock_up(struct err *e)
{
	if (fchdir(DIR_FD) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot enter the directory on fd %d", DIR_FD);
	if (geteuid() == 0 && (chroot(".") < 0 || setgroups(0, NULL) < 0 ||
	                          setresgid(CONTAINER_UID, CONTAINER_UID, CONTAINER_UID) < 0 ||
	                          setresuid(CONTAINER_UID, CONTAINER_UID, CONTAINER_UID) < 0))
		return err_set(e, ERR_SYSTEM, NULL, "cannot give up privileges");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot give up privileges");
	umask(022);
#ifndef __SANITIZE_ADDRESS__
	{
		struct rlimit memory = { 512L * 1024 * 1024, 512L * 1024 * 1024 };

		(void)setrlimit(RLIMIT_AS, &memory);
	}
#endif
	return 0;
}

static int
run(int argc, char **argv)
{
	AUTO_FINI(oci_layer_result_fini) struct oci_layer_result r = { 0 };
	AUTO(free) char *json = NULL;
	struct oci_layer_opts o = { .prefix = "", .subdir = "", .fix_scripts = true };
	struct err e = { 0 };

	if (argc != 5) {
		fprintf(stderr,
		    "pinion-unpack is run by pinion-node: PREFIX SUBDIR FILES_MAX BYTES_MAX\n");
		return 2;
	}
	o.prefix = argv[1];
	o.subdir = argv[2];
	if (str_to_i64(str_of(argv[3]), 1, INT64_MAX, "files", &o.files_max, &e) < 0 ||
	    str_to_i64(str_of(argv[4]), 1, INT64_MAX, "bytes", &o.bytes_max, &e) < 0 ||
	    lock_up(&e) < 0 || oci_layer_unpack(STDIN_FILENO, DIR_FD, &o, &r, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	json = codec_to_json(&oci_layer_result_codec, &r);
	puts(json);
	return 0;
}

/* No exit handlers: what they look for (/proc, for a leak check) is outside by now. */
int
main(int argc, char **argv)
{
	int rc;

	(void)setlocale(LC_ALL, "C.UTF-8");
	rc = run(argc, argv);
	fflush(NULL);
	_exit(rc);
}
