/* Every record and message: filled by its table, written, read, compared; and its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/mem.h"
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
	&wire_app_spec_codec,
	&wire_app_status_codec,
	&wire_env_codec,
	&wire_activation_codec,
	&wire_deployment_codec,
	&wire_ref_codec,
	&wire_refs_codec,
	&wire_build_codec,
	&wire_instance_record_codec,
	&wire_node_record_codec,
	&wire_limits_codec,
	&wire_var_codec,
	&wire_gear_cart_codec,
	&wire_gear_codec,
	&wire_layers_codec,
	&wire_start_codec,
	&wire_instance_codec,
	&wire_instance_status_codec,
	&wire_gear_cart_status_codec,
	&wire_gear_status_codec,
	&wire_report_codec,
	&wire_keep_codec,
	&wire_feed_codec,
	&wire_endpoint_codec,
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
	&wire_build_times_codec,
	&wire_build_result_codec,
	&wire_act_order_codec,
	&wire_act_line_codec,
	&wire_build_line_codec,
	&wire_log_line_codec,
	&wire_node_facts_codec,
	&wire_node_addresses_codec,
	&wire_exec_codec,
	&wire_port_codec,
	&wire_ssh_key_codec,
};

/* Gives each member a value of its own, as large as its table allows (within reason). */
static void
fill(const struct codec *c, void *obj, int64_t seed)
{
	for (const struct codec_field *f = c->fields; f->kind != CODEC_KIND_END; f++) {
		void *at = (char *)obj + f->offset;

		seed++;
		switch (f->kind) {
		case CODEC_KIND_STR: {
			size_t n = (size_t)(f->max < 40 ? f->max : 40);
			char *s = xmalloc(n + 1);

			for (size_t i = 0; i < n; i++)
				s[i] = (char)('a' + (seed + (int64_t)i) % 26);
			if (n > 4)
				memcpy(s, "\"\\\n\xc3\xa9", 5);
			s[n] = '\0';
			*(char **)at = s;
			break;
		}
		case CODEC_KIND_INT:
			*(int64_t *)at = f->max;
			break;
		case CODEC_KIND_NUM:
			*(double *)at = 0.5;
			break;
		case CODEC_KIND_BOOL:
			*(bool *)at = true;
			break;
		case CODEC_KIND_ENUM:
			*(int *)at = f->names[1].value;
			break;
		case CODEC_KIND_STRS:
			str_list_add(at, "one");
			str_list_add(at, "");
			break;
		case CODEC_KIND_OBJ:
			fill(f->sub, at, seed);
			break;
		case CODEC_KIND_LIST:
			fill(f->sub, codec_list_add(f->sub, at), seed);
			fill(f->sub, codec_list_add(f->sub, at), seed + 100);
			break;
		case CODEC_KIND_RAW:
			*(char **)at = xstrdup("{\"x\":[1,null]}");
			break;
		case CODEC_KIND_EXTRA:
			*(char **)at = xstrdup("{\"from_the_future\":[1,{\"a\":null}]}");
			break;
		case CODEC_KIND_END:
			break;
		}
	}
}

static void
round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
		const struct codec *c = codecs[i];
		void *a = xcalloc(1, c->size);
		void *b = xcalloc(1, c->size);
		struct err e = { 0 };
		char *json;

		fill(c, a, (int64_t)i);
		json = codec_to_json(c, a);
		if (codec_decode(c, json, strlen(json), b, CODEC_KEEP, &e) < 0)
			fail_msg("%s: %s %s\n%s", c->name, e.field, e.text, json);
		if (!codec_equal(c, a, b))
			fail_msg("%s differs: %s", c->name, json);
		codec_fini(c, a);
		codec_fini(c, b);
		free(a);
		free(b);
		free(json);
	}
}

/* One more than the bound is refused, and the field named. */
static void
bounds(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
		const struct codec *c = codecs[i];

		for (const struct codec_field *f = c->fields; f->kind != CODEC_KIND_END; f++) {
			AUTO_FINI(buf_fini) struct buf json = { 0 };
			void *out = xcalloc(1, c->size);
			struct err e = { 0 };

			buf_addf(&json, "{\"%s\":", f->name);
			if (f->kind == CODEC_KIND_STR && f->max < 70000) {
				buf_addc(&json, '"');
				for (int64_t n = 0; n <= f->max; n++)
					buf_addc(&json, 'x');
				buf_adds(&json, "\"}");
			} else if (f->kind == CODEC_KIND_INT && f->max < INT64_MAX) {
				buf_addf(&json, "%lld}", (long long)f->max + 1);
			} else if (f->kind == CODEC_KIND_ENUM) {
				buf_adds(&json, "\"nonsense\"}");
			} else if (f->kind == CODEC_KIND_BOOL) {
				buf_adds(&json, "1}");
			} else {
				free(out);
				continue;
			}
			/* what is required and comes first in the table is told first */
			assert_int_equal(codec_decode(c, json.p, json.n, out, CODEC_KEEP, &e), -1);
			assert_int_equal(e.code, ERR_INVALID);
			if (strcmp(e.text, "is required") != 0)
				assert_string_equal(e.field, f->name);
			free(out);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
