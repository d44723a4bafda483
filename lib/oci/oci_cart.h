/* lib/oci/oci_cart.h: a cartridge's archive from outside (tar, tar.gz, zip …) as one plain tar of
 * safe entries. Blocks, touches no file but the two given; for a process of its own without
 * privileges (broker/cart_pack_main). */
#pragma once

#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

struct oci_cart_opts {
	int64_t files_max;
	int64_t bytes_max;   /* of all files, unpacked */
	int64_t ratio_max;   /* unpacked to packed, once beyond a few MB */
	struct str manifest; /* replaces metadata/manifest.yml; n 0: the archive's own */
};

/* in_fd: seekable, read twice. What goes out: directories, files (0755 or 0644), relative links
 * that stay inside; a single top directory moves up; .git is left out. Refused with ERR_INVALID and
 * the entry's name: absolute names, "..", links that leave, what lies behind a link, devices,
 * sockets, pipes, a file twice. ERR_LIMIT: the bounds. out_manifest (may be NULL): its manifest's
 * text. */
int oci_cart_pack(int in_fd, int out_fd, const struct oci_cart_opts *o, struct buf *out_manifest,
    struct err *e) MUST_CHECK;
