#include "router/origin.h"

#include <string.h>

#include "lib/http/http_head.h"
#include "router/router_conf.h"

enum { CHAIN_MAX = 32, NODE_MAX = 128 };

/* --- rules --- */

static int
add_networks(struct cidr_list *l, const char *list, const char *field, struct err *e)
{
	for (struct str rest = str_of(list == NULL ? "" : list), word; rest.n > 0;) {
		rest = str_cut(rest, ',', &word);
		word = str_trim(word);
		if (word.n != 0 && cidr_list_add(l, word, e) < 0)
			return err_wrap(e, "%s: %.*s", field, (int)word.n, word.p);
	}
	return 0;
}

int
origin_rules_init(struct origin_rules *r, const struct router_conf *conf, struct err *e)
{
	for (struct str rest = str_of(conf->proxy_protocol == NULL ? "" : conf->proxy_protocol),
	                word;
	     rest.n > 0;) {
		rest = str_cut(rest, ',', &word);
		word = str_trim(word);
		if (!str_eq(word, "http") && !str_eq(word, "https"))
			return err_set(e, ERR_INVALID, "proxy-protocol",
			    "must be http, https or http,https; is \"%s\"", conf->proxy_protocol);
	}
	if (add_networks(&r->trusted, conf->trusted_proxies, "trusted-proxies", e) < 0 ||
	    add_networks(&r->greeters, conf->proxy_protocol_from, "proxy-protocol-from", e) < 0) {
		origin_rules_fini(r);
		return -1;
	}
	return 0;
}

void
origin_rules_fini(struct origin_rules *r)
{
	cidr_list_fini(&r->trusted);
	cidr_list_fini(&r->greeters);
}

bool
origin_greets(const struct router_conf *conf, const char *proto)
{
	for (struct str rest = str_of(conf->proxy_protocol == NULL ? "" : conf->proxy_protocol),
	                word;
	     rest.n > 0;) {
		rest = str_cut(rest, ',', &word);
		if (str_eq(str_trim(word), proto))
			return true;
	}
	return false;
}

bool
origin_must_greet(const struct origin_rules *r, const struct peer *peer)
{
	return r->greeters.n == 0 || cidr_list_has(&r->greeters, peer->address);
}

bool
origin_is_trusted(const struct origin_rules *r, const struct peer *peer)
{
	return r->trusted.n != 0 && cidr_list_has(&r->trusted, peer->address);
}

/* --- lists --- */

/* Up to the next c outside of quotes. */
static struct str
next_part(struct str *rest, char c)
{
	struct str part = { rest->p, 0 };
	bool quoted = false;

	while (part.n < rest->n && (quoted || rest->p[part.n] != c)) {
		if (quoted && rest->p[part.n] == '\\' && part.n + 1 < rest->n)
			part.n++;
		else if (rest->p[part.n] == '"')
			quoted = !quoted;
		part.n++;
	}
	rest->p += part.n;
	rest->n -= part.n;
	if (rest->n != 0) {
		rest->p++;
		rest->n--;
	}
	return str_trim(part);
}

/* Without quotes around it; what has escapes is none of ours. */
static struct str
unquote(struct str v)
{
	if (v.n >= 2 && v.p[0] == '"' && v.p[v.n - 1] == '"')
		return (struct str){ v.p + 1, v.n - 2 };
	return v;
}

/* A parameter of an element of Forwarded; n = 0: it has none. */
static struct str
param(struct str element, const char *name)
{
	while (element.n != 0) {
		struct str pair = next_part(&element, ';'), key, value = str_cut(pair, '=', &key);

		if (str_eq_nocase(key, name))
			return unquote(value);
	}
	return (struct str){ 0 };
}

/* An address, with or without port: 192.0.2.1:80, [2001:db8::1]:80, 2001:db8::1. Not "unknown" nor
 * a hidden name (RFC 7239 6.3). */
static bool
parse_node(struct str node, struct peer *out)
{
	char copy[NODE_MAX];
	const char *colon, *end;

	node = unquote(node);
	*out = (struct peer){ 0 };
	if (node.n > 1 && *node.p == '[') {
		end = memchr(node.p, ']', node.n);
		if (end == NULL)
			return false;
		node = (struct str){ node.p + 1, (size_t)(end - node.p - 1) };
	} else {
		colon = node.n == 0 ? NULL : memchr(node.p, ':', node.n);
		if (colon != NULL &&
		    memchr(colon + 1, ':', (size_t)(node.p + node.n - colon - 1)) == NULL)
			node.n = (size_t)(colon - node.p);
	}
	if (node.n == 0 || node.n >= sizeof copy)
		return false;
	memcpy(copy, node.p, node.n);
	copy[node.n] = '\0';
	return cidr_address(copy, out->address);
}

