#include "router/host_table.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "router/route_options.h"

enum { SHARD_MIN = 4, WILDCARD_LABELS = 8, ADDRESS_TEXT = 64 };

struct slot {
	uint32_t hash;
	struct host_route *route; /* NULL: free */
};

struct host_shard {
	struct host_shard *next; /* in the list of retired ones */
	uint32_t mask;
	uint32_t n;
	struct slot slot[];
};

struct host_root {
	uint64_t seed;
	size_t wildcards;
	struct host_shard *shard[HOST_SHARDS]; /* NULL: empty */
};

struct host_table {
	struct host_root *root;        /* owned: the last one published */
	struct host_root *draft;       /* owned: with changes; NULL: none */
	bool is_private[HOST_SHARDS];  /* the draft's shard is not in root */
	struct host_shard *old_shards; /* replaced since the last publication */
	struct host_route *old_routes;
	struct host_endpoint *gone;
	struct route_options *old_options;
	struct map *options;   /* see route_options_all */
	struct map *endpoints; /* "id address:port" -> live endpoint */
	bool was_published;
	size_t n;
	uint32_t changes; /* routes made: their first turns differ */
	uint32_t mark;    /* of the sweep under way, or the last one */
	int lanes;
};

/* --- keys --- */

static uint64_t
mix(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint32_t
hash_key(uint64_t seed, const char *p, size_t n)
{
	uint64_t h = seed ^ (n * 0x9e3779b97f4a7c15u), w;

	while (n > 8) {
		memcpy(&w, p, 8);
		h = mix(h ^ w, 0xe7037ed1a0b428dbu);
		p += 8;
		n -= 8;
	}
	w = 0;
	memcpy(&w, p, n);
	h = mix(h ^ w, 0x8ebc6af09c88c6e3u);
	return (uint32_t)(h ^ (h >> 32));
}

size_t
host_key(const char *p, size_t n, char out[HOST_NAME_MAX + 1])
{
	size_t k = 0;

	if (n > 0 && *p == '[') { /* an IPv6 literal: up to the bracket */
		const char *end = memchr(p, ']', n);

		if (end == NULL || (size_t)(end - p) >= HOST_NAME_MAX)
			return 0;
		n = (size_t)(end - p) + 1;
		memcpy(out, p, n);
		out[n] = '\0';
		return n;
	}
	for (; k < n && p[k] != ':'; k++) {
		char c = p[k];

		if (k == HOST_NAME_MAX)
			return 0;
		if (c >= 'A' && c <= 'Z')
			c = (char)(c + 32);
		else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
		             c == '.' || c == '_'))
			return 0;
		out[k] = c;
	}
	if (k > 0 && out[k - 1] == '.')
		k--;
	out[k] = '\0';
	return k;
}

/* --- shards --- */

static struct host_shard *
shard_new(uint32_t slots)
{
	struct host_shard *s = xcalloc(1, sizeof *s + slots * sizeof s->slot[0]);

	s->mask = slots - 1;
	return s;
}

static struct slot *
shard_find(struct host_shard *s, uint32_t hash, const char *host, size_t n)
{
	if (s == NULL)
		return NULL;
	for (uint32_t i = (hash >> 8) & s->mask; s->slot[i].route != NULL; i = (i + 1) & s->mask) {
		struct host_route *r = s->slot[i].route;

		if (s->slot[i].hash == hash && r->host_n == n && memcmp(r->host, host, n) == 0)
			return &s->slot[i];
	}
	return NULL;
}

static void
shard_insert(struct host_shard *s, struct host_route *r)
{
	uint32_t i = (r->hash >> 8) & s->mask;

	while (s->slot[i].route != NULL)
		i = (i + 1) & s->mask;
	s->slot[i] = (struct slot){ r->hash, r };
	s->n++;
}

/* A copy with room for one more. */
static struct host_shard *
shard_copy(const struct host_shard *from)
{
	uint32_t n = from == NULL ? 0 : from->n, slots = SHARD_MIN;
	struct host_shard *s;

	while (slots * 3 < (n + 1) * 4)
		slots *= 2;
	s = shard_new(slots);
	for (uint32_t i = 0; from != NULL && i <= from->mask; i++) {
		if (from->slot[i].route != NULL)
			shard_insert(s, from->slot[i].route);
	}
	return s;
}

