#include "cli/credential.h"

#include <string.h>

#include "cli/api_client.h"
#include "lib/base/mem.h"

enum { LINE_SIZE = 4096 };

/* What git asks for: "KEY=VALUE" lines up to a blank one. Owned. */
struct request {
	char *protocol, *host;
};

static void
request_fini(struct request *r)
{
	free(r->protocol);
	free(r->host);
}

static void
read_request(FILE *in, struct request *r)
{
	char line[LINE_SIZE];

	while (fgets(line, sizeof line, in) != NULL && line[0] != '\n') {
		line[strcspn(line, "\n")] = '\0';
		if (str_has_prefix(line, "protocol="))
			mem_set_str(&r->protocol, line + strlen("protocol="));
		else if (str_has_prefix(line, "host="))
			mem_set_str(&r->host, line + strlen("host="));
	}
}

/* "host:port" as git writes it. Caller owns. */
static char *
authority_of(const struct str_url *u)
{
	bool is_v6 = strchr(u->host, ':') != NULL;
	AUTO(free) char *host = xasprintf("%s%s%s", is_v6 ? "[" : "", u->host, is_v6 ? "]" : "");

	return u->port == 0 ? STEAL(host) : xasprintf("%s:%d", host, u->port);
}

int
credential_answer(const char *operation, FILE *in, FILE *out, struct err *e)
{
	AUTO_FINI(api_login_fini) struct api_login login = { 0 };
	AUTO_FINI(str_url_fini) struct str_url url = { 0 };
	AUTO_FINI(request_fini) struct request r = { 0 };

	if (strcmp(operation, "get") != 0)
		return 0;
	read_request(in, &r);
	if (api_login_load(&login, e) < 0 || str_url_parse(login.url, "url", &url, e) < 0)
		return -1;
	AUTO(free) char *authority = authority_of(&url);
	if (r.host == NULL || strcmp(authority, r.host) != 0 ||
	    (r.protocol != NULL && strcmp(url.scheme, r.protocol) != 0))
		return 0;
	(void)fprintf(out, "username=%s\npassword=%s\n", login.user == NULL ? "token" : login.user,
	    login.token);
	return 0;
}
