/* build_start, semver: how applications as people write them start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "node/build_start.h"
#include "node/semver.h"
#include "test/lib/tree.h"

enum { FILES_MAX = 8 };

static const struct start_case {
	const char *name;
	const char *lang;
	const char *files[FILES_MAX]; /* tree.h */
	const char *docroot;          /* PINION_DOCROOT */
	const char *kind;             /* NULL: cannot start */
	const char *command;          /* NULL: not looked at */
	const char *release;
} cases[] = {
	{ "procfile first", "nodejs",
	    { "Procfile\nweb: node x.js --port $PORT\nworker: y\n",
	        "package.json\n{\"scripts\":{\"start\":\"node y\"}}", "server.js\n" },
	    NULL, "procfile", "node x.js --port $PORT", NULL },
	{ "procfile with CR LF, comment, release", "python",
	    { "Procfile\n# hello\r\nrelease: python manage.py migrate\r\nweb:   gunicorn x  \r\n" },
	    NULL, "procfile", "gunicorn x", "python manage.py migrate" },
	{ "procfile without web", "nodejs", { "Procfile\nworker: x\n", "app.js\n" }, NULL, "usual",
	    "node app.js", NULL },
	{ "procfile that says npm start", "nodejs",
	    { "Procfile\nweb: npm start\n",
	        "package.json\n{\"scripts\":{\"start\":\"node server.js\"}}" },
	    NULL, "procfile", "node server.js", NULL },
	{ "yarn run", "nodejs",
	    { "Procfile\nweb: yarn serve\n",
	        "package.json\n{\"scripts\":{\"serve\":\"npm run real\",\"real\":\"node r.js\"}}" },
	    NULL, "procfile", "node r.js", NULL },
	{ "a script with a dash", "nodejs",
	    { "Procfile\nweb: npm run start-prod:web\n",
	        "package.json\n{\"scripts\":{\"start-prod:web\":\"node p.js\"}}" },
	    NULL, "procfile", "node p.js", NULL },
	{ "npm with an option stays", "nodejs",
	    { "Procfile\nweb: npm --silent start\n",
	        "package.json\n{\"scripts\":{\"start\":\"node s\"}}" },
	    NULL, "procfile", "npm --silent start", NULL },
	{ "package.json start", "nodejs",
	    { "package.json\n{\"scripts\":{\"start\":\"NODE_ENV=production node bin/www\"}}",
	        "server.js\n" },
	    NULL, "package", "NODE_ENV=production node bin/www", NULL },
	{ "prestart", "nodejs",
	    { "package.json\n{\"scripts\":{\"start\":\"node s\",\"prestart\":\"tsc\"}}" }, NULL,
	    "package", "{ tsc; } && node s", NULL },
	{ "the marker use_npm", "nodejs",
	    { "package.json\n{\"scripts\":{\"start\":\"node x.js\"}}",
	        ".openshift/markers/use_npm\n" },
	    NULL, "package", "npm start", NULL },
	{ "endless scripts", "nodejs",
	    { "package.json\n{\"scripts\":{\"start\":\"npm run a\",\"a\":\"npm start\"}}" }, NULL,
	    "package", NULL, NULL },
	{ "broken package.json", "nodejs", { "package.json\n{nope", "server.js\n" }, NULL, NULL,
	    NULL, NULL },
	{ "server.js before app.js", "nodejs", { "app.js\n", "server.js\n", "index.js\n" }, NULL,
	    "usual", "node server.js", NULL },
	{ "index.js", "nodejs", { "package.json\n{}", "index.js\n" }, NULL, "usual",
	    "node index.js", NULL },
	{ "main", "nodejs", { "package.json\n{\"main\":\"lib/run.js\"}", "lib/run.js\n" }, NULL,
	    "usual", "node 'lib/run.js'", NULL },
	{ "only index.html", "nodejs", { "index.html\n<p>" }, NULL, "files", ".", NULL },
	{ "nothing", "nodejs", { "README\n" }, NULL, NULL, NULL, NULL },
	{ "v2 wsgi", "python", { "wsgi/application\ndef application(e, s): pass\n", "app.py\n" },
	    NULL, "usual", "python3 /usr/lib/pinion/wsgi-server wsgi/application:application",
	    NULL },
	{ "wsgi.py", "python", { "wsgi.py\nfrom x import make\napplication = make()\n" }, NULL,
	    "usual", "python3 /usr/lib/pinion/wsgi-server wsgi:application", NULL },
	{ "wsgi.py with app", "python",
	    { "wsgi.py\nfrom flask import Flask\napp = Flask(__name__)\n" }, NULL, "usual",
	    "python3 /usr/lib/pinion/wsgi-server wsgi:app", NULL },
	{ "flask app.py with a guard", "python",
	    { "app.py\nfrom flask import Flask\napp = Flask(__name__)\n\nif __name__ == "
	      "'__main__':\n    app.run()\n" },
	    NULL, "usual", "python3 /usr/lib/pinion/wsgi-server app:app", NULL },
	{ "plain app.py", "python",
	    { "app.py\nfrom http.server import HTTPServer\nHTTPServer(('', 8080), "
	      "X).serve_forever()\n" },
	    NULL, "usual", "python3 -u app.py", NULL },
	{ "v2's app.py, which serves at import", "python",
	    { "app.py\nfrom wsgiref.simple_server import make_server\napplication = f\n"
	      "make_server('', 1, application).serve_forever()\n" },
	    NULL, "usual", "python3 -u app.py", NULL },
	{ "aiohttp", "python",
	    { "app.py\nfrom aiohttp import web\napp = web.Application()\nweb.run_app(app)\n" },
	    NULL, "usual", "python3 -u app.py", NULL },
	{ "fastapi", "python", { "app.py\nfrom fastapi import FastAPI\napp = FastAPI()\n" }, NULL,
	    "usual", "python3 -m uvicorn app:app --host \"$HOST\" --port \"$PORT\"", NULL },
	{ "application.py", "python", { "application.py\ndef application(e, s):\n  pass\n" }, NULL,
	    "usual", "python3 /usr/lib/pinion/wsgi-server application:application", NULL },
	{ "django", "python", { "manage.py\n", "shop/wsgi.py\napplication = x\n" }, NULL, "usual",
	    "python3 /usr/lib/pinion/wsgi-server shop.wsgi:application", NULL },
	{ "python with only index.html", "python", { "public/index.html\n" }, NULL, "files",
	    "public", NULL },
	{ "php folders in order", "php", { "public/index.php\n", "php/index.php\n", "index.php\n" },
	    NULL, "cartridge", "php", NULL },
	{ "php root", "php", { "index.php\n" }, NULL, "cartridge", ".", NULL },
	{ "php docroot given", "php", { "src/index.php\n", "php/x\n" }, "src", "cartridge", "src",
	    NULL },
	{ "php docroot missing", "php", { "index.php\n" }, "nope", NULL, NULL, NULL },
	{ "php docroot outside", "php", { "index.php\n" }, "../..", NULL, NULL, NULL },
	{ "php with only html", "php", { "index.html\n" }, NULL, "files", ".", NULL },
	{ "php with an empty public", "php", { "public/logo.png\n", "index.php\n" }, NULL,
	    "cartridge", "public", NULL },
	{ "static root", "static", { "a.txt\n" }, NULL, "files", ".", NULL },
	{ "static folder", "static",
	    { "public/index.html\n", "package.json\n{\"scripts\":{\"start\":\"x\"}}" }, NULL,
	    "files", "public", NULL },
	{ "static docroot", "static", { "out/a.txt\n", "index.html\n" }, "out", "files", "out",
	    NULL },
	{ "static root index over nothing", "static", { "index.html\n", "docs/x\n" }, NULL, "files",
	    ".", NULL },
	{ "diy hook", "diy",
	    { ".openshift/action_hooks/start*\n#!/bin/sh\n", "Procfile\nweb: x\n" }, NULL, "hook",
	    NULL, NULL },
	{ "diy hook without the bit", "diy",
	    { ".openshift/action_hooks/start\n#!/bin/sh\n", "Procfile\nweb: x\n" }, NULL,
	    "procfile", "x", NULL },
	{ "a start hook elsewhere", "nodejs",
	    { ".openshift/action_hooks/start*\n#!/bin/sh\n", "app.js\n" }, NULL, "usual",
	    "node app.js", NULL },
	{ "diy package.json", "diy", { "package.json\n{\"scripts\":{\"start\":\"node s\"}}" }, NULL,
	    "package", "node s", NULL },
	{ "rack", "ruby", { "config.ru\nrun 1\n" }, NULL, "cartridge", "", NULL },
	{ "rack by a procfile", "ruby", { "config.ru\nrun 1\n", "Procfile\nweb: bundle exec x\n" },
	    NULL, "procfile", "bundle exec x", NULL },
	{ "psgi", "perl", { "hello.psgi\nsub {}\n" }, NULL, "cartridge", "", NULL },
	{ "cgi as in v2", "perl", { "perl/index.pl\n1\n" }, NULL, "cartridge", "", NULL },
	{ "java sources", "java", { "src/A.java\nclass A {}\n" }, NULL, "cartridge", "", NULL },
	{ "a war", "java", { "webapps/ROOT.war\nPK\n" }, NULL, "cartridge", "", NULL },
	{ "a go module", "go", { "go.mod\nmodule x\n" }, NULL, "cartridge", "", NULL },
	{ "go without sources", "go", { "README\nx\n" }, NULL, NULL, NULL, NULL },
	{ "make needs a procfile", "make", { "Makefile\nall:\n" }, NULL, NULL, NULL, NULL },
	{ "make", "make", { "Makefile\nall:\n", "Procfile\nweb: ./all\n" }, NULL, "procfile",
	    "./all", NULL },
	{ "files in any language", "java", { "index.html\n<p>\n" }, NULL, "files", ".", NULL },
	{ "a cartridge of others", "jbossews", { "pom.xml\n" }, NULL, "cartridge", "", NULL },
};

