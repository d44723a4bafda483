#include "node/cart_message.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

enum kind {
	LINE,
	ERROR_LINE,
	PROPERTY,
	ENV,
	ENV_UNIQUE,
	ENV_GONE,
	SSH_KEY,
	APP_SSH_KEY,
	SSH_KEY_GONE,
	APP_SSH_KEY_GONE,
	AUTH,
	AUTH_GONE,
	PLATFORM
};

static const struct {
	const char *prefix;
	enum kind kind;
} kinds[] = {
	{ "CLIENT_RESULT: ", LINE }, { "CLIENT_MESSAGE: ", LINE }, { "CLIENT_ERROR: ", ERROR_LINE },
	{ "CLIENT_INTERNAL_ERROR: ", LINE }, { "CLIENT_DEBUG: ", LINE }, { "APP_INFO: ", LINE },
	{ "CART_DATA: ", PROPERTY }, { "CART_PROPERTIES: ", PROPERTY }, { "ATTR: ", PROPERTY },
	{ "ENV_VAR_ADD: ", ENV }, { "ENV_VAR_ADD_UNIQUE: ", ENV_UNIQUE },
	{ "APP_ENV_VAR_REMOVE: ", ENV_GONE }, { "ENV_VAR_REMOVE: ", ENV_GONE },
	{ "SSH_KEY_ADD: ", SSH_KEY }, { "APP_SSH_KEY_ADD: ", APP_SSH_KEY },
	{ "SSH_KEY_REMOVE:", SSH_KEY_GONE }, { "APP_SSH_KEY_REMOVE: ", APP_SSH_KEY_GONE },
	{ "BROKER_AUTH_KEY_ADD:", AUTH }, { "BROKER_AUTH_KEY_REMOVE:", AUTH_GONE },
	{ "NOTIFY_ENDPOINT_", PLATFORM }, /* the platform's own: nothing that a cartridge may say */
};

static void
add_pair(struct wire_var_list *l, const char *text, bool is_env)
{
	const char *eq = strchr(text, '=');
	AUTO(free) char *name = eq == NULL ? NULL : xstrndup(text, (size_t)(eq - text));
	struct wire_var *v = NULL;

	if (name == NULL || name[0] == '\0' || strlen(name) > 128 ||
	    (is_env && !str_is_env_name(name)))
		return;
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].name, name) == 0)
			v = &l->v[i]; /* said again: the last one counts */
	}
	if (v == NULL && l->n >= CART_MESSAGE_LINES_MAX)
		return;
	if (v == NULL) {
		v = codec_list_add(&wire_var_codec, l);
		v->name = STEAL(name);
	}
	mem_set_str(&v->value, eq + 1);
}

static void
add_line(struct str_list *l, const char *text)
{
	if (l->n < CART_MESSAGE_LINES_MAX)
		str_list_add(l, text);
}

static void
add_plain(struct cart_message *m, const char *text)
{
	if (text[0] == '\0')
		return;
	if (m->plain.n >= CART_MESSAGE_PLAIN_MAX) {
		free(m->plain.v[0]);
		memmove(m->plain.v, m->plain.v + 1, (m->plain.n - 1) * sizeof *m->plain.v);
		m->plain.n--;
	}
	str_list_add(&m->plain, text);
}

static void
drop_var(struct wire_var_list *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].name, name) != 0)
			continue;
		wire_var_fini(&l->v[i]);
		memmove(l->v + i, l->v + i + 1, (--l->n - i) * sizeof *l->v);
		return;
	}
}

/* What is asked for last counts. */
static void
add_env(struct wire_asks *a, struct wire_var_list *l, const char *text)
{
	AUTO(free) char *name = xstrndup(text, strcspn(text, "="));

	add_pair(l, text, true);
	str_list_remove(&a->env_gone, name);
}

static void
drop_env(struct wire_asks *a, const char *name)
{
	if (!str_is_env_name(name) || str_list_has(&a->env_gone, name))
		return;
	drop_var(&a->env, name);
	drop_var(&a->env_unique, name);
	add_line(&a->env_gone, name);
}

static void
drop_key(struct wire_asks *a, const char *name)
{
	AUTO(free) char *begin = xasprintf("%s ", name);

	for (size_t i = a->ssh_keys.n; i > 0; i--) {
		AUTO(free) char *key = xstrdup(a->ssh_keys.v[i - 1]);

		if (str_has_prefix(key, begin))
			str_list_remove(&a->ssh_keys, key);
	}
}

