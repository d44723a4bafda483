#include "broker/gear_word.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

enum { COMMAND_MAX = 2048, WORDS_MAX = 16 };

enum takes {
	TAKES_CART = 1,
	TAKES_ARG = 2,   /* it may be given */
	NEEDS_ARG = 4,   /* it must */
	TAKES_BUILD = 8, /* --hot-deploy, --force-clean-build */
	TAKES_INIT = 16,
	TAKES_GIT = 32,
	TAKES_WORD = 64, /* the cartridge is a word, not an option */
	TAKES_ID = 128,  /* --deployment-id */
};

static const struct entry {
	const char *name;
	enum gear_word_what what;
	int takes;
} entries[] = {
	{ "gear start", GEAR_WORD_START, TAKES_CART },
	{ "gear stop", GEAR_WORD_STOP, TAKES_CART },
	{ "gear restart", GEAR_WORD_RESTART, TAKES_CART },
	{ "gear reload", GEAR_WORD_RELOAD, TAKES_CART },
	{ "gear status", GEAR_WORD_STATUS, TAKES_CART },
	{ "gear tidy", GEAR_WORD_TIDY, TAKES_CART },
	{ "gear threaddump", GEAR_WORD_THREAD_DUMP, TAKES_CART },
	{ "gear deploy", GEAR_WORD_DEPLOY, TAKES_ARG | TAKES_BUILD },
	{ "gear activate", GEAR_WORD_ACTIVATE, NEEDS_ARG },
	{ "gear deployments", GEAR_WORD_DEPLOYMENTS, 0 },
	{ "gear prereceive", GEAR_WORD_PRE_RECEIVE, TAKES_INIT },
	{ "gear postreceive", GEAR_WORD_POST_RECEIVE, TAKES_INIT },
	{ "gear snapshot", GEAR_WORD_SNAPSHOT, 0 },
	{ "gear restore", GEAR_WORD_RESTORE, TAKES_GIT },
	{ "gear binary-deploy", GEAR_WORD_BINARY_DEPLOY, TAKES_BUILD },
	{ "gear archive-deployment", GEAR_WORD_ARCHIVE, TAKES_ID },
	{ "binary-deploy", GEAR_WORD_BINARY_DEPLOY, TAKES_BUILD },
	{ "oo-binary-deploy", GEAR_WORD_BINARY_DEPLOY, TAKES_BUILD },
	{ "snapshot", GEAR_WORD_SNAPSHOT, 0 },
	{ "restore", GEAR_WORD_RESTORE, TAKES_GIT },
	{ "ctl_all start", GEAR_WORD_START, 0 },
	{ "ctl_all stop", GEAR_WORD_STOP, 0 },
	{ "ctl_all restart", GEAR_WORD_RESTART, 0 },
	{ "ctl_all reload", GEAR_WORD_RELOAD, 0 },
	{ "ctl_all status", GEAR_WORD_STATUS, 0 },
	{ "ctl_app start", GEAR_WORD_START, TAKES_WORD },
	{ "ctl_app stop", GEAR_WORD_STOP, TAKES_WORD },
	{ "ctl_app restart", GEAR_WORD_RESTART, TAKES_WORD },
	{ "ctl_app reload", GEAR_WORD_RELOAD, TAKES_WORD },
	{ "ctl_app status", GEAR_WORD_STATUS, TAKES_WORD },
	{ "ctl_app tidy", GEAR_WORD_TIDY, TAKES_WORD },
};

/* OpenShift v2's steps of a build in its gear: here builds have a builder of their own. */
static const char *const of_builders[] = { "build", "prepare", "distribute",
	"create-deployment-dir", "remotedeploy", "rotate-in", "rotate-out" };

/* What means nothing here: all gears, all cartridges, and what v2's own parts say to one another.
 */
static const char *const ignored[] = { "--all", "--all-cartridges", "--exclude-web-proxy",
	"--post-install", "--rotation", "--no-rotation", "--no-report-deployments", "--trace",
	"--as-json" };
static const char *const ignored_with_value[] = { "--git-ref", "--deployment-id" };

void
gear_word_fini(struct gear_word *w)
{
	free(w->cart);
	free(w->arg);
	*w = (struct gear_word){ 0 };
}

static bool
is_one_of(const char *const *v, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(v[i], s) == 0)
			return true;
	}
	return false;
}

bool
gear_word_split(const char *command, struct str_list *out)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	                            "-_./=:@,+ ";
	struct str rest = str_of(command), word;

	if (rest.n > COMMAND_MAX || strspn(command, plain) != rest.n)
		return false;
	while (rest.n > 0) {
		rest = str_cut(rest, ' ', &word);
		if (word.n > 0)
			str_list_take(out, xstrndup(word.p, word.n));
	}
	return true;
}

bool
gear_word_is(const struct str_list *argv)
{
	static const char *const programs[] = { "gear", "ctl_all", "ctl_app", "snapshot", "restore",
		"binary-deploy", "oo-binary-deploy" };

	return argv->n > 0 && is_one_of(programs, ARRAY_LEN(programs), argv->v[0]);
}

static const struct entry *
find(const struct str_list *argv, size_t *out_next)
{
	for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
		const char *space = strchr(entries[i].name, ' ');
		size_t n =
		    space == NULL ? strlen(entries[i].name) : (size_t)(space - entries[i].name);

		if (strlen(argv->v[0]) != n || strncmp(argv->v[0], entries[i].name, n) != 0 ||
		    (space != NULL && (argv->n < 2 || strcmp(argv->v[1], space + 1) != 0)))
			continue;
		*out_next = space == NULL ? 1 : 2;
		return &entries[i];
	}
	return NULL;
}

