/* lib/wire/wire_managed.h: a cartridge's metadata/managed_files.yml. Types and parser; no I/O. */
#pragma once

#include "lib/codec/codec.h"

struct wire_managed_link {
	char *link;   /* path of the link, relative to the gear home */
	char *target; /* name below app-root/runtime/dependencies (or build-dependencies) */
};
DECLARE_CODEC(wire_managed_link, struct wire_managed_link)
struct wire_managed_link_list {
	struct wire_managed_link *v;
	size_t n;
};

/* All paths but transforms are relative to the gear home and stay inside it; an item that ends in
 * '/' is a directory, one with '*' a glob. */
struct wire_managed {
	struct str_list locked_files;
	struct str_list processed_templates;
	struct str_list setup_rewritten;
	struct str_list snapshot_exclusions;
	struct str_list restore_transforms; /* sed expressions, as written */
	struct wire_managed_link_list dependency_dirs;
	struct wire_managed_link_list build_dependency_dirs;
};
DECLARE_CODEC(wire_managed, struct wire_managed)

/* cart_dir: the cartridge's directory in the gear ("nodejs"); short_name: upper case. What leaves
 * the home, or names an immutable file, is left out, as in v2. out: zeroed. */
int wire_managed_parse(const char *yaml, size_t n, const char *cart_dir, const char *short_name,
    struct wire_managed *out, struct err *e) MUST_CHECK;
