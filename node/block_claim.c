#include "node/block_claim.h"

#include <string.h>
#include <time.h>

#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/wire/wire_node.h"

enum { CALL_MS = 2000, AGAIN_MS = 200, OK = 200, UNKNOWN_CALL = 404, TAKEN = 409 };

/* The status, or -1: nobody answers. */
static int
ask(const struct block_claim *c, const char *json, struct err *e)
{
	AUTO(free) char *url = xasprintf("%s/internal/node/addresses", c->broker);
	const char *const headers[] = { "Content-Type: application/json", NULL };
	AUTO_FINI(buf_fini) struct buf said = { 0 };
	const struct http_call_opts o = {
		.method = "POST",
		.url = url,
		.headers = headers,
		.bearer = c->token,
		.body = json,
		.body_n = strlen(json),
		.timeout_ms = CALL_MS,
		.ca_file = c->ca_file,
		.cert_file = c->cert_file,
		.key_file = c->key_file,
	};
	int status = http_call_wait(&o, &said, NULL, e);

	if (status < 0 || status == OK || status == TAKEN || status == UNKNOWN_CALL)
		return status;
	return err_set(e, ERR_BUSY, NULL, "the broker answers %d: %.200s", status,
	    said.p == NULL ? "" : said.p);
}

int
block_claim_admits(const char *range, void *arg, struct err *e)
{
	struct block_claim *c = arg;
	AUTO_FINI(wire_node_addresses_fini)
	struct wire_node_addresses want = { .node = xstrdup(c->node), .addresses = xstrdup(range) };
	AUTO(free) char *json = codec_to_json(&wire_node_addresses_codec, &want);
	int status = ask(c, json, e);

	c->is_unanswered = status < 0;
	/* An older broker knows no ranges: a newer one looks at ours with our hello. */
	return status < 0 ? -1 : status != TAKEN;
}

bool
block_claim_waits(struct block_claim *c, const struct err *e)
{
	const struct timespec pause = { .tv_nsec = AGAIN_MS * 1000000L };

	if (!c->is_unanswered)
		return false;
	if (!c->is_told)
		log_warn("waits_for_broker", LOG_ERR(e));
	c->is_told = true;
	(void)nanosleep(&pause, NULL);
	return true;
}
