/* Every table of lib/wire: the first byte chooses it. What is accepted is written and read back the
 * same. */
#include "test/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/wire/wire_acme.h"
#include "lib/wire/wire_act.h"
#include "lib/wire/wire_app.h"
#include "lib/wire/wire_exec.h"
#include "lib/wire/wire_cart_type.h"
#include "lib/wire/wire_feed.h"
#include "lib/wire/wire_gear.h"
#include "lib/wire/wire_node.h"
#include "lib/wire/wire_backup.h"
#include "lib/wire/wire_event.h"
#include "lib/wire/wire_snapshot.h"
#include "lib/wire/wire_storage.h"
#include "lib/wire/wire_route.h"
#include "lib/wire/wire_routing.h"
#include "lib/wire/wire_user.h"

static const struct codec *const codecs[] = {
	&wire_user_codec,
	&wire_token_codec,
	&wire_domain_codec,
	&wire_app_codec,
	&wire_env_codec,
	&wire_deployment_codec,
	&wire_refs_codec,
	&wire_build_codec,
	&wire_instance_record_codec,
	&wire_node_record_codec,
	&wire_gear_codec,
	&wire_instance_codec,
	&wire_report_codec,
	&wire_keep_codec,
	&wire_feed_codec,
	&wire_event_codec,
	&wire_backup_codec,
	&wire_snapshot_order_codec,
	&wire_snapshot_found_codec,
	&wire_storage_codec,
	&wire_process_codec,
	&wire_drain_codec,
	&wire_route_codec,
	&wire_routing_codec,
	&wire_cart_type_codec,
	&wire_router_report_codec,
	&wire_app_line_codec,
	&wire_app_lines_codec,
	&wire_wake_codec,
	&wire_woken_codec,
	&wire_traffic_codec,
	&wire_build_order_codec,
	&wire_act_order_codec,
	&wire_act_line_codec,
	&wire_build_line_codec,
	&wire_log_line_codec,
	&wire_node_facts_codec,
	&wire_exec_codec,
	&wire_port_codec,
	&wire_ssh_key_codec,
	&wire_node_addresses_codec,
	&wire_acme_codec,
	&wire_acme_word_codec,
	&wire_challenge_codec,
};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct codec *c = n == 0 ? NULL : codecs[data[0] % ARRAY_LEN(codecs)];
	struct err e = { 0 };
	AUTO(free) char *json = NULL;
	void *a, *b;

	if (c == NULL)
		return 0;
	a = xcalloc(1, c->size);
	b = xcalloc(1, c->size);
	if (codec_decode(c, (const char *)data + 1, n - 1, a, CODEC_KEEP, &e) == 0) {
		json = codec_to_json(c, a);
		if (codec_decode(c, json, strlen(json), b, CODEC_KEEP, &e) < 0 ||
		    !codec_equal(c, a, b))
			abort();
	} else if (e.code == ERR_NONE) {
		abort();
	}
	codec_fini(c, a);
	codec_fini(c, b);
	free(a);
	free(b);
	return 0;
}
