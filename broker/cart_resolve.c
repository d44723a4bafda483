#include "broker/cart_resolve.h"

#include <stdlib.h>
#include <string.h>

#include "broker/blob.h"
#include "broker/broker.h"
#include "broker/cart_fetch.h"
#include "broker/cart_rules.h"
#include "broker/catalog.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_user.h"

struct cart_resolve {
	struct broker *b; /* borrowed */
	struct cart_ask_list asks;
	size_t at;
	struct cart_pick pick;
	cart_resolve_fn *fn;
	void *arg;
	struct err e;
	int exit_code;
};

void
cart_resolve_release(struct broker *b, const struct cart_pick *pick)
{
	for (size_t i = 0; i < pick->n; i++) {
		const char *digest = pick->v[i].gear.digest;

		if (pick->v[i].is_held && digest != NULL)
			blob_store_release(b->blobs, digest);
	}
}

static void
finish(struct cart_resolve *r)
{
	struct cart_pick pick = r->pick;

	r->pick = (struct cart_pick){ 0 };
	if (r->e.code == ERR_NONE) {
		r->fn(&pick, NULL, 0, r->arg);
	} else {
		cart_resolve_release(r->b, &pick);
		r->fn(NULL, &r->e, r->exit_code, r->arg);
	}
	cart_pick_fini(&pick);
	cart_ask_list_fini(&r->asks);
	free(r);
}

static void resolve_next(void *arg);

static void
fetched(struct cart_pick_one *one, const struct err *e, void *arg)
{
	struct cart_resolve *r = arg;
	const struct cart_ask *ask = &r->asks.v[r->at];
	struct cart_pick_one *to;

	if (e != NULL) {
		r->e = *e;
		r->exit_code = CART_RULES_UNUSABLE;
		finish(r);
		return;
	}
	to = cart_pick_add(&r->pick);
	*to = *one;
	*one = (struct cart_pick_one){ 0 };
	to->is_held = to->gear.digest != NULL;
	cart_pick_wish(ask, &to->gear);
	r->at++;
	resolve_next(r);
}

static void
resolve_next(void *arg)
{
	struct cart_resolve *r = arg;

	while (r->at < r->asks.n && r->asks.v[r->at].url == NULL) {
		if (cart_pick_name(r->b, &r->asks.v[r->at], &r->pick, &r->exit_code, &r->e) < 0) {
			finish(r);
			return;
		}
		r->at++;
	}
	if (r->at == r->asks.n)
		finish(r);
	else
		cart_fetch_start(r->b, &r->asks.v[r->at], false, fetched, r);
}

static bool
may_download(const struct broker *b, const char *login)
{
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct err e = { 0 };

	return record_get(b->store, store_key_user(login), &wire_user_codec, &u, NULL, &e) == 0 &&
	       !u.no_downloads;
}

/* Before anything is fetched: may there be downloads at all, and so many? */
static int
check_downloads(struct cart_resolve *r, const char *login, const struct wire_app *a)
{
	size_t n = 0;
	size_t more = 0;

	for (size_t i = 0; a != NULL && i < a->cartridges.n; i++)
		n += a->cartridges.v[i].manifest != NULL &&
		     catalog_of(r->b->catalog, &a->cartridges.v[i]) == NULL;
	for (size_t i = 0; i < r->asks.n; i++)
		more += r->asks.v[i].url != NULL;
	r->exit_code = CART_RULES_UNUSABLE;
	if (more > 0 && !r->b->conf.download_cartridges)
		return err_set(&r->e, ERR_INVALID, "url",
		    "Downloading cartridges is not allowed here. Use one of the catalogue: pinion "
		    "cartridges.");
	if (more > 0 && !may_download(r->b, login))
		return err_set(&r->e, ERR_INVALID, "url",
		    "You may not download cartridges: use one of the catalogue (pinion "
		    "cartridges), or ask the administrator to import it.");
	if (more > 0 && n + more > CART_FETCH_APP_MAX)
		return err_set(&r->e, ERR_INVALID, "url",
		    "An application can have %d downloaded cartridges; this would make %zu.",
		    CART_FETCH_APP_MAX, n + more);
	return 0;
}

static void
end_soon(void *arg)
{
	finish(arg);
}

void
cart_resolve_start(struct broker *b, struct cart_ask_list *take_asks, const char *login,
    const struct wire_app *a, cart_resolve_fn *fn, void *arg)
{
	struct cart_resolve *r = xcalloc(1, sizeof *r);

	*r = (struct cart_resolve){ .b = b, .asks = *take_asks, .fn = fn, .arg = arg };
	*take_asks = (struct cart_ask_list){ 0 };
	if (check_downloads(r, login, a) < 0)
		loop_post(b->loop, end_soon, r);
	else
		loop_post(b->loop, resolve_next, r);
}
