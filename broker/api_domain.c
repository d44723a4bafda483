/* Domains. */
#include <string.h>

#include "broker/access.h"
#include "broker/api_call.h"
#include "broker/api_domain.h"
#include "broker/api_handlers.h"
#include "broker/api_view.h"
#include "broker/app.h"
#include "broker/broker.h"
#include "broker/domain.h"
#include "broker/record.h"
#include "broker/rollout.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

enum {
	NAME_MAX_BYTES = 256,
	SIZES_MAX = 32,
	EXIT_DOMAIN = 127,
	EXIT_TAKEN = 103,
	EXIT_NAME = 106,
	EXIT_SIZES = 110,
	EXIT_HAS_APPS = 128,
	EXIT_NO_CHANGE = 133,
};

bool
api_domain_owner_is_self(struct api_call *c, bool *out_self)
{
	const char *owner = NULL;
	struct err e = { 0 };

	if (api_param_str(c->params, "owner", NAME_MAX_BYTES, &owner, &e) < 0 ||
	    (owner != NULL && strcmp(owner, "@self") != 0)) {
		api_fail(c, 400, 1, "owner", "Only the owner '@self' is supported.");
		return false;
	}
	*out_self = owner != NULL;
	return true;
}

bool
api_domain_includes(const struct api_call *c, const char *word)
{
	AUTO_FINI(str_list_fini) struct str_list l = { 0 };
	struct err e = { 0 };

	if (api_param_strs(c->params, "include", SIZES_MAX, &l, &e) < 0)
		return false;
	for (size_t i = 0; i < l.n; i++) {
		struct str rest = str_of(l.v[i]);

		while (rest.n > 0) {
			struct str item;

			rest = str_cut(rest, ',', &item);
			if (str_eq(str_trim(item), word))
				return true;
		}
	}
	return false;
}

bool
api_domain_load(struct api_call *c, enum access_want want, struct wire_domain *d)
{
	struct err e = { 0 };

	if (access_domain(
	        c->b, &c->who, api_param_of_path(c->params, "domain"), want, d, NULL, &e) == 0)
		return true;
	e.field[0] = '\0';
	api_fail_err(c, &e, EXIT_DOMAIN);
	return false;
}

struct listing {
	struct api_call *c;
	bool owned;
	struct omap *by_age; /* owned; values: struct wire_domain, owned */
};

static void
free_domain(void *p)
{
	wire_domain_fini(p);
	free(p);
}

static bool
collect(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_domain *d = rec;
	struct listing *l = arg;
	bool is_own = strcmp(d->owner, l->c->who.login) == 0;
	AUTO(free) char *order = NULL;
	struct wire_domain *copy;

	(void)key;
	(void)rev;
	if (!access_domain_may(&l->c->who, d, ACCESS_VIEW) || (l->owned && !is_own))
		return true;
	order = xasprintf("%d %020lld %s", !is_own, (long long)d->created_at, d->id);
	copy = xcalloc(1, sizeof *copy);
	codec_copy(&wire_domain_codec, copy, d);
	omap_set(l->by_age, order, copy);
	return true;
}

/* One's own first, then by age. */
void
api_domain_list(struct api_call *c)
{
	struct listing l = { .c = c };
	void *value = NULL;
	bool counts = api_domain_includes(c, "application_info");

	if (!api_domain_owner_is_self(c, &l.owned))
		return;
	l.by_age = omap_new(free_domain);
	record_each_with(
	    c->b->store, STORE_PREFIX_DOMAIN, c->who.login, &wire_domain_codec, collect, &l);
	api_json_arr(api_data(c, "domains"), NULL);
	for (const char *k = omap_seek(l.by_age, "", false, &value); k != NULL;
	     k = omap_seek(l.by_age, k, true, &value))
		api_view_domain(c, &c->json, NULL, value, counts);
	api_json_end_arr(&c->json);
	omap_free(l.by_age);
	api_send(c, 200);
}

void
api_domain_show(struct api_call *c)
{
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };

	if (!api_domain_load(c, ACCESS_VIEW, &d))
		return;
	api_view_domain(
	    c, api_data(c, "domain"), NULL, &d, api_domain_includes(c, "application_info"));
	api_send(c, 200);
}

/* --- create and update --- */

struct state {
	char *name; /* owned */
	int ok_status;
	/* force delete: applications that are still to go */
	struct str_list apps;
	size_t next;
};

static void
state_free(void *p)
{
	struct state *s = p;

	free(s->name);
	str_list_fini(&s->apps);
	free(s);
}

static struct state *
state_new(struct api_call *c, const char *name, int ok_status)
{
	struct state *s = xcalloc(1, sizeof *s);

	s->name = xstrdup(name);
	str_lower(s->name);
	s->ok_status = ok_status;
	api_call_keep(c, s, state_free);
	return s;
}

static const char *
name_field(const struct api_call *c)
{
	return c->minor <= 5 ? "id" : "name";
}

