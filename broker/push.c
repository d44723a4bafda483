#include "broker/push.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/api_view.h"
#include "broker/broker.h"
#include "broker/build.h"
#include "broker/push_builder.h"
#include "broker/push_refs.h"
#include "broker/push_tree.h"
#include "broker/record.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/http_server.h"
#include "lib/loop/loop.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

enum {
	COMMANDS_MAX_BYTES = 4 << 20,
	REASON_MAX = 300,
	BEHIND_MAX =
	    1 << 20, /* bytes kept for a pusher who does not read; then lines are skipped */
};

struct push {
	struct push_set *s; /* borrowed */
	char *id, *token;
	char *app_id, *login, *git_dir, *url;
	char *env[4];               /* NULL-terminated, owned */
	struct http_req *hook;      /* the hook that waits for an answer; NULL: none */
	struct push_refs refs;      /* of the proc-receive under way */
	struct push_tree *check;    /* of the pre-receive under way */
	struct build *build;        /* under way; borrowed */
	struct push_command *built; /* what it builds; in refs */
	char *builder;              /* the cartridge that builds instead; NULL: none */
	struct push_builder *asked; /* under way */
	bool is_storing;            /* a transaction is under way */
	bool is_over;               /* git ended */
	bool is_full;               /* the pusher does not read */
	size_t behind;              /* bytes queued since */
	int64_t skipped;            /* lines */
	int64_t start_us;
};

struct push_set {
	struct broker *b;   /* borrowed */
	struct map *pushes; /* id → struct push, owned */
};

struct push_set *
push_set_new(struct broker *b)
{
	struct push_set *s = xcalloc(1, sizeof *s);

	s->b = b;
	s->pushes = map_new(NULL);
	return s;
}

static void
push_release(struct push *p)
{
	if (p->build != NULL)
		build_detach(STEAL(p->build));
	push_tree_cancel(STEAL(p->check));
	push_builder_cancel(STEAL(p->asked));
	free(p->builder);
	if (p->hook != NULL) {
		http_req_on_close(p->hook, NULL, NULL);
		http_req_on_drain(p->hook, NULL, NULL);
		http_req_abort(STEAL(p->hook));
	}
	push_refs_fini(&p->refs);
	for (size_t i = 0; p->env[i] != NULL; i++)
		free(p->env[i]);
	free(p->id);
	secret_free(p->token);
	free(p->app_id);
	free(p->login);
	free(p->git_dir);
	free(p->url);
	free(p);
}

static void
release_one(const char *key, void *value, void *arg)
{
	(void)key;
	(void)arg;
	push_release(value);
}

void
push_set_free(struct push_set *take_s)
{
	if (take_s == NULL)
		return;
	map_each(take_s->pushes, release_one, NULL);
	map_free(take_s->pushes);
	free(take_s);
}

struct push *
push_begin(struct push_set *s, const struct push_info *info)
{
	struct push *p = xcalloc(1, sizeof *p);

	*p = (struct push){ .s = s,
		.id = secret_random_hex(8),
		.token = secret_random_hex(16),
		.app_id = xstrdup(info->app_id),
		.login = xstrdup(info->login),
		.git_dir = xstrdup(info->git_dir),
		.url = xstrdup(info->url),
		.start_us = loop_now_us() };
	p->env[0] = xasprintf("PINION_HOOK_SOCKET=%s",
	    s->b->conf.hook_socket + (str_has_prefix(s->b->conf.hook_socket, "unix:") ? 5 : 0));
	p->env[1] = xasprintf("PINION_HOOK_TOKEN=%s", p->token);
	p->env[2] = xasprintf("PINION_PUSH=%s", p->id);
	map_set(s->pushes, p->id, p);
	return p;
}

const char *const *
push_env(const struct push *p)
{
	return (const char *const *)p->env;
}

void
push_end(struct push *take_p)
{
	if (take_p == NULL || take_p->is_over)
		return;
	take_p->is_over = true;
	if (take_p->is_storing)
		return; /* released when the transaction ends */
	(void)map_remove(take_p->s->pushes, take_p->id);
	push_release(take_p);
}

/* --- what the pusher is told --- */

/* One line of the answer to the hook, whose kind is its first letter. */
static void
tell(struct push *p, char kind, const char *text)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	AUTO(free) char *line = xstrdup(text);

	if (p->hook == NULL)
		return;
	if (kind == 'L' && p->is_full && p->behind > BEHIND_MAX) {
		p->skipped++;
		return;
	}
	buf_addc(&b, kind);
	buf_addc(&b, ' ');
	for (char *c = line; *c != '\0'; c++)
		*c = *c == '\n' || *c == '\r' ? ' ' : *c;
	str_clean(line, strlen(line), &b); /* it is for a terminal */
	buf_addc(&b, '\n');
	if (p->is_full)
		p->behind += b.n;
	if (!http_req_write(p->hook, b.p, b.n))
		p->is_full = true;
}

