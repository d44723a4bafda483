/* router/route_sum.h: a running sum of a file's bytes (FNV-1a): finds what a crash or another
 * program did to it; no defence against who wants to deceive. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define ROUTE_SUM_START 0xcbf29ce484222325u

static inline uint64_t
route_sum(uint64_t sum, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum = (sum ^ (unsigned char)p[i]) * 0x100000001b3u;
	return sum;
}
