#include "node/gear_carts.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "node/cart_message.h"
#include "node/cart_store.h"
#include "node/gear.h"

struct gear_carts {
	struct cart_install_opts o;
	struct gear *g; /* borrowed */
	struct cart_store_get *get;
	struct cart_install *install;
	struct wire_gear_cart now; /* what install works at */
	enum cart_install_kind kind;
	bool is_going, gave_up; /* of a gear that goes: its teardowns, which may fail */
	gear_carts_fn *fn;
	void *arg;
};

struct gear_carts *
gear_carts_new(const struct cart_install_opts *o, struct gear *g, gear_carts_fn *fn, void *arg)
{
	struct gear_carts *c = xcalloc(1, sizeof *c);

	*c = (struct gear_carts){ .o = *o, .g = g, .fn = fn, .arg = arg };
	return c;
}

void
gear_carts_stop(struct gear_carts *c)
{
	cart_store_cancel(STEAL(c->get));
	cart_install_cancel(STEAL(c->install));
}

void
gear_carts_free(struct gear_carts *take_c)
{
	if (take_c == NULL)
		return;
	gear_carts_stop(take_c);
	wire_gear_cart_fini(&take_c->now);
	free(take_c);
}

void
gear_carts_go_on(struct gear_carts *c)
{
	if (c->install != NULL)
		cart_install_go_on(c->install);
}

bool
gear_carts_is_busy(const struct gear_carts *c)
{
	return c->get != NULL || c->install != NULL;
}

/* --- what failed --- */

static struct wire_gear_cart_status *
find_failed(const struct gear_carts *c, const char *name)
{
	struct wire_gear_cart_status_list *l = &c->g->failed;

	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].name, name) == 0)
			return &l->v[i];
	}
	return NULL;
}

static void
clear_failed(struct gear_carts *c)
{
	struct wire_gear_cart_status_list *l = &c->g->failed;

	for (size_t i = 0; i < l->n; i++)
		wire_gear_cart_status_fini(&l->v[i]);
	free(l->v);
	*l = (struct wire_gear_cart_status_list){ 0 };
}

static void
drop_failed(struct gear_carts *c, const char *name)
{
	struct wire_gear_cart_status_list *l = &c->g->failed;
	struct wire_gear_cart_status *f = find_failed(c, name);

	if (f == NULL)
		return;
	wire_gear_cart_status_fini(f);
	*f = l->v[--l->n];
}

void
gear_carts_changed(struct gear_carts *c, bool has_other_carts)
{
	if (has_other_carts)
		clear_failed(c);
}

static void
add_failed(struct gear_carts *c, const struct err *e, const struct cart_message *said)
{
	struct wire_gear_cart_status *f = find_failed(c, c->now.name);

	if (f == NULL)
		f = codec_list_add(&wire_gear_cart_status_codec, &c->g->failed);
	else
		wire_gear_cart_status_fini(f);
	f->name = xstrdup(c->now.name);
	f->ident = xstrdup("");
	f->state = xstrdup("failed");
	f->reason = xstrdup(e->text);
	if (said == NULL)
		return;
	str_list_copy(&f->messages, &said->lines);
	if (!said->has_error)
		cart_message_tell_plain(said, "CLIENT_MESSAGE", &f->messages);
}

/* --- what is to be done --- */

/* Is it configured, in that release? A software version is for ever. */
static bool
is_configured(const struct gear *g, const struct wire_gear_cart *w)
{
	const struct gear_cart *have = gear_cart_find(g, w->name);
	AUTO_FINI(wire_gear_cart_fini) struct wire_gear_cart was = { 0 };

	if (have == NULL)
		return false;
	gear_cart_spec(have, &was);
	return w->cart_version == NULL || w->cart_version[0] == '\0' ||
	       strcmp(w->cart_version, was.cart_version) == 0;
}

