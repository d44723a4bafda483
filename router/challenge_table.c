#include "router/challenge_table.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/map.h"
#include "lib/base/mem.h"

enum { HOST_MAX = 255, KEY_MAX = HOST_MAX + 1 + WIRE_CHALLENGE_TOKEN_MAX };

struct challenge_table {
	pthread_mutex_t lock; /* guards all below */
	struct map *answers;  /* HOST/TOKEN → wire_challenge, owned */
};

static void
entry_free(void *p)
{
	wire_challenge_fini(p);
	free(p);
}

int
challenge_table_put(
    struct challenge_table *t, const char *key, const struct wire_challenge *c, struct err *e)
{
	AUTO(free) char *own = xasprintf("%s/%s", c->host, c->token);
	struct wire_challenge *copy;

	if (wire_challenge_check(c, e) < 0)
		return -1;
	if (strcmp(own, key) != 0)
		return err_set(e, ERR_INVALID, "token", "is of %s, but the key is %s", own, key);
	copy = xcalloc(1, sizeof *copy);
	codec_copy(&wire_challenge_codec, copy, c);
	pthread_mutex_lock(&t->lock);
	map_set(t->answers, key, copy);
	pthread_mutex_unlock(&t->lock);
	return 0;
}

bool
challenge_table_delete(struct challenge_table *t, const char *key)
{
	struct wire_challenge *c;

	pthread_mutex_lock(&t->lock);
	c = map_take(t->answers, key);
	pthread_mutex_unlock(&t->lock);
	if (c == NULL)
		return false;
	entry_free(c);
	return true;
}

void
challenge_table_clear(struct challenge_table *t)
{
	pthread_mutex_lock(&t->lock);
	map_free(t->answers);
	t->answers = map_new(entry_free);
	pthread_mutex_unlock(&t->lock);
}

struct visit {
	challenge_visit_fn *fn;
	void *arg;
};

static void
visit(const char *key, void *value, void *arg)
{
	const struct visit *v = arg;

	v->fn(key, value, v->arg);
}

void
challenge_table_each(struct challenge_table *t, challenge_visit_fn *fn, void *arg)
{
	struct visit v = { fn, arg };

	map_each(t->answers, visit, &v);
}

bool
challenge_table_find(struct challenge_table *t, const char *host, const char *target, size_t n,
    char out[WIRE_CHALLENGE_ANSWER_MAX + 1])
{
	const size_t path_n = sizeof CHALLENGE_PATH - 1;
	const struct wire_challenge *c = NULL;
	char key[KEY_MAX + 1];

	if (n <= path_n || memcmp(target, CHALLENGE_PATH, path_n) != 0 ||
	    n - path_n > WIRE_CHALLENGE_TOKEN_MAX || strlen(host) > HOST_MAX)
		return false;
	(void)snprintf(key, sizeof key, "%s/%.*s", host, (int)(n - path_n), target + path_n);
	pthread_mutex_lock(&t->lock);
	c = map_get(t->answers, key);
	if (c != NULL)
		(void)snprintf(out, WIRE_CHALLENGE_ANSWER_MAX + 1, "%s", c->answer);
	pthread_mutex_unlock(&t->lock);
	return c != NULL;
}

struct challenge_table *
challenge_table_new(void)
{
	struct challenge_table *t = xcalloc(1, sizeof *t);

	pthread_mutex_init(&t->lock, NULL);
	t->answers = map_new(entry_free);
	return t;
}

void
challenge_table_free(struct challenge_table *take_t)
{
	if (take_t == NULL)
		return;
	map_free(take_t->answers);
	pthread_mutex_destroy(&take_t->lock);
	free(take_t);
}
