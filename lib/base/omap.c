/* The ordered map is a skip list (Pugh, 1990): levels are drawn at random. */
#include "lib/base/map.h"

#include <stdint.h>
#include <string.h>

#include "lib/base/mem.h"

enum { LEVELS = 20 };

struct node {
	char *key; /* owned */
	void *value;
	int levels;
	struct node *next[];
};

struct omap {
	struct node *head; /* owned; its next[] begin the lists */
	size_t count;
	uint64_t random;
	map_free_fn *free_value;
};

static struct node *
node_new(int levels)
{
	struct node *n = xcalloc(1, sizeof *n + (size_t)levels * sizeof n->next[0]);

	n->levels = levels;
	return n;
}

struct omap *
omap_new(map_free_fn *free_value)
{
	struct omap *m = xcalloc(1, sizeof *m);

	m->head = node_new(LEVELS);
	m->random = (uint64_t)(uintptr_t)m | 1;
	m->free_value = free_value;
	return m;
}

static void
node_free(const struct omap *m, struct node *n)
{
	if (m->free_value != NULL && n->value != NULL)
		m->free_value(n->value);
	free(n->key);
	free(n);
}

void
omap_free(struct omap *m)
{
	if (m == NULL)
		return;
	for (struct node *n = m->head->next[0], *next; n != NULL; n = next) {
		next = n->next[0];
		node_free(m, n);
	}
	free(m->head);
	free(m);
}

/* Fills before[] with the last node of each level whose key is < key. */
static void
find(const struct omap *m, const char *key, struct node *before[LEVELS])
{
	struct node *n = m->head;

	for (int i = LEVELS - 1; i >= 0; i--) {
		while (n->next[i] != NULL && strcmp(n->next[i]->key, key) < 0)
			n = n->next[i];
		before[i] = n;
	}
}

static struct node *
find_exact(const struct omap *m, const char *key, struct node *before[LEVELS])
{
	find(m, key, before);
	struct node *n = before[0]->next[0];
	return n != NULL && strcmp(n->key, key) == 0 ? n : NULL;
}

void *
omap_get(const struct omap *m, const char *key)
{
	struct node *before[LEVELS];
	struct node *n = find_exact(m, key, before);

	return n == NULL ? NULL : n->value;
}

/* One more level with probability 1/4. */
static int
draw_levels(struct omap *m)
{
	int levels = 1;

	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	for (uint64_t r = m->random; levels < LEVELS && (r & 3) == 0; r >>= 2)
		levels++;
	return levels;
}

void
omap_set(struct omap *m, const char *key, void *take_value)
{
	struct node *before[LEVELS];
	struct node *n = find_exact(m, key, before);

	if (n != NULL) {
		if (m->free_value != NULL && n->value != NULL && n->value != take_value)
			m->free_value(n->value);
		n->value = take_value;
		return;
	}
	n = node_new(draw_levels(m));
	n->key = xstrdup(key);
	n->value = take_value;
	for (int i = 0; i < n->levels; i++) {
		n->next[i] = before[i]->next[i];
		before[i]->next[i] = n;
	}
	m->count++;
}

bool
omap_remove(struct omap *m, const char *key)
{
	struct node *before[LEVELS];
	struct node *n = find_exact(m, key, before);

	if (n == NULL)
		return false;
	for (int i = 0; i < n->levels; i++)
		before[i]->next[i] = n->next[i];
	m->count--;
	node_free(m, n);
	return true;
}

size_t
omap_count(const struct omap *m)
{
	return m->count;
}

const char *
omap_seek(const struct omap *m, const char *key, bool after, void **out_value)
{
	struct node *before[LEVELS];

	find(m, key, before);
	struct node *n = before[0]->next[0];
	if (after && n != NULL && strcmp(n->key, key) == 0)
		n = n->next[0];
	if (n == NULL)
		return NULL;
	if (out_value != NULL)
		*out_value = n->value;
	return n->key;
}
