#include "broker/acme_rule.h"

#include <string.h>

#include "broker/broker.h"

int64_t
acme_rule_renewal(int64_t not_before, int64_t not_after)
{
	return not_before + (not_after - not_before) / 3 * 2;
}

bool
acme_rule_is_way(const char *challenge)
{
	return strcmp(challenge, WIRE_ACME_HTTP) == 0 || strcmp(challenge, WIRE_ACME_TLS) == 0;
}

int
acme_rule_check(const struct broker *b, const char *host, const char *challenge, struct err *e)
{
	if (b->conf.acme_directory == NULL)
		return err_set(e, ERR_INVALID, "acme",
		    "This platform gets no certificates by ACME: its administrator has not set "
		    "acme-directory. Give a certificate of your own.");
	if (strcmp(challenge, WIRE_ACME_ANY) != 0 && !acme_rule_is_way(challenge))
		return err_set(e, ERR_INVALID, "acme",
		    "Invalid value '%.40s' for acme: give any, http-01, tls-alpn-01 or none.",
		    challenge);
	if (host[0] == '*')
		return err_set(e, ERR_INVALID, "acme",
		    "A certificate for %s cannot be got by ACME here, since a wildcard needs a "
		    "record in your DNS. Give a certificate of your own, or add single names.",
		    host);
	return 0;
}
