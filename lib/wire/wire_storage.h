/* lib/wire/wire_storage.h: a persistent path: a directory of an application's own tree, or of one
 * of its cartridges, that lies on the gear's volume and is bound over the tree. */
#pragma once

#include "lib/base/err.h"
#include "lib/codec/codec.h"

enum { WIRE_STORAGE_PATH_MAX = 160, WIRE_STORAGE_MAX = 16 /* of an application */ };

struct wire_storage {
	char *path;      /* "wiki/pages", below app-root/repo or the cartridge's directory */
	char *cartridge; /* "" or NULL: the repository */
	bool exclusive;  /* one instance at a time: rollouts hand it over */
	bool is_new;     /* until the rollout of its addition has ended: dropped if that fails */
	bool is_going;   /* until the rollout of its removal has ended: kept if that fails */
	int64_t gen;     /* with either: restart_gen of that rollout */
};
DECLARE_CODEC(wire_storage, struct wire_storage)
struct wire_storage_list {
	struct wire_storage *v;
	size_t n;
};

/* A path may lead nowhere else: relative, plain names, no "." or "..", no .git or .openshift. */
int wire_storage_check(const struct wire_storage *s, struct err *e) MUST_CHECK;
/* Is one the other, or inside it? */
bool wire_storage_overlap(const struct wire_storage *a, const struct wire_storage *b);
/* Below the home: "app-root/runtime/repo/wiki/pages"; caller owns. */
char *wire_storage_place(const struct wire_storage *s);
/* Name of its directory on the volume, one word: the place with '%' for '/'; caller owns. */
char *wire_storage_name(const struct wire_storage *s);
void wire_storage_list_copy(struct wire_storage_list *to, const struct wire_storage_list *from);
