#include "router/proxy_head.h"

#include <string.h>
#include <strings.h>

#include "lib/http/http_head.h"
#include "router/origin.h"

enum kind {
	KEEP,
	DROP,
	CONNECTION,
	HOST,
	LENGTH,
	FORWARDED_FOR,
	FORWARDED,
	REQUEST_ID,
	TRACEPARENT,
	TRACESTATE,
	UPGRADE,
	KEEP_ALIVE,
	TE,
};

struct field {
	const char *name;
	uint8_t n;
	uint8_t kind;
};

#define FIELD(name, kind)                                                                          \
	{                                                                                          \
		name, sizeof(name) - 1, kind                                                       \
	}
/* By length; the first of each length is found by first_of. */
static const struct field fields[] = {
	FIELD("te", TE),
	FIELD("host", HOST),
	FIELD("trailer", DROP),
	FIELD("upgrade", UPGRADE),
	FIELD("trailers", DROP),
	FIELD("forwarded", FORWARDED),
	FIELD("connection", CONNECTION),
	FIELD("keep-alive", KEEP_ALIVE),
	FIELD("tracestate", TRACESTATE),
	FIELD("x-client-ip", DROP),
	FIELD("traceparent", TRACEPARENT),
	FIELD("x-request-id", REQUEST_ID),
	FIELD("content-length", LENGTH),
	FIELD("http2-settings", DROP),
	FIELD("x-forwarded-for", FORWARDED_FOR),
	FIELD("x-request-start", DROP),
	FIELD("proxy-connection", DROP),
	FIELD("x-forwarded-host", DROP),
	FIELD("x-forwarded-port", DROP),
	FIELD("transfer-encoding", DROP),
	FIELD("x-forwarded-proto", DROP),
	FIELD("proxy-authenticate", DROP),
	FIELD("proxy-authorization", DROP),
};
enum { NAME_MAX_KNOWN = 19, TRACEPARENT_LEN = 55, TRACE_MAX = 256 };

/* 1 + index of the first field of that length */
static const uint8_t first_of[NAME_MAX_KNOWN + 2] = {
	[2] = 1,
	[4] = 2,
	[7] = 3,
	[8] = 5,
	[9] = 6,
	[10] = 7,
	[11] = 10,
	[12] = 12,
	[14] = 13,
	[15] = 15,
	[16] = 17,
	[17] = 20,
	[18] = 22,
	[19] = 23,
};

static enum kind
known_kind(const char *p, size_t n)
{
	size_t i;

	if (n > NAME_MAX_KNOWN || first_of[n] == 0)
		return KEEP;
	for (i = first_of[n] - 1u; i < sizeof fields / sizeof fields[0] && fields[i].n == n; i++) {
		if ((p[0] | 0x20) == fields[i].name[0] && strncasecmp(p, fields[i].name, n) == 0)
			return fields[i].kind;
	}
	return KEEP;
}

/* X_Forwarded_For and X-Forwarded-For are one variable to CGI and WSGI: a name that only differs so
 * from one that the router answers for is dropped. */
static enum kind
kind_of(struct str name)
{
	char dashed[NAME_MAX_KNOWN];
	enum kind k = known_kind(name.p, name.n);

	if (k != KEEP || name.n > NAME_MAX_KNOWN || memchr(name.p, '_', name.n) == NULL)
		return k;
	for (size_t i = 0; i < name.n; i++)
		dashed[i] = name.p[i] == '_' ? '-' : name.p[i];
	return known_kind(dashed, name.n) == KEEP ? KEEP : DROP;
}

bool
proxy_head_is_own(struct str name)
{
	return kind_of(name) != KEEP;
}

/* --- fields that Connection names --- */

static bool
has_token(struct str list, struct str token)
{
	while (list.n > 0) {
		const char *comma = memchr(list.p, ',', list.n);
		size_t n = comma == NULL ? list.n : (size_t)(comma - list.p);
		struct str t = str_trim((struct str){ list.p, n });

		if (t.n == token.n && strncasecmp(t.p, token.p, t.n) == 0)
			return true;
		n += comma != NULL;
		list.p += n;
		list.n -= n;
	}
	return false;
}

static bool
names_fields(struct str list)
{
	while (list.n > 0) {
		const char *comma = memchr(list.p, ',', list.n);
		size_t n = comma == NULL ? list.n : (size_t)(comma - list.p);
		struct str t = str_trim((struct str){ list.p, n });

		if (t.n != 0 && !str_eq_nocase(t, "close") && !str_eq_nocase(t, "keep-alive") &&
		    !str_eq_nocase(t, "upgrade"))
			return true;
		n += comma != NULL;
		list.p += n;
		list.n -= n;
	}
	return false;
}