static void
shard_remove(struct host_shard *s, struct slot *at)
{
	uint32_t hole = (uint32_t)(at - s->slot);

	s->n--;
	for (uint32_t i = (hole + 1) & s->mask; s->slot[i].route != NULL; i = (i + 1) & s->mask) {
		uint32_t home = (s->slot[i].hash >> 8) & s->mask;

		if (((i - home) & s->mask) >= ((i - hole) & s->mask)) {
			s->slot[hole] = s->slot[i];
			hole = i;
		}
	}
	s->slot[hole] = (struct slot){ 0 };
}

/* --- reading --- */

static const struct host_route *
find_exact(const struct host_root *root, const char *host, size_t n)
{
	uint32_t hash = hash_key(root->seed, host, n);
	const struct slot *at = shard_find(root->shard[hash % HOST_SHARDS], hash, host, n);

	return at == NULL ? NULL : at->route;
}

const struct host_route *
host_find(const struct host_root *root, const char *host, size_t n)
{
	const struct host_route *r = find_exact(root, host, n);
	char key[HOST_NAME_MAX + 2];

	if (r != NULL || root->wildcards == 0)
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
	struct str rest = str_of(r->paths), path;
	char key[HOST_NAME_MAX + HOST_PATH_MAX + 1];

	while (rest.n > 0) {
		rest = str_cut(rest, ' ', &path);
		if (path.n > n || memcmp(path.p, target, path.n) != 0 ||
		    (path.n < n && target[path.n] != '/' && target[path.n] != '?') ||
		    r->host_n + path.n > sizeof key)
			continue;
		memcpy(key, r->host, r->host_n);
		memcpy(key + r->host_n, path.p, path.n);
		return find_exact(root, key, r->host_n + path.n);
	}
	return NULL;
}

static const struct host_root *
view(const struct host_table *t)
{
	return t->draft != NULL ? t->draft : t->root;
}

const struct host_route *
host_table_get(const struct host_table *t, const char *host, size_t n)
{
	return find_exact(view(t), host, n);
}

size_t
host_table_count(const struct host_table *t)
{
	return t->n;
}

void
host_table_each(const struct host_table *t, host_table_visit_fn *fn, void *arg)
{
	for (int i = 0; i < HOST_SHARDS; i++) {
		const struct host_shard *s = view(t)->shard[i];

		for (uint32_t k = 0; s != NULL && k <= s->mask; k++) {
			if (s->slot[k].route != NULL)
				fn(s->slot[k].route, arg);
		}
	}
}

/* --- endpoints --- */

static int
parse_address(const struct wire_endpoint *w, struct host_endpoint *ep, struct err *e)
{
	struct host_endpoint a = { 0 };

	if (w->port < 1 || w->port > 65535)
		return err_set(
		    e, ERR_INVALID, "port", "must be 1..65535, is %lld", (long long)w->port);
	if (w->address != NULL && inet_pton(AF_INET, w->address, &a.addr.in.sin_addr) == 1) {
		a.addr.in.sin_family = AF_INET;
		a.addr.in.sin_port = htons((uint16_t)w->port);
	} else if (w->address != NULL &&
	           inet_pton(AF_INET6, w->address, &a.addr.in6.sin6_addr) == 1) {
		a.addr.in6.sin6_family = AF_INET6;
		a.addr.in6.sin6_port = htons((uint16_t)w->port);
	} else {
		return err_set(e, ERR_INVALID, "address", "is no IPv4 or IPv6 address: \"%s\"",
		    w->address == NULL ? "" : w->address);
	}
	ep->addr = a.addr;
	return 0;
}

static struct host_endpoint *
endpoint_ref(struct host_table *t, const struct wire_endpoint *w, const char *app_id)
{
	const char *id = w->id == NULL ? "" : w->id;
	bool six = strchr(w->address, ':') != NULL;
	AUTO(free)
	char *key = xasprintf(six ? "%s [%s]:%d" : "%s %s:%d", id, w->address, (int)w->port);
	struct host_endpoint *ep = map_get(t->endpoints, key);
	size_t id_n = strlen(id) + 1, key_n = strlen(key) + 1;
	struct err e = { 0 };

	if (ep == NULL) {
		size_t base = sizeof *ep + (size_t)t->lanes * sizeof ep->use[0];

		/* id and name lie together: "id\0address:port\0" */
		ep = xcalloc(1, base + key_n);
		ep->lanes = t->lanes;
		(void)snprintf(ep->app, sizeof ep->app, "%s", app_id == NULL ? "" : app_id);
		ep->id = (char *)ep + base;
		ep->name = ep->id + id_n;
		memcpy(ep->id, key, key_n);
		ep->id[id_n - 1] = '\0';
		if (parse_address(w, ep, &e) < 0)
			abort(); /* was checked before */
		map_set(t->endpoints, key, ep);
	}
	ep->refs++;
	return ep;
}

