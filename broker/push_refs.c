#include "broker/push_refs.h"

#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

enum { COMMANDS_MAX = 10000, REFS_MAX = 10000, REF_LEN_MAX = 250, OID_LEN = 40 };

void
push_refs_fini(struct push_refs *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->v[i].old_oid);
		free(r->v[i].new_oid);
		free(r->v[i].ref);
		free(r->v[i].reason);
		free(r->v[i].note);
	}
	free(r->v);
	*r = (struct push_refs){ 0 };
}

bool
push_refs_is_zero(const char *oid)
{
	return strspn(oid, "0") == strlen(oid);
}

static bool
is_oid(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '\0' || strchr("0123456789abcdef", s.p[i]) == NULL)
			return false;
	return s.n == OID_LEN;
}

int
push_refs_parse(struct push_refs *r, struct str text, struct err *e)
{
	while (text.n > 0) {
		struct str line, old_oid, new_oid;
		struct push_command *c;

		text = str_cut(text, '\n', &line);
		line = str_cut(line, ' ', &old_oid);
		line = str_cut(line, ' ', &new_oid);
		if (!is_oid(old_oid) || !is_oid(new_oid) || line.n == 0 ||
		    memchr(line.p, '\0', line.n) != NULL)
			return err_set(e, ERR_INVALID, NULL, "git sent a command that is none");
		if (r->n >= COMMANDS_MAX)
			return err_set(
			    e, ERR_LIMIT, NULL, "a push may move at most %d refs", COMMANDS_MAX);
		r->v = xreallocarray(r->v, r->n + 1, sizeof *r->v);
		c = &r->v[r->n++];
		*c = (struct push_command){ .old_oid = xstrndup(old_oid.p, OID_LEN),
			.new_oid = xstrndup(new_oid.p, OID_LEN),
			.ref = xstrndup(line.p, line.n) };
	}
	return 0;
}

static bool
has_own_deployment(const struct broker *b, const struct wire_app *app)
{
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	struct err e = { 0 };

	if (app->status.deployment == NULL || *app->status.deployment == '\0')
		return false;
	return record_get(b->store, store_key_deployment(app->id, app->status.deployment),
	           &wire_deployment_codec, &d, NULL, &e) == 0 &&
	       !d.is_template;
}

static struct push_command *
find(struct push_refs *r, const char *ref)
{
	for (size_t i = 0; i < r->n; i++) {
		if (strcmp(r->v[i].ref, ref) == 0 && !push_refs_is_zero(r->v[i].new_oid))
			return &r->v[i];
	}
	return NULL;
}

static char *
branch_of(const struct wire_app *app)
{
	return xasprintf(
	    "refs/heads/%s", app->deployment_branch == NULL || *app->deployment_branch == '\0'
	                         ? "master"
	                         : app->deployment_branch);
}

/* The push to the branch that deploys; the first main or master of a new application makes it so.
 */
static struct push_command *
find_deployed(const struct broker *b, const struct wire_app *app, struct push_refs *r)
{
	AUTO(free) char *branch = branch_of(app);
	struct push_command *c = find(r, branch);

	if (c != NULL || app->branch_by_user || has_own_deployment(b, app))
		return c;
	for (size_t i = 0; i < r->n; i++) {
		if (!push_refs_is_zero(r->v[i].new_oid) &&
		    (strcmp(r->v[i].ref, "refs/heads/main") == 0 ||
		        strcmp(r->v[i].ref, "refs/heads/master") == 0))
			return &r->v[i];
	}
	return NULL;
}

