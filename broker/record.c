#include "broker/record.h"

#include <string.h>
#include <time.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/store/store_key.h"

static int
decode(const struct store_kv *kv, const struct codec *c, void *out, struct err *e)
{
	struct err why = { 0 };

	if (codec_decode(c, kv->val, kv->n, out, CODEC_KEEP, &why) == 0)
		return 0;
	return err_set(
	    e, ERR_BUG, NULL, "The record %s cannot be read: %s %s", kv->key, why.field, why.text);
}

int
record_get(const struct store *s, char *take_key, const struct codec *c, void *out,
    int64_t *out_rev, struct err *e)
{
	AUTO(free) char *key = take_key;
	struct store_kv kv;

	if (!store_get(s, key, &kv))
		return err_set(e, ERR_NOT_FOUND, NULL, "There is no record %s.", key);
	if (decode(&kv, c, out, e) < 0)
		return -1;
	if (out_rev != NULL)
		*out_rev = kv.mod_rev;
	return 0;
}

int
record_app(const struct store *s, const char *domain, const char *app, struct wire_app *out,
    int64_t *out_rev, struct err *e)
{
	return record_get(s, store_key_app(domain, app), &wire_app_codec, out, out_rev, e);
}

int
record_app_by_id(const struct store *s, const char *app_id, struct wire_app *out, int64_t *out_rev,
    struct err *e)
{
	AUTO(free) char *key = store_key_app_id(app_id);
	AUTO(free) char *path = NULL;
	struct store_kv kv;
	char *slash;

	if (!store_get(s, key, &kv))
		return err_set(
		    e, ERR_NOT_FOUND, NULL, "There is no application with id %s.", app_id);
	path = xstrndup(kv.val, kv.n);
	slash = strchr(path, '/');
	if (slash == NULL)
		return err_set(e, ERR_BUG, NULL, "The record %s cannot be read.", key);
	*slash = '\0';
	if (record_app(s, path, slash + 1, out, out_rev, e) < 0)
		return -1;
	return 0;
}

void
record_put(struct store_txn *t, char *take_key, const struct codec *c, const void *rec)
{
	AUTO(free) char *key = take_key;
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	codec_encode(c, rec, &b);
	store_txn_put(t, key, b.p, b.n);
}

void
record_put_cas(
    struct store_txn *t, char *take_key, int64_t rev, const struct codec *c, const void *rec)
{
	store_txn_if_rev(t, take_key, rev);
	record_put(t, take_key, c, rec);
}

void
record_delete_cas(struct store_txn *t, char *take_key, int64_t rev)
{
	AUTO(free) char *key = take_key;

	store_txn_if_rev(t, key, rev);
	store_txn_delete(t, key);
}

struct each {
	const struct codec *codec; /* borrowed */
	const char *word;          /* borrowed or NULL */
	void *rec;                 /* storage of one record */
	record_visit_fn *fn;
	void *arg;
};

static bool
visit(const struct store_kv *kv, void *arg)
{
	struct each *each = arg;
	struct err e = { 0 };
	bool more;

	if (each->word != NULL && memmem(kv->val, kv->n, each->word, strlen(each->word)) == NULL)
		return true;
	if (decode(kv, each->codec, each->rec, &e) < 0) {
		log_error("record_unreadable", LOG_STR("key", kv->key), LOG_ERR(&e));
		return true;
	}
	more = each->fn(kv->key, kv->mod_rev, each->rec, each->arg);
	codec_fini(each->codec, each->rec);
	return more;
}

void
record_each_with(const struct store *s, const char *prefix, const char *word, const struct codec *c,
    record_visit_fn *fn, void *arg)
{
	struct each each = { .codec = c, .word = word, .fn = fn, .arg = arg };

	each.rec = xcalloc(1, c->size);
	store_range(s, prefix, visit, &each);
	free(each.rec);
}

void
record_each(const struct store *s, const char *prefix, const struct codec *c, record_visit_fn *fn,
    void *arg)
{
	record_each_with(s, prefix, NULL, c, fn, arg);
}

struct gear_search {
	const char *uuid;
	struct wire_gear *out;
	char *node; /* owned; NULL: not found */
};

static bool
try_gear(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_gear *g = rec;
	struct gear_search *s = arg;
	const char *node = key + strlen(STORE_PREFIX_GEAR);

	(void)rev;
	if (strcmp(g->uuid, s->uuid) != 0 || g->want == WIRE_WANT_GONE)
		return true;
	s->node = xstrndup(node, strcspn(node, "/"));
	codec_copy(&wire_gear_codec, s->out, g);
	return false;
}

int
record_gear(
    const struct store *s, const char *uuid, struct wire_gear *out, char **out_node, struct err *e)
{
	struct gear_search search = { .uuid = uuid, .out = out };

	record_each_with(s, STORE_PREFIX_GEAR, uuid, &wire_gear_codec, try_gear, &search);
	if (search.node == NULL)
		return err_set(e, ERR_NOT_FOUND, "gear", "there is no gear %s", uuid);
	*out_node = search.node;
	return 0;
}

char *
record_new_id(void)
{
	static uint8_t process[5];
	static uint32_t counter;
	static bool ready;
	uint32_t now = (uint32_t)time(NULL);

	if (!ready) {
		secret_random(process, sizeof process);
		counter = 0;
		ready = true;
	}
	counter++;
	return xasprintf("%08x%02x%02x%02x%02x%02x%06x", now, process[0], process[1], process[2],
	    process[3], process[4], counter & 0xffffff);
}