static void
endpoint_unref(struct host_table *t, struct host_endpoint *ep)
{
	AUTO(free) char *key = NULL;

	if (--ep->refs != 0)
		return;
	key = xasprintf("%s %s", ep->id, ep->name);
	(void)map_take(t->endpoints, key);
	ep->next = t->gone;
	t->gone = ep;
}

bool
host_table_has_instance(const struct host_table *t, const struct host_endpoint *ep)
{
	AUTO(free) char *key = xasprintf("%s %s", ep->id, ep->name);

	return map_get(t->endpoints, key) != NULL;
}

void
host_endpoint_free(struct host_endpoint *take_ep)
{
	free(take_ep);
}

/* --- changes --- */

static bool
path_is_valid(const char *path)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	                           "-._~/";
	size_t n = strlen(path);

	return n > 1 && n <= HOST_PATH_MAX && path[0] == '/' && path[n - 1] != '/' &&
	       strspn(path, good) == n;
}

static bool
host_is_valid(const char *host)
{
	char key[HOST_NAME_MAX + 1];
	const char *p = strncmp(host, "*.", 2) == 0 ? host + 2 : host;
	const char *path = strchr(p, '/');
	size_t n = path == NULL ? strlen(p) : (size_t)(path - p);

	return n > 0 && host_key(p, n, key) == n && strncmp(key, p, n) == 0 &&
	       (path == NULL || path_is_valid(path));
}

int
host_table_check(const struct wire_route *w, struct err *e)
{
	struct host_endpoint unused;

	if (w->host == NULL || !host_is_valid(w->host))
		return err_set(e, ERR_INVALID, "host",
		    "must be a lower-case host name or *.NAME, is \"%s\"",
		    w->host == NULL ? "" : w->host);
	if (w->endpoints.n > HOST_ENDPOINTS_MAX)
		return err_set(e, ERR_LIMIT, "endpoints", "%s has %zu; at most %d are routed",
		    w->host, w->endpoints.n, HOST_ENDPOINTS_MAX);
	for (size_t i = 0; i < w->paths.n; i++) {
		if (!path_is_valid(w->paths.v[i]))
			return err_set(e, ERR_INVALID, "paths",
			    "item %zu must be a path of letters, digits and -._~/", i);
	}
	for (size_t i = 0; i < w->endpoints.n; i++) {
		if (parse_address(&w->endpoints.v[i], &unused, e) < 0)
			return err_field(e, "endpoints[%zu]", i);
	}
	return route_options_check(w->options, e);
}

static const char *
store_text(char **at, const char *s)
{
	size_t n = s == NULL ? 0 : strlen(s);
	char *to = *at;

	memcpy(to, s == NULL ? "" : s, n);
	to[n] = '\0';
	*at += n + 1;
	return to;
}

static size_t
text_size(const char *s)
{
	return (s == NULL ? 0 : strlen(s)) + 1;
}

/* Words with a space between two; one that holds a space is left out. */
static char *
join(const struct str_list *l)
{
	struct buf b = { 0 };

	buf_adds(&b, "");
	for (size_t i = 0; i < l->n; i++) {
		if (strchr(l->v[i], ' ') == NULL)
			buf_addf(&b, "%s%s", b.n == 0 ? "" : " ", l->v[i]);
	}
	return b.n == 0 ? (buf_fini(&b), xstrdup("")) : buf_steal(&b);
}

static bool
has_weights(const struct wire_route *w)
{
	for (size_t i = 0; i < w->endpoints.n; i++) {
		if (w->endpoints.v[i].weight != 0)
			return true;
	}
	return false;
}

