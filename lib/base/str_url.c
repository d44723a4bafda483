#include "lib/base/str.h"

#include "lib/base/mem.h"

/* host[:port] or [v6]:port */
static int
parse_authority(struct str a, const char *field, struct str_url *u, struct err *e)
{
	struct str host, port = { NULL, 0 };
	int64_t n;

	if (a.n > 0 && a.p[0] == '[') {
		struct str rest = str_cut(a, ']', &host);

		host.p++;
		host.n--;
		if (rest.p == NULL || (rest.n > 0 && rest.p[0] != ':'))
			return err_set(e, ERR_INVALID, field, "has a bad IPv6 address");
		if (rest.n > 0)
			port = (struct str){ rest.p + 1, rest.n - 1 };
	} else {
		port = str_cut(a, ':', &host);
	}
	if (host.n == 0 || host.n > 255)
		return err_set(e, ERR_INVALID, field, "needs a host, as in http://host:port/");
	if (port.p != NULL && port.n > 0) {
		if (str_to_i64(port, 1, 65535, field, &n, e) < 0)
			return err_wrap(e, "port");
		u->port = (int)n;
	}
	u->host = xstrndup(host.p, host.n);
	return 0;
}

int
str_url_parse(const char *s, const char *field, struct str_url *out, struct err *e)
{
	AUTO_FINI(str_url_fini) struct str_url u = { 0 };
	const char *at = strstr(s, "://");
	struct str authority, user, rest;

	if (at == NULL || at == s)
		return err_set(e, ERR_INVALID, field, "must be a URL, as in http://host:port/");
	for (const char *p = s; *p != '\0'; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return err_set(
			    e, ERR_INVALID, field, "must have no spaces or control bytes");
	u.scheme = xstrndup(s, (size_t)(at - s));
	str_lower(u.scheme);
	rest.p = at + 3;
	rest.n = strcspn(rest.p, "/?#");
	authority = rest;
	u.path =
	    rest.p[rest.n] == '/' ? xstrdup(rest.p + rest.n) : xasprintf("/%s", rest.p + rest.n);
	struct str host = str_cut(authority, '@', &user);
	if (host.p != NULL) {
		u.user = xstrndup(user.p, user.n);
		authority = host;
	}
	if (parse_authority(authority, field, &u, e) < 0)
		return -1;
	*out = u;
	u = (struct str_url){ 0 };
	return 0;
}

void
str_url_fini(struct str_url *u)
{
	free(u->scheme);
	free(u->user);
	free(u->host);
	free(u->path);
	*u = (struct str_url){ 0 };
}
