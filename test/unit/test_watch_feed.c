/* Feeds of nodes and routers: a snapshot, changes, resuming, and what happens behind compaction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/broker.h"
#include "broker/node_link.h"
#include "broker/router_link.h"
#include "broker/watch_feed.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/http/http_server.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_feed.h"
#include "test/lib/store_fixture.h"

enum { WAIT_MS = 10000 };

struct world {
	struct store_fixture f;
	struct broker b;
	struct http_server *server;
	char *token_file;
};

static void
on_request(struct http_req *r, void *arg)
{
	struct world *w = arg;

	if (str_has_prefix(http_req_path(r), "/internal/node/"))
		watch_feed_node(w->b.feeds, r);
	else
		watch_feed_router(w->b.feeds, r);
}

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);
	struct err e = { 0 };

	store_fixture_init(&w->f);
	w->token_file = xasprintf("%s.token", w->f.dir);
	assert_int_equal(file_replace_fast(w->token_file, "0123456789abcdef", 16, 0600, &e), 0);
	w->b.loop = w->f.loop;
	w->b.store = w->f.store;
	w->b.conf.node_token_file = w->b.conf.router_token_file = w->b.conf.broker_token_file =
	    w->token_file;
	w->b.nodes = node_link_new(&w->b, &e);
	w->b.routers = router_link_new(&w->b, &e);
	assert_non_null(w->b.nodes);
	assert_non_null(w->b.routers);
	w->b.feeds = watch_feed_new(&w->b);
	w->b.client = http_client_new(w->b.loop);
	w->server = http_server_new(w->b.loop, NULL, on_request, w);
	assert_int_equal(http_server_listen(w->server, "127.0.0.1:0", 0, &e), 0);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };

	http_client_free(w->b.client);
	watch_feed_free(w->b.feeds);
	http_server_free(w->server);
	node_link_free(w->b.nodes);
	router_link_free(w->b.routers);
	assert_int_equal(file_remove_tree(w->token_file, &e), 0);
	store_fixture_settle(&w->f);
	store_fixture_fini(&w->f);
	free(w->token_file);
	free(w);
	return 0;
}

/* Notes lines as "reset@5 put:gear/u1 delete:instance/i sync@6 ". */
struct client {
	struct http_call *call;
	struct buf raw, text;
	int syncs, wanted;
	bool is_there;
};

static void
take_line(struct client *c, const char *p, size_t n)
{
	AUTO_FINI(wire_feed_fini) struct wire_feed f = { 0 };
	static const char *const names[] = { "reset", "put", "delete", "sync" };
	struct err e = { 0 };

	assert_int_equal(codec_decode(&wire_feed_codec, p, n, &f, 0, &e), 0);
	if (f.type == WIRE_FEED_RESET || f.type == WIRE_FEED_SYNC)
		buf_addf(&c->text, "%s%s ", names[f.type], f.cluster != NULL ? "+" : "");
	else
		buf_addf(&c->text, "%s:%s/%s ", names[f.type], f.kind, f.key);
	if (f.type == WIRE_FEED_SYNC && ++c->syncs >= c->wanted)
		c->is_there = true;
}

static bool
on_data(struct http_call *call, const char *p, size_t n, void *arg)
{
	struct client *c = arg;
	char *end;

	(void)call;
	buf_add(&c->raw, p, n);
	while ((end = memchr(c->raw.p, '\n', c->raw.n)) != NULL) {
		take_line(c, c->raw.p, (size_t)(end - c->raw.p));
		buf_drop(&c->raw, (size_t)(end - c->raw.p) + 1);
	}
	return true;
}

static void
on_end(struct http_call *call, int status, struct str body, const struct err *e, void *arg)
{
	struct client *c = arg;

	(void)call;
	(void)status;
	(void)body;
	(void)e;
	c->call = NULL;
	c->is_there = true;
}

static void
follow(struct world *w, struct client *c, const char *path)
{
	AUTO(free)
	char *url = xasprintf("http://127.0.0.1:%d%s", http_server_port(w->server), path);
	struct http_call_opts o = { .url = url, .on_data = on_data };
	struct err e = { 0 };

	c->call = http_call_start(w->b.client, &o, on_end, c, &e);
	assert_non_null(c->call);
}

/* Waits until n syncs more came; the notes since the last time. */
static void
expect(struct world *w, struct client *c, int n, const char *want)
{
	c->wanted = c->syncs + n;
	c->is_there = c->syncs >= c->wanted;
	assert_true(loop_run_until(w->b.loop, &c->is_there, WAIT_MS));
	assert_string_equal(c->text.p, want);
	buf_clear(&c->text);
}

static void
leave(struct world *w, struct client *c)
{
	http_call_cancel(c->call);
	buf_fini(&c->raw);
	buf_fini(&c->text);
	store_fixture_settle(&w->f);
}

#define INSTANCE                                                                                   \
	"{\"spec\":{\"id\":\"i1\",\"gear\":\"u1\",\"app_id\":\"a\",\"deployment_id\":\"d\","       \
	"\"want\":\"present\"}}"

