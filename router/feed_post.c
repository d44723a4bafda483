#include "router/feed_post.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "router/router_conf.h"

enum { CALL_MS = 5000 };

int
feed_post_init(struct feed_post *p, struct loop *l, const struct router_conf *conf,
    const char *path, struct err *e)
{
	p->http = http_client_new(l);
	p->url =
	    xasprintf(str_has_prefix(conf->feed, "unix:") ? "%s:%s" : "%s%s", conf->feed, path);
	return router_conf_token(conf->token_file, "token-file", &p->token, e);
}

void
feed_post_send(struct feed_post *p, const char *json, http_call_end_fn *cb, void *arg)
{
	const struct http_call_opts o = {
		.method = "POST",
		.url = p->url,
		.bearer = p->token,
		.headers = (const char *const[]){ "Content-Type: application/json", NULL },
		.body = json,
		.body_n = strlen(json),
		.timeout_ms = CALL_MS,
	};
	struct err e = { 0 };

	if (p->call != NULL || p->is_stopped)
		return;
	p->call = http_call_start(p->http, &o, cb, arg, &e);
	if (p->call == NULL)
		log_warn("feed_post_failed", LOG_STR("url", p->url), LOG_ERR(&e));
}

bool
feed_post_ended(struct feed_post *p, int status, const struct err *e)
{
	bool is_taken = e == NULL && status == 200;

	p->call = NULL;
	if (!is_taken)
		log_debug("feed_post_lost", LOG_STR("url", p->url), LOG_INT("status", status));
	return is_taken;
}

void
feed_post_stop(struct feed_post *p)
{
	http_call_cancel(STEAL(p->call));
	p->is_stopped = true;
}

void
feed_post_fini(struct feed_post *p)
{
	feed_post_stop(p);
	http_client_free(p->http);
	secret_free(p->token);
	free(p->url);
	*p = (struct feed_post){ .is_stopped = true };
}
