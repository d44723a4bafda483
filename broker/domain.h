/* broker/domain.h: changes of domains: each one transaction of the domain and its owner's counter.
 */
#pragma once

#include "broker/change.h"
#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/wire/wire_user.h"

struct broker;

/* ERR_INVALID: field and rule. */
int domain_check_name(const char *name, struct err *e) MUST_CHECK;
/* Each size known and allowed to the owner; wording as v2's. */
int domain_check_sizes(const struct broker *b, const char *owner, const struct str_list *sizes,
    struct err *e) MUST_CHECK;

/* ERR_CONFLICT: the name is taken; ERR_LIMIT: too many. sizes NULL: those of the owner. */
void domain_create(struct broker *b, const char *name, const char *owner,
    const struct str_list *sizes, change_done_fn *done, void *arg);
/* new_name NULL: stays; sizes NULL: stay. ERR_CONFLICT: the new name is taken; ERR_INVALID (field
 * "apps"): it has applications and the name would change. */
void domain_update(struct broker *b, const char *name, const char *new_name,
    const struct str_list *sizes, change_done_fn *done, void *arg);
/* Each of the changes: a member with that role from now on, or, role "none", no longer one (who was
 * none is passed over). ERR_LIMIT: more than WIRE_MEMBERS_MAX. */
void domain_set_members(struct broker *b, const char *name, const struct wire_member_list *changes,
    change_done_fn *done, void *arg);
/* ERR_CONFLICT: has applications. */
void domain_delete(struct broker *b, const char *name, change_done_fn *done, void *arg);
