/* broker/api_load.h: what a call's path names, loaded for who asks; waiting until an application is
 * as it is wanted. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/access.h"
#include "lib/base/err.h"
#include "lib/base/str.h"

struct api_call;

/* The application of the path into a (zeroed); false: the call has ended (404, 403). */
bool api_load_app(struct api_call *c, enum access_want want, struct wire_app *a);
/* The cartridge that the path names, borrowed from a; NULL: the call has ended (404). */
const struct wire_gear_cart *api_load_cart(struct api_call *c, const struct wire_app *a);

/* Waits until the application matches its spec, with progress for who watches; then `then`. The
 * call may have lost its client meanwhile; it is there all the same. */
typedef void api_load_then_fn(struct api_call *c, const struct err *e);
void api_load_settle(struct api_call *c, const char *app_id, api_load_then_fn *then);
/* The lines of cartridges' scripts (CLIENT_…) that come with a failure are added to `lines`, which
 * lives until then. */
void api_load_settle_lines(
    struct api_call *c, const char *app_id, struct str_list *lines, api_load_then_fn *then);
/* At most so long; ERR_BUSY then. (Of the above: 15 minutes.) */
void api_load_settle_within(
    struct api_call *c, const char *app_id, int64_t max_ms, api_load_then_fn *then);
void api_load_free_wait(void *take_wait); /* of a call that ends without it; NULL is fine */

/* Ends the call with the application as it is now. text: a message for the user, or NULL. */
void api_load_send_app(struct api_call *c, const char *app_id, int status, const char *text);
/* Ends the call with what a rollout or build failed of. */
void api_load_fail_rollout(struct api_call *c, const struct err *e);
