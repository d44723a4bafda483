#include "broker/rollout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/connect.h"
#include "broker/controller.h"
#include "broker/repo.h"
#include "broker/rollout_step.h"
#include "broker/route_plan.h"
#include "broker/router_link.h"
#include "broker/subscribe.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/store/store.h"

enum {
	ROUTER_WAIT_MS = 5000, /* for connected routers, before a user is answered all the same */
	VIEW_LAG_MS = 5,
	PUBLISH_TRIES = 5,
	PUBLISH_RETRY_MS = 1000,
};

struct rollout_wait {
	struct rollout_wait *next;
	struct ctl *ctl; /* borrowed */
	rollout_line_fn *on_line;
	rollout_done_fn *done;
	void *arg;
	int64_t min_rev;   /* the view must know this much before it counts */
	int64_t router_ms; /* loop time since when only routers are missing; 0: not yet */
};

/* What is kept in memory for an application: who waits, and a step under way. */
struct ctl {
	struct rollout *r; /* borrowed; NULL: it is gone */
	char *id;
	struct rollout_wait *waits; /* owned */
	int64_t min_rev;            /* of our own last write */
	int64_t switch_us;          /* when the last switch was submitted */
	bool waits_for_router;
	size_t holders;
	bool is_removing_repo, is_repo_removed;
	struct connect_run *publishing;  /* owned */
	struct wire_published asked;     /* of publishing */
	struct wire_published published; /* the last; gear NULL: none yet */
	int publish_fails;               /* in a row */
	struct subscribe_run *telling;   /* owned */
	struct subscribe_order order;    /* of telling */
	struct map *told;                /* see subscribe_plan; owned */
	/* of the transaction under way: */
	bool is_storing, is_switch, is_app_gone;
	char *failure; /* owned */
	struct str_list tail, notes, messages;
};

struct rollout {
	struct broker *b; /* borrowed */
	struct app_view *view;
	struct controller *controller;
	struct map *ctls; /* app id → struct ctl, owned */
};

static void
ctl_free(void *p)
{
	struct ctl *c = p;

	while (c->waits != NULL) {
		struct rollout_wait *w = c->waits;

		c->waits = w->next;
		free(w);
	}
	connect_run_cancel(c->publishing);
	subscribe_run_cancel(c->telling);
	subscribe_order_fini(&c->order);
	map_free(c->told);
	wire_published_fini(&c->asked);
	wire_published_fini(&c->published);
	free(c->failure);
	str_list_fini(&c->tail);
	str_list_fini(&c->notes);
	str_list_fini(&c->messages);
	free(c->id);
	if (c->is_storing)
		c->r = NULL; /* on_stored frees it */
	else
		free(c);
}

static struct ctl *
ctl_of(struct rollout *r, const char *id)
{
	struct ctl *c = map_get(r->ctls, id);

	if (c == NULL) {
		c = xcalloc(1, sizeof *c);
		c->r = r;
		c->id = xstrdup(id);
		c->told = map_new(free);
		map_set(r->ctls, id, c);
	}
	return c;
}

int64_t
rollout_switch_us(struct rollout *r, const char *app_id)
{
	return ctl_of(r, app_id)->switch_us;
}

void
rollout_poke(struct rollout *r, const char *app_id)
{
	controller_wake(r->controller, app_id);
}

void
rollout_hold(struct rollout *r, const char *app_id)
{
	ctl_of(r, app_id)->holders++;
}

void
rollout_release(struct rollout *r, const char *app_id)
{
	ctl_of(r, app_id)->holders--;
	rollout_poke(r, app_id);
}

struct app_view *
rollout_view(struct rollout *r)
{
	return r->view;
}

static void
say(struct ctl *c, const char *line)
{
	for (struct rollout_wait *w = c->waits; w != NULL; w = w->next) {
		if (w->on_line != NULL)
			w->on_line(line, w->arg);
	}
}

static void
wait_end(struct ctl *c, struct rollout_wait *w, const struct err *e)
{
	for (struct rollout_wait **p = &c->waits; *p != NULL; p = &(*p)->next) {
		if (*p == w) {
			*p = w->next;
			break;
		}
	}
	w->done(e, w->arg);
	free(w);
}

/* A list of those that wait now: done may add others. */
static void
end_all(struct ctl *c, const struct err *e, int64_t rev)
{
	for (;;) {
		struct rollout_wait *w = c->waits;

		while (w != NULL && w->min_rev > rev)
			w = w->next;
		if (w == NULL)
			return;
		wait_end(c, w, e);
	}
}

static void
tell_failure(struct ctl *c)
{
	struct err e = { 0 };
	struct buf text = { 0 };

	for (size_t i = 0; i < c->messages.n; i++)
		say(c, c->messages.v[i]);
	if (c->tail.n > 0)
		say(c, "The last lines of its output:");
	for (size_t i = 0; i < c->tail.n; i++) {
		AUTO(free) char *line = xasprintf("    %s", c->tail.v[i]);

		say(c, line);
	}
	buf_adds(&text, c->failure);
	for (size_t i = c->tail.n > 10 ? c->tail.n - 10 : 0; i < c->tail.n; i++)
		buf_addf(&text, "\n    %s", c->tail.v[i]);
	(void)err_set(&e, ERR_CONFLICT, NULL, "%s", text.p);
	buf_fini(&text);
	end_all(c, &e, INT64_MAX);
}

