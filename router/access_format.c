#include "router/access_format.h"

#include <string.h>
#include <strings.h>
#include <time.h>

enum { PATH_LEN = 512, FIELD_LEN = 256, MICRO = 1000000 };

#define TEXT_TIME "%Y-%m-%dT%H:%M:%S"
#define COMBINED_TIME "%d/%b/%Y:%H:%M:%S +0000"

int
access_format_parse(const char *name, enum access_format *out, struct err *e)
{
	static const char *const names[] = { "text", "json", "combined" };

	for (int i = 0; i < 3; i++) {
		if (strcmp(name, names[i]) == 0) {
			*out = (enum access_format)i;
			return 0;
		}
	}
	return err_set(e, ERR_INVALID, "access-log-format", "must be text, json or combined");
}

/* --- pieces --- */

static void
add(struct access_format_text *l, const char *p, size_t n)
{
	size_t room = sizeof l->p - 1 - l->n; /* one byte stays for the line's end */

	if (n > room)
		n = room;
	memcpy(l->p + l->n, p, n);
	l->n += n;
}

#define ADD(l, literal) add(l, literal, sizeof(literal) - 1)

static void
add_number(struct access_format_text *l, int64_t v)
{
	char digits[24], *p = digits + sizeof digits;
	uint64_t u = v < 0 ? 0 : (uint64_t)v;

	do
		*--p = (char)('0' + u % 10);
	while ((u /= 10) != 0);
	add(l, p, (size_t)(digits + sizeof digits - p));
}

static bool
is_plain(char c, char low)
{
	return (unsigned char)c >= (unsigned char)low && (unsigned char)c < 0x7f && c != '"' &&
	       c != '\\';
}

/* Text from outside: what could end a field or a line is written as a number. low: the first byte
 * that is none of those. */
static void
add_escaped(struct access_format_text *l, struct str s, size_t max, const char *escape, char low)
{
	static const char hex[] = "0123456789abcdef";
	size_t run = 0, n = s.n < max ? s.n : max;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (is_plain(s.p[i], low)) {
			run++;
			continue;
		}
		add(l, s.p + i - run, run);
		run = 0;
		add(l, escape, strlen(escape));
		add(l, (char[]){ hex[c >> 4], hex[c & 15] }, 2);
	}
	add(l, s.p + n - run, run);
	if (s.n > max)
		ADD(l, "...");
}

static void
add_text(struct access_format_text *l, struct str s, size_t max)
{
	if (s.n == 0)
		ADD(l, "-");
	else
		add_escaped(l, s, max, "\\x", '!');
}

static const char *
second_text(struct access_format_time *t, int64_t unix_us, const char *format)
{
	int64_t second = unix_us / MICRO;
	time_t at = (time_t)second;
	struct tm tm;

	if (second == t->second)
		return t->text;
	gmtime_r(&at, &tm);
	(void)strftime(t->text, sizeof t->text, format, &tm);
	t->second = second;
	return t->text;
}

static void
add_time(struct access_format_text *l, struct access_format_time *t, int64_t unix_us)
{
	const char *text = second_text(t, unix_us, TEXT_TIME);
	int micro = (int)(unix_us % MICRO);
	char fraction[8] = ".";

	add(l, text, strlen(text));
	for (int i = 6; i > 0; i--, micro /= 10)
		fraction[i] = (char)('0' + micro % 10);
	add(l, fraction, 7);
	ADD(l, "Z");
}

/* The value of a field of the request, empty if there is none. */
static struct str
field_of(struct str head, struct str name)
{
	const char *p, *end;

	if (head.n == 0)
		return (struct str){ "", 0 };
	end = head.p + head.n;
	p = memchr(head.p, '\n', head.n);
	while (p != NULL && (size_t)(end - ++p) > name.n) {
		const char *next = memchr(p, '\n', (size_t)(end - p));

		if (next != NULL && p[name.n] == ':' && strncasecmp(p, name.p, name.n) == 0) {
			p += name.n + 1;
			next -= next > p && next[-1] == '\r';
			return str_trim((struct str){ p, (size_t)(next - p) });
		}
		p = next;
	}
	return (struct str){ "", 0 };
}

/* --- key=value --- */

#define ADD_UNLESS_ZERO(l, name, v)                                                                \
	do {                                                                                       \
		if ((v) != 0) {                                                                    \
			ADD(l, name);                                                              \
			add_number(l, v);                                                          \
		}                                                                                  \
	} while (0)

