#include "broker/gear_command.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "broker/app_snapshot.h"
#include "broker/app_state.h"
#include "broker/app_view.h"
#include "broker/artifact.h"
#include "broker/broker.h"
#include "broker/gear_ask.h"
#include "broker/gear_deploy.h"
#include "broker/gear_word.h"
#include "broker/record.h"
#include "broker/restore.h"
#include "broker/rollout.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_server.h"
#include "lib/http/stream.h"
#include "lib/loop/loop.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_exec.h"

enum {
	PATIENCE_MS = 180 * 1000,
	COMMANDS_MAX = 500,
	OF_GEAR_MAX = 8,
	ARTIFACT_MAX_MB = 4096,
	EXIT_FAILED = 255,
	REFS_MAX = 64 * 1024,   /* that a receive hook reads */
	LINES_MAX = 256 * 1024, /* for a slow reader; then lines are left out */
};

struct gear_command_set {
	struct broker *b; /* borrowed */
	LIST_HEAD(, gear_command) list;
	int n;
};

struct gear_command {
	LIST_ENTRY(gear_command) link;
	struct gear_command_set *all; /* borrowed */
	struct stream *stream;        /* owned; NULL: the client is gone */
	char *app_id, *gear, *login;  /* owned */
	struct gear_word word;
	bool is_inside;
	/* what it does: one of them */
	struct app_snapshot *snapshot;
	struct restore *restore;
	struct artifact_sink *sink;
	struct gear_deploy *deploy;
	struct gear_ask *ask;
	struct rollout_wait *wait;
	struct loop_timer *timer; /* of patience, or a turn of the loop */
	bool is_changing;         /* app_state_set is under way: c lives on */
	bool is_not_awaited;      /* what is ordered comes after the rollout that is under way */
	bool has_closed;          /* stdin ended */
	bool has_archive;         /* some of it came */
	char *artifact;           /* owned: file, on its way to a deployment */
	size_t owed;              /* of the archive: taken, not given back */
	struct buf in;            /* of a receive hook */
	struct buf out;           /* not yet sent */
	bool has_ended;
	int status;
	gear_command_end_fn *on_end;
	void *arg;
};

/* --- ends --- */

static void
release(void *p)
{
	struct gear_command *c = p;

	gear_word_fini(&c->word);
	free(c->app_id);
	free(c->gear);
	free(c->login);
	if (c->artifact != NULL)
		(void)unlink(c->artifact);
	free(c->artifact);
	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c);
}

static void
drop(struct gear_command *c)
{
	LIST_REMOVE(c, link);
	c->all->n--;
	loop_timer_cancel(STEAL(c->timer));
	rollout_wait_cancel(STEAL(c->wait));
	app_snapshot_cancel(STEAL(c->snapshot));
	restore_detach(STEAL(c->restore));
	artifact_sink_cancel(STEAL(c->sink));
	gear_deploy_detach(STEAL(c->deploy));
	gear_ask_cancel(STEAL(c->ask));
	stream_free(STEAL(c->stream));
	if (!c->is_changing)
		loop_free_later(c->all->b->loop, release, c);
	c->on_end = NULL;
}

void
gear_command_leave(struct gear_command *take_c)
{
	if (take_c != NULL)
		drop(take_c);
}

static void
end(struct gear_command *c)
{
	gear_command_end_fn *fn = c->on_end;
	void *arg = c->arg;

	drop(c);
	if (fn != NULL)
		fn(arg);
}

/* false: some is left. */
static bool
flush(struct gear_command *c)
{
	size_t n = stream_room(c->stream, STREAM_STDOUT);

	n = n > c->out.n ? c->out.n : n;
	if (n > 0)
		stream_data(c->stream, STREAM_STDOUT, c->out.p, n);
	buf_drop(&c->out, n);
	return c->out.n == 0;
}

/* Once all that was said is sent. */
static void
finish(struct gear_command *c)
{
	c->has_ended = true;
	if (!flush(c))
		return;
	stream_send_exit(c->stream, c->status, NULL);
	stream_finish(STEAL(c->stream));
	end(c);
}

