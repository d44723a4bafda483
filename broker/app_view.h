/* broker/app_view.h: gears and instances of each application, with what their nodes report, decoded
 * and kept up to date by a watch. (The store's keys order them by node; controllers ask by
 * application.) Loop thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/wire/wire_app.h"

struct app_view;
struct broker;

struct app_view_gear {
	char *node;
	struct wire_gear gear;
	int64_t rev, create_rev;        /* of the record; rev 0: only the status is there */
	struct wire_gear_status status; /* uuid NULL: none */
};

struct app_view_instance {
	char *node;
	struct wire_instance_record rec;
	int64_t rev, create_rev;
	struct wire_instance_status status; /* id NULL: none */
};

struct app_view_app {
	char *id;
	struct app_view_gear **gears; /* by create_rev; the head gear (uuid = id) first */
	size_t gears_n;
	struct app_view_gear **leaving; /* records of gears on a node that they leave for good */
	size_t leaving_n;
	struct app_view_instance **instances; /* by create_rev */
	size_t instances_n;
};

/* Tells that something of the application (its record, a gear, an instance, a status, a deployment,
 * a build, its variables) changed. */
typedef void app_view_change_fn(const char *app_id, void *arg);

struct app_view *app_view_new(struct broker *b, app_view_change_fn *fn, void *arg);
void app_view_free(struct app_view *take_v);

/* Never NULL: an application without gears has an empty one. Borrowed until the loop's next turn.
 */
const struct app_view_app *app_view_get(struct app_view *v, const char *app_id);
/* Is it the record of a node that the gear has left, or will not come to? */
bool app_view_is_leaving(const struct wire_gear *g);
/* All changes up to this revision are in the view. */
int64_t app_view_rev(const struct app_view *v);
/* Ids of all applications that have a record, a gear or an instance. */
void app_view_each(struct app_view *v, app_view_change_fn *fn, void *arg);

/* Is its status that of its present generation? */
bool app_view_is(const struct app_view_instance *i, enum wire_instance_state state);
