#include "test/lib/api_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/account.h"
#include "broker/api.h"
#include "broker/app_traffic.h"
#include "broker/auth.h"
#include "broker/catalog.h"
#include "broker/record.h"
#include "broker/rollout.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/http_client.h"
#include "lib/http/http_server.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/store/store_key.h"

enum { WAIT_MS = 30000 };

struct wait {
	bool done;
	bool failed;
	struct api_world *w;
};

static void
on_request(struct http_req *r, void *arg)
{
	api_handle(arg, r);
}

static void
on_changed(const struct err *e, void *arg)
{
	struct wait *wait = arg;

	wait->failed = e != NULL;
	wait->done = true;
}

static void
add_user(struct api_world *w, const char *login, bool is_admin)
{
	AUTO(free) char *password = xasprintf("%s-password", login);
	struct err e = { 0 };
	AUTO(free) char *hash = secret_password_hash(password, &e);
	struct wait wait = { 0 };

	assert_non_null(hash);
	account_create(&w->b, login, hash, is_admin, on_changed, &wait);
	assert_true(loop_run_until(w->store.loop, &wait.done, WAIT_MS));
	assert_false(wait.failed);
}

static void
add_node(struct api_world *w)
{
	AUTO_FINI(wire_node_record_fini) struct wire_node_record n = { 0 };
	AUTO(free) char *json = NULL;
	AUTO(free) char *key = store_key_node("n1");

	n.facts.id = xstrdup("n1");
	n.facts.disk_free_mb = 100000;
	n.first_seen = 1;
	json = codec_to_json(&wire_node_record_codec, &n);
	(void)store_fixture_put(&w->store, key, json);
}

static void
init(struct api_world *w)
{
	const char *src = getenv("PINION_SRCDIR");
	AUTO(free) char *carts = xasprintf("%s/cartridges", src == NULL ? PINION_TEST_SRCDIR : src);
	struct err e = { 0 };

	*w = (struct api_world){ 0 };
	api_world_fakes = (struct api_world_fakes){ 0 };
	log_setup("test", LOG_ERROR, false);
	store_fixture_init(&w->store);
	if (w->store.store == NULL)
		store_fixture_open(&w->store);
	w->b.loop = w->store.loop;
	w->b.store = w->store.store;
	w->b.conf.app_domain = (char *)(uintptr_t) "apps.test";
	w->b.conf.router_url = (char *)(uintptr_t) "http://127.0.0.1:8080";
	w->b.conf.max_gears = 5;
	w->b.conf.keep_deployments = 10;
	w->b.catalog = catalog_new(carts, &e);
	assert_non_null(w->b.catalog);
	assert_true(catalog_count(w->b.catalog) > 0);
	catalog_watch(w->b.catalog, w->b.store);
	w->b.worker = worker_new(w->b.loop, 1);
	w->b.rollout = rollout_new(&w->b);
	w->b.traffic = app_traffic_new();
	w->b.client = http_client_new(w->b.loop);
	w->b.auth = auth_new(&w->b);
	w->server = http_server_new(w->b.loop, NULL, on_request, &w->b);
	assert_int_equal(http_server_listen(w->server, "127.0.0.1:0", 0, &e), 0);
	w->root = xasprintf("http://127.0.0.1:%d", http_server_port(w->server));
	add_user(w, "admin", true);
	add_user(w, "ann", false);
	add_user(w, "bob", false);
	add_node(w);
}

static void
fini(struct api_world *w)
{
	codec_value_free(w->json);
	buf_fini(&w->body);
	http_server_free(w->server);
	api_end(&w->b);
	http_client_free(w->b.client);
	auth_free(w->b.auth);
	worker_free(w->b.worker);
	rollout_free(w->b.rollout);
	app_traffic_free(w->b.traffic);
	catalog_free(w->b.catalog);
	free(w->root);
	store_fixture_fini(&w->store);
}

int
api_world_setup(void **state)
{
	struct api_world *w = xcalloc(1, sizeof *w);

	init(w);
	*state = w;
	return 0;
}

int
api_world_setup_app(void **state)
{
	struct api_world *w;

	(void)api_world_setup(state);
	w = *state;
	assert_int_equal(api_world_as(w, "ann", "POST", "/domains", "{\"name\":\"shop\"}"), 201);
	assert_int_equal(api_world_as(w, "ann", "POST", "/domain/shop/applications",
	                     "{\"name\":\"web\",\"cartridges\":[\"nodejs\"],\"scale\":true}"),
	    201);
	return 0;
}

