#include "router/proxy_page.h"

#include <string.h>
#include <time.h>

#include "lib/base/mem.h"
#include "lib/http/http_head.h"

static void
add_html(struct buf *b, const struct proxy_page *p)
{
	const char *reason = http_reason(p->status);

	buf_addf(b,
	    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
	    "<meta name=\"viewport\" content=\"width=device-width\">"
	    "<title>%d %s</title><style>"
	    "body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em;"
	    "color:#222;background:#fff}h1{font-size:1.4em}code{color:#666;font-size:.85em}"
	    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}}"
	    "</style></head>\n<body><h1>%d %s</h1><p>%s</p>"
	    "<p><code>Request %.*s</code></p></body></html>\n",
	    p->status, reason, p->status, reason, p->why, (int)p->id.n, p->id.p);
}

static void
add_own(struct buf *b, const struct proxy_page *p)
{
	for (const char *at = p->html; *at != '\0';) {
		size_t n = strcspn(at, "{");

		buf_add(b, at, n);
		at += n;
		if (str_has_prefix(at, "{request_id}")) {
			buf_addstr(b, p->id);
			at += strlen("{request_id}");
		} else if (str_has_prefix(at, "{status}")) {
			buf_addf(b, "%d", p->status);
			at += strlen("{status}");
		} else if (*at != '\0') {
			buf_addc(b, *at++);
		}
	}
}

static void
add_json(struct buf *b, const struct proxy_page *p)
{
	buf_addf(b, "{\"status\":%d,\"error\":", p->status);
	buf_add_json_str(b, p->why);
	buf_adds(b, ",\"request_id\":");
	buf_add_json_strn(b, p->id.p, p->id.n);
	buf_adds(b, "}\n");
}

static void
add_date(struct buf *b)
{
	char text[64];
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	if (strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm) != 0)
		buf_adds(b, text);
}

size_t
proxy_page_add(struct buf *out, const struct proxy_page *p)
{
	AUTO_FINI(buf_fini) struct buf body = { 0 };

	if (p->text != NULL)
		buf_adds(&body, p->text);
	else if (p->wants_json)
		add_json(&body, p);
	else if (p->html != NULL)
		add_own(&body, p);
	else
		add_html(&body, p);
	buf_addf(out,
	    "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: "
	    "no-store\r\n",
	    p->status, http_reason(p->status),
	    p->text != NULL ? "text/plain"
	    : p->wants_json ? "application/json"
	                    : "text/html; charset=utf-8",
	    body.n);
	add_date(out);
	if (p->location != NULL)
		buf_addf(out, "Location: %s\r\n", p->location);
	if (p->retry_after_s != 0)
		buf_addf(out, "Retry-After: %d\r\n", p->retry_after_s);
	if (p->hsts != NULL)
		buf_addf(out, "Strict-Transport-Security: %s\r\n", p->hsts);
	if (p->fields != NULL)
		buf_adds(out, p->fields);
	if (p->says_methods)
		buf_adds(out, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
	if (!p->keep)
		buf_adds(out, "Connection: close\r\n");
	else if (p->minor == 0)
		buf_adds(out, "Connection: keep-alive\r\n");
	buf_addf(out, "X-Request-Id: %.*s\r\n\r\n", (int)p->id.n, p->id.p);
	if (p->is_head)
		return 0;
	buf_add(out, body.p, body.n);
	return body.n;
}

bool
proxy_page_wants_json(const struct http_head *h, bool *out_html)
{
	struct str accept = http_head_get(h, "accept");
	const char *json, *html;

	*out_html = false;
	if (accept.n == 0)
		return false;
	json = memmem(accept.p, accept.n, "application/json", 16);
	if (json == NULL)
		json = memmem(accept.p, accept.n, "+json", 5);
	html = memmem(accept.p, accept.n, "text/html", 9);
	*out_html = html != NULL;
	return json != NULL && (html == NULL || json < html);
}
