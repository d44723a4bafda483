#include "node/build_start.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/codec/codec.h"

enum {
	FILE_BYTES_MAX = 1024 * 1024,
	COMMAND_BYTES_MAX = 4096,
	SCRIPT_DEPTH = 5,
	PROCESSES_MAX = 20,
	PROCESS_NAME_MAX = 32
};

/* --- looking into the tree --- */

static int
open_in(int repo, const char *rel, int flags)
{
	struct err ignored = { 0 };

	/* A pipe must not hold us up; openat2 takes no such flag with O_PATH. */
	flags |= (flags & O_PATH) != 0 ? O_CLOEXEC : O_CLOEXEC | O_NONBLOCK;
	return file_open_beneath(repo, rel, flags, 0, &ignored);
}

char *
build_start_file(int repo, const char *rel)
{
	AUTO(file_close) int fd = open_in(repo, rel, O_RDONLY);
	AUTO(free) char *p = NULL;
	struct stat st;
	size_t n = 0;
	ssize_t got;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_BYTES_MAX)
		return NULL;
	p = xcalloc(1, (size_t)st.st_size + 1);
	while (n < (size_t)st.st_size && (got = read(fd, p + n, (size_t)st.st_size - n)) > 0)
		n += (size_t)got;
	p[n] = '\0';
	return STEAL(p);
}

static bool
is_type(int repo, const char *rel, mode_t type)
{
	AUTO(file_close) int fd = open_in(repo, rel, O_PATH);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == type;
}

bool
build_start_is_dir(int repo, const char *rel)
{
	return is_type(repo, rel, S_IFDIR);
}

bool
build_start_is_file(int repo, const char *rel)
{
	return is_type(repo, rel, S_IFREG);
}

const char *
build_start_var(const struct wire_var_list *env, const char *name)
{
	for (size_t i = 0; env != NULL && i < env->n; i++) {
		if (strcmp(env->v[i].name, name) == 0)
			return env->v[i].value;
	}
	return NULL;
}

static bool
has_file_like(int repo, const char *dir, const char *suffix)
{
	int fd = open_in(repo, dir, O_RDONLY | O_DIRECTORY);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;
	bool found = false;

	if (d == NULL) {
		file_close(fd);
		return false;
	}
	while (!found && (de = readdir(d)) != NULL)
		found = str_has_suffix(de->d_name, suffix);
	closedir(d);
	return found;
}

static void
set_start(struct wire_start *s, const char *kind, const char *command, char *take_why)
{
	mem_set_str(&s->kind, kind);
	mem_set_str(&s->command, command);
	free(s->why);
	s->why = take_why;
}

/* --- Procfile --- */

/* The command of a `NAME: command` line; caller owns; NULL: none. */
static char *
procfile_command(const char *text, const char *name)
{
	size_t n = strlen(name);

	for (const char *line = text; line != NULL && *line != '\0';) {
		size_t len = strcspn(line, "\r\n");
		struct str s = str_trim((struct str){ line, len });

		if (s.n > n && strncmp(s.p, name, n) == 0) {
			struct str rest = str_trim((struct str){ s.p + n, s.n - n });

			if (rest.n > 0 && rest.p[0] == ':') {
				rest = str_trim((struct str){ rest.p + 1, rest.n - 1 });
				if (rest.n > 0)
					return xstrndup(rest.p, rest.n);
			}
		}
		line += len;
		line += strspn(line, "\r\n");
	}
	return NULL;
}

static bool
is_process_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '-' && c != '_')
			return false;
	}
	return s.n > 0 && s.n <= PROCESS_NAME_MAX && !str_eq(s, "web") && !str_eq(s, "release");
}

static bool
has_process(const struct wire_var_list *l, struct str name)
{
	for (size_t i = 0; i < l->n; i++) {
		if (str_eq(name, l->v[i].name))
			return true;
	}
	return false;
}

void
build_start_procfile(const char *text, struct wire_var_list *out)
{
	struct str rest = str_of(text), line, command;

	while (rest.n > 0 && out->n < PROCESSES_MAX) {
		struct wire_var *v;
		struct str name;

		rest = str_cut(rest, '\n', &line);
		command = str_cut(line, ':', &name);
		command = str_trim(command);
		name = str_trim(name);
		if (command.n == 0 || command.n > COMMAND_BYTES_MAX || !is_process_name(name) ||
		    has_process(out, name))
			continue;
		v = codec_list_add(&wire_var_codec, out);
		v->name = xstrndup(name.p, name.n);
		v->value = xstrndup(command.p, command.n);
	}
}

