#include "router/host_root.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "router/host_key.h"
#include "router/host_route.h"

enum {
	SHARD_ROUTES = 64,
	SHARD_SLOTS = 128,
	SHARD_FEW = 24, /* two that have no more become one */
	HASH_BITS = 32,
	BITS_MIN = 1,
	BITS_MAX = 22,
	WILDCARD_LABELS = 8,
};

struct shard {
	struct shard *next, **prev; /* drafts; in the list of old ones, next alone */
	uint32_t prefix;            /* the first bits of all hashes in it */
	uint8_t depth;              /* how many */
	uint8_t n;
	bool is_draft;            /* no lane knows it */
	uint8_t tag[SHARD_SLOTS]; /* 7 bits of the hash and one more; 0: free */
	struct host_route *route[SHARD_SLOTS];
};

struct dir {
	unsigned bits;
	_Atomic(struct shard *) shard[];
};

struct host_root {
	_Atomic(struct dir *) dir; /* owned, as all; what lanes read */
	atomic_size_t wildcards;
	uint64_t seed;
	/* The control thread's: */
	struct shard **view;
	unsigned bits;
	size_t wildcard_n;
	struct shard *drafts;
	struct host_old *old;
};

struct host_old {
	struct shard *shards;
	struct dir *dir;
	struct host_old *before; /* another one; NULL: none */
};

/* --- a shard --- */

static uint32_t
hash_of(const struct host_root *root, const struct host_route *r)
{
	return host_key_hash(root->seed, host_route_host(r), r->host_n);
}

static uint8_t
tag_of(uint32_t hash)
{
	return (uint8_t)(hash / SHARD_SLOTS | 0x80);
}

/* The slot of host, or -1. */
static int
shard_find(const struct shard *s, uint32_t hash, const char *host, size_t n)
{
	uint8_t tag = tag_of(hash);

	for (unsigned i = hash % SHARD_SLOTS; s->tag[i] != 0; i = (i + 1) % SHARD_SLOTS) {
		const struct host_route *r = s->route[i];

		if (s->tag[i] == tag && r->host_n == n && memcmp(host_route_host(r), host, n) == 0)
			return (int)i;
	}
	return -1;
}

static void
shard_insert(struct shard *s, uint32_t hash, struct host_route *r)
{
	unsigned i = hash % SHARD_SLOTS;

	if (s->n == SHARD_SLOTS - 1)
		abort(); /* so many secret hashes cannot be alike */
	while (s->tag[i] != 0)
		i = (i + 1) % SHARD_SLOTS;
	s->tag[i] = tag_of(hash);
	s->route[i] = r;
	s->n++;
}

static void
shard_remove(const struct host_root *root, struct shard *s, unsigned hole)
{
	s->n--;
	for (unsigned i = (hole + 1) % SHARD_SLOTS; s->tag[i] != 0; i = (i + 1) % SHARD_SLOTS) {
		unsigned home = hash_of(root, s->route[i]) % SHARD_SLOTS;

		if ((i - home) % SHARD_SLOTS >= (i - hole) % SHARD_SLOTS) {
			s->tag[hole] = s->tag[i];
			s->route[hole] = s->route[i];
			hole = i;
		}
	}
	s->tag[hole] = 0;
	s->route[hole] = NULL;
}

/* --- reading --- */

static const struct host_route *
find_exact(const struct host_root *root, const char *host, size_t n)
{
	uint32_t hash = host_key_hash(root->seed, host, n);
	struct dir *d =
	    atomic_load_explicit(&((struct host_root *)root)->dir, memory_order_acquire);
	const struct shard *s =
	    atomic_load_explicit(&d->shard[hash >> (HASH_BITS - d->bits)], memory_order_acquire);
	int i = shard_find(s, hash, host, n);

	return i < 0 ? NULL : s->route[i];
}

const struct host_route *
host_find(const struct host_root *root, const char *host, size_t n)
{
	const struct host_route *r = find_exact(root, host, n);
	char key[HOST_NAME_MAX + 2];

	if (r != NULL ||
	    atomic_load_explicit(&((struct host_root *)root)->wildcards, memory_order_relaxed) == 0)
		return r;
	for (int i = 0; i < WILDCARD_LABELS; i++) {
		const char *dot = memchr(host, '.', n);

		if (dot == NULL)
			break;
		n -= (size_t)(dot - host);
		key[0] = '*';
		memcpy(key + 1, dot, n);
		r = find_exact(root, key, n + 1);
		if (r != NULL)
			break;
		host = dot + 1;
		n--;
	}
	return r;
}

