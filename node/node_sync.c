#include "node/node_sync.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/http/http_watch.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/wire/wire_feed.h"
#include "node/gear_table.h"
#include "node/instance.h"
#include "node/layer_store.h"
#include "node/node_report.h"
#include "node/peer_table.h"

enum {
	KEEP_MS = 200,
	KEEP_MAX = 256 * 1024 * 1024,
	KNOWN_MS = 10,  /* between looks whether all is known */
	AWAY_MS = 3000, /* without a broker for that long at the start: what is kept counts */
};

struct node_sync {
	struct node_sync_opts o;
	struct node_report *report;
	struct http_watch *watch;
	struct omap *wishes;     /* "kind/key" → JSON, owned: all that the broker wants now */
	struct str_list pending; /* instances to be applied once the revision is complete */
	struct map *seen;        /* of the snapshot under way; NULL: none */
	bool has_synced;         /* once since the start */
	int64_t revision;        /* all up to here is applied; 0: nothing */
	char *cluster;           /* owned; NULL: none known */
	int64_t epoch;
	struct loop_timer *keep, *away;
	struct loop_timer *owed; /* until what there is can be told in full; or NULL */
	bool is_keeping;         /* timer armed */
	struct worker_job *job;
	char *path; /* of the kept wishes */
};

/* --- kept wishes --- */

struct keep_job {
	struct node_sync *owner; /* done only */
	char *path;
	struct buf text;
};

static void
free_keep(void *take_job)
{
	struct keep_job *j = take_job;

	free(j->path);
	buf_fini(&j->text);
	free(j);
}

static void
run_keep(void *job)
{
	struct keep_job *j = job;
	struct err e = { 0 };

	if (file_replace_fast(j->path, j->text.p, j->text.n, 0600, &e) < 0)
		log_warn("feed_not_kept", LOG_ERR(&e));
}

static void
done_keep(void *job)
{
	struct keep_job *j = job;

	j->owner->job = NULL;
	free_keep(j);
}

static void
add_line(const struct node_sync *s, int type, const char *id, const char *value, struct buf *out)
{
	const char *slash = id == NULL ? NULL : strchr(id, '/');
	AUTO(free) char *kind = slash == NULL ? NULL : xstrndup(id, (size_t)(slash - id));
	struct wire_feed line = {
		.type = type,
		.kind = kind,
		.key = slash == NULL ? NULL : (char *)(slash + 1),
		.value = (char *)value,
		.revision = s->revision,
		.cluster = s->cluster,
		.epoch = s->epoch,
	};

	codec_encode(&wire_feed_codec, &line, out);
	buf_addc(out, '\n');
}

static void
on_keep(void *arg)
{
	struct node_sync *s = arg;
	struct keep_job *j;
	void *value = NULL;

	s->is_keeping = false;
	if (s->job != NULL) {
		s->is_keeping = true;
		loop_timer_again(s->keep, KEEP_MS);
		return;
	}
	j = xcalloc(1, sizeof *j);
	j->owner = s;
	j->path = xstrdup(s->path);
	for (const char *id = omap_seek(s->wishes, "", false, &value); id != NULL;
	     id = omap_seek(s->wishes, id, true, &value))
		add_line(s, WIRE_FEED_PUT, id, value, &j->text);
	add_line(s, WIRE_FEED_SYNC, NULL, NULL, &j->text);
	s->job = worker_submit(s->o.worker, run_keep, done_keep, free_keep, j);
}

static void
keep_soon(struct node_sync *s)
{
	if (s->is_keeping)
		return;
	s->is_keeping = true;
	loop_timer_again(s->keep, KEEP_MS + (int64_t)omap_count(s->wishes)); /* all are written */
}

/* --- wishes --- */

static int
apply_gear(struct node_sync *s, const char *json, struct err *e)
{
	AUTO_FINI(wire_gear_fini) struct wire_gear g = { 0 };

	if (codec_decode(&wire_gear_codec, json, strlen(json), &g, CODEC_IGNORE, e) < 0)
		return -1;
	gear_table_apply(s->o.gears, &g);
	return 0;
}

static int
apply_instance(struct node_sync *s, const char *json, struct err *e)
{
	AUTO_FINI(wire_instance_fini) struct wire_instance i = { 0 };

	if (codec_decode(&wire_instance_codec, json, strlen(json), &i, CODEC_IGNORE, e) < 0)
		return -1;
	instances_apply(s->o.instances, &i);
	return 0;
}

