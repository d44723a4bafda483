/* lib/cart/cart_dir.h: the cartridges of a directory: catalogue of the broker, code of the node.
 * Blocks (reads files): at start, or on a worker. The result is immutable. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"
#include "lib/wire/wire_cart.h"
#include "lib/wire/wire_managed.h"

/* One cartridge at one software version. */
struct cart_dir_entry {
	struct wire_cart cart;
	struct wire_managed managed;
	char *path;   /* absolute: the directory that holds metadata/ */
	char *digest; /* hex SHA-256 over names, modes and contents of the directory */
	bool has_setup, has_install, has_post_install; /* bin/… is there */
	bool has_upgrade, has_teardown;
	bool has_erb; /* something is rendered when it is configured */
};

struct cart_dir; /* opaque */

/* Reads DIR/NAME/metadata/manifest.yml, and DIR/NAME/CARTRIDGE-VERSION/metadata/manifest.yml where
 * several releases lie side by side; one entry for each software version. Broken cartridges are
 * left out and logged (`cartridge_invalid`); a directory that cannot be read is an error. */
struct cart_dir *cart_dir_open(const char *dir, struct err *e) MUST_CHECK;
/* The one cartridge whose directory (with metadata/) path is. */
struct cart_dir *cart_dir_open_one(const char *path, struct err *e) MUST_CHECK;
void cart_dir_close(struct cart_dir *take_d);

size_t cart_dir_count(const struct cart_dir *d);
const struct cart_dir_entry *cart_dir_at(
    const struct cart_dir *d, size_t i); /* by name, newest first */
/* version NULL: the newest software version; cart_version NULL: the newest release. NULL when there
 * is none. */
const struct cart_dir_entry *cart_dir_find(
    const struct cart_dir *d, const char *name, const char *version, const char *cart_version);