const struct host_route *
host_find_path(
    const struct host_root *root, const struct host_route *r, const char *target, size_t n)
{
	struct str rest = str_of(host_route_rare(r)->paths), path;
	char key[HOST_NAME_MAX + HOST_PATH_MAX + 1];

	while (rest.n > 0) {
		rest = str_cut(rest, ' ', &path);
		if (path.n > n || memcmp(path.p, target, path.n) != 0 ||
		    (path.n < n && target[path.n] != '/' && target[path.n] != '?') ||
		    r->host_n + path.n > sizeof key)
			continue;
		memcpy(key, host_route_host(r), r->host_n);
		memcpy(key + r->host_n, path.p, path.n);
		return find_exact(root, key, r->host_n + path.n);
	}
	return NULL;
}

/* --- the control thread's view --- */

static struct shard *
view_of(const struct host_root *root, uint32_t hash)
{
	return root->view[hash >> (HASH_BITS - root->bits)];
}

struct host_route *
host_root_get(const struct host_root *root, const char *host, size_t n)
{
	uint32_t hash = host_key_hash(root->seed, host, n);
	struct shard *s = view_of(root, hash);
	int i = shard_find(s, hash, host, n);

	return i < 0 ? NULL : s->route[i];
}

uint64_t
host_root_step(const struct host_root *root, uint64_t from, host_root_fn *fn, void *arg)
{
	const struct shard *s = view_of(root, (uint32_t)from);
	uint64_t end = ((uint64_t)s->prefix + 1) << (HASH_BITS - s->depth);

	for (int i = 0; i < SHARD_SLOTS; i++) {
		if (s->tag[i] != 0)
			fn(s->route[i], arg);
	}
	return end >> HASH_BITS != 0 ? 0 : end;
}

/* Where a shard stands in a directory of so many bits. */
struct range {
	size_t first, end;
};

static struct range
range_of(const struct shard *s, unsigned bits)
{
	return (struct range){ (size_t)s->prefix << (bits - s->depth), (size_t)(s->prefix + 1)
		                                                           << (bits - s->depth) };
}

static void
set_view(struct host_root *root, struct shard *s)
{
	struct range at = range_of(s, root->bits);

	for (size_t i = at.first; i < at.end; i++)
		root->view[i] = s;
}

/* --- drafts --- */

static struct host_old *
old_of(struct host_root *root)
{
	if (root->old == NULL)
		root->old = xcalloc(1, sizeof *root->old);
	return root->old;
}

static void
link_draft(struct host_root *root, struct shard *s)
{
	s->is_draft = true;
	s->next = root->drafts;
	s->prev = &root->drafts;
	if (s->next != NULL)
		s->next->prev = &s->next;
	root->drafts = s;
}

static struct shard *
draft_new(struct host_root *root, unsigned depth, uint32_t prefix)
{
	struct shard *s = xcalloc(1, sizeof *s);

	s->depth = (uint8_t)depth;
	s->prefix = prefix;
	link_draft(root, s);
	return s;
}

/* It is in the view no more. */
static void
drop(struct host_root *root, struct shard *s)
{
	if (!s->is_draft) {
		s->next = old_of(root)->shards;
		root->old->shards = s;
		return;
	}
	*s->prev = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	free(s);
}

/* The view's shard of this hash, as a draft. */
static struct shard *
draft_of(struct host_root *root, uint32_t hash)
{
	struct shard *s = view_of(root, hash), *copy;

	if (s->is_draft)
		return s;
	copy = xmalloc(sizeof *copy);
	*copy = *s;
	link_draft(root, copy);
	set_view(root, copy);
	drop(root, s);
	return copy;
}

static void
double_view(struct host_root *root)
{
	size_t n = (size_t)1 << root->bits;

	root->view = xreallocarray(root->view, 2 * n, sizeof *root->view);
	for (size_t i = n; i-- > 0;)
		root->view[2 * i] = root->view[2 * i + 1] = root->view[i];
	root->bits++;
}

static void
move_all(
    const struct host_root *root, const struct shard *from, struct shard *to0, struct shard *to1)
{
	for (int i = 0; i < SHARD_SLOTS; i++) {
		uint32_t hash;

		if (from->tag[i] == 0)
			continue;
		hash = hash_of(root, from->route[i]);
		shard_insert(
		    hash >> (HASH_BITS - 1 - from->depth) & 1 ? to1 : to0, hash, from->route[i]);
	}
}

static void
split(struct host_root *root, struct shard *s)
{
	struct shard *a, *b;

	if (s->depth == root->bits)
		double_view(root);
	a = draft_new(root, s->depth + 1u, 2 * s->prefix);
	b = draft_new(root, s->depth + 1u, 2 * s->prefix + 1);
	move_all(root, s, a, b);
	set_view(root, a);
	set_view(root, b);
	drop(root, s);
}

