/* broker/gear_disk.h: the disk of a gear: what its profile gives, and the storage that was asked
 * for beside it (additional_gear_storage). All gears of a group have the same: the most that one of
 * the group's cartridges was given. */
#pragma once

#include <stdint.h>

#include "broker/app.h"

struct gear_group;
struct wire_gear;
struct wire_gear_cart_list;
struct wire_limits;

int64_t gear_disk_extra_gb(const struct wire_app *a, const struct gear_group *g);
/* GB of the profile alone, for the API. */
int64_t gear_disk_base_gb(const struct broker *b, const char *profile);
/* The gear's limits are the profile's, with its own extra storage. */
void gear_disk_set_limits(struct wire_gear *g, const struct wire_limits *profile);
/* Its extra storage becomes that of its group. */
void gear_disk_set_extra(
    struct wire_gear *g, const struct wire_app *a, const struct gear_group *grp);
/* May gears of a domain of this owner have so much? -1: ERR_DENIED (none at all), ERR_LIMIT, and
 * the API's exit code. */
int gear_disk_may(const struct broker *b, const char *owner, int64_t gb, int *exit_code,
    struct err *e) MUST_CHECK;
/* Gears of the group of that cartridge get gb beside their profile's, in use as they are.
 * ERR_LIMIT: there is more in one than would fit, or its node has no room. */
void gear_disk_change(struct broker *b, const char *app_id, const char *cart, int64_t gb,
    app_done_fn *done, void *arg);
/* Before a's cartridges become `after`: storage given by way of one that goes stays with another of
 * its group. */
void gear_disk_keep(
    const struct broker *b, const struct wire_app *a, struct wire_gear_cart_list *after);
