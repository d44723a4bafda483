/* router/app_lines.h: a line for each request into the log of its application (`pinion logs`,
 * source "router"), by way of the broker. Bounded in each lane and for each application: of a storm
 * some lines come, and the number of those that do not. */
#pragma once

#include "lib/base/err.h"

struct access_line;
struct app_lines;
struct app_lines_box;
struct fleet;
struct loop;
struct router_conf;

/* Reads the token (blocks). All borrowed, outlive it. Before fleet_start. */
struct app_lines *app_lines_new(
    struct loop *l, struct fleet *f, const struct router_conf *conf, struct err *e);
void app_lines_stop(struct app_lines *a);      /* before the fleet is freed; NULL is fine */
void app_lines_free(struct app_lines *take_a); /* after it */

/* In a lane, whose box it is. */
void app_lines_put(struct app_lines_box *box, const char *app_id, const struct access_line *line);
