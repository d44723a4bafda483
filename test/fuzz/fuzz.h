/* test/fuzz/fuzz.h: what a fuzz target offers (libFuzzer's interface). */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Feeds the module data[0..n); aborts when a promise of the module is broken. Always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static inline _Noreturn void
fuzz_broken(const char *promise, const char *file, int line)
{
	fprintf(stderr, "%s:%d: broken: %s (errno %d)\n", file, line, promise, errno);
	abort();
}

/* A promise of the module. */
#define check(is_so) ((is_so) ? (void)0 : fuzz_broken(#is_so, __FILE__, __LINE__))
