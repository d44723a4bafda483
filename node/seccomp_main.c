/* pinion-seccomp: the "seccomp" object of an OCI config on stdin → the compiled filter, an array of
 * struct sock_filter, on stdout. Run once at the node's start: a runtime that compiled it for each
 * container would take longer for that than for all the rest. */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/codec/codec.h"

enum { INPUT_MAX = 1024 * 1024, ARGS_MAX = 6, BINARY_TREE = 2 };

DEFINE_AUTO(struct codec_value *, codec_value_free)

struct word {
	const char *name;
	int value;
};
static const struct word compares[] = {
	{ "SCMP_CMP_NE", SCMP_CMP_NE },
	{ "SCMP_CMP_LT", SCMP_CMP_LT },
	{ "SCMP_CMP_LE", SCMP_CMP_LE },
	{ "SCMP_CMP_EQ", SCMP_CMP_EQ },
	{ "SCMP_CMP_GE", SCMP_CMP_GE },
	{ "SCMP_CMP_GT", SCMP_CMP_GT },
	{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
};
static const struct word architectures[] = {
	{ "SCMP_ARCH_X86", (int)SCMP_ARCH_X86 },
	{ "SCMP_ARCH_X86_64", (int)SCMP_ARCH_X86_64 },
	{ "SCMP_ARCH_X32", (int)SCMP_ARCH_X32 },
	{ "SCMP_ARCH_ARM", (int)SCMP_ARCH_ARM },
	{ "SCMP_ARCH_AARCH64", (int)SCMP_ARCH_AARCH64 },
	{ "SCMP_ARCH_PPC64LE", (int)SCMP_ARCH_PPC64LE },
	{ "SCMP_ARCH_S390", (int)SCMP_ARCH_S390 },
	{ "SCMP_ARCH_S390X", (int)SCMP_ARCH_S390X },
	{ "SCMP_ARCH_RISCV64", (int)SCMP_ARCH_RISCV64 },
};

static int
find_word(const struct word *v, size_t n, const char *name, int *out, struct err *e)
{
	for (size_t i = 0; name != NULL && i < n; i++) {
		if (strcmp(v[i].name, name) == 0) {
			*out = v[i].value;
			return 0;
		}
	}
	return err_set(e, ERR_INVALID, NULL, "unknown word %s", name == NULL ? "(none)" : name);
}

static int
find_action(const char *name, int64_t errno_ret, uint32_t *out, struct err *e)
{
	if (name != NULL && strcmp(name, "SCMP_ACT_ALLOW") == 0)
		*out = SCMP_ACT_ALLOW;
	else if (name != NULL && strcmp(name, "SCMP_ACT_ERRNO") == 0)
		*out = SCMP_ACT_ERRNO((uint32_t)errno_ret & 0xffff);
	else if (name != NULL && strcmp(name, "SCMP_ACT_KILL_PROCESS") == 0)
		*out = SCMP_ACT_KILL_PROCESS;
	else
		return err_set(
		    e, ERR_INVALID, "action", "unknown action %s", name == NULL ? "(none)" : name);
	return 0;
}

static int
read_args(const struct codec_value *args, struct scmp_arg_cmp *out, unsigned *out_n, struct err *e)
{
	for (size_t i = 0; i < codec_count(args); i++) {
		const struct codec_value *a = codec_at(args, i);
		int op = 0;

		if (i == ARGS_MAX)
			return err_set(e, ERR_INVALID, "args", "more than %d", ARGS_MAX);
		if (find_word(compares, ARRAY_LEN(compares), codec_string(codec_get(a, "op")), &op,
		        e) < 0)
			return -1;
		out[i] = (struct scmp_arg_cmp){
			.arg = (unsigned)codec_int(codec_get(a, "index"), 0),
			.op = (enum scmp_compare)op,
			.datum_a = (scmp_datum_t)codec_int(codec_get(a, "value"), 0),
			.datum_b = (scmp_datum_t)codec_int(codec_get(a, "valueTwo"), 0),
		};
	}
	*out_n = (unsigned)codec_count(args);
	return 0;
}

static int
add_rule(
    scmp_filter_ctx ctx, const struct codec_value *rule, uint32_t default_action, struct err *e)
{
	const struct codec_value *names = codec_get(rule, "names");
	struct scmp_arg_cmp args[ARGS_MAX];
	uint32_t action = 0;
	unsigned n = 0;

	if (find_action(codec_string(codec_get(rule, "action")),
	        codec_int(codec_get(rule, "errnoRet"), EPERM), &action, e) < 0 ||
	    read_args(codec_get(rule, "args"), args, &n, e) < 0)
		return -1;
	if (action == default_action)
		return 0;
	for (size_t i = 0; i < codec_count(names); i++) {
		const char *name = codec_string(codec_at(names, i));
		int call = seccomp_syscall_resolve_name(name), rc;

		if (call == __NR_SCMP_ERROR) /* of a newer kernel than the library: refused */
			continue;
		rc = seccomp_rule_add_array(ctx, action, call, n, args);
		if (rc < 0) {
			errno = -rc;
			return err_set(e, ERR_SYSTEM, NULL, "rule for %s", name);
		}
	}
	return 0;
}

static int
add_all(scmp_filter_ctx ctx, const struct codec_value *v, uint32_t default_action, struct err *e)
{
	const struct codec_value *archs = codec_get(v, "architectures");
	const struct codec_value *rules = codec_get(v, "syscalls");

	for (size_t i = 0; i < codec_count(archs); i++) {
		int arch = 0, rc;

		if (find_word(architectures, ARRAY_LEN(architectures),
		        codec_string(codec_at(archs, i)), &arch, e) < 0)
			return -1;
		rc = seccomp_arch_add(ctx, (uint32_t)arch);
		if (rc < 0 && rc != -EEXIST) {
			errno = -rc;
			return err_set(e, ERR_SYSTEM, NULL, "add an architecture");
		}
	}
	for (size_t i = 0; i < codec_count(rules); i++) {
		if (add_rule(ctx, codec_at(rules, i), default_action, e) < 0)
			return -1;
	}
	return 0;
}

static int
compile(const struct codec_value *v, struct err *e)
{
	uint32_t action = 0;
	scmp_filter_ctx ctx;
	int rc;

	if (find_action(codec_string(codec_get(v, "defaultAction")),
	        codec_int(codec_get(v, "defaultErrnoRet"), EPERM), &action, e) < 0)
		return -1;
	ctx = seccomp_init(action);
	if (ctx == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "seccomp_init");
	/* A tree instead of a list: fewer steps for each system call of every gear. */
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, BINARY_TREE);
	rc = add_all(ctx, v, action, e);
	if (rc == 0 && (rc = seccomp_export_bpf(ctx, STDOUT_FILENO)) < 0) {
		errno = -rc;
		rc = err_set(e, ERR_SYSTEM, NULL, "write the filter");
	}
	seccomp_release(ctx);
	return rc;
}

static int
read_input(struct buf *b, struct err *e)
{
	char chunk[65536];
	ssize_t n;

	while ((n = read(STDIN_FILENO, chunk, sizeof chunk)) > 0) {
		if (buf_add_max(b, chunk, (size_t)n, INPUT_MAX, e) < 0)
			return -1;
	}
	return n < 0 ? err_set(e, ERR_SYSTEM, NULL, "read the profile") : 0;
}

int
main(void)
{
	AUTO_FINI(buf_fini) struct buf in = { 0 };
	AUTO(codec_value_free) struct codec_value *v = NULL;
	struct err e = { 0 };

	if (read_input(&in, &e) == 0 && (v = codec_parse(in.p, in.n, &e)) != NULL &&
	    compile(v, &e) == 0)
		return 0;
	(void)fprintf(stderr, "pinion-seccomp: %s\n", e.text);
	return 1;
}
