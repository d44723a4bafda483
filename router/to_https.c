#include "router/to_https.h"

#include <string.h>

#include "lib/base/mem.h"
#include "router/client_conn.h"
#include "router/head_edit.h"
#include "router/listener.h"
#include "router/proxy.h"
#include "router/proxy_page.h"

#define CHALLENGES "/.well-known/acme-challenge/"
#define USUAL_PORT "443"

const char to_https_why[] = "This address is to be reached by https.";

bool
to_https_came(const struct proxy *x)
{
	return str_eq(head_edit_get(&x->head, 0, "x-forwarded-proto"), "https");
}

bool
to_https_is_challenge(const struct proxy *x)
{
	size_t n = strlen(CHALLENGES);

	return x->target_n > n && memcmp(x->head.p + x->method_n + 1, CHALLENGES, n) == 0;
}

bool
to_https_must(const struct proxy *x)
{
	bool is_there = x->client->is_trusted || x->client->entry->https != NULL;

	return is_there && !x->is_rewritten && !to_https_came(x) && !to_https_is_challenge(x);
}

/* Without its port; *out_has_port: it had one. */
static struct str
host_of(const struct proxy *x, bool *out_has_port)
{
	struct str host = head_edit_get(&x->head, 0, "x-forwarded-host");
	size_t n = host.n;

	while (n > 0 && host.p[n - 1] != ':' && host.p[n - 1] != ']')
		n--;
	*out_has_port = n > 0 && host.p[n - 1] == ':';
	if (*out_has_port)
		host.n = n - 1;
	return host;
}

void
to_https_send(struct proxy *x, int status)
{
	const struct entry *https = x->client->entry->https;
	AUTO_FINI(buf_fini) struct buf to = { 0 };
	bool has_port;

	buf_adds(&to, "https://");
	buf_addstr(&to, host_of(x, &has_port));
	/* Who came by the usual port finds https at its usual one, whatever ports that are here. */
	if (has_port && !x->client->is_trusted && https != NULL &&
	    strcmp(https->port_text, USUAL_PORT) != 0)
		buf_addf(&to, ":%s", https->port_text);
	if (x->head.p[x->method_n + 1] == '/') /* else it is the host as a whole: "*" */
		buf_add(&to, x->head.p + x->method_n + 1, x->target_n);
	buf_addc(&to, '\0');
	proxy_answer(
	    x, (struct proxy_page){ .status = status, .why = to_https_why, .location = to.p });
}
