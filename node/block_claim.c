#include "node/block_claim.h"

#include <string.h>
#include <time.h>

#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/wire/wire_node.h"

enum { CALL_MS = 10000, AGAIN_MS = 200, OK = 200, TAKEN = 409 };

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

	if (status >= 0 && status != OK && status != TAKEN)
		(void)err_set(e, ERR_BUSY, NULL, "the broker answers %d: %.200s", status,
		    said.p == NULL ? "" : said.p);
	return status;
}

int
block_claim_admits(const char *range, void *arg, struct err *e)
{
	const struct block_claim *c = arg;
	const struct timespec pause = { .tv_nsec = AGAIN_MS * 1000000L };
	AUTO_FINI(wire_node_addresses_fini)
	struct wire_node_addresses want = { .node = xstrdup(c->node), .addresses = xstrdup(range) };
	AUTO(free) char *json = codec_to_json(&wire_node_addresses_codec, &want);
	bool is_told = false;

	(void)e;
	for (;;) {
		struct err why = { 0 };
		int status = ask(c, json, &why);

		if (status == OK || status == TAKEN)
			return status == OK;
		if (!is_told)
			log_warn("waits_for_broker", LOG_STR("addresses", range), LOG_ERR(&why));
		is_told = true;
		(void)nanosleep(&pause, NULL);
	}
}