static void
tell_gone(struct ctl *c)
{
	struct err e = { 0 };

	(void)err_set(&e, ERR_NOT_FOUND, "app", "the application does not exist any more");
	/* Who waits for its end has just that. */
	end_all(c, c->is_repo_removed ? NULL : &e, INT64_MAX);
}

static void
on_stored(int64_t rev, const struct err *e, void *arg)
{
	struct ctl *c = arg;
	struct rollout *r = c->r;

	c->is_storing = false;
	if (r == NULL) {
		free(c);
		return;
	}
	AUTO(free) char *failure = STEAL(c->failure);
	if (e != NULL) {
		if (e->code != ERR_CONFLICT)
			log_error("rollout_not_stored", LOG_STR("app", c->id), LOG_ERR(e));
		controller_done(r->controller, c->id, e->code == ERR_CONFLICT ? 1 : -1);
		return;
	}
	c->min_rev = rev;
	if (c->is_switch) {
		fault_point("rollout_switched");
		for (size_t i = 0; i < c->notes.n; i++)
			say(c, c->notes.v[i]);
		log_info("rollout_switched", LOG_STR("app", c->id), LOG_INT("revision", rev));
	}
	if (failure != NULL) {
		c->failure = STEAL(failure);
		tell_failure(c);
		free(STEAL(c->failure));
	}
	if (c->is_app_gone) {
		log_info("app_gone", LOG_STR("app", c->id));
		tell_gone(c);
	}
	controller_done(r->controller, c->id, 1);
}

static void
on_repo_removed(const struct err *e, void *arg)
{
	struct ctl *c = arg;

	c->is_removing_repo = false;
	c->is_repo_removed = e == NULL;
	if (e != NULL)
		log_error("repo_not_removed", LOG_STR("app", c->id), LOG_ERR(e));
	controller_done(c->r->controller, c->id, e == NULL ? 1 : -1);
}

/* All is as wanted; those who wait are told as soon as the routers have it. Returns ms to look
 * again, or 0. */
static int64_t
settle(struct ctl *c, const struct rollout_step *st)
{
	struct rollout *r = c->r;
	int64_t rev = route_plan_rev(r->b, &st->app), now = loop_now_ms(), again = 0;
	bool has = router_link_has(r->b->routers, rev);

	if (c->waits == NULL)
		return 0;
	c->waits_for_router = c->waits_for_router || !has;
	for (struct rollout_wait *w = c->waits; w != NULL;) {
		if (w->router_ms == 0)
			w->router_ms = now;
		if (app_view_rev(r->view) >= w->min_rev &&
		    (has || now - w->router_ms >= ROUTER_WAIT_MS)) {
			wait_end(c, w, NULL);
			w = c->waits; /* others may have been cancelled meanwhile */
			continue;
		}
		if (app_view_rev(r->view) < w->min_rev)
			again = VIEW_LAG_MS;
		else if (again == 0)
			again = w->router_ms + ROUTER_WAIT_MS - now;
		w = w->next;
	}
	return again;
}

static void
submit(struct ctl *c, struct rollout_step *st)
{
	c->is_switch = st->is_switch;
	if (c->is_switch)
		c->switch_us = loop_now_us();
	c->is_app_gone = st->is_app_gone;
	free(c->failure);
	c->failure = STEAL(st->failure);
	str_list_fini(&c->tail);
	c->tail = st->tail;
	st->tail = (struct str_list){ 0 };
	str_list_fini(&c->notes);
	c->notes = st->notes;
	st->notes = (struct str_list){ 0 };
	str_list_fini(&c->messages);
	c->messages = st->messages;
	st->messages = (struct str_list){ 0 };
	rollout_step_seal(st);
	c->is_storing = true;
	store_txn_submit(c->r->b->store, STEAL(st->t), on_stored, c);
}

/* A node that cannot be asked is asked again; an application does not wait for ever. */
static void
publish_failed(struct ctl *c, const struct err *e)
{
	log_warn("publish_not_run", LOG_STR("app", c->id), LOG_STR("cartridge", c->asked.cart),
	    LOG_ERR(e));
	if (++c->publish_fails < PUBLISH_TRIES)
		return;
	c->publish_fails = 0;
	wire_published_fini(&c->published);
	codec_copy(&wire_published_codec, &c->published, &c->asked);
	mem_set_str(&c->published.text, "");
}

static void
on_published(const struct wire_published *p, const struct err *e, void *arg)
{
	struct ctl *c = arg;

	c->publishing = NULL;
	if (p == NULL) {
		publish_failed(c, e);
	} else {
		c->publish_fails = 0;
		wire_published_fini(&c->published);
		codec_copy(&wire_published_codec, &c->published, p);
	}
	controller_wake(c->r->controller, c->id);
}

