#include "broker/domain.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "broker/app.h"
#include "broker/broker.h"
#include "broker/catalog.h"
#include "broker/profile.h"
#include "broker/quota.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_user.h"

struct op {
	char *name;     /* owned */
	char *new_name; /* owned or NULL */
	char *owner;    /* owned */
	struct str_list sizes;
	bool has_sizes;
	change_done_fn *done;
	void *arg; /* borrowed */
};

static struct op *
op_new(const char *name, const char *new_name, const char *owner, const struct str_list *sizes,
    change_done_fn *done, void *arg)
{
	struct op *op = xcalloc(1, sizeof *op);

	op->name = xstrdup(name);
	op->new_name = xstrdup_null(new_name);
	op->owner = xstrdup_null(owner);
	op->has_sizes = sizes != NULL;
	if (sizes != NULL)
		str_list_copy(&op->sizes, sizes);
	op->done = done;
	op->arg = arg;
	return op;
}

static void
op_done(const struct err *e, void *arg)
{
	struct op *op = arg;

	op->done(e, op->arg);
	free(op->name);
	free(op->new_name);
	free(op->owner);
	str_list_fini(&op->sizes);
	free(op);
}

int
domain_check_name(const char *name, struct err *e)
{
	if (str_is_name(name, APP_DOMAIN_LEN_MAX))
		return 0;
	return err_set(e, ERR_INVALID, "name",
	    "Invalid domain name '%.40s'. It must be 1 to %d letters and digits, nothing else.",
	    name, APP_DOMAIN_LEN_MAX);
}

static void
join(const struct str_list *l, struct buf *out)
{
	for (size_t i = 0; i < l->n; i++)
		buf_addf(out, "%s%.64s", i == 0 ? "" : ", ", l->v[i]);
}

int
domain_check_sizes(
    const struct broker *b, const char *owner, const struct str_list *sizes, struct err *e)
{
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct wire_limits limits;
	AUTO_FINI(str_list_fini) struct str_list unknown = { 0 };
	AUTO_FINI(str_list_fini) struct str_list denied = { 0 };
	AUTO_FINI(buf_fini) struct buf words = { 0 };

	if (record_get(b->store, store_key_user(owner), &wire_user_codec, &u, NULL, e) < 0)
		return -1;
	for (size_t i = 0; i < sizes->n; i++) {
		if (!profile_get(b, sizes->v[i], &limits))
			str_list_add(&unknown, sizes->v[i]);
		else if (!str_list_has(&u.gear_sizes, sizes->v[i]))
			str_list_add(&denied, sizes->v[i]);
	}
	join(unknown.n > 0 ? &unknown : &denied, &words);
	if (unknown.n > 0)
		return err_set(e, ERR_INVALID, "allowed_gear_sizes",
		    "The following gear sizes are invalid: %s", words.p);
	if (denied.n > 0)
		return err_set(e, ERR_INVALID, "allowed_gear_sizes",
		    "The following gear sizes are not available to this account: %s", words.p);
	return 0;
}

static int
taken(const struct broker *b, const char *name, struct err *e)
{
	AUTO(free) char *key = store_key_domain(name);
	struct store_kv kv;

	if (!store_get(b->store, key, &kv))
		return 0;
	return err_set(e, ERR_CONFLICT, "id",
	    "Domain name '%s' is already in use. Please choose another.", name);
}

static int
create_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct op *op = arg;
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };

	if (taken(b, op->name, e) < 0 || quota_user(b, t, op->owner, 0, 1, e) < 0 ||
	    record_get(b->store, store_key_user(op->owner), &wire_user_codec, &u, NULL, e) < 0)
		return -1;
	d = (struct wire_domain){
		.id = record_new_id(),
		.name = xstrdup(op->name),
		.owner = xstrdup(op->owner),
		.created_at = (int64_t)time(NULL),
	};
	str_list_copy(&d.allowed_gear_sizes, op->has_sizes ? &op->sizes : &u.gear_sizes);
	record_put_cas(t, store_key_domain(op->name), 0, &wire_domain_codec, &d);
	return 0;
}

void
domain_create(struct broker *b, const char *name, const char *owner, const struct str_list *sizes,
    change_done_fn *done, void *arg)
{
	change_start(b, create_build, op_done, op_new(name, NULL, owner, sizes, done, arg));
}

