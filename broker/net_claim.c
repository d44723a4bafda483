#include "broker/net_claim.h"

#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_server.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_node.h"

enum { BODY_MAX = 4096 };

/* "100.64.16.0/20" as part of a key. */
static char *
key_of(const char *addresses, struct err *e)
{
	size_t n = addresses == NULL ? 0 : strcspn(addresses, "/");
	AUTO(free) char *first = xstrndup(addresses == NULL ? "" : addresses, n);

	if (n > 0 && addresses[n] == '/' && strspn(first, "0123456789.") == n)
		return store_key_addresses(first);
	(void)err_set(e, ERR_INVALID, "addresses", "give a range: 100.64.16.0/20");
	return NULL;
}

struct earlier {
	struct store_txn *t;
	const char *node, *key;
	bool any;
};

static bool
drop_earlier(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_node_addresses *a = rec;
	struct earlier *x = arg;

	if (strcmp(a->node, x->node) == 0 && strcmp(key, x->key) != 0) {
		record_delete_cas(x->t, xstrdup(key), rev);
		x->any = true;
	}
	return true;
}

int
net_claim_add(const struct broker *b, struct store_txn *t, const char *node, const char *addresses,
    bool *out_any, struct err *e)
{
	AUTO_FINI(wire_node_addresses_fini) struct wire_node_addresses has = { 0 };
	AUTO(free) char *key = key_of(addresses, e);
	struct earlier x = { .t = t, .node = node, .key = key };
	struct err none = { 0 };

	if (key == NULL)
		return -1;
	if (record_get(b->store, xstrdup(key), &wire_node_addresses_codec, &has, NULL, &none) < 0) {
		if (none.code != ERR_NOT_FOUND)
			return *e = none, -1;
		mem_set_str(&has.node, node);
		mem_set_str(&has.addresses, addresses);
		record_put_cas(t, xstrdup(key), 0, &wire_node_addresses_codec, &has);
		x.any = true;
	} else if (strcmp(has.node, node) != 0) {
		return err_set(e, ERR_CONFLICT, "addresses",
		    "the addresses %s are those of the node %s: stop this node with its gears, "
		    "remove "
		    "DATA/net/net-block and start it again",
		    addresses, has.node);
	}
	record_each(b->store, STORE_PREFIX_ADDRESSES, &wire_node_addresses_codec, drop_earlier, &x);
	*out_any = x.any;
	return 0;
}

/* --- asked by a node that has none yet --- */

static void
on_close(struct http_req *r, void *arg)
{
	struct http_req **slot = arg;

	(void)r;
	*slot = NULL;
}

static void
on_stored(int64_t rev, const struct err *e, void *arg)
{
	struct http_req **slot = arg;

	(void)rev;
	if (*slot != NULL && e != NULL)
		http_req_reply_text(*slot, err_http_status(e->code), "%s\n", e->text);
	else if (*slot != NULL)
		http_req_reply(*slot, 200, NULL, "{}", 2);
	free(slot);
}

static void
on_body(struct http_req *r, struct str body, const struct err *e, void *arg)
{
	AUTO_FINI(wire_node_addresses_fini) struct wire_node_addresses want = { 0 };
	struct broker *b = arg;
	struct store_txn *t;
	struct http_req **slot;
	struct err bad = { 0 };
	bool any = false;

	if (e != NULL)
		return;
	if (codec_decode(&wire_node_addresses_codec, body.p, body.n, &want, CODEC_IGNORE, &bad) <
	    0) {
		http_req_reply_text(r, 400, "%s: %s\n", bad.field, bad.text);
		return;
	}
	t = store_txn_new();
	if (net_claim_add(b, t, want.node, want.addresses, &any, &bad) < 0 || !any) {
		store_txn_free(t);
		if (bad.code == ERR_NONE)
			http_req_reply(r, 200, NULL, "{}", 2);
		else
			http_req_reply_text(r, err_http_status(bad.code), "%s\n", bad.text);
		return;
	}
	log_info(
	    "node_addresses", LOG_STR("node", want.node), LOG_STR("addresses", want.addresses));
	slot = xcalloc(1, sizeof(struct http_req *));
	*slot = r;
	http_req_on_close(r, on_close, slot);
	store_txn_submit(b->store, t, on_stored, slot);
}

void
net_claim_handle(struct broker *b, struct http_req *r)
{
	http_req_read_all(r, BODY_MAX, on_body, b);
}