static int
apply_layers(struct node_sync *s, const char *json, struct err *e)
{
	AUTO_FINI(wire_keep_fini) struct wire_keep k = { 0 };

	if (codec_decode(&wire_keep_codec, json, strlen(json), &k, CODEC_IGNORE, e) < 0)
		return -1;
	layer_store_keep(s->o.layers, k.app_id, &k.digests);
	return 0;
}

static int
apply_peers(struct node_sync *s, const char *json, struct err *e)
{
	AUTO_FINI(wire_peers_fini) struct wire_peers p = { 0 };

	if (codec_decode(&wire_peers_codec, json, strlen(json), &p, CODEC_IGNORE, e) < 0)
		return -1;
	peer_table_apply(s->o.peers, &p);
	return 0;
}

static int
apply(struct node_sync *s, const char *kind, const char *key, const char *json)
{
	struct err e = { 0 };
	int rc;

	if (strcmp(kind, "gear") == 0)
		rc = apply_gear(s, json, &e);
	else if (strcmp(kind, "instance") == 0)
		rc = apply_instance(s, json, &e);
	else if (strcmp(kind, "layers") == 0)
		rc = apply_layers(s, json, &e);
	else if (strcmp(kind, "peers") == 0)
		rc = apply_peers(s, json, &e);
	else
		return 0; /* of a newer broker */
	if (rc < 0)
		log_error(
		    "feed_record_bad", LOG_STR("kind", kind), LOG_STR("key", key), LOG_ERR(&e));
	return 0;
}

static void
forget(struct node_sync *s, const char *id)
{
	const char *key = strchr(id, '/') + 1;

	if (str_has_prefix(id, "gear/")) {
		gear_table_forget(s->o.gears, key);
		node_report_drop_gear(s->report, key);
	} else if (str_has_prefix(id, "instance/")) {
		instances_forget(s->o.instances, key);
		node_report_drop_instance(s->report, key);
	} else if (str_has_prefix(id, "layers/")) {
		layer_store_forget(s->o.layers, key);
	} else if (str_has_prefix(id, "peers/")) {
		peer_table_forget(s->o.peers, key);
	}
}

static void
on_owed(void *arg)
{
	struct node_sync *s = arg;

	if (!instances_are_known(s->o.instances))
		return;
	loop_timer_cancel(STEAL(s->owed));
	node_report_all(s->report);
}

/* What a full report does not name does not exist for the broker: it waits for those that an
 * earlier daemon left, or their routes would go for a moment. */
static void
tell_all(struct node_sync *s)
{
	if (s->owed == NULL)
		s->owed = loop_timer_start(s->o.loop, KNOWN_MS, true, on_owed, s);
	on_owed(s);
}

/* A snapshot is complete: what it did not name is unknown to the broker. */
static void
end_snapshot(struct node_sync *s)
{
	AUTO_FINI(str_list_fini) struct str_list gone = { 0 };
	void *value = NULL;

	for (const char *id = omap_seek(s->wishes, "", false, &value); id != NULL;
	     id = omap_seek(s->wishes, id, true, &value)) {
		if (map_get(s->seen, id) == NULL)
			str_list_add(&gone, id);
	}
	/* Instances first: gears wait for theirs. */
	for (size_t i = gone.n; i > 0; i--) {
		forget(s, gone.v[i - 1]);
		(void)omap_remove(s->wishes, gone.v[i - 1]);
	}
	map_free(STEAL(s->seen));
	tell_all(s);
}

static void
apply_pending(struct node_sync *s)
{
	for (size_t i = 0; i < s->pending.n; i++) {
		const char *id = s->pending.v[i];
		const char *value = omap_get(s->wishes, id);

		if (value != NULL)
			(void)apply(s, "instance", strchr(id, '/') + 1, value);
	}
	str_list_fini(&s->pending);
}

