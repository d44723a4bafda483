#include "node/gear_log_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "node/gear_log_lines.h"
#include "node/gear_log_scan.h"
#include "node/gear_log_tail.h"

enum { BATCH = 64 * 1024, TURN_MIN = 4 * 1024 };

/* How far one source is read. */
struct cursor {
	char *instance, *source;     /* owned */
	struct gear_log_position at; /* inode 0: from the oldest file on */
	bool is_there;
};

struct gear_log_reader {
	char *root, *gear; /* owned */
	size_t lines;
	int notify_fd; /* owned */
	bool is_begun, is_watching;
	struct cursor *v; /* owned */
	size_t n;
	size_t turn; /* which source reads first: each in its turn */
};

struct gear_log_reader *
gear_log_reader_new(const char *root, const char *gear, size_t lines)
{
	struct gear_log_reader *r = xcalloc(1, sizeof *r);

	r->root = xstrdup(root);
	r->gear = xstrdup(gear);
	r->lines = lines < GEAR_LOG_LINES_MAX ? lines : GEAR_LOG_LINES_MAX;
	r->notify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	return r;
}

int
gear_log_reader_fd(const struct gear_log_reader *r)
{
	return r->notify_fd;
}

bool
gear_log_reader_is_watching(const struct gear_log_reader *r)
{
	return r->is_watching;
}

static void
cursor_fini(struct cursor *c)
{
	free(c->instance);
	free(c->source);
}

void
gear_log_reader_free(struct gear_log_reader *take_r)
{
	size_t i;

	if (take_r == NULL)
		return;
	for (i = 0; i < take_r->n; i++)
		cursor_fini(&take_r->v[i]);
	file_close(take_r->notify_fd);
	free(take_r->v);
	free(take_r->root);
	free(take_r->gear);
	free(take_r);
}

/* true: it was not watched before, so one has to look again. */
static bool
watch(struct gear_log_reader *r, const char *dir, uint32_t events)
{
	if (r->notify_fd >= 0 && inotify_add_watch(r->notify_fd, dir,
	                             events | IN_ONLYDIR | IN_DONT_FOLLOW | IN_MASK_CREATE) >= 0)
		return true;
	if (r->notify_fd < 0 || errno != EEXIST)
		r->is_watching = false;
	return false;
}

static bool
watch_all(struct gear_log_reader *r, const struct gear_log_groups *groups)
{
	bool is_new = watch(r, r->root, IN_CREATE | IN_MOVED_TO);
	size_t i;

	for (i = 0; i < groups->instances.n; i++) {
		AUTO(free) char *dir = file_join(r->root, groups->instances.v[i]);

		is_new |= watch(r, dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO);
	}
	return is_new;
}

static struct cursor *
find_cursor(struct gear_log_reader *r, const struct gear_log_group *g)
{
	size_t i;

	for (i = 0; i < r->n; i++) {
		if (strcmp(r->v[i].instance, g->instance) == 0 &&
		    strcmp(r->v[i].source, g->source) == 0)
			return &r->v[i];
	}
	r->v = xreallocarray(r->v, r->n + 1, sizeof *r->v);
	r->v[r->n] =
	    (struct cursor){ .instance = xstrdup(g->instance), .source = xstrdup(g->source) };
	return &r->v[r->n++];
}

/* Sources that are gone need no cursor. */
static void
drop_cursors(struct gear_log_reader *r)
{
	size_t i, n = 0;

	for (i = 0; i < r->n; i++) {
		if (r->v[i].is_there)
			r->v[n++] = r->v[i];
		else
			cursor_fini(&r->v[i]);
	}
	for (i = 0; i < n; i++)
		r->v[i].is_there = false;
	r->n = n;
}

/* Opens the file that the cursor is in; *k: its place in g->numbers. */
static struct gear_log_file
open_current(
    const struct gear_log_reader *r, const struct gear_log_group *g, struct cursor *c, size_t *k)
{
	struct gear_log_file f = { .fd = -1 };
	size_t i;

	for (i = 0; c->at.inode != 0 && i < g->n; i++) {
		f = gear_log_open(r->root, g, g->numbers[i]);
		if (f.fd >= 0 && f.inode == c->at.inode) {
			*k = i;
			return f;
		}
		file_close(f.fd);
	}
	/* New, or rotated away before we came: from the oldest that there is. */
	*k = g->n - 1;
	f = gear_log_open(r->root, g, g->numbers[*k]);
	c->at = (struct gear_log_position){ f.inode, 0 };
	return f;
}

