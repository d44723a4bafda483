/* broker/build.h: from a source (a commit of the app's repository, or the cartridge's template) to
 * a running deployment: build record, builder on a node, rollout, then deployment, ref and route.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"

struct broker;
struct build;
struct build_queue;

struct build_queue *build_queue_new(struct broker *b);
void build_queue_free(struct build_queue *take_q);

struct build_source {
	const char *app_id;
	const char *ref;     /* refs/heads/main, a tag or sha as given; NULL with is_template */
	const char *sha1;    /* whole object id; NULL with is_template */
	bool is_template;    /* the web cartridge's template/ */
	char *take_artifact; /* file: a deployment's archive, which is not built; NULL: a commit */
	bool moves_ref; /* the ref is moved to sha1 in the transaction of the switch (a push) */
	const char
	    *old_sha1; /* with moves_ref: what the ref must still be; NULL: it must not exist */
	bool force_clean, hot_deploy;
	bool is_cold; /* not hot, whatever its markers say: other data than its instances knew */
	int64_t begin_us;    /* of a push: CLOCK_MONOTONIC when its pack began to come; else 0 */
	const char *login;   /* who asks; decides which submodules may be read */
	const char *git_url; /* of the repository, for submodules' relative URLs; may be NULL */
};

typedef void build_line_fn(const char *line, void *arg); /* for the pusher, without newline */
/* e NULL: serving. deployment_id is borrowed. Else: nothing changed; e says which step and why. */
typedef void build_done_fn(const char *deployment_id, const struct err *e, void *arg);

/* One build at a time for an app: a second waits (it is told its place by on_line); a third takes
 * the waiting one's place, whose done gets ERR_CONFLICT "replaced by a newer push". Builds of
 * different apps run side by side. src is copied. Once; never inside. */
struct build *build_start(struct build_queue *q, const struct build_source *src,
    build_line_fn *on_line, build_done_fn *done, void *arg);
/* The asker is gone: callbacks are forgotten, the work goes on. */
void build_detach(struct build *b);
