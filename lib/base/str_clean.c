#include <stdbool.h>

#include "lib/base/buf.h"
#include "lib/base/str.h"

/* Three bytes that turn the direction of what follows: U+202A…202E, U+2066…2069. */
static bool
is_turn(const unsigned char *p, size_t n)
{
	return n > 2 && p[0] == 0xe2 &&
	       ((p[1] == 0x80 && p[2] >= 0xaa && p[2] <= 0xae) ||
	           (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9));
}

/* Bytes of a terminal's control sequence at p: a CSI whole, so that no rest of a colour is left; a
 * control character of C0, DEL or C1 (in UTF-8), one that turns text around; 0: text. */
static size_t
control_length(const unsigned char *p, size_t n)
{
	size_t i = 2;

	if (p[0] == 0xc2 && n > 1 && p[1] >= 0x80 && p[1] < 0xa0)
		return 2;
	if (is_turn(p, n))
		return 3;
	if (p[0] != 0x1b || n < 2 || p[1] != '[')
		return p[0] < ' ' || p[0] == 0x7f;
	while (i < n && p[i] >= 0x20 && p[i] < 0x40)
		i++;
	return i < n && p[i] >= 0x40 && p[i] < 0x7f ? i + 1 : i;
}

void
str_clean(const char *text, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n;) {
		size_t control = control_length((const unsigned char *)text + i, n - i);

		if (control == 0 || text[i] == '\t')
			buf_addc(out, text[i++]);
		else
			i += control;
	}
}