static void
check_case(const struct start_case *t)
{
	char *dir = tree_new();
	AUTO_FINI(wire_start_fini) struct wire_start s = { 0 };
	AUTO_FINI(str_list_fini) struct str_list notes = { 0 };
	AUTO(free) char *release = NULL;
	struct wire_var var = { "PINION_DOCROOT", (char *)t->docroot };
	const struct wire_var_list env = { &var, t->docroot == NULL ? 0 : 1 };
	struct build_start in = {
		.lang = t->lang, .is_stock = strcmp(t->lang, "jbossews") != 0, .env = &env
	};
	struct err e = { 0 };
	int rc;

	tree_put_all(dir, t->files);
	in.repo = tree_open(dir);
	rc = build_start_find(&in, &s, &release, &notes, &e);
	file_close(in.repo);
	tree_remove(dir);
	if (t->kind == NULL) {
		if (rc == 0)
			fail_msg("%s: started by %s", t->name, s.command);
		assert_int_equal(e.code, ERR_INVALID);
		assert_true(e.text[0] != '\0');
		return;
	}
	if (rc < 0)
		fail_msg("%s: %s", t->name, e.text);
	if (strcmp(s.kind, t->kind) != 0 ||
	    (t->command != NULL && strcmp(s.command, t->command) != 0))
		fail_msg(
		    "%s: %s '%s', wanted %s '%s'", t->name, s.kind, s.command, t->kind, t->command);
	assert_true(s.why != NULL && s.why[0] != '\0');
	if (t->release != NULL)
		assert_string_equal(release, t->release);
	else
		assert_null(release);
}

