/* Persistent paths of an application: APP/storage. */
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/storage.h"
#include "lib/base/fault.h"
#include "lib/base/mem.h"

enum { EXIT_APP = 101, EXIT_PATH = 109, WORD_MAX = 64 };

static void
view(struct api_json *j, const struct wire_storage *s)
{
	api_json_obj(j, NULL);
	api_json_str(j, "path", s->path);
	api_json_str(
	    j, "cartridge", s->cartridge != NULL && *s->cartridge != '\0' ? s->cartridge : NULL);
	api_json_str(j, "mode", s->exclusive ? "exclusive" : "shared");
	api_json_end_obj(j);
}

static void
view_all(struct api_call *c, const struct wire_app *a)
{
	struct api_json *j = api_data(c, "storage");

	api_json_arr(j, NULL);
	for (size_t i = 0; i < a->storage.n; i++) {
		if (!a->storage.v[i].is_going)
			view(j, &a->storage.v[i]);
	}
	api_json_end_arr(j);
}

void
api_storage_list(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };

	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	view_all(c, &a);
	api_send(c, 200);
}

/* --- changing --- */

struct state {
	char *app_id; /* owned */
	char *path;   /* owned */
	bool removes;
};

static void
state_free(void *p)
{
	struct state *s = p;

	free(s->app_id);
	free(s->path);
	free(s);
}

static void
settled(struct api_call *c, const struct err *e)
{
	const struct state *s = c->state;

	if (e != NULL) {
		api_load_fail_rollout(c, e);
		return;
	}
	if (s->removes)
		api_send_deleted(c,
		    "%s is no persistent path any more; its files are in "
		    "app-root/data/removed-storage.",
		    s->path);
	else
		api_load_send_app(c, s->app_id, 201, NULL);
}

static void
stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct state *s = c->state;

	if (e != NULL) {
		api_fail_err(c, e, e->code == ERR_NOT_FOUND ? EXIT_APP : EXIT_PATH);
		return;
	}
	fault_point("storage_changed");
	api_load_settle(c, s->app_id, settled);
}

/* path, cartridge, mode of the call into out, whose strings are the caller's. */
static int
read_path(const struct api_call *c, struct wire_storage *out, struct err *e)
{
	const char *path = NULL, *cartridge = NULL, *mode = NULL;
	size_t n;

	if (api_param_str(c->params, "path", 4096, &path, e) < 0 ||
	    api_param_str(c->params, "cartridge", WORD_MAX, &cartridge, e) < 0 ||
	    api_param_str(c->params, "mode", WORD_MAX, &mode, e) < 0)
		return -1;
	if (path == NULL)
		return err_set(e, ERR_INVALID, "path",
		    "The parameter 'path' is required: a directory below the root of the "
		    "application's tree.");
	if (mode != NULL && strcmp(mode, "shared") != 0 && strcmp(mode, "exclusive") != 0)
		return err_set(e, ERR_INVALID, "mode", "The mode must be 'shared' or 'exclusive'.");
	if (strncmp(path, "app-root/repo/", 14) == 0)
		path += 14;
	n = strlen(path);
	out->path = xstrndup(path, n > 1 && path[n - 1] == '/' ? n - 1 : n);
	out->cartridge = xstrdup_null(cartridge);
	out->exclusive = mode != NULL && strcmp(mode, "exclusive") == 0;
	return wire_storage_check(out, e);
}

static void
change(struct api_call *c, bool removes)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(wire_storage_fini) struct wire_storage path = { 0 };
	struct err e = { 0 };
	struct state *s;

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	if (read_path(c, &path, &e) < 0) {
		api_fail_err(c, &e, EXIT_PATH);
		return;
	}
	s = xcalloc(1, sizeof *s);
	*s = (struct state){
		.app_id = xstrdup(a.id),
		.path = xstrdup(path.path),
		.removes = removes,
	};
	api_call_keep(c, s, state_free);
	if (removes)
		storage_remove(c->b, a.id, &path, stored, c);
	else
		storage_put(c->b, a.id, &path, stored, c);
}

void
api_storage_add(struct api_call *c)
{
	change(c, false);
}

void
api_storage_remove(struct api_call *c)
{
	change(c, true);
}
