#include "lib/store/store_key.h"

#include "lib/base/mem.h"

char *
store_key_user(const char *login)
{
	return xasprintf("/user/%s", login);
}

char *
store_key_token(const char *sha256_hex)
{
	return xasprintf("/token/%s", sha256_hex);
}

char *
store_key_domain(const char *name)
{
	return xasprintf("/domain/%s", name);
}

char *
store_key_app(const char *domain, const char *name)
{
	return xasprintf("/app/%s/%s", domain, name);
}

char *
store_key_app_id(const char *app_id)
{
	return xasprintf("/app-id/%s", app_id);
}

char *
store_key_env(const char *app_id)
{
	return xasprintf("/env/%s", app_id);
}

char *
store_key_refs(const char *app_id)
{
	return xasprintf("/refs/%s", app_id);
}

char *
store_key_deployment(const char *app_id, const char *id)
{
	return xasprintf("/deployment/%s/%s", app_id, id);
}

char *
store_key_build(const char *app_id, const char *id)
{
	return xasprintf("/build/%s/%s", app_id, id);
}

char *
store_key_event(const char *app_id, const char *id)
{
	return xasprintf("/event/%s/%s", app_id, id);
}

char *
store_key_node(const char *node)
{
	return xasprintf("/node/%s", node);
}

char *
store_key_gear(const char *node, const char *uuid)
{
	return xasprintf("/gear/%s/%s", node, uuid);
}

char *
store_key_gear_status(const char *node, const char *uuid)
{
	return xasprintf("/gear-status/%s/%s", node, uuid);
}

char *
store_key_instance(const char *node, const char *id)
{
	return xasprintf("/instance/%s/%s", node, id);
}

char *
store_key_instance_status(const char *node, const char *id)
{
	return xasprintf("/instance-status/%s/%s", node, id);
}

char *
store_key_keep(const char *node, const char *app_id)
{
	return xasprintf("/layers/%s/%s", node, app_id);
}

char *
store_key_peers(const char *node, const char *app_id)
{
	return xasprintf("/peers/%s/%s", node, app_id);
}

char *
store_key_route(const char *host)
{
	return xasprintf("/route/%s", host);
}

char *
store_key_cart_type(const char *id)
{
	return xasprintf("/cartridge-type/%s", id);
}

char *
store_key_backup(const char *app_id)
{
	return xasprintf("/backup/%s", app_id);
}

char *
store_key_restore(const char *app_id)
{
	return xasprintf("/restore/%s", app_id);
}

char *
store_key_profile(const char *name)
{
	return xasprintf("/profile/%s", name);
}

char *
store_key_addresses(const char *first)
{
	return xasprintf("/addresses/%s", first);
}

char *
store_key_ssh_key(const char *login, const char *name)
{
	return xasprintf("/key/%s/%s", login, name);
}

char *
store_key_cert(const char *host)
{
	return xasprintf("/cert/%s", host);
}

char *
store_key_acme(const char *host)
{
	return xasprintf("/acme/%s", host);
}

char *
store_key_challenge(const char *host, const char *token)
{
	return xasprintf("/challenge/%s/%s", host, token);
}

char *
store_key_tickets(void)
{
	return xstrdup("/ticket-keys/all");
}