static void
say(struct gear_command *c, const char *text)
{
	if (c->out.n + strlen(text) > LINES_MAX)
		return;
	buf_adds(&c->out, text);
	(void)flush(c);
}

static void
complain(struct gear_command *c, const char *text)
{
	size_t n = strlen(text);

	if (stream_room(c->stream, STREAM_STDERR) >= n && n > 0)
		stream_data(c->stream, STREAM_STDERR, text, n);
}

/* As v2 told it. */
static void
fail(struct gear_command *c, const struct err *e)
{
	AUTO(free)
	char *text = xasprintf("An error occurred executing '%s' (exit code: %d)\n"
	                       "Error message: %s\n",
	    c->word.name == NULL ? "gear" : c->word.name, EXIT_FAILED, e->text);

	complain(c, text);
	c->status = EXIT_FAILED;
	finish(c);
}

static void
fail_as(struct gear_command *c, enum err_code code, const char *text)
{
	struct err e = { 0 };

	(void)err_set(&e, code, NULL, "%s", text);
	e.sys = 0;
	fail(c, &e);
}

static void
conclude(struct gear_command *c, const struct err *e)
{
	if (e != NULL)
		fail(c, e);
	else
		finish(c);
}

static void
on_line(const char *line, void *arg)
{
	AUTO(free) char *text = xasprintf("%s\n", line);

	say(arg, text);
}

/* --- start, stop, restart --- */

static void
on_late(void *arg)
{
	fail_as(arg, ERR_BUSY, "it takes long, and goes on: see 'pinion app show'");
}

static void
on_settled(const struct err *e, void *arg)
{
	struct gear_command *c = arg;

	c->wait = NULL;
	conclude(c, e);
}

static void
on_changed(const struct err *e, void *arg)
{
	struct gear_command *c = arg;

	c->is_changing = false;
	if (c->stream == NULL) {
		release(c);
	} else if (e != NULL) {
		fail(c, e);
	} else if (c->is_not_awaited) {
		say(c, "A deployment is under way: this is done after it.\n");
		finish(c);
	} else {
		c->timer = loop_timer_start(c->all->b->loop, PATIENCE_MS, false, on_late, c);
		c->wait = rollout_wait(c->all->b->rollout, c->app_id, NULL, on_settled, c);
	}
}

static void
order(struct gear_command *c, const struct wire_gear_cart *cart)
{
	static const struct {
		enum app_state_word word;
		const char *says;
	} orders[] = {
		[GEAR_WORD_START] = { APP_STATE_START, "Starting gear...\n" },
		[GEAR_WORD_STOP] = { APP_STATE_STOP, "Stopping gear...\n" },
		[GEAR_WORD_RESTART] = { APP_STATE_RESTART, "Restarting gear...\n" },
		[GEAR_WORD_RELOAD] = { APP_STATE_RESTART, "Reloading gear...\n" },
	};
	const struct app_state_order o = { .word = orders[c->word.what].word,
		.cart = cart == NULL || !cart->is_service ? NULL : cart->name };

	say(c, orders[c->word.what].says);
	c->is_changing = true;
	app_state_set(c->all->b, c->app_id, &o, on_changed, c);
}

/* --- what cartridges do themselves --- */

static void
on_asked(const struct err *e, void *arg)
{
	struct gear_command *c = arg;

	c->ask = NULL;
	conclude(c, e);
}

static void
on_said(int fd, const char *text, void *arg)
{
	struct gear_command *c = arg;

	if (fd == 2)
		complain(c, text);
	else
		say(c, text);
}

static int
ask(struct gear_command *c, const struct wire_app *app, const struct wire_gear_cart *cart,
    struct err *e)
{
	static const char *const actions[] = { [GEAR_WORD_START] = "start",
		[GEAR_WORD_STOP] = "stop",
		[GEAR_WORD_RESTART] = "restart",
		[GEAR_WORD_RELOAD] = "reload",
		[GEAR_WORD_STATUS] = "status",
		[GEAR_WORD_TIDY] = "tidy",
		[GEAR_WORD_THREAD_DUMP] = "threaddump" };

