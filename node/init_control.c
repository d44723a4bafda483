#include "node/init_control.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"

enum { STATUS_MAX = 8192, SETTINGS_MAX = 1024 * 1024 };

static const struct codec_name phase_names[] = {
	{ "starting", INIT_STARTING },
	{ "running", INIT_RUNNING },
	{ "stopping", INIT_STOPPING },
	{ "exited", INIT_EXITED },
	{ NULL, 0 },
};
static const struct codec_field status_fields[] = {
	CODEC_ENUM(struct init_status, phase, phase_names, CODEC_REQUIRED),
	CODEC_INT(struct init_status, pid, 0, INT32_MAX, 0),
	CODEC_BOOL(struct init_status, start_ended, 0),
	CODEC_INT(struct init_status, exit_code, -1, 255, 0),
	CODEC_INT(struct init_status, exit_signal, 0, 128, 0),
	CODEC_INT(struct init_status, began_ms, 0, INT64_MAX, 0),
	CODEC_INT(struct init_status, start_ended_ms, 0, INT64_MAX, 0),
	CODEC_INT(struct init_status, exited_ms, 0, INT64_MAX, 0),
	CODEC_INT(struct init_status, lines_dropped, 0, INT64_MAX, 0),
	CODEC_STR(struct init_status, error, 1024, 0),
	CODEC_END,
};
DEFINE_CODEC(init_status, struct init_status, status_fields)

static void
add_record(struct buf *b, const char *key, const char *value)
{
	buf_adds(b, key);
	buf_addc(b, '=');
	buf_add(b, value, strlen(value) + 1);
}

static void
add_text(struct buf *b, const char *key, const char *value)
{
	if (value != NULL)
		add_record(b, key, value);
}

static void
add_number(struct buf *b, const char *key, int64_t value)
{
	AUTO(free) char *text = xasprintf("%" PRId64, value);

	if (value > 0)
		add_record(b, key, text);
}

static void
add_list(struct buf *b, const char *key, const struct str_list *l)
{
	size_t i;

	for (i = 0; l != NULL && i < l->n; i++)
		add_record(b, key, l->v[i]);
}

int
init_control_write(const char *dir, const struct init_settings *s, struct err *e)
{
	AUTO(free) char *path = file_join(dir, "settings");
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	add_list(&b, "start", s->start);
	add_list(&b, "stop", s->stop);
	add_list(&b, "env", s->env);
	add_text(&b, "cwd", s->cwd);
	add_text(&b, "log_dir", s->log_dir);
	add_text(&b, "source", s->source);
	add_number(&b, "log_size", s->log_size);
	add_number(&b, "log_count", s->log_count);
	add_number(&b, "stop_timeout_ms", s->stop_timeout_ms);
	add_number(&b, "umask", s->umask);
	add_number(&b, "stays", s->stays);
	if (b.n > SETTINGS_MAX)
		return err_set(e, ERR_LIMIT, "env",
		    "command and environment hold %zu bytes, more than %d", b.n, SETTINGS_MAX);
	return file_replace_fast(path, b.n == 0 ? "" : b.p, b.n, 0644, e);
}

/* The gear's user may have put anything there: a link, a pipe. */
static int
open_status(const char *dir, struct err *e)
{
	AUTO(free) char *path = file_join(dir, "status");
	AUTO(file_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	int out;

	if (fd < 0 && errno == ENOENT)
		return err_set(e, ERR_NOT_FOUND, NULL, "%s is not there yet", path);
	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open %s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, NULL, "%s is no file", path);
	out = fd;
	fd = -1;
	return out;
}

int
init_control_status(const char *dir, struct init_status *out, struct err *e)
{
	AUTO(file_close) int fd = open_status(dir, e);
	char text[STATUS_MAX];
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof text);
	if (n < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot read the status of %s", dir);
	return codec_decode(&init_status_codec, text, (size_t)n, out, CODEC_IGNORE, e);
}
