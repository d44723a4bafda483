/* The envelope of answers: JSON, XML, or JSON lines. */
#include "broker/api_call.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "broker/api_xml.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_server.h"

struct status_name {
	int status;
	const char *name;
};

static const struct status_name status_names[] = {
	{ 200, "ok" },
	{ 201, "created" },
	{ 204, "no_content" },
	{ 301, "moved_permanently" },
	{ 400, "bad_request" },
	{ 401, "unauthorized" },
	{ 403, "forbidden" },
	{ 404, "not_found" },
	{ 405, "method_not_allowed" },
	{ 406, "not_acceptable" },
	{ 409, "conflict" },
	{ 410, "gone" },
	{ 413, "request_entity_too_large" },
	{ 415, "unsupported_media_type" },
	{ 422, "unprocessable_entity" },
	{ 429, "too_many_requests" },
	{ 500, "internal_server_error" },
	{ 503, "service_unavailable" },
};

static const char *
status_name(int status)
{
	for (size_t i = 0; i < ARRAY_LEN(status_names); i++) {
		if (status_names[i].status == status)
			return status_names[i].name;
	}
	return status < 400 ? "ok" : "internal_server_error";
}

struct api_json *
api_data(struct api_call *c, const char *type)
{
	buf_clear(&c->data);
	c->type = type;
	c->json = (struct api_json){ .b = &c->data };
	return &c->json;
}

void
api_message_at(struct api_call *c, const char *severity, int exit_code, const char *field,
    int index, const char *text)
{
	struct api_json j = { .b = &c->messages, .comma = c->messages.n > 0 };

	api_json_obj(&j, NULL);
	if (exit_code == API_NO_EXIT)
		api_json_null(&j, "exit_code");
	else
		api_json_int(&j, "exit_code", exit_code);
	if (field == NULL && c->minor <= 5 && strcmp(severity, "result") == 0)
		field = "result";
	api_json_str(&j, "field", field == NULL || *field == '\0' ? NULL : field);
	if (index < 0)
		api_json_null(&j, "index");
	else
		api_json_int(&j, "index", index);
	api_json_str(&j, "severity", severity);
	api_json_str(&j, "text", text);
	api_json_end_obj(&j);
}

static void PRINTF(5, 0) add_messagev(struct api_call *c, const char *severity, int exit_code,
    const char *field, const char *fmt, va_list ap)
{
	AUTO(free) char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	api_message_at(c, severity, exit_code, field, -1, text);
}

void
api_message(struct api_call *c, const char *severity, int exit_code, const char *field,
    const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_messagev(c, severity, exit_code, field, fmt, ap);
	va_end(ap);
}

static void
write_envelope(const struct api_call *c, int status, struct buf *out)
{
	struct api_json j = { .b = out };

	api_json_obj(&j, NULL);
	buf_addf(out, "\"api_version\":1.%d", c->minor);
	j.comma = true;
	api_json_raw(&j, "data", c->data.n == 0 ? "null" : c->data.p);
	api_json_arr(&j, "messages");
	buf_add(out, c->messages.p, c->messages.n);
	api_json_end_arr(&j);
	api_json_str(&j, "status", status_name(status));
	api_json_raw(&j, "supported_api_versions", "[1.0,1.1,1.2,1.3,1.4,1.5,1.6,1.7]");
	api_json_str(&j, "type", c->data.n == 0 ? NULL : c->type);
	api_json_fmt(&j, "version", "1.%d", c->minor);
	api_json_end_obj(&j);
}

void
api_headers_fini(struct api_headers *h)
{
	for (size_t i = 0; i < h->n; i++)
		free(h->owned[i]);
	h->n = 0;
}

void
api_headers_make(const struct api_call *c, struct api_headers *h)
{
	size_t n = 0;

	*h = (struct api_headers){ 0 };
	h->v[n++] = c->is_lines ? "Content-Type: application/x-ndjson; charset=utf-8"
	            : c->is_xml ? "Content-Type: application/xml; charset=utf-8"
	                        : "Content-Type: application/json; charset=utf-8";
	h->v[n++] = "Cache-Control: no-store";
	h->owned[h->n++] = xasprintf("X-Request-Id: %s", c->id);
	if (c->has_who) {
		h->owned[h->n++] = xasprintf("X-OpenShift-Identity: %s", c->who.login);
		h->owned[h->n++] = xasprintf("X-OpenShift-Identity-Id: %s", c->who.user_id);
		h->owned[h->n++] = xasprintf("X-OAuth-Scopes: %s", c->who.scopes);
	}
	for (size_t i = 0; i < h->n; i++)
		h->v[n++] = h->owned[i];
	h->v[n] = NULL;
}

