#include "lib/http/http_head.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* What a byte may be part of. */
enum {
	IN_TOKEN = 1,   /* method and field names: tchar */
	IN_TARGET = 2,  /* visible ASCII but '#' */
	IN_NAME = 4,    /* of a host: no brackets, no colon */
	IN_ADDRESS = 8, /* of a host: what stands in brackets */
};

#define ROW(from, to, bits) [(from)...(to)] = (bits)
static const uint8_t byte_class[256] = {
	ROW('0', '9', IN_TOKEN | IN_TARGET | IN_NAME | IN_ADDRESS),
	ROW('A', 'Z', IN_TOKEN | IN_TARGET | IN_NAME | IN_ADDRESS),
	ROW('a', 'z', IN_TOKEN | IN_TARGET | IN_NAME | IN_ADDRESS),
	['-'] = IN_TOKEN | IN_TARGET | IN_NAME,
	['.'] = IN_TOKEN | IN_TARGET | IN_NAME | IN_ADDRESS,
	['_'] = IN_TOKEN | IN_TARGET | IN_NAME,
	['~'] = IN_TOKEN | IN_TARGET | IN_NAME,
	['%'] = IN_TOKEN | IN_TARGET | IN_NAME | IN_ADDRESS,
	['!'] = IN_TOKEN | IN_TARGET,
	['$'] = IN_TOKEN | IN_TARGET,
	['&'] = IN_TOKEN | IN_TARGET,
	['\''] = IN_TOKEN | IN_TARGET,
	['*'] = IN_TOKEN | IN_TARGET,
	['+'] = IN_TOKEN | IN_TARGET,
	['^'] = IN_TOKEN | IN_TARGET,
	['`'] = IN_TOKEN | IN_TARGET,
	['|'] = IN_TOKEN | IN_TARGET,
	['#'] = IN_TOKEN,
	[':'] = IN_TARGET | IN_ADDRESS,
	['['] = IN_TARGET,
	[']'] = IN_TARGET,
	['"'] = IN_TARGET,
	['('] = IN_TARGET,
	[')'] = IN_TARGET,
	[','] = IN_TARGET,
	['/'] = IN_TARGET,
	[';'] = IN_TARGET,
	['<'] = IN_TARGET,
	['='] = IN_TARGET,
	['>'] = IN_TARGET,
	['?'] = IN_TARGET,
	['@'] = IN_TARGET,
	['\\'] = IN_TARGET,
	['{'] = IN_TARGET,
	['}'] = IN_TARGET,
};

/* What the fields that decide about framing said, until the head is whole. */
struct framing_facts {
	bool has_length, has_coding, coding_is_unknown;
	bool says_close, says_keep_alive, says_upgrade, has_upgrade;
	int hosts;
};

static enum http_head_result
bad(struct http_head *h, const char *why)
{
	h->why = why;
	return HTTP_HEAD_BAD;
}

/* false, for the checks that give one. */
static bool
refuse(struct http_head *h, const char *why)
{
	h->why = why;
	return false;
}

static const char *
skip_class(const char *p, const char *end, int bits)
{
	for (; end - p >= 4; p += 4) {
		if ((byte_class[(uint8_t)p[0]] & bits) == 0)
			return p;
		if ((byte_class[(uint8_t)p[1]] & bits) == 0)
			return p + 1;
		if ((byte_class[(uint8_t)p[2]] & bits) == 0)
			return p + 2;
		if ((byte_class[(uint8_t)p[3]] & bits) == 0)
			return p + 3;
	}
	while (p < end && (byte_class[(uint8_t)*p] & bits) != 0)
		p++;
	return p;
}

