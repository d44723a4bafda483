#include "node/seccomp.h"

#include <sys/utsname.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/codec/codec.h"

enum { PROFILE_MAX = 1024 * 1024, RULES_MAX = 1000, NAMES_MAX = 2000 };

static const char *const places[] = {
	"/usr/share/containers/seccomp.json",
	PKGDATADIR "/seccomp.json",
};

struct arch_name {
	const char *machine; /* uname */
	const char *scmp;
	const char *go; /* in includes.arches */
};
static const struct arch_name arch_names[] = {
	{ "x86_64", "SCMP_ARCH_X86_64", "amd64" },
	{ "aarch64", "SCMP_ARCH_AARCH64", "arm64" },
	{ "riscv64", "SCMP_ARCH_RISCV64", "riscv64" },
	{ "ppc64le", "SCMP_ARCH_PPC64LE", "ppc64le" },
	{ "s390x", "SCMP_ARCH_S390X", "s390x" },
};

/* Allowed by the profile because the kernel asks for capabilities, which a user namespace of the
 * gear's own would give it. EPERM. */
static const char *const refused[] = {
	"add_key",
	"bpf",
	"fsconfig",
	"fsmount",
	"fsopen",
	"fspick",
	"io_uring_enter",
	"io_uring_register",
	"io_uring_setup",
	"keyctl",
	"modify_ldt",
	"mount",
	"mount_setattr",
	"move_mount",
	"open_tree",
	"perf_event_open",
	"pivot_root",
	"request_key",
	"setns",
	"socketcall", /* its arguments lie in memory, where no filter looks */
	"syslog",     /* the machine's log tells of other gears */
	"umount",
	"umount2",
	"unshare",
	"userfaultfd",
};

static const char clone_rules[] =
    /* CLONE_NEW* must be clear: 0x7e020000 */
    "{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,"
    "\"value\":2114060288,\"valueTwo\":0,\"op\":\"SCMP_CMP_MASKED_EQ\"}]},"
    "{\"names\":[\"clone3\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38}";

/* Kinds of sockets that a namespace keeps apart and a gear has a use for: AF_UNIX 1, AF_INET 2,
 * AF_INET6 10, and of AF_NETLINK 16 routes, socket lists, uevents and generic ones. All others are
 * not supported (EAFNOSUPPORT 97): no way by AF_VSOCK to the machine below this one. */
static const struct {
	int family, protocol; /* protocol -1: any */
} sockets[] = { { 1, -1 }, { 2, -1 }, { 10, -1 }, { 16, 0 }, { 16, 4 }, { 16, 15 }, { 16, 16 } };
enum { FAMILY_LAST = 16, NOT_SUPPORTED = 97 };

static bool
is_socket_family(int family)
{
	for (size_t i = 0; i < ARRAY_LEN(sockets); i++) {
		if (sockets[i].family == family)
			return true;
	}
	return false;
}

/* "index": argument, compared to value. */
static void
add_compare(int index, int value, const char *op, struct buf *out)
{
	buf_addf(out, "{\"index\":%d,\"value\":%d,\"valueTwo\":0,\"op\":\"SCMP_CMP_%s\"}", index,
	    value, op);
}

static void
add_unsupported(int family, const char *op, struct buf *out)
{
	buf_addf(out,
	    ",{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":%d,"
	    "\"args\":[",
	    NOT_SUPPORTED);
	add_compare(0, family, op, out);
	buf_adds(out, "]}");
}

static void
add_sockets(struct buf *out)
{
	for (size_t i = 0; i < ARRAY_LEN(sockets); i++) {
		buf_adds(out, ",{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[");
		add_compare(0, sockets[i].family, "EQ", out);
		if (sockets[i].protocol >= 0) {
			buf_addc(out, ',');
			add_compare(2, sockets[i].protocol, "EQ", out);
		}
		buf_adds(out, "]}");
	}
	for (int family = 0; family <= FAMILY_LAST; family++) {
		if (!is_socket_family(family))
			add_unsupported(family, "EQ", out);
	}
	add_unsupported(FAMILY_LAST, "GT", out);
}

static bool
is_ours(const char *name)
{
	if (strcmp(name, "clone") == 0 || strcmp(name, "clone3") == 0 ||
	    strcmp(name, "socket") == 0)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		if (strcmp(name, refused[i]) == 0)
			return true;
	}
	return false;
}

static bool
has_string(const struct codec_value *list, const char *s)
{
	for (size_t i = 0; i < codec_count(list); i++) {
		const char *v = codec_string(codec_at(list, i));

		if (v != NULL && strcmp(v, s) == 0)
			return true;
	}
	return false;
}

/* Does the rule count on this machine, for who has no capability? */
static bool
applies(const struct codec_value *rule, const struct arch_name *a)
{
	const struct codec_value *in = codec_get(rule, "includes");
	const struct codec_value *out = codec_get(rule, "excludes");

	if (codec_count(codec_get(in, "caps")) > 0)
		return false;
	if (codec_count(codec_get(in, "arches")) > 0 && !has_string(codec_get(in, "arches"), a->go))
		return false;
	return !has_string(codec_get(out, "arches"), a->go);
}