static void
send_envelope(struct api_call *c, int status)
{
	AUTO_FINI(buf_fini) struct buf out = { 0 };
	AUTO_FINI(api_headers_fini) struct api_headers h = { 0 };

	write_envelope(c, status, &out);
	if (c->is_xml && !c->is_lines)
		api_xml_of_envelope(&out);
	if (c->is_lines)
		buf_addc(&out, '\n');
	if (c->has_begun) {
		(void)http_req_write(c->req, out.p, out.n);
		http_req_end(c->req);
		return;
	}
	api_headers_make(c, &h);
	http_req_reply(c->req, status, h.v, out.p, status == 204 ? 0 : out.n);
}

void
api_send(struct api_call *c, int status)
{
	log_debug("api_answer", LOG_STR("request", c->id), LOG_INT("status", status));
	if (c->req != NULL) {
		http_req_on_close(c->req, NULL, NULL);
		send_envelope(c, status);
	}
	api_call_free(c);
}

void
api_send_deleted(struct api_call *c, const char *fmt, ...)
{
	va_list ap;

	buf_clear(&c->data);
	va_start(ap, fmt);
	add_messagev(c, "info", 0, NULL, fmt, ap);
	va_end(ap);
	api_send(c, c->minor <= 4 ? 204 : 200);
}

void
api_fail_all(struct api_call *c, int status)
{
	buf_clear(&c->data);
	api_send(c, status);
}

void
api_fail(struct api_call *c, int status, int exit_code, const char *field, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_messagev(c, "error", exit_code, field, fmt, ap);
	va_end(ap);
	api_fail_all(c, status);
}

/* Something that is not the user's: logged here, told with a reference. */
static void
fail_internal(struct api_call *c, const struct err *e, int status, int exit_code)
{
	log_error("api_failed", LOG_STR("request", c->id), LOG_ERR(e));
	api_fail(c, status, exit_code, NULL,
	    "Unable to complete the requested operation due to: %s\nReference ID: %s", e->text,
	    c->id);
}

void
api_fail_as(struct api_call *c, const struct err *e, int status, int exit_code)
{
	switch (e->code) {
	case ERR_SYSTEM:
		fail_internal(c, e, 500, 143);
		return;
	case ERR_BUG:
	case ERR_NONE:
		fail_internal(c, e, 500, 1);
		return;
	case ERR_BUSY:
		api_fail(c, 503, 140, e->field, "%s", e->text);
		return;
	case ERR_INVALID:
	case ERR_NOT_FOUND:
	case ERR_CONFLICT:
	case ERR_DENIED:
	case ERR_UNAUTHENTICATED:
	case ERR_LIMIT:
		break;
	}
	api_fail(c, status, exit_code, e->field, "%s", e->text);
}

static int
user_status(enum err_code code)
{
	switch (code) {
	case ERR_NOT_FOUND:
		return 404;
	case ERR_DENIED:
		return 403;
	default:
		return 422;
	}
}

void
api_fail_err(struct api_call *c, const struct err *e, int exit_code)
{
	api_fail_as(c, e, user_status(e->code), e->code == ERR_DENIED ? 1 : exit_code);
}

void
api_progress(struct api_call *c, const char *line)
{
	AUTO_FINI(buf_fini) struct buf out = { 0 };
	struct api_json j = { .b = &out };

	if (!c->is_lines || c->req == NULL)
		return;
	if (!c->has_begun) {
		AUTO_FINI(api_headers_fini) struct api_headers h = { 0 };

		api_headers_make(c, &h);
		http_req_begin(c->req, 200, h.v);
		c->has_begun = true;
	}
	api_json_obj(&j, NULL);
	api_json_str(&j, "progress", line);
	api_json_end_obj(&j);
	buf_addc(&out, '\n');
	(void)http_req_write(c->req, out.p, out.n);
}
