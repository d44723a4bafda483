#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/mem.h"
#include "lib/codec/codec.h"
#include "node/seccomp.h"

DEFINE_AUTO(struct codec_value *, codec_value_free)

/* The action of the last rule that names the call, or the default. */
static const char *
action_of(const struct codec_value *v, const char *name)
{
	const struct codec_value *rules = codec_get(v, "syscalls");
	const char *action = codec_string(codec_get(v, "defaultAction"));

	for (size_t i = 0; i < codec_count(rules); i++) {
		const struct codec_value *names = codec_get(codec_at(rules, i), "names");

		for (size_t j = 0; j < codec_count(names); j++) {
			if (strcmp(codec_string(codec_at(names, j)), name) == 0)
				action = codec_string(codec_get(codec_at(rules, i), "action"));
		}
	}
	return action;
}

static void
test_stock_profile(void **state)
{
	struct err e = { 0 };
	AUTO(free) char *json = seccomp_load(NULL, &e);
	AUTO(codec_value_free) struct codec_value *v = NULL;

	(void)state;
	assert_non_null(json);
	v = codec_parse(json, strlen(json), &e);
	assert_non_null(v);
	assert_string_equal(codec_string(codec_get(v, "defaultAction")), "SCMP_ACT_ERRNO");
	assert_string_equal(action_of(v, "read"), "SCMP_ACT_ALLOW");
	assert_string_equal(action_of(v, "clone"), "SCMP_ACT_ALLOW");
	assert_string_equal(action_of(v, "clone3"), "SCMP_ACT_ERRNO");
	assert_string_equal(action_of(v, "unshare"), "SCMP_ACT_ERRNO");
	assert_string_equal(action_of(v, "mount"), "SCMP_ACT_ERRNO");
	assert_string_equal(action_of(v, "bpf"), "SCMP_ACT_ERRNO");
	assert_string_equal(action_of(v, "io_uring_setup"), "SCMP_ACT_ERRNO");
	assert_string_equal(action_of(v, "syslog"), "SCMP_ACT_ERRNO");
	assert_string_equal(action_of(v, "socketcall"), "SCMP_ACT_ERRNO");
	assert_string_equal(action_of(v, "arch_prctl"), "SCMP_ACT_ALLOW");
	assert_string_equal(action_of(v, "s390_pci_mmio_read"), "SCMP_ACT_ERRNO");
}

struct bad_case {
	const char *json;
	const char *field;
};

static void
test_bad_profiles(void **state)
{
	static const struct bad_case cases[] = {
		{ "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[]}", "defaultAction" },
		{ "{\"syscalls\":[]}", "defaultAction" },
		{ "{\"defaultAction\":\"SCMP_ACT_ERRNO\"}", "syscalls" },
		{ "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"read\"]}]}",
		    "syscalls.action" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_FINI(buf_fini) struct buf out = { 0 };
		struct err e = { 0 };

		assert_int_equal(seccomp_convert(str_of(cases[i].json), "x86_64", &out, &e), -1);
		assert_int_equal(e.code, ERR_INVALID);
		assert_string_equal(e.field, cases[i].field);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stock_profile),
		cmocka_unit_test(test_bad_profiles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
