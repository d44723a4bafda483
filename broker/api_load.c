#include "broker/api_load.h"

#include <inttypes.h>

#include "broker/api_call.h"
#include "broker/api_domain.h"
#include "broker/api_view.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "broker/rollout.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"

enum {
	SETTLE_MS = 15 * 60 * 1000,
	EXIT_APP = 101,
	EXIT_DOMAIN = 127,
	EXIT_NODE = 143,
};

bool
api_load_app(struct api_call *c, enum access_want want, struct wire_app *a)
{
	const char *id = api_param_of_path(c->params, "app_id");
	const char *domain = api_param_of_path(c->params, "domain");
	const char *app = api_param_of_path(c->params, "app");
	struct err e = { 0 };
	int exit_code;
	int rc;

	if (id != NULL)
		rc = access_app_by_id(c->b, &c->who, id, want, a, NULL, &e);
	else
		rc = access_app(c->b, &c->who, domain, app, want, a, NULL, &e);
	if (rc == 0)
		return true;
	exit_code = e.field[0] == 'd' ? EXIT_DOMAIN : EXIT_APP; /* "domain" or "application" */
	e.field[0] = '\0';
	api_fail_err(c, &e, exit_code);
	return false;
}

/* --- waiting --- */

struct settle {
	struct api_call *c;
	struct rollout_wait *wait; /* ends by itself with settle_done */
	struct loop_timer *late;   /* owned */
	int64_t max_ms;
	struct str_list *lines; /* borrowed or NULL */
	api_load_then_fn *then;
};

void
api_load_free_wait(void *take_wait)
{
	struct settle *s = take_wait;

	if (s == NULL)
		return;
	loop_timer_cancel(s->late);
	free(s);
}

static void
settle_line(const char *line, void *arg)
{
	const struct settle *s = arg;

	if (!str_has_prefix(line, "CLIENT_"))
		api_progress(s->c, line);
	else if (s->lines != NULL)
		str_list_add(s->lines, line);
}

static void
settle_end(struct settle *s, const struct err *e)
{
	struct api_call *c = s->c;
	api_load_then_fn *then = s->then;

	c->waiting = NULL;
	api_load_free_wait(s);
	then(c, e);
}

static void
settle_done(const struct err *e, void *arg)
{
	settle_end(arg, e);
}

static void
settle_late(void *arg)
{
	struct settle *s = arg;
	struct err e = { 0 };

	rollout_wait_cancel(s->wait);
	(void)err_set(&e, ERR_BUSY, NULL,
	    "This is not done after %" PRId64
	    " s, and goes on: a node may be away. Look again later.",
	    s->max_ms / 1000);
	settle_end(s, &e);
}

static void
settle(struct api_call *c, const char *app_id, int64_t max_ms, struct str_list *lines,
    api_load_then_fn *then)
{
	struct settle *s = xcalloc(1, sizeof *s);

	*s = (struct settle){ .c = c, .max_ms = max_ms, .lines = lines, .then = then };
	c->waiting = s;
	s->late = loop_timer_start(c->b->loop, max_ms, false, settle_late, s);
	s->wait = rollout_wait(c->b->rollout, app_id, settle_line, settle_done, s);
}

void
api_load_settle_within(
    struct api_call *c, const char *app_id, int64_t max_ms, api_load_then_fn *then)
{
	settle(c, app_id, max_ms, NULL, then);
}

void
api_load_settle(struct api_call *c, const char *app_id, api_load_then_fn *then)
{
	settle(c, app_id, SETTLE_MS, NULL, then);
}

void
api_load_settle_lines(
    struct api_call *c, const char *app_id, struct str_list *lines, api_load_then_fn *then)
{
	settle(c, app_id, SETTLE_MS, lines, then);
}

void
api_load_fail_rollout(struct api_call *c, const struct err *e)
{
	switch (e->code) {
	case ERR_SYSTEM:
		api_fail_as(c, e, 500, EXIT_NODE);
		return;
	case ERR_BUSY:
		api_fail(c, 503, EXIT_NODE, NULL, "%s", e->text);
		return;
	case ERR_NOT_FOUND:
		api_fail(c, 404, EXIT_APP, NULL, "%s", e->text);
		return;
	default:
		api_fail_as(c, e, 422, 1);
	}
}

void
api_load_send_app(struct api_call *c, const char *app_id, int status, const char *text)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct err e = { 0 };

	if (record_app_by_id(c->b->store, app_id, &a, NULL, &e) < 0) {
		api_fail(c, 404, EXIT_APP, NULL, "The application is no longer there.");
		return;
	}
	if (text != NULL)
		api_message(c, "result", 0, NULL, "%s", text);
	api_view_app(c, api_data(c, "application"), NULL, &a, api_domain_includes(c, "cartridges"));
	api_send(c, status);
}
