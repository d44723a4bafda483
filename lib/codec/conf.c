#include "lib/codec/conf.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { FILE_MAX = 256 * 1024 };

struct load {
	const char *program;
	const struct conf_item *items;
	char *conf;
	struct err *e;
};

static const struct conf_item *
find(const struct conf_item *items, struct str name)
{
	for (; items->kind != CONF_END; items++)
		if (str_eq(name, items->name))
			return items;
	return NULL;
}

static int
set_bool(const struct conf_item *it, const char *text, bool *out, struct err *e)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = { { "true", true }, { "yes", true }, { "1", true }, { "on", true },
		{ "false", false }, { "no", false }, { "0", false }, { "off", false } };

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcmp(words[i].word, text) == 0) {
			*out = words[i].value;
			return 0;
		}
	}
	return err_set(e, ERR_INVALID, it->name, "must be true or false, is \"%s\"", text);
}

static int
set_item(struct load *l, const struct conf_item *it, const char *text)
{
	void *out = l->conf + it->offset;

	switch (it->kind) {
	case CONF_STR:
		if (strlen(text) > (size_t)it->max)
			return err_set(l->e, ERR_INVALID, it->name, "is too long");
		mem_set_str(out, text);
		return 0;
	case CONF_INT:
		return str_to_i64(str_of(text), it->min, it->max, it->name, out, l->e);
	case CONF_BOOL:
		return set_bool(it, text, out, l->e);
	case CONF_STRS:
		str_list_add(out, text);
		return 0;
	case CONF_END:
		break;
	}
	return 0;
}

static int
load_defaults(struct load *l)
{
	for (const struct conf_item *it = l->items; it->kind != CONF_END; it++)
		if (it->dflt != NULL && set_item(l, it, it->dflt) < 0)
			return -1;
	return 0;
}

static int
load_line(struct load *l, struct str line)
{
	struct str key, value = str_cut(line, '=', &key);
	const struct conf_item *it;

	key = str_trim(key);
	if (key.n == 0 || key.p[0] == '#')
		return 0;
	it = find(l->items, key);
	if (it == NULL || value.p == NULL) {
		AUTO(free) char *name = xstrndup(key.p, key.n);

		return err_set(l->e, ERR_INVALID, name, "is no setting of %s: see %s --help",
		    l->program, l->program);
	}
	value = str_trim(value);
	AUTO(free) char *text = xstrndup(value.p, value.n);
	return set_item(l, it, text);
}

static int
load_file(struct load *l, const char *path)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	int line_number = 1;

	if (file_read(path, FILE_MAX, &b, l->e) < 0)
		return -1;
	for (struct str rest = buf_str(&b), line; rest.p != NULL; line_number++) {
		rest = str_cut(rest, '\n', &line);
		if (load_line(l, line) < 0)
			return err_wrap(l->e, "%s line %d", path, line_number);
	}
	return 0;
}

static int
load_environment(struct load *l)
{
	for (const struct conf_item *it = l->items; it->kind != CONF_END; it++) {
		AUTO(free) char *name = xasprintf("%s_%s", l->program, it->name);

		for (char *p = name; *p != '\0'; p++)
			*p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
		const char *text = getenv(name);
		if (text != NULL && set_item(l, it, text) < 0)
			return err_wrap(l->e, "environment variable %s", name);
	}
	return 0;
}

static void
print_help(const struct load *l)
{
	(void)printf("usage: %s [--config FILE] [--OPTION VALUE]…\n\n", l->program);
	for (const struct conf_item *it = l->items; it->kind != CONF_END; it++) {
		(void)printf("  --%s %s\n        %s", it->name,
		    it->kind == CONF_BOOL ? "[true|false]" : "VALUE", it->help);
		if (it->dflt != NULL)
			(void)printf(" (default: %s)", it->dflt);
		(void)putchar('\n');
	}
}

/* --help, --version, and --manual for `make manuals`. */
static bool
print_and_end(const struct load *l, struct str name)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	if (str_eq(name, "help")) {
		print_help(l);
	} else if (str_eq(name, "version")) {
		(void)printf("%s %s\n", l->program, PACKAGE_VERSION);
	} else if (str_eq(name, "manual")) {
		conf_manual(l->items, &b);
		(void)fputs(b.p, stdout);
	} else {
		return false;
	}
	return true;
}

