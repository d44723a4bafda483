/* broker/api_alias.h: aliases as parts of other answers. */
#pragma once

#include "broker/api_json.h"
#include "broker/api_link.h"

struct api_call;
struct wire_app;

/* Optional parameters of an alias: its certificate. */
extern const struct api_link_param api_alias_cert_params[];
/* The array of them; up to version 1.3 of their names alone. */
void api_alias_write_all(
    const struct api_call *c, struct api_json *j, const char *key, const struct wire_app *a);
/* The events add-alias and remove-alias: the application is the answer. */
void api_alias_event_add(struct api_call *c, const struct wire_app *a);
void api_alias_event_remove(struct api_call *c, const struct wire_app *a);
