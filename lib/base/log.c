#include "lib/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"

static const char *const level_names[] = { "debug", "info", "warn", "error" };

/* Set once, before threads. */
static struct {
	const char *program;
	enum log_level min;
	bool json;
} setup = { "pinion", LOG_INFO, false };

void
log_setup(const char *program, enum log_level min, bool json)
{
	setup.program = program;
	setup.min = min;
	setup.json = json;
}

int
log_level_parse(const char *word, enum log_level *out)
{
	for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
		if (strcmp(word, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -1;
}

static void
add_time(struct buf *b)
{
	struct timespec ts;
	struct tm tm;
	char text[32];

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	(void)gmtime_r(&ts.tv_sec, &tm);
	(void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
	buf_addf(b, "%s.%03dZ", text, (int)(ts.tv_nsec / 1000000));
}

static void
add_value(struct buf *b, const struct log_field *f)
{
	const char *s = f->kind == LOG_FIELD_ERR ? f->e->text : f->s;

	if (f->kind == LOG_FIELD_INT)
		buf_addf(b, "%lld", (long long)f->i);
	else if (s != NULL && !setup.json && s[0] != '\0' && strpbrk(s, " \"\\=") == NULL &&
	         strspn(s, "!#$%&'()*+,-./0123456789:;<>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`"
	                   "abcdefghijklmnopqrstuvwxyz{|}~") == strlen(s))
		buf_adds(b, s);
	else
		buf_add_json_str(b, s);
}

static void
add_field(struct buf *b, const struct log_field *f)
{
	if (setup.json) {
		buf_addc(b, ',');
		buf_add_json_str(b, f->key);
		buf_addc(b, ':');
	} else {
		buf_addf(b, " %s=", f->key);
	}
	add_value(b, f);
	if (f->kind == LOG_FIELD_ERR && f->e->field[0] != '\0')
		add_field(b, &LOG_STR("field", f->e->field));
}

void
log_write(enum log_level level, const char *event, const struct log_field *fields)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	if (level < setup.min)
		return;
	if (setup.json)
		buf_adds(&b, "{\"time\":\"");
	add_time(&b);
	buf_addf(&b,
	    setup.json ? "\",\"level\":\"%s\",\"program\":\"%s\",\"event\":\"%s\"" : " %s %s %s",
	    level_names[level], setup.program, event);
	for (; fields->kind != LOG_FIELD_END; fields++)
		add_field(&b, fields);
	buf_adds(&b, setup.json ? "}\n" : "\n");
	while (write(STDERR_FILENO, b.p, b.n) < 0 && errno == EINTR)
		continue;
}