/* From a file that is read to its end to the next one; false: there is none. */
static bool
go_to_newer(const struct gear_log_reader *r, const struct gear_log_group *g, size_t k, ino_t inode,
    struct cursor *c)
{
	while (k-- > 0) {
		struct gear_log_file next = gear_log_open(r->root, g, g->numbers[k]);

		file_close(next.fd);
		if (next.fd < 0)
			continue;
		/* The same: rotated just now; the next look finds its place. */
		if (next.inode != inode)
			c->at = (struct gear_log_position){ next.inode, 0 };
		return true;
	}
	return false;
}

/* Reads on in one source; returns whether there may be more. */
static bool
read_source(struct gear_log_reader *r, const struct gear_log_group *g, struct cursor *c,
    size_t *budget, struct gear_log_lines *out)
{
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	size_t k;
	struct gear_log_file f = open_current(r, g, c, &k);
	AUTO(file_close) int fd = f.fd;
	off_t end, upto;
	bool is_long, is_done;

	if (fd < 0) {
		c->at.inode = 0;
		return false;
	}
	if (c->at.offset > f.size) /* cut by someone */
		c->at.offset = 0;
	upto = f.size - c->at.offset > (off_t)*budget ? c->at.offset + (off_t)*budget : f.size;
	/* A rotated file ends for good; a "line" longer than all we may read is cut. */
	end = gear_log_lines_read(fd, c->at.offset, upto, k > 0 && upto == f.size, &text);
	is_long = end == c->at.offset && upto - end >= BATCH;
	if (is_long)
		end = gear_log_lines_read(fd, c->at.offset, upto, true, &text);
	gear_log_lines_parse(buf_str(&text), r->gear, g, out);
	*budget -= text.n < *budget ? text.n : *budget;
	c->at.offset = end;
	is_done = end == f.size;
	if (is_done && k > 0)
		return go_to_newer(r, g, k, f.inode, c);
	return upto < f.size;
}

static bool
read_all(
    struct gear_log_reader *r, const struct gear_log_groups *groups, struct gear_log_lines *out)
{
	size_t budget = BATCH, i;
	bool more = false;

	for (i = 0; i < groups->n; i++) {
		const struct gear_log_group *g = &groups->v[(r->turn + i) % groups->n];
		struct gear_log_lines l = { 0 };

		if (budget < TURN_MIN) {
			more = true;
			break;
		}
		more |= read_source(r, g, find_cursor(r, g), &budget, &l);
		gear_log_lines_merge(out, &l);
	}
	r->turn += i;
	return more;
}

/* The last lines, and cursors at their ends. */
static void
begin(struct gear_log_reader *r, const struct gear_log_groups *groups, struct gear_log_lines *out)
{
	AUTO(free_ptr) struct gear_log_position *at = xcalloc(groups->n + 1, sizeof *at);
	size_t i;

	(void)gear_log_tail_groups(r->root, r->gear, groups, r->lines == 0 ? 1 : r->lines, out, at);
	if (r->lines == 0)
		gear_log_lines_trim(out, 0, 0);
	for (i = 0; i < groups->n; i++)
		find_cursor(r, &groups->v[i])->at = at[i];
}

int
gear_log_reader_next(
    struct gear_log_reader *r, struct gear_log_lines *out, bool *more, struct err *e)
{
	AUTO_FINI(gear_log_groups_fini) struct gear_log_groups groups = { 0 };
	struct gear_log_lines l = { 0 };
	bool is_new;
	size_t i;

	if (gear_log_scan(r->root, NULL, &groups, e) < 0)
		return -1;
	r->is_watching = true;
	is_new = watch_all(r, &groups);
	if (!r->is_begun) {
		r->is_begun = true;
		begin(r, &groups, &l);
		*more = is_new;
	} else {
		*more = read_all(r, &groups, &l) || is_new;
	}
	for (i = 0; i < groups.n; i++)
		find_cursor(r, &groups.v[i])->is_there = true;
	drop_cursors(r);
	*out = l;
	return 0;
}
