#include "lib/oci/oci_rename.h"

#include <ctype.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"

enum { EXPRESSIONS_MAX = 64, LENGTH_MAX = 1024, NAME_LONGEST = 8192, GROUPS = 10, TURNS_MAX = 256 };

struct expression {
	regex_t regex;
	char *with; /* owned */
	bool is_global;
};

struct oci_rename {
	struct expression v[EXPRESSIONS_MAX];
	size_t n;
};

void
oci_rename_free(struct oci_rename *take_r)
{
	if (take_r == NULL)
		return;
	for (size_t i = 0; i < take_r->n; i++) {
		regfree(&take_r->v[i].regex);
		free(take_r->v[i].with);
	}
	free(take_r);
}

/* Up to the delimiter, which a backslash takes its meaning from; NULL: there is none. */
static char *
cut_part(const char **at, char delimiter)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	const char *p = *at;

	buf_adds(&b, "");
	for (; *p != '\0' && *p != delimiter; p++) {
		if (p[0] == '\\' && p[1] == delimiter)
			p++;
		else if (p[0] == '\\' && p[1] != '\0')
			buf_addc(&b, *p++);
		buf_addc(&b, *p);
	}
	if (*p == '\0')
		return NULL;
	*at = p + 1;
	return b.p == NULL ? xstrdup("") : buf_steal(&b);
}

static int
parse(const char *text, struct expression *out, struct err *e)
{
	const char *p = text + 1;
	char delimiter = text[0] == 's' ? text[1] : '\0';
	AUTO(free) char *from = NULL;
	AUTO(free) char *with = NULL;
	int flags = 0;

	if (strlen(text) > LENGTH_MAX || delimiter == '\0' || delimiter == '\\' ||
	    isalnum((unsigned char)delimiter))
		return err_set(e, ERR_INVALID, "restore_transforms",
		    "\"%.80s\" is not of the form s/FROM/TO/", text);
	p++;
	from = cut_part(&p, delimiter);
	with = from == NULL ? NULL : cut_part(&p, delimiter);
	if (with == NULL)
		return err_set(e, ERR_INVALID, "restore_transforms",
		    "\"%.80s\" is not of the form s/FROM/TO/", text);
	for (; *p != '\0'; p++) {
		out->is_global = out->is_global || *p == 'g';
		flags |= *p == 'i' ? REG_ICASE : 0;
		flags |= *p == 'x' ? REG_EXTENDED : 0;
	}
	if (regcomp(&out->regex, from, flags) != 0)
		return err_set(e, ERR_INVALID, "restore_transforms",
		    "\"%.80s\" is no regular expression", from);
	out->with = STEAL(with);
	return 0;
}

struct oci_rename *
oci_rename_new(const struct str_list *expressions, struct err *e)
{
	struct oci_rename *r = xcalloc(1, sizeof *r);

	for (size_t i = 0; expressions != NULL && i < expressions->n; i++) {
		if (r->n == EXPRESSIONS_MAX || parse(expressions->v[i], &r->v[r->n], e) < 0) {
			if (r->n == EXPRESSIONS_MAX)
				(void)err_set(e, ERR_LIMIT, "restore_transforms",
				    "at most %d are taken", EXPRESSIONS_MAX);
			oci_rename_free(r);
			return NULL;
		}
		r->n++;
	}
	return r;
}

static void
add_with(struct buf *b, const struct expression *x, const char *s, const regmatch_t *m)
{
	for (const char *p = x->with; *p != '\0'; p++) {
		int group = -1;

		if (*p == '&')
			group = 0;
		else if (p[0] == '\\' && isdigit((unsigned char)p[1]))
			group = *++p - '0';
		else if (p[0] == '\\' && p[1] != '\0')
			p++;
		if (group < 0)
			buf_addc(b, *p);
		else if (m[group].rm_so >= 0)
			buf_add(b, s + m[group].rm_so, (size_t)(m[group].rm_eo - m[group].rm_so));
	}
}

static char *
apply_one(const struct expression *x, const char *name)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	regmatch_t m[GROUPS];
	const char *at = name;
	int flags = 0;

	for (int turn = 0; turn < TURNS_MAX && regexec(&x->regex, at, GROUPS, m, flags) == 0;
	     turn++) {
		buf_add(&b, at, (size_t)m[0].rm_so);
		add_with(&b, x, at, m);
		if (m[0].rm_eo == m[0].rm_so && at[m[0].rm_eo] != '\0')
			buf_addc(&b, at[m[0].rm_eo++]);
		at += m[0].rm_eo;
		flags = REG_NOTBOL;
		if (!x->is_global || *at == '\0' || b.n > NAME_LONGEST)
			break;
	}
	buf_adds(&b, at);
	return b.n == 0 || b.n > NAME_LONGEST ? xstrdup(name) : buf_steal(&b);
}

char *
oci_rename_apply(const struct oci_rename *r, const char *name)
{
	char *now = xstrdup(name);

	for (size_t i = 0; i < r->n; i++) {
		char *next = apply_one(&r->v[i], now);

		free(now);
		now = next;
	}
	return now;
}