void
build_start_processes(int repo, struct wire_var_list *out)
{
	AUTO(free) char *text = build_start_file(repo, "Procfile");

	if (text != NULL)
		build_start_procfile(text, out);
}

/* --- package.json --- */

static const char *
script_of(const struct codec_value *pkg, const char *name)
{
	const char *s = codec_string(codec_get(codec_get(pkg, "scripts"), name));

	return s != NULL && s[0] != '\0' ? s : NULL;
}

/* The script's name when the whole command is `npm start`, `npm run X`, `yarn X` …; else NULL. */
static char *
script_called(const char *command)
{
	static const char *const runners[] = { "npm run-script ", "npm run ", "npm ", "yarn run ",
		"yarn ", "pnpm run ", "pnpm ", NULL };
	struct str s = str_trim(str_of(command));

	for (size_t i = 0; runners[i] != NULL; i++) {
		size_t n = strlen(runners[i]);
		struct str word;

		if (s.n <= n || strncmp(s.p, runners[i], n) != 0)
			continue;
		word = str_trim((struct str){ s.p + n, s.n - n });
		if (word.n == 0 || word.p[0] == '-') /* an option: npm's own affair */
			return NULL;
		for (size_t k = 0; k < word.n; k++) {
			if (strchr(" \t;&|<>$`'\"", word.p[k]) != NULL)
				return NULL;
		}
		return xstrndup(word.p, word.n);
	}
	return NULL;
}

/* The command behind npm's detour: npm alone holds some 80 MB while the application runs. With a
 * pre-script in front. Caller owns. */
static char *
without_npm(const struct codec_value *pkg, const char *command)
{
	AUTO(free) char *now = xstrdup(command);

	for (int i = 0; pkg != NULL && i < SCRIPT_DEPTH; i++) {
		AUTO(free) char *name = script_called(now);
		AUTO(free) char *pre_name = name == NULL ? NULL : xasprintf("pre%s", name);
		const char *script = name == NULL ? NULL : script_of(pkg, name);
		const char *pre = script == NULL ? NULL : script_of(pkg, pre_name);

		if (script == NULL)
			break;
		free(now);
		now = pre == NULL ? xstrdup(script) : xasprintf("{ %s; } && %s", pre, script);
	}
	return STEAL(now);
}

static bool
package_start(const struct build_start *in, const struct codec_value *pkg, struct wire_start *out)
{
	AUTO(free) char *command = NULL;

	if (script_of(pkg, "start") == NULL)
		return false;
	if (build_start_is_file(in->repo, ".openshift/markers/use_npm")) {
		set_start(out, "package", "npm start", xstrdup("npm start (the marker use_npm)"));
		return true;
	}
	command = without_npm(pkg, "npm start");
	set_start(out, "package", command,
	    xasprintf("the start script of package.json, run directly: %s", command));
	return true;
}

/* --- folders of files --- */

static int
docroot_given(const struct build_start *in, const char **out, struct err *e)
{
	const char *root = build_start_var(in->env, "PINION_DOCROOT");

	*out = NULL;
	if (root == NULL || root[0] == '\0')
		return 0;
	if (root[0] == '/' || strstr(root, "..") != NULL || !build_start_is_dir(in->repo, root))
		return err_set(e, ERR_INVALID, "PINION_DOCROOT",
		    "names the folder '%s', which the repository does not have", root);
	*out = root;
	return 0;
}

static bool
has_index(int repo, const char *dir)
{
	static const char *const names[] = { "index.html", "index.htm", "default.htm" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO(free) char *rel = file_join(dir, names[i]);

		if (build_start_is_file(repo, rel))
			return true;
	}
	return false;
}

/* Where the files lie: PINION_DOCROOT, the first usual folder with an index, the root. */
static int
files_start(const struct build_start *in, bool is_static, struct wire_start *out, struct err *e)
{
	static const char *const folders[] = { "public", "web", "htdocs", "dist", "build", "_site",
		"www", "." };
	const char *root;

	if (docroot_given(in, &root, e) < 0)
		return -1;
	if (root != NULL && (is_static || has_index(in->repo, root))) {
		set_start(out, "files", root,
		    xasprintf("serving the files of %s (PINION_DOCROOT)", root));
		return 1;
	}
	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		bool is_root = strcmp(folders[i], ".") == 0;

		if (!has_index(in->repo, folders[i]) && !(is_root && is_static))
			continue;
		set_start(out, "files", folders[i],
		    is_root ? xstrdup("serving the files of the repository's root")
		            : xasprintf(
		                  "serving the files of %s/ (the first folder with an index.html)",
		                  folders[i]));
		return 1;
	}
	return 0;
}