/* The first control character (tab included, DEL too), eight bytes at a time. */
static const char *
skip_text(const char *p, const char *end)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;

	while (end - p >= 8) {
		uint64_t w, hit;

		memcpy(&w, p, 8);
		w = le64toh(w);
		/* Bytes below 0x80 that borrow when 0x20 is taken off, or 1 of what differs from
		 * DEL. */
		hit = ((w - ones * 0x20) | ((w ^ ones * 0x7f) - ones)) & ~w & high;
		if (hit != 0)
			return p + __builtin_ctzll(hit) / 8;
		p += 8;
	}
	while (p < end && (uint8_t)*p >= 0x20 && *p != 0x7f)
		p++;
	return p;
}

/* Moves *pp behind the CRLF that ends a line of text at *pp; *out is the text. */
static enum http_head_result
take_text_line(const char **pp, const char *end, struct http_head *h, struct str *out)
{
	const char *p = *pp;

	for (;;) {
		p = skip_text(p, end);
		if (p == end)
			return HTTP_HEAD_MORE;
		if (*p != '\t')
			break;
		p++;
	}
	if (*p == '\n')
		return bad(h, "A line ends in a bare LF: end lines in CR LF.");
	if (*p != '\r')
		return bad(h, "A control character stands in a field's value.");
	if (end - p < 2)
		return HTTP_HEAD_MORE;
	if (p[1] != '\n')
		return bad(h, "A CR stands alone: end lines in CR LF.");
	*out = (struct str){ *pp, (size_t)(p - *pp) };
	*pp = p + 2;
	return HTTP_HEAD_OK;
}

