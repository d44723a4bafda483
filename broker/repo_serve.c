#include "broker/repo_serve.h"

#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/record.h"
#include "broker/repo_tar.h"
#include "broker/rollout.h"
#include "lib/base/mem.h"
#include "lib/http/http_server.h"
#include "lib/store/store_key.h"

struct repo_serve {
	struct broker *b;          /* borrowed */
	struct http_req *r;        /* of the node */
	char *app_id, *deployment; /* owned */
	struct rollout_wait *wait;
	struct repo_tar *tar;
	bool has_begun;
};

static void
free_serve(struct repo_serve *s)
{
	rollout_wait_cancel(s->wait);
	repo_tar_free(s->tar);
	free(s->app_id);
	free(s->deployment);
	free(s);
}

static void
on_gone(struct http_req *r, void *arg)
{
	(void)r;
	free_serve(arg);
}

static void
refuse(struct repo_serve *s, int status, const char *why)
{
	http_req_on_close(s->r, NULL, NULL);
	if (s->has_begun)
		http_req_abort(s->r);
	else
		http_req_reply_text(s->r, status, "%s\n", why);
	free_serve(s);
}

static void
on_drain(struct http_req *r, void *arg)
{
	struct repo_serve *s = arg;

	(void)r;
	repo_tar_resume(s->tar);
}

static bool
on_data(const char *p, size_t n, void *arg)
{
	struct repo_serve *s = arg;

	if (!s->has_begun) {
		s->has_begun = true;
		http_req_begin(
		    s->r, 200, (const char *const[]){ "Content-Type: application/x-tar", NULL });
		http_req_on_drain(s->r, on_drain, s);
	}
	return http_req_write(s->r, p, n);
}

static void
on_done(const char *git_dir, const struct err *e, void *arg)
{
	struct repo_serve *s = arg;

	(void)git_dir;
	if (e != NULL || !s->has_begun) {
		refuse(s, 500, e == NULL ? "the repository is empty" : e->text);
		return;
	}
	http_req_on_close(s->r, NULL, NULL);
	http_req_end(s->r);
	free_serve(s);
}

static void
on_settled(const struct err *e, void *arg)
{
	struct repo_serve *s = arg;
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	struct err why = { 0 };

	s->wait = NULL;
	if (record_app_by_id(s->b->store, s->app_id, &app, NULL, &why) < 0)
		refuse(s, 404, "the application is no longer there");
	else if (e != NULL || app.status.deployment == NULL ||
	         strcmp(app.status.deployment, s->deployment) != 0)
		refuse(s, 404, "another deployment serves");
	else
		s->tar = repo_tar_save(s->b->repos, &app, NULL, on_data, on_done, s);
}

void
repo_serve(struct broker *b, struct http_req *r)
{
	const char *node = http_req_param(r, "node");
	const char *gear = http_req_param(r, "gear");
	const char *deployment = http_req_param(r, "deployment");
	AUTO_FINI(wire_gear_fini) struct wire_gear g = { 0 };
	struct repo_serve *s;
	struct err e = { 0 };

	if (node == NULL || gear == NULL || deployment == NULL || strchr(node, '/') != NULL ||
	    strchr(gear, '/') != NULL ||
	    record_get(b->store, store_key_gear(node, gear), &wire_gear_codec, &g, NULL, &e) < 0) {
		http_req_reply_text(r, 404, "There is no such gear on this node.\n");
		return;
	}
	s = xcalloc(1, sizeof *s);
	*s = (struct repo_serve){
		.b = b, .r = r, .app_id = xstrdup(g.app_id), .deployment = xstrdup(deployment)
	};
	http_req_on_close(r, on_gone, s);
	s->wait = rollout_wait(b->rollout, s->app_id, NULL, on_settled, s);
}
