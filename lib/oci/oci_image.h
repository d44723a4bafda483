/* lib/oci/oci_image.h: config and manifest of an OCI image (image-spec 1.0) that names its layers.
 * Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"

struct oci_image_layer {
	const char *digest; /* of the uncompressed tar */
	int64_t size;
	const char *what; /* for the history: "application" */
};
struct oci_image_label {
	const char *name;
	const char *value;
};
struct oci_image {
	const char *arch; /* "amd64" */
	const char *workdir;
	const struct oci_image_layer *layers; /* bottom first */
	size_t layers_n;
	const struct oci_image_label *labels;
	size_t labels_n;
};

/* "amd64", "arm64" … of this machine. */
const char *oci_image_arch(void);
void oci_image_config(const struct oci_image *im, struct buf *out);
void oci_image_manifest(
    const struct oci_image *im, const char *config_digest, size_t config_size, struct buf *out);