/* name: lower case, of exactly s.n bytes, letters and '-' only. */
static bool
name_is(struct str s, const char *name)
{
	for (size_t i = 0; i < s.n; i++)
		if ((s.p[i] | 0x20) != name[i])
			return false;
	return true;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The next element of a comma list, trimmed; false at its end. Empty ones are left out. */
static bool
next_element(struct str *list, struct str *out)
{
	while (list->n > 0) {
		const char *comma = memchr(list->p, ',', list->n);
		size_t n = comma == NULL ? list->n : (size_t)(comma - list->p);
		struct str e = { list->p, n };

		n += comma != NULL;
		list->p += n;
		list->n -= n;
		while (e.n > 0 && is_blank(e.p[0]))
			e.p++, e.n--;
		while (e.n > 0 && is_blank(e.p[e.n - 1]))
			e.n--;
		if (e.n > 0) {
			*out = e;
			return true;
		}
	}
	return false;
}

static bool
is_word(struct str s, const char *word, size_t n)
{
	return s.n == n && strncasecmp(s.p, word, n) == 0;
}

static void
see_connection(struct framing_facts *f, struct str value)
{
	struct str e;

	while (next_element(&value, &e)) {
		if (is_word(e, "close", 5))
			f->says_close = true;
		else if (is_word(e, "keep-alive", 10))
			f->says_keep_alive = true;
		else if (is_word(e, "upgrade", 7))
			f->says_upgrade = true;
	}
}

static bool
see_length(struct http_head *h, struct framing_facts *f, struct str value)
{
	int64_t v = 0;

	if (f->has_length)
		return refuse(h, "Content-Length is given more than once.");
	if (value.n == 0)
		return refuse(h, "Content-Length is empty.");
	for (size_t i = 0; i < value.n; i++) {
		int d = value.p[i] - '0';

		if (d < 0 || d > 9)
			return refuse(h, "Content-Length is not one decimal number.");
		if (v > (INT64_MAX - d) / 10)
			return refuse(h, "Content-Length is too large.");
		v = v * 10 + d;
	}
	f->has_length = true;
	h->length = v;
	return true;
}

/* "chunked" is decoded here; codings before it are unsupported, all else is refused, for another
 * program behind us may read it in another way. */
static bool
see_coding(struct http_head *h, struct framing_facts *f, struct str value)
{
	struct str e = { 0 };
	bool is_first_chunked = false;

	if (f->has_coding)
		return refuse(h, "Transfer-Encoding is given more than once.");
	f->has_coding = true;
	if (is_word(value, "chunked", 7))
		return true;
	f->coding_is_unknown = true;
	for (size_t n = 0; next_element(&value, &e); n++)
		is_first_chunked = is_first_chunked || (n == 0 && is_word(e, "chunked", 7));
	if (!is_word(e, "chunked", 7) || is_first_chunked)
		return refuse(h, "Transfer-Encoding does not end in chunked, once.");
	return true;
}

/* host[:port], as in a Host field; empty is allowed. */
static bool
host_is_valid(struct str s)
{
	const char *end = s.p + s.n, *p = s.p;

	if (s.n > 0 && *p == '[') {
		p = skip_class(p + 1, end, IN_ADDRESS);
		if (p == end || *p != ']' || p == s.p + 1)
			return false;
		p++;
	} else {
		p = skip_class(p, end, IN_NAME);
	}
	if (p < end && *p++ != ':')
		return false;
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p == end;
}

static bool
see_host(struct http_head *h, struct framing_facts *f, struct str value)
{
	if (f->hosts++ > 0)
		return refuse(h, "Host is given more than once.");
	if (!host_is_valid(value))
		return refuse(h, "Host is not a name or an address, with or without a port.");
	if (h->host.p == NULL)
		h->host = value;
	return true;
}

/* Notes what a field means for framing. false: the message is refused. */
static bool
see_field(struct http_head *h, struct framing_facts *f, struct str name, struct str value)
{
	switch (name.n) {
	case 4:
		return !name_is(name, "host") || see_host(h, f, value);
	case 6:
		if (name_is(name, "expect") && is_word(value, "100-continue", 12))
			h->expect_continue = true;
		return true;
	case 7:
		if (name_is(name, "upgrade") && value.n > 0)
			f->has_upgrade = true;
		return true;
	case 10:
		if (name_is(name, "connection"))
			see_connection(f, value);
		return true;
	case 14:
		return !name_is(name, "content-length") || see_length(h, f, value);
	case 17:
		return !name_is(name, "transfer-encoding") || see_coding(h, f, value);
	default:
		return true;
	}
}

/* at: the byte where a name ends that no colon follows. */
static const char *
why_no_name(struct str name, char at)
{
	if (at == '\n')
		return "A line ends in a bare LF: end lines in CR LF.";
	if (is_blank(at))
		return name.n == 0 ? "A line begins with a blank: fields may not be folded."
		                   : "A blank stands in a field's name or before its colon.";
	if (name.n == 0 && at == ':')
		return "A field has no name.";
	return at == '\r' ? "A field has no colon."
	                  : "A field's name has a character that none may have.";
}

static enum http_head_result
take_field(const char **pp, const char *end, struct http_head *h, struct framing_facts *f)
{
	const char *p = skip_class(*pp, end, IN_TOKEN);
	struct str name = { *pp, (size_t)(p - *pp) }, value;
	enum http_head_result r;

	if (p == end)
		return HTTP_HEAD_MORE;
	if (*p != ':' || name.n == 0)
		return bad(h, why_no_name(name, *p));
	p++;
	while (p < end && is_blank(*p))
		p++;
	r = take_text_line(&p, end, h, &value);
	if (r != HTTP_HEAD_OK)
		return r;
	while (value.n > 0 && is_blank(value.p[value.n - 1]))
		value.n--;
	if (h->n == HTTP_HEADERS_MAX) {
		h->why = "The head has more than 100 fields.";
		return HTTP_HEAD_LARGE;
	}
	h->headers[h->n++] = (struct http_header){ name, value };
	if (!see_field(h, f, name, value))
		return HTTP_HEAD_BAD;
	*pp = p;
	return HTTP_HEAD_OK;
}

/* All fields and the blank line. */
static enum http_head_result
take_fields(const char **pp, const char *end, struct http_head *h, struct framing_facts *f)
{
	for (;;) {
		enum http_head_result r;

		if (*pp < end && **pp == '\r') {
			if (end - *pp < 2)
				return HTTP_HEAD_MORE;
			if ((*pp)[1] != '\n')
				return bad(h, "A CR stands alone: end lines in CR LF.");
			*pp += 2;
			return HTTP_HEAD_OK;
		}
		r = take_field(pp, end, h, f);
		if (r != HTTP_HEAD_OK)
			return r;
	}
}

/* "HTTP/1.x" at p, of 8 bytes. */
static enum http_head_result
read_version(const char *p, struct http_head *h)
{
	static const char malformed[] = "The version is not of the form HTTP/1.1.";

	if (memcmp(p, "HTTP/", 5) != 0 || p[6] != '.')
		return bad(h, malformed);
	if (p[5] < '0' || p[5] > '9' || p[7] < '0' || p[7] > '9')
		return bad(h, malformed);
	if (p[5] != '1') {
		h->why = "The version is neither HTTP/1.1 nor HTTP/1.0.";
		return HTTP_HEAD_UNSUPPORTED;
	}
	h->minor = p[7] == '0' ? 0 : 1;
	return HTTP_HEAD_OK;
}

/* absolute-form: its authority is the host. */
static bool
see_absolute(struct http_head *h)
{
	const char *p = h->target.p, *end = p + h->target.n, *host;

	if (h->target.n > 7 && strncasecmp(p, "http://", 7) == 0)
		host = p + 7;
	else if (h->target.n > 8 && strncasecmp(p, "https://", 8) == 0)
		host = p + 8;
	else
		return refuse(h, "The target begins neither with / nor with http:// or https://.");
	p = host;
	while (p < end && *p != '/' && *p != '?')
		p++;
	h->host = (struct str){ host, (size_t)(p - host) };
	if (memchr(h->host.p, '@', h->host.n) != NULL)
		return refuse(h, "The target names a user: http://HOST/PATH has none.");
	return (h->host.n > 0 && host_is_valid(h->host)) ||
	       refuse(h, "The target's host is not a name or an address, with or without a port.");
}

static bool
target_is_valid(struct http_head *h)
{
	if (str_eq(h->method, "CONNECT")) {
		h->host = h->target;
		return (host_is_valid(h->target) &&
		           memchr(h->target.p, ':', h->target.n) != NULL) ||
		       refuse(h, "The target of CONNECT is not HOST:PORT.");
	}
	if (h->target.p[0] == '/')
		return true;
	if (h->target.n == 1 && h->target.p[0] == '*')
		return str_eq(h->method, "OPTIONS") ||
		       refuse(h, "The target * is for OPTIONS alone.");
	return see_absolute(h);
}

/* at: the byte where a target ends that no space follows. */
static const char *
why_no_target(bool is_empty, char at)
{
	if (at == '#')
		return "The target has a fragment: what stands behind # is the client's alone.";
	if (at == '\r' || at == '\n')
		return "The request line has no version: end it in HTTP/1.1.";
	return is_empty ? "The request line has no target behind one space."
	                : "The target has a character that must be percent-encoded.";
}

static enum http_head_result
take_request_line(const char **pp, const char *end, struct http_head *h)
{
	const char *p = *pp, *q;
	enum http_head_result r;

	q = skip_class(p, end, IN_TOKEN);
	h->method = (struct str){ p, (size_t)(q - p) };
	if (q == end)
		return HTTP_HEAD_MORE;
	if (*q != ' ' || q == p)
		return bad(h, "The request does not begin with a method and one space.");
	p = q + 1;
	q = skip_class(p, end, IN_TARGET);
	h->target = (struct str){ p, (size_t)(q - p) };
	if (q == end)
		return HTTP_HEAD_MORE;
	if (*q != ' ' || q == p)
		return bad(h, why_no_target(q == p, *q));
	p = q + 1;
	if (end - p < 10) /* "HTTP/1.1\r\n" */
		return memchr(p, '\n', (size_t)(end - p)) == NULL
		           ? HTTP_HEAD_MORE
		           : bad(h, "The request line does not end in HTTP/1.1 and CR LF.");
	r = read_version(p, h);
	if (r != HTTP_HEAD_OK)
		return r;
	if (p[8] != '\r' || p[9] != '\n')
		return bad(h, "The request line does not end in HTTP/1.1 and CR LF.");
	*pp = p + 10;
	return target_is_valid(h) ? HTTP_HEAD_OK : HTTP_HEAD_BAD;
}

/* Whether the bytes since from can have ended the head, or made it wrong: only then is it worth
 * parsing again. */
static bool
may_have_ended(const char *p, size_t n, size_t from)
{
	size_t i = from > 2 ? from - 2 : 0;
	const char *lf;

	while (i < n && (lf = memchr(p + i, '\n', n - i)) != NULL) {
		i = (size_t)(lf - p);
		if (i == 0 || lf[-1] != '\r')
			return true;
		if (i + 1 < n && lf[1] == '\n')
			return true;
		if (i + 2 < n && lf[1] == '\r' && lf[2] == '\n')
			return true;
		i++;
	}
	return false;
}

static void
reset(struct http_head *h)
{
	size_t fields = offsetof(struct http_head, headers);
	size_t rest = offsetof(struct http_head, n);

	memset(h, 0, fields);
	memset((char *)h + rest, 0, sizeof *h - rest);
}

/* The checks on framing that requests and responses share. */
static enum http_head_result
settle_framing(struct http_head *h, const struct framing_facts *f)
{
	h->keep_alive = !f->says_close && (h->minor == 1 || f->says_keep_alive);
	h->upgrade = f->says_upgrade && f->has_upgrade && h->minor == 1;
	if (f->has_coding) {
		if (f->has_length)
			return bad(h, "Content-Length and Transfer-Encoding are both given.");
		if (h->minor == 0)
			return bad(h, "HTTP/1.0 has no Transfer-Encoding.");
		if (f->coding_is_unknown) {
			h->why = "Transfer-Encoding has another coding than chunked.";
			return HTTP_HEAD_UNSUPPORTED;
		}
		h->framing = HTTP_BODY_CHUNKED;
	} else if (f->has_length) {
		h->framing = HTTP_BODY_LENGTH;
	}
	return HTTP_HEAD_OK;
}

enum http_head_result
http_head_request(const char *p, size_t n, size_t from, struct http_head *out)
{
	const char *start = p, *end = p + n;
	struct framing_facts f = { 0 };
	enum http_head_result r;

	if (from > 0 && !may_have_ended(p, n, from))
		return HTTP_HEAD_MORE;
	reset(out);
	if (p < end && *p == '\r') { /* one blank line before a request is forgiven */
		if (n < 2)
			return HTTP_HEAD_MORE;
		if (p[1] != '\n')
			return bad(out, "A CR stands alone: end lines in CR LF.");
		p += 2;
	}
	r = take_request_line(&p, end, out);
	if (r != HTTP_HEAD_OK)
		return r;
	r = take_fields(&p, end, out, &f);
	if (r != HTTP_HEAD_OK)
		return r;
	out->size = (size_t)(p - start);
	if (f.hosts == 0 && out->minor == 1)
		return bad(out, "Host is missing: HTTP/1.1 needs it.");
	out->expect_continue = out->expect_continue && out->minor == 1;
	return settle_framing(out, &f);
}

static enum http_head_result
take_status_line(const char **pp, const char *end, struct http_head *h)
{
	const char *p = *pp;
	enum http_head_result r;

	if (end - p < 13) { /* "HTTP/1.1 200\r" */
		size_t n = (size_t)(end - p);

		if (memcmp(p, "HTTP/", n < 5 ? n : 5) != 0 || memchr(p, '\n', n) != NULL)
			return bad(h, "The status line is not of the form HTTP/1.1 200 OK.");
		return HTTP_HEAD_MORE;
	}
	r = read_version(p, h);
	if (r != HTTP_HEAD_OK)
		return r;
	if (p[8] != ' ' || p[9] < '1' || p[9] > '9')
		return bad(h, "The status line is not of the form HTTP/1.1 200 OK.");
	for (int i = 9; i < 12; i++) {
		if (p[i] < '0' || p[i] > '9')
			return bad(h, "The status line is not of the form HTTP/1.1 200 OK.");
		h->status = h->status * 10 + (p[i] - '0');
	}
	p += 12;
	if (*p != ' ' && *p != '\r')
		return bad(h, "The status line is not of the form HTTP/1.1 200 OK.");
	p += *p == ' ';
	*pp = p;
	return take_text_line(pp, end, h, &h->reason);
}

enum http_head_result
http_head_response(
    const char *p, size_t n, size_t from, struct str request_method, struct http_head *out)
{
	const char *start = p, *end = p + n;
	struct framing_facts f = { 0 };
	enum http_head_result r;

	if (from > 0 && !may_have_ended(p, n, from))
		return HTTP_HEAD_MORE;
	reset(out);
	r = take_status_line(&p, end, out);
	if (r != HTTP_HEAD_OK)
		return r;
	r = take_fields(&p, end, out, &f);
	if (r != HTTP_HEAD_OK)
		return r;
	out->size = (size_t)(p - start);
	out->host = (struct str){ 0 };
	out->expect_continue = false;
	r = settle_framing(out, &f);
	if (r != HTTP_HEAD_OK)
		return r;
	if (out->status < 200 || out->status == 204 || out->status == 304 ||
	    str_eq(request_method, "HEAD") ||
	    (out->status < 300 && str_eq(request_method, "CONNECT"))) {
		out->framing = HTTP_BODY_NONE;
	} else if (out->framing == HTTP_BODY_NONE) {
		out->framing = HTTP_BODY_UNTIL_CLOSE;
		out->keep_alive = false;
	}
	return HTTP_HEAD_OK;
}

struct str
http_head_get(const struct http_head *h, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < h->n; i++)
		if (is_word(h->headers[i].name, name, n))
			return h->headers[i].value;
	return (struct str){ 0 };
}

