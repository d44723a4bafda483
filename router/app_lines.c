#include "router/app_lines.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_route.h"
#include "router/access_log.h"
#include "router/feed_post.h"
#include "router/fleet.h"
#include "router/lane.h"
#include "router/router_conf.h"

enum {
	EVERY_MS = 500,
	LANE_MAX = 512, /* lines of a lane in that time */
	BUCKETS = 64,
	BUCKET_MAX = 100, /* of an application, in a lane */
	PATH_LEN = 300,
	PENDING_MAX = 4096, /* while the broker is away */
};

/* A lane's lines of the present time; its alone. */
struct app_lines_box {
	struct wire_app_line_list lines;
	uint16_t bucket[BUCKETS];
	int64_t dropped;
};

struct app_lines {
	struct loop *loop;              /* borrowed */
	struct fleet *fleet;            /* borrowed */
	const struct router_conf *conf; /* borrowed */
	struct feed_post post;
	struct loop_timer *timer;
	struct wire_app_lines ready; /* collected, not sent */
	atomic_int left;             /* lanes that have not answered */
	bool is_looking;
	int lanes;
	struct share {
		struct app_lines_box box;      /* the lane's */
		struct wire_app_line_list out; /* handed over */
		int64_t dropped;
	} share[];
};

/* --- in a lane --- */

static unsigned
bucket_of(const char *app_id)
{
	unsigned h = 5381;

	while (*app_id != '\0')
		h = h * 33 + (unsigned char)*app_id++;
	return h % BUCKETS;
}

/* Bytes from outside: nothing that ends a field, a line, or speaks to a terminal. */
static void
add_text(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n && i < PATH_LEN; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c > 0x20 && c < 0x7f && c != '"' && c != '\\')
			buf_addc(b, (char)c);
		else
			buf_addf(b, "\\x%02x", c);
	}
	if (s.n > PATH_LEN)
		buf_adds(b, "...");
}

void
app_lines_put(struct app_lines_box *box, const char *app_id, const struct access_line *l)
{
	unsigned k = bucket_of(app_id);
	struct wire_app_line *to;
	struct buf b = { 0 };

	if (*app_id == '\0')
		return;
	if (box->lines.n >= LANE_MAX || box->bucket[k] >= BUCKET_MAX) {
		box->dropped++;
		return;
	}
	box->bucket[k]++;
	add_text(&b, l->method);
	buf_addc(&b, ' ');
	add_text(&b, l->path);
	buf_addf(&b, " %d %" PRId64 ".%03" PRId64 "ms %" PRId64 "B ", l->status, l->took_us / 1000,
	    l->took_us % 1000, l->bytes);
	add_text(&b, l->peer);
	buf_adds(&b, " instance=");
	add_text(&b, l->instance);
	buf_adds(&b, " id=");
	add_text(&b, l->id);
	if (l->reason.n != 0) { /* our own words */
		buf_adds(&b, " reason=\"");
		buf_addstr(&b, l->reason);
		buf_addc(&b, '"');
	}
	to = codec_list_add(&wire_app_line_codec, &box->lines);
	to->app_id = xstrdup(app_id);
	to->at_ms = l->unix_us / 1000;
	to->line = buf_steal(&b);
}

static void on_taken(void *arg);

static void
take(struct lane *l, void *arg)
{
	struct app_lines *a = arg;
	struct share *s = &a->share[l->index];

	s->out = s->box.lines;
	s->dropped = s->box.dropped;
	s->box = (struct app_lines_box){ 0 };
	if (atomic_fetch_sub(&a->left, 1) == 1)
		loop_post(a->loop, on_taken, a);
}

/* --- control thread --- */

static void
lines_fini(struct wire_app_line_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		wire_app_line_fini(&l->v[i]);
	free(l->v);
	*l = (struct wire_app_line_list){ 0 };
}

static void
on_sent(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct app_lines *a = arg;

	(void)c;
	(void)body;
	(void)feed_post_ended(&a->post, status, e); /* lost, they are gone: a log is no ledger */
}

static void
send_ready(struct app_lines *a)
{
	AUTO(free) char *json = NULL;

	if (a->ready.lines.n == 0 && a->ready.dropped == 0)
		return;
	mem_set_str(&a->ready.router, a->conf->id);
	json = codec_to_json(&wire_app_lines_codec, &a->ready);
	wire_app_lines_fini(&a->ready);
	feed_post_send(&a->post, json, on_sent, a);
}

static void
on_taken(void *arg)
{
	struct app_lines *a = arg;

	a->is_looking = false;
	for (int i = 0; i < a->lanes; i++) {
		struct share *s = &a->share[i];

		a->ready.dropped += s->dropped;
		for (size_t k = 0; k < s->out.n; k++) {
			if (a->ready.lines.n >= PENDING_MAX) {
				a->ready.dropped++;
				continue;
			}
			*(struct wire_app_line *)codec_list_add(
			    &wire_app_line_codec, &a->ready.lines) = s->out.v[k];
			s->out.v[k] = (struct wire_app_line){ 0 };
		}
		lines_fini(&s->out);
		s->dropped = 0;
	}
	if (a->post.call == NULL)
		send_ready(a);
}

static void
on_time(void *arg)
{
	struct app_lines *a = arg;

	if (a->is_looking || a->post.call != NULL)
		return;
	a->is_looking = true;
	atomic_store(&a->left, a->lanes);
	fleet_each_lane(a->fleet, take, a);
}

DEFINE_AUTO(struct app_lines *, app_lines_free)

struct app_lines *
app_lines_new(struct loop *l, struct fleet *f, const struct router_conf *conf, struct err *e)
{
	int lanes = fleet_lanes(f);
	AUTO(app_lines_free)
	struct app_lines *a = xcalloc(1, sizeof *a + (size_t)lanes * sizeof a->share[0]);

	a->loop = l;
	a->fleet = f;
	a->conf = conf;
	a->lanes = lanes;
	if (feed_post_init(&a->post, l, conf, "/internal/router/lines", e) < 0)
		return NULL;
	for (int i = 0; i < lanes; i++)
		fleet_lane(f, i)->lines = &a->share[i].box;
	a->timer = loop_timer_start(l, EVERY_MS, true, on_time, a);
	return STEAL(a);
}

void
app_lines_stop(struct app_lines *a)
{
	if (a == NULL)
		return;
	loop_timer_cancel(STEAL(a->timer));
	feed_post_stop(&a->post);
}

void
app_lines_free(struct app_lines *take_a)
{
	struct app_lines *a = take_a;

	if (a == NULL)
		return;
	app_lines_stop(a);
	feed_post_fini(&a->post);
	for (int i = 0; i < a->lanes; i++) {
		lines_fini(&a->share[i].box.lines);
		lines_fini(&a->share[i].out);
	}
	wire_app_lines_fini(&a->ready);
	free(a);
}
