/* A Procfile of an application: any text gives a few process types with good names, each once. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "node/build_start.h"
#include "test/fuzz/fuzz.h"

enum { TYPES_MAX = 20, NAME_MAX_LEN = 32 };

static void
check_one(const struct wire_var_list *l, size_t at)
{
	static const char good[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	const struct wire_var *v = &l->v[at];
	size_t n = strlen(v->name);

	if (n == 0 || n > NAME_MAX_LEN || strspn(v->name, good) != n ||
	    strcmp(v->name, "web") == 0 || strcmp(v->name, "release") == 0)
		abort();
	if (v->value[0] == '\0' || strchr(v->value, '\n') != NULL)
		abort();
	for (size_t i = 0; i < at; i++) {
		if (strcmp(l->v[i].name, v->name) == 0)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	AUTO(free) char *text = xstrndup((const char *)data, n);
	struct wire_var_list all = { 0 };

	build_start_procfile(text, &all);
	if (all.n > TYPES_MAX)
		abort();
	for (size_t i = 0; i < all.n; i++)
		check_one(&all, i);
	for (size_t i = 0; i < all.n; i++)
		wire_var_fini(&all.v[i]);
	free(all.v);
	return 0;
}