static int
php_start(const struct build_start *in, struct wire_start *out, struct err *e)
{
	static const char *const folders[] = { "php", "public", "web", "htdocs", "p" };
	const char *root;
	AUTO(free) char *why = NULL;

	if (docroot_given(in, &root, e) < 0)
		return -1;
	if (root != NULL)
		why = xasprintf("document root %s (PINION_DOCROOT)", root);
	for (size_t i = 0; root == NULL && i < ARRAY_LEN(folders); i++) {
		if (build_start_is_dir(in->repo, folders[i])) {
			root = folders[i];
			why = xasprintf(
			    "document root %s/ (the first there is of php, public, web, htdocs, p)",
			    root);
		}
	}
	if (root == NULL) {
		root = ".";
		why = xstrdup("document root: the repository's root");
	}
	if (!has_file_like(in->repo, root, ".php") && has_index(in->repo, root)) {
		set_start(out, "files", root, xasprintf("%s; no PHP in it: serving files", why));
		return 1;
	}
	set_start(out, "cartridge", root, STEAL(why));
	return 1;
}

/* --- usual names --- */

static int
node_start(const struct build_start *in, const struct codec_value *pkg, struct wire_start *out)
{
	static const char *const names[] = { "server.js", "app.js", "index.js", "server.mjs",
		"app.mjs", "index.mjs" };
	const char *main = codec_string(codec_get(pkg, "main"));

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO(free) char *command = NULL;

		if (!build_start_is_file(in->repo, names[i]))
			continue;
		command = xasprintf("node %s", names[i]);
		set_start(out, "usual", command, xasprintf("%s is there: %s", names[i], command));
		return 1;
	}
	if (main != NULL && main[0] != '/' && strlen(main) < 256 && strchr(main, '\'') == NULL &&
	    build_start_is_file(in->repo, main)) {
		AUTO(free) char *command = xasprintf("node '%s'", main);

		set_start(out, "usual", command, xasprintf("package.json's main: %s", command));
		return 1;
	}
	return 0;
}

/* A line that begins with `NAME =` or `def NAME(`: what a WSGI server can import. */
static bool
defines(const char *text, const char *name)
{
	size_t n = strlen(name);

	for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
		const char *p = line[0] == '\n' ? line + 1 : line;
		bool is_def = strncmp(p, "def ", 4) == 0;

		line = p;
		p += is_def ? 4 : 0;
		if (strncmp(p, name, n) == 0) {
			p += n;
			p += strspn(p, " \t");
			if (is_def ? *p == '(' : (*p == '=' && p[1] != '=') || *p == ':')
				return true;
		}
		if (line[0] == '\0')
			break;
	}
	return false;
}

/* Frameworks whose applications no WSGI server can run. */
static bool
is_async(const char *text)
{
	static const char *const words[] = { "FastAPI(", "Starlette(", "Quart(", "Sanic(",
		"aiohttp", "tornado" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strstr(text, words[i]) != NULL)
			return true;
	}
	return false;
}

static bool
is_asgi(const char *text)
{
	return strstr(text, "FastAPI(") != NULL || strstr(text, "Starlette(") != NULL ||
	       strstr(text, "Quart(") != NULL;
}

static void
wsgi(struct wire_start *out, const char *target, const char *file)
{
	AUTO(free) char *command = xasprintf("python3 /usr/lib/pinion/wsgi-server %s", target);

	set_start(out, "usual", command, xasprintf("%s is a WSGI application: %s", file, target));
}

/* NAME.py: a WSGI application to be imported, or a program that listens itself. */
static bool
python_file(
    const struct build_start *in, const char *name, bool is_wsgi_for_sure, struct wire_start *out)
{
	AUTO(free) char *file = xasprintf("%s.py", name);
	AUTO(free) char *text = build_start_file(in->repo, file);
	const char *symbol;
	bool has_guard, runs_itself;

	if (text == NULL)
		return false;
	symbol = defines(text, "application") ? "application" : defines(text, "app") ? "app" : NULL;
	has_guard = strstr(text, "__name__") != NULL;
	runs_itself = strstr(text, "serve_forever") != NULL || strstr(text, ".run(") != NULL ||
	              strstr(text, "run_simple(") != NULL;
	if (symbol != NULL && is_asgi(text) && !runs_itself) {
		AUTO(free)
		char *command = xasprintf(
		    "python3 -m uvicorn %s:%s --host \"$HOST\" --port \"$PORT\"", name, symbol);

		set_start(out, "usual", command,
		    xasprintf("%s is an ASGI application: %s", file, command));
		return true;
	}
	if (is_wsgi_for_sure ||
	    (symbol != NULL && !is_async(text) && (has_guard || !runs_itself))) {
		AUTO(free)
		char *target = xasprintf("%s:%s", name, symbol == NULL ? "application" : symbol);

		wsgi(out, target, file);
		return true;
	}
	{
		AUTO(free) char *command = xasprintf("python3 -u %s", file);

		set_start(out, "usual", command, xasprintf("%s is there: %s", file, command));
	}
	return true;
}