static struct host_route *
route_new(struct host_table *t, const struct wire_route *w)
{
	size_t n = w->endpoints.n;
	size_t ends = sizeof(struct host_route) + n * sizeof(struct host_endpoint *);
	size_t base = ends + (has_weights(w) ? n * sizeof(uint16_t) : 0);
	AUTO(free) char *wake = join(&w->wake);
	AUTO(free) char *paths = join(&w->paths);
	struct host_route *r = xcalloc(1,
	    base + text_size(w->host) + text_size(w->app_id) + text_size(w->app) +
	        text_size(w->domain) + text_size(wake) + text_size(paths) + text_size(w->backend));
	char *at = (char *)r + base;

	r->host = store_text(&at, w->host);
	r->app_id = store_text(&at, w->app_id);
	r->app = store_text(&at, w->app);
	r->domain = store_text(&at, w->domain);
	r->wake = store_text(&at, wake);
	r->paths = store_text(&at, paths);
	r->backend = store_text(&at, w->backend);
	r->answer = (uint8_t)w->answer;
	r->sleep = w->sleep;
	atomic_init(&r->is_woken, false);
	r->host_n = (uint16_t)strlen(r->host);
	r->hash = hash_key(t->root->seed, r->host, r->host_n);
	r->state = (uint8_t)w->state;
	r->timeout_s = (uint32_t)(w->timeout_s < 0 ? 0 : w->timeout_s);
	for (; r->n < n; r->n++)
		r->ep[r->n] = endpoint_ref(t, &w->endpoints.v[r->n], w->app_id);
	if (base != ends) {
		uint16_t *weights = (uint16_t *)((char *)r + ends);

		for (size_t i = 0; i < n; i++)
			weights[i] = (uint16_t)w->endpoints.v[i].weight;
		r->weights = weights;
	}
	r->opts = route_options_get(t->options, w->app_id, w->options);
	r->mark = t->mark;
	atomic_init(&r->turn, t->changes++);
	return r;
}

static bool
route_equal(const struct host_route *a, const struct host_route *b)
{
	return a->n == b->n && a->state == b->state && a->timeout_s == b->timeout_s &&
	       a->sleep == b->sleep && a->answer == b->answer && strcmp(a->wake, b->wake) == 0 &&
	       strcmp(a->paths, b->paths) == 0 && strcmp(a->backend, b->backend) == 0 &&
	       strcmp(a->app_id, b->app_id) == 0 && strcmp(a->app, b->app) == 0 &&
	       strcmp(a->domain, b->domain) == 0 && a->opts == b->opts &&
	       (a->weights == NULL) == (b->weights == NULL) &&
	       (a->weights == NULL ||
	           memcmp(a->weights, b->weights, a->n * sizeof a->weights[0]) == 0) &&
	       memcmp(a->ep, b->ep, a->n * sizeof(a->ep[0])) == 0;
}

static void
route_retire(struct host_table *t, struct host_route *r)
{
	for (size_t i = 0; i < r->n; i++)
		endpoint_unref(t, r->ep[i]);
	if (route_options_drop(t->options, r->opts)) {
		r->opts->next = t->old_options;
		t->old_options = r->opts;
	}
	r->next = t->old_routes;
	t->old_routes = r;
}

static void
begin_draft(struct host_table *t)
{
	if (t->draft != NULL)
		return;
	t->draft = xcalloc(1, sizeof *t->draft);
	*t->draft = *t->root;
	memset(t->is_private, 0, sizeof t->is_private);
}

/* The draft's own copy of shard i, with room for one more. */
static struct host_shard *
writable_shard(struct host_table *t, uint32_t i)
{
	struct host_shard *s, *copy;

	begin_draft(t);
	s = t->draft->shard[i];
	if (t->is_private[i] && s != NULL && (s->mask + 1) * 3 >= (s->n + 1) * 4)
		return s;
	copy = shard_copy(s);
	if (s != NULL && t->is_private[i]) {
		free(s);
	} else if (s != NULL) {
		s->next = t->old_shards;
		t->old_shards = s;
	}
	t->is_private[i] = true;
	t->draft->shard[i] = copy;
	return copy;
}

int
host_table_put(struct host_table *t, const struct wire_route *w, struct err *e)
{
	struct host_route *r;
	struct host_shard *s;
	struct slot *at;
	const struct host_route *old;

	if (host_table_check(w, e) < 0)
		return -1;
	r = route_new(t, w);
	old = find_exact(view(t), r->host, r->host_n);
	if (old != NULL && route_equal(old, r)) {
		for (size_t i = 0; i < r->n; i++)
			r->ep[i]->refs--; /* the old one names them too */
		(void)route_options_drop(t->options, r->opts);
		host_table_keep(t, old);
		free(r);
		return 0;
	}
	s = writable_shard(t, r->hash % HOST_SHARDS);
	at = shard_find(s, r->hash, r->host, r->host_n);
	if (at != NULL) {
		route_retire(t, at->route);
		at->route = r;
		return 0;
	}
	shard_insert(s, r);
	t->n++;
	if (r->host[0] == '*')
		t->draft->wildcards++;
	return 0;
}