static void
send_stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct state *s = c->state;
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	struct err why = { 0 };

	if (e != NULL && e->code == ERR_LIMIT) {
		api_fail(c, 409, EXIT_TAKEN, NULL, "%s", e->text);
		return;
	}
	if (e != NULL && strcmp(e->field, "apps") == 0) {
		api_fail(c, 422, EXIT_HAS_APPS, NULL, "%s", e->text);
		return;
	}
	if (e != NULL) {
		api_fail_as(c, e, e->code == ERR_NOT_FOUND ? 404 : 422,
		    e->code == ERR_NOT_FOUND ? EXIT_DOMAIN : EXIT_TAKEN);
		return;
	}
	if (record_get(c->b->store, store_key_domain(s->name), &wire_domain_codec, &d, NULL, &why) <
	    0) {
		api_fail_err(c, &why, EXIT_DOMAIN);
		return;
	}
	api_message(c, "info", 0, NULL, "Domain %s was %s.", d.name,
	    s->ok_status == 201 ? "created" : "updated");
	api_view_domain(c, api_data(c, "domain"), NULL, &d, false);
	api_send(c, s->ok_status);
}

/* name, id or namespace; NULL: none was given. -1: the call has ended. */
static int
read_name(struct api_call *c, const char **out)
{
	static const char *const names[] = { "name", "id", "namespace" };
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(names) && *out == NULL; i++) {
		if (api_param_str(c->params, names[i], NAME_MAX_BYTES, out, &e) < 0) {
			api_fail_err(c, &e, EXIT_NAME);
			return -1;
		}
	}
	if (*out != NULL && domain_check_name(*out, &e) < 0) {
		api_fail(c, 422, EXIT_NAME, name_field(c), "%s", e.text);
		return -1;
	}
	return 0;
}

/* -1: the call has ended. */
static int
read_sizes(struct api_call *c, const char *owner, struct str_list *out, bool *out_has)
{
	struct err e = { 0 };

	*out_has = api_param_has(c->params, "allowed_gear_sizes");
	if (api_param_strs(c->params, "allowed_gear_sizes", SIZES_MAX, out, &e) < 0 ||
	    domain_check_sizes(c->b, owner, out, &e) < 0) {
		api_fail_err(c, &e, EXIT_SIZES);
		return -1;
	}
	return 0;
}

void
api_domain_create(struct api_call *c)
{
	AUTO_FINI(str_list_fini) struct str_list sizes = { 0 };
	const char *name = NULL;
	bool has_sizes;
	struct state *s;

	if (read_name(c, &name) < 0)
		return;
	if (name == NULL) {
		api_fail(c, 422, EXIT_NAME, name_field(c),
		    "The parameter '%s' is required: the name of the domain.", name_field(c));
		return;
	}
	if (read_sizes(c, c->who.login, &sizes, &has_sizes) < 0)
		return;
	s = state_new(c, name, 201);
	domain_create(c->b, s->name, c->who.login, has_sizes ? &sizes : NULL, send_stored, c);
}

void
api_domain_update(struct api_call *c)
{
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	AUTO_FINI(str_list_fini) struct str_list sizes = { 0 };
	const char *name = NULL;
	bool has_sizes;
	struct state *s;

	if (!api_domain_load(c, ACCESS_OWNER, &d) || read_name(c, &name) < 0 ||
	    read_sizes(c, d.owner, &sizes, &has_sizes) < 0)
		return;
	if (name == NULL && !has_sizes) {
		api_fail(c, 422, EXIT_NO_CHANGE, NULL,
		    "No changes were given: send 'name' or 'allowed_gear_sizes'.");
		return;
	}
	s = state_new(c, name == NULL ? d.name : name, 200);
	domain_update(
	    c->b, d.name, name == NULL ? NULL : s->name, has_sizes ? &sizes : NULL, send_stored, c);
}

/* --- delete: with force its applications first, one by one --- */

static void
deleted(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct state *s = c->state;

	if (e != NULL && e->code == ERR_CONFLICT)
		api_fail(c, c->minor <= 3 ? 400 : 422, EXIT_HAS_APPS, NULL, "%s", e->text);
	else if (e != NULL)
		api_fail_err(c, e, EXIT_DOMAIN);
	else
		api_send_deleted(c, "Domain %s was deleted.", s->name);
}

static void delete_next(struct api_call *c);

static void
app_gone(const struct err *e, void *arg)
{
	struct api_call *c = arg;

	if (e != NULL && e->code != ERR_NOT_FOUND)
		api_fail_err(c, e, 1);
	else
		delete_next(c);
}

static void
app_line(const char *line, void *arg)
{
	api_progress(arg, line);
}

static void
app_marked(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct state *s = c->state;

	if (e != NULL)
		app_gone(e, c);
	else
		(void)rollout_wait(c->b->rollout, s->apps.v[s->next - 1], app_line, app_gone, c);
}

static void
delete_next(struct api_call *c)
{
	struct state *s = c->state;

	if (s->next < s->apps.n)
		app_delete(c->b, s->apps.v[s->next++], app_marked, c);
	else
		domain_delete(c->b, s->name, deleted, c);
}

static bool
collect_app(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_app *a = rec;

	(void)key;
	(void)rev;
	str_list_add(arg, a->id);
	return true;
}

void
api_domain_delete(struct api_call *c)
{
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	AUTO(free) char *prefix = NULL;
	struct err e = { 0 };
	bool force = false;
	struct state *s;

	if (!api_domain_load(c, ACCESS_OWNER, &d))
		return;
	if (api_param_bool(c->params, "force", &force, &e) < 0) {
		api_fail_err(c, &e, 167);
		return;
	}
	s = state_new(c, d.name, 200);
	prefix = store_key_app(d.name, "");
	if (force)
		record_each(c->b->store, prefix, &wire_app_codec, collect_app, &s->apps);
	delete_next(c);
}
