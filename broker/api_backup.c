/* Backups of an application: APP/backup. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/backup.h"
#include "broker/backup_store.h"
#include "broker/restore.h"
#include "lib/base/mem.h"

enum { EXIT_BACKUP = 1, EXIT_BOOL = 167, KEEP_MAX = 1000, KEEP_DEFAULT = 7 };

struct state {
	char *app_id, *name; /* owned */
};

static void
state_free(void *p)
{
	struct state *s = p;

	free(s->app_id);
	free(s->name);
	free(s);
}

static struct state *
keep_state(struct api_call *c, const struct wire_app *a)
{
	struct state *s = xcalloc(1, sizeof *s);

	s->app_id = xstrdup(a->id);
	s->name = xstrdup(a->name);
	api_call_keep(c, s, state_free);
	return s;
}

static void
view(struct api_json *j, const struct wire_backup *b)
{
	api_json_obj(j, NULL);
	api_json_bool(j, "enabled", b->enabled);
	api_json_int(j, "every", b->every_s);
	api_json_int(j, "keep", b->keep);
	api_json_str(j, "to", b->to);
	if (b->enabled)
		api_json_time(j, "next_at", b->next);
	else
		api_json_null(j, "next_at");
	api_json_str(j, "last_error",
	    b->last_error != NULL && *b->last_error != '\0' ? b->last_error : NULL);
	api_json_arr(j, "backups");
	for (size_t i = b->items.n; i > 0; i--) {
		const struct wire_backup_item *it = &b->items.v[i - 1];

		api_json_obj(j, NULL);
		api_json_str(j, "name", it->name);
		api_json_time(j, "created_at", it->at);
		api_json_int(j, "size", it->size);
		api_json_str(j, "sha256", it->sha256);
		api_json_end_obj(j);
	}
	api_json_end_arr(j);
	api_json_end_obj(j);
}

static void
send_backup(struct api_call *c, const char *app_id, int status)
{
	AUTO_FINI(wire_backup_fini) struct wire_backup b = { 0 };
	struct err e = { 0 };

	if (backup_get(c->b, app_id, &b, &e) < 0) {
		api_fail_err(c, &e, EXIT_BACKUP);
		return;
	}
	view(api_data(c, "backup"), &b);
	api_send(c, status);
}

void
api_backup_show(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };

	if (api_load_app(c, ACCESS_VIEW, &a))
		send_backup(c, a.id, 200);
}

/* "30m", "12h", "1d", "2w", or seconds. */
static int
read_every(const struct api_call *c, int64_t *out, struct err *e)
{
	static const struct {
		char letter;
		int64_t s;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 7 * 86400 } };
	const char *text = NULL;
	int64_t unit = 1, n = 0;
	size_t len;

	if (api_param_str(c->params, "every", 32, &text, e) < 0)
		return -1;
	if (text == NULL)
		text = "1d";
	len = strlen(text);
	for (size_t i = 0; i < ARRAY_LEN(units) && len > 1; i++) {
		if (text[len - 1] == units[i].letter) {
			unit = units[i].s;
			len--;
			break;
		}
	}
	if (str_to_i64((struct str){ text, len }, 1, 366 * 86400, "every", &n, e) < 0 ||
	    n > 366 * 86400 / unit)
		return err_set(e, ERR_INVALID, "every",
		    "'%.32s' is no time: give a number with m, h, d or w, as 12h or 1d", text);
	*out = n * unit;
	return 0;
}

static void
enabled(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct state *s = c->state;

	if (e != NULL)
		api_fail_err(c, e, EXIT_BACKUP);
	else
		send_backup(c, s->app_id, 200);
}

void
api_backup_enable(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO(free) char *target = NULL;
	const char *to = NULL;
	int64_t every_s = 0, keep = KEEP_DEFAULT;
	struct err e = { 0 };

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	(void)keep_state(c, &a);
	if (read_every(c, &every_s, &e) < 0 ||
	    api_param_int(c->params, "keep", 1, KEEP_MAX, &keep, &e) < 0 ||
	    api_param_str(c->params, "to", 1000, &to, &e) < 0 ||
	    (target = backup_store_target(c->b, to, &e)) == NULL) {
		api_fail_err(c, &e, EXIT_BACKUP);
		return;
	}
	backup_enable(c->b, a.id, every_s, keep, target, enabled, c);
}

static void
disabled(const struct err *e, void *arg)
{
	struct api_call *c = arg;

	if (e != NULL)
		api_fail_err(c, e, EXIT_BACKUP);
	else
		api_send_deleted(c, "No more backups are made. Those there are stay.");
}

void
api_backup_disable(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	backup_disable(c->b, a.id, disabled, c);
}

void
api_backup_run(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	(void)keep_state(c, &a);
	backup_run(c->b, a.id, enabled, c);
}

static void
on_line(const char *line, void *arg)
{
	api_progress(arg, line);
}

static void
restored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct state *s = c->state;

	if (e != NULL)
		api_fail_err(c, e, EXIT_BACKUP);
	else
		api_load_send_app(c, s->app_id, 200, "The backup was restored.");
}

void
api_backup_restore(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO(free) char *git_url = NULL;
	struct restore_opts o = { .wants_git = true };
	const char *name = NULL;
	struct err e = { 0 };

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	(void)keep_state(c, &a);
	if (api_param_str(c->params, "name", 200, &name, &e) < 0 ||
	    api_param_bool(c->params, "git", &o.wants_git, &e) < 0) {
		api_fail_err(c, &e, EXIT_BOOL);
		return;
	}
	git_url = xasprintf("%s/git/%s/%s.git", c->root, a.domain, a.name);
	o.app_id = a.id;
	o.login = c->who.login;
	o.git_url = git_url;
	o.on_line = on_line;
	o.done = restored;
	o.arg = c;
	if (backup_restore(c->b, name, &o, &e) < 0)
		api_fail_err(c, &e, EXIT_BACKUP);
}