bool
host_table_delete(struct host_table *t, const char *host)
{
	size_t n = strlen(host);
	const struct host_route *r = host_table_get(t, host, n);
	struct host_shard *s;
	struct slot *at;

	if (r == NULL)
		return false;
	s = writable_shard(t, r->hash % HOST_SHARDS);
	at = shard_find(s, r->hash, host, n);
	route_retire(t, at->route);
	shard_remove(s, at);
	t->n--;
	if (*host == '*')
		t->draft->wildcards--;
	return true;
}

void
host_table_set_woken(struct host_table *t, const char *host, int64_t order, bool is_woken)
{
	const struct host_route *r = host_table_get(t, host, strlen(host));

	if (r != NULL && r->sleep == order)
		atomic_store(&((struct host_route *)r)->is_woken, is_woken);
}

/* --- sweeps --- */

void
host_table_begin_sweep(struct host_table *t)
{
	t->mark++;
}

void
host_table_keep(struct host_table *t, const struct host_route *r)
{
	((struct host_route *)r)->mark = t->mark; /* lanes do not look at it */
}

struct sweep {
	uint32_t mark;
	struct str_list unmarked;
};

static void
note_unmarked(const struct host_route *r, void *arg)
{
	struct sweep *s = arg;

	if (r->mark != s->mark)
		str_list_add(&s->unmarked, r->host);
}

void
host_table_sweep(struct host_table *t)
{
	struct sweep s = { .mark = t->mark };

	host_table_each(t, note_unmarked, &s);
	for (size_t i = 0; i < s.unmarked.n; i++)
		(void)host_table_delete(t, s.unmarked.v[i]);
	str_list_fini(&s.unmarked);
}

/* --- publication --- */

struct host_publication *
host_table_publish(struct host_table *t)
{
	struct host_publication *p;

	if (!t->was_published)
		begin_draft(t);
	if (t->draft == NULL)
		return NULL;
	t->was_published = true;
	p = xcalloc(1, sizeof *p);
	p->old_root = t->root;
	p->old_shards = STEAL(t->old_shards);
	p->old_routes = STEAL(t->old_routes);
	p->old_options = STEAL(t->old_options);
	p->gone = STEAL(t->gone);
	t->root = STEAL(t->draft);
	p->root = t->root;
	return p;
}

static void
free_shards(struct host_shard *s)
{
	while (s != NULL) {
		struct host_shard *next = s->next;

		free(s);
		s = next;
	}
}

static void
free_options(struct route_options *o)
{
	while (o != NULL) {
		struct route_options *next = o->next;

		route_options_unref(o);
		o = next;
	}
}

static void
free_routes(struct host_route *r)
{
	while (r != NULL) {
		struct host_route *next = r->next;

		free(r);
		r = next;
	}
}

void
host_publication_free(struct host_publication *take_p)
{
	if (take_p == NULL)
		return;
	free_shards(take_p->old_shards);
	free_routes(take_p->old_routes);
	free_options(take_p->old_options);
	free(take_p->old_root);
	free(take_p);
}

struct host_table *
host_table_new(int lanes)
{
	struct host_table *t = xcalloc(1, sizeof *t);

	t->lanes = lanes;
	t->root = xcalloc(1, sizeof *t->root);
	secret_random(&t->root->seed, sizeof t->root->seed);
	t->endpoints = map_new(NULL);
	t->options = route_options_all();
	return t;
}

static void
free_endpoint(const char *key, void *value, void *arg)
{
	(void)key;
	(void)arg;
	host_endpoint_free(value);
}

static void
free_option(const char *key, void *value, void *arg)
{
	(void)key;
	(void)arg;
	route_options_unref(value);
}

void
host_table_free(struct host_table *take_t)
{
	struct host_table *t = take_t;
	const struct host_root *v;

	if (t == NULL)
		return;
	v = view(t);
	for (int i = 0; i < HOST_SHARDS; i++) {
		struct host_shard *s = v->shard[i];

		for (uint32_t k = 0; s != NULL && k <= s->mask; k++)
			free(s->slot[k].route);
		free(s);
	}
	free_shards(t->old_shards);
	free_routes(t->old_routes);
	while (t->gone != NULL) {
		struct host_endpoint *ep = t->gone;

		t->gone = ep->next;
		host_endpoint_free(ep);
	}
	free_options(t->old_options);
	map_each(t->options, free_option, NULL);
	map_free(t->options);
	map_each(t->endpoints, free_endpoint, NULL);
	map_free(t->endpoints);
	free(t->draft);
	free(t->root);
	free(t);
}