const char *
http_reason(int status)
{
	static const char *const reasons[600] = {
		[100] = "Continue",
		[101] = "Switching Protocols",
		[200] = "OK",
		[201] = "Created",
		[202] = "Accepted",
		[204] = "No Content",
		[206] = "Partial Content",
		[301] = "Moved Permanently",
		[302] = "Found",
		[303] = "See Other",
		[304] = "Not Modified",
		[307] = "Temporary Redirect",
		[308] = "Permanent Redirect",
		[400] = "Bad Request",
		[401] = "Unauthorized",
		[403] = "Forbidden",
		[404] = "Not Found",
		[405] = "Method Not Allowed",
		[406] = "Not Acceptable",
		[408] = "Request Timeout",
		[409] = "Conflict",
		[410] = "Gone",
		[411] = "Length Required",
		[412] = "Precondition Failed",
		[413] = "Content Too Large",
		[414] = "URI Too Long",
		[415] = "Unsupported Media Type",
		[416] = "Range Not Satisfiable",
		[417] = "Expectation Failed",
		[421] = "Misdirected Request",
		[422] = "Unprocessable Content",
		[426] = "Upgrade Required",
		[429] = "Too Many Requests",
		[431] = "Request Header Fields Too Large",
		[500] = "Internal Server Error",
		[501] = "Not Implemented",
		[502] = "Bad Gateway",
		[503] = "Service Unavailable",
		[504] = "Gateway Timeout",
		[505] = "HTTP Version Not Supported",
		[507] = "Insufficient Storage",
	};

	if (status < 0 || status >= (int)(sizeof reasons / sizeof reasons[0]))
		return "Unknown";
	return reasons[status] == NULL ? "Unknown" : reasons[status];
}
