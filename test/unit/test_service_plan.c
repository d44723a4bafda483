/* service_plan and connect_plan: from what is wanted and what is, to one transaction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/connect.h"
#include "broker/rollout_step.h"
#include "broker/service.h"
#include "lib/base/mem.h"
#include "lib/store/store.h"
#include "lib/store/store_txn.h"
#include "lib/wire/wire_cart.h"

enum { NOW_MS = 1000 * 1000 };

static const char web_yaml[] =
    "Name: web\nCartridge-Short-Name: WEB\nVersion: '1'\nCategories: [web_framework]\n"
    "Subscribes:\n  set-db:\n    Type: ENV:NET_TCP:db:connection-info\n    Required: false\n";
static const char db_yaml[] =
    "Name: db\nCartridge-Short-Name: DB\nVersion: '2'\nCategories: [service, database]\n"
    "Publishes:\n  publish-db:\n    Type: ENV:NET_TCP:db:connection-info\n"
    "  publish-other:\n    Type: ENV:NOBODY\n";

/* A scalable application: web in the head gear w, db in the gear d; an instance of each, or not. */
struct world {
	struct rollout_step st;
	struct app_view_app view;
	struct app_view_gear gears[2], *gear_list[2];
	struct app_view_instance instances[2], *instance_list[2];
	struct broker broker;
};

static void
add_cart(struct wire_gear_cart_list *l, const char *name, bool is_web)
{
	struct wire_gear_cart *c = codec_list_add(&wire_gear_cart_codec, l);

	c->name = xstrdup(name);
	c->version = xstrdup(is_web ? "1" : "2");
	c->is_web = is_web;
	c->is_service = !is_web;
}

static void
add_gear(struct world *w, size_t i, const char *uuid, const char *cart)
{
	struct app_view_gear *g = &w->gears[i];

	*g = (struct app_view_gear){ .node = xstrdup("n"), .rev = 1 };
	g->gear.uuid = xstrdup(uuid);
	g->gear.app_id = xstrdup("w");
	g->gear.app_name = xstrdup("app");
	g->gear.domain = xstrdup("dom");
	add_cart(&g->gear.cartridges, cart, i == 0);
	w->gear_list[i] = g;
	w->view.gears_n++;
}

static struct app_view_instance *
add_instance(struct world *w, int kind, int want, int state)
{
	struct app_view_instance *i = &w->instances[w->view.instances_n];
	bool is_service = kind == WIRE_INSTANCE_SERVICE;

	*i = (struct app_view_instance){ .node = xstrdup("n"), .rev = 1 };
	i->rec.spec.id = xstrdup(is_service ? "d-1" : "w-1");
	i->rec.spec.gear = xstrdup(is_service ? "d" : "w");
	i->rec.spec.app_id = xstrdup("w");
	i->rec.spec.cart = xstrdup(is_service ? "db" : "");
	i->rec.spec.deployment_id = xstrdup("");
	i->rec.spec.kind = kind;
	i->rec.spec.want = want;
	i->rec.spec.generation = 3;
	i->rec.spec.start_timeout_s = 120;
	i->rec.spec.stop_timeout_s = 60;
	i->rec.changed_ms = NOW_MS;
	i->status.id = xstrdup(i->rec.spec.id);
	i->status.generation = 3;
	i->status.state = state;
	w->instance_list[w->view.instances_n++] = i;
	return i;
}

static void
parse(const char *yaml, struct wire_cart *out)
{
	struct err e = { 0 };

	if (wire_cart_parse(yaml, strlen(yaml), NULL, out, &e) < 0)
		fail_msg("%s: %s", e.field, e.text);
}

static void
world_init(struct world *w, bool runs)
{
	struct wire_app *a = &w->st.app;

	*w = (struct world){ .view = { .id = "w" } };
	w->view.gears = w->gear_list;
	w->view.instances = w->instance_list;
	w->st.v = &w->view;
	w->st.b = &w->broker;
	w->st.now_ms = NOW_MS;
	a->id = xstrdup("w");
	a->name = xstrdup("app");
	a->domain = xstrdup("dom");
	a->scalable = true;
	a->spec.gears = 1;
	a->spec.running = runs;
	add_cart(&a->cartridges, "web", true);
	add_cart(&a->cartridges, "db", false);
	w->st.manifests = xcalloc(2, sizeof *w->st.manifests);
	w->st.manifests_n = 2;
	parse(web_yaml, &w->st.manifests[0]);
	parse(db_yaml, &w->st.manifests[1]);
	add_gear(w, 0, "w", "web");
	add_gear(w, 1, "d", "db");
}

