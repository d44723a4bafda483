#include "node/gear_work.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "node/cart_install.h"
#include "node/cart_merge.h"
#include "node/gear_env_write.h"
#include "node/limits.h"
#include "node/node_dirs.h"
#include "node/snapshot_swap.h"
#include "node/volume.h"

enum { REMOVE_MS = 10000 };

void
gear_work_free(void *take_w)
{
	struct gear_work *w = take_w;

	codec_fini(&wire_gear_codec, &w->gear.spec);
	codec_fini(&gear_record_codec, &w->gear.record);
	free(w->gear.dir);
	free(w);
}

struct gear_work *
gear_work_new(const struct gear_table_opts *o, const struct gear *g, void *owner)
{
	struct gear_work *w = xcalloc(1, sizeof *w);

	w->owner = owner;
	w->o = *o;
	w->gear.dir = xstrdup(g->dir);
	codec_copy(&wire_gear_codec, &w->gear.spec, &g->spec);
	codec_copy(&gear_record_codec, &w->gear.record, &g->record);
	return w;
}

/* The disk that the gear is to have. */
static int
fit(struct gear_work *w)
{
	const struct wire_limits *l = &w->gear.spec.limits;
	struct gear_record *r = &w->gear.record;
	int64_t mb = 0;

	if (volume_fit(w->o.volumes, r->uuid, l->disk_mb, l->files, &mb, &w->e) < 0)
		return -1;
	if (mb == r->disk_mb)
		return 0;
	fault_point("storage_fitted");
	log_info("gear_disk_set", LOG_STR("gear", r->uuid), LOG_INT("mb", mb));
	r->disk_mb = mb;
	return gear_save(&w->gear, &w->e);
}

static int
mount_made(struct gear_work *w)
{
	struct volumes *v = w->o.volumes;
	const struct wire_limits *l = &w->gear.spec.limits;
	const struct gear_record *r = &w->gear.record;

	if (r->is_made && volume_grow(v, r->uuid, l->disk_mb, l->files, &w->e) < 0)
		return -1;
	if (volume_mount(v, r->uuid, &w->e) < 0)
		return -1;
	return r->is_made ? fit(w) : 0;
}

void
gear_work_prepare(void *work)
{
	struct gear_work *w = work;
	struct gear_record *r = &w->gear.record;
	const struct gear_table_opts *o = &w->o;
	int rc;

	if (r->is_made || w->has_come) {
		bool is_mounted = w->is_alive = volume_is_mounted(o->volumes, r->uuid);

		rc = mount_made(w);
		/* No container of an earlier daemon has it: bases of cartridges that went can go.
		 */
		if (rc == 0 && !is_mounted && gear_sweep_bases(&w->gear, &w->e) < 0)
			rc = -1;
		if (rc == 0 && w->is_first)
			rc = snapshot_swap_recover(w->gear.dir, &w->e);
		if (rc == 0 && w->is_first)
			rc = cart_merge_finish(&w->gear, &w->e);
		if (rc == 0 && w->is_first)
			cart_install_forget(w->gear.dir);
	} else {
		/* The record comes first, so that the range is taken and the volume has an owner.
		 */
		rc = node_dirs_check_room(o->dirs, o->disk_low_percent, &w->e);
		if (rc == 0)
			rc = gear_save(&w->gear, &w->e);
		fault_point("gear_recorded");
		if (rc == 0)
			rc = volume_make(
			    o->volumes, r->uuid, r->disk_mb, w->gear.spec.limits.files, &w->e);
	}
	fault_point("gear_volume");
	if (rc == 0)
		gear_read_priority(&w->gear);
	if (rc < 0 ||
	    (w->writes_env && gear_env_write(&w->gear, w->o.carts, w->is_alive, &w->e) < 0) ||
	    limits_make(o->limits, (struct limits_group){ .gear = r->uuid }, NULL, &w->e) < 0)
		return;
	fault_point("gear_env");
	if (r->is_made)
		return;
	r->is_made = true;
	mem_set_str(&r->volume, volumes_kind(o->volumes));
	if (gear_save(&w->gear, &w->e) < 0)
		return;
	fault_point("gear_made");
}

void
gear_work_destroy(void *work)
{
	struct gear_work *w = work;
	const struct gear_table_opts *o = &w->o;
	const struct limits_group group = { .gear = w->gear.record.uuid };
	AUTO(free) char *path = xasprintf("%s.json", w->gear.dir);

	if (limits_kill(o->limits, group, &w->e) < 0 ||
	    limits_remove(o->limits, group, REMOVE_MS, &w->e) < 0)
		return;
	fault_point("gear_cgroup_gone");
	if (volume_remove(o->volumes, w->gear.record.uuid, &w->e) < 0)
		return;
	fault_point("gear_volume_gone");
	if (unlink(path) < 0 && file_exists(path))
		(void)err_set(&w->e, ERR_SYSTEM, NULL, "remove %s", path);
}

void
gear_work_set_aside(void *work)
{
	enum { WEEK_S = 7 * 24 * 3600 };
	struct gear_work *w = work;
	const struct limits_group group = { .gear = w->gear.record.uuid };
	AUTO(free) char *path = xasprintf("%s.json", w->gear.dir);
	AUTO(free)
	char *to = xasprintf(
	    "%s/%s.json.%" PRId64, w->o.dirs->aside, w->gear.record.uuid, (int64_t)time(NULL));

	if (limits_kill(w->o.limits, group, &w->e) < 0 ||
	    limits_remove(w->o.limits, group, REMOVE_MS, &w->e) < 0 ||
	    volume_set_aside(w->o.volumes, w->gear.record.uuid, &w->e) < 0)
		return;
	fault_point("gear_aside");
	if (rename(path, to) < 0 && file_exists(path)) {
		(void)err_set(&w->e, ERR_SYSTEM, NULL, "move %s", path);
		return;
	}
	log_warn("gear_set_aside", LOG_STR("gear", w->gear.record.uuid));
	if (volume_purge_aside(w->o.volumes, WEEK_S, &w->e) < 0)
		log_warn("aside_not_purged", LOG_ERR(&w->e));
	w->e = (struct err){ 0 };
}

void
gear_work_save(void *work)
{
	struct gear_work *w = work;

	if (gear_save(&w->gear, &w->e) < 0)
		return;
	fault_point("gear_was_ready");
}
