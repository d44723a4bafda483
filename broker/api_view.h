/* broker/api_view.h: records as the API shows them. key NULL: an element of an array. */
#pragma once

#include <stdbool.h>

#include "broker/api_json.h"
#include "broker/catalog.h"
#include "lib/wire/wire_app.h"
#include "lib/wire/wire_user.h"

struct api_call;
struct broker;

void api_view_user(
    const struct api_call *c, struct api_json *j, const char *key, const struct wire_user *u);
void api_view_token(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_token *t, const char *token);
/* counts: application_count and gear_counts too. */
void api_view_domain(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_domain *d, bool counts);
/* All members of the domain, its owner first. of_app: as those of an application, which has them of
 * its domain. */
void api_view_members(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_domain *d, bool of_app);
void api_view_app_members(
    const struct api_call *c, struct api_json *j, const char *key, const struct wire_app *a);
/* One of the domain. NULL: its owner. */
void api_view_member(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_domain *d, const struct wire_member *m);
/* cartridges: the array of them too. */
void api_view_app(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_app *a, bool cartridges);
void api_view_cart(
    const struct api_call *c, struct api_json *j, const char *key, const struct catalog_cart *cc);
/* The web cartridge and others as an application has them. */
void api_view_app_carts(
    const struct api_call *c, struct api_json *j, const char *key, const struct wire_app *a);
/* status_messages: JSON: null, or an array of {gear_id, message}. */
void api_view_app_cart_with(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_app *a, const struct wire_gear_cart *g, const char *status_messages);
void api_view_app_cart(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_app *a, const struct wire_gear_cart *g);
void api_view_var(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_app *a, const struct wire_var *v);
void api_view_deployment(const struct api_call *c, struct api_json *j, const char *key,
    const struct wire_app *a, const struct wire_deployment *d);

/* "application/ID", or in old versions "domain/D/application/A". Caller owns. */
char *api_view_app_base(const struct api_call *c, const struct wire_app *a);
/* ssh://GEAR@HOST[:PORT], or NULL: no SSH is served; caller owns. */
char *api_view_ssh_url(const struct broker *b, const struct wire_app *a, const char *gear);
/* Members quota and notice of a gear: how its disk is limited, and what was done for the sake of
 * the node's. False: that node has not told of it, nothing is written. */
bool api_view_disk(
    const struct api_call *c, struct api_json *j, const char *node, const char *gear);
char *api_view_app_url(const struct broker *b, const struct wire_app *a);
/* "nodejs-20"; caller owns. */
char *api_view_cart_name(const struct broker *b, const struct wire_gear_cart *g);
