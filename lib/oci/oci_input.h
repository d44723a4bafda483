/* lib/oci/oci_input.h: an archive that comes as a stream. What begins like a zip is put into a file
 * without a name first, since modes and links of its entries are told at its end. Blocks. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum { OCI_INPUT_HEAD = 4, OCI_INPUT_BLOCK = 128 * 1024 };

struct archive;

struct oci_input {
	int fd;       /* borrowed: the stream */
	int spool_fd; /* owned; -1: none */
	char head[OCI_INPUT_HEAD];
	size_t head_n;
	char *block; /* owned */
};

/* Opens a, whose formats are set, on in_fd. dir_fd: where the file lies; a zip of more than
 * bytes_max is ERR_LIMIT. *out lives as long as a, and is closed after it. */
int oci_input_open(struct oci_input *out, struct archive *a, int in_fd, int dir_fd,
    int64_t bytes_max, struct err *e) MUST_CHECK;
void oci_input_fini(struct oci_input *in);
