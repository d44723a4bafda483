/* node/bundle.h: the OCI config of a container. Pure. */
#pragma once

#include <stdint.h>

#include "lib/base/buf.h"

struct container_spec;

struct bundle {
	const struct container_spec *spec;
	const char *rootfs;  /* directory the helper mounts the root on */
	const char *cgroup;  /* cgroupsPath */
	const char *seccomp; /* JSON object */
	const char *filter;  /* base64 of the compiled filter, for crun; NULL: none */
	int64_t nofile;      /* open files of one process */
	int64_t shm_kb;      /* size of /dev/shm */
	/* Bytes; 0: no limit. Runtimes take a limit of swap away that they are not told again. */
	int64_t memory, memory_swap; /* swap: with memory, as the OCI's text counts */
};

/* Appends config.json (runtime-spec 1.0.2). */
void bundle_write(const struct bundle *b, struct buf *out);