	if (!app->spec.running) {
		say(c, "ATTR: status=ALREADY_STOPPED\n");
		finish(c);
		return 0;
	}
	c->ask = gear_ask_start(c->all->b,
	    &(struct gear_ask_opts){
	        .app_id = c->app_id,
	        .gear = c->gear,
	        .cart = cart == NULL ? NULL : cart->name,
	        .action = actions[c->word.what],
	        .on_out = on_said,
	        .done = on_asked,
	        .arg = c,
	    },
	    e);
	return c->ask == NULL ? -1 : 0;
}

/* By its name, or name-version. */
static const struct wire_gear_cart *
find_cart(const struct wire_app *app, const char *name, struct err *e)
{
	for (size_t i = 0; i < app->cartridges.n; i++) {
		const struct wire_gear_cart *k = &app->cartridges.v[i];
		size_t n = strlen(k->name);

		if (strncasecmp(name, k->name, n) == 0 && (name[n] == '\0' || name[n] == '-'))
			return k;
	}
	(void)err_set(e, ERR_NOT_FOUND, NULL, "the application has no cartridge '%.64s'", name);
	return NULL;
}

static int
act(struct gear_command *c, const struct wire_app *app, struct err *e)
{
	const struct wire_gear_cart *cart = NULL;
	bool is_state = c->word.what <= GEAR_WORD_RELOAD;

	if (c->word.cart != NULL && (cart = find_cart(app, c->word.cart, e)) == NULL)
		return -1;
	if (c->word.is_for_build) {
		say(c, "Not stopping: what runs serves until a deployment takes over\n");
		finish(c);
		return 0;
	}
	if (is_state && (cart == NULL || cart->is_web ||
	                    (cart->is_service && c->word.what != GEAR_WORD_RELOAD))) {
		order(c, cart);
		return 0;
	}
	return ask(c, app, cart, e);
}

/* --- deployments --- */

static void
on_deployed(const struct err *e, void *arg)
{
	struct gear_command *c = arg;

	c->deploy = NULL;
	conclude(c, e);
}

static int
deploy(struct gear_command *c, const struct wire_app *app, const char *ref, struct err *e)
{
	bool is_activation = c->word.what == GEAR_WORD_ACTIVATE;

	c->deploy = gear_deploy_start(c->all->b,
	    &(struct gear_deploy_opts){
	        .app = app,
	        .login = c->login,
	        .ref = is_activation ? NULL : ref,
	        .deployment = is_activation ? ref : NULL,
	        .take_artifact = STEAL(c->artifact),
	        .is_hot = c->word.is_hot,
	        .is_clean = c->word.is_clean,
	        .on_line = on_line,
	        .done = on_deployed,
	        .arg = c,
	    },
	    e);
	if (c->deploy != NULL && c->is_not_awaited) {
		say(c, "A deployment is under way: this one comes after it.\n");
		finish(c);
		return 0;
	}
	return c->deploy == NULL ? -1 : 0;
}

static int
list(struct gear_command *c, const struct wire_app *app)
{
	AUTO_FINI(buf_fini) struct buf text = { 0 };

	gear_deploy_list(c->all->b, app, &text);
	say(c, text.p);
	finish(c);
	return 0;
}

/* The new commit of the branch that is deployed, among lines OLD NEW REF; caller owns. */
static char *
pushed_commit(const struct buf *lines, const char *branch)
{
	struct str rest = buf_str(lines), line, old, new, ref;

	while (rest.n > 0) {
		rest = str_cut(rest, '\n', &line);
		ref = str_cut(str_cut(line, ' ', &old), ' ', &new);
		AUTO(free) char *name = xstrndup(ref.p == NULL ? "" : ref.p, ref.n);

		if (str_has_prefix(name, "refs/heads/") &&
		    strcmp(name + strlen("refs/heads/"), branch) == 0)
			return xstrndup(new.p, new.n);
	}
	return NULL;
}

/* The hooks of v2's repositories: what the second one is told is deployed. */
static int
receive(struct gear_command *c, struct err *e)
{
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	AUTO(free) char *commit = NULL;

	if (record_app_by_id(c->all->b->store, c->app_id, &app, NULL, e) < 0)
		return -1;
	if (gear_deploy_check_type(&app, false, e) < 0)
		return -1;
	if (c->word.what == GEAR_WORD_POST_RECEIVE && c->word.is_initial)
		return deploy(c, &app, NULL, e);
	if (c->word.what == GEAR_WORD_POST_RECEIVE && app.auto_deploy)
		commit = pushed_commit(&c->in, gear_deploy_branch(&app));
	if (commit != NULL)
		return deploy(c, &app, commit, e);
	finish(c);
	return 0;
}

