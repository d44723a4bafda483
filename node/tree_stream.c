#include "node/tree_stream.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/http/http_server.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"

enum { IDLE_MS = 60 * 1000, QUEUE_MAX = 1024 * 1024, REASON_MAX = 300 };

#define TAR "/usr/bin/tar"

/* What tar is told at both ends: keep all as it is. */
#define AS_IT_IS "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls"

/* --- out --- */

struct sending {
	struct http_req *r; /* NULL: the other end went away */
	struct child *child;
	tree_stream_done_fn *done;
	void *arg;
};

static void
end_sending(struct sending *s)
{
	tree_stream_done_fn *done = s->done;
	void *arg = s->arg;

	child_free(s->child);
	free(s);
	if (done != NULL)
		done(arg);
}

static void
on_tar_out(struct child *c, int fd, const char *p, size_t n, void *arg)
{
	struct sending *s = arg;

	if (fd == 1 && !http_req_write(s->r, p, n))
		child_pause(c, true);
	else if (fd == 2)
		log_warn("tree_stream_tar", LOG_INT("stderr_bytes", n));
}

static void
on_sent(struct http_req *r, void *arg)
{
	struct sending *s = arg;

	(void)r;
	child_pause(s->child, false);
}

static void
on_tar_end(struct child *c, const struct child_end *end, void *arg)
{
	struct sending *s = arg;

	(void)c;
	if (end->status == 0)
		http_req_end(s->r);
	else
		http_req_abort(s->r);
	end_sending(s);
}

static void
on_gone(struct http_req *r, void *arg)
{
	(void)r;
	end_sending(arg);
}

static void
send_output(struct loop *l, struct http_req *r, const struct child_opts *o, const char *header,
    tree_stream_done_fn *done, void *arg)
{
	struct sending *s = xcalloc(1, sizeof *s);
	struct err e = { 0 };

	*s = (struct sending){ .r = r, .done = done, .arg = arg };
	s->child = child_start(l, o, on_tar_out, on_tar_end, s, &e);
	if (s->child == NULL) {
		http_req_reply_text(r, 500, "%s\n", e.text);
		end_sending(s);
		return;
	}
	http_req_begin(r, 200, (const char *const[]){ header, NULL });
	http_req_on_drain(r, on_sent, s);
	http_req_on_close(r, on_gone, s);
}

void
tree_stream_send(struct loop *l, struct http_req *r, const char *dir, bool is_volume,
    tree_stream_done_fn *done, void *arg)
{
	static const char *const all[] = { TAR, AS_IT_IS, "--sparse", "-cf", "-", ".", NULL };
	static const char *const data[] = { TAR, AS_IT_IS, "--sparse", "--anchored",
		"--exclude=./inst", "--exclude=./lost+found", "-cf", "-", ".", NULL };

	send_output(l, r, &(struct child_opts){ .argv = is_volume ? data : all, .cwd = dir },
	    "Content-Type: application/x-tar", done, arg);
}

void
tree_stream_send_file(struct loop *l, struct http_req *r, int fd)
{
	static const char *const argv[] = { "/usr/bin/cat", "/proc/self/fd/3", NULL };

	send_output(l, r, &(struct child_opts){ .argv = argv, .pass_fds = &fd, .pass_n = 1 },
	    "Content-Type: application/octet-stream", NULL, NULL);
}

/* --- in --- */

struct tree_fetch {
	struct tree_fetch_opts o; /* loop, http */
	struct http_call *call;
	struct child *child; /* NULL: nothing came yet, or it has ended */
	char *dir;           /* owned */
	bool is_complete;    /* all came; tar ends */
	int status;
	struct err e;
	tree_fetch_fn *fn;
	void *arg;
};

void
tree_fetch_cancel(struct tree_fetch *take_f)
{
	if (take_f == NULL)
		return;
	http_call_cancel(take_f->call);
	child_free(take_f->child);
	free(take_f->dir);
	free(take_f);
}

static void
finish(struct tree_fetch *f)
{
	tree_fetch_fn *fn = f->fn;
	void *arg = f->arg;
	struct err e = f->e;

	tree_fetch_cancel(f);
	fn(e.code == ERR_NONE ? NULL : &e, arg);
}

static void
on_unpacked(struct child *c, const struct child_end *end, void *arg)
{
	struct tree_fetch *f = arg;

	(void)c;
	if (end->status != 0 && f->e.code == ERR_NONE)
		(void)err_set(&f->e, ERR_SYSTEM, NULL, "unpack into %s: %s: %.*s", f->dir, end->why,
		    (int)(end->err_len > REASON_MAX ? REASON_MAX : end->err_len), end->err);
	else if (!f->is_complete && f->e.code == ERR_NONE)
		(void)err_set(&f->e, ERR_SYSTEM, NULL, "the stream of the tree ended early");
	finish(f); /* frees the child, and with it what end says */
}

static void
on_room(struct child *c, void *arg)
{
	struct tree_fetch *f = arg;

	(void)c;
	if (f->call != NULL)
		http_call_resume(f->call);
}

static int
start_tar(struct tree_fetch *f)
{
	static const char *const argv[] = { TAR, AS_IT_IS, "--same-permissions", "--same-owner",
		"-xf", "-", NULL };

	f->child = child_start(f->o.loop,
	    &(struct child_opts){ .argv = argv, .cwd = f->dir, .has_stdin = true }, NULL,
	    on_unpacked, f, &f->e);
	if (f->child == NULL)
		return -1;
	child_on_drain(f->child, on_room);
	return 0;
}

static void
on_head(struct http_call *c, int status, void *arg)
{
	struct tree_fetch *f = arg;

	(void)c;
	f->status = status;
}

static bool
on_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct tree_fetch *f = arg;

	(void)c;
	if (f->status != 200 || f->e.code != ERR_NONE)
		return true; /* of an answer that says why not */
	if (f->child == NULL && start_tar(f) < 0)
		return true;
	if (child_write(f->child, NULL, 0) > QUEUE_MAX)
		return false;
	(void)child_write(f->child, p, n);
	return true;
}

static void
on_call_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct tree_fetch *f = arg;

	(void)c;
	(void)body;
	f->call = NULL;
	if (e != NULL)
		f->e = *e;
	else if (status == 404)
		(void)err_set(&f->e, ERR_NOT_FOUND, NULL, "no node has it now");
	else if (status != 200)
		(void)err_set(&f->e, ERR_BUSY, NULL, "the broker answered %d", status);
	f->is_complete = e == NULL && status == 200;
	if (f->child == NULL) {
		if (f->is_complete && f->e.code == ERR_NONE)
			(void)err_set(&f->e, ERR_SYSTEM, NULL, "the stream of the tree is empty");
		finish(f);
	} else if (f->is_complete) {
		child_close_stdin(f->child);
	} else {
		child_kill(f->child, 9);
	}
}

struct tree_fetch *
tree_fetch_start(const struct tree_fetch_opts *o, tree_fetch_fn *fn, void *arg, struct err *e)
{
	struct tree_fetch *f = xcalloc(1, sizeof *f);
	const struct http_call_opts call = { .url = o->url,
		.bearer = o->bearer,
		.on_head = on_head,
		.on_data = on_data,
		.idle_timeout_ms = IDLE_MS };

	*f = (struct tree_fetch){ .o = *o, .dir = xstrdup(o->dir), .fn = fn, .arg = arg };
	f->call = http_call_start(o->http, &call, on_call_end, f, e);
	if (f->call == NULL) {
		tree_fetch_cancel(f);
		return NULL;
	}
	return f;
}
