#include "lib/store/store_mirror.h"

#include "lib/base/map.h"

#include <string.h>

struct entry {
	int64_t create_rev, mod_rev, version, lease;
	size_t n;
	char val[]; /* NUL-terminated */
};

struct store_mirror {
	struct omap *map; /* owned; key → struct entry */
};

struct store_mirror *
store_mirror_new(void)
{
	struct store_mirror *m = xcalloc(1, sizeof *m);

	m->map = omap_new(free);
	return m;
}

void
store_mirror_free(struct store_mirror *take_m)
{
	if (take_m == NULL)
		return;
	omap_free(take_m->map);
	free(take_m);
}

void
store_mirror_put(struct store_mirror *m, const struct store_row *r)
{
	struct entry *en = xmalloc(sizeof *en + r->n + 1);

	en->create_rev = r->create_rev;
	en->mod_rev = r->mod_rev;
	en->version = r->version;
	en->lease = r->lease;
	en->n = r->n;
	if (r->n > 0)
		memcpy(en->val, r->val, r->n);
	en->val[r->n] = '\0';
	omap_set(m->map, r->key, en);
}

void
store_mirror_apply(struct store_mirror *m, const struct store_commit *c)
{
	for (size_t i = 0; i < c->n; i++) {
		if (c->rows[i].deleted)
			omap_remove(m->map, c->rows[i].key);
		else
			store_mirror_put(m, &c->rows[i]);
	}
}

static struct store_kv
kv_of(const char *key, const struct entry *en)
{
	return (struct store_kv){
		.key = key,
		.val = en->val,
		.n = en->n,
		.create_rev = en->create_rev,
		.mod_rev = en->mod_rev,
		.version = en->version,
		.lease = en->lease,
	};
}

bool
store_mirror_get(const struct store_mirror *m, const char *key, struct store_kv *out)
{
	void *en = NULL;
	const char *found = omap_seek(m->map, key, false, &en);

	if (found == NULL || strcmp(found, key) != 0)
		return false;
	*out = kv_of(found, en);
	return true;
}

void
store_mirror_range(const struct store_mirror *m, const char *prefix, store_visit_fn *fn, void *arg)
{
	size_t n = strlen(prefix);
	void *en = NULL;
	const char *key = omap_seek(m->map, prefix, false, &en);

	while (key != NULL && strncmp(key, prefix, n) == 0) {
		struct store_kv kv = kv_of(key, en);

		if (!fn(&kv, arg))
			return;
		key = omap_seek(m->map, key, true, &en);
	}
}
