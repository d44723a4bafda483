/* router/proxy_page.h: the router's own answers: a small page, or JSON when the client asks. */
#pragma once

#include <stdbool.h>

#include "lib/base/buf.h"
#include "lib/base/str.h"

struct http_head;

struct proxy_page {
	int status;
	const char *why; /* a sentence for a person */
	struct str id;   /* of the request */
	bool wants_json;
	bool is_head;         /* no body */
	bool keep;            /* the connection stays */
	int minor;            /* of the client's HTTP */
	int retry_after_s;    /* 0: not said */
	const char *location; /* of a redirect; NULL: none */
	const char *text;     /* no page: this alone, as text/plain; NULL: a page */
	bool says_methods;    /* which ones there are */
	const char *html;     /* a page of the owner's, with {request_id}, {status}; NULL: ours */
	const char *hsts;     /* value of Strict-Transport-Security; NULL: none */
	const char *fields;   /* more lines of the head; NULL: none */
};

/* Appends head and body; returns the bytes of the body. */
size_t proxy_page_add(struct buf *out, const struct proxy_page *p);
/* Whether Accept prefers JSON to HTML; out_html: whether it names HTML, as browsers do. */
bool proxy_page_wants_json(const struct http_head *h, bool *out_html);