/* The names of a rule without those that have rules of our own; how many. */
static size_t
add_names(const struct codec_value *names, struct buf *out)
{
	size_t n = 0;

	for (size_t i = 0; i < codec_count(names) && i < NAMES_MAX; i++) {
		const char *name = codec_string(codec_at(names, i));

		if (name == NULL || is_ours(name))
			continue;
		if (n++ > 0)
			buf_addc(out, ',');
		buf_add_json_str(out, name);
	}
	return n;
}

static int
add_rule(const struct codec_value *rule, struct buf *out, struct err *e)
{
	const struct codec_value *args = codec_get(rule, "args");
	const struct codec_value *errno_ret = codec_get(rule, "errnoRet");
	const char *action = codec_string(codec_get(rule, "action"));
	size_t before = out->n;

	if (action == NULL)
		return err_set(e, ERR_INVALID, "syscalls.action", "a rule has no action");
	buf_adds(out, "{\"names\":[");
	if (add_names(codec_get(rule, "names"), out) == 0) {
		buf_truncate(out, before);
		return 0;
	}
	buf_adds(out, "],\"action\":");
	buf_add_json_str(out, action);
	if (codec_type(errno_ret) == CODEC_NUMBER)
		buf_addf(out, ",\"errnoRet\":%lld", (long long)codec_int(errno_ret, 1));
	if (codec_count(args) > 0) {
		buf_adds(out, ",\"args\":");
		codec_dump(args, false, out);
	}
	buf_adds(out, "},");
	return 0;
}

static void
add_architectures(const struct codec_value *map, const struct arch_name *a, struct buf *out)
{
	buf_adds(out, "\"architectures\":[");
	buf_add_json_str(out, a->scmp);
	for (size_t i = 0; i < codec_count(map); i++) {
		const struct codec_value *m = codec_at(map, i);
		const struct codec_value *subs = codec_get(m, "subArchitectures");
		const char *name = codec_string(codec_get(m, "architecture"));

		if (name == NULL || strcmp(name, a->scmp) != 0)
			continue;
		for (size_t j = 0; j < codec_count(subs); j++) {
			buf_addc(out, ',');
			buf_add_json_str(out, codec_string(codec_at(subs, j)));
		}
	}
	buf_addc(out, ']');
}

static const struct arch_name *
find_arch(const char *machine)
{
	for (size_t i = 0; i < ARRAY_LEN(arch_names); i++) {
		if (strcmp(arch_names[i].machine, machine) == 0)
			return &arch_names[i];
	}
	return NULL;
}

DEFINE_AUTO(struct codec_value *, codec_value_free)

int
seccomp_convert(struct str profile, const char *arch, struct buf *out, struct err *e)
{
	AUTO(codec_value_free) struct codec_value *v = codec_parse(profile.p, profile.n, e);
	const struct codec_value *rules = codec_get(v, "syscalls");
	const struct arch_name *a = find_arch(arch);
	const char *action = codec_string(codec_get(v, "defaultAction"));

	if (v == NULL)
		return -1;
	if (a == NULL)
		return err_set(e, ERR_INVALID, "arch", "no seccomp profile for machine %s", arch);
	if (action == NULL || strcmp(action, "SCMP_ACT_ALLOW") == 0)
		return err_set(e, ERR_INVALID, "defaultAction",
		    "the profile must be an allow list: its default action must refuse");
	if (codec_type(rules) != CODEC_ARRAY || codec_count(rules) > RULES_MAX)
		return err_set(
		    e, ERR_INVALID, "syscalls", "must be a list of at most %d rules", RULES_MAX);
	buf_adds(out, "{\"defaultAction\":");
	buf_add_json_str(out, action);
	buf_addf(out, ",\"defaultErrnoRet\":%lld,",
	    (long long)codec_int(codec_get(v, "defaultErrnoRet"), 1));
	add_architectures(codec_get(v, "archMap"), a, out);
	buf_adds(out, ",\"syscalls\":[");
	for (size_t i = 0; i < codec_count(rules); i++) {
		if (applies(codec_at(rules, i), a) && add_rule(codec_at(rules, i), out, e) < 0)
			return -1;
	}
	buf_adds(out, "{\"names\":[");
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		buf_addf(out, "%s\"%s\"", i > 0 ? "," : "", refused[i]);
	buf_addf(out, "],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":1},%s", clone_rules);
	add_sockets(out);
	buf_adds(out, "]}");
	return 0;
}

char *
seccomp_load(const char *path, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	AUTO_FINI(buf_fini) struct buf out = { 0 };
	struct utsname u;

	for (size_t i = 0; path == NULL && i < ARRAY_LEN(places); i++) {
		if (file_exists(places[i]))
			path = places[i];
	}
	if (path == NULL) {
		(void)err_set(e, ERR_NOT_FOUND, "seccomp",
		    "no seccomp profile: install golang-github-containers-common, or name one by "
		    "--seccomp");
		return NULL;
	}
	if (uname(&u) < 0 || file_read(path, PROFILE_MAX, &text, e) < 0 ||
	    seccomp_convert(buf_str(&text), u.machine, &out, e) < 0) {
		err_wrap(e, "%s", path);
		return NULL;
	}
	log_info("seccomp_loaded", LOG_STR("file", path));
	return buf_steal(&out);
}