/* The value of argv[*i] ("--name=value" or "--name value"), NULL: missing. */
static const char *
option_value(const struct conf_item *it, struct str after, int argc, char **argv, int *i)
{
	if (after.p != NULL)
		return after.p;
	if (it != NULL && it->kind == CONF_BOOL &&
	    (*i + 1 >= argc || str_has_prefix(argv[*i + 1], "--")))
		return "true";
	return *i + 1 < argc ? argv[++*i] : NULL;
}

/* files_only: only --config, --help and --version; else all the rest. */
static int
load_options(struct load *l, int argc, char **argv, bool files_only)
{
	for (int i = 1; i < argc; i++) {
		struct str name, after = { NULL, 0 };

		if (!str_has_prefix(argv[i], "--"))
			return err_set(l->e, ERR_INVALID, argv[i],
			    "is no option of %s: see %s --help", l->program, l->program);
		after = str_cut(str_of(argv[i] + 2), '=', &name);
		if (print_and_end(l, name))
			return 1;
		const struct conf_item *it = find(l->items, name);
		bool is_file = str_eq(name, "config");
		if (it == NULL && !is_file)
			return err_set(l->e, ERR_INVALID, argv[i],
			    "is no option of %s: see %s --help", l->program, l->program);
		const char *value = option_value(it, after, argc, argv, &i);
		if (value == NULL)
			return err_set(l->e, ERR_INVALID, argv[i], "needs a value");
		if (is_file && files_only && load_file(l, value) < 0)
			return -1;
		if (!is_file && !files_only && set_item(l, it, value) < 0)
			return -1;
	}
	return 0;
}

static int
check_required(const struct load *l)
{
	for (const struct conf_item *it = l->items; it->kind != CONF_END; it++)
		if (it->required && it->kind == CONF_STR &&
		    *(char **)(l->conf + it->offset) == NULL)
			return err_set(
			    l->e, ERR_INVALID, it->name, "is required: give --%s", it->name);
	return 0;
}

int
conf_load(const char *program, const struct conf_item *items, int argc, char **argv, void *out,
    struct err *e)
{
	struct load l = { program, items, out, e };
	int rc = load_defaults(&l);

	if (rc == 0)
		rc = load_options(&l, argc, argv, true);
	if (rc == 0)
		rc = load_environment(&l);
	if (rc == 0)
		rc = load_options(&l, argc, argv, false);
	if (rc == 0)
		rc = check_required(&l);
	if (rc != 0)
		conf_fini(items, out);
	return rc;
}

void
conf_fini(const struct conf_item *items, void *conf)
{
	for (; items->kind != CONF_END; items++) {
		void *v = (char *)conf + items->offset;

		if (items->kind == CONF_STR) {
			free(*(char **)v);
			*(char **)v = NULL;
		} else if (items->kind == CONF_STRS) {
			str_list_fini(v);
		}
	}
}

void
conf_add_troff(struct buf *b, const char *text)
{
	if (*text == '.' || *text == '\'')
		buf_adds(b, "\\&");
	for (const char *p = text; *p != '\0'; p++) {
		if (*p == '\\') {
			buf_adds(b, "\\e");
		} else if (*p == '-') {
			buf_adds(b, "\\-");
		} else if (str_has_prefix(p, "…")) {
			buf_adds(b, "...");
			p += strlen("…") - 1;
		} else {
			buf_addc(b, *p);
		}
	}
}

static void
add_item(const struct conf_item *it, struct buf *b)
{
	buf_adds(b, ".TP\n\\fB\\-\\-");
	conf_add_troff(b, it->name);
	buf_addf(b, "\\fP \\fI%s\\fP\n", it->kind == CONF_BOOL ? "true|false" : "VALUE");
	conf_add_troff(b, it->help);
	if (it->kind == CONF_INT)
		buf_addf(b, "\nFrom %" PRId64 " to %" PRId64 ".", it->min, it->max);
	if (it->kind == CONF_STRS)
		buf_adds(b, "\nMay be given several times.");
	if (it->dflt != NULL) {
		buf_adds(b, "\nDefault: ");
		conf_add_troff(b, it->dflt);
		buf_addc(b, '.');
	}
	if (it->required)
		buf_adds(b, "\nRequired.");
	buf_addc(b, '\n');
}

void
conf_manual(const struct conf_item *items, struct buf *b)
{
	for (; items->kind != CONF_END; items++)
		add_item(items, b);
	buf_adds(b,
	    ".TP\n\\fB\\-\\-config\\fP \\fIFILE\\fP\nRead settings from FILE: lines NAME = VALUE, "
	    "with the names above; lines with # are comments.\n"
	    ".TP\n\\fB\\-\\-help\\fP, \\fB\\-\\-version\\fP\nPrint the options, or the version.\n");
}
