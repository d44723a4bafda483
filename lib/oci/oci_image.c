#include "lib/oci/oci_image.h"

#include <string.h>
#include <sys/utsname.h>

#include "lib/base/mem.h"

const char *
oci_image_arch(void)
{
	static const struct {
		const char *machine, *arch;
	} names[] = { { "x86_64", "amd64" }, { "aarch64", "arm64" }, { "riscv64", "riscv64" },
		{ "ppc64le", "ppc64le" }, { "s390x", "s390x" } };
	struct utsname u;

	if (uname(&u) == 0) {
		for (size_t i = 0; i < ARRAY_LEN(names); i++) {
			if (strcmp(u.machine, names[i].machine) == 0)
				return names[i].arch;
		}
	}
	return "unknown";
}

static void
put_member(struct buf *out, const char *name, const char *value)
{
	buf_add_json_str(out, name);
	buf_addc(out, ':');
	buf_add_json_str(out, value);
}

void
oci_image_config(const struct oci_image *im, struct buf *out)
{
	buf_addc(out, '{');
	put_member(out, "architecture", im->arch);
	buf_adds(out, ",\"os\":\"linux\",\"config\":{\"User\":\"1000:1000\",");
	put_member(out, "WorkingDir", im->workdir);
	buf_adds(out, ",\"Labels\":{");
	for (size_t i = 0; i < im->labels_n; i++) {
		if (i > 0)
			buf_addc(out, ',');
		put_member(out, im->labels[i].name,
		    im->labels[i].value == NULL ? "" : im->labels[i].value);
	}
	buf_adds(out, "}},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[");
	for (size_t i = 0; i < im->layers_n; i++) {
		if (i > 0)
			buf_addc(out, ',');
		buf_add_json_str(out, im->layers[i].digest);
	}
	buf_adds(out, "]},\"history\":[");
	for (size_t i = 0; i < im->layers_n; i++) {
		buf_adds(out, i > 0 ? ",{" : "{");
		put_member(out, "created_by", im->layers[i].what);
		buf_addc(out, '}');
	}
	buf_adds(out, "]}");
}

static void
put_descriptor(struct buf *out, const char *type, const char *digest, int64_t size)
{
	buf_addc(out, '{');
	put_member(out, "mediaType", type);
	buf_addc(out, ',');
	put_member(out, "digest", digest);
	buf_addf(out, ",\"size\":%lld}", (long long)size);
}

void
oci_image_manifest(
    const struct oci_image *im, const char *config_digest, size_t config_size, struct buf *out)
{
	buf_adds(out, "{\"schemaVersion\":2,\"mediaType\":\"application/"
	              "vnd.oci.image.manifest.v1+json\",\"config\":");
	put_descriptor(
	    out, "application/vnd.oci.image.config.v1+json", config_digest, (int64_t)config_size);
	buf_adds(out, ",\"layers\":[");
	for (size_t i = 0; i < im->layers_n; i++) {
		if (i > 0)
			buf_addc(out, ',');
		put_descriptor(out, "application/vnd.oci.image.layer.v1.tar", im->layers[i].digest,
		    im->layers[i].size);
	}
	buf_adds(out, "]}");
}
