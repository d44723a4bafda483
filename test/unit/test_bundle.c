/* The OCI config of a container, and the helper's order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/mem.h"
#include "lib/codec/codec.h"
#include "node/bundle.h"
#include "node/container.h"
#include "node/spawn.h"

DEFINE_AUTO(struct codec_value *, codec_value_free)

static struct codec_value *
make(struct container_spec *s, const char *filter)
{
	AUTO_FINI(buf_fini) struct buf out = { 0 };
	const struct bundle b = {
		.spec = s,
		.rootfs = "/mnt/rootfs",
		.cgroup = "/pinion/t/g/i",
		.seccomp = "{\"defaultAction\":\"SCMP_ACT_ERRNO\"}",
		.filter = filter,
		.nofile = 4096,
		.memory = 1 << 27,
		.memory_swap = 1 << 28,
		.shm_kb = 131072,
	};
	struct codec_value *v;
	struct err e = { 0 };

	bundle_write(&b, &out);
	v = codec_parse(out.p, out.n, &e);
	if (v == NULL)
		fail_msg("%s in %s", e.text, out.p);
	return v;
}

static void
fill(struct container_spec *s)
{
	*s = (struct container_spec){
		.id = xstrdup("i-1"),
		.gear = xstrdup("g"),
		.uid_base = 1 << 20,
		.netns = xstrdup("/run/netns/i-1"),
		.hostname = xstrdup("demo"),
	};
	str_list_add(&s->args, "/run/pinion/init");
	str_list_add(&s->args, "say \"hi\"\n");
	str_list_add(&s->notes, "deployment=d=1");
	str_list_add(&s->notes, "nonsense");
	container_spec_env(s, "QUOTE", "a\"b\\c");
}

static const struct codec_value *
at(const struct codec_value *v, const char *a, const char *b)
{
	return codec_get(codec_get(v, a), b);
}

static void
test_config(void **state)
{
	AUTO_FINI(container_spec_fini) struct container_spec s = { 0 };
	AUTO(codec_value_free) struct codec_value *v = NULL;
	const struct codec_value *map, *spaces, *mounts, *options;
	size_t i;

	(void)state;
	fill(&s);
	v = make(&s, "QUJD");
	assert_string_equal(codec_string(codec_at(at(v, "process", "args"), 1)), "say \"hi\"\n");
	assert_string_equal(codec_string(codec_at(at(v, "process", "env"), 0)), "QUOTE=a\"b\\c");
	assert_true(codec_bool(at(v, "process", "noNewPrivileges"), false));
	assert_int_equal(codec_int(codec_get(at(v, "process", "user"), "uid"), 0), 1000);
	assert_int_equal(codec_count(codec_get(at(v, "process", "capabilities"), "bounding")), 0);
	assert_true(codec_bool(at(v, "root", "readonly"), false));
	assert_string_equal(codec_string(at(v, "annotations", "io.pinion.note.deployment")), "d=1");
	assert_string_equal(codec_string(at(v, "annotations", "run.oci.seccomp_bpf_data")), "QUJD");
	map = codec_at(at(v, "linux", "uidMappings"), 0);
	assert_int_equal(codec_int(codec_get(map, "hostID"), 0), 1 << 20);
	assert_int_equal(codec_int(codec_get(map, "size"), 0), 65536);
	assert_string_equal(codec_string(at(v, "linux", "cgroupsPath")), "/pinion/t/g/i");
	map = codec_get(at(v, "linux", "resources"), "memory");
	assert_int_equal(codec_int(codec_get(map, "limit"), 0), 1 << 27);
	assert_int_equal(codec_int(codec_get(map, "swap"), 0), 1 << 28);
	mounts = codec_get(v, "mounts");
	options = codec_get(codec_at(mounts, codec_count(mounts) - 1), "options");
	assert_string_equal(
	    codec_string(codec_at(options, codec_count(options) - 1)), "size=131072k");
	spaces = at(v, "linux", "namespaces");
	assert_int_equal(codec_count(spaces), 7);
	for (i = 0; i < codec_count(spaces); i++) {
		const char *type = codec_string(codec_get(codec_at(spaces, i), "type"));
		const char *path = codec_string(codec_get(codec_at(spaces, i), "path"));

		assert_true((strcmp(type, "network") == 0) == (path != NULL));
	}
}

static void
test_without_filter(void **state)
{
	AUTO_FINI(container_spec_fini) struct container_spec s = { 0 };
	AUTO(codec_value_free) struct codec_value *v = NULL;

	(void)state;
	fill(&s);
	mem_set_str(&s.netns, NULL);
	v = make(&s, NULL);
	assert_null(at(v, "annotations", "run.oci.seccomp_bpf_data"));
	assert_string_equal(
	    codec_string(codec_get(at(v, "linux", "seccomp"), "defaultAction")), "SCMP_ACT_ERRNO");
}

static void
test_order(void **state)
{
	char text[] = "id\0a\0uid_base\0"
	              "65536\0lower\0/l1\0lower\0/l2\0bind\0ro+ids\0source\0/s\0target\0/t\0"
	              "bind\0rw\0source\0/s2\0target\0/t2\0file\0passwd\0text\0root\0cgroup\0007";
	static struct spawn_order o;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(spawn_order_parse(text, sizeof text, &o, &e), 0);
	assert_string_equal(o.id, "a");
	assert_int_equal(o.uid_base, 65536);
	assert_int_equal(o.lower_n, 2);
	assert_string_equal(o.lowers[1], "/l2");
	assert_int_equal(o.bind_n, 2);
	assert_true(o.binds[0].ro && o.binds[0].idmapped);
	assert_false(o.binds[1].ro || o.binds[1].idmapped);
	assert_string_equal(o.binds[1].target, "/t2");
	assert_string_equal(o.files[0].text, "root");
	assert_int_equal(o.cgroups[0], 7);
}

struct bad_order {
	const char *p;
	size_t n;
};

static void
test_bad_orders(void **state)
{
	static const struct bad_order cases[] = {
		{ "", 0 }, { "id", 2 }, /* no NUL */
		{ "id\0", 3 },          /* no value */
		{ "what\0x\0", 7 },     /* unknown */
		{ "source\0/s\0", 10 }, /* without a bind */
		{ "text\0x\0", 7 },     /* without a file */
	};
	static struct spawn_order o;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[16];
		struct err e = { 0 };

		memcpy(text, cases[i].p, cases[i].n);
		assert_int_equal(spawn_order_parse(text, cases[i].n, &o, &e), -1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_without_filter),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_bad_orders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