static void
add_line(struct access_format_text *l, struct access_format_time *t, const struct access_line *a)
{
	add_time(l, t, a->unix_us);
	ADD(l, " peer=");
	add_text(l, a->peer, 64);
	ADD(l, " host=");
	add_text(l, a->host, 255);
	ADD(l, " method=");
	add_text(l, a->method, 32);
	ADD(l, " path=");
	add_text(l, a->path, PATH_LEN);
	ADD(l, " status=");
	add_number(l, a->status);
	ADD(l, " bytes=");
	add_number(l, a->bytes);
	ADD_UNLESS_ZERO(l, " in=", a->bytes_in);
	ADD(l, " us=");
	add_number(l, a->took_us);
	ADD(l, " router_us=");
	add_number(l, a->router_us);
	ADD_UNLESS_ZERO(l, " tls_us=", a->tls_us);
	ADD_UNLESS_ZERO(l, " queue_us=", a->queue_us);
	ADD_UNLESS_ZERO(l, " connect_us=", a->connect_us);
	ADD_UNLESS_ZERO(l, " retry_us=", a->retry_us);
	ADD(l, " app_us=");
	add_number(l, a->app_us);
	ADD_UNLESS_ZERO(l, " tries=", a->tries);
	ADD(l, " app=");
	add_text(l, a->app, 64);
	ADD(l, " instance=");
	add_text(l, a->instance, 80);
	ADD(l, " id=");
	add_text(l, a->id, 128);
	if (a->reason.n != 0) { /* our own words */
		ADD(l, " reason=\"");
		add(l, a->reason.p, a->reason.n);
		ADD(l, "\"");
	}
}

/* --- JSON --- */

static void
add_member(struct access_format_text *l, struct str name, struct str value, size_t max)
{
	if (value.n == 0)
		return;
	ADD(l, ",\"");
	add(l, name.p, name.n);
	ADD(l, "\":\"");
	add_escaped(l, value, max, "\\u00", ' ');
	ADD(l, "\"");
}

static void
add_json(struct access_format_text *l, struct access_format_time *t, const struct access_line *a)
{
	const struct {
		struct str name;
		int64_t v;
	} numbers[] = {
		{ STR("status"), a->status },
		{ STR("bytes"), a->bytes },
		{ STR("bytes_in"), a->bytes_in },
		{ STR("us"), a->took_us },
		{ STR("router_us"), a->router_us },
		{ STR("tls_us"), a->tls_us },
		{ STR("queue_us"), a->queue_us },
		{ STR("connect_us"), a->connect_us },
		{ STR("retry_us"), a->retry_us },
		{ STR("app_us"), a->app_us },
		{ STR("tries"), a->tries },
	};

	ADD(l, "{\"time\":\"");
	add_time(l, t, a->unix_us);
	ADD(l, "\"");
	add_member(l, STR("peer"), a->peer, 64);
	add_member(l, STR("proto"), str_of(a->proto), 8);
	add_member(l, STR("version"), str_of(a->version), 8);
	add_member(l, STR("host"), a->host, 255);
	add_member(l, STR("method"), a->method, 32);
	add_member(l, STR("path"), a->path, PATH_LEN);
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		ADD(l, ",\"");
		add(l, numbers[i].name.p, numbers[i].name.n);
		ADD(l, "\":");
		add_number(l, numbers[i].v);
	}
	add_member(l, STR("app"), a->app, 64);
	add_member(l, STR("instance"), a->instance, 80);
	add_member(l, STR("id"), a->id, 128);
	add_member(l, STR("traceparent"), field_of(a->head, STR("traceparent")), 64);
	add_member(l, STR("referer"), field_of(a->head, STR("referer")), FIELD_LEN);
	add_member(l, STR("user_agent"), field_of(a->head, STR("user-agent")), FIELD_LEN);
	add_member(l, STR("reason"), a->reason, FIELD_LEN);
	ADD(l, "}");
}

/* --- combined --- */

static void
add_quoted(struct access_format_text *l, struct str s)
{
	ADD(l, " \"");
	if (s.n == 0)
		ADD(l, "-");
	else
		add_escaped(l, s, FIELD_LEN, "\\x", ' ');
	ADD(l, "\"");
}

static void
add_combined(
    struct access_format_text *l, struct access_format_time *t, const struct access_line *a)
{
	const char *time = second_text(t, a->unix_us, COMBINED_TIME);

	add_text(l, a->peer, 64);
	ADD(l, " - - [");
	add(l, time, strlen(time));
	ADD(l, "] \"");
	add_text(l, a->method, 32);
	ADD(l, " ");
	add_text(l, a->path, PATH_LEN);
	ADD(l, " HTTP/");
	add(l, a->version, strlen(a->version));
	ADD(l, "\" ");
	add_number(l, a->status);
	ADD(l, " ");
	add_number(l, a->bytes);
	add_quoted(l, field_of(a->head, STR("referer")));
	add_quoted(l, field_of(a->head, STR("user-agent")));
}

void
access_format_line(struct access_format_text *out, enum access_format f,
    struct access_format_time *t, const struct access_line *a)
{
	out->n = 0;
	if (f == ACCESS_FORMAT_JSON)
		add_json(out, t, a);
	else if (f == ACCESS_FORMAT_COMBINED)
		add_combined(out, t, a);
	else
		add_line(out, t, a);
	out->p[out->n++] = '\n';
}
