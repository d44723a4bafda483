/* lib/wire/wire_took.h: how many requests took how long: counts by place, two places for each power
 * of two of µs. As text "PLACE:COUNT PLACE:COUNT", of those that are not zero. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/str.h"

enum { WIRE_TOOK_PLACES = 54, WIRE_TOOK_TEXT_MAX = 2048 }; /* the last begins at 134 s */

static inline unsigned
wire_took_place(int64_t us)
{
	unsigned top, i;

	if (us < 2)
		return 0;
	top = 63u - (unsigned)__builtin_clzll((unsigned long long)us);
	i = 2 * top + (unsigned)(us >> (top - 1) & 1) - 1;
	return i < WIRE_TOOK_PLACES ? i : WIRE_TOOK_PLACES - 1;
}
/* The first µs that is beyond place i. */
int64_t wire_took_end(unsigned i);
void wire_took_add_text(struct buf *b, const uint32_t counts[WIRE_TOOK_PLACES]);
/* Adds what text (NULL: nothing) says. */
int wire_took_read(const char *text, uint64_t counts[WIRE_TOOK_PLACES], struct err *e) MUST_CHECK;
/* The µs within which per_mille of all were; 0: there are none. */
int64_t wire_took_quantile(const uint64_t counts[WIRE_TOOK_PLACES], int per_mille);
