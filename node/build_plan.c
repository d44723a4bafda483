#include "node/build_plan.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/cart/cart_dir.h"
#include "node/build_start.h"
#include "node/cart_action.h"
#include "node/layer_store.h"
#include "node/semver.h"

static const char hooks_dir[] = ".openshift/action_hooks";
static const char markers_dir[] = ".openshift/markers";

void
build_plan_fini(struct build_plan *p)
{
	wire_start_fini(&p->start);
	free(p->release);
	for (size_t i = 0; i < p->processes.n; i++)
		wire_var_fini(&p->processes.v[i]);
	free(p->processes.v);
	free(p->deps_key);
	str_list_fini(&p->actions);
	str_list_fini(&p->notes);
	*p = (struct build_plan){ 0 };
}

/* --- what the pusher should know --- */

static void
note_source(const struct build_plan_in *in, struct str_list *notes)
{
	for (size_t i = 0; i < in->src->fixed.n; i++)
		str_list_take(notes, xasprintf("Warning: %s had Windows line ends (CR LF) and "
		                               "could not have run: they were changed",
		                         in->src->fixed.v[i]));
	for (size_t i = 0; i < in->src->lfs_pointers.n; i++)
		str_list_take(notes,
		    xasprintf("Warning: %s is a Git LFS pointer, not the file itself: Git LFS is "
		              "not supported; "
		              "commit the file (git lfs migrate export) or fetch it at start",
		        in->src->lfs_pointers.v[i]));
	if (build_start_is_file(in->repo, "Dockerfile"))
		str_list_take(notes, xasprintf("Note: the Dockerfile is not used: the %s cartridge "
		                               "builds this application",
		                         in->web->cart.name));
}

/* engines.node of package.json, runtime.txt: what the stack lacks is said, and we go on. */
static void
note_versions(const struct build_plan_in *in, const struct codec_value *pkg, struct str_list *notes)
{
	const char *want = codec_string(codec_get(codec_get(pkg, "engines"), "node"));
	AUTO(free) char *runtime = build_start_file(in->repo, "runtime.txt");

	if (want != NULL && in->node_version != NULL && strcmp(in->web->cart.name, "nodejs") == 0 &&
	    !semver_satisfies(in->node_version, want))
		str_list_take(notes, xasprintf("Warning: package.json asks for Node.js %.100s; "
		                               "this stack has %s and goes on with it",
		                         want, in->node_version));
	if (runtime != NULL && in->python_version != NULL &&
	    strcmp(in->web->cart.name, "python") == 0) {
		struct str s = { runtime, strcspn(runtime, "\r\n") };

		s = str_trim(s);
		if (s.n > 7 && strncmp(s.p, "python-", 7) == 0)
			s = (struct str){ s.p + 7, s.n - 7 };
		if (s.n > 0 && s.n < 20) {
			AUTO(free) char *version = xstrndup(s.p, s.n);

			if (!semver_satisfies(in->python_version, version))
				str_list_take(
				    notes, xasprintf("Warning: runtime.txt asks for Python %s; "
				                     "this stack has %s and goes on with it",
				               version, in->python_version));
		}
	}
}

/* --- the dependency key --- */

static void
key_file(const struct build_plan_in *in, const char *rel, struct buf *b)
{
	AUTO(free) char *text = build_start_file(in->repo, rel);
	char hex[65];

	if (text == NULL)
		return;
	secret_sha256_hex(text, strlen(text), hex);
	buf_addf(b, "file %s %s\n", rel, hex);
}

static bool
is_build_variable(const struct wire_cart_pinion *p, const char *name)
{
	for (size_t i = 0; i < p->build_variables.n; i++) {
		if (fnmatch(p->build_variables.v[i], name, 0) == 0)
			return true;
	}
	return false;
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
key_sorted(const char *word, struct str_list *l, struct buf *b)
{
	if (l->n > 0)
		qsort(l->v, l->n, sizeof *l->v, by_text);
	for (size_t i = 0; i < l->n; i++)
		buf_addf(b, "%s %s\n", word, l->v[i]);
}

static void
key_variables(const struct build_plan_in *in, struct buf *b)
{
	AUTO_FINI(str_list_fini) struct str_list l = { 0 };
	const struct wire_var_list *env = &in->order->gear.env;

	for (size_t i = 0; i < env->n; i++) {
		if (is_build_variable(&in->web->cart.pinion, env->v[i].name))
			str_list_take(&l, xasprintf("%s=%s", env->v[i].name, env->v[i].value));
	}
	key_sorted("env", &l, b);
}

/* Names in a directory of the tree; suffix NULL: all. */
static void
list_dir(int repo, const char *rel, const char *suffix, struct str_list *out)
{
	struct err ignored = { 0 };
	int fd = file_open_beneath(repo, rel, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, &ignored);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;

	if (d == NULL)
		file_close(fd);
	while (d != NULL && (de = readdir(d)) != NULL && out->n < 10000) {
		if (de->d_name[0] != '.' && (suffix == NULL || str_has_suffix(de->d_name, suffix)))
			str_list_add(out, de->d_name);
	}
	if (d != NULL)
		closedir(d);
}

/* Python's: requirement files that others include, local wheels. */
static void
key_python(const struct build_plan_in *in, struct buf *b)
{
	static const char *const folders[] = { ".", "requirements", "wheels", "wheelhouse",
		"vendor/wheels", ".wheels" };
	const char *path =
	    build_start_var(&in->order->gear.env, "OPENSHIFT_PYTHON_REQUIREMENTS_PATH");

	if (path != NULL && path[0] != '/')
		key_file(in, path, b);
	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		AUTO_FINI(str_list_fini) struct str_list l = { 0 };

		list_dir(in->repo, folders[i], i < 2 ? ".txt" : ".whl", &l);
		if (l.n > 0)
			qsort(l.v, l.n, sizeof *l.v, by_text);
		for (size_t k = 0; k < l.n; k++) {
			AUTO(free) char *rel = file_join(folders[i], l.v[k]);

			if (i >= 2)
				buf_addf(b, "wheel %s\n", rel);
			else if (i == 1 || strncmp(l.v[k], "requirements", 12) == 0)
				key_file(in, rel, b);
		}
	}
}

