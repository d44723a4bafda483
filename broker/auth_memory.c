#include "broker/auth_memory.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"

enum { KEY_BYTES = 32, MAC_BYTES = 32 };

struct known {
	uint8_t mac[MAC_BYTES];
	int64_t auth_rev;
	int64_t until_ms;
};

struct tries {
	int64_t n;
	int64_t until_ms; /* end of the window */
};

struct auth_memory {
	uint8_t key[KEY_BYTES];
	struct map *known; /* login -> struct known, owned */
	struct map *tries; /* "login\npeer" and "\npeer" -> struct tries, owned */
};

struct auth_memory *
auth_memory_new(void)
{
	struct auth_memory *m = xcalloc(1, sizeof *m);

	secret_random(m->key, sizeof m->key);
	m->known = map_new(free);
	m->tries = map_new(free);
	return m;
}

void
auth_memory_free(struct auth_memory *take_m)
{
	if (take_m == NULL)
		return;
	map_free(take_m->known);
	map_free(take_m->tries);
	secret_wipe(take_m->key, sizeof take_m->key);
	free(take_m);
}

static void
mac_of(const struct auth_memory *m, const char *login, const char *password, uint8_t out[MAC_BYTES])
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	buf_add(&b, login, strlen(login) + 1); /* the NUL parts the two */
	buf_adds(&b, password);
	secret_hmac(m->key, sizeof m->key, b.p, b.n, out);
	secret_wipe(b.p, b.n);
}

/* Removes what has expired once a map is full; what still does not fit is not remembered. */
struct sweep {
	struct map *map;
	int64_t now_ms;
};

static void
sweep_known(const char *key, void *value, void *arg)
{
	struct sweep *s = arg;

	if (((struct known *)value)->until_ms <= s->now_ms)
		(void)map_remove(s->map, key);
}

static void
sweep_tries(const char *key, void *value, void *arg)
{
	struct sweep *s = arg;

	if (((struct tries *)value)->until_ms <= s->now_ms)
		(void)map_remove(s->map, key);
}

static bool
make_room(struct map *map, map_visit_fn *fn, int64_t now_ms)
{
	struct sweep s = { map, now_ms };

	if (map_count(map) >= AUTH_MEMORY_MAX)
		map_each(map, fn, &s);
	return map_count(map) < AUTH_MEMORY_MAX;
}

void
auth_memory_verified(struct auth_memory *m, const char *login, const char *password,
    int64_t auth_rev, int64_t now_ms)
{
	struct known *k = map_get(m->known, login);

	if (k == NULL) {
		if (!make_room(m->known, sweep_known, now_ms))
			return;
		k = xcalloc(1, sizeof *k);
		map_set(m->known, login, k);
	}
	mac_of(m, login, password, k->mac);
	k->auth_rev = auth_rev;
	k->until_ms = now_ms + AUTH_MEMORY_KEEP_MS;
}

bool
auth_memory_knows(const struct auth_memory *m, const char *login, const char *password,
    int64_t auth_rev, int64_t now_ms)
{
	const struct known *k = map_get(m->known, login);
	uint8_t mac[MAC_BYTES];
	uint8_t differ = 0;

	if (k == NULL || k->auth_rev != auth_rev || k->until_ms <= now_ms)
		return false;
	mac_of(m, login, password, mac);
	for (size_t i = 0; i < MAC_BYTES; i++)
		differ |= (uint8_t)(mac[i] ^ k->mac[i]);
	return differ == 0;
}

static char *
tries_key(const char *login, const char *peer)
{
	return xasprintf("%s\n%s", login, peer);
}

static void
count_try(struct auth_memory *m, const char *login, const char *peer, int64_t now_ms)
{
	AUTO(free) char *key = tries_key(login, peer);
	struct tries *t = map_get(m->tries, key);

	if (t == NULL) {
		if (!make_room(m->tries, sweep_tries, now_ms))
			return;
		t = xcalloc(1, sizeof *t);
		map_set(m->tries, key, t);
	}
	if (t->until_ms <= now_ms)
		*t = (struct tries){ 0, now_ms + AUTH_MEMORY_WINDOW_MS };
	t->n++;
}

void
auth_memory_failed(struct auth_memory *m, const char *login, const char *peer, int64_t now_ms)
{
	count_try(m, login, peer, now_ms);
	count_try(m, "", peer, now_ms);
}

static int64_t
wait_ms(
    const struct auth_memory *m, const char *login, const char *peer, int64_t max, int64_t now_ms)
{
	AUTO(free) char *key = tries_key(login, peer);
	const struct tries *t = map_get(m->tries, key);

	return t == NULL || t->until_ms <= now_ms || t->n < max ? 0 : t->until_ms - now_ms;
}

int64_t
auth_memory_wait_s(const struct auth_memory *m, const char *login, const char *peer, int64_t now_ms)
{
	int64_t a = wait_ms(m, login, peer, AUTH_MEMORY_TRIES, now_ms);
	int64_t b = wait_ms(m, "", peer, AUTH_MEMORY_PEER_TRIES, now_ms);
	int64_t ms = a > b ? a : b;

	return (ms + 999) / 1000;
}
