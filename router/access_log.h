/* router/access_log.h: a line a request. Lanes put lines into rings of their own; one thread
 * writes them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "router/access_format.h"

struct access_log;
struct access_ring;

/* path "-": standard output. max_bytes: then the file becomes PATH.1 and a new one is begun; 0:
 * never. */
struct access_log *access_log_open(
    const char *path, enum access_format format, int64_t max_bytes, int rings, struct err *e);
/* Writes what is left; the lanes have ended. */
void access_log_close(struct access_log *take_a);
void access_log_reopen(struct access_log *a);                     /* after rotation; any thread */
struct access_ring *access_log_ring(struct access_log *a, int i); /* borrowed: a lane's own */
uint64_t access_log_lost(const struct access_log *a);             /* lines; any thread */
/* Never blocks: a line that finds no room is counted instead. */
void access_log_put(struct access_ring *r, const struct access_line *line);