static void
take_refs(struct gear_command *c, const char *p, size_t n)
{
	struct err e = { 0 };

	if (c->in.n + n > REFS_MAX)
		fail_as(c, ERR_LIMIT, "too many refs at once");
	else if (n > 0)
		buf_add(&c->in, p, n);
	else if (receive(c, &e) < 0)
		fail(c, &e);
}

/* --- snapshot, restore --- */

static bool
on_archive(const char *p, size_t n, void *arg)
{
	struct gear_command *c = arg;

	buf_add(&c->out, p, n);
	return flush(c);
}

static void
on_archived(const struct err *e, void *arg)
{
	struct gear_command *c = arg;

	c->snapshot = NULL;
	conclude(c, e);
}

/* stdin may go on. */
static void
on_archive_room(void *arg)
{
	struct gear_command *c = arg;

	if (c->stream != NULL)
		stream_used(c->stream, STREAM_STDIN, c->owed);
	c->owed = 0;
}

static void
on_restored(const struct err *e, void *arg)
{
	struct gear_command *c = arg;

	c->restore = NULL;
	conclude(c, e);
}

static int
snapshot(struct gear_command *c, struct err *e)
{
	complain(c, "Creating and sending tar.gz\n");
	c->snapshot = app_snapshot_start(c->all->b, c->app_id, on_archive, on_archived, c, e);
	return c->snapshot == NULL ? -1 : 0;
}

static int
restore(struct gear_command *c, struct err *e)
{
	c->restore = restore_start(c->all->b,
	    &(struct restore_opts){
	        .app_id = c->app_id,
	        .login = c->login,
	        .wants_git = c->word.wants_git,
	        .on_line = on_line,
	        .on_room = on_archive_room,
	        .done = on_restored,
	        .arg = c,
	    },
	    e);
	return c->restore == NULL ? -1 : 0;
}

/* --- a deployment as an archive --- */

static int
archive(struct gear_command *c, const struct wire_app *app, struct err *e)
{
	const char *current = app->status.deployment == NULL ? "" : app->status.deployment;

	if (c->word.arg == NULL && *current == '\0')
		return err_set(e, ERR_NOT_FOUND, NULL, "nothing is deployed yet");
	c->snapshot = app_snapshot_deployment(c->all->b, c->app_id,
	    c->word.arg == NULL ? current : c->word.arg, on_archive, on_archived, c, e);
	return c->snapshot == NULL ? -1 : 0;
}

static void
on_artifact(const char *path, const struct err *e, void *arg)
{
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	struct gear_command *c = arg;
	struct err bad = { 0 };

	c->sink = NULL;
	if (e != NULL) {
		fail(c, e);
		return;
	}
	c->artifact = xstrdup(path);
	if (!c->has_archive) {
		(void)err_set(&bad, ERR_INVALID, NULL,
		    "no archive came: the tar.gz or zip of a deployment is read from standard "
		    "input");
		fail(c, &bad);
		return;
	}
	if (record_app_by_id(c->all->b->store, c->app_id, &app, NULL, &bad) < 0 ||
	    deploy(c, &app, NULL, &bad) < 0)
		fail(c, &bad);
}

static int
receive_artifact(struct gear_command *c, const struct wire_app *app, struct err *e)
{
	const struct app_view_app *v = app_view_get(rollout_view(c->all->b->rollout), c->app_id);
	int64_t mb = v->gears_n == 0 ? 0 : v->gears[0]->gear.limits.disk_mb;

	if (gear_deploy_check_type(app, true, e) < 0)
		return -1;
	if (mb <= 0 || mb > ARTIFACT_MAX_MB)
		mb = ARTIFACT_MAX_MB;
	c->sink = artifact_sink_start(c->all->b,
	    &(struct artifact_sink_opts){
	        .bytes_max = mb << 20,
	        .too_large = "the archive is larger than the disk of the application's gear",
	        .on_room = on_archive_room,
	        .done = on_artifact,
	        .arg = c,
	    },
	    e);
	return c->sink == NULL ? -1 : 0;
}