static void
on_sync(struct node_sync *s, const struct wire_feed *line)
{
	bool is_snapshot = s->seen != NULL;

	apply_pending(s);
	if (is_snapshot)
		end_snapshot(s);
	if (line->revision != s->revision || is_snapshot) {
		s->revision = line->revision;
		keep_soon(s);
	}
	if (s->has_synced)
		return;
	s->has_synced = true;
	log_info("feed_synced", LOG_INT("revision", s->revision));
	/* Now it is known what nobody wants. */
	instances_sweep(s->o.instances);
	gear_table_set_aside_unknown(s->o.gears);
	tell_all(s);
}

static int
check_cluster(struct node_sync *s, const struct wire_feed *line)
{
	if (line->cluster == NULL || line->cluster[0] == '\0')
		return 0;
	if (s->cluster != NULL && strcmp(s->cluster, line->cluster) != 0) {
		log_error("feed_foreign", LOG_STR("known", s->cluster),
		    LOG_STR("offered", line->cluster),
		    LOG_STR("fix", "this node belongs to another cluster: give it a data directory "
		                   "of its own"));
		return -1;
	}
	if (line->epoch < s->epoch) {
		log_error("feed_of_the_past", LOG_INT("known", s->epoch),
		    LOG_INT("offered", line->epoch));
		return -1;
	}
	mem_set_str(&s->cluster, line->cluster);
	s->epoch = line->epoch;
	return 0;
}

static void
on_put(struct node_sync *s, const struct wire_feed *line)
{
	AUTO(free) char *id = xasprintf("%s/%s", line->kind, line->key);

	if (s->seen != NULL)
		map_set(s->seen, id, s);
	omap_set(s->wishes, id, xstrdup(line->value));
	/* The gear that an instance needs, with its environment, may come after it. */
	if (strcmp(line->kind, "instance") == 0)
		str_list_add(&s->pending, id);
	else
		(void)apply(s, line->kind, line->key, line->value);
}

static int
on_line(struct str text, void *arg)
{
	struct node_sync *s = arg;
	AUTO_FINI(wire_feed_fini) struct wire_feed line = { 0 };
	struct err e = { 0 };

	if (codec_decode(&wire_feed_codec, text.p, text.n, &line, CODEC_IGNORE, &e) < 0) {
		log_error("feed_line_bad", LOG_ERR(&e));
		return -1;
	}
	if (check_cluster(s, &line) < 0)
		return -1;
	switch (line.type) {
	case WIRE_FEED_RESET:
		map_free(s->seen);
		str_list_fini(&s->pending);
		s->seen = map_new(NULL);
		s->revision = 0;
		break;
	case WIRE_FEED_PUT:
		if (line.kind != NULL && line.key != NULL && line.value != NULL)
			on_put(s, &line);
		break;
	case WIRE_FEED_DELETE:
		if (line.kind != NULL && line.key != NULL) {
			AUTO(free) char *id = xasprintf("%s/%s", line.kind, line.key);

			forget(s, id);
			(void)omap_remove(s->wishes, id);
		}
		break;
	default:
		on_sync(s, &line);
		break;
	}
	fault_point("feed_line");
	return 0;
}

static void
on_state(bool connected, const struct err *e, void *arg)
{
	struct node_sync *s = arg;

	if (connected) {
		log_info("feed_connected");
		node_report_hello(s->report);
		return;
	}
	map_free(STEAL(s->seen)); /* half a snapshot says nothing */
	if (e != NULL)
		log_warn("feed_lost", LOG_ERR(e));
}

static int64_t
next_revision(void *arg)
{
	const struct node_sync *s = arg;

	return s->revision == 0 ? 0 : s->revision + 1;
}

/* --- start --- */

static void
load_line(struct str text, void *arg)
{
	struct node_sync *s = arg;
	AUTO_FINI(wire_feed_fini) struct wire_feed line = { 0 };
	struct err e = { 0 };

	if (codec_decode(&wire_feed_codec, text.p, text.n, &line, CODEC_IGNORE, &e) < 0) {
		log_warn("kept_feed_bad", LOG_ERR(&e));
		return;
	}
	mem_set_str(&s->cluster, line.cluster);
	s->epoch = line.epoch;
	if (line.type == WIRE_FEED_PUT && line.value != NULL && line.kind != NULL &&
	    line.key != NULL) {
		AUTO(free) char *id = xasprintf("%s/%s", line.kind, line.key);

		omap_set(s->wishes, id, xstrdup(line.value));
		/* The firewall has just been loaded without them. */
		if (strcmp(line.kind, "peers") == 0)
			(void)apply(s, line.kind, line.key, line.value);
	}
}