static int
update_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct op *op = arg;
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	bool renames = op->new_name != NULL && strcmp(op->new_name, op->name) != 0;
	int64_t rev;

	if (record_get(b->store, store_key_domain(op->name), &wire_domain_codec, &d, &rev, e) < 0)
		return -1;
	if (op->has_sizes) {
		str_list_fini(&d.allowed_gear_sizes);
		str_list_copy(&d.allowed_gear_sizes, &op->sizes);
	}
	if (!renames) {
		record_put_cas(t, store_key_domain(op->name), rev, &wire_domain_codec, &d);
		return 0;
	}
	if (d.apps > 0)
		return err_set(e, ERR_INVALID, "apps",
		    "Domain '%s' contains %" PRId64
		    " applications. Delete them first, then change its name.",
		    d.name, d.apps);
	if (taken(b, op->new_name, e) < 0)
		return -1;
	mem_set_str(&d.name, op->new_name);
	record_delete_cas(t, store_key_domain(op->name), rev);
	record_put_cas(t, store_key_domain(op->new_name), 0, &wire_domain_codec, &d);
	return 0;
}

void
domain_update(struct broker *b, const char *name, const char *new_name,
    const struct str_list *sizes, change_done_fn *done, void *arg)
{
	change_start(b, update_build, op_done, op_new(name, new_name, NULL, sizes, done, arg));
}

/* --- members --- */

struct member_op {
	struct wire_domain wanted; /* name and members: the changes */
	change_done_fn *done;
	void *arg; /* borrowed */
};

static void
member_op_done(const struct err *e, void *arg)
{
	struct member_op *op = arg;

	op->done(e, op->arg);
	wire_domain_fini(&op->wanted);
	free(op);
}

static int
apply_member(struct wire_domain *d, const struct wire_member *m, struct err *e)
{
	struct wire_member *at = NULL;

	for (size_t i = 0; i < d->members.n; i++) {
		if (strcmp(d->members.v[i].id, m->id) == 0)
			at = &d->members.v[i];
	}
	if (strcmp(m->role, "none") == 0) {
		if (at == NULL)
			return 0;
		wire_member_fini(at);
		memmove(at, at + 1, (size_t)(d->members.v + d->members.n - (at + 1)) * sizeof *at);
		d->members.n--;
		return 0;
	}
	if (at == NULL && d->members.n >= WIRE_MEMBERS_MAX)
		return err_set(e, ERR_LIMIT, "members",
		    "A domain can have %d members. Remove one first.", WIRE_MEMBERS_MAX);
	if (at == NULL) {
		at = codec_list_add(&wire_member_codec, &d->members);
		at->id = xstrdup(m->id);
		at->login = xstrdup(m->login);
	}
	mem_set_str(&at->role, m->role);
	return 0;
}

static int
members_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct member_op *op = arg;
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	int64_t rev;

	if (record_get(
	        b->store, store_key_domain(op->wanted.name), &wire_domain_codec, &d, &rev, e) < 0)
		return -1;
	for (size_t i = 0; i < op->wanted.members.n; i++) {
		if (apply_member(&d, &op->wanted.members.v[i], e) < 0)
			return -1;
	}
	record_put_cas(t, store_key_domain(d.name), rev, &wire_domain_codec, &d);
	return 0;
}

void
domain_set_members(struct broker *b, const char *name, const struct wire_member_list *changes,
    change_done_fn *done, void *arg)
{
	struct member_op *op = xcalloc(1, sizeof *op);

	*op = (struct member_op){ .wanted = { .name = xstrdup(name) }, .done = done, .arg = arg };
	for (size_t i = 0; i < changes->n; i++)
		codec_copy(&wire_member_codec,
		    codec_list_add(&wire_member_codec, &op->wanted.members), &changes->v[i]);
	change_start(b, members_build, member_op_done, op);
}

static int
delete_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct op *op = arg;
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	struct err why = { 0 };
	int64_t rev;

	if (record_get(b->store, store_key_domain(op->name), &wire_domain_codec, &d, &rev, &why) <
	    0)
		return why.code == ERR_NOT_FOUND ? 0 : (*e = why, -1);
	if (d.apps > 0)
		return err_set(e, ERR_CONFLICT, "apps",
		    "Domain contains applications. Delete applications first or set force to "
		    "true.");
	record_delete_cas(t, store_key_domain(op->name), rev);
	return quota_user(b, t, d.owner, 0, -1, e);
}

void
domain_delete(struct broker *b, const char *name, change_done_fn *done, void *arg)
{
	change_start(b, delete_build, op_done, op_new(name, NULL, NULL, NULL, done, arg));
}
