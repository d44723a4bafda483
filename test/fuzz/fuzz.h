/* test/fuzz/fuzz.h: what a fuzz target offers (libFuzzer's interface). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Feeds the module data[0..n); aborts when a promise of the module is broken. Always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A promise of the module. */
static inline void
check(bool is_so)
{
	if (!is_so)
		abort();
}
