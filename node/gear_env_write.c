#include "node/gear_env_write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "node/cart_store.h"
#include "node/gear.h"
#include "node/gear_env.h"
#include "node/gear_storage.h"

enum { ENV_MAX = 4 * 1024 * 1024 };

/* The gear's cartridges as this node has them, NULLs in it; the caller frees the array. */
static const struct cart_dir_entry **
find_carts(struct cart_store *s, const struct wire_gear *spec)
{
	const struct cart_dir_entry **v = xcalloc(spec->cartridges.n + 1, sizeof *v);

	for (size_t i = 0; i < spec->cartridges.n; i++)
		v[i] = cart_store_find(s, &spec->cartridges.v[i]);
	return v;
}

static void
add_env_text(const struct wire_var_list *l, struct buf *out)
{
	for (size_t i = 0; i < l->n; i++) {
		buf_add(out, l->v[i].name, strlen(l->v[i].name) + 1);
		buf_add(out, l->v[i].value, strlen(l->v[i].value) + 1);
	}
	buf_addc(out, '\0');
}

/* A daemon that starts beside a living volume need not write again what is there. */
static bool
has_env(const struct gear *g, const struct buf *text)
{
	AUTO(free) char *path = file_join(g->dir, "env.kept");
	AUTO_FINI(buf_fini) struct buf kept = { 0 };
	struct err e = { 0 };

	return file_exists(path) && file_read(path, ENV_MAX, &kept, &e) == 0 && kept.n == text->n &&
	       memcmp(kept.p, text->p, kept.n) == 0;
}

static int
replace_env(
    const struct gear *g, const struct wire_var_list *list, const struct buf *text, struct err *e)
{
	AUTO(free) char *path = file_join(g->dir, "env.kept");

	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(e, ERR_SYSTEM, NULL, "remove %s", path);
	if (gear_write_env(g, "", list, true, e) < 0 ||
	    gear_write_env(g, "user_vars", &g->spec.env, true, e) < 0)
		return -1;
	return file_replace_fast(path, text->p, text->n, 0600, e);
}

int
gear_env_write(const struct gear *g, struct cart_store *s, bool is_alive, struct err *e)
{
	const struct wire_gear *spec = &g->spec;
	AUTO(free_ptr)
	const struct cart_dir_entry **carts = find_carts(s, spec);
	const struct gear_env in = { .gear = spec, .carts = carts, .carts_n = spec->cartridges.n };
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	struct wire_var_list list = { 0 };
	int rc;

	gear_env_gear_vars(&in, &list);
	add_env_text(&list, &text);
	add_env_text(&spec->env, &text);
	rc = is_alive && has_env(g, &text) ? 0 : replace_env(g, &list, &text, e);
	if (rc == 0)
		rc = gear_write_published(g, &spec->published, e);
	if (rc == 0)
		rc = gear_write_auth(g, e);
	if (rc == 0)
		rc = gear_storage_retire(g, e);
	for (size_t i = 0; i < list.n; i++)
		codec_fini(&wire_var_codec, &list.v[i]);
	free(list.v);
	return rc;
}
