/* broker/build_record.h: what the store knows of a build, from its begin to the wish that the
 * rollout fulfils, or to its failure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/wire/wire_app.h"
#include "lib/wire/wire_node.h"

struct broker;
struct build_source;
struct store_txn;

struct build_record {
	char *id, *app_id, *deployment_id, *node; /* node, ids: since begin */
	char *ref, *sha1, *old_sha1;
	char *login, *git_url;
	char *artifact; /* file, removed with the record; NULL: none */
	bool is_template, moves_ref, force_clean, hot_deploy, is_cold, disable_auto_scaling;
	bool must_descend; /* the ref moved while the build waited: from old_sha1, which is no more
	                      what the pusher saw; fine if sha1 descends from it */
	int64_t created_at;
	int64_t begin_us;
	struct wire_build_result result; /* since the node's answer */
};

void build_record_init(struct build_record *r, const struct build_source *src); /* copies */
void build_record_fini(struct build_record *r);

/* Ids, the node, and the record with state "building". ERR_NOT_FOUND: no such application any more;
 * ERR_CONFLICT: the ref was deleted or made meanwhile. */
int build_record_begin(struct broker *b, struct build_record *r, struct err *e) MUST_CHECK;
/* Fills t: deployment, layers to keep, state "rolling", and the application's spec. */
int build_record_want(
    struct broker *b, const struct build_record *r, struct store_txn *t, struct err *e) MUST_CHECK;
/* State "failed"; a deployment that never served goes with it. Asynchronous. */
void build_record_fail(struct broker *b, const struct build_record *r, const char *why);
/* Did its deployment serve? */
bool build_record_is_active(const struct broker *b, const struct build_record *r);

/* Builds that the last broker left under way have failed; what they wanted is not wanted any more.
 * Once, at start; done when all of it is stored. */
typedef void build_record_recovered_fn(void *arg);
void build_record_recover(struct broker *b, build_record_recovered_fn *done, void *arg);
