/* lib/oci/oci_layer.h: a tar stream from outside into a directory, safely, with the digest of the
 * layer that it becomes. Blocks; for a process of its own without privileges (node/unpack_main). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/codec/codec.h"

struct oci_layer_opts {
	const char *prefix; /* where the directory lies in the layer: "app-root/runtime/repo" */
	const char *subdir; /* only what lies below it, which becomes the top; "" = all */
	int64_t files_max;
	int64_t bytes_max;
	bool fix_scripts; /* CR LF -> LF in executable files that begin with "#!" */
	bool is_artifact; /* a deployment as an archive: may be gzipped, or a zip; repo/ and beside
	                     it only dependencies/, build-dependencies/, where links to /usr/ may be
	                   */
};

enum { OCI_LAYER_NAMES_MAX = 10 }; /* names listed in a result */

struct oci_layer_result {
	char *digest; /* "sha256:…" */
	int64_t size; /* of the tar that the digest is of */
	int64_t files;
	int64_t bytes;                /* of the files */
	struct str_list fixed;        /* scripts whose line ends were changed */
	struct str_list lfs_pointers; /* files that are Git LFS pointers */
	bool has_submodules;          /* .gitmodules */
};
DECLARE_CODEC(oci_layer_result, struct oci_layer_result)

/* Reads tar (or any format that git archive writes) from in_fd to its end, into the empty directory
 * dir_fd. Refused with ERR_INVALID, the entry's name in the text: absolute names, "..", links that
 * leave the home, hard links to outside, devices, sockets, pipes. ERR_LIMIT: files_max, bytes_max,
 * or a full disk. Modes become 0755 or 0644, times are the archive's. */
int oci_layer_unpack(int in_fd, int dir_fd, const struct oci_layer_opts *o,
    struct oci_layer_result *out, struct err *e) MUST_CHECK;