/* Whether a Connection field names more than the router handles anyway. */
static bool
connection_names_fields(const struct http_head *h)
{
	for (size_t i = 0; i < h->n; i++) {
		if (h->headers[i].name.n == 10 &&
		    known_kind(h->headers[i].name.p, 10) == CONNECTION &&
		    names_fields(h->headers[i].value))
			return true;
	}
	return false;
}

static bool
is_named(const struct http_head *h, struct str name)
{
	for (size_t i = 0; i < h->n; i++) {
		if (h->headers[i].name.n == 10 &&
		    known_kind(h->headers[i].name.p, 10) == CONNECTION &&
		    has_token(h->headers[i].value, name))
			return true;
	}
	return false;
}

/* --- copying --- */

/* Copies the fields for which keep says so, as runs of the raw bytes. */
typedef bool keep_fn(enum kind k, struct str value, void *arg);

static void
copy_fields(struct buf *out, const char *raw, const struct http_head *h, keep_fn *keep, void *arg)
{
	const char *run = NULL, *end = raw + h->size - 2;
	bool named = connection_names_fields(h);

	for (size_t i = 0; i < h->n; i++) {
		struct str name = h->headers[i].name;
		enum kind k = kind_of(name);

		if (keep(k, h->headers[i].value, arg) &&
		    (!named || k != KEEP || !is_named(h, name))) {
			if (run == NULL)
				run = name.p;
			continue;
		}
		if (run != NULL)
			buf_add(out, run, (size_t)(name.p - run));
		run = NULL;
	}
	if (run != NULL)
		buf_add(out, run, (size_t)(end - run));
}

static void
add_decimal(struct buf *out, int64_t v)
{
	char digits[24], *p = digits + sizeof digits;

	do
		*--p = (char)('0' + v % 10);
	while ((v /= 10) != 0);
	buf_add(out, p, (size_t)(digits + sizeof digits - p));
}

/* As buf_add, of a length that the compiler knows: there are many in each head. */
static inline void
add_literal(struct buf *out, const char *p, size_t n)
{
	if (n >= out->cap - out->n)
		buf_reserve(out, n);
	memcpy(out->p + out->n, p, n);
	out->n += n;
	out->p[out->n] = '\0';
}

#define ADD(out, literal) add_literal(out, literal, sizeof(literal) - 1)

static void
add_framing(struct buf *out, const struct http_head *h)
{
	if (h->framing == HTTP_BODY_CHUNKED) {
		ADD(out, "Transfer-Encoding: chunked\r\n");
	} else if (h->framing == HTTP_BODY_LENGTH) {
		ADD(out, "Content-Length: ");
		add_decimal(out, h->length);
		ADD(out, "\r\n");
	}
}

/* --- requests --- */

struct request_seen {
	bool absolute; /* the target names the host: the Host field is made anew */
	bool forwarded_for, forwarded;
	bool trailers;
	bool is_traced; /* its traceparent is passed on */
	struct str upgrade;
};

static bool
keep_in_request(enum kind k, struct str value, void *arg)
{
	struct request_seen *seen = arg;

	switch (k) {
	case KEEP:
		return true;
	case HOST:
		return !seen->absolute;
	case FORWARDED_FOR:
		seen->forwarded_for = true;
		return false;
	case FORWARDED:
		seen->forwarded = true;
		return false;
	case TE:
		seen->trailers |= has_token(value, STR("trailers"));
		return false;
	case TRACEPARENT:
	case TRACESTATE:
		return seen->is_traced;
	case UPGRADE: /* the first one, as proxy_head_may_upgrade sees it */
		if (seen->upgrade.p == NULL)
			seen->upgrade = value;
		return false;
	default:
		return false;
	}
}

static void
add_request_line(struct buf *out, const struct http_head *h, bool absolute)
{
	struct str target = h->target;

	buf_addstr(out, h->method);
	ADD(out, " ");
	if (absolute) {
		const char *path = h->host.p + h->host.n;

		target = (struct str){ path, (size_t)(h->target.p + h->target.n - path) };
		if (target.n == 0 || *target.p != '/')
			ADD(out, "/");
	}
	buf_addstr(out, target);
	ADD(out, " HTTP/1.1\r\n");
}

/* The values of earlier proxies, in front of ours. */
static void
add_earlier(struct buf *out, const struct http_head *h, enum kind k)
{
	for (size_t i = 0; i < h->n; i++) {
		if (known_kind(h->headers[i].name.p, h->headers[i].name.n) != k ||
		    h->headers[i].value.n == 0)
			continue;
		buf_addstr(out, h->headers[i].value);
		ADD(out, ", ");
	}
}

