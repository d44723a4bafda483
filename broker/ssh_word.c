#include "broker/ssh_word.h"

#include <stdlib.h>
#include <string.h>

#include "broker/app.h"
#include "broker/app_snapshot.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "broker/restore.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/stream.h"
#include "lib/loop/loop.h"

enum { LOOK_MS = 50, PATIENCE_MS = 180 * 1000 };

enum what { WHAT_START, WHAT_STOP, WHAT_RESTART, WHAT_STATUS, WHAT_SNAPSHOT, WHAT_RESTORE };

static const struct word {
	const char *text;
	enum what what;
	const char *says; /* v2's line, or NULL */
} words[] = {
	{ "ctl_all start", WHAT_START, "Starting gear...\n" },
	{ "ctl_all stop", WHAT_STOP, "Stopping gear...\n" },
	{ "ctl_all restart", WHAT_RESTART, "Restarting gear...\n" },
	{ "ctl_all status", WHAT_STATUS, NULL },
	{ "gear start", WHAT_START, "Starting gear...\n" },
	{ "gear stop", WHAT_STOP, "Stopping gear...\n" },
	{ "gear restart", WHAT_RESTART, "Restarting gear...\n" },
	{ "gear restart --all-cartridges", WHAT_RESTART, "Restarting gear...\n" },
	{ "gear status", WHAT_STATUS, NULL },
	{ "snapshot", WHAT_SNAPSHOT, NULL },
	{ "gear snapshot", WHAT_SNAPSHOT, NULL },
	{ "restore", WHAT_RESTORE, NULL },
	{ "restore INCLUDE_GIT", WHAT_RESTORE, NULL },
	{ "gear restore", WHAT_RESTORE, NULL },
	{ "gear restore --restore-git-repo", WHAT_RESTORE, NULL },
};

struct ssh_word {
	struct broker *b;      /* borrowed */
	struct stream *stream; /* owned; NULL: the client is gone */
	const struct word *word;
	char *app_id, *login; /* owned */
	struct app_snapshot *snapshot;
	struct restore *restore;
	bool restore_closed;
	size_t owed;    /* of the archive: taken, not given back */
	struct buf out; /* of a snapshot, not yet sent */
	bool has_ended;
	int status;
	struct loop_timer *look;
	int64_t until_ms;
	bool is_changing; /* app_change is under way: w lives on */
	ssh_word_end_fn *on_end;
	void *arg;
};

static const struct word *
find_word(const char *command)
{
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcmp(command, words[i].text) == 0)
			return &words[i];
	}
	return NULL;
}

bool
ssh_word_is(const char *command)
{
	return find_word(command) != NULL;
}

static void
release(void *p)
{
	struct ssh_word *w = p;

	free(w->app_id);
	free(w->login);
	buf_fini(&w->out);
	free(w);
}

static void
drop(struct ssh_word *w)
{
	loop_timer_cancel(STEAL(w->look));
	app_snapshot_cancel(STEAL(w->snapshot));
	restore_detach(STEAL(w->restore));
	stream_free(STEAL(w->stream));
	if (!w->is_changing)
		loop_free_later(w->b->loop, release, w);
	w->on_end = NULL;
}

void
ssh_word_leave(struct ssh_word *take_w)
{
	drop(take_w);
}

static void
end(struct ssh_word *w)
{
	ssh_word_end_fn *fn = w->on_end;
	void *arg = w->arg;

	drop(w);
	if (fn != NULL)
		fn(arg);
}

static void
finish(struct ssh_word *w)
{
	stream_send_exit(w->stream, w->status, NULL);
	stream_finish(STEAL(w->stream));
	end(w);
}

/* A line for the user, where there is room. */
static void
say(struct ssh_word *w, int channel, const char *text)
{
	size_t n = strlen(text);

	if (w->stream != NULL && stream_room(w->stream, channel) >= n && n > 0)
		stream_data(w->stream, channel, text, n);
}

static void
fail(struct ssh_word *w, const struct err *e)
{
	AUTO(free) char *line = xasprintf("%s\n", e->text);

	say(w, STREAM_STDERR, line);
	w->status = 1;
	w->has_ended = true;
	if (w->stream != NULL && w->out.n == 0)
		finish(w);
	else if (w->stream == NULL)
		end(w);
}

/* --- start, stop, restart, status --- */

static int
change(struct wire_app *a, void *arg, struct err *e)
{
	const struct ssh_word *w = arg;

	(void)e;
	a->spec.running = w->word->what != WHAT_STOP;
	if (a->spec.running)
		a->spec.is_killed = false;
	if (w->word->what == WHAT_RESTART)
		a->spec.restart_gen++;
	return 0;
}

static bool
is_settled(const struct ssh_word *w, const struct wire_app *a)
{
	const char *phase = a->status.phase == NULL ? "" : a->status.phase;

	if (w->word->what == WHAT_STOP)
		return strcmp(phase, "stopped") == 0;
	return strcmp(phase, "idle") == 0 && a->status.restart_gen == a->spec.restart_gen;
}

static void
on_look(void *arg)
{
	struct ssh_word *w = arg;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct err e = { 0 };

	if (record_app_by_id(w->b->store, w->app_id, &a, NULL, &e) < 0) {
		fail(w, &e);
	} else if (is_settled(w, &a) && w->word->what != WHAT_STOP && a.status.failure != NULL &&
	           *a.status.failure != '\0') {
		(void)err_set(&e, ERR_CONFLICT, NULL, "%s", a.status.failure);
		fail(w, &e);
	} else if (is_settled(w, &a)) {
		finish(w);
	} else if (loop_now_ms() > w->until_ms) {
		(void)err_set(&e, ERR_BUSY, NULL, "it takes long: see 'pinion app show'");
		fail(w, &e);
	}
}

