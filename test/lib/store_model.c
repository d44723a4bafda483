#include "test/lib/store_model.h"

#include "lib/base/mem.h"

#include <stdio.h>

enum { VALUE_MAX = 3000 };

const char *const store_model_keys[STORE_MODEL_KEYS] = {
	"/a",
	"/a/",
	"/a/0",
	"/a/1",
	"/a/10",
	"/a/2",
	"/a/3",
	"/a0",
	"/app/x",
	"/app/y",
	"/b/0",
	"/b/1",
	"/b/2",
	"/b/\x7f",
	"/b/\xc3\xa9",
	"/b/\xff",
	"/c",
	"\xff\xff",
};

void
store_model_init(struct store_model *m, uint64_t seed)
{
	*m = (struct store_model){ .random = seed * 2 + 1, .next_val = 1, .cap = 64 };
	m->states = xcalloc(m->cap, sizeof *m->states);
}

void
store_model_fini(struct store_model *m)
{
	free(m->states);
	*m = (struct store_model){ 0 };
}

uint64_t
store_model_draw(struct store_model *m, uint64_t below)
{
	/* splitmix64 */
	uint64_t z = (m->random += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (z ^ (z >> 31)) % below;
}

/* --- values --- */

static size_t
value_of(int64_t number, char out[VALUE_MAX])
{
	size_t n = number % 50 == 0 ? VALUE_MAX - 1 : (size_t)(number * 7919 % 300);
	int used = snprintf(out, VALUE_MAX, "%lld:", (long long)number);

	if (n < (size_t)used)
		n = (size_t)used;
	memset(out + used, 'a' + (int)(number % 26), n - (size_t)used);
	return n;
}

/* --- plans --- */

static int64_t
draw_lease(struct store_model *m)
{
	int64_t lease =
	    store_model_draw(m, 4) == 0 ? m->leases[store_model_draw(m, STORE_MODEL_LEASES)] : 0;

	return lease < 0 ? -lease : lease; /* an ended one too */
}

static void
draw_if(struct store_model *m, struct store_model_plan *p)
{
	int key = (int)store_model_draw(m, STORE_MODEL_KEYS);
	int64_t present = m->states[m->rev].cells[key].mod_rev;
	uint64_t kind = store_model_draw(m, 12);

	p->ifs[p->if_n].key = key;
	if (kind == 0)
		p->ifs[p->if_n].rev = (int64_t)store_model_draw(m, (uint64_t)m->rev + 2);
	else if (kind == 1)
		p->ifs[p->if_n].rev = 0;
	else
		p->ifs[p->if_n].rev = kind < 4 && present > 0 ? -1 : present;
	p->if_n++;
}

void
store_model_plan(struct store_model *m, struct store_model_plan *out)
{
	bool used[STORE_MODEL_KEYS] = { false };
	uint64_t ifs = store_model_draw(m, 3), rows = store_model_draw(m, STORE_MODEL_OPS);

	*out = (struct store_model_plan){ 0 };
	while (ifs-- > 0)
		draw_if(m, out);
	while (rows-- > 0) {
		int key = (int)store_model_draw(m, STORE_MODEL_KEYS);
		bool is_put = store_model_draw(m, 3) > 0;
		int64_t lease = is_put ? draw_lease(m) : 0;

		if (used[key])
			continue;
		used[key] = true;
		out->rows[out->row_n].key = key;
		out->rows[out->row_n].val = is_put ? m->next_val++ : 0;
		out->rows[out->row_n].lease = lease;
		out->row_n++;
	}
}

struct store_txn *
store_model_txn(const struct store_model_plan *p)
{
	struct store_txn *t = store_txn_new();
	char val[VALUE_MAX];

	for (int i = 0; i < p->if_n; i++) {
		if (p->ifs[i].rev < 0)
			store_txn_if_exists(t, store_model_keys[p->ifs[i].key]);
		else
			store_txn_if_rev(t, store_model_keys[p->ifs[i].key], p->ifs[i].rev);
	}
	for (int i = 0; i < p->row_n; i++) {
		const char *key = store_model_keys[p->rows[i].key];

		if (p->rows[i].val == 0)
			store_txn_delete(t, key);
		else
			store_txn_put_lease(
			    t, key, val, value_of(p->rows[i].val, val), p->rows[i].lease);
	}
	return t;
}

/* --- outcome --- */

static bool
lease_lives(const struct store_model *m, int64_t lease)
{
	for (int i = 0; i < STORE_MODEL_LEASES; i++) {
		if (m->leases[i] == lease)
			return true;
	}
	return false;
}

static enum err_code
foretell(const struct store_model *m, const struct store_model_plan *p)
{
	for (int i = 0; i < p->if_n; i++) {
		int64_t present = m->states[m->rev].cells[p->ifs[i].key].mod_rev;

		if (p->ifs[i].rev < 0 ? present == 0 : present != p->ifs[i].rev)
			return ERR_CONFLICT;
	}
	for (int i = 0; i < p->row_n; i++) {
		if (p->rows[i].lease != 0 && !lease_lives(m, p->rows[i].lease))
			return ERR_NOT_FOUND;
	}
	return ERR_NONE;
}

/* A copy of the newest state, not yet counted in rev. */
static struct store_model_state *
draft(struct store_model *m)
{
	if ((size_t)m->rev + 2 > m->cap) {
		m->cap *= 2;
		m->states = xreallocarray(m->states, m->cap, sizeof *m->states);
	}
	m->states[m->rev + 1] = m->states[m->rev];
	m->states[m->rev + 1].changed_n = 0;
	return &m->states[m->rev + 1];
}

static void
change(struct store_model *m, struct store_model_state *st, int key, int64_t val, int64_t lease)
{
	struct store_model_cell *c = &st->cells[key];

	if (val == 0 && c->mod_rev == 0)
		return;
	st->changed[st->changed_n++] = key;
	if (val == 0) {
		*c = (struct store_model_cell){ 0 };
		return;
	}
	if (c->mod_rev == 0)
		c->create_rev = m->rev + 1;
	c->mod_rev = m->rev + 1;
	c->version++;
	c->val = val;
	c->lease = lease;
}

enum err_code
store_model_apply(struct store_model *m, const struct store_model_plan *p)
{
	enum err_code code = foretell(m, p);
	struct store_model_state *st;

	if (code != ERR_NONE)
		return code;
	st = draft(m);
	for (int i = 0; i < p->row_n; i++)
		change(m, st, p->rows[i].key, p->rows[i].val, p->rows[i].lease);
	if (st->changed_n > 0)
		m->rev++;
	return ERR_NONE;
}

void
store_model_end_lease(struct store_model *m, int64_t lease)
{
	struct store_model_state *st = draft(m);

	for (int key = 0; key < STORE_MODEL_KEYS; key++) {
		if (st->cells[key].lease == lease)
			change(m, st, key, 0, 0);
	}
	if (st->changed_n > 0)
		m->rev++;
	for (int i = 0; i < STORE_MODEL_LEASES; i++) {
		if (m->leases[i] == lease)
			m->leases[i] = -lease;
	}
}

/* --- comparison --- */

int
store_model_key(const char *key)
{
	for (int i = 0; i < STORE_MODEL_KEYS; i++) {
		if (strcmp(store_model_keys[i], key) == 0)
			return i;
	}
	return -1;
}

const char *
store_model_compare(const struct store_model *m, int64_t rev, int key, const struct store_kv *kv)
{
	static char why[300];
	char val[VALUE_MAX];
	const struct store_model_cell *c = &m->states[rev].cells[key];
	size_t n = value_of(c->val, val);

	if (c->mod_rev == kv->mod_rev && c->create_rev == kv->create_rev &&
	    c->version == kv->version && c->lease == kv->lease && n == kv->n &&
	    memcmp(val, kv->val, n) == 0)
		return NULL;
	(void)snprintf(why, sizeof why,
	    "%s at revision %lld: is %.20s mod %lld create %lld version %lld lease %lld, "
	    "should be %.20s mod %lld create %lld version %lld lease %lld",
	    kv->key, (long long)rev, kv->val, (long long)kv->mod_rev, (long long)kv->create_rev,
	    (long long)kv->version, (long long)kv->lease, val, (long long)c->mod_rev,
	    (long long)c->create_rev, (long long)c->version, (long long)c->lease);
	return why;
}

struct all {
	const struct store_model *m;
	int64_t rev;
	int next; /* key that is not yet seen */
	const char *why;
};

static int
next_present(const struct all *a)
{
	int key = a->next;

	while (key < STORE_MODEL_KEYS && a->m->states[a->rev].cells[key].mod_rev == 0)
		key++;
	return key;
}

static bool
visit(const struct store_kv *kv, void *arg)
{
	struct all *a = arg;
	int key = next_present(a);

	if (key == STORE_MODEL_KEYS || strcmp(kv->key, store_model_keys[key]) != 0) {
		a->why = "a key too many, or too few";
		return false;
	}
	a->why = store_model_compare(a->m, a->rev, key, kv);
	a->next = key + 1;
	return a->why == NULL;
}

const char *
store_model_compare_all(const struct store_model *m, const struct store *s)
{
	struct all a = { .m = m, .rev = store_rev(s) };

	if (a.rev > m->rev)
		return "a revision that nobody wrote";
	store_range(s, "", visit, &a);
	if (a.why == NULL && next_present(&a) != STORE_MODEL_KEYS)
		a.why = "a key is missing at the end";
	return a.why;
}
