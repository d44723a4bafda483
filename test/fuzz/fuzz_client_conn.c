/* What clients send, at a real lane: the first byte chooses plain HTTP, TLS (the hello), or the
 * PROXY protocol before it; and in what pieces. What the instance gets is strict HTTP/1.1 for its
 * host; what a plain client gets begins as HTTP does. */
#include "test/fuzz/fuzz.h"

#include <string.h>

#include "test/lib/router_lane.h"
#include "test/lib/strict_app.h"

static const size_t pieces[] = { 65536, 1, 7, 100 };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct router_lane *ways[3];
	const struct buf *got;
	unsigned way;
	bool is_end;

	if (n == 0)
		return 0;
	way = data[0] % 3;
	if (ways[way] == NULL)
		ways[way] =
		    router_lane_new("a.test %\na.test/c %\n", way == 1, way == 2, strict_app, NULL);
	router_lane_connect(ways[way]);
	router_lane_send(ways[way], data + 1, n - 1, pieces[data[0] / 3 % 4]);
	got = router_lane_got(ways[way], &is_end);
	if (way == 0 && got->n >= 9)
		check(memcmp(got->p, "HTTP/1.1 ", 9) == 0 ||
		      (n > 18 && memcmp(data + 1, "PRI * HTTP/2.0", 14) == 0));
	router_lane_leave(ways[way]);
	return 0;
}
