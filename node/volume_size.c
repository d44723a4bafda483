#include "node/volume_size.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/loop/child_run.h"
#include "node/loopdev.h"

enum {
	IMAGE_TIMES = 4, /* the disk, within */
	IMAGE_MORE_MIN_MB = 4 * 1024,
	IMAGE_MORE_MAX_MB = 16 * 1024,
	MB = 1024 * 1024,
	PROGRAM_MS = 120000,
	/* what the kernel keeps for itself */
	KEPT_SHARE = 50,
	KEPT_MAX = 4096,
	/* of ext4's super block, little-endian */
	SUPER_AT = 1024,
	SUPER_SIZE = 1024,
	INODES_AT = 0,
	BLOCKS_AT = 4,
	RESERVED_AT = 8,
	LOG_BLOCK_AT = 24,
	GROUP_BLOCKS_AT = 32,
	GROUP_INODES_AT = 40,
	MAGIC_AT = 56,
	STATE_AT = 58,
	INCOMPAT_AT = 96,
	BLOCKS_HIGH_AT = 0x150,
	RESERVED_HIGH_AT = 0x154,
	MAGIC = 0xef53,
	STATE_VALID = 1,
	STATE_ERROR = 2,
	INCOMPAT_RECOVER = 4,
	INCOMPAT_64BIT = 0x80,
	LOG_BLOCK_MAX = 6,
};

struct super {
	int64_t blocks, reserved, block_size, group_blocks, group_inodes, inodes;
	unsigned state, incompat;
};

static uint32_t
le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int
read_super(const char *path, struct super *s, struct err *e)
{
	uint8_t p[SUPER_SIZE];
	AUTO(file_close) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, p, sizeof p, SUPER_AT) != (ssize_t)sizeof p)
		return err_set(e, ERR_SYSTEM, NULL, "read %s", path);
	*s = (struct super){
		.blocks = le32(p + BLOCKS_AT),
		.reserved = le32(p + RESERVED_AT),
		.group_blocks = le32(p + GROUP_BLOCKS_AT),
		.group_inodes = le32(p + GROUP_INODES_AT),
		.inodes = le32(p + INODES_AT),
		.state = le32(p + STATE_AT) & 0xffff,
		.incompat = le32(p + INCOMPAT_AT),
	};
	if ((le32(p + MAGIC_AT) & 0xffff) != MAGIC || le32(p + LOG_BLOCK_AT) > LOG_BLOCK_MAX ||
	    s->group_blocks == 0 || s->group_inodes == 0)
		return err_set(e, ERR_SYSTEM, NULL, "%s holds no ext4 file system", path);
	s->block_size = 1024L << le32(p + LOG_BLOCK_AT);
	if ((s->incompat & INCOMPAT_64BIT) != 0) {
		s->blocks |= (int64_t)le32(p + BLOCKS_HIGH_AT) << 32;
		s->reserved |= (int64_t)le32(p + RESERVED_HIGH_AT) << 32;
	}
	return 0;
}

bool
volume_size_needs_check(const char *image)
{
	struct super s = { 0 };
	struct err e = { 0 };

	return read_super(image, &s, &e) < 0 || (s.state & STATE_VALID) == 0 ||
	       (s.state & STATE_ERROR) != 0 || (s.incompat & INCOMPAT_RECOVER) != 0;
}

int64_t
volume_size_image_mb(int64_t disk_mb)
{
	int64_t more = disk_mb * (IMAGE_TIMES - 1);

	if (more < IMAGE_MORE_MIN_MB)
		more = IMAGE_MORE_MIN_MB;
	return disk_mb + (more > IMAGE_MORE_MAX_MB ? IMAGE_MORE_MAX_MB : more);
}

/* Bytes that the image must have: inodes come with groups of blocks. */
static int64_t
wanted(const struct super *s, int64_t disk_mb, int64_t files)
{
	int64_t size = s->blocks * s->block_size;
	int64_t groups = (files + s->group_inodes - 1) / s->group_inodes;

	if (size < disk_mb * MB)
		size = volume_size_image_mb(disk_mb) * MB;
	if (s->inodes < files && size < groups * s->group_blocks * s->block_size)
		size = groups * s->group_blocks * s->block_size;
	return size;
}

static int
run(const char *const *argv, int max_status, struct err *e)
{
	const struct child_opts o = { .argv = argv, .timeout_ms = PROGRAM_MS };
	int rc = child_run(&o, NULL, 0, NULL, e);

	if (rc < 0 || rc > max_status)
		return -1;
	e->code = ERR_NONE;
	return 0;
}

int
volume_size_grow(
    const char *image, const char *device, int64_t disk_mb, int64_t files, struct err *e)
{
	const char *const check[] = { "/sbin/e2fsck", "-fp", image, NULL };
	const char *const resize[] = { "/sbin/resize2fs", device == NULL ? image : device, NULL };
	struct super s = { 0 };
	int64_t size;

	if (read_super(device == NULL ? image : device, &s, e) < 0)
		return -1;
	size = wanted(&s, disk_mb, files);
	if (size <= s.blocks * s.block_size)
		return 0;
	if (truncate(image, size) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "grow %s", image);
	fault_point("storage_grown");
	if (device != NULL ? loopdev_resized(device, e) < 0 : run(check, 3, e) < 0)
		return -1;
	return run(resize, 0, e);
}

/* The kernel keeps some blocks for metadata in need. With the same knob it holds back the rest. */
int
volume_size_hold(const char *device, int64_t disk_mb, int64_t *out_mb, struct err *e)
{
	AUTO(free)
	char *path = xasprintf("/sys/fs/ext4/%s/reserved_clusters",
	    strrchr(device, '/') == NULL ? device : strrchr(device, '/') + 1);
	AUTO(free) char *text = NULL;
	struct super s = { 0 };
	int64_t blocks, kept, more;

	if (read_super(device, &s, e) < 0)
		return -1;
	blocks = disk_mb * (MB / s.block_size);
	if (blocks > s.blocks)
		blocks = s.blocks;
	kept = blocks / KEPT_SHARE < KEPT_MAX ? blocks / KEPT_SHARE : KEPT_MAX;
	/* resize2fs keeps the share for root, not its size */
	more = s.reserved - VOLUME_SIZE_RESERVED_MB * (MB / s.block_size);
	kept += s.blocks - blocks;
	kept = more > kept ? 0 : kept - (more < 0 ? 0 : more);
	text = xasprintf("%" PRId64, kept);
	AUTO(file_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", path);
	if (file_write_all(fd, text, strlen(text), e) < 0)
		return err_wrap(e, "%s", path);
	*out_mb = blocks * s.block_size / MB;
	return 0;
}