static void
test_starts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_case(&cases[i]);
}

/* Links inside the tree are followed, those that leave it are not. */
static void
test_links(void **state)
{
	char *dir = tree_new();
	AUTO_FINI(wire_start_fini) struct wire_start s = { 0 };
	AUTO_FINI(str_list_fini) struct str_list notes = { 0 };
	AUTO(free) char *release = NULL;
	struct build_start in = { .lang = "nodejs", .is_stock = true, .repo = -1 };
	struct err e = { 0 };

	(void)state;
	tree_link(dir, "Procfile", "/etc/passwd");
	tree_link(dir, "server.js", "/etc/passwd");
	tree_put(dir, "src/app.js", "", 0);
	tree_link(dir, "app.js", "src/app.js");
	in.repo = tree_open(dir);
	assert_int_equal(build_start_find(&in, &s, &release, &notes, &e), 0);
	assert_string_equal(s.command, "node app.js");
	file_close(in.repo);
	tree_remove(dir);
}

static void
test_semver(void **state)
{
	static const struct {
		const char *version, *range;
		bool want;
	} t[] = { { "20.20.2", ">=18", true }, { "20.20.2", ">= 18.0.0 <21", true },
		{ "20.20.2", "^18", false }, { "20.20.2", "18.x || 20.x", true },
		{ "20.20.2", "18.x||20.x", true }, { "20.20.2", "~20.20.1", true },
		{ "20.20.2", "~20.19", false }, { "20.20.2", "20", true },
		{ "20.20.2", "<20", false }, { "20.20.2", "14 - 20", true },
		{ "20.20.2", "14 - 18", false }, { "20.20.2", "*", true }, { "20.20.2", "", true },
		{ "20.20.2", "lts/hydrogen", true }, { "3.11.2", "3.9", false },
		{ "3.11.2", "3.11", true }, { "3.11.2", "3.11.4", false },
		{ "0.10.3", "^0.10.1", true }, { "0.11.0", "^0.10.1", false },
		{ "20.1.0", "> 20", false }, { "20.1.0", "<=20", true }, { "v20.1.0", "v20", true },
		{ "20.1.0", ">=20.0.0-rc1", true } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		if (semver_satisfies(t[i].version, t[i].range) != t[i].want)
			fail_msg("%s in %s", t[i].version, t[i].range);
	}
}

/* Any text ends. */
static void
test_semver_rubbish(void **state)
{
	static const char letters[] = "<>=^~ |x*.-+,v1029a";
	unsigned seed = 1;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		char range[24];

		for (size_t k = 0; k + 1 < sizeof range; k++) {
			seed = seed * 1103515245 + 12345;
			range[k] = letters[(seed >> 16) % (sizeof letters - 1)];
		}
		range[seed % sizeof range] = '\0';
		(void)semver_satisfies("20.1.2", range);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_starts),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_semver),
		cmocka_unit_test(test_semver_rubbish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
