/* pinion-unpack: unpacks a source tree or a deployment's archive, which is hostile input, in a
 * process that can do nothing else: root is the target directory (fd 3), user 1000, no capability,
 * bounded memory. The tar comes on stdin; the last line of stdout is oci_layer_result as JSON. Exit
 * 1: the reason on stderr. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/oci/oci_layer.h"
#include "node/confine.h"

enum { DIR_FD = 3 };

static int
run(int argc, char **argv)
{
	AUTO_FINI(oci_layer_result_fini) struct oci_layer_result r = { 0 };
	AUTO(free) char *json = NULL;
	struct oci_layer_opts o = { .prefix = "", .subdir = "", .fix_scripts = true };
	struct err e = { 0 };

	if (argc != 6) {
		fprintf(stderr, "pinion-unpack is run by pinion-node: "
		                "tree|artifact PREFIX SUBDIR FILES_MAX BYTES_MAX\n");
		return 2;
	}
	o.is_artifact = strcmp(argv[1], "artifact") == 0;
	o.prefix = argv[2];
	o.subdir = argv[3];
	if (str_to_i64(str_of(argv[4]), 1, INT64_MAX, "files", &o.files_max, &e) < 0 ||
	    str_to_i64(str_of(argv[5]), 1, INT64_MAX, "bytes", &o.bytes_max, &e) < 0 ||
	    confine_to(DIR_FD, &e) < 0 || oci_layer_unpack(STDIN_FILENO, DIR_FD, &o, &r, &e) < 0) {
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