static void
world_fini(struct world *w)
{
	rollout_step_fini(&w->st);
	for (size_t i = 0; i < w->view.gears_n; i++) {
		wire_gear_fini(&w->gears[i].gear);
		free(w->gears[i].node);
	}
	for (size_t i = 0; i < w->view.instances_n; i++) {
		wire_instance_record_fini(&w->instances[i].rec);
		wire_instance_status_fini(&w->instances[i].status);
		free(w->instances[i].node);
	}
}

/* The one record that the step writes below prefix; false: none. */
static bool
written(const struct world *w, const char *prefix, const struct codec *c, void *out)
{
	const struct store_txn *t = w->st.t;
	struct err e = { 0 };
	bool is_found = false;

	for (size_t i = 0; t != NULL && i < t->rows.n; i++) {
		const struct store_row *r = &t->rows.v[i];

		if (!str_has_prefix(r->key, prefix))
			continue;
		assert_false(is_found);
		is_found = true;
		assert_int_equal(codec_decode(c, r->val, r->n, out, CODEC_KEEP, &e), 0);
	}
	return is_found;
}

/* --- services --- */

enum { NO_INSTANCE = -1, NOTHING = -1, CREATED = -2 };

static const struct service_row {
	const char *name;
	bool runs, has_web;
	int want, state; /* of the service's instance */
	bool is_cart_stopped;
	int64_t app_restarts, cart_restarts; /* beyond what the instance was made for */
	int64_t age_ms;                      /* since it was last told something */
	int becomes;                         /* NOTHING, CREATED, or what it is told to be */
	bool holds;                          /* web instances wait for it */
} service_rows[] = {
	{ "made when the application runs", true, false, NO_INSTANCE, 0, false, 0, 0, 0, CREATED,
	    true },
	{ "not before", false, false, NO_INSTANCE, 0, false, 0, 0, 0, NOTHING, false },
	{ "not one that its owner stopped", true, false, NO_INSTANCE, 0, true, 0, 0, 0, NOTHING,
	    false },
	{ "waited for", true, false, WIRE_WANT_PRESENT, WIRE_INSTANCE_STARTING, false, 0, 0, 0,
	    NOTHING, true },
	{ "not for ever", true, false, WIRE_WANT_PRESENT, WIRE_INSTANCE_STARTING, false, 0, 0,
	    3600 * 1000, NOTHING, false },
	{ "left alone", true, true, WIRE_WANT_PRESENT, WIRE_INSTANCE_READY, false, 0, 0, 0, NOTHING,
	    false },
	{ "a crash is the node's affair", true, true, WIRE_WANT_PRESENT, WIRE_INSTANCE_CRASHED,
	    false, 0, 0, 0, NOTHING, false },
	{ "a start that failed is not tried at once", true, true, WIRE_WANT_PRESENT,
	    WIRE_INSTANCE_FAILED, false, 0, 0, 1000, NOTHING, false },
	{ "but later", true, true, WIRE_WANT_PRESENT, WIRE_INSTANCE_FAILED, false, 0, 0, 31 * 1000,
	    WIRE_WANT_PRESENT, false },
	{ "restarted with the application: stopped first", true, true, WIRE_WANT_PRESENT,
	    WIRE_INSTANCE_READY, false, 1, 0, 0, WIRE_WANT_STOPPED, false },
	{ "restarted alone", true, true, WIRE_WANT_PRESENT, WIRE_INSTANCE_READY, false, 0, 1, 0,
	    WIRE_WANT_STOPPED, false },
	{ "a restart that was taken back", true, true, WIRE_WANT_PRESENT, WIRE_INSTANCE_READY,
	    false, -1, 0, 0, WIRE_WANT_PRESENT, false },
	{ "not started before it has stopped", true, true, WIRE_WANT_STOPPED,
	    WIRE_INSTANCE_STOPPING, false, 1, 0, 0, NOTHING, true },
	{ "then started", true, true, WIRE_WANT_STOPPED, WIRE_INSTANCE_STOPPED, false, 1, 0, 0,
	    WIRE_WANT_PRESENT, true },
	{ "stays while the web stops", false, true, WIRE_WANT_PRESENT, WIRE_INSTANCE_READY, false,
	    0, 0, 0, NOTHING, false },
	{ "stops after it", false, false, WIRE_WANT_PRESENT, WIRE_INSTANCE_READY, false, 0, 0, 0,
	    WIRE_WANT_STOPPED, false },
	{ "stays stopped", false, false, WIRE_WANT_STOPPED, WIRE_INSTANCE_STOPPED, false, 0, 0, 0,
	    NOTHING, false },
	{ "stopped alone", true, true, WIRE_WANT_PRESENT, WIRE_INSTANCE_READY, true, 0, 0, 0,
	    WIRE_WANT_STOPPED, false },
	{ "never two at once", true, true, WIRE_WANT_GONE, WIRE_INSTANCE_STOPPING, false, 0, 0, 0,
	    NOTHING, true },
};