/* Beside the steps: they go on meanwhile. Returns ms to look again, or 0. */
static int64_t
publish(struct ctl *c, const struct rollout_step *st)
{
	struct err e = { 0 };

	if (c->publishing != NULL)
		return 0;
	wire_published_fini(&c->asked);
	codec_copy(&wire_published_codec, &c->asked, &st->publish);
	c->publishing = connect_run_start(
	    c->r->b, &st->app, st->publish_node, &st->publish, on_published, c, &e);
	if (c->publishing != NULL)
		return 0;
	publish_failed(c, &e);
	return PUBLISH_RETRY_MS;
}

/* Whatever its hook says: it was told. One that there is not is not looked for again. */
static void
on_told(int64_t result, const struct err *e, void *arg)
{
	struct ctl *c = arg;

	c->telling = NULL;
	if (result < 0) {
		log_warn("subscribe_not_run", LOG_STR("app", c->id), LOG_ERR(e));
		return; /* again with the next change */
	}
	map_set(c->told, c->order.key, xstrdup(c->order.digest));
	if (result == SUBSCRIBE_NO_HOOK)
		map_set(c->told, c->order.none, xstrdup(""));
	controller_wake(c->r->controller, c->id);
}

static void
tell_subscribers(struct ctl *c, struct rollout_step *st)
{
	struct err e = { 0 };

	if (c->telling != NULL)
		return;
	subscribe_order_fini(&c->order);
	subscribe_plan(st, c->told, &c->order);
	if (c->order.gear == NULL)
		return;
	c->telling = subscribe_run_start(c->r->b, &st->app, &c->order, on_told, c, &e);
	if (c->telling == NULL)
		log_warn("subscribe_not_run", LOG_STR("app", c->id), LOG_ERR(&e));
}

static void
step(const char *id, void *arg)
{
	AUTO_FINI(rollout_step_fini) struct rollout_step st = { 0 };
	struct rollout *r = arg;
	struct ctl *c = ctl_of(r, id);
	int64_t again;

	if (app_view_rev(r->view) < c->min_rev) {
		controller_done(r->controller, id, VIEW_LAG_MS);
		return;
	}
	if (!rollout_step_load(&st, r->b, r->view, id)) {
		if (c->waits != NULL)
			tell_gone(c);
		controller_done(r->controller, id, 0);
		return;
	}
	st.is_repo_removed = c->is_repo_removed;
	st.is_held = c->holders > 0;
	st.published = c->published.gear == NULL ? NULL : &c->published;
	rollout_step_plan(&st);
	c->waits_for_router = st.waits_for_router;
	if (st.t != NULL) {
		submit(c, &st);
		return;
	}
	if (st.wants_repo_removed) {
		c->is_removing_repo = true;
		repo_remove(r->b->repos, id, on_repo_removed, c);
		return;
	}
	again = st.again_ms;
	if (st.publish.gear != NULL) {
		int64_t ms = publish(c, &st);

		again = ms > 0 ? ms : again;
	} else {
		tell_subscribers(c, &st);
	}
	if (st.is_settled) {
		int64_t ms = settle(c, &st);

		if (ms > 0 && (again == 0 || ms < again))
			again = ms;
	}
	controller_done(r->controller, id, again);
}

static void
on_change(const char *app_id, void *arg)
{
	struct rollout *r = arg;

	controller_wake(r->controller, app_id);
}

static void
wake_waiting(const char *key, void *value, void *arg)
{
	const struct ctl *c = value;
	struct rollout *r = arg;

	if (c->waits_for_router)
		controller_wake(r->controller, key);
}

static void
on_router(void *arg)
{
	struct rollout *r = arg;

	map_each(r->ctls, wake_waiting, r);
}

struct rollout *
rollout_new(struct broker *b)
{
	struct rollout *r = xcalloc(1, sizeof *r);

	r->b = b;
	r->ctls = map_new(ctl_free);
	r->controller = controller_new(b->loop, step, r);
	r->view = app_view_new(b, on_change, r);
	router_link_on_change(b->routers, on_router, r);
	return r;
}

void
rollout_free(struct rollout *take_r)
{
	if (take_r == NULL)
		return;
	router_link_on_change(take_r->b->routers, NULL, NULL);
	app_view_free(take_r->view);
	controller_free(take_r->controller);
	map_free(take_r->ctls);
	free(take_r);
}

struct rollout_wait *
rollout_wait(struct rollout *r, const char *app_id, rollout_line_fn *on_line, rollout_done_fn *done,
    void *arg)
{
	struct ctl *c = ctl_of(r, app_id);
	struct rollout_wait *w = xcalloc(1, sizeof *w);

	*w = (struct rollout_wait){ .next = c->waits,
		.ctl = c,
		.on_line = on_line,
		.done = done,
		.arg = arg,
		.min_rev = store_rev(r->b->store) };
	c->waits = w;
	controller_wake(r->controller, app_id);
	return w;
}

void
rollout_wait_cancel(struct rollout_wait *take_w)
{
	if (take_w == NULL)
		return;
	for (struct rollout_wait **p = &take_w->ctl->waits; *p != NULL; p = &(*p)->next) {
		if (*p == take_w) {
			*p = take_w->next;
			break;
		}
	}
	free(take_w);
}