static void
on_hook_drain(struct http_req *r, void *arg)
{
	struct push *p = arg;
	AUTO(free) char *text = NULL;

	(void)r;
	p->is_full = false;
	p->behind = 0;
	if (p->skipped == 0)
		return;
	text = xasprintf("(%lld lines were skipped: they came faster than they were read)",
	    (long long)p->skipped);
	p->skipped = 0;
	tell(p, 'L', text);
}

/* Each line of the text by itself. */
static void
say(struct push *p, const char *text)
{
	struct str rest = str_of(text), line;

	do {
		rest = str_cut(rest, '\n', &line);
		AUTO(free) char *s = xstrndup(line.p == NULL ? "" : line.p, line.n);

		tell(p, 'L', s);
	} while (rest.p != NULL);
}

static void
verdict(struct push *p, const struct push_command *c)
{
	AUTO(free) char *text = NULL;

	if (c->reason == NULL) {
		tell(p, 'K', c->ref);
		return;
	}
	text = xasprintf("%s %.*s", c->ref, REASON_MAX, c->reason);
	text[strcspn(text, "\n")] = '\0';
	tell(p, 'N', text);
}

static void
hook_end(struct push *p)
{
	struct http_req *r = STEAL(p->hook);

	if (r == NULL)
		return;
	(void)http_req_write(r, ".\n", 2);
	http_req_on_drain(r, NULL, NULL);
	http_req_on_close(r, NULL, NULL);
	http_req_end(r);
}

/* All refs have their verdict. */
static void
conclude(struct push *p)
{
	for (size_t i = 0; i < p->refs.n; i++)
		verdict(p, &p->refs.v[i]);
	hook_end(p);
	log_info("push_done", LOG_STR("app", p->app_id), LOG_STR("user", p->login),
	    LOG_INT("refs", p->refs.n), LOG_INT("ms", (loop_now_us() - p->start_us) / 1000));
}

/* --- the build --- */

static void
on_build_line(const char *line, void *arg)
{
	say(arg, line);
}

static void
say_url(struct push *p)
{
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	AUTO(free) char *url = NULL;
	struct err e = { 0 };

	if (record_app_by_id(p->s->b->store, p->app_id, &app, NULL, &e) < 0)
		return;
	url = api_view_app_url(p->s->b, &app);
	say(p, url);
}

static void
on_built(const char *deployment_id, const struct err *e, void *arg)
{
	struct push *p = arg;

	(void)deployment_id;
	p->build = NULL;
	fault_point("push_built");
	if (e != NULL) {
		p->built->reason = xstrdup(e->text);
		say(p, "-------------------------");
		say(p, "Git Post-Receive Result: failure");
		say(p, e->text);
		say(p, "Deployment completed with status: failure");
	} else {
		say(p, "-------------------------");
		say(p, "Git Post-Receive Result: success");
		say(p, "Activation status: success");
		say(p, "Deployment completed with status: success");
		say_url(p);
	}
	conclude(p);
}

/* v2: what follows the move of the refs cannot take it back. */
static void
on_asked(const struct err *e, void *arg)
{
	struct push *p = arg;

	p->asked = NULL;
	if (e != NULL)
		say(p, e->text);
	conclude(p);
}

static void
ask_builder(struct push *p)
{
	struct err e = { 0 };

	p->asked = push_builder_start(
	    p->s->b, p->app_id, p->builder, "post-receive", on_build_line, on_asked, p, &e);
	if (p->asked == NULL)
		on_asked(&e, p);
}

static void
build_or_conclude(struct push *p)
{
	struct push_command *c = p->built;

	if (p->is_over) {
		(void)map_remove(p->s->pushes, p->id);
		push_release(p);
		return;
	}
	if (c == NULL || c->reason != NULL) {
		conclude(p);
		return;
	}
	if (p->builder != NULL) {
		ask_builder(p);
		return;
	}
	p->build = build_start(p->s->b->builds,
	    &(struct build_source){
	        .app_id = p->app_id,
	        .ref = c->ref,
	        .sha1 = c->new_oid,
	        .old_sha1 = push_refs_is_zero(c->old_oid) ? NULL : c->old_oid,
	        .moves_ref = true,
	        .begin_us = p->start_us,
	        .login = p->login,
	        .git_url = p->url,
	    },
	    on_build_line, on_built, p);
}

/* --- the refs that only move --- */

static void store_refs(struct push *p);

static void
on_refs_stored(int64_t rev, const struct err *e, void *arg)
{
	struct push *p = arg;

	(void)rev;
	p->is_storing = false;
	if (e != NULL && e->code == ERR_CONFLICT && ++p->refs.tries < 20) {
		store_refs(p);
		return;
	}
	if (e != NULL)
		push_refs_refuse_stored(&p->refs, e->text);
	fault_point("push_refs_stored");
	build_or_conclude(p);
}

static void
store_refs(struct push *p)
{
	struct store_txn *t = store_txn_new();
	struct err e = { 0 };
	int rc = push_refs_fill(p->s->b, p->app_id, &p->refs, t, &e);

	if (rc <= 0) {
		store_txn_free(t);
		if (rc < 0)
			push_refs_refuse_stored(&p->refs, e.text);
		build_or_conclude(p);
		return;
	}
	fault_point("push_refs_store");
	p->is_storing = true;
	store_txn_submit(p->s->b->store, t, on_refs_stored, p);
}

