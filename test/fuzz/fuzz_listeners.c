/* Tables of sockets; the first byte chooses the family. What is picked can be reached. */
#include "test/fuzz/fuzz.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "node/listeners.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct listeners l = { 0 };
	const struct listener_addr *a;
	size_t i;

	if (n == 0)
		return 0;
	listeners_parse(
	    (struct str){ (const char *)data + 1, n - 1 }, data[0] % 2 != 0, "100.64.0.2", &l);
	for (i = 0; i < l.n; i++) {
		check(l.v[i].port > 0 && l.v[i].port <= 65535);
		check(strlen(l.v[i].address) < sizeof l.v[i].address);
		check(i == 0 || l.v[i - 1].port <= l.v[i].port);
	}
	a = listeners_pick(&l, 8080);
	check(a == NULL || !a->is_v6_only);
	listeners_fini(&l);
	return 0;
}