static int
say_usage(const struct str_list *argv, struct err *e)
{
	if (strcmp(argv->v[0], "gear") != 0)
		return err_set(e, ERR_INVALID, NULL,
		    "Usage: ctl_all start|stop|restart|reload|status; "
		    "ctl_app start|stop|restart|reload|status|tidy [CARTRIDGE]; "
		    "snapshot; restore [INCLUDE_GIT]; binary-deploy");
	if (argv->n > 1 && is_one_of(of_builders, ARRAY_LEN(of_builders), argv->v[1]))
		return err_set(e, ERR_INVALID, NULL,
		    "'gear %s' is a step of OpenShift v2's builds: here a push, or 'gear deploy "
		    "REF', "
		    "builds in an instance of its own, and goes live in all gears at once",
		    argv->v[1]);
	return err_set(e, ERR_INVALID, NULL,
	    "Usage: gear start|stop|restart|reload|status|tidy|threaddump [--cart CARTRIDGE]; "
	    "gear deploy [REF] [--hot-deploy] [--force-clean-build]; gear deployments; "
	    "gear binary-deploy [--hot-deploy]; gear archive-deployment [--deployment-id ID]; "
	    "gear activate DEPLOYMENT-ID; gear snapshot; gear restore [--restore-git-repo]");
}

/* The value of an option, "--cart C" or "--cart=C"; NULL: it is another one. */
static const char *
value_of(const struct str_list *argv, size_t *at, const char *name)
{
	const char *word = argv->v[*at];
	size_t n = strlen(name);

	if (strncmp(word, name, n) != 0)
		return NULL;
	if (word[n] == '=')
		return word + n + 1;
	if (word[n] != '\0')
		return NULL;
	++*at;
	return *at < argv->n ? argv->v[*at] : "";
}

static bool
take_flag(const struct entry *en, const char *word, struct gear_word *out)
{
	if ((en->takes & TAKES_BUILD) != 0 && strcmp(word, "--hot-deploy") == 0)
		return out->is_hot = true;
	if ((en->takes & TAKES_BUILD) != 0 && strcmp(word, "--force-clean-build") == 0)
		return out->is_clean = true;
	if ((en->takes & TAKES_BUILD) != 0 && strncmp(word, "--no-", 5) == 0)
		return strcmp(word + 5, "hot-deploy") == 0 ||
		       strcmp(word + 5, "force-clean-build") == 0;
	if ((en->takes & TAKES_INIT) != 0 && strcmp(word, "--init") == 0)
		return out->is_initial = true;
	if ((en->takes & TAKES_GIT) != 0 &&
	    (strcmp(word, "--restore-git-repo") == 0 || strcmp(word, "INCLUDE_GIT") == 0))
		return out->wants_git = true;
	if (en->what == GEAR_WORD_STOP && strcmp(word, "--conditional") == 0)
		return out->is_for_build = true;
	if (strcmp(word, "--as-json") == 0)
		out->as_json = true;
	return is_one_of(ignored, ARRAY_LEN(ignored), word);
}

/* An option or an argument; false: there is no such. */
static bool
take(const struct entry *en, const struct str_list *argv, size_t *at, struct gear_word *out)
{
	const char *value = value_of(argv, at, "--cart");

	if (value != NULL) {
		mem_set_str(&out->cart, value);
		return (en->takes & TAKES_CART) != 0 && *value != '\0';
	}
	value = (en->takes & TAKES_ID) == 0 ? NULL : value_of(argv, at, "--deployment-id");
	if (value != NULL) {
		mem_set_str(&out->arg, value);
		return *value != '\0';
	}
	for (size_t i = 0; i < ARRAY_LEN(ignored_with_value); i++) {
		if (value_of(argv, at, ignored_with_value[i]) != NULL)
			return *at < argv->n;
	}
	if (take_flag(en, argv->v[*at], out))
		return true;
	if (argv->v[*at][0] == '-' || argv->v[*at][0] == '\0')
		return false;
	if ((en->takes & TAKES_WORD) != 0 && out->cart == NULL) {
		mem_set_str(&out->cart, argv->v[*at]);
		return true;
	}
	if ((en->takes & (TAKES_ARG | NEEDS_ARG)) == 0 || out->arg != NULL)
		return false;
	mem_set_str(&out->arg, argv->v[*at]);
	return true;
}

int
gear_word_parse(const struct str_list *argv, struct gear_word *out, struct err *e)
{
	AUTO_FINI(gear_word_fini) struct gear_word w = { 0 };
	const struct entry *en;
	size_t next = 0;

	if (!gear_word_is(argv) || argv->n > WORDS_MAX)
		return err_set(e, ERR_INVALID, NULL, "there is no such command here");
	en = find(argv, &next);
	if (en == NULL)
		return say_usage(argv, e);
	w.what = en->what;
	w.name = en->name;
	for (size_t i = next; i < argv->n; i++) {
		if (!take(en, argv, &i, &w))
			return say_usage(argv, e);
	}
	if ((en->takes & NEEDS_ARG) != 0 && w.arg == NULL)
		return say_usage(argv, e);
	*out = w;
	w = (struct gear_word){ 0 };
	return 0;
}