static void
snapshot_and_changes(void **state)
{
	struct world *w = *state;
	struct client c = { 0 };

	store_fixture_put(&w->f, "/gear/n1/u1", "{}");
	store_fixture_put(&w->f, "/gear/n2/u2", "{}");
	store_fixture_put(&w->f, "/instance/n1/i1", INSTANCE);
	store_fixture_put(&w->f, "/route/h", "{}");
	follow(w, &c, "/internal/node/feed?node=n1");
	expect(w, &c, 1, "reset+ put:gear/u1 put:instance/i1 sync+ ");
	assert_true(node_link_is_alive(w->b.nodes, "n1"));
	store_fixture_put(&w->f, "/layers/n1/a", "{}");
	expect(w, &c, 1, "put:layers/a sync ");
	store_fixture_put(&w->f, "/layers/n2/a", "{}");
	store_fixture_delete(&w->f, "/instance/n1/i1");
	expect(w, &c, 1, "delete:instance/i1 sync ");
	leave(w, &c);
	assert_false(node_link_is_alive(w->b.nodes, "n1"));
}

static void
one_revision_is_one_sync(void **state)
{
	struct world *w = *state;
	struct client c = { 0 };
	struct store_txn *t = store_txn_new();

	follow(w, &c, "/internal/router/feed?router=r1~4194304"); /* one that leaves, too */
	expect(w, &c, 1, "reset+ sync+ ");
	store_txn_put(t, "/route/a", "{}", 2);
	store_txn_put(t, "/app/x/y", "{}", 2);
	store_txn_put(t, "/route/b", "{}", 2);
	store_fixture_commit(&w->f, t, NULL);
	expect(w, &c, 1, "put:route/a put:route/b sync ");
	leave(w, &c);
}

static void
resumes(void **state)
{
	struct world *w = *state;
	AUTO(free) char *path = NULL;
	struct client c = { 0 }, late = { 0 };
	int64_t rev;

	store_fixture_put(&w->f, "/route/a", "{}");
	rev = store_fixture_put(&w->f, "/route/b", "{}");
	store_fixture_put(&w->f, "/route/c", "{}");
	path = xasprintf("/internal/router/feed?router=r&from=%lld", (long long)rev);
	follow(w, &c, path);
	expect(w, &c, 3, "sync+ put:route/b sync put:route/c sync ");
	leave(w, &c);
	follow(w, &late, "/internal/router/feed?router=r&from=999999");
	expect(w, &late, 1, "reset+ put:route/a put:route/b put:route/c sync+ ");
	leave(w, &late);
}

static void
behind_compaction_a_snapshot_comes(void **state)
{
	struct world *w = *state;
	struct client c = { 0 };
	int64_t rev;
	struct err e = { 0 };

	store_fixture_put(&w->f, "/route/a", "{}");
	store_fixture_put(&w->f, "/route/b", "{}");
	rev = store_fixture_put(&w->f, "/route/c", "{}");
	assert_int_equal(store_fixture_compact(&w->f, rev, &e), 0);
	follow(w, &c, "/internal/router/feed?router=r&from=1");
	expect(w, &c, 2, "sync+ reset+ put:route/a put:route/b put:route/c sync+ ");
	store_fixture_put(&w->f, "/route/d", "{}");
	expect(w, &c, 1, "put:route/d sync ");
	leave(w, &c);
}

static void
bad_requests(void **state)
{
	struct world *w = *state;
	static const char *const paths[] = {
		"/internal/node/feed",
		"/internal/node/feed?node=",
		"/internal/node/feed?node=a/b",
		"/internal/node/feed?node=n1&from=x",
		"/internal/node/feed?node=n1~17",
		"/internal/router/feed?router=r~x",
		"/internal/router/feed?router=~17",
		"/internal/router/feed?router=r&from=-1",
	};

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct client c = { 0 };
		AUTO(free)
		char *url =
		    xasprintf("http://127.0.0.1:%d%s", http_server_port(w->server), paths[i]);
		struct http_call_opts o = { .url = url };
		struct err e = { 0 };

		c.call = http_call_start(w->b.client, &o, on_end, &c, &e);
		assert_true(loop_run_until(w->b.loop, &c.is_there, WAIT_MS));
		assert_null(c.call);
	}
	assert_false(node_link_is_alive(w->b.nodes, "n1"));
}

static void
routers_are_waited_for(void **state)
{
	struct world *w = *state;
	struct client c = { 0 };
	int64_t rev = store_fixture_put(&w->f, "/route/a", "{}"), again = 0;

	assert_true(router_link_has(w->b.routers, rev));
	/* None was ever there: one that serves an old table may still come. */
	assert_false(router_link_released(w->b.routers, "i1", rev, &again));
	assert_true(again > 0 && again <= ROUTER_LINK_AWAY_MS);
	follow(w, &c, "/internal/router/feed?router=r1");
	expect(w, &c, 1, "reset+ put:route/a sync+ ");
	assert_false(router_link_has(w->b.routers, rev));
	assert_false(router_link_released(w->b.routers, "i1", rev, &again));
	assert_int_equal(again, 0); /* a report will tell, not time */
	leave(w, &c);
	assert_true(router_link_has(w->b.routers, rev));
	assert_false(router_link_released(w->b.routers, "i1", rev, &again));
	assert_true(again > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(snapshot_and_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(one_revision_is_one_sync, setup, teardown),
		cmocka_unit_test_setup_teardown(resumes, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    behind_compaction_a_snapshot_comes, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(routers_are_waited_for, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