/* The chain of proxies up to who sent the head. */
static void
add_chain(struct buf *out, const struct http_head *h, const struct proxy_head_facts *f,
    const struct request_seen *seen)
{
	size_t peer_n = strlen(f->peer);
	bool six = memchr(f->peer, ':', peer_n) != NULL;

	ADD(out, "X-Forwarded-For: ");
	if (seen->forwarded_for)
		add_earlier(out, h, FORWARDED_FOR);
	else if (f->origin != NULL)
		origin_add_list(out, h);
	buf_add(out, f->peer, peer_n);
	ADD(out, "\r\nForwarded: ");
	if (seen->forwarded)
		add_earlier(out, h, FORWARDED);
	else if (f->origin != NULL)
		origin_add_forwarded(out, h);
	if (six)
		ADD(out, "for=\"[");
	else
		ADD(out, "for=");
	buf_add(out, f->peer, peer_n);
	if (six)
		ADD(out, "]\"");
	ADD(out, ";host=\"");
	buf_addstr(out, h->host);
	ADD(out, "\";proto=");
	buf_adds(out, f->proto);
}

static void
add_forwarded(struct buf *out, const struct http_head *h, const struct proxy_head_facts *f,
    const struct request_seen *seen)
{
	const struct origin *o = f->origin;
	char client[PEER_TEXT];

	add_chain(out, h, f, seen);
	ADD(out, "\r\nX-Client-IP: ");
	if (o != NULL)
		buf_add(out, client, peer_text(&o->client, client));
	else
		buf_adds(out, f->peer);
	ADD(out, "\r\nX-Forwarded-Proto: ");
	if (o != NULL && o->proto.n != 0)
		buf_addstr(out, o->proto);
	else
		buf_adds(out, f->proto);
	ADD(out, "\r\nX-Forwarded-Host: ");
	buf_addstr(out, o != NULL && o->host.n != 0 ? o->host : h->host);
	ADD(out, "\r\nX-Forwarded-Port: ");
	if (o != NULL && o->port.n != 0)
		buf_addstr(out, o->port);
	else
		buf_adds(out, f->port);
	ADD(out, "\r\nX-Request-Start: t=");
	add_decimal(out, f->start_us);
	ADD(out, "\r\nX-Request-Id: ");
	buf_addstr(out, f->id);
	ADD(out, "\r\n");
}

bool
proxy_head_request(
    struct buf *out, const char *raw, const struct http_head *h, const struct proxy_head_facts *f)
{
	struct request_seen seen = { .absolute = *h->target.p != '/' && *h->target.p != '*',
		.is_traced = proxy_head_is_traced(h) };

	buf_reserve(out, h->size + 512);
	add_request_line(out, h, seen.absolute);
	if (seen.absolute) {
		ADD(out, "Host: ");
		buf_addstr(out, h->host);
		ADD(out, "\r\n");
	}
	copy_fields(out, raw, h, keep_in_request, &seen);
	add_framing(out, h);
	seen.trailers = seen.trailers && is_named(h, STR("te")); /* RFC 9110 10.1.4 */
	if (f->upgrade) {
		ADD(out, "Connection: upgrade\r\nUpgrade: ");
		buf_addstr(out, seen.upgrade);
		ADD(out, "\r\n");
	} else if (seen.trailers) {
		ADD(out, "Connection: TE\r\nTE: trailers\r\n");
	}
	add_forwarded(out, h, f, &seen);
	if (!seen.is_traced)
		buf_addstr(out, f->trace);
	ADD(out, "\r\n");
	return seen.trailers;
}

bool
proxy_head_take_hop(const struct http_head *h)
{
	struct str v = http_head_get(h, "max-forwards");
	bool is_zero = v.n != 0;

	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return true; /* not a number: nobody's */
		is_zero = is_zero && v.p[i] == '0';
	}
	for (size_t i = v.n; i > 0 && !is_zero; i--) {
		char *digit = (char *)v.p + i - 1; /* the input's: it is ours to write */

		if (--*digit >= '0')
			break;
		*digit = '9';
	}
	return !is_zero;
}

bool
proxy_head_may_upgrade(const struct http_head *h)
{
	struct str u = http_head_get(h, "upgrade");

	if (!h->upgrade || u.n == 0 || h->framing == HTTP_BODY_CHUNKED ||
	    (h->framing == HTTP_BODY_LENGTH && h->length != 0))
		return false;
	for (size_t i = 0; i + 2 <= u.n; i++) {
		if (strncasecmp(u.p + i, "h2", 2) == 0)
			return false;
	}
	return u.n < 4 || strncasecmp(u.p, "http", 4) != 0;
}

