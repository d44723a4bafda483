#include "broker/restore_artifact.h"

#include <stdbool.h>
#include <stdlib.h>

#include "broker/artifact.h"
#include "broker/broker.h"
#include "broker/node_link.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"

enum { TIMEOUT_MS = 3600 * 1000 };

struct restore_artifact {
	struct http_call *call;
	struct artifact_sink *sink;
	bool is_full;
	restore_artifact_fn *fn;
	void *arg;
};

void
restore_artifact_free(struct restore_artifact *take_a)
{
	if (take_a == NULL)
		return;
	http_call_cancel(take_a->call);
	artifact_sink_cancel(take_a->sink);
	free(take_a);
}
DEFINE_AUTO(struct restore_artifact *, restore_artifact_free)

static void
on_room(void *arg)
{
	struct restore_artifact *a = arg;

	a->is_full = false;
	if (a->call != NULL)
		http_call_resume(a->call);
}

static void
on_file(const char *path, const struct err *e, void *arg)
{
	struct restore_artifact *a = arg;

	a->sink = NULL;
	http_call_cancel(STEAL(a->call));
	a->fn(path, e, a->arg);
}

static bool
on_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct restore_artifact *a = arg;

	(void)c;
	if (a->is_full)
		return false;
	a->is_full = !artifact_sink_write(a->sink, p, n);
	return true;
}

static void
on_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct restore_artifact *a = arg;
	struct err bad = { 0 };

	(void)c;
	(void)body;
	a->call = NULL;
	if (e == NULL && status == 200) {
		artifact_sink_close(a->sink);
		return;
	}
	artifact_sink_cancel(STEAL(a->sink));
	(void)err_set(&bad, ERR_BUSY, NULL, "the node broke off within the deployment");
	a->fn(NULL, &bad, a->arg);
}

struct restore_artifact *
restore_artifact_start(struct broker *b, const char *node, const char *gear, int64_t bytes_max,
    restore_artifact_fn *fn, void *arg, struct err *e)
{
	AUTO(restore_artifact_free) struct restore_artifact *a = xcalloc(1, sizeof *a);
	AUTO(free) char *path = xasprintf("/v1/gears/%s/restore/deployment", gear);
	AUTO(free) char *url = NULL;
	struct http_call_opts o = { .on_data = on_data, .timeout_ms = TIMEOUT_MS };
	const struct artifact_sink_opts sink = {
		.bytes_max = bytes_max,
		.too_large = "the snapshot's deployment is larger than the disk of the gear",
		.on_room = on_room,
		.done = on_file,
		.arg = a,
	};

	*a = (struct restore_artifact){ .fn = fn, .arg = arg };
	if (node_link_call(b->nodes, node, path, &o, &url, e) < 0)
		return NULL;
	a->sink = artifact_sink_start(b, &sink, e);
	if (a->sink == NULL)
		return NULL;
	a->call = http_call_start(b->client, &o, on_end, a, e);
	return a->call == NULL ? NULL : STEAL(a);
}