/* --- hooks --- */

static void
on_hook_close(struct http_req *r, void *arg)
{
	struct push *p = arg;

	(void)r;
	p->hook = NULL;
}

static void
hook_begin(struct push *p, struct http_req *r)
{
	static const char *const headers[] = { "Content-Type: text/plain; charset=utf-8", NULL };

	p->hook = r;
	http_req_on_close(r, on_hook_close, p);
	http_req_begin(r, 200, headers);
	p->is_full = false;
	p->behind = 0;
	http_req_on_drain(r, on_hook_drain, p);
}

/* The builder's word before the refs move. */
static void
on_builder_ready(const struct err *e, void *arg)
{
	struct push *p = arg;

	p->asked = NULL;
	if (e == NULL) {
		store_refs(p);
		return;
	}
	say(p, e->text);
	for (size_t i = 0; i < p->refs.n; i++)
		mem_set_str(&p->refs.v[i].reason, e->text);
	conclude(p);
}

static void
begin_refs(struct push *p)
{
	struct err e = { 0 };

	if (p->builder == NULL || p->built == NULL) {
		store_refs(p);
		return;
	}
	p->asked = push_builder_start(
	    p->s->b, p->app_id, p->builder, "pre-receive", on_build_line, on_builder_ready, p, &e);
	if (p->asked == NULL)
		on_builder_ready(&e, p);
}

static void
proc_receive(struct push *p, struct str body)
{
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	struct err e = { 0 };

	push_refs_fini(&p->refs);
	p->built = NULL;
	if (push_refs_parse(&p->refs, body, &e) < 0 ||
	    record_app_by_id(p->s->b->store, p->app_id, &app, NULL, &e) < 0) {
		say(p, e.text);
		for (size_t i = 0; i < p->refs.n; i++)
			mem_set_str(&p->refs.v[i].reason, e.text);
		conclude(p);
		return;
	}
	free(p->builder);
	p->builder = push_builder_find(p->s->b, &app);
	p->built = push_refs_judge(p->s->b, &app, &p->refs);
	if (p->built != NULL && p->builder != NULL)
		p->built->is_stored = true; /* a build of ours would move it */
	for (size_t i = 0; i < p->refs.n; i++) {
		if (p->refs.v[i].note != NULL)
			say(p, p->refs.v[i].note);
	}
	begin_refs(p);
}

static void
on_checked(const struct err *e, void *arg)
{
	struct push *p = arg;
	AUTO(free) char *text = NULL;

	p->check = NULL;
	if (e != NULL) {
		text = xasprintf("- %s", e->text);
		tell(p, 'N', text);
	}
	hook_end(p);
}

static void
pre_receive(struct push *p, struct str body, const char *quarantine)
{
	AUTO_FINI(push_refs_fini) struct push_refs refs = { 0 };
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	const struct push_command *c;
	struct err e = { 0 };

	if (push_refs_parse(&refs, body, &e) < 0 ||
	    record_app_by_id(p->s->b->store, p->app_id, &app, NULL, &e) < 0) {
		on_checked(&e, p);
		return;
	}
	c = push_refs_judge(p->s->b, &app, &refs);
	if (c == NULL) {
		hook_end(p);
		return;
	}
	p->check = push_tree_start(p->s->b, p->git_dir, quarantine, c->new_oid, on_checked, p);
}

/* The push that the path names, if it is alive and the hook knows its token. */
static struct push *
find_push(struct push_set *s, const struct http_req *r)
{
	const char *path = http_req_path(r), *auth = http_req_header(r, "Authorization");
	struct str id, rest;
	struct push *p;

	if (!str_has_prefix(path, "/push/"))
		return NULL;
	rest = str_cut(str_of(path + strlen("/push/")), '/', &id);
	p = map_getn(s->pushes, id.p, id.n);
	if (p == NULL || p->is_over || auth == NULL || !str_has_prefix(auth, "Bearer ") ||
	    !secret_equal(auth + strlen("Bearer "), p->token) ||
	    (!str_eq(rest, "pre-receive") && !str_eq(rest, "proc-receive")))
		return NULL;
	return p;
}

static void
on_body(struct http_req *r, struct str body, const struct err *e, void *arg)
{
	struct push *p;
	AUTO(free) char *quarantine = NULL;

	if (e != NULL)
		return;
	p = find_push(arg, r);
	if (p == NULL || p->hook != NULL) {
		http_req_reply_text(r, 403, "This push is not known: push again.\n");
		return;
	}
	quarantine = xstrdup_null(http_req_header(r, "X-Quarantine"));
	if (str_has_suffix(http_req_path(r), "/pre-receive")) {
		hook_begin(p, r);
		pre_receive(p, body, quarantine);
	} else {
		hook_begin(p, r);
		proc_receive(p, body);
	}
}

void
push_handle_hook(struct push_set *s, struct http_req *r)
{
	if (find_push(s, r) == NULL)
		http_req_reply_text(r, 403, "This push is not known: push again.\n");
	else
		http_req_read_all(r, COMMANDS_MAX_BYTES, on_body, s);
}
