/* SSH keys of the user who asks. */
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_link.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "broker/ssh_key.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

enum {
	EXIT_CONTENT = 108,
	EXIT_TYPE = 116,
	EXIT_NAME = 117,
	EXIT_MISSING = 118,
	EXIT_NAME_TAKEN = 120,
	EXIT_CONTENT_TAKEN = 121,
	TEXT_MAX = 64 * 1024,
};

static const struct api_link_param key_update[] = {
	{ "type", "string", "Type of Key", NULL, NULL },
	{ "content", "string", "The key portion of an rsa key (excluding ssh key type and comment)",
	    NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};
static const struct api_link key_links[] = {
	{ "GET", "Get SSH key", "GET", "", NULL, NULL, 0, 0 },
	{ "UPDATE", "Update SSH key", "PUT", "", key_update, NULL, 0, 0 },
	{ "DELETE", "Delete SSH key", "DELETE", "", NULL, NULL, 0, 0 },
	{ NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 },
};

static void
view_key(const struct api_call *c, struct api_json *j, const struct wire_ssh_key *k)
{
	AUTO(free) char *base = xasprintf("user/keys/%s", k->name);

	api_json_obj(j, NULL);
	api_json_str(j, "name", k->name);
	api_json_str(j, "content", k->content);
	api_json_str(j, "type", k->type);
	api_link_write(c, j, key_links, base);
	api_json_end_obj(j);
}

struct list {
	struct api_call *c;
	struct api_json *j;
};

static bool
list_one(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_ssh_key *k = rec;
	const struct list *l = arg;

	(void)key;
	(void)rev;
	if (strcmp(k->user_id, l->c->who.user_id) == 0)
		view_key(l->c, l->j, k);
	return true;
}

void
api_key_list(struct api_call *c)
{
	AUTO(free) char *prefix = xasprintf("%s%s/", STORE_PREFIX_SSH_KEY, c->who.login);
	struct list l = { c, api_data(c, "keys") };

	api_json_arr(l.j, NULL);
	record_each(c->b->store, prefix, &wire_ssh_key_codec, list_one, &l);
	api_json_end_arr(l.j);
	api_send(c, 200);
}

static void
show(struct api_call *c, const char *name, int status)
{
	AUTO_FINI(wire_ssh_key_fini) struct wire_ssh_key k = { 0 };
	struct err e = { 0 };

	if (record_get(c->b->store, store_key_ssh_key(c->who.login, name), &wire_ssh_key_codec, &k,
	        NULL, &e) < 0 ||
	    strcmp(k.user_id, c->who.user_id) != 0) {
		api_fail(c, 404, EXIT_MISSING, NULL, "SSH key '%.80s' not found", name);
		return;
	}
	view_key(c, api_data(c, "key"), &k);
	api_send(c, status);
}

void
api_key_show(struct api_call *c)
{
	show(c, api_param_of_path(c->params, "name"), 200);
}

/* --- changes --- */

struct key_state {
	struct wire_ssh_key key;
	bool replaces;
};

static void
key_state_free(void *p)
{
	struct key_state *s = p;

	wire_ssh_key_fini(&s->key);
	free(s);
}

static void
key_stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct key_state *s = c->state;

	if (e == NULL)
		show(c, s->key.name, s->replaces ? 200 : 201);
	else if (e->code == ERR_NOT_FOUND)
		api_fail(c, 404, EXIT_MISSING, NULL, "%s", e->text);
	else if (e->code == ERR_CONFLICT && strcmp(e->field, "name") == 0)
		api_fail(c, 409, EXIT_NAME_TAKEN, "name", "%s", e->text);
	else if (e->code == ERR_CONFLICT && strcmp(e->field, "content") == 0)
		api_fail(c, 409, EXIT_CONTENT_TAKEN, "content", "%s", e->text);
	else
		api_fail_err(c, e, 1);
}

/* All that is wrong is said at once. */
static bool
complain(struct api_call *c, int exit_code, int rc, const struct err *e)
{
	if (rc == 0)
		return false;
	api_message(c, "error", exit_code, e->field, "%s", e->text);
	return true;
}

static bool
check(struct api_call *c, const char *name, const char *type, const char *content)
{
	struct err e[3] = { 0 };
	bool is_bad_type, is_bad;

	is_bad = complain(c, EXIT_NAME, ssh_key_check_name(name, &e[0]), &e[0]);
	is_bad_type = complain(c, EXIT_TYPE, ssh_key_check_type(type, &e[1]), &e[1]);
	if (complain(c, EXIT_CONTENT,
	        ssh_key_check_content(is_bad_type ? NULL : type, content, &e[2]), &e[2]) ||
	    is_bad || is_bad_type) {
		api_fail_all(c, 422);
		return false;
	}
	return true;
}

static void
put(struct api_call *c, const char *name, bool replaces)
{
	const char *type = NULL, *content = NULL;
	struct err e = { 0 };
	struct key_state *s;

	if (api_param_str(c->params, "type", TEXT_MAX, &type, &e) < 0 ||
	    api_param_str(c->params, "content", TEXT_MAX, &content, &e) < 0) {
		api_fail_err(c, &e, EXIT_CONTENT);
		return;
	}
	if (!check(c, name, type, content))
		return;
	s = xcalloc(1, sizeof *s);
	api_call_keep(c, s, key_state_free);
	s->replaces = replaces;
	s->key = (struct wire_ssh_key){
		.name = xstrdup(name),
		.login = xstrdup(c->who.login),
		.user_id = xstrdup(c->who.user_id),
		.type = xstrdup(type),
		.content = xstrdup(content),
	};
	ssh_key_put(c->b, &s->key, replaces, key_stored, c);
}

void
api_key_add(struct api_call *c)
{
	const char *name = NULL;
	struct err e = { 0 };

	if (api_param_str(c->params, "name", TEXT_MAX, &name, &e) < 0)
		api_fail_err(c, &e, EXIT_NAME);
	else
		put(c, name, false);
}

void
api_key_update(struct api_call *c)
{
	put(c, api_param_of_path(c->params, "name"), true);
}

static void
key_deleted(const struct err *e, void *arg)
{
	struct api_call *c = arg;

	if (e != NULL)
		api_fail_err(c, e, EXIT_MISSING);
	else
		api_send_deleted(c, "SSH key was deleted.");
}

void
api_key_delete(struct api_call *c)
{
	ssh_key_delete(c->b, c->who.login, api_param_of_path(c->params, "name"), key_deleted, c);
}