/* "NAME CONTENT"; a dot in the name is a dash, as in v2. */
static void
add_key(struct wire_asks *a, const char *name, size_t n, const char *content)
{
	AUTO(free) char *key = xstrndup(name, n);

	for (char *p = key; *p != '\0'; p++)
		*p = *p == '.' ? '-' : *p;
	while (*content == ' ')
		content++;
	if (key[0] == '\0' || content[0] == '\0' || strchr(content, ' ') != NULL)
		return;
	drop_key(a, key);
	str_list_remove(&a->ssh_keys_gone, key);
	if (a->ssh_keys.n < CART_MESSAGE_LINES_MAX)
		str_list_take(&a->ssh_keys, xasprintf("%s %s", key, content));
}

static void
lose_key(struct wire_asks *a, const char *name)
{
	AUTO(free) char *key = xstrdup(name);

	for (char *p = key; *p != '\0'; p++)
		*p = *p == '.' ? '-' : *p;
	drop_key(a, key);
	if (!str_list_has(&a->ssh_keys_gone, key))
		add_line(&a->ssh_keys_gone, key);
}

/* v2's domain key has no name: an application has one, the last that was said. */
static void
add_domain_key(struct wire_asks *a, const char *content)
{
	while (*content == ' ')
		content++;
	if (content[0] == '\0' || strchr(content, ' ') != NULL)
		return;
	mem_set_str(&a->domain_key, content);
	a->drops_domain_key = false;
}

static void
take_ask(struct wire_asks *a, enum kind kind, const char *text)
{
	switch (kind) {
	case ENV:
		add_env(a, &a->env, text);
		break;
	case ENV_UNIQUE:
		add_env(a, &a->env_unique, text);
		break;
	case ENV_GONE:
		drop_env(a, text);
		break;
	case SSH_KEY:
		add_domain_key(a, text);
		break;
	case APP_SSH_KEY:
		add_key(a, text, strcspn(text, " "), text + strcspn(text, " "));
		break;
	case SSH_KEY_GONE:
		mem_set_str(&a->domain_key, NULL);
		a->drops_domain_key = true;
		break;
	case APP_SSH_KEY_GONE:
		lose_key(a, text);
		break;
	case AUTH:
	case AUTH_GONE:
		a->wants_auth = kind == AUTH;
		a->drops_auth = kind == AUTH_GONE;
		break;
	default:
		break;
	}
}

static void
take(struct cart_message *m, enum kind kind, const char *line, const char *text)
{
	switch (kind) {
	case ERROR_LINE:
		m->has_error = true;
		add_line(&m->lines, line);
		break;
	case LINE:
		add_line(&m->lines, line);
		break;
	case PROPERTY:
		add_pair(&m->properties, text, false);
		break;
	default:
		take_ask(&m->asks, kind, text);
		break;
	}
}

/* Bytes that no terminal should see become '?'. */
static void
clean(char *s)
{
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c < ' ' && c != '\t') || c == 0x7f)
			*s = '?';
	}
}

static void
end_line(struct cart_message *m)
{
	char *line;
	size_t n = m->part.n;

	if (n > 0 && m->part.p[n - 1] == '\r')
		buf_truncate(&m->part, --n);
	if (n == 0)
		return;
	line = m->part.p;
	clean(line);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		size_t k = strlen(kinds[i].prefix);

		if (strncmp(line, kinds[i].prefix, k) == 0) {
			take(m, kinds[i].kind, line, line + k);
			buf_clear(&m->part);
			return;
		}
	}
	add_plain(m, line);
	buf_clear(&m->part);
}

void
cart_message_feed(struct cart_message *m, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n')
			end_line(m);
		else if (p[i] != '\0' && m->part.n < CART_MESSAGE_LINE_MAX)
			buf_addc(&m->part, p[i]);
	}
}

static void
free_vars(struct wire_var_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		wire_var_fini(&l->v[i]);
	free(l->v);
	*l = (struct wire_var_list){ 0 };
}

void
cart_message_end(struct cart_message *m, bool ok)
{
	end_line(m);
	if (!ok)
		wire_asks_fini(&m->asks);
}

void
cart_message_fini(struct cart_message *m)
{
	wire_asks_fini(&m->asks);
	free_vars(&m->properties);
	str_list_fini(&m->lines);
	str_list_fini(&m->plain);
	buf_fini(&m->part);
	*m = (struct cart_message){ 0 };
}

void
cart_message_tell_plain(const struct cart_message *m, const char *prefix, struct str_list *out)
{
	for (size_t i = 0; i < m->plain.n; i++)
		str_list_take(out, xasprintf("%s: %s", prefix, m->plain.v[i]));
}
