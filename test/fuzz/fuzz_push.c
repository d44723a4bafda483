/* What git's hook says (commands of a push), and a compressed body, are from outside. */
#include <assert.h>
#include <string.h>

#include "broker/push_gunzip.h"
#include "broker/push_refs.h"
#include "lib/base/buf.h"
#include "test/fuzz/fuzz.h"

enum { OUT_MAX = 1 << 16 };

static void
count(const char *p, size_t n, void *arg)
{
	size_t *total = arg;

	(void)p;
	*total += n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct push_refs r = { 0 };
	struct push_gunzip *g = push_gunzip_new();
	struct buf again = { 0 };
	size_t total = 0;
	struct err e = { 0 };

	if (push_refs_parse(&r, (struct str){ (const char *)data, size }, &e) == 0) {
		/* What was understood is written and understood again. */
		struct push_refs r2 = { 0 };

		for (size_t i = 0; i < r.n; i++) {
			assert(strlen(r.v[i].old_oid) == 40 && strlen(r.v[i].new_oid) == 40);
			buf_addf(&again, "%s %s %s\n", r.v[i].old_oid, r.v[i].new_oid, r.v[i].ref);
		}
		if (memchr(data, '\0', size) == NULL && again.n > 0) {
			assert(push_refs_parse(&r2, buf_str(&again), &e) == 0);
			assert(r2.n == r.n);
		}
		push_refs_fini(&r2);
	}
	push_refs_fini(&r);
	buf_fini(&again);
	if (push_gunzip_feed(g, (const char *)data, size, OUT_MAX, count, &total, &e) == 0)
		assert(total <= OUT_MAX);
	push_gunzip_free(g);
	return 0;
}
