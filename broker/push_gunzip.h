/* broker/push_gunzip.h: request bodies with `Content-Encoding: gzip`, as git clients send them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

struct push_gunzip;

struct push_gunzip *push_gunzip_new(void);
void push_gunzip_free(struct push_gunzip *take_g);

typedef void push_gunzip_fn(const char *p, size_t n, void *arg);
/* Unpacks n bytes more; fn gets what comes out, in pieces. ERR_INVALID: no gzip, or bytes after its
 * end; ERR_LIMIT: more than max bytes came out altogether. */
int push_gunzip_feed(struct push_gunzip *g, const char *p, size_t n, int64_t max,
    push_gunzip_fn *fn, void *arg, struct err *e) MUST_CHECK;