static char *
make_key(const struct build_plan_in *in)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	AUTO_FINI(str_list_fini) struct str_list markers = { 0 };
	AUTO(free) char *ident = wire_cart_ident(&in->web->cart);
	const struct wire_cart_pinion *p = &in->web->cart.pinion;
	char hex[65];

	buf_addf(&b, "dependencies 1\napp %s\nstack %s\ncartridge %s %s\n", in->order->gear.app_id,
	    in->stack_digest, ident, in->web->digest);
	for (size_t i = 0; i < p->dependency_files.n; i++)
		key_file(in, p->dependency_files.v[i], &b);
	if (strcmp(in->web->cart.name, "python") == 0)
		key_python(in, &b);
	key_variables(in, &b);
	list_dir(in->repo, markers_dir, NULL, &markers);
	key_sorted("marker", &markers, &b);
	secret_sha256_hex(b.p, b.n, hex);
	return xstrdup(hex);
}

/* --- is there anything to install? --- */

static bool
has_members(const struct codec_value *pkg, const char *key)
{
	return codec_count(codec_get(pkg, key)) > 0;
}

/* Scripts that npm runs at an install, which may read or write anything of the repository. */
static bool
has_install_scripts(const struct codec_value *pkg)
{
	static const char *const names[] = { "preinstall", "install", "postinstall", "prepublish",
		"preprepare", "prepare", "postprepare" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (codec_get(codec_get(pkg, "scripts"), names[i]) != NULL)
			return true;
	}
	return false;
}

static bool
wants_node(const struct build_plan_in *in, const struct codec_value *pkg, struct str_list *notes)
{
	if (pkg == NULL)
		return false;
	if (build_start_is_dir(in->repo, "node_modules")) {
		str_list_add(notes, "node_modules comes with the repository and is used as it is: "
		                    "npm does not run");
		return false;
	}
	return has_members(pkg, "dependencies") || has_members(pkg, "optionalDependencies") ||
	       has_members(pkg, "devDependencies") || has_members(pkg, "workspaces") ||
	       has_install_scripts(pkg);
}

static bool
has_requirement(const char *text)
{
	for (const char *line = text; line != NULL && *line != '\0';) {
		size_t n = strcspn(line, "\n");
		struct str s = str_trim((struct str){ line, n });

		while (s.n > 0 && s.p[s.n - 1] == '\r')
			s.n--;
		if (s.n > 0 && s.p[0] != '#')
			return true;
		line += n + (line[n] == '\n');
	}
	return false;
}

static bool
wants_python(const struct build_plan_in *in)
{
	const char *path =
	    build_start_var(&in->order->gear.env, "OPENSHIFT_PYTHON_REQUIREMENTS_PATH");
	AUTO(free)
	char *text =
	    build_start_file(in->repo, path == NULL || path[0] == '\0' ? "requirements.txt" : path);

	return text != NULL && has_requirement(text);
}

static bool
has_any_file(int repo, const struct str_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		if (build_start_is_file(repo, l->v[i]))
			return true;
	}
	return false;
}

/* Does the cartridge's build have anything to do for this tree? */
static bool
wants_build(const struct build_plan_in *in, const struct codec_value *pkg, struct str_list *notes)
{
	const char *name = in->web->cart.name;

	if (!in->web->cart.pinion.is_given)
		return true;
	if (!cart_action_handles(in->web, "build"))
		return false;
	if (strcmp(name, "nodejs") == 0)
		return wants_node(in, pkg, notes);
	if (strcmp(name, "python") == 0)
		return wants_python(in);
	if (strcmp(name, "php") == 0)
		return build_start_is_file(in->repo, "composer.json") &&
		       !build_start_is_file(in->repo, "vendor/autoload.php");
	if (strcmp(name, "ruby") == 0)
		return build_start_is_file(in->repo, "Gemfile");
	if (in->web->cart.pinion.dependency_files.n > 0)
		return has_any_file(in->repo, &in->web->cart.pinion.dependency_files);
	return true;
}

