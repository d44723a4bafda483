/* broker/routing.h: what the owner of an application sets about its routes: kept in its record, put
 * into all its routes by the same transaction. Nothing is rolled out. */
#pragma once

#include "lib/base/err.h"
#include "lib/codec/codec.h"
#include "lib/wire/wire_app.h"
#include "lib/wire/wire_routing.h"

struct broker;

typedef void routing_done_fn(const struct err *e, void *arg);
/* change: an object of options, null or absent ones are left as they are; is_whole: absent ones are
 * unset. unset: names, may be NULL. Both are copied. ERR_INVALID names the option. */
void routing_change(struct broker *b, const char *app_id, const struct codec_value *change,
    bool is_whole, const struct str_list *unset, routing_done_fn *done, void *arg);
/* What is set, without what is secret, into out (zeroed). */
void routing_get(const struct wire_app *a, struct wire_routing *out);
