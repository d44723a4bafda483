/* Snapshots of an application: APP/snapshot. */
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/restore.h"
#include "broker/app_snapshot.h"
#include "lib/base/mem.h"
#include "lib/http/http_server.h"

enum { EXIT_SNAPSHOT = 1, EXIT_BOOL = 167 };

/* --- saving --- */

struct save {
	struct api_call *c;
	struct app_snapshot *s;
	char *disposition; /* owned */
	bool has_begun;
};

static void
save_free(void *p)
{
	struct save *v = p;

	app_snapshot_cancel(v->s);
	free(v->disposition);
	free(v);
}

static void
save_gone(struct api_call *c)
{
	api_call_free(c);
}

static bool
on_archive(const char *p, size_t n, void *arg)
{
	struct save *v = arg;

	if (!v->has_begun) {
		struct api_headers h;
		const char *headers[16] = { "Content-Type: application/gzip", v->disposition,
			"Cache-Control: no-store", NULL };

		api_headers_make(v->c, &h);
		http_req_begin(v->c->req, 200, headers);
		api_headers_fini(&h);
		v->has_begun = true;
	}
	return http_req_write(v->c->req, p, n);
}

static void
on_drain(struct http_req *r, void *arg)
{
	struct save *v = arg;

	(void)r;
	if (v->s != NULL)
		app_snapshot_resume(v->s);
}

static void
on_saved(const struct err *e, void *arg)
{
	struct save *v = arg;
	struct api_call *c = v->c;

	v->s = NULL;
	if (e != NULL && !v->has_begun) {
		api_fail_err(c, e, EXIT_SNAPSHOT);
		return;
	}
	http_req_on_close(c->req, NULL, NULL);
	if (e != NULL)
		http_req_abort(c->req);
	else
		http_req_end(c->req);
	c->req = NULL;
	api_call_free(c);
}

void
api_snapshot_save(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct err e = { 0 };
	struct save *v;

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	v = xcalloc(1, sizeof *v);
	v->c = c;
	v->disposition =
	    xasprintf("Content-Disposition: attachment; filename=\"%s.tar.gz\"", a.name);
	api_call_keep(c, v, save_free);
	v->s = app_snapshot_start(c->b, a.id, on_archive, on_saved, v, &e);
	if (v->s == NULL) {
		api_fail_err(c, &e, EXIT_SNAPSHOT);
		return;
	}
	c->gone = save_gone;
	http_req_on_drain(c->req, on_drain, v);
}

/* --- restoring --- */

struct load {
	struct api_call *c;
	struct restore *r;
	char *app_id;
	bool has_all;
};

static void
load_free(void *p)
{
	struct load *v = p;

	restore_detach(v->r);
	free(v->app_id);
	free(v);
}

static void
load_gone(struct api_call *c)
{
	const struct load *v = c->state;

	/* A whole archive is restored to the end; of a part nothing is. */
	if (!v->has_all)
		api_call_free(c);
}

static void
on_line(const char *line, void *arg)
{
	const struct load *v = arg;

	api_progress(v->c, line);
}

static void
on_room(void *arg)
{
	const struct load *v = arg;

	if (v->c->req != NULL && !v->has_all)
		http_req_pause(v->c->req, false);
}

static void
on_restored(const struct err *e, void *arg)
{
	struct load *v = arg;
	struct api_call *c = v->c;

	v->r = NULL;
	if (e != NULL)
		api_fail_err(c, e, EXIT_SNAPSHOT);
	else
		api_load_send_app(c, v->app_id, 200, "The snapshot was restored.");
}

static void
on_body(struct http_req *r, const char *p, size_t n, void *arg)
{
	struct load *v = arg;

	if (n == 0) {
		v->has_all = true;
		if (v->r != NULL)
			restore_close(v->r);
	} else if (v->r != NULL && !restore_write(v->r, p, n)) {
		http_req_pause(r, true);
	}
}

void
api_snapshot_restore(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO(free) char *git_url = NULL;
	struct restore_opts o = { .wants_git = true };
	struct err e = { 0 };
	struct load *v;

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	if (api_param_bool(c->params, "git", &o.wants_git, &e) < 0) {
		api_fail_err(c, &e, EXIT_BOOL);
		return;
	}
	git_url = xasprintf("%s/git/%s/%s.git", c->root, a.domain, a.name);
	v = xcalloc(1, sizeof *v);
	v->c = c;
	v->app_id = xstrdup(a.id);
	api_call_keep(c, v, load_free);
	o.app_id = a.id;
	o.login = c->who.login;
	o.git_url = git_url;
	o.on_line = on_line;
	o.on_room = on_room;
	o.done = on_restored;
	o.arg = v;
	v->r = restore_start(c->b, &o, &e);
	if (v->r == NULL) {
		api_fail_err(c, &e, EXIT_SNAPSHOT);
		return;
	}
	c->gone = load_gone;
	http_req_read(c->req, on_body, v);
}
