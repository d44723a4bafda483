#include "broker/quota.h"

#include <inttypes.h>

#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_user.h"

static int
check_gears(const struct wire_user *u, int64_t gears, struct err *e)
{
	if (gears <= 0 || u->consumed_gears + gears <= u->max_gears)
		return 0;
	return err_set(e, ERR_LIMIT, "gears",
	    "%s has reached the gear limit: %" PRId64 " of %" PRId64
	    " gears are in use and this needs %" PRId64
	    " more. Scale down or delete an application, or ask an administrator for more.",
	    u->login, u->consumed_gears, u->max_gears, gears);
}

static int
check_domains(const struct wire_user *u, int64_t domains, struct err *e)
{
	if (domains <= 0 || u->domains + domains <= u->max_domains)
		return 0;
	return err_set(e, ERR_LIMIT, "domains",
	    "%s has reached the domain limit of %" PRId64
	    ". Delete a domain, or ask an administrator for more.",
	    u->login, u->max_domains);
}

static int64_t
add(int64_t count, int64_t delta)
{
	return count + delta < 0 ? 0 : count + delta;
}

int
quota_user(const struct broker *b, struct store_txn *t, const char *login, int64_t gears,
    int64_t domains, struct err *e)
{
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	int64_t rev;

	if (record_get(b->store, store_key_user(login), &wire_user_codec, &u, &rev, e) < 0)
		return err_wrap(e, "The account of %s", login);
	if (check_gears(&u, gears, e) < 0 || check_domains(&u, domains, e) < 0)
		return -1;
	u.consumed_gears = add(u.consumed_gears, gears);
	u.domains = add(u.domains, domains);
	record_put_cas(t, store_key_user(login), rev, &wire_user_codec, &u);
	return 0;
}

int
quota_apps(
    const struct broker *b, struct store_txn *t, const char *domain, int64_t apps, struct err *e)
{
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	int64_t rev;

	if (record_get(b->store, store_key_domain(domain), &wire_domain_codec, &d, &rev, e) < 0)
		return err_wrap(e, "The domain %s", domain);
	d.apps = add(d.apps, apps);
	record_put_cas(t, store_key_domain(domain), rev, &wire_domain_codec, &d);
	return 0;
}
