/* broker/quota.h: counters of gears, domains and applications, changed inside the transactions that
 * make and remove them, so that no race passes a limit. */
#pragma once

#include <stdint.h>

#include "lib/base/err.h"

struct broker;
struct store_txn;

/* Adds to the user's counters, in the transaction and with a compare on the user's record (submit
 * answers ERR_CONFLICT when it changed meanwhile: build the transaction anew). ERR_LIMIT: more than
 * they may have; text and field are for the user. Counters never fall below 0. */
int quota_user(const struct broker *b, struct store_txn *t, const char *login, int64_t gears,
    int64_t domains, struct err *e) MUST_CHECK;
/* The same for the number of applications of a domain. */
int quota_apps(const struct broker *b, struct store_txn *t, const char *domain, int64_t apps,
    struct err *e) MUST_CHECK;
