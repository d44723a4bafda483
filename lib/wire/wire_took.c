#include "lib/wire/wire_took.h"

int64_t
wire_took_end(unsigned i)
{
	unsigned half = i + 2; /* the number of the half that follows, from 0 */

	return ((int64_t)2 + (half & 1)) << (half / 2) >> 1;
}

void
wire_took_add_text(struct buf *b, const uint32_t counts[WIRE_TOOK_PLACES])
{
	size_t start = b->n;

	for (unsigned i = 0; i < WIRE_TOOK_PLACES; i++) {
		if (counts[i] != 0)
			buf_addf(b, "%s%u:%u", b->n == start ? "" : " ", i, counts[i]);
	}
}

int
wire_took_read(const char *text, uint64_t counts[WIRE_TOOK_PLACES], struct err *e)
{
	struct str rest = str_of(text == NULL ? "" : text), pair, place;
	int64_t i, n;

	while (rest.n > 0) {
		rest = str_cut(rest, ' ', &pair);
		pair = str_cut(pair, ':', &place);
		if (str_to_i64(place, 0, WIRE_TOOK_PLACES - 1, "took", &i, e) < 0 ||
		    str_to_i64(pair, 0, UINT32_MAX, "took", &n, e) < 0)
			return -1;
		counts[i] += (uint64_t)n;
	}
	return 0;
}

int64_t
wire_took_quantile(const uint64_t counts[WIRE_TOOK_PLACES], int per_mille)
{
	uint64_t all = 0, seen = 0;

	for (unsigned i = 0; i < WIRE_TOOK_PLACES; i++)
		all += counts[i];
	for (unsigned i = 0; i < WIRE_TOOK_PLACES && all != 0; i++) {
		seen += counts[i];
		if (seen * 1000 >= all * (uint64_t)per_mille)
			return wire_took_end(i);
	}
	return 0;
}