int
api_world_teardown(void **state)
{
	fini(*state);
	free(*state);
	return 0;
}

static void
on_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct wait *wait = arg;

	(void)c;
	if (e != NULL)
		print_message("call: %s\n", e->text);
	wait->failed = e != NULL;
	wait->w->status = status;
	buf_clear(&wait->w->body);
	buf_add(&wait->w->body, body.p, body.n);
	wait->done = true;
}

int
api_world_call(struct api_world *w, const char *method, const char *path, const char *body)
{
	AUTO(free) char *url = xasprintf("%s/broker/rest%s", w->root, path);
	struct wait wait = { .w = w };
	struct err e = { 0 };
	struct http_call_opts o = {
		.method = method,
		.url = url,
		.headers = w->headers,
		.user = w->bearer == NULL ? w->user : NULL,
		.password = w->bearer == NULL ? w->password : NULL,
		.bearer = w->bearer,
		.body = body,
		.body_n = body == NULL ? 0 : strlen(body),
	};
	const char *last;

	assert_non_null(http_call_start(w->b.client, &o, on_end, &wait, &e));
	assert_true(loop_run_until(w->b.loop, &wait.done, WAIT_MS));
	assert_false(wait.failed);
	codec_value_free(w->json);
	w->json = NULL;
	if (w->body.n > 0) {
		size_t n = w->body.n;

		while (n > 0 && w->body.p[n - 1] == '\n')
			n--;
		last = n == 0 ? w->body.p : memrchr(w->body.p, '\n', n);
		last = last == NULL || n == 0 ? w->body.p : last + 1;
		w->json = codec_parse(last, (size_t)(w->body.p + n - last), &e);
	}
	return w->status;
}

int
api_world_as(
    struct api_world *w, const char *login, const char *method, const char *path, const char *body)
{
	AUTO(free) char *password = xasprintf("%s-password", login);

	w->user = login;
	w->password = password;
	w->bearer = NULL;
	w->headers[0] = "Content-Type: application/json";
	w->headers[1] = NULL;
	(void)api_world_call(w, method, path, body);
	w->user = NULL;
	w->password = NULL;
	return w->status;
}

static const struct codec_value *
first_message(const struct api_world *w)
{
	return w->json == NULL ? NULL : codec_at(codec_get(w->json, "messages"), 0);
}

int64_t
api_world_exit(const struct api_world *w)
{
	const struct codec_value *m = first_message(w);

	return m == NULL ? INT64_MIN : codec_int(codec_get(m, "exit_code"), INT64_MIN);
}

static const char *
or_empty(const struct codec_value *v)
{
	const char *s = codec_string(v);

	return s == NULL ? "" : s;
}

const char *
api_world_field(const struct api_world *w)
{
	const struct codec_value *m = first_message(w);

	return m == NULL ? "" : or_empty(codec_get(m, "field"));
}

const char *
api_world_text(const struct api_world *w)
{
	const struct codec_value *m = first_message(w);

	return m == NULL ? "" : or_empty(codec_get(m, "text"));
}

const char *
api_world_data(const struct api_world *w, const char *key)
{
	return w->json == NULL ? "" : or_empty(codec_get(codec_get(w->json, "data"), key));
}

void
api_world_wait_count(struct api_world *w, const char *prefix, size_t n)
{
	int64_t end = loop_now_ms() + WAIT_MS;
	bool never = false;

	while (store_count(w->b.store, prefix) != n && loop_now_ms() < end)
		(void)loop_run_until(w->b.loop, &never, 5);
	assert_int_equal(store_count(w->b.store, prefix), n);
}

void
api_world_rows(struct api_world *w, const struct api_world_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct api_world_row *r = &rows[i];

		if (r->login != NULL) {
			(void)api_world_as(w, r->login, r->method, r->path, r->body);
		} else {
			w->headers[0] = NULL;
			(void)api_world_call(w, r->method, r->path, r->body);
		}
		if (w->status != r->status || api_world_exit(w) != r->exit ||
		    strcmp(api_world_field(w), r->field) != 0 ||
		    strstr(api_world_text(w), r->text) == NULL) {
			print_message("%s: %s %s: %d, %s\n", r->name, r->method, r->path, w->status,
			    w->body.n == 0 ? "" : w->body.p);
			fail_msg("wanted %d/%lld field '%s' text '%s'", r->status,
			    (long long)r->exit, r->field, r->text);
		}
	}
}
