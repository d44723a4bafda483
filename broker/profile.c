#include "broker/profile.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/catalog.h"
#include "broker/change.h"
#include "broker/gear_disk.h"
#include "broker/record.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_user.h"

enum {
	NAME_LEN_MAX = 32,
	BATCH = 40, /* gears of one transaction */
	MEMORY_MIN_MB = 32,
	CPU_MIN = 5,
	PIDS_MIN = 16,
	DISK_MIN_MB = 32,
	FILES_MIN = 1000,
};

bool
profile_get(const struct broker *b, const char *name, struct wire_limits *out)
{
	const struct wire_limits *usual = catalog_profile(name);
	struct err e = { 0 };

	if (record_get(b->store, store_key_profile(name), &wire_limits_codec, out, NULL, &e) == 0)
		return true;
	if (usual != NULL)
		*out = *usual;
	return usual != NULL;
}

static bool
add_name(const struct store_kv *kv, void *arg)
{
	const char *name = kv->key + strlen(STORE_PREFIX_PROFILE);

	if (!str_list_has(arg, name))
		str_list_add(arg, name);
	return true;
}

void
profile_names(const struct broker *b, struct str_list *out)
{
	for (size_t i = 0; catalog_profile_name(i) != NULL; i++)
		str_list_add(out, catalog_profile_name(i));
	store_range(b->store, STORE_PREFIX_PROFILE, add_name, out);
}

int
profile_check(const char *name, const struct wire_limits *l, struct err *e)
{
	const struct {
		const char *field;
		int64_t value, min;
	} least[] = {
		{ "memory_mb", l->memory_mb, MEMORY_MIN_MB },
		{ "cpu_percent", l->cpu_percent, CPU_MIN },
		{ "cpu_shares", l->cpu_shares, 2 },
		{ "pids", l->pids, PIDS_MIN },
		{ "disk_mb", l->disk_mb, DISK_MIN_MB },
		{ "files", l->files, FILES_MIN },
	};
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++) {
		if (!islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) &&
		    strchr("-_", name[i]) == NULL)
			n = 0;
	}
	if (n == 0 || n > NAME_LEN_MAX)
		return err_set(e, ERR_INVALID, "name",
		    "'%.64s' must be 1 to %d lower-case letters, digits, - or _", name,
		    NAME_LEN_MAX);
	for (size_t i = 0; i < ARRAY_LEN(least); i++) {
		if (least[i].value < least[i].min)
			return err_set(e, ERR_INVALID, least[i].field,
			    "must be at least %" PRId64 ", is %" PRId64, least[i].min,
			    least[i].value);
	}
	return 0;
}

/* --- changes --- */

struct op {
	struct broker *b;
	char *name;
	struct wire_limits limits;
	struct str_list users;
	bool removes, has_more;
	profile_done_fn *done;
	void *arg;
};

static void
op_end(struct op *op, const struct err *e)
{
	op->done(e, op->arg);
	free(op->name);
	str_list_fini(&op->users);
	free(op);
}

struct gears {
	struct op *op;
	struct store_txn *t;
	size_t n;
};

static bool
put_gear(const char *key, int64_t rev, void *rec, void *arg)
{
	struct wire_gear *g = rec;
	struct gears *gs = arg;
	const struct wire_limits old = g->limits;

	if (strcmp(g->profile, gs->op->name) != 0 || g->want == WIRE_WANT_GONE)
		return true;
	gear_disk_set_limits(g, &gs->op->limits);
	if (codec_equal(&wire_limits_codec, &g->limits, &old))
		return true;
	if (gs->n++ == BATCH) {
		gs->op->has_more = true;
		return false;
	}
	record_put_cas(gs->t, xstrdup(key), rev, &wire_gear_codec, g);
	return true;
}

static int
gears_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct op *op = arg;
	struct gears gs = { .op = op, .t = t };

	(void)e;
	op->has_more = false;
	record_each_with(b->store, STORE_PREFIX_GEAR, op->name, &wire_gear_codec, put_gear, &gs);
	return 0;
}

static void
gears_done(const struct err *e, void *arg)
{
	struct op *op = arg;

	if (e == NULL && op->has_more)
		change_start(op->b, gears_build, gears_done, op);
	else
		op_end(op, e);
}

static int
grant(struct broker *b, struct store_txn *t, const struct op *op, const char *login, struct err *e)
{
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	int64_t rev;

	if (record_get(b->store, store_key_user(login), &wire_user_codec, &u, &rev, e) < 0)
		return err_set(e, ERR_INVALID, "users", "There is no user '%.80s'.", login);
	if (str_list_has(&u.gear_sizes, op->name))
		return 0;
	str_list_add(&u.gear_sizes, op->name);
	record_put_cas(t, store_key_user(login), rev, &wire_user_codec, &u);
	return 0;
}

static bool
find_gear(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_gear *g = rec;
	struct gears *gs = arg;

	(void)key;
	(void)rev;
	if (strcmp(g->profile, gs->op->name) == 0)
		gs->n++;
	return true;
}

static int
record_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct op *op = arg;
	const struct wire_limits *usual = catalog_profile(op->name);
	AUTO_FINI(wire_limits_fini) struct wire_limits old = { 0 };
	struct gears gs = { .op = op };
	struct err why = { 0 };
	int64_t rev = 0;

	if (record_get(
	        b->store, store_key_profile(op->name), &wire_limits_codec, &old, &rev, &why) < 0)
		rev = 0;
	if (!op->removes) {
		record_put_cas(
		    t, store_key_profile(op->name), rev, &wire_limits_codec, &op->limits);
		for (size_t i = 0; i < op->users.n; i++) {
			if (grant(b, t, op, op->users.v[i], e) < 0)
				return -1;
		}
		return 0;
	}
	if (rev == 0)
		return err_set(e, ERR_NOT_FOUND, "name", "%s",
		    usual != NULL ? "The profile has its usual limits."
		                  : "There is no such profile.");
	record_each_with(b->store, STORE_PREFIX_GEAR, op->name, &wire_gear_codec, find_gear, &gs);
	if (usual == NULL && gs.n > 0)
		return err_set(e, ERR_CONFLICT, "name",
		    "%zu gears have the profile '%s': delete their applications first.", gs.n,
		    op->name);
	if (usual != NULL)
		op->limits = *usual;
	record_delete_cas(t, store_key_profile(op->name), rev);
	return 0;
}

static void
record_done(const struct err *e, void *arg)
{
	struct op *op = arg;

	if (e != NULL) {
		op_end(op, e);
		return;
	}
	log_info(op->removes ? "profile_removed" : "profile_set", LOG_STR("profile", op->name));
	if (op->limits.memory_mb == 0) /* it is gone, and no gear has it */
		op_end(op, NULL);
	else
		change_start(op->b, gears_build, gears_done, op);
}

void
profile_set(struct broker *b, const char *name, const struct wire_limits *l,
    const struct str_list *users, profile_done_fn *done, void *arg)
{
	struct op *op = xcalloc(1, sizeof *op);

	*op = (struct op){ .b = b, .name = xstrdup(name), .limits = *l, .done = done, .arg = arg };
	str_list_copy(&op->users, users);
	change_start(b, record_build, record_done, op);
}

void
profile_remove(struct broker *b, const char *name, profile_done_fn *done, void *arg)
{
	struct op *op = xcalloc(1, sizeof *op);

	*op =
	    (struct op){ .b = b, .name = xstrdup(name), .removes = true, .done = done, .arg = arg };
	change_start(b, record_build, record_done, op);
}
