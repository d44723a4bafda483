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

/* A cartridge that is configured in the gear. */
struct gear_cart {
	char *name;
	char *ident;      /* vendor:name:version:cart_version */
	char *digest;     /* of the archive of its code; "": the node's own */
	char *short_name; /* upper case */
	char *base;       /* directory below base/: what configuring it wrote */
	struct str_list
	    older;         /* bases of before its upgrades, top first: they lie under its code */
	char *was_ident;   /* of before the last upgrade, with digest; NULL: none */
	char *was_digest;  /* likewise */
	int64_t was_at;    /* its base is older[was_at], what was below it comes after */
	bool is_service;   /* its directory is svc/NAME, its own copy */
	bool is_installed; /* it has started once, and post_install ran */
	struct str_list messages; /* CLIENT_ lines of the last step */
	struct wire_var_list properties;
	struct wire_asks asks; /* of its configuration */
};
DECLARE_CODEC(gear_cart, struct gear_cart)
struct gear_cart_list {
	struct gear_cart *v;
	size_t n;
};
enum { GEAR_OLDER_MAX = 64 };

/* What is kept in GEARS/UUID.json. */
struct gear_record {
	int64_t format; /* 2; 1 had bases alone: base/1 … in configure order */
	char *uuid;
	int64_t uid_base;
	char *app_id;
	char *volume; /* "image", "quota", "plain" */
	int64_t disk_mb;
	struct str_list bases;       /* of format 1 */
	struct gear_cart_list carts; /* in the order they were configured */
	bool is_made;                /* volume and base/0 are complete */
	bool was_ready;              /* once all its cartridges were configured */
};
DECLARE_CODEC(gear_record, struct gear_record)

struct gear {
	struct wire_gear spec;
	struct gear_record record;
	char *dir; /* GEARS/UUID: volume root, mounted while the gear is in use */
	int state; /* enum gear_state; written by the gear table only */
	char *reason;
	struct wire_gear_cart_status_list failed; /* cartridges that could not be configured */
	int64_t start_priority; /* of ~/.start_priority: at a boot lower ones come first */
	int64_t disk_used_kb;   /* as last looked at */
	char *notice;           /* of disk_guard, for its user; NULL: nothing to say */
	char *upgrading;    /* service cartridge whose instance stops for its upgrade; or NULL */
	bool is_over_quota; /* of a plain volume: nothing starts */
	bool is_frozen;     /* by disk_guard: what would start would not run */
};

/* NULL: it is not configured. Borrowed until the record changes. */
struct gear_cart *gear_cart_find(const struct gear *g, const char *name);
/* The record of an older release as this one has it. */
void gear_migrate(struct gear *g);
/* Nothing is configured any more: it is to be made anew. */
void gear_forget_carts(struct gear *g);
/* Of a copy: leaves only the cartridges in spec that are configured, in the release that is. */
void gear_keep_configured(struct gear *g);
/* vendor:name:version:cart_version of what is wanted; vendor: of its manifest, or NULL. Caller
 * owns. */
char *gear_cart_ident(const struct wire_gear_cart *c, const char *vendor);
/* What the record has, as the broker would name it; out zeroed. */
void gear_cart_spec(const struct gear_cart *c, struct wire_gear_cart *out);

/* Lowers of the gear's own, top first, in the order of spec.cartridges: each configured cartridge's
 * base, then its code (codes: as spec.cartridges, "" or NULL: none), at last base/0. A service's
 * code is not among them: it is bound. except: left out; NULL: none. Appended to s->lowers. */
void gear_add_lowers(const struct gear *g, const struct str_list *codes, const char *except,
    struct container_spec *s);

/* The binds that every container of the gear has: data, logs rw, .env ro. */
void gear_add_binds(const struct gear *g, struct container_spec *s);

/* And the directories of its service cartridges as far as they are configured, from the volume:
 * writable for the one that acts (own), for the others to read; own may be NULL. except: left out.
 */
void gear_bind_services(
    const struct gear *g, const char *own, const char *except, struct container_spec *s);

/* Blocks: ERR_LIMIT when its disk is too full for anything to start. */
int gear_check_room(const struct gear *g, struct err *e) MUST_CHECK;

/* Blocks: reads what the administrator wrote into ~/.start_priority; 100 when there is none. */
void gear_read_priority(struct gear *g);

/* GEARS/UUID/inst/ID: {up,work/work,tmp}; caller owns the string. */
char *gear_instance_dir(const struct gear *g, const char *id);
/* There when a cartridge's scripts have changed its template: holds template/ or template.git/. */
char *gear_template_dir(const struct gear *g);
/* Blocks: makes that directory with its children owned as the container needs them. */
int gear_make_instance_dir(const struct gear *g, const char *id, struct err *e) MUST_CHECK;
/* Blocks: the upper of a configure run becomes the base of the cartridge, which is entered in the
 * record (in place of what was there under that name) and saved. c: what is entered, but for base;
 * copied. */
int gear_add_base(
    struct gear *g, const char *upper, const struct gear_cart *c, struct err *e) MUST_CHECK;
/* Blocks: it is configured no more; its base goes with gear_sweep_bases. */
int gear_drop_cart(struct gear *g, const char *name, struct err *e) MUST_CHECK;
/* Blocks: removes bases that the record does not name. Only while no container of the gear lives.
 */
int gear_sweep_bases(const struct gear *g, struct err *e) MUST_CHECK;
/* Blocks: writes NAME=value files of DIR below the gear's .env ("" or "user_vars"), atomically
 * each; with prune, files that vars does not name are removed. */
int gear_write_env(const struct gear *g, const char *dir, const struct wire_var_list *vars,
    bool prune, struct err *e) MUST_CHECK;

/* Blocks: .env/PUBLISHER/NAME of each; directories of others are removed. */
int gear_write_published(
    const struct gear *g, const struct wire_gear_published_list *l, struct err *e) MUST_CHECK;

/* Blocks: .auth/{token,iv}, or neither. */
int gear_write_auth(const struct gear *g, struct err *e) MUST_CHECK;

/* Blocks: the record, replaced safely. */
int gear_save(const struct gear *g, struct err *e) MUST_CHECK;
