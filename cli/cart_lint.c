#include "cli/cart_lint.h"

#include <ctype.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/cart/cart_needs.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_cart.h"
#include "lib/wire/wire_managed.h"

enum { FILE_BYTES_MAX = 1024 * 1024, FINDINGS_MAX = 200, DEPTH_MAX = 8, CHECK_MS = 10000 };

struct lint {
	const char *dir;
	struct cart_lint *out;
	struct wire_cart cart;
	bool has_cart;
};

void
cart_lint_fini(struct cart_lint *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].file);
		free(l->v[i].text);
	}
	free(l->v);
	free(l->name);
	*l = (struct cart_lint){ 0 };
}

static void PRINTF(4, 5) find(struct lint *l, bool is_error, const char *file, const char *fmt, ...)
{
	struct cart_lint *o = l->out;
	struct cart_lint_finding *f;
	va_list ap;

	if (o->n >= FINDINGS_MAX)
		return;
	o->v = xreallocarray(o->v, o->n + 1, sizeof *o->v);
	f = &o->v[o->n++];
	f->is_error = is_error;
	f->file = xstrdup(file);
	va_start(ap, fmt);
	if (vasprintf(&f->text, fmt, ap) < 0)
		f->text = xstrdup(fmt);
	va_end(ap);
	o->errors += is_error;
}

static bool
has(const struct lint *l, const char *rel)
{
	AUTO(free) char *path = file_join(l->dir, rel);

	return file_exists(path);
}

static bool
has_dir(const struct lint *l, const char *rel)
{
	AUTO(free) char *path = file_join(l->dir, rel);
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool
read_file(struct lint *l, const char *rel, struct buf *b)
{
	AUTO(free) char *path = file_join(l->dir, rel);
	struct err e = { 0 };

	if (file_read(path, FILE_BYTES_MAX, b, &e) < 0) {
		find(l, true, rel, "%s", e.text);
		return false;
	}
	buf_reserve(b, 1);
	return true;
}

/* --- programs that check, and run nothing --- */

struct check_run {
	int status;
	char *out, *err; /* owned */
	bool done;
};

static void
on_end(struct child *c, const struct child_end *end, void *arg)
{
	struct check_run *r = arg;

	(void)c;
	r->status = end->status;
	r->out = xstrndup(end->out, end->out_len);
	r->err = xstrndup(end->err, end->err_len);
	r->done = true;
}

/* Without privileges, input on stdin. false: there is no such program. */
static bool
run_check(const char *const *argv, const struct buf *input, struct check_run *r)
{
	const struct child_opts o = { .argv = argv,
		.has_stdin = true,
		.set_ids = geteuid() == 0,
		.uid = 65534,
		.gid = 65534,
		.out_max = FILE_BYTES_MAX,
		.timeout_ms = CHECK_MS };
	struct err e = { 0 };
	struct loop *l;
	struct child *c;

	*r = (struct check_run){ 0 };
	if (!file_exists(argv[0]))
		return false;
	l = loop_new();
	c = child_start(l, &o, NULL, on_end, r, &e);
	if (c != NULL) {
		child_write(c, input->p, input->n);
		child_close_stdin(c);
		(void)loop_run_until(l, &r->done, CHECK_MS * 2);
	}
	child_free(c);
	loop_free(l);
	return c != NULL && r->done;
}

static void
check_run_fini(struct check_run *r)
{
	free(r->out);
	free(r->err);
}

/* The first line, without the name that a checker gives standard input. */
static char *
first_line(const char *text)
{
	static const char *const names[] = {
		"/bin/bash: ", "bash: ", "/dev/stdin: ", "-: ", "-:", NULL
	};

	for (size_t i = 0; names[i] != NULL; i++) {
		if (str_has_prefix(text, names[i]))
			text += strlen(names[i]);
	}
	return xstrndup(text, strcspn(text, "\n"));
}

/* --- scripts and templates --- */

static bool
is_shell(const char *text)
{
	size_t n = strcspn(text, "\n");
	AUTO(free) char *line = xstrndup(text, n);

	return strstr(line, "/bash") != NULL || strstr(line, "env bash") != NULL ||
	       strstr(line, "/bin/sh") != NULL;
}

static void
check_shell(struct lint *l, const char *rel, const struct buf *text)
{
	const char *argv[] = { "/bin/bash", "-n", NULL };
	AUTO_FINI(check_run_fini) struct check_run r = { 0 };

	if (run_check(argv, text, &r) && r.status != 0) {
		AUTO(free) char *why = first_line(r.err);

		find(l, true, rel, "bash cannot read it: %s", why);
	}
}

/* What the platform itself runs. */
static bool
is_called(const char *rel)
{
	static const char *const names[] = { "bin/control", "bin/setup", "bin/install",
		"bin/post_install", "bin/teardown", "bin/upgrade", "bin/metrics" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(rel, names[i]) == 0)
			return true;
	}
	return str_has_prefix(rel, "hooks/");
}

