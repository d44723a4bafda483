/* What the owner of an application sets about its routes: APP/routing. GET, PUT (all of it), PATCH
 * (some; "unset" names options), DELETE (none is left). */
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "broker/routing.h"
#include "lib/base/mem.h"

enum { EXIT_ROUTING = 109, UNSET_MAX = 100 };

static void
send_routing(struct api_call *c, const struct wire_app *a)
{
	AUTO_FINI(wire_routing_fini) struct wire_routing r = { 0 };
	AUTO(free) char *json = NULL;

	routing_get(a, &r);
	json = codec_to_json(&wire_routing_codec, &r);
	api_json_raw(api_data(c, "routing"), NULL, json);
	api_send(c, 200);
}

void
api_routing_show(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };

	if (api_load_app(c, ACCESS_VIEW, &a))
		send_routing(c, &a);
}

static void
on_stored(const struct err *e, void *arg)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct api_call *c = arg;
	struct err bad = { 0 };

	if (e == NULL && record_app_by_id(c->b->store, c->state, &a, NULL, &bad) < 0)
		e = &bad;
	if (e != NULL) {
		api_fail_err(c, e, e->code == ERR_NOT_FOUND ? 101 : EXIT_ROUTING);
		return;
	}
	api_message(c, "result", 0, NULL, "The routes of %s are as you set them.", a.name);
	send_routing(c, &a);
}

static void
change(struct api_call *c, const struct codec_value *body, bool is_whole)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(str_list_fini) struct str_list unset = { 0 };
	struct err e = { 0 };

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	if (api_param_strs(c->params, "unset", UNSET_MAX, &unset, &e) < 0) {
		api_fail_err(c, &e, EXIT_ROUTING);
		return;
	}
	api_call_keep(c, xstrdup(a.id), free);
	routing_change(c->b, a.id, body, is_whole, &unset, on_stored, c);
}

void
api_routing_set(struct api_call *c)
{
	change(c, api_param_all_of_body(c->params), true);
}

void
api_routing_change(struct api_call *c)
{
	change(c, api_param_all_of_body(c->params), false);
}

void
api_routing_unset(struct api_call *c)
{
	change(c, NULL, true);
}
