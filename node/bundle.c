#include "node/bundle.h"

#include <inttypes.h>
#include <string.h>

#include "lib/base/mem.h"
#include "node/container.h"

/* What a container needs to run; the helper has made all other mounts before. */
static const char mounts[] =
    "\"mounts\":["
    "{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\","
    "\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
    "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\","
    "\"options\":[\"nosuid\",\"strictatime\",\"mode=755\",\"size=64k\"]},"
    "{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\","
    "\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"max="
    "256\"]},"
    "{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\","
    "\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=";

static const char paths[] =
    "\"maskedPaths\":[\"/proc/acpi\",\"/proc/asound\",\"/proc/kcore\",\"/proc/keys\","
    "\"/proc/latency_stats\",\"/proc/sched_debug\",\"/proc/scsi\",\"/proc/sysrq-trigger\","
    "\"/proc/timer_list\",\"/proc/timer_stats\",\"/sys/dev/block\",\"/sys/devices/virtual/"
    "powercap\","
    "\"/sys/firmware\",\"/sys/fs/selinux\"],"
    "\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\"],";

static const char no_capabilities[] =
    "\"capabilities\":{\"bounding\":[],\"effective\":[],\"permitted\":[],\"inheritable\":[],"
    "\"ambient\":[]},\"noNewPrivileges\":true,";

static void
add_process(const struct bundle *b, struct buf *out)
{
	const struct container_spec *s = b->spec;

	buf_addf(out,
	    "\"process\":{\"terminal\":false,\"user\":{\"uid\":%d,\"gid\":%d,\"umask\":63},",
	    CONTAINER_UID, CONTAINER_UID);
	buf_adds(out, "\"args\":[");
	for (size_t i = 0; i < s->args.n; i++) {
		buf_adds(out, i > 0 ? "," : "");
		buf_add_json_str(out, s->args.v[i]);
	}
	buf_adds(out, "],\"env\":[");
	for (size_t i = 0; i < s->env.n; i++) {
		AUTO(free) char *pair = xasprintf("%s=%s", s->env.v[i].name, s->env.v[i].value);

		buf_adds(out, i > 0 ? "," : "");
		buf_add_json_str(out, pair);
	}
	buf_addf(out,
	    "],\"cwd\":\"/\",%s\"rlimits\":["
	    "{\"type\":\"RLIMIT_NOFILE\",\"hard\":%" PRId64 ",\"soft\":%" PRId64 "},"
	    "{\"type\":\"RLIMIT_CORE\",\"hard\":0,\"soft\":0}]},",
	    no_capabilities, b->nofile, b->nofile);
}

/* Notes for adoption become annotations; the gear and the kind too. */
static void
add_annotations(const struct bundle *b, struct buf *out)
{
	const struct container_spec *s = b->spec;

	buf_adds(out, "\"annotations\":{\"io.pinion.gear\":");
	buf_add_json_str(out, s->gear);
	buf_addf(out, ",\"io.pinion.builder\":\"%d\"", s->is_builder);
	/* crun takes it compiled, or needs three times as long for a start. */
	if (b->filter != NULL)
		buf_addf(out, ",\"run.oci.seccomp_bpf_data\":\"%s\"", b->filter);
	for (size_t i = 0; i < s->notes.n; i++) {
		const char *note = s->notes.v[i];
		const char *eq = strchr(note, '=');
		AUTO(free) char *key = NULL;

		if (eq == NULL)
			continue;
		key = xasprintf("io.pinion.note.%.*s", (int)(eq - note), note);
		buf_addc(out, ',');
		buf_add_json_str(out, key);
		buf_addc(out, ':');
		buf_add_json_str(out, eq + 1);
	}
	buf_adds(out, "},");
}

static void
add_linux(const struct bundle *b, struct buf *out)
{
	const struct container_spec *s = b->spec;

	buf_adds(out, "\"linux\":{\"namespaces\":[{\"type\":\"user\"},{\"type\":\"pid\"},"
	              "{\"type\":\"mount\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},"
	              "{\"type\":\"cgroup\"},{\"type\":\"network\"");
	if (s->netns != NULL) {
		buf_adds(out, ",\"path\":");
		buf_add_json_str(out, s->netns);
	}
	for (int i = 0; i < 2; i++)
		buf_addf(out,
		    "%s\"%cidMappings\":[{\"containerID\":0,\"hostID\":%" PRId64 ",\"size\":%d}]",
		    i == 0 ? "}]," : ",", "ug"[i], s -> uid_base, CONTAINER_IDS);
	buf_adds(out, ",\"cgroupsPath\":");
	buf_add_json_str(out, b->cgroup);
	if (b->memory > 0)
		buf_addf(out,
		    ",\"resources\":{\"memory\":{\"limit\":%" PRId64 ",\"swap\":%" PRId64 "}}",
		    b->memory, b->memory_swap);
	buf_addf(out, ",%s\"seccomp\":%s}", paths, b->seccomp);
}

void
bundle_write(const struct bundle *b, struct buf *out)
{
	buf_adds(out, "{\"ociVersion\":\"1.0.2\",");
	add_process(b, out);
	buf_adds(out, "\"root\":{\"path\":");
	buf_add_json_str(out, b->rootfs);
	buf_adds(out, ",\"readonly\":true},\"hostname\":");
	buf_add_json_str(out, b->spec->hostname == NULL ? b->spec->id : b->spec->hostname);
	buf_addf(out, ",%s%" PRId64 "k\"]}],", mounts, b->shm_kb);
	add_annotations(b, out);
	add_linux(b, out);
	buf_addc(out, '}');
}
