/* broker/api_call.h: one call of the API under way, and its answer (the OpenShift envelope). A
 * handler ends its call exactly once, now or later, by api_send or one of api_fail…; the call is
 * gone then. It lives on when its client goes away: what was begun is finished. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/api_json.h"
#include "broker/api_param.h"
#include "broker/auth.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

struct api_call;
struct api_route;
struct broker;
struct http_req;

enum { API_MINOR_MAX = 7, API_NO_EXIT = INT32_MIN };

typedef void api_free_fn(void *state);
typedef void api_gone_fn(struct api_call *c);

struct api_call {
	struct broker *b;          /* borrowed */
	LIST_ENTRY(api_call) link; /* in the broker's list */
	struct http_req *req;      /* borrowed; NULL: the client went away */
	const struct api_route *route;
	char *method;        /* owned */
	char *root;          /* owned; "http://host:port" */
	char *id;            /* owned; of the request, for logs and support */
	char *content_type;  /* owned or NULL */
	char *authorization; /* owned or NULL; wiped */
	char *peer;          /* owned */
	int minor;           /* of the API version 1.minor */
	bool no_links;
	bool is_xml;
	bool is_lines;        /* progress and envelope as JSON lines */
	bool has_begun;       /* the stream of lines */
	struct auth_ask *ask; /* while it is asked who */
	bool has_who;
	bool is_body_first; /* the proof may be in the (small) body */
	bool is_running;    /* the handler has it */
	struct auth_who who;
	struct api_param *params; /* owned */
	/* the answer */
	const char *type; /* constant */
	struct buf data;
	struct api_json json; /* into data */
	struct buf messages;  /* elements of the array */
	/* the handler's own */
	void *state; /* owned */
	api_free_fn *free_state;
	void *waiting;     /* owned or NULL: what a wait hands back (api_load) */
	api_gone_fn *gone; /* the client went away; takes the call. NULL: the work goes on */
};

/* Owned by the call from now on; freed with it. */
void api_call_keep(struct api_call *c, void *take_state, api_free_fn *free_state);
void api_call_free(struct api_call *take_c);

/* --- the answer --- */

/* Data of this type follows; write one value into it. */
struct api_json *api_data(struct api_call *c, const char *type);
/* severity: "info" (debugging), "result" (for the user), "warning", "error". field may be NULL. */
void api_message(struct api_call *c, const char *severity, int exit_code, const char *field,
    const char *fmt, ...) PRINTF(5, 6);
/* The same for element `index` of an array parameter; negative: of none. */
void api_message_at(struct api_call *c, const char *severity, int exit_code, const char *field,
    int index, const char *text);
/* Header fields of an answer that is written by the handler itself, NULL-terminated. */
struct api_headers {
	char *owned[4];
	size_t n;
	const char *v[8];
};
void api_headers_make(const struct api_call *c, struct api_headers *h);
void api_headers_fini(struct api_headers *h);
/* With the messages and data given so far. */
void api_send(struct api_call *c, int status);
/* After a delete: 204 up to version 1.4, else 200 without data. */
void api_send_deleted(struct api_call *c, const char *fmt, ...) PRINTF(2, 3);
/* One error message, no data. exit_code API_NO_EXIT: null. */
void api_fail(struct api_call *c, int status, int exit_code, const char *field, const char *fmt,
    ...) PRINTF(5, 6);
/* Status by the error's code; exit_code is for what the user did wrong (422, 404, 403, 409). */
void api_fail_err(struct api_call *c, const struct err *e, int exit_code);
/* The same with a status of one's own for what the user did wrong. */
void api_fail_as(struct api_call *c, const struct err *e, int status, int exit_code);
/* With the error messages given so far. */
void api_fail_all(struct api_call *c, int status);

/* A line for who watches; nothing unless asked for. */
void api_progress(struct api_call *c, const char *line);
