#include "lib/oci/oci_input.h"

#include <archive.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"

static const char zip_head[OCI_INPUT_HEAD] = { 'P', 'K', 3, 4 };

static ssize_t
read_some(int fd, char *p, size_t n)
{
	ssize_t got;

	do
		got = read(fd, p, n);
	while (got < 0 && errno == EINTR);
	return got;
}

/* What was looked at comes first. */
static la_ssize_t
on_read(struct archive *a, void *arg, const void **out)
{
	struct oci_input *in = arg;
	ssize_t n = (ssize_t)in->head_n;

	*out = in->block;
	if (n > 0) {
		memcpy(in->block, in->head, in->head_n);
		in->head_n = 0;
		return n;
	}
	n = read_some(in->fd, in->block, OCI_INPUT_BLOCK);
	if (n < 0)
		archive_set_error(a, errno, "cannot read");
	return n;
}

static int
spool(struct oci_input *in, int dir_fd, int64_t bytes_max, struct err *e)
{
	static const char name[] =
	    ".pinion-zip"; /* for a moment: not all file systems have O_TMPFILE */
	int64_t left = bytes_max - (int64_t)in->head_n;
	ssize_t n;

	in->spool_fd =
	    openat(dir_fd, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC, 0600);
	if (in->spool_fd < 0 || unlinkat(dir_fd, name, 0) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make a file for the zip archive");
	if (file_write_all(in->spool_fd, in->head, in->head_n, e) < 0)
		return -1;
	while ((n = read_some(in->fd, in->block, OCI_INPUT_BLOCK)) > 0) {
		left -= n;
		if (left < 0)
			return err_set(e, ERR_LIMIT, NULL, "the archive has more than %lld MB",
			    (long long)(bytes_max / 1000000));
		if (file_write_all(in->spool_fd, in->block, (size_t)n, e) < 0)
			return e->sys == ENOSPC || e->sys == EDQUOT
			           ? err_set(e, ERR_LIMIT, NULL, "the disk of this node is full")
			           : -1;
	}
	if (n < 0 || lseek(in->spool_fd, 0, SEEK_SET) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot read the archive");
	return 0;
}

int
oci_input_open(struct oci_input *out, struct archive *a, int in_fd, int dir_fd, int64_t bytes_max,
    struct err *e)
{
	ssize_t n = 1;
	int rc;

	*out = (struct oci_input){ .fd = in_fd, .spool_fd = -1, .block = xmalloc(OCI_INPUT_BLOCK) };
	while (n > 0 && out->head_n < sizeof out->head) {
		n = read_some(in_fd, out->head + out->head_n, sizeof out->head - out->head_n);
		out->head_n += n > 0 ? (size_t)n : 0;
	}
	if (n < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot read the archive");
	if (out->head_n == sizeof zip_head && memcmp(out->head, zip_head, sizeof zip_head) == 0) {
		if (spool(out, dir_fd, bytes_max, e) < 0)
			return -1;
		rc = archive_read_open_fd(a, out->spool_fd, OCI_INPUT_BLOCK);
	} else {
		rc = archive_read_open(a, out, NULL, on_read, NULL);
	}
	if (rc != ARCHIVE_OK)
		return err_set(
		    e, ERR_INVALID, NULL, "cannot read the archive: %s", archive_error_string(a));
	return 0;
}

void
oci_input_fini(struct oci_input *in)
{
	file_close(in->spool_fd);
	in->spool_fd = -1;
	free(in->block);
	in->block = NULL;
}