static void
check_script(struct lint *l, const char *rel)
{
	AUTO(free) char *path = file_join(l->dir, rel);
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct stat st;
	bool is_run;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_BYTES_MAX ||
	    !read_file(l, rel, &b) || b.n == 0 || memchr(b.p, '\0', b.n) != NULL)
		return;
	is_run = b.n >= 2 && b.p[0] == '#' && b.p[1] == '!';
	if (!is_run && !is_called(rel))
		return; /* to be sourced */
	if ((st.st_mode & 0100) == 0)
		find(l, false, rel,
		    "is not executable: it is made so here, elsewhere it fails with 126 (chmod "
		    "+x)");
	if (memmem(b.p, strcspn(b.p, "\n") + 1, "\r\n", 2) != NULL)
		find(l, true, rel, "has Windows line ends (CR LF): its interpreter is not found");
	else if (!is_run)
		find(l, false, rel, "does not begin with #!: it is run by /bin/sh");
	else if (is_shell(b.p))
		check_shell(l, rel, &b);
}

static void
check_erb(struct lint *l, const char *rel)
{
	const char *erb[] = { "/usr/bin/erb", "-x", NULL };
	const char *ruby[] = { "/usr/bin/ruby", "-c", "-", NULL };
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	AUTO_FINI(buf_fini) struct buf source = { 0 };
	AUTO_FINI(check_run_fini) struct check_run r = { 0 };
	AUTO_FINI(check_run_fini) struct check_run c = { 0 };

	if (!read_file(l, rel, &b))
		return;
	if (!run_check(erb, &b, &r)) {
		find(l, false, rel, "is not checked: there is no erb here (Debian package ruby)");
		return;
	}
	buf_adds(&source, r.out);
	if (run_check(ruby, &source, &c) && (r.status != 0 || c.status != 0)) {
		AUTO(free) char *why = first_line(c.err);

		find(l, true, rel, "the template is no valid ERB: %s", why);
	}
	if (strstr(b.p, "File.exists?") != NULL)
		find(l, false, rel, "File.exists? is gone in Ruby 3.2: say File.exist?");
}

typedef void file_fn(struct lint *l, const char *rel);

/* All regular files below rel. */
static void
each_file(struct lint *l, const char *rel, int depth, file_fn *fn)
{
	AUTO(free) char *path = file_join(l->dir, rel);
	DIR *d = opendir(path);
	const struct dirent *de;

	while (d != NULL && depth < DEPTH_MAX && (de = readdir(d)) != NULL) {
		AUTO(free) char *below = NULL;

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 ||
		    strcmp(de->d_name, ".git") == 0)
			continue;
		below = rel[0] == '\0' ? xstrdup(de->d_name) : file_join(rel, de->d_name);
		if (de->d_type == DT_DIR)
			each_file(l, below, depth + 1, fn);
		else if (de->d_type == DT_REG)
			fn(l, below);
	}
	if (d != NULL)
		closedir(d);
}