/* Writes that were cut short. */
static void
remove_halves(const struct node_sync *s)
{
	DIR *d = opendir(s->o.data);
	struct dirent *de;

	while (d != NULL && (de = readdir(d)) != NULL) {
		if (str_has_prefix(de->d_name, "feed."))
			(void)unlinkat(dirfd(d), de->d_name, 0);
	}
	if (d != NULL)
		closedir(d);
}

static int
load_kept(struct node_sync *s, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	struct http_lines lines = { 0 };
	int rc;

	remove_halves(s);
	if (!file_exists(s->path))
		return 0;
	if (file_read(s->path, KEEP_MAX, &text, e) < 0)
		return -1;
	rc = http_lines_feed(&lines, text.p, text.n, KEEP_MAX, load_line, s, e);
	http_lines_fini(&lines);
	s->revision = 0; /* a snapshot first: only that tells what nobody wants */
	return rc;
}

/* Gears that crash or were stopped by a reboot must not wait for the broker. What is not here any
 * more is not made anew, for the broker may have wished its end meanwhile. */
static void
on_away(void *arg)
{
	struct node_sync *s = arg;
	void *value = NULL;

	if (s->has_synced || s->seen != NULL)
		return;
	log_warn("broker_away", LOG_INT("records", omap_count(s->wishes)));
	for (const char *id = omap_seek(s->wishes, "", false, &value); id != NULL;
	     id = omap_seek(s->wishes, id, true, &value)) {
		const char *slash = strchr(id, '/');
		AUTO(free) char *kind = xstrndup(id, (size_t)(slash - id));

		if (strcmp(kind, "gear") != 0 || gear_table_has(s->o.gears, slash + 1))
			(void)apply(s, kind, slash + 1, value);
	}
}

static void
free_wish(void *p)
{
	free(p);
}

struct node_sync *
node_sync_new(const struct node_sync_opts *o)
{
	struct node_sync *s = xcalloc(1, sizeof *s);

	s->o = *o;
	s->report = node_report_new(o);
	s->wishes = omap_new(free_wish);
	s->path = file_join(o->data, "feed");
	s->keep = loop_timer_start(o->loop, KEEP_MS, false, on_keep, s);
	s->is_keeping = true;
	return s;
}

int
node_sync_start(struct node_sync *s, struct err *e)
{
	AUTO(free)
	char *url = xasprintf("%s/internal/node/feed?node=%s", s->o.broker, s->o.node);
	const struct http_watch_opts w = { .url = url, .bearer = s->o.token };

	if (load_kept(s, e) < 0)
		return -1;
	s->away = loop_timer_start(s->o.loop, AWAY_MS, false, on_away, s);
	s->watch = http_watch_start(s->o.loop, s->o.http, &w, next_revision, on_line, on_state, s);
	return 0;
}

void
node_sync_free(struct node_sync *take_s)
{
	if (take_s == NULL)
		return;
	http_watch_cancel(take_s->watch);
	node_report_free(take_s->report);
	worker_detach(take_s->job);
	loop_timer_cancel(take_s->owed);
	loop_timer_cancel(take_s->keep);
	loop_timer_cancel(take_s->away);
	omap_free(take_s->wishes);
	str_list_fini(&take_s->pending);
	map_free(take_s->seen);
	free(take_s->cluster);
	free(take_s->path);
	free(take_s);
}

void
node_sync_gear_changed(struct node_sync *s, const struct gear *g)
{
	node_report_gear(s->report, g);
}

void
node_sync_instance_changed(struct node_sync *s, const struct wire_instance_status *st)
{
	bool is_urgent = st->state == WIRE_INSTANCE_READY || st->state == WIRE_INSTANCE_FAILED ||
	                 st->state == WIRE_INSTANCE_GONE ||
	                 (st->state == WIRE_INSTANCE_STARTING && st->address != NULL &&
	                     st->address[0] != '\0'); /* of a scalable one */

	node_report_instance(s->report, st, is_urgent);
}

void
node_sync_fill_report(const struct node_sync *s, struct wire_report *r)
{
	node_report_fill(s->report, true, r);
}

void
node_sync_mute(struct node_sync *s)
{
	node_report_mute(s->report);
}