/* A Django project: manage.py, and a package with a wsgi.py. */
static bool
django_start(const struct build_start *in, struct wire_start *out)
{
	int fd = build_start_is_file(in->repo, "manage.py")
	             ? open_in(in->repo, ".", O_RDONLY | O_DIRECTORY)
	             : -1;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;
	bool found = false;

	while (!found && d != NULL && (de = readdir(d)) != NULL) {
		AUTO(free) char *rel = xasprintf("%s/wsgi.py", de->d_name);
		AUTO(free) char *target = xasprintf("%s.wsgi:application", de->d_name);

		if (de->d_name[0] == '.' || !str_is_env_name(de->d_name) ||
		    !build_start_is_file(in->repo, rel))
			continue;
		wsgi(out, target, rel);
		found = true;
	}
	if (d != NULL)
		closedir(d);
	return found;
}

static int
python_start(const struct build_start *in, struct wire_start *out)
{
	static const char *const v2[] = { "wsgi/application", "wsgi/application.py",
		"wsgi.py/application" };
	const char *given = build_start_var(in->env, "OPENSHIFT_PYTHON_WSGI_APPLICATION");

	if (given != NULL && given[0] != '\0' && strpbrk(given, " '\"$;&|") == NULL) {
		AUTO(free) char *target = xasprintf("%s:application", given);

		wsgi(out, target, given);
		return 1;
	}
	for (size_t i = 0; i < ARRAY_LEN(v2); i++) {
		AUTO(free) char *target = xasprintf("%s:application", v2[i]);

		if (!build_start_is_file(in->repo, v2[i]))
			continue;
		wsgi(out, target, v2[i]);
		return 1;
	}
	return python_file(in, "wsgi", true, out) || python_file(in, "app", false, out) ||
	       python_file(in, "application", false, out) || django_start(in, out) ||
	       python_file(in, "main", false, out);
}

/* --- the order --- */

static int
not_found(const char *lang, struct err *e)
{
	static const struct {
		const char *lang, *names;
	} all[] = {
		{ "nodejs", "a start script in package.json, or server.js, app.js, index.js" },
		{ "python", "wsgi/application, wsgi.py, app.py or application.py" },
		{ "diy", "an executable .openshift/action_hooks/start" },
		{ "ruby", "config.ru" },
		{ "perl", "app.psgi, or perl/index.pl" },
		{ "java", "a pom.xml, a war, a jar, or sources in src/" },
		{ "go", "go.mod or main.go" },
	};
	const char *names = strcmp(lang, "make") == 0 ? NULL : "what its cartridge starts";

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		names = strcmp(lang, all[i].lang) == 0 ? all[i].names : names;
	return err_set(e, ERR_INVALID, NULL,
	    "cannot tell how to start this application: add a Procfile with a line 'web: COMMAND'"
	    "%s%s; or an index.html to serve files",
	    names == NULL ? "" : ", ", names == NULL ? "" : names);
}

