/* broker/acme_rule.h: what can be had by ACME, and when it is renewed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/wire/wire_acme.h"

struct broker;

/* "http-01", "tls-alpn-01" */
bool acme_rule_is_way(const char *challenge);
/* Can host get a certificate that way, or by "any"? ERR_INVALID. */
int acme_rule_check(
    const struct broker *b, const char *host, const char *challenge, struct err *e) MUST_CHECK;
/* Unix time at which a certificate is renewed: two thirds of its life are over. */
int64_t acme_rule_renewal(int64_t not_before, int64_t not_after);