static void
check_template(struct lint *l, const char *rel)
{
	if (str_has_suffix(rel, ".erb") && !str_has_prefix(rel, "template/"))
		check_erb(l, rel);
}

static void
check_variable(struct lint *l, const char *rel)
{
	const char *name = rel + strlen("env/");
	size_t n = strlen(name);
	AUTO(free)
	char *plain = xstrndup(name, str_has_suffix(name, ".erb") ? n - 4 : n);

	if (plain[0] != '.' && !str_is_env_name(plain))
		find(l, false, rel, "is not the name of a variable: it is left out");
	else if (str_has_suffix(plain, "_IDENT") && str_has_prefix(plain, "OPENSHIFT_"))
		find(l, false, rel, "is written by the platform: what lies here is lost");
}

/* --- the manifest --- */

/* 1.10, but not 1.10.0: digits, a point, digits. */
static bool
is_float(struct str v)
{
	size_t points = 0;

	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '.')
			points++;
		else if (!isdigit((unsigned char)v.p[i]))
			return false;
	}
	return points == 1 && v.p[0] != '.';
}

/* `Version: 1.10` without quotes is the number 1.1. */
static void
check_quotes(struct lint *l, const char *text)
{
	static const char *const keys[] = { "Version:", "Cartridge-Version:" };
	int line = 0;

	for (const char *p = text; p != NULL && *p != '\0'; p += *p == '\n') {
		struct str s = str_trim((struct str){ p, strcspn(p, "\r\n") });

		line++;
		p += strcspn(p, "\n");
		for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
			size_t n = strlen(keys[i]);
			struct str v;

			if (s.n <= n || strncmp(s.p, keys[i], n) != 0)
				continue;
			v = str_trim((struct str){ s.p + n, s.n - n });
			if (is_float(v))
				find(l, false, "metadata/manifest.yml",
				    "line %d: quote the version ('%.*s'): YAML takes it for a "
				    "number, "
				    "and 1.10 for 1.1",
				    line, (int)v.n, v.p);
		}
	}
}

static void
check_connectors(struct lint *l)
{
	for (size_t i = 0; i < l->cart.components.n; i++) {
		const struct wire_cart_component *c = &l->cart.components.v[i];
		const struct wire_cart_connector_list *lists[] = { &c->publishes, &c->subscribes };

		for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
			for (size_t j = 0; j < lists[k]->n; j++) {
				const struct wire_cart_connector *x = &lists[k]->v[j];
				AUTO(free) char *rel = file_join("hooks", x->name);

				if (has(l, rel) || (k == 1 && str_has_prefix(x->type, "ENV:")))
					continue;
				find(l, false, rel, "is missing: the manifest %s %s",
				    k == 0 ? "publishes" : "subscribes to", x->name);
			}
		}
	}
}

static void
check_endpoints(struct lint *l)
{
	bool has_front = false;

	for (size_t i = 0; i < l->cart.endpoints.n; i++) {
		const struct wire_cart_endpoint *p = &l->cart.endpoints.v[i];

		for (size_t k = 0; k < p->mappings.n; k++)
			has_front = has_front || p->mappings.v[k].frontend[0] == '\0';
	}
	if (wire_cart_is_web(&l->cart) && !has_front)
		find(l, false, "metadata/manifest.yml",
		    "Endpoints: none is mapped to the Frontend '': the application's address leads "
		    "nowhere");
	if (wire_cart_is_service(&l->cart) && l->cart.endpoints.n == 0)
		find(l, false, "metadata/manifest.yml",
		    "Endpoints: a service without one cannot be reached by the application");
}