static bool
hook_start(const struct build_start *in, struct wire_start *out, struct str_list *notes)
{
	static const char hook[] = ".openshift/action_hooks/start";
	AUTO(file_close) int fd = open_in(in->repo, hook, O_PATH);
	struct stat st;

	if (strcmp(in->lang, "diy") != 0 || fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	if ((st.st_mode & 0100) == 0) {
		str_list_add(notes,
		    "Warning: .openshift/action_hooks/start is not executable and is left out; "
		    "make it so with git update-index --chmod=+x .openshift/action_hooks/start");
		return false;
	}
	set_start(out, "hook", hook, xstrdup("the hook .openshift/action_hooks/start"));
	return true;
}

/* What a language's cartridge starts or builds, the first that is there: a file, a folder ("x/"),
 * or the end of a name in the root ("*.x"). */
static const struct sign {
	const char *lang, *name, *why;
} signs[] = {
	{ "ruby", "config.ru", "config.ru, served by puma" },
	{ "perl", "*.psgi", "the PSGI application, served by starman" },
	{ "perl", "perl/", "the files and CGI scripts of perl/" },
	{ "perl", "index.pl", "the files and CGI scripts of the repository" },
	{ "perl", "index.cgi", "the files and CGI scripts of the repository" },
	{ "java", "pom.xml", "what Maven builds: a war, or a jar with a main class" },
	{ "java", "gradlew", "what gradlew builds: a war, or a jar with a main class" },
	{ "java", "*.war", "the war, served by Tomcat" },
	{ "java", "webapps/", "the war of webapps/, served by Tomcat" },
	{ "java", "deployments/", "the war of deployments/, served by Tomcat" },
	{ "java", "WEB-INF/", "the web application, served by Tomcat" },
	{ "java", "*.jar", "the jar with a main class" },
	{ "java", "target/", "what target/ holds: a war, or a jar with a main class" },
	{ "java", "src/", "the class with a main method, compiled from src/" },
	{ "java", "*.java", "the class with a main method" },
	{ "go", "go.mod", "the module's program" },
	{ "go", "*.go", "the program that *.go make" },
};

static bool
has_sign(int repo, const char *name)
{
	size_t n = strlen(name);

	if (name[0] == '*')
		return has_file_like(repo, ".", name + 1);
	if (name[n - 1] == '/') {
		AUTO(free) char *dir = xstrndup(name, n - 1);

		return build_start_is_dir(repo, dir);
	}
	return build_start_is_file(repo, name);
}

static bool
by_sign(const struct build_start *in, struct wire_start *out)
{
	for (size_t i = 0; i < ARRAY_LEN(signs); i++) {
		if (strcmp(signs[i].lang, in->lang) != 0 || !has_sign(in->repo, signs[i].name))
			continue;
		set_start(out, "cartridge", "", xstrdup(signs[i].why));
		return true;
	}
	return false;
}

static int
by_language(const struct build_start *in, const struct codec_value *pkg, struct wire_start *out,
    struct err *e)
{
	if (strcmp(in->lang, "php") == 0)
		return php_start(in, out, e);
	if (strcmp(in->lang, "static") == 0)
		return files_start(in, true, out, e);
	if (strcmp(in->lang, "nodejs") == 0 && node_start(in, pkg, out))
		return 1;
	if (strcmp(in->lang, "python") == 0 && python_start(in, out))
		return 1;
	if (by_sign(in, out))
		return 1;
	return files_start(in, false, out, e);
}

int
build_start_find(const struct build_start *in, struct wire_start *out, char **release,
    struct str_list *notes, struct err *e)
{
	AUTO_FINI(wire_start_fini) struct wire_start s = { 0 };
	AUTO(free) char *procfile = build_start_file(in->repo, "Procfile");
	AUTO(free) char *package = build_start_file(in->repo, "package.json");
	AUTO(free) char *web = procfile_command(procfile, "web");
	struct codec_value *pkg = NULL;
	bool is_node = strcmp(in->lang, "nodejs") == 0 || strcmp(in->lang, "diy") == 0;
	struct err bad = { 0 };
	int found = 0;

	if (!in->is_stock) {
		set_start(&s, "cartridge", "", xasprintf("the %s cartridge knows how", in->lang));
		found = 1;
	}
	if (package != NULL && (is_node || web != NULL)) {
		pkg = codec_parse(package, strlen(package), &bad);
		if (pkg == NULL && is_node)
			return err_set(
			    e, ERR_INVALID, "package.json", "is no valid JSON: %s", bad.text);
	}
	if (found == 0 && hook_start(in, &s, notes))
		found = 1;
	if (found == 0 && web != NULL) {
		AUTO(free) char *command = without_npm(pkg, web);

		set_start(&s, "procfile", command, xasprintf("the Procfile's web: %s", command));
		found = 1;
	}
	if (found == 0 && is_node && package_start(in, pkg, &s))
		found = 1;
	if (found == 0)
		found = by_language(in, pkg, &s, e);
	codec_value_free(pkg);
	if (found == 0)
		return not_found(in->lang, e);
	if (found < 0)
		return -1;
	if (strlen(s.command) > COMMAND_BYTES_MAX)
		return err_set(e, ERR_INVALID, "Procfile",
		    "the start command has more than %d bytes", COMMAND_BYTES_MAX);
	*release = procfile_command(procfile, "release");
	*out = s;
	s = (struct wire_start){ 0 };
	return 0;
}
