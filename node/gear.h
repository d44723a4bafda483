/* node/gear.h: a gear on this node: identity (state file, uid range), its volume, its base layers.
 * Owned by the gear table; instances and builders borrow it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/wire/wire_gear.h"

struct container_spec;

enum gear_state {
	GEAR_NEW,         /* known from the feed, nothing done */
	GEAR_MAKING,      /* volume and skeleton under way */
	GEAR_CONFIGURING, /* a cartridge's setup and install run */
	GEAR_READY,
	GEAR_FAILED, /* could not be made; reason; tried again when its spec changes or after a
	                while */
	GEAR_GOING,  /* tombstone seen: instances stop, then all is removed */
	GEAR_GONE,
};

/* What is kept in GEARS/UUID.json. */
struct gear_record {
	int64_t format; /* 1 */
	char *uuid;
	int64_t uid_base;
	char *app_id;
	char *volume; /* "image", "quota", "plain" */
	int64_t disk_mb;
	struct str_list bases; /* of base/1, base/2 …: "vendor:name:version:cart_version" */
	bool is_made;          /* volume and base/0 are complete */
};
DECLARE_CODEC(gear_record, struct gear_record)

struct gear {
	struct wire_gear spec;
	struct gear_record record;
	char *dir; /* GEARS/UUID: volume root, mounted while the gear is in use */
	int state; /* enum gear_state; written by the gear table only */
	char *reason;
	int64_t disk_used_kb; /* as last looked at */
};

/* Lowers of the gear's own, top first: base/n … base/0, with the cartridges' code in between:
 * code_dirs[i] is the code layer of record.bases[i] (or NULL). Appended to s->lowers; n bases count
 * (record.bases.n: all; less while configuring). */
void gear_add_lowers(
    const struct gear *g, const struct str_list *code_dirs, size_t n, struct container_spec *s);

/* The binds that every container of the gear has: data, logs rw, .env ro, and what services have.
 */
void gear_add_binds(const struct gear *g, struct container_spec *s);

/* And the directories of its service cartridges as far as they are configured, from the volume:
 * writable for the one that acts (own), for the others to read; own may be NULL. */
void gear_bind_services(const struct gear *g, const char *own, struct container_spec *s);

/* GEARS/UUID/inst/ID: {up,work/work,tmp}; caller owns the string. */
char *gear_instance_dir(const struct gear *g, const char *id);
/* Blocks: makes that directory with its children owned as the container needs them. */
int gear_make_instance_dir(const struct gear *g, const char *id, struct err *e) MUST_CHECK;
/* Blocks: the upper of a configure run becomes the next base layer, ident its entry of bases; the
 * record is saved. */
int gear_add_base(struct gear *g, const char *upper, const char *ident, struct err *e) MUST_CHECK;
/* Blocks: writes NAME=value files of DIR below the gear's .env ("" or "user_vars"), atomically
 * each; with prune, files that vars does not name are removed. */
int gear_write_env(const struct gear *g, const char *dir, const struct wire_var_list *vars,
    bool prune, struct err *e) MUST_CHECK;

/* Blocks: the record, replaced safely. */
int gear_save(const struct gear *g, struct err *e) MUST_CHECK;