static void
check_managed(struct lint *l)
{
	static const char rel[] = "metadata/managed_files.yml";
	AUTO_FINI(wire_managed_fini) struct wire_managed m = { 0 };
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };

	if (!has(l, rel) || !read_file(l, rel, &b))
		return;
	if (wire_managed_parse(b.p, b.n, l->cart.name, l->cart.short_name, &m, &e) < 0) {
		find(l, true, rel, "%s%s%s", e.field, e.field[0] == '\0' ? "" : ": ", e.text);
		return;
	}
	for (size_t i = 0; i < m.processed_templates.n; i++) {
		const char *path = m.processed_templates.v[i];
		size_t n = strlen(l->cart.name);

		if (strchr(path, '*') == NULL && strncmp(path, l->cart.name, n) == 0 &&
		    path[n] == '/' && !has(l, path + n + 1))
			find(l, false, rel, "processed_templates: there is no %s", path + n + 1);
	}
}

static void
check_rules(struct lint *l)
{
	static const char rel[] = "metadata/manifest.yml";
	struct err e = { 0 };

	if (wire_cart_is_web(&l->cart) && !has_dir(l, "template") && !has_dir(l, "template.git") &&
	    !has_dir(l, "usr/template") && !has_dir(l, "usr/template.git"))
		find(l, false, "template/", "is missing: a new application begins empty");
	if (l->cart.source_url != NULL && wire_cart_check_download(&l->cart, &e) < 0)
		find(l, false, rel, "%s: %s", e.field, e.text);
	e = (struct err){ 0 };
	if (cart_needs_check(&l->cart, &e) < 0)
		find(l, false, rel, "Pinion.Needs: %s (on this machine)", e.text);
	check_connectors(l);
	check_endpoints(l);
	check_managed(l);
}

static void
check_manifest(struct lint *l)
{
	static const char rel[] = "metadata/manifest.yml";
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };

	if (!has(l, rel)) {
		find(l, true, rel, "is missing");
		return;
	}
	if (!read_file(l, rel, &b))
		return;
	if (b.n > WIRE_CART_DOWNLOAD_MAX)
		find(l, false, rel, "has more than %d bytes: it can be imported, not downloaded",
		    WIRE_CART_DOWNLOAD_MAX);
	check_quotes(l, b.p);
	if (wire_cart_parse(b.p, b.n, NULL, &l->cart, &e) < 0) {
		find(l, true, rel, "%s%s%s", e.field, e.field[0] == '\0' ? "" : ": ", e.text);
		return;
	}
	l->has_cart = true;
	for (size_t i = 0; i < l->cart.versions.n; i++) {
		AUTO_FINI(wire_cart_fini) struct wire_cart c = { 0 };

		if (wire_cart_parse(b.p, b.n, l->cart.versions.v[i], &c, &e) < 0)
			find(l, true, rel, "Version-Overrides.%s: %s: %s", l->cart.versions.v[i],
			    e.field, e.text);
	}
}

static void
check_layout(struct lint *l)
{
	static const char *const dirs[] = { "metadata", "bin" };

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		if (!has_dir(l, dirs[i]))
			find(l, true, dirs[i], "is missing: a cartridge has this directory");
	}
	if (has_dir(l, "bin") && !has(l, "bin/control"))
		find(l, false, "bin/control", "is missing: no action does anything");
}

int
cart_lint(const char *dir, struct cart_lint *out, struct err *e)
{
	struct lint l = { .dir = dir, .out = out };
	struct stat st;

	if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(e, ERR_NOT_FOUND, NULL, "%s is no directory", dir);
	check_layout(&l);
	check_manifest(&l);
	if (l.has_cart) {
		out->name = xstrdup(l.cart.name);
		out->is_web = wire_cart_is_web(&l.cart);
		check_rules(&l);
	}
	each_file(&l, "bin", 0, check_script);
	each_file(&l, "hooks", 0, check_script);
	each_file(&l, "env", 0, check_variable);
	each_file(&l, "", 0, check_template);
	wire_cart_fini(&l.cart);
	return 0;
}