static void
on_end(struct gear_carts *c, const struct err *e, const struct cart_message *said)
{
	bool is_fatal = e != NULL && !c->g->record.was_ready && c->kind == CART_INSTALL;

	if (e != NULL && c->is_going) {
		c->gave_up = true;
		is_fatal = false;
	} else if (e != NULL) {
		add_failed(c, e, said);
	} else {
		drop_failed(c, c->now.name);
	}
	c->fn(is_fatal ? e : NULL, c->arg);
}

static void
on_installed(const struct err *e, const struct cart_message *said, void *arg)
{
	struct gear_carts *c = arg;

	c->install = NULL;
	on_end(c, e, said);
}

static void
on_got(const struct err *e, void *arg)
{
	struct gear_carts *c = arg;

	c->get = NULL;
	if (e != NULL)
		on_end(c, e, NULL);
	else
		c->fn(NULL, c->arg);
}

/* Of one that is configured: without its code the gear waits. */
static void
on_code(const struct err *e, void *arg)
{
	struct gear_carts *c = arg;

	c->get = NULL;
	c->fn(e, c->arg);
}

/* It was configured on another node. */
static bool
lacks_code(const struct gear_carts *c, const struct wire_gear_cart *w)
{
	return w->digest != NULL && w->digest[0] != '\0' && cart_store_find(c->o.carts, w) == NULL;
}

static bool
begin(struct gear_carts *c, enum cart_install_kind kind, const struct wire_gear_cart *w)
{
	struct wire_gear_cart_list one = { (struct wire_gear_cart *)w, 1 };
	struct err e = { 0 };

	wire_gear_cart_fini(&c->now);
	codec_copy(&wire_gear_cart_codec, &c->now, w);
	c->kind = kind;
	if (kind == CART_INSTALL && cart_store_find(c->o.carts, w) == NULL) {
		c->get = cart_store_get(c->o.carts, &one, on_got, c);
		return true;
	}
	c->install = cart_install_start(&c->o, kind, c->g, &c->now, on_installed, c, &e);
	if (c->install == NULL) {
		log_warn("configure_failed", LOG_STR("gear", c->g->record.uuid), LOG_ERR(&e));
		add_failed(c, &e, NULL);
	}
	return c->install != NULL;
}

static bool
begin_teardown(struct gear_carts *c, const struct gear_cart *have)
{
	AUTO_FINI(wire_gear_cart_fini) struct wire_gear_cart was = { 0 };

	gear_cart_spec(have, &was);
	return begin(c, CART_TEARDOWN, &was);
}

bool
gear_carts_step(struct gear_carts *c)
{
	const struct gear *g = c->g;

	for (size_t i = g->record.carts.n; i > 0; i--) {
		const struct gear_cart *have = &g->record.carts.v[i - 1];

		if (wire_gear_find(&g->spec.cartridges, have->name) == NULL &&
		    find_failed(c, have->name) == NULL && begin_teardown(c, have))
			return true;
	}
	for (size_t i = 0; i < g->spec.cartridges.n; i++) {
		const struct wire_gear_cart *w = &g->spec.cartridges.v[i];
		struct wire_gear_cart_list one = { &g->spec.cartridges.v[i], 1 };

		if (is_configured(g, w) && lacks_code(c, w)) {
			c->get = cart_store_get(c->o.carts, &one, on_code, c);
			return true;
		}
		if (is_configured(g, w) || (find_failed(c, w->name) != NULL && g->record.was_ready))
			continue;
		if (begin(c, CART_INSTALL, w))
			return true;
	}
	return false;
}

bool
gear_carts_step_down(struct gear_carts *c)
{
	const struct gear *g = c->g;

	c->is_going = true;
	for (size_t i = g->record.carts.n; i > 0 && !c->gave_up; i--) {
		AUTO_FINI(wire_gear_cart_fini) struct wire_gear_cart was = { 0 };
		const struct cart_dir_entry *x;

		gear_cart_spec(&g->record.carts.v[i - 1], &was);
		x = cart_store_find(c->o.carts, &was);
		if (x != NULL && x->has_teardown && begin(c, CART_TEARDOWN, &was))
			return true;
	}
	return false;
}
