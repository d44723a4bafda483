/* For who writes cartridges: lint, test. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cart_lint.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/where.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"

/* As a table, or as JSON: an array of {level, file, text}. */
static int
print_findings(const struct cmd_line *l, const struct cart_lint *c, struct err *e)
{
	static const struct output_column columns[] = {
		{ "LEVEL", "level" },
		{ "FILE", "file" },
		{ "WHAT", "text" },
		{ NULL, NULL },
	};
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct codec_value *v;

	buf_adds(&b, "[");
	for (size_t i = 0; i < c->n; i++) {
		buf_addf(&b, "%s{\"level\":\"%s\",\"file\":", i == 0 ? "" : ",",
		    c->v[i].is_error ? "error" : "note");
		buf_add_json_str(&b, c->v[i].file);
		buf_adds(&b, ",\"text\":");
		buf_add_json_str(&b, c->v[i].text);
		buf_adds(&b, "}");
	}
	buf_adds(&b, "]");
	v = codec_parse(b.p, b.n, e);
	if (v == NULL)
		return -1;
	if (c->n > 0 || cmd_has(l, "json"))
		output_table(l, v, columns);
	codec_value_free(v);
	return 0;
}

static int
run_lint(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(cart_lint_fini) struct cart_lint c = { 0 };

	if (cart_lint(cmd_arg(l, 0), &c, e) < 0 || print_findings(l, &c, e) < 0)
		return -1;
	if (c.errors > 0)
		output_note(l, "%zu of %zu findings prevent it from working.", c.errors, c.n);
	else
		output_note(l, "%s: nothing prevents it from working.", c.name);
	return c.errors > 0 ? 1 : 0;
}

struct driver {
	int status;
	bool done;
};

static void
on_end(struct child *c, const struct child_end *end, void *arg)
{
	struct driver *d = arg;

	(void)c;
	d->status = end->status;
	d->done = true;
}

/* The script prints what it does as it goes. */
static int
drive(const char *const *argv, struct err *e)
{
	struct loop *loop = loop_new();
	struct driver d = { 0 };
	const struct child_opts o = { .argv = argv,
		.env = (const char *const *)environ,
		.out_fd = STDOUT_FILENO,
		.err_fd = STDERR_FILENO };
	struct child *c = child_start(loop, &o, NULL, on_end, &d, e);

	if (c != NULL)
		(void)loop_run_until(loop, &d.done, INT64_MAX / 2 - loop_now_ms());
	child_free(c);
	loop_free(loop);
	return c == NULL ? -1 : d.status;
}

static int
run_test(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(cart_lint_fini) struct cart_lint c = { 0 };
	AUTO(free) char *dir = realpath(cmd_arg(l, 0), NULL);
	AUTO(free) char *self = where_program("pinion", e);
	AUTO(free) char *stacks = self == NULL ? NULL : where_data("stacks", e);
	AUTO(free) char *stock = stacks == NULL ? NULL : where_data("cartridges", e);
	AUTO(free) char *script = stacks == NULL ? NULL : file_join(stacks, "tools/cartridge-test");

	if (stock == NULL)
		return -1;
	if (geteuid() != 0)
		return err_set(
		    e, ERR_DENIED, NULL, "must be root: it starts Pinion on this machine");
	if (dir == NULL)
		return err_set(e, ERR_NOT_FOUND, NULL, "there is no directory %s", cmd_arg(l, 0));
	if (cart_lint(dir, &c, e) < 0 || print_findings(l, &c, e) < 0)
		return -1;
	if (c.errors > 0) {
		output_note(l, "%zu of %zu findings prevent it from working.", c.errors, c.n);
		return 1;
	}
	return drive((const char *const[]){ script, self, dir, c.name, c.is_web ? "web" : "other",
	                 stock, NULL },
	    e);
}

const struct cmd cmd_cart_check_table[] = {
	{ "cartridge lint", "DIR", 1, 1,
	    "look through a cartridge that you write\n\nManifest, managed_files.yml, layout, run "
	    "bits, "
	    "the syntax of shell scripts and ERB templates, hooks that the manifest names, traps "
	    "of the "
	    "format. Nothing of it is run. Ends with 1 when something prevents it from working.",
	    NULL, run_lint, false },
	{ "cartridge test", "DIR", 1, 1,
	    "install a cartridge in a throwaway gear and drive its life\n\nStarts Pinion on this "
	    "machine below a temporary directory (as root), makes an application with the "
	    "cartridge: "
	    "install, start, status, restart, stop, tidy, move, uninstall. A line each.",
	    NULL, run_test, false },
	{ 0 },
};