bool
proxy_head_id_is_valid(struct str id)
{
	if (id.n == 0 || id.n > PROXY_ID_MAX)
		return false;
	for (size_t i = 0; i < id.n; i++) {
		char c = id.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		        c == '-' || c == '_' || c == '.'))
			return false;
	}
	return true;
}

/* n lower-case hexadecimal digits, not all zero. */
static bool
is_hex(const char *p, size_t n, bool may_be_zero)
{
	bool is_zero = true;

	for (size_t i = 0; i < n; i++) {
		if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f')))
			return false;
		is_zero = is_zero && p[i] == '0';
	}
	return may_be_zero || !is_zero;
}

/* VERSION-TRACE-PARENT-FLAGS; a later version may go on behind a further dash. */
static bool
is_traceparent(struct str v)
{
	const char *p = v.p;

	return v.n >= TRACEPARENT_LEN && p[2] == '-' && p[35] == '-' && p[52] == '-' &&
	       is_hex(p, 2, true) && memcmp(p, "ff", 2) != 0 && is_hex(p + 3, 32, false) &&
	       is_hex(p + 36, 16, false) && is_hex(p + 53, 2, true) &&
	       (v.n == TRACEPARENT_LEN ||
	           (memcmp(p, "00", 2) != 0 && p[TRACEPARENT_LEN] == '-' && v.n <= TRACE_MAX));
}

bool
proxy_head_is_traced(const struct http_head *h)
{
	const struct str *found = NULL;

	for (size_t i = 0; i < h->n; i++) {
		struct str name = h->headers[i].name;

		if (name.n != 11 || known_kind(name.p, name.n) != TRACEPARENT)
			continue;
		if (found != NULL)
			return false;
		found = &h->headers[i].value;
	}
	return found != NULL && is_traceparent(*found);
}

/* --- responses --- */

struct response_seen {
	const struct http_head *h;
	bool keep_upgrade;
	bool is_interim;
	bool length; /* one was kept */
};

static bool
keep_in_response(enum kind k, struct str value, void *arg)
{
	struct response_seen *seen = arg;

	(void)value;
	switch (k) {
	case KEEP:
	case HOST:
	case FORWARDED:
	case FORWARDED_FOR:
		return true;
	case TRACEPARENT:
	case TRACESTATE:
		return true;
	case REQUEST_ID:
		return seen->is_interim;
	case UPGRADE:
		return seen->keep_upgrade;
	case LENGTH: /* without a body it tells what GET would give */
		if (seen->h->framing != HTTP_BODY_NONE || seen->h->status == 204 ||
		    seen->h->status < 200 || seen->length)
			return false;
		seen->length = true;
		return true;
	default:
		return false;
	}
}

void
proxy_head_response(
    struct buf *out, const char *raw, const struct http_head *h, const struct proxy_head_answer *a)
{
	struct response_seen seen = { h, a->upgrade || h->status == 426, a->is_interim, false };

	buf_reserve(out, h->size + 256);
	ADD(out, "HTTP/1.1 ");
	add_decimal(out, h->status);
	ADD(out, " ");
	buf_addstr(out, h->reason);
	ADD(out, "\r\n");
	copy_fields(out, raw, h, keep_in_response, &seen);
	if (a->is_interim) {
		ADD(out, "\r\n");
		return;
	}
	if (a->upgrade)
		ADD(out, "Connection: upgrade\r\n");
	else if (a->chunked)
		ADD(out, "Transfer-Encoding: chunked\r\n");
	else if (h->framing == HTTP_BODY_LENGTH)
		add_framing(out, h);
	if (!a->keep && !a->upgrade)
		ADD(out, "Connection: close\r\n");
	else if (a->minor == 0)
		ADD(out, "Connection: keep-alive\r\n");
	ADD(out, "X-Request-Id: ");
	buf_addstr(out, a->id);
	ADD(out, "\r\n\r\n");
}

int64_t
proxy_head_keep_alive_s(const struct http_head *h)
{
	for (size_t i = 0; i < h->n; i++) {
		struct str v = h->headers[i].value;
		int64_t s = 0;
		const char *p;

		if (known_kind(h->headers[i].name.p, h->headers[i].name.n) != KEEP_ALIVE)
			continue;
		p = memmem(v.p, v.n, "timeout=", 8);
		if (p == NULL)
			return -1;
		for (p += 8; p < v.p + v.n && *p >= '0' && *p <= '9' && s < 100000; p++)
			s = s * 10 + (*p - '0');
		return s;
	}
	return -1;
}
