#include "broker/keep_plan.h"

#include <string.h>

#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

struct plan {
	struct wire_keep keep;
	const struct wire_deployment *add;
	const struct str_list *without;
};

static void
add_digest(struct wire_keep *k, const char *digest)
{
	if (digest != NULL && *digest != '\0' && !str_list_has(&k->digests, digest))
		str_list_add(&k->digests, digest);
}

static void
add_layers(struct wire_keep *k, const struct wire_layers *l)
{
	add_digest(k, l->app);
	add_digest(k, l->deps);
	add_digest(k, l->rest);
}

static bool
visit(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_deployment *d = rec;
	struct plan *p = arg;

	(void)key;
	(void)rev;
	if (p->without == NULL || !str_list_has(p->without, d->id))
		add_layers(&p->keep, &d->layers);
	return true;
}

void
keep_plan_put(const struct broker *b, struct store_txn *t, const struct app_view_app *v,
    const struct wire_deployment *add, const struct str_list *without)
{
	AUTO(free) char *prefix = xasprintf("%s%s/", STORE_PREFIX_DEPLOYMENT, v->id);
	struct plan p = { .keep = { .app_id = xstrdup(v->id) }, .add = add, .without = without };
	AUTO_FINI(str_list_fini) struct str_list nodes = { 0 };
	AUTO(free) char *json = NULL;

	record_each(b->store, prefix, &wire_deployment_codec, visit, &p);
	if (add != NULL)
		add_layers(&p.keep, &add->layers);
	json = codec_to_json(&wire_keep_codec, &p.keep);
	wire_keep_fini(&p.keep);
	for (size_t i = 0; i < v->gears_n; i++) {
		const char *node = v->gears[i]->node;
		AUTO(free) char *key = store_key_keep(node, v->id);
		struct store_kv kv;

		if (str_list_has(&nodes, node))
			continue;
		str_list_add(&nodes, node);
		if (store_get(b->store, key, &kv) && kv.n == strlen(json) &&
		    memcmp(kv.val, json, kv.n) == 0)
			continue;
		store_txn_put(t, key, json, strlen(json));
	}
}

void
keep_plan_put_node(
    const struct broker *b, struct store_txn *t, const char *app_id, const char *node)
{
	AUTO(free) char *prefix = xasprintf("%s%s/", STORE_PREFIX_DEPLOYMENT, app_id);
	struct plan p = { .keep = { .app_id = xstrdup(app_id) } };

	record_each(b->store, prefix, &wire_deployment_codec, visit, &p);
	record_put(t, store_key_keep(node, app_id), &wire_keep_codec, &p.keep);
	wire_keep_fini(&p.keep);
}
