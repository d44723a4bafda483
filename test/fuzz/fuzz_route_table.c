/* Tables of routes: the first byte chooses the static file (even) or the saved log (odd; of
 * 4n+1 the sums are made here). What is read
 * is found again, and written anew reads as the same. */
#include "test/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "router/host_table.h"
#include "router/route_feed.h"
#include "router/route_file.h"
#include "router/route_saved.h"
#include "router/route_sum.h"

static void
free_publication(struct host_publication *p)
{
	if (p == NULL)
		return;
	while (p->gone != NULL) {
		struct host_gone *g = p->gone;

		p->gone = g->next;
		host_gone_free(g);
	}
	host_publication_free(p);
}

struct view {
	const struct host_root *root;
	struct buf text; /* the table as a static file */
	size_t n;
};

static void
see_route(const struct host_route *r, void *arg)
{
	struct view *v = arg;
	char key[HOST_NAME_MAX + 1], text[HOST_ENDPOINT_TEXT];
	const char *host = host_route_host(r);

	v->n++;
	check(r->host_n == strlen(host) && r->host_n > 0);
	check(v->root != NULL);
	/* A key with a path is found by its host and the request's path. */
	if (strchr(host, '/') == NULL)
		check(host_find(v->root, host, r->host_n) == r);
	if (host[0] != '*' && strchr(host, '/') == NULL)
		check(host_key(host, r->host_n, key) == r->host_n && strcmp(key, host) == 0);
	buf_adds(&v->text, host);
	for (size_t i = 0; i < r->n; i++) {
		buf_addc(&v->text, ' ');
		buf_adds(&v->text, host_endpoint_text(r->ep[i], text));
	}
	buf_addc(&v->text, '\n');
}

static void
check_anew(const struct view *v)
{
	struct host_table *again = host_table_new(1);
	struct err e = { 0 };

	check(route_file_apply(again, v->n == 0 ? "" : v->text.p, v->text.n, &e) == 0);
	check(host_table_count(again) == v->n);
	host_table_free(again);
}

/* is_raw: its sums are the input's too. */
static void
replay(struct host_table *t, const char *p, size_t n, bool is_raw)
{
	AUTO_FINI(buf_fini) struct buf log = { 0 };
	struct route_feed f = { .table = t };
	uint64_t sum = ROUTE_SUM_START;
	struct err e = { 0 };

	buf_add(&log, p, n);
	if (!is_raw)
		route_saved_seal(&log, &sum, 0);
	check(route_saved_replay(&f, log.p, log.n, &e) <= log.n);
	route_feed_fini(&f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct host_table *t;
	struct host_publication *p;
	struct view v = { 0 };
	struct err e = { 0 };

	if (n == 0)
		return 0;
	t = host_table_new(1);
	switch (data[0] % 4) {
	case 0:
	case 2:
		if (route_file_apply(t, (const char *)data + 1, n - 1, &e) < 0) {
			check(e.code != ERR_NONE && e.text[0] != '\0');
			check(host_table_count(t) == 0);
		}
		break;
	default:
		replay(t, (const char *)data + 1, n - 1, data[0] % 4 == 3);
	}
	p = host_table_publish(t);
	v.root = p == NULL ? NULL : p->root;
	host_table_each(t, see_route, &v);
	check(v.n == host_table_count(t));
	check_anew(&v);
	buf_fini(&v.text);
	free_publication(p);
	host_table_free(t);
	return 0;
}
