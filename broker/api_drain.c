/* Log drains of an application: list, add, remove. */
#include <inttypes.h>
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/app.h"
#include "broker/broker.h"
#include "broker/drain.h"
#include "broker/event_log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"

enum { ID_BYTES = 4, EXIT_DRAIN = 1 };

struct change {
	char *app_id, *id, *url; /* owned; url NULL: remove */
};

static void
change_free(void *p)
{
	struct change *x = p;

	free(x->app_id);
	free(x->id);
	free(x->url);
	free(x);
}

/* Without what stands before '@': a password may. */
static char *
shown(const char *url)
{
	const char *host = strstr(url, "://");
	const char *end = host == NULL ? NULL : host + 3 + strcspn(host + 3, "/?#");
	const char *at = host == NULL ? NULL : memrchr(host + 3, '@', (size_t)(end - host - 3));

	if (at == NULL)
		return xstrdup(url);
	return xasprintf("%.*s://***%s", (int)(host - url), url, at);
}

static void
write_drain(struct api_call *c, const char *app_id, const struct wire_drain *d)
{
	struct drain_sink_status st = { .state = "idle", .error = "" };
	AUTO(free) char *url = shown(d->url);

	(void)drains_status(c->b->drains, app_id, d->id, &st);
	api_json_obj(&c->json, NULL);
	api_json_str(&c->json, "id", d->id);
	api_json_str(&c->json, "url", url);
	api_json_str(&c->json, "state", st.state);
	api_json_str(&c->json, "error", st.error);
	api_json_int(&c->json, "sent", st.sent);
	api_json_int(&c->json, "dropped", st.dropped);
	api_json_end_obj(&c->json);
}

void
api_drain_list(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	api_json_arr(api_data(c, "drains"), NULL);
	for (size_t i = 0; i < a.drains.n; i++)
		write_drain(c, a.id, &a.drains.v[i]);
	api_json_end_arr(&c->json);
	api_send(c, 200);
}

static int
apply(struct wire_app *a, void *arg, struct err *e)
{
	const struct change *x = arg;
	struct wire_drain *d;

	for (size_t i = 0; i < a->drains.n; i++) {
		d = &a->drains.v[i];
		if (x->url != NULL && strcmp(d->url, x->url) == 0)
			return err_set(
			    e, ERR_CONFLICT, "url", "The application has that drain: %s.", d->id);
		if (x->url != NULL || strcmp(d->id, x->id) != 0)
			continue;
		wire_drain_fini(d);
		memmove(d, d + 1, (a->drains.n - i - 1) * sizeof *d);
		a->drains.n--;
		return 0;
	}
	if (x->url == NULL)
		return err_set(e, ERR_NOT_FOUND, NULL, "There is no drain '%.40s'.", x->id);
	if (a->drains.n >= DRAIN_MAX)
		return err_set(
		    e, ERR_LIMIT, "url", "An application can have %d drains at most.", DRAIN_MAX);
	d = codec_list_add(&wire_drain_codec, &a->drains);
	d->id = xstrdup(x->id);
	d->url = xstrdup(x->url);
	return 0;
}

static void
on_stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct change *x = c->state;
	AUTO(free) char *url = x->url == NULL ? NULL : shown(x->url);

	if (e != NULL) {
		api_fail_err(c, e, EXIT_DRAIN);
		return;
	}
	if (x->url == NULL) {
		event_log_add(c->b, x->app_id, "removed", "Log drain %s was removed.", x->id);
		api_send_deleted(c, "Drain %s is gone.", x->id);
		return;
	}
	event_log_add(c->b, x->app_id, "added", "Log drain %s was added: %s", x->id, url);
	const struct wire_drain d = { .id = x->id, .url = x->url };
	(void)api_data(c, "drain");
	write_drain(c, x->app_id, &d);
	api_message(c, "result", 0, NULL, "Drain %s gets the application's log.", x->id);
	api_send(c, 201);
}

static void
change(struct api_call *c, const struct wire_app *a, const char *id, const char *url)
{
	struct change *x = xcalloc(1, sizeof *x);

	*x = (struct change){ .app_id = xstrdup(a->id),
		.id = id == NULL ? secret_random_hex(ID_BYTES) : xstrdup(id),
		.url = xstrdup_null(url) };
	api_call_keep(c, x, change_free);
	app_change(c->b, a->id, apply, x, on_stored, c);
}

void
api_drain_add(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	const char *url = NULL;
	struct err e = { 0 };

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	if (api_param_str(c->params, "url", DRAIN_SINK_URL_MAX, &url, &e) < 0 ||
	    drain_sink_check(url == NULL ? "" : url, &e) < 0)
		api_fail_err(c, &e, EXIT_DRAIN);
	else
		change(c, &a, NULL, url);
}

void
api_drain_remove(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };

	if (api_load_app(c, ACCESS_EDIT, &a))
		change(c, &a, api_param_of_path(c->params, "id"), NULL);
}
