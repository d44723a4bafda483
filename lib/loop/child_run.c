#include "lib/loop/child_run.h"

#include <errno.h>
#include <stdbool.h>

#include "lib/base/mem.h"
#include "lib/loop/loop.h"

enum { STDERR_MAX = 400, GRACE_MS = 2000, FOR_EVER_MS = 3600 * 1000 };

struct run {
	bool is_done;
	int status;
	const char *program;
	struct buf *out;
	struct err *e;
};

static void
on_end(struct child *c, const struct child_end *end, void *arg)
{
	struct run *r = arg;

	(void)c;
	r->is_done = true;
	r->status = end->status;
	if (r->out != NULL)
		buf_add(r->out, end->out, end->out_len);
	errno = 0;
	if (end->status != 0)
		(void)err_set(r->e, ERR_SYSTEM, NULL, "%s: %s: %.*s", r->program, end->why,
		    (int)(end->err_len < STDERR_MAX ? end->err_len : STDERR_MAX), end->err);
}

DEFINE_AUTO(struct loop *, loop_free)
DEFINE_AUTO(struct child *, child_free)

int
child_run(const struct child_opts *o, const void *in, size_t n, struct buf *out, struct err *e)
{
	struct run r = { .program = o->argv[0], .out = out, .e = e, .status = -1 };
	AUTO(loop_free) struct loop *l = loop_new();
	AUTO(child_free) struct child *c = child_start(l, o, NULL, on_end, &r, e);

	if (c == NULL)
		return -1;
	if (o->has_stdin) {
		(void)child_write(c, in, n);
		child_close_stdin(c);
	}
	(void)loop_run_until(
	    l, &r.is_done, o->timeout_ms > 0 ? o->timeout_ms + GRACE_MS : FOR_EVER_MS);
	if (!r.is_done)
		return err_set(e, ERR_SYSTEM, NULL, "%s did not end", o->argv[0]);
	return r.status;
}
