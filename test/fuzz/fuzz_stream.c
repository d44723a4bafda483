/* Frames of a stream: parsed whole and cut short; what is well-formed is written anew to the same
 * bytes. */
#include "test/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/http/stream_frame.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *p = (const char *)data;

	while (n > 0) {
		AUTO_FINI(buf_fini) struct buf again = { 0 };
		struct stream_frame f, cut;
		struct err e = { 0 };

		if (stream_frame_parse(p, n, &f) != STREAM_OK)
			break;
		check(f.size <= n && f.size == f.data.n + STREAM_HEAD);
		check(f.channel >= 0 && f.channel < STREAM_CHANNELS);
		check(stream_frame_parse(p, f.size - 1, &cut) == STREAM_MORE);
		stream_frame_add(&again, f.type, f.channel, f.data.p, f.data.n);
		check(again.n == f.size && memcmp(again.p, p, f.size) == 0);
		if (f.type == STREAM_RESIZE)
			check(stream_frame_size(&f).columns < 65536);
		if (f.type == STREAM_ERROR)
			stream_frame_error(&f, &e);
		check(f.type != STREAM_ERROR || e.code != ERR_NONE);
		p += f.size;
		n -= f.size;
	}
	return 0;
}
