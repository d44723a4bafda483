/* cli/top_view.h: what `pinion admin top` shows: the API's `traffic` as lines of text. */
#pragma once

#include <stdbool.h>

#include "lib/base/buf.h"
#include "lib/codec/codec.h"

struct top_view {
	int width, height; /* of the terminal; 0: as much as there is */
	bool has_blocks;   /* it shows UTF-8 */
	const char *sort;  /* borrowed; for the title */
	const char *foot;  /* borrowed or NULL: the last line */
};

/* Appends lines, each ends with \n; none is wider than width. Text from outside is without control
 * characters. */
void top_view_draw(const struct top_view *v, const struct codec_value *traffic, struct buf *out);