/* --- the stream --- */

/* Bytes of an archive on stdin; n 0: its end. false: no room for more. */
static bool
take_archive(struct gear_command *c, const char *p, size_t n)
{
	c->has_closed = n == 0;
	c->has_archive |= n > 0;
	if (n == 0 && c->sink != NULL)
		artifact_sink_close(c->sink);
	else if (n == 0)
		restore_close(c->restore);
	else if (c->sink != NULL)
		return artifact_sink_write(c->sink, p, n);
	else
		return restore_write(c->restore, p, n);
	return true;
}

static void
on_data(struct stream *s, int channel, const char *p, size_t n, void *arg)
{
	struct gear_command *c = arg;

	if (channel == STREAM_STDIN && (c->restore != NULL || c->sink != NULL) && !c->has_closed) {
		if (!take_archive(c, p, n)) {
			c->owed += n;
			return;
		}
	} else if (channel == STREAM_STDIN && !c->has_ended && c->deploy == NULL &&
	           (c->word.what == GEAR_WORD_PRE_RECEIVE ||
	               c->word.what == GEAR_WORD_POST_RECEIVE)) {
		stream_used(s, channel, n);
		take_refs(c, p, n);
		return;
	}
	stream_used(s, channel, n);
}

static void
on_room(struct stream *s, void *arg)
{
	struct gear_command *c = arg;

	(void)s;
	if (c->has_ended)
		finish(c);
	else if (c->out.n > 0 && flush(c) && c->snapshot != NULL)
		app_snapshot_resume(c->snapshot);
}

static void
on_close(struct stream *s, const struct err *e, void *arg)
{
	(void)s;
	(void)e;
	end(arg);
}

static const struct stream_calls calls = { on_data, on_room, NULL, on_close };

static int
run(struct gear_command *c, const struct wire_app *app, struct err *e)
{
	switch (c->word.what) {
	case GEAR_WORD_SNAPSHOT:
		return snapshot(c, e);
	case GEAR_WORD_RESTORE:
		return restore(c, e);
	case GEAR_WORD_DEPLOY:
	case GEAR_WORD_ACTIVATE:
		return deploy(c, app, c->word.arg, e);
	case GEAR_WORD_DEPLOYMENTS:
		return list(c, app);
	case GEAR_WORD_BINARY_DEPLOY:
		return receive_artifact(c, app, e);
	case GEAR_WORD_ARCHIVE:
		return archive(c, app, e);
	case GEAR_WORD_PRE_RECEIVE:
	case GEAR_WORD_POST_RECEIVE:
		return c->word.is_initial ? receive(c, e) : 0; /* once stdin was read */
	default:
		return act(c, app, e);
	}
}

/* Its first turn of the loop: from here on it may end. */
static void
on_begin(void *arg)
{
	struct gear_command *c = arg;
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	struct err e = { 0 };

	loop_timer_cancel(STEAL(c->timer));
	if (c->status != 0) {
		finish(c);
		return;
	}
	if (record_app_by_id(c->all->b->store, c->app_id, &app, NULL, &e) < 0) {
		fail(c, &e);
		return;
	}
	/* A hook of a rollout that waited for the next one would wait for ever. */
	c->is_not_awaited = c->is_inside && app.status.phase != NULL &&
	                    strcmp(app.status.phase, "idle") != 0 &&
	                    strcmp(app.status.phase, "stopped") != 0;
	if (run(c, &app, &e) < 0)
		fail(c, &e);
}

static int
check(const struct gear_command_set *all, const struct gear_command_opts *o, struct err *e)
{
	const struct gear_command *c;
	int own = 0;

	LIST_FOREACH (c, &all->list, link)
		own += strcmp(c->gear, o->gear) == 0;
	if (all->n < COMMANDS_MAX && own < OF_GEAR_MAX)
		return 0;
	return err_set(e, ERR_BUSY, NULL, "too many commands are under way: try again");
}

