/* lib/oci/oci_tar.h: a deterministic tar of a tree: entries in byte order of their paths
 * (directories with '/' at the end, the order of git archive), owner 1000, time 0, no names. Equal
 * trees give equal bytes, so that a layer's digest can be told without packing it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

/* Where the bytes go; they are borrowed for the call. */
typedef void oci_tar_put_fn(const void *p, size_t n, void *arg);

struct oci_tar {
	oci_tar_put_fn *put;
	void *arg;
	uint64_t left; /* bytes of the present file that are still to come */
	unsigned pad;
	uint64_t total; /* bytes put so far */
};

enum { OCI_TAR_UID = 1000 };

/* Paths without '/' at either end. */
void oci_tar_dir(struct oci_tar *t, const char *path, unsigned mode);
void oci_tar_link(struct oci_tar *t, const char *path, const char *target);
void oci_tar_file(struct oci_tar *t, const char *path, unsigned mode, uint64_t size);
void oci_tar_data(struct oci_tar *t, const void *p, size_t n); /* until all of size came */
void oci_tar_end(struct oci_tar *t);

/* All below the directory dir_fd, as PREFIX/… ("" : as it is; else its directories come first).
 * Blocks. Links are not followed; sockets, pipes and devices are left out, but overlay's whiteouts
 * (character device 0:0) become .wh.NAME. ERR_LIMIT: more than 64 directories deep. */
int oci_tar_tree(struct oci_tar *t, int dir_fd, const char *prefix, struct err *e) MUST_CHECK;
/* "sha256:<hex>" of that tar, and its size. Caller owns. */
char *oci_tar_digest(int dir_fd, const char *prefix, int64_t *size, struct err *e) MUST_CHECK;