static void
judge_one(const struct wire_app *app, const char *branch, struct push_command *c)
{
	bool is_head = str_has_prefix(c->ref, "refs/heads/"),
	     is_tag = str_has_prefix(c->ref, "refs/tags/");

	if ((!is_head && !is_tag) || strlen(c->ref) > REF_LEN_MAX) {
		c->reason = xstrdup(!is_head && !is_tag ? "only branches and tags are taken"
		                                        : "the name is longer than 250 bytes");
	} else if (push_refs_is_zero(c->new_oid) && strcmp(c->ref, branch) == 0) {
		c->reason = xstrdup("the deployment branch cannot be deleted");
		c->note =
		    xasprintf("%s is the branch that deploys: set another deployment branch first, "
		              "then delete it.",
		        c->ref + strlen("refs/heads/"));
	} else {
		c->is_stored = true;
		if (is_head && strcmp(c->ref, branch) == 0 && !app->auto_deploy)
			c->note = xasprintf(
			    "%s is stored. Deployments on push are off (auto_deploy): deploy "
			    "it by hand.",
			    c->ref + strlen("refs/heads/"));
		else if (is_head && !push_refs_is_zero(c->new_oid))
			c->note = xasprintf("%s is stored. Pushes to %s are deployed.",
			    c->ref + strlen("refs/heads/"), branch + strlen("refs/heads/"));
	}
}

struct push_command *
push_refs_judge(const struct broker *b, const struct wire_app *app, struct push_refs *r)
{
	AUTO(free) char *branch = NULL;
	struct push_command *built = app->auto_deploy ? find_deployed(b, app, r) : NULL;

	branch = built != NULL ? xstrdup(built->ref) : branch_of(app);
	for (size_t i = 0; i < r->n; i++) {
		if (&r->v[i] != built)
			judge_one(app, branch, &r->v[i]);
	}
	return built;
}

static void
refuse(struct push_command *c, const char *why)
{
	c->is_stored = false;
	mem_set_str(&c->reason, why);
}

void
push_refs_refuse_stored(struct push_refs *r, const char *why)
{
	for (size_t i = 0; i < r->n; i++) {
		if (r->v[i].is_stored)
			refuse(&r->v[i], why);
	}
}

/* One ref of the record; true: it moved. */
static bool
move(struct wire_refs *refs, struct push_command *c)
{
	struct wire_ref *ref = NULL;
	const char *now;

	for (size_t i = 0; i < refs->refs.n; i++) {
		if (strcmp(refs->refs.v[i].name, c->ref) == 0)
			ref = &refs->refs.v[i];
	}
	now = ref == NULL ? "" : ref->oid;
	if (strcmp(push_refs_is_zero(c->old_oid) ? "" : c->old_oid, now) != 0) {
		refuse(c, "it moved meanwhile: fetch first");
		return false;
	}
	if (push_refs_is_zero(c->new_oid)) {
		if (ref == NULL)
			return false;
		free(ref->name);
		free(ref->oid);
		*ref = refs->refs.v[--refs->refs.n];
		return true;
	}
	if (ref == NULL && refs->refs.n >= REFS_MAX) {
		refuse(c, "the repository has too many refs: delete some");
		return false;
	}
	if (ref == NULL) {
		ref = codec_list_add(&wire_ref_codec, &refs->refs);
		ref->name = xstrdup(c->ref);
	}
	mem_set_str(&ref->oid, c->new_oid);
	return true;
}

int
push_refs_fill(const struct broker *b, const char *app_id, struct push_refs *r, struct store_txn *t,
    struct err *e)
{
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	AUTO_FINI(wire_refs_fini) struct wire_refs refs = { 0 };
	AUTO(free) char *app_key = NULL;
	int64_t app_rev, rev = 0;
	struct err none = { 0 };
	bool is_moved = false;

	if (record_app_by_id(b->store, app_id, &app, &app_rev, e) < 0)
		return -1;
	if (app.spec.deleted)
		return err_set(e, ERR_NOT_FOUND, "app", "the application is being deleted");
	if (record_get(b->store, store_key_refs(app_id), &wire_refs_codec, &refs, &rev, &none) < 0)
		rev = 0;
	if (refs.head == NULL || *refs.head == '\0') {
		free(refs.head);
		refs.head = branch_of(&app);
	}
	for (size_t i = 0; i < r->n; i++) {
		if (r->v[i].is_stored && move(&refs, &r->v[i]))
			is_moved = true;
	}
	if (!is_moved)
		return 0;
	record_put_cas(t, store_key_refs(app_id), rev, &wire_refs_codec, &refs);
	app_key = store_key_app(app.domain, app.name);
	if (app.pushed) {
		store_txn_if_rev(t, app_key, app_rev);
	} else {
		app.pushed = true;
		record_put_cas(t, STEAL(app_key), app_rev, &wire_app_codec, &app);
	}
	return 1;
}