struct gear_command *
gear_command_start(struct gear_command_set *all, struct stream *take_s,
    const struct gear_command_opts *o, gear_command_end_fn *on_end, void *arg)
{
	struct gear_command *c;
	struct err e = { 0 };

	if (check(all, o, &e) < 0) {
		stream_send_error(take_s, &e);
		return NULL;
	}
	c = xcalloc(1, sizeof *c);
	*c = (struct gear_command){
		.all = all,
		.stream = take_s,
		.app_id = xstrdup(o->app_id),
		.gear = xstrdup(o->gear),
		.login = xstrdup(o->login),
		.is_inside = o->login[0] == '\0',
		.on_end = on_end,
		.arg = arg,
	};
	LIST_INSERT_HEAD(&all->list, c, link);
	all->n++;
	stream_set_calls(take_s, &calls, c);
	stream_send(take_s, STREAM_READY, NULL, 0);
	if (gear_word_parse(o->argv, &c->word, &e) < 0) {
		complain(c, e.text);
		complain(c, "\n");
		c->status = EXIT_FAILED;
	} else {
		log_info("gear_command", LOG_STR("gear", c->gear), LOG_STR("login", c->login),
		    LOG_STR("command", c->word.name));
	}
	c->timer = loop_timer_start(all->b->loop, 0, false, on_begin, c);
	return c;
}

struct gear_command_set *
gear_command_set_new(struct broker *b)
{
	struct gear_command_set *s = xcalloc(1, sizeof *s);

	s->b = b;
	return s;
}

void
gear_command_set_free(struct gear_command_set *take_s)
{
	if (take_s == NULL)
		return;
	while (!LIST_EMPTY(&take_s->list))
		drop(LIST_FIRST(&take_s->list));
	free(take_s);
}

/* --- from gears --- */

/* Until its order came. */
struct asker {
	struct gear_command_set *all;
	struct stream *stream;
	char *app_id, *gear; /* owned */
};

static void
free_asker(void *p)
{
	struct asker *a = p;

	stream_free(a->stream);
	free(a->app_id);
	free(a->gear);
	free(a);
}

static void
on_order(struct stream *s, const struct stream_frame *f, void *arg)
{
	AUTO_FINI(wire_exec_fini) struct wire_exec x = { 0 };
	struct asker *a = arg;
	struct err e = { 0 };

	(void)s;
	if (f->type != STREAM_ORDER)
		return;
	if (codec_decode(&wire_exec_codec, f->data.p, f->data.n, &x, 0, &e) < 0 ||
	    wire_exec_check(&x, &e) < 0) {
		stream_send_error(STEAL(a->stream), &e);
	} else {
		const struct gear_command_opts o = {
			.app_id = a->app_id, .gear = a->gear, .login = "", .argv = &x.args
		};

		(void)gear_command_start(a->all, STEAL(a->stream), &o, NULL, NULL);
	}
	loop_free_later(a->all->b->loop, free_asker, a);
}

static void
on_asker_close(struct stream *s, const struct err *e, void *arg)
{
	(void)s;
	(void)e;
	free_asker(arg);
}

static const struct stream_calls asker_calls = { NULL, NULL, on_order, on_asker_close };

void
gear_command_handle(struct gear_command_set *all, struct http_req *r)
{
	const char *node = http_req_param(r, "node");
	const char *gear = http_req_param(r, "gear");
	AUTO_FINI(wire_gear_fini) struct wire_gear record = { 0 };
	AUTO(free) char *key = NULL;
	struct err e = { 0 };
	struct asker *a;

	if (node == NULL || gear == NULL || strchr(node, '/') != NULL ||
	    strchr(gear, '/') != NULL ||
	    record_get(all->b->store, store_key_gear(node, gear), &wire_gear_codec, &record, NULL,
	        &e) < 0) {
		http_req_reply_text(r, 404, "There is no such gear on this node.\n");
		return;
	}
	if (!stream_wanted(r))
		return;
	a = xcalloc(1, sizeof *a);
	*a = (struct asker){ .all = all, .app_id = xstrdup(record.app_id), .gear = xstrdup(gear) };
	a->stream = stream_accept(r, &asker_calls, a);
}