static void
services_follow_their_application(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(service_rows); k++) {
		const struct service_row *r = &service_rows[k];
		AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };
		struct world w;
		bool is_written, holds;

		world_init(&w, r->runs);
		w.st.app.spec.restart_gen = 5 + r->app_restarts;
		w.st.app.cartridges.v[1].restart_gen = 7 + r->cart_restarts;
		w.st.app.cartridges.v[1].is_stopped = r->is_cart_stopped;
		if (r->has_web)
			add_instance(&w, WIRE_INSTANCE_WEB, WIRE_WANT_PRESENT, WIRE_INSTANCE_READY);
		if (r->want != NO_INSTANCE) {
			struct app_view_instance *i =
			    add_instance(&w, WIRE_INSTANCE_SERVICE, r->want, r->state);

			i->rec.restart_gen = 5;
			i->rec.cart_restart_gen = 7;
			i->rec.changed_ms -= r->age_ms;
		}
		service_plan(&w.st);
		is_written = written(&w, "/instance/n/", &wire_instance_record_codec, &rec);
		holds = service_holds_start(&w.st);
		if (is_written != (r->becomes != NOTHING))
			fail_msg("%s: %s", r->name, is_written ? "told something" : "told nothing");
		if (holds != r->holds)
			fail_msg("%s: %s", r->name, holds ? "held" : "not held");
		if (r->becomes == CREATED) {
			assert_int_equal(rec.spec.kind, WIRE_INSTANCE_SERVICE);
			assert_string_equal(rec.spec.gear, "d");
			assert_string_equal(rec.spec.cart, "db");
			assert_int_equal(rec.restart_gen, w.st.app.spec.restart_gen);
		} else if (is_written && rec.spec.want != r->becomes) {
			fail_msg("%s: told to be %s", r->name, wire_want_names[rec.spec.want].name);
		}
		world_fini(&w);
	}
}

/* Else a start that takes longer to fail than the pause before the next is tried for ever, and the
 * addition that it belongs to never ends. */
static void
a_failed_start_is_judged_before_it_is_tried_again(void **state)
{
	AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };
	struct world w;

	(void)state;
	world_init(&w, true);
	w.st.app.spec.cart_rev = w.st.app.status.cart_rev + 1;
	add_instance(&w, WIRE_INSTANCE_SERVICE, WIRE_WANT_PRESENT, WIRE_INSTANCE_FAILED)
	    ->rec.changed_ms -= 46 * 1000;
	service_plan(&w.st);
	assert_false(written(&w, "/instance/n/", &wire_instance_record_codec, &rec));
	assert_false(service_holds_start(&w.st));
	world_fini(&w);
}

static void
what_nobody_has_any_more_goes(void **state)
{
	AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };
	struct world w;

	(void)state;
	world_init(&w, true);
	add_instance(&w, WIRE_INSTANCE_SERVICE, WIRE_WANT_PRESENT, WIRE_INSTANCE_READY);
	w.gears[1].gear.want = WIRE_WANT_GONE;
	service_plan(&w.st);
	assert_true(written(&w, "/instance/n/", &wire_instance_record_codec, &rec));
	assert_int_equal(rec.spec.want, WIRE_WANT_GONE);
	assert_int_equal(rec.spec.generation, 4);
	assert_true(service_is_stopping(&w.st) == false);
	world_fini(&w);
}

/* --- connections --- */

static void
add_published(struct world *w, const char *ident, const char *text)
{
	struct wire_published *p = codec_list_add(&wire_published_codec, &w->st.app.published);

	*p = (struct wire_published){ xstrdup("d"), xstrdup("db"), xstrdup(ident),
		xstrdup("publish-db"), xstrdup("ENV:NET_TCP:db:connection-info"), xstrdup(text) };
}

static void
give_gear(struct world *w, const char *value)
{
	struct wire_gear_published *p =
	    codec_list_add(&wire_gear_published_codec, &w->gears[0].gear.published);
	struct wire_var *v = codec_list_add(&wire_var_codec, &p->vars);

	p->publisher = xstrdup("unknown-db"); /* as one without a vendor is named */
	v->name = xstrdup("DB_HOST");
	v->value = xstrdup(value);
}