static void
on_changed(const struct err *e, void *arg)
{
	struct ssh_word *w = arg;

	w->is_changing = false;
	if (w->stream == NULL) {
		release(w);
		return;
	}
	if (e != NULL) {
		fail(w, e);
		return;
	}
	w->until_ms = loop_now_ms() + PATIENCE_MS;
	w->look = loop_timer_start(w->b->loop, LOOK_MS, true, on_look, w);
}

static void
tell_status(struct ssh_word *w)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct err e = { 0 };

	if (record_app_by_id(w->b->store, w->app_id, &a, NULL, &e) < 0) {
		fail(w, &e);
		return;
	}
	say(w, STREAM_STDOUT,
	    a.spec.running ? "Application is running\n" : "ATTR: status=ALREADY_STOPPED\n");
	finish(w);
}

static void
on_status_turn(void *arg)
{
	tell_status(arg);
}

/* --- snapshot --- */

/* false: some is left. */
static bool
flush(struct ssh_word *w)
{
	size_t n = stream_room(w->stream, STREAM_STDOUT);

	n = n > w->out.n ? w->out.n : n;
	if (n > 0)
		stream_data(w->stream, STREAM_STDOUT, w->out.p, n);
	buf_drop(&w->out, n);
	return w->out.n == 0;
}

static bool
on_archive(const char *p, size_t n, void *arg)
{
	struct ssh_word *w = arg;

	buf_add(&w->out, p, n);
	return flush(w);
}

static void
on_archived(const struct err *e, void *arg)
{
	struct ssh_word *w = arg;

	w->snapshot = NULL;
	w->has_ended = true;
	if (e != NULL)
		fail(w, e);
	else if (flush(w))
		finish(w);
}

/* --- restore --- */

static void
on_line(const char *line, void *arg)
{
	AUTO(free) char *text = xasprintf("%s\n", line);

	say(arg, STREAM_STDOUT, text);
}

static void
on_restore_room(void *arg)
{
	struct ssh_word *w = arg;

	if (w->stream != NULL)
		stream_used(w->stream, STREAM_STDIN, w->owed);
	w->owed = 0;
}

static void
on_restored(const struct err *e, void *arg)
{
	struct ssh_word *w = arg;

	w->restore = NULL;
	if (e != NULL)
		fail(w, e);
	else
		finish(w);
}

/* --- the stream --- */

static void
on_data(struct stream *s, int channel, const char *p, size_t n, void *arg)
{
	struct ssh_word *w = arg;

	if (channel != STREAM_STDIN || w->restore == NULL || w->restore_closed) {
		stream_used(s, channel, n);
	} else if (n == 0) {
		w->restore_closed = true;
		restore_close(w->restore);
	} else if (restore_write(w->restore, p, n)) {
		stream_used(s, channel, n);
	} else {
		w->owed += n;
	}
}

static void
on_room(struct stream *s, void *arg)
{
	struct ssh_word *w = arg;

	(void)s;
	if (w->out.n == 0 || !flush(w))
		return;
	if (w->has_ended)
		finish(w);
	else if (w->snapshot != NULL)
		app_snapshot_resume(w->snapshot);
}

static void
on_control(struct stream *s, const struct stream_frame *f, void *arg)
{
	(void)s;
	(void)f;
	(void)arg;
}

static void
on_close(struct stream *s, const struct err *e, void *arg)
{
	(void)s;
	(void)e;
	end(arg);
}

static const struct stream_calls calls = { on_data, on_room, on_control, on_close };

static int
begin(struct ssh_word *w, struct err *e)
{
	switch (w->word->what) {
	case WHAT_SNAPSHOT:
		say(w, STREAM_STDERR, "Creating and sending tar.gz\n");
		w->snapshot = app_snapshot_start(w->b, w->app_id, on_archive, on_archived, w, e);
		return w->snapshot == NULL ? -1 : 0;
	case WHAT_RESTORE:
		w->restore = restore_start(w->b,
		    &(struct restore_opts){
		        .app_id = w->app_id,
		        .login = w->login,
		        .wants_git = strstr(w->word->text, "GIT") != NULL ||
		                     strstr(w->word->text, "git") != NULL,
		        .on_line = on_line,
		        .on_room = on_restore_room,
		        .done = on_restored,
		        .arg = w,
		    },
		    e);
		return w->restore == NULL ? -1 : 0;
	case WHAT_STATUS:
		w->look = loop_timer_start(w->b->loop, 0, false, on_status_turn, w);
		return 0;
	default:
		say(w, STREAM_STDOUT, w->word->says);
		w->is_changing = true;
		app_change(w->b, w->app_id, change, w, on_changed, w);
		return 0;
	}
}

struct ssh_word *
ssh_word_start(struct broker *b, struct stream *take_s, const struct wire_app *app,
    const char *login, const char *command, ssh_word_end_fn *on_end, void *arg)
{
	struct ssh_word *w = xcalloc(1, sizeof *w);
	struct err e = { 0 };

	*w = (struct ssh_word){
		.b = b,
		.stream = take_s,
		.word = find_word(command),
		.app_id = xstrdup(app->id),
		.login = xstrdup(login),
		.on_end = on_end,
		.arg = arg,
	};
	stream_set_calls(take_s, &calls, w);
	stream_send(take_s, STREAM_READY, NULL, 0);
	if (begin(w, &e) == 0)
		return w;
	stream_send_error(STEAL(w->stream), &e);
	drop(w);
	return NULL;
}