/* With the shard that it was split from, if both have few. */
static void
merge(struct host_root *root, struct shard *s)
{
	struct shard *other, *both;

	if (s->depth == BITS_MIN)
		return;
	other = root->view[(size_t)(s->prefix ^ 1) << (root->bits - s->depth)];
	if (other->depth != s->depth || s->n + other->n > SHARD_FEW)
		return;
	both = draft_new(root, s->depth - 1u, s->prefix / 2);
	move_all(root, s, both, both);
	move_all(root, other, both, both);
	set_view(root, both);
	drop(root, s);
	drop(root, other);
}

/* --- changes --- */

static bool
is_wildcard(const struct host_route *r)
{
	return *host_route_host(r) == '*';
}

struct host_route *
host_root_put(struct host_root *root, struct host_route *take_r)
{
	uint32_t hash = hash_of(root, take_r);
	struct shard *s = draft_of(root, hash);
	int i = shard_find(s, hash, host_route_host(take_r), take_r->host_n);

	if (i >= 0) {
		struct host_route *old = s->route[i];

		s->route[i] = take_r;
		return old;
	}
	while (s->n >= SHARD_ROUTES && s->depth < BITS_MAX) {
		split(root, s);
		s = view_of(root, hash);
	}
	shard_insert(s, hash, take_r);
	root->wildcard_n += is_wildcard(take_r);
	return NULL;
}

struct host_route *
host_root_remove(struct host_root *root, const char *host, size_t n)
{
	uint32_t hash = host_key_hash(root->seed, host, n);
	struct host_route *r = host_root_get(root, host, n);
	struct shard *s;

	if (r == NULL)
		return NULL;
	s = draft_of(root, hash);
	shard_remove(root, s, (unsigned)shard_find(s, hash, host, n));
	root->wildcard_n -= is_wildcard(r);
	merge(root, s);
	return r;
}

static void
store_shard(struct dir *d, struct shard *s)
{
	struct range at = range_of(s, d->bits);

	for (size_t i = at.first; i < at.end; i++)
		atomic_store_explicit(&d->shard[i], s, memory_order_release);
}

/* The directory has another size. */
static void
store_dir(struct host_root *root)
{
	size_t n = (size_t)1 << root->bits;
	struct dir *d = xmalloc(sizeof *d + n * sizeof d->shard[0]);

	d->bits = root->bits;
	for (size_t i = 0; i < n; i++)
		atomic_init(&d->shard[i], root->view[i]);
	d = atomic_exchange(&root->dir, d);
	if (d == NULL)
		return;
	if (old_of(root)->dir != NULL) {
		struct host_old *before = STEAL(root->old);

		old_of(root)->before = before;
	}
	root->old->dir = d;
}

bool
host_root_show(struct host_root *root)
{
	struct dir *d = atomic_load(&root->dir);
	bool is_other = d == NULL || d->bits != root->bits;

	if (root->drafts == NULL && !is_other)
		return false;
	if (is_other)
		store_dir(root);
	while (root->drafts != NULL) {
		struct shard *s = root->drafts;

		root->drafts = s->next;
		s->is_draft = false;
		s->next = NULL;
		s->prev = NULL;
		if (!is_other)
			store_shard(d, s);
	}
	atomic_store(&root->wildcards, root->wildcard_n);
	return true;
}

/* --- the end of what was --- */

struct host_old *
host_root_take_old(struct host_root *root)
{
	return STEAL(root->old);
}

void
host_old_free(struct host_old *take_o)
{
	while (take_o != NULL) {
		struct host_old *before = take_o->before;

		while (take_o->shards != NULL) {
			struct shard *s = take_o->shards;

			take_o->shards = s->next;
			free(s);
		}
		free(take_o->dir);
		free(take_o);
		take_o = before;
	}
}

struct host_root *
host_root_new(void)
{
	struct host_root *root = xcalloc(1, sizeof *root);

	secret_random(&root->seed, sizeof root->seed);
	root->bits = BITS_MIN;
	root->view = xcalloc((size_t)1 << BITS_MIN, sizeof *root->view);
	for (uint32_t i = 0; i < 1u << BITS_MIN; i++)
		set_view(root, draft_new(root, BITS_MIN, i));
	return root;
}

static void
free_route(struct host_route *r, void *arg)
{
	(void)arg;
	host_route_free(r);
}

void
host_root_free(struct host_root *take_r)
{
	uint64_t at = HOST_ROOT_FIRST;

	if (take_r == NULL)
		return;
	do {
		struct shard *s = view_of(take_r, (uint32_t)at);

		at = host_root_step(take_r, at, free_route, NULL);
		free(s);
	} while (at != HOST_ROOT_FIRST);
	host_old_free(take_r->old);
	free(atomic_load(&take_r->dir));
	free(take_r->view);
	free(take_r);
}
