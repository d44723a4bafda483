#include "node/init_plan.h"

#include <string.h>

static bool
parse_number(const char *s, int64_t min, int64_t max, int64_t *out)
{
	int64_t n = 0;

	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++) {
		if (*s < '0' || *s > '9' || n > max)
			return false;
		n = n * 10 + (*s - '0');
	}
	if (n < min || n > max)
		return false;
	*out = n;
	return true;
}

static const char *
add(struct init_plan_list *l, char *s)
{
	if (l->n == INIT_PLAN_WORDS)
		return "too many words";
	l->v[l->n++] = s;
	l->v[l->n] = NULL;
	return NULL;
}

static bool
is_source(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= 64 && s[0] != '.' && strchr(s, '/') == NULL;
}

/* Numbers of the file, with their bounds. */
static bool
set_number(struct init_plan *p, const char *key, const char *value, bool *is_good)
{
	int64_t n;

	if (strcmp(key, "log_size") == 0)
		*is_good = parse_number(value, 4096, INT64_C(1) << 40, &p->log_size);
	else if (strcmp(key, "log_count") == 0)
		*is_good = parse_number(value, 2, 100, &p->log_count);
	else if (strcmp(key, "stop_timeout_ms") == 0)
		*is_good = parse_number(value, 0, 86400000, &p->stop_timeout_ms);
	else if (strcmp(key, "umask") == 0) {
		*is_good = parse_number(value, 0, 0777, &n);
		p->umask = *is_good ? (mode_t)n : 077;
	} else if (strcmp(key, "stays") == 0) {
		*is_good = parse_number(value, 0, 1, &n);
		p->stays = *is_good && n == 1;
	} else
		return false;
	return true;
}

static const char *
set(struct init_plan *p, const char *key, char *value)
{
	bool is_good = true;

	if (strcmp(key, "start") == 0)
		return add(&p->start, value);
	if (strcmp(key, "stop") == 0)
		return add(&p->stop, value);
	if (strcmp(key, "env") == 0)
		return add(&p->env, value);
	if (strcmp(key, "cwd") == 0)
		p->cwd = value;
	else if (strcmp(key, "log_dir") == 0)
		p->log_dir = value;
	else if (strcmp(key, "source") == 0) {
		is_good = is_source(value);
		p->source = value;
	} else if (!set_number(p, key, value, &is_good))
		return "unknown key";
	return is_good ? NULL : "value out of bounds";
}

const char *
init_plan_parse(struct init_plan *p, size_t n)
{
	char *at = p->text, *end = p->text + n;
	const char *why;

	p->start.n = p->stop.n = p->env.n = 0;
	p->start.v[0] = p->stop.v[0] = p->env.v[0] = NULL;
	p->cwd = "/";
	p->log_dir = NULL;
	p->source = "app";
	p->log_size = 10 * 1024 * 1024;
	p->log_count = 5;
	p->stop_timeout_ms = 30000;
	p->umask = 077;
	p->stays = false;
	if (n > 0 && end[-1] != '\0')
		return "does not end with a NUL";
	while (at < end) {
		char *next = at + strlen(at) + 1, *value = strchr(at, '=');

		if (value == NULL)
			return "no '=' in a record";
		*value = '\0';
		why = set(p, at, value + 1);
		if (why != NULL)
			return why;
		at = next;
	}
	return NULL;
}