/* Walks the elements of all fields of a name; zero-initialise. */
struct walk {
	size_t i; /* the field */
	struct str rest;
};

static bool
next_node(const struct http_head *h, const char *field, struct walk *w, struct str *out)
{
	while (w->rest.n == 0) {
		if (w->i == h->n)
			return false;
		if (str_eq_nocase(h->headers[w->i].name, field))
			w->rest = h->headers[w->i].value;
		w->i++;
	}
	*out = next_part(&w->rest, ',');
	return true;
}

static struct str
last_of(const struct http_head *h, const char *field)
{
	struct walk w = { 0 };
	struct str node, last = { 0 };

	while (next_node(h, field, &w, &node))
		last = node;
	return last;
}

/* --- reading --- */

static bool
is_host(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '-' ||
		        c == '.' || c == ':' || c == '[' || c == ']' || c == '_'))
			return false;
	}
	return s.n != 0 && s.n <= 255;
}

static bool
is_port(struct str s)
{
	struct err e = { 0 };
	int64_t v;

	return s.n != 0 && s.n <= 5 && str_to_i64(s, 1, 65535, "port", &v, &e) == 0;
}

static struct str
proto_of(struct str s)
{
	if (str_eq_nocase(s, "https"))
		return str_of("https");
	return str_eq_nocase(s, "http") ? str_of("http") : (struct str){ 0 };
}

static struct peer
find_client(const struct origin_rules *r, const struct peer *hop, const struct http_head *h,
    const char *field, bool is_list)
{
	struct str chain[CHAIN_MAX], node;
	struct walk w = { 0 };
	struct peer client = *hop, next;
	size_t n = 0;

	while (next_node(h, field, &w, &node))
		chain[n++ % CHAIN_MAX] = is_list ? node : param(node, "for");
	for (size_t i = 0; i < n && i < CHAIN_MAX && origin_is_trusted(r, &client); i++) {
		if (!parse_node(chain[(n - 1 - i) % CHAIN_MAX], &next))
			break;
		client = next;
	}
	return client;
}

void
origin_read(const struct origin_rules *r, const struct peer *hop, const struct http_head *h,
    struct origin *out)
{
	struct str last = last_of(h, "forwarded");
	struct str port = last_of(h, "x-forwarded-port"), host = last_of(h, "x-forwarded-host");

	*out = (struct origin){ .client = *hop };
	out->has_list = last_of(h, "x-forwarded-for").n != 0;
	out->has_forwarded = last.n != 0;
	if (out->has_list)
		out->client = find_client(r, hop, h, "x-forwarded-for", true);
	else if (out->has_forwarded)
		out->client = find_client(r, hop, h, "forwarded", false);
	else
		out->client = find_client(r, hop, h, "x-client-ip", true);
	out->proto = proto_of(last_of(h, "x-forwarded-proto"));
	if (out->proto.n == 0)
		out->proto = proto_of(param(last, "proto"));
	out->host = is_host(host) ? host : param(last, "host");
	if (!is_host(out->host))
		out->host = (struct str){ 0 };
	if (is_port(port))
		out->port = port;
	else if (out->proto.n != 0)
		out->port = str_of(out->proto.n == 5 ? "443" : "80");
}

/* --- the field that is not there --- */

void
origin_add_list(struct buf *out, const struct http_head *h)
{
	struct walk w = { 0 };
	struct str node;

	while (next_node(h, "forwarded", &w, &node)) {
		char text[PEER_TEXT];
		struct peer p;

		if (parse_node(param(node, "for"), &p)) {
			buf_add(out, text, peer_text(&p, text));
			buf_adds(out, ", ");
		}
	}
}

void
origin_add_forwarded(struct buf *out, const struct http_head *h)
{
	struct walk w = { 0 };
	struct str node;

	while (next_node(h, "x-forwarded-for", &w, &node)) {
		char text[PEER_TEXT];
		struct peer p;

		if (!parse_node(node, &p)) {
			buf_adds(out, "for=unknown, ");
			continue;
		}
		(void)peer_text(&p, text);
		buf_addf(out, strchr(text, ':') != NULL ? "for=\"[%s]\", " : "for=%s, ", text);
	}
}