/* Hooks of the user that belong to a build, the sourced ones too; with an artifact only `prepare`.
 */
static bool
has_build_hooks(const struct build_plan_in *in)
{
	static const char *const names[] = { "prepare", "pre_build", "build" };
	size_t names_n = in->order->is_artifact ? 1 : ARRAY_LEN(names);
	AUTO_FINI(str_list_fini) struct str_list l = { 0 };

	list_dir(in->repo, hooks_dir, NULL, &l);
	for (size_t i = 0; i < l.n; i++) {
		for (size_t k = 0; k < names_n; k++) {
			if (strcmp(l.v[i], names[k]) == 0)
				return true;
		}
		if (in->order->is_artifact)
			continue;
		if (strstr(l.v[i], "_build_") != NULL || strstr(l.v[i], "_pre-build_") != NULL)
			return true;
	}
	return false;
}

static void
list_actions(const struct build_plan_in *in, struct build_plan *p)
{
	static const char *const actions[] = { "update-configuration", "pre-build", "build",
		"prepare" };

	for (size_t i = in->order->is_artifact ? 3 : 0; i < ARRAY_LEN(actions); i++) {
		bool is_first = i == 0;

		if (!is_first || cart_action_handles(in->web, actions[i]))
			str_list_add(&p->actions, actions[i]);
	}
}

static void
decide_build(const struct build_plan_in *in, const struct codec_value *pkg, struct build_plan *p)
{
	const struct wire_build_order *o = in->order;
	AUTO(free) char *clean = file_join(markers_dir, "force_clean_build");
	bool is_left = cart_action_only_starts(in->web, o->is_template);
	bool has_hooks = !is_left && has_build_hooks(in);
	bool wants = !is_left && !o->is_artifact && wants_build(in, pkg, &p->notes);
	/* What depends on no file in particular depends on all: it is built each time. */
	bool has_key = wants && (!in->web->cart.pinion.is_given ||
	                            in->web->cart.pinion.dependency_files.n > 0);
	bool is_same;

	p->is_clean = o->force_clean || build_start_is_file(in->repo, clean);
	p->deps_key = has_key ? make_key(in) : xstrdup("");
	is_same = has_key && !p->is_clean && o->previous_deps_key != NULL &&
	          strcmp(o->previous_deps_key, p->deps_key) == 0 && in->web->cart.pinion.is_given &&
	          !(pkg != NULL && has_install_scripts(pkg));
	if (is_same && o->previous.deps != NULL && o->previous.deps[0] != '\0') {
		layer_store_touch(in->layers, o->previous.deps);
		is_same = layer_store_has(in->layers, o->previous.deps);
	}
	p->deps_reused = is_same && !has_hooks;
	p->needs_container = has_hooks || (wants && !p->deps_reused);
	if (p->deps_reused)
		str_list_add(
		    &p->notes, "Dependencies are unchanged: those of the last build are used");
	if (p->is_clean)
		str_list_add(&p->notes, "Force clean build enabled - cleaning dependencies");
	if (p->needs_container)
		list_actions(in, p);
}

static int
check_subdir(const struct build_plan_in *in, struct err *e)
{
	const char *dir = build_start_var(&in->order->gear.env, "PINION_SUBDIR");

	if (dir == NULL || dir[0] == '\0' || in->src->files > 0 || in->order->is_artifact)
		return 0;
	return err_set(e, ERR_INVALID, "PINION_SUBDIR",
	    "PINION_SUBDIR names the folder '%s', which the repository does not have", dir);
}

static void
note_processes(const struct wire_var_list *l, struct str_list *notes)
{
	for (size_t i = 0; i < l->n; i++)
		str_list_take(
		    notes, xasprintf("Process type %s: runs once you scale it (pinion scale %s=1)",
		               l->v[i].name, l->v[i].name));
}

int
build_plan_make(const struct build_plan_in *in, struct build_plan *out, struct err *e)
{
	AUTO_FINI(build_plan_fini) struct build_plan p = { 0 };
	AUTO(free) char *text = build_start_file(in->repo, "package.json");
	struct err bad = { 0 };
	struct codec_value *pkg = text == NULL ? NULL : codec_parse(text, strlen(text), &bad);
	const struct build_start start = { .repo = in->repo,
		.lang = in->web->cart.name,
		.is_stock = in->web->cart.pinion.is_given,
		.env = &in->order->gear.env };
	int rc;

	if (check_subdir(in, e) < 0) {
		codec_value_free(pkg);
		return -1;
	}
	note_source(in, &p.notes);
	note_versions(in, pkg, &p.notes);
	rc = build_start_find(&start, &p.start, &p.release, &p.notes, e);
	if (rc == 0) {
		str_list_take(&p.notes, xasprintf("Start: %s", p.start.why));
		build_start_processes(in->repo, &p.processes);
		note_processes(&p.processes, &p.notes);
		decide_build(in, pkg, &p);
		*out = p;
		p = (struct build_plan){ 0 };
	}
	codec_value_free(pkg);
	return rc;
}