static const struct connect_row {
	const char *name;
	int service;       /* state of its instance; -1: none */
	bool has_web;      /* a web instance runs */
	const char *have;  /* what was taken before; NULL: nothing */
	const char *got;   /* what a hook has just published; NULL: nothing */
	const char *given; /* what the web gear has; NULL: nothing */
	bool asks;         /* the hook is to be run, and web instances wait */
	const char *gives; /* what the web gear gets; "": takes away; NULL: as it is */
	bool rolls;        /* processes that run get them by a rollout */
} connect_rows[] = {
	{ "nothing before the service is ready", WIRE_INSTANCE_STARTING, false, NULL, NULL, NULL,
	    false, NULL, false },
	{ "the hook runs once it is", WIRE_INSTANCE_READY, false, NULL, NULL, NULL, true, NULL,
	    false },
	{ "its words reach the other gear", WIRE_INSTANCE_READY, false, NULL,
	    "DB_HOST=a=b\nnonsense\n", NULL, false, "a=b", false },
	{ "what is there is left alone", WIRE_INSTANCE_READY, true, "DB_HOST=a\n", NULL, "a", false,
	    NULL, false },
	{ "processes that run get a change", WIRE_INSTANCE_READY, true, "DB_HOST=b\n", NULL, "a",
	    false, "b", true },
	{ "a hook that fails publishes nothing", WIRE_INSTANCE_READY, true, "", NULL, "a", false,
	    "", true },
	{ "a service that is down keeps its words", WIRE_INSTANCE_CRASHED, true, "DB_HOST=a\n",
	    NULL, "a", false, NULL, false },
	{ "so does one that restarts", -1, true, "DB_HOST=a\n", NULL, "a", false, NULL, false },
};

static const char *
host_of(const struct wire_gear *g)
{
	return g->published.n == 0 || g->published.v[0].vars.n == 0
	           ? ""
	           : g->published.v[0].vars.v[0].value;
}

static void
words_reach_those_who_subscribe(void **state)
{
	static const char ident[] = ":db:2:#0.0";

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(connect_rows); k++) {
		const struct connect_row *r = &connect_rows[k];
		AUTO_FINI(wire_published_fini) struct wire_published got = { 0 };
		AUTO_FINI(wire_gear_fini) struct wire_gear gear = { 0 };
		struct world w;
		bool is_given;

		world_init(&w, true);
		if (r->has_web)
			add_instance(&w, WIRE_INSTANCE_WEB, WIRE_WANT_PRESENT, WIRE_INSTANCE_READY);
		if (r->service >= 0)
			add_instance(&w, WIRE_INSTANCE_SERVICE, WIRE_WANT_PRESENT, r->service);
		if (r->have != NULL)
			add_published(&w, ident, r->have);
		if (r->got != NULL) {
			add_published(&w, ident, r->got);
			codec_copy(&wire_published_codec, &got, &w.st.app.published.v[0]);
			wire_published_fini(&w.st.app.published.v[0]);
			w.st.app.published.n = 0;
			w.st.published = &got;
		}
		if (r->given != NULL)
			give_gear(&w, r->given);
		connect_plan(&w.st);
		is_given = written(&w, "/gear/n/w", &wire_gear_codec, &gear);
		if ((w.st.publish.gear != NULL) != r->asks || connect_holds_start(&w.st) != r->asks)
			fail_msg("%s: %s", r->name, r->asks ? "does not ask" : "asks");
		if (r->asks)
			assert_string_equal(w.st.publish.connector, "publish-db");
		if (is_given != (r->gives != NULL) ||
		    (is_given && strcmp(host_of(&gear), r->gives) != 0))
			fail_msg("%s: given %s", r->name, is_given ? host_of(&gear) : "nothing");
		if ((w.st.app.spec.env_rev > 0) != r->rolls)
			fail_msg("%s: %s", r->name, r->rolls ? "does not roll" : "rolls");
		world_fini(&w);
	}
}

static void
a_cartridge_that_went_takes_its_words_along(void **state)
{
	AUTO_FINI(wire_gear_fini) struct wire_gear gear = { 0 };
	struct world w;

	(void)state;
	world_init(&w, true);
	add_published(&w, ":db:2:#0.0", "DB_HOST=a\n");
	give_gear(&w, "a");
	w.gears[1].gear.want = WIRE_WANT_GONE;
	connect_plan(&w.st);
	assert_int_equal(w.st.app.published.n, 0);
	assert_true(w.st.is_app_changed);
	assert_true(written(&w, "/gear/n/w", &wire_gear_codec, &gear));
	assert_int_equal(gear.published.n, 0);
	world_fini(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(services_follow_their_application),
		cmocka_unit_test(a_failed_start_is_judged_before_it_is_tried_again),
		cmocka_unit_test(what_nobody_has_any_more_goes),
		cmocka_unit_test(words_reach_those_who_subscribe),
		cmocka_unit_test(a_cartridge_that_went_takes_its_words_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
