#include "lib/base/map.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include "lib/base/mem.h"

struct entry {
	struct entry *next; /* owned */
	uint64_t hash;
	void *value;
	size_t n;
	char key[];
};

struct map {
	struct entry **buckets; /* owned */
	size_t size;            /* a power of two, or 0 */
	size_t count;
	map_free_fn *free_value;
};

static uint64_t
rotl(uint64_t v, int by)
{
	return v << by | v >> (64 - by);
}

struct sip {
	uint64_t a, b, c, d;
};

static void
sip_round(struct sip *s)
{
	s->a += s->b;
	s->b = rotl(s->b, 13) ^ s->a;
	s->a = rotl(s->a, 32);
	s->c += s->d;
	s->d = rotl(s->d, 16) ^ s->c;
	s->a += s->d;
	s->d = rotl(s->d, 21) ^ s->a;
	s->c += s->b;
	s->b = rotl(s->b, 17) ^ s->c;
	s->c = rotl(s->c, 32);
}

static uint64_t seed[2]; /* of this process, set before there is a map */

static void
make_seed(void)
{
	if (getrandom(seed, sizeof seed, 0) != sizeof seed)
		abort();
}

/* SipHash-1-3 under a key of this process: keys come from outside. */
static uint64_t
hash_of(const char *p, size_t n)
{
	uint64_t last = (uint64_t)n << 56;

	struct sip s = { seed[0] ^ 0x736f6d6570736575, seed[1] ^ 0x646f72616e646f6d,
		seed[0] ^ 0x6c7967656e657261, seed[1] ^ 0x7465646279746573 };
	for (; n >= 8; p += 8, n -= 8) {
		uint64_t m;

		memcpy(&m, p, 8);
		s.d ^= m;
		sip_round(&s);
		s.a ^= m;
	}
	for (size_t i = 0; i < n; i++)
		last |= (uint64_t)(unsigned char)p[i] << (8 * i);
	s.d ^= last;
	sip_round(&s);
	s.a ^= last;
	s.c ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(&s);
	return s.a ^ s.b ^ s.c ^ s.d;
}

struct map *
map_new(map_free_fn *free_value)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct map *m = xcalloc(1, sizeof *m);

	(void)pthread_once(&once, make_seed); /* threads have maps of their own */
	m->free_value = free_value;
	return m;
}

static void
drop_value(map_free_fn *free_value, void *value)
{
	if (free_value != NULL && value != NULL)
		free_value(value);
}

void
map_free(struct map *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->size; i++) {
		for (struct entry *e = m->buckets[i], *next; e != NULL; e = next) {
			next = e->next;
			drop_value(m->free_value, e->value);
			free(e);
		}
	}
	free(m->buckets);
	free(m);
}

/* The place of the pointer to the entry, or of the NULL where it would be added. */
static struct entry **
slot_of(const struct map *m, const char *key, size_t n, uint64_t hash)
{
	struct entry **at = &m->buckets[hash & (m->size - 1)];

	while (*at != NULL &&
	       ((*at)->hash != hash || (*at)->n != n || memcmp((*at)->key, key, n) != 0))
		at = &(*at)->next;
	return at;
}

void *
map_getn(const struct map *m, const char *key, size_t n)
{
	if (m->count == 0)
		return NULL;
	struct entry *e = *slot_of(m, key, n, hash_of(key, n));
	return e == NULL ? NULL : e->value;
}

void *
map_get(const struct map *m, const char *key)
{
	return map_getn(m, key, strlen(key));
}

static void
grow(struct map *m)
{
	size_t size = m->size == 0 ? 8 : m->size * 2;
	struct entry **buckets = xcalloc(size, sizeof(struct entry *));

	for (size_t i = 0; i < m->size; i++) {
		for (struct entry *e = m->buckets[i], *next; e != NULL; e = next) {
			next = e->next;
			e->next = buckets[e->hash & (size - 1)];
			buckets[e->hash & (size - 1)] = e;
		}
	}
	free(m->buckets);
	m->buckets = buckets;
	m->size = size;
}

void
map_set(struct map *m, const char *key, void *take_value)
{
	size_t n = strlen(key);
	uint64_t hash = hash_of(key, n);

	if (m->count >= m->size)
		grow(m);
	struct entry **at = slot_of(m, key, n, hash);
	if (*at == NULL) {
		struct entry *e = xcalloc(1, sizeof *e + n + 1);

		memcpy(e->key, key, n);
		e->n = n;
		e->hash = hash;
		*at = e;
		m->count++;
	} else if ((*at)->value != take_value) {
		drop_value(m->free_value, (*at)->value);
	}
	(*at)->value = take_value;
}

void *
map_take(struct map *m, const char *key)
{
	if (m->count == 0)
		return NULL;
	struct entry **at = slot_of(m, key, strlen(key), hash_of(key, strlen(key)));
	struct entry *e = *at;
	if (e == NULL)
		return NULL;
	void *value = e->value;
	*at = e->next;
	m->count--;
	free(e);
	return value;
}

bool
map_remove(struct map *m, const char *key)
{
	size_t before = m->count;

	drop_value(m->free_value, map_take(m, key));
	return m->count != before;
}

size_t
map_count(const struct map *m)
{
	return m->count;
}

void
map_each(const struct map *m, map_visit_fn *fn, void *arg)
{
	for (size_t i = 0; i < m->size; i++) {
		for (struct entry *e = m->buckets[i], *next; e != NULL; e = next) {
			next = e->next;
			fn(e->key, e->value, arg);
		}
	}
}
