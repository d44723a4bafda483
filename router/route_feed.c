#include "router/route_feed.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/wire/wire_acme.h"
#include "lib/wire/wire_cert.h"
#include "lib/wire/wire_feed.h"
#include "lib/wire/wire_route.h"
#include "router/cert_table.h"
#include "router/challenge_table.h"
#include "router/host_table.h"

void
route_feed_fini(struct route_feed *f)
{
	free(STEAL(f->cluster));
}

void
route_feed_begin(struct route_feed *f)
{
	f->in_snapshot = false;
	f->is_first = true;
}

/* Whose feed is it? A foreign cluster's routes, or those of a past that a restore ended, would send
 * requests to whatever has the addresses now. */
static int
check_origin(struct route_feed *f, const struct wire_feed *w, struct err *e)
{
	if (w->cluster == NULL)
		return 0;
	if (f->cluster != NULL && strcmp(f->cluster, w->cluster) != 0)
		return err_set(e, ERR_CONFLICT, "cluster",
		    "the feed is of cluster %s, this router belongs to %s: give the right --feed, "
		    "or remove "
		    "the saved table",
		    w->cluster, f->cluster);
	if (w->epoch < f->epoch)
		return err_set(e, ERR_CONFLICT, "epoch",
		    "the feed is of epoch %lld, this router knows %lld: the broker serves an old "
		    "copy",
		    (long long)w->epoch, (long long)f->epoch);
	mem_set_str(&f->cluster, w->cluster);
	f->epoch = w->epoch;
	return 0;
}

static enum route_feed_step
put(struct route_feed *f, const struct wire_feed *w, struct err *e)
{
	AUTO_FINI(wire_route_fini) struct wire_route r = { 0 };

	if (w->value == NULL || w->key == NULL) {
		(void)err_set(e, ERR_INVALID, "value", "a put needs key and value");
		return ROUTE_FEED_SKIPPED;
	}
	if (codec_decode(&wire_route_codec, w->value, strlen(w->value), &r, CODEC_IGNORE, e) < 0) {
		(void)err_wrap(e, "route %s", w->key);
		return ROUTE_FEED_SKIPPED;
	}
	if (strcmp(r.host, w->key) != 0) {
		(void)err_set(
		    e, ERR_INVALID, "host", "is %s, but the route's key is %s", r.host, w->key);
		return ROUTE_FEED_SKIPPED;
	}
	if (host_table_put(f->table, &r, e) < 0) {
		(void)err_wrap(e, "route %s", w->key);
		return ROUTE_FEED_SKIPPED;
	}
	return ROUTE_FEED_CHANGE;
}

/* Of the kinds cert and tickets: in force at once. */
static int
put_cert(struct route_feed *f, const struct wire_feed *w, struct err *e)
{
	AUTO_FINI(wire_cert_fini) struct wire_cert c = { 0 };
	AUTO_FINI(wire_tickets_fini) struct wire_tickets t = { 0 };
	bool is_cert = strcmp(w->kind, "cert") == 0;
	const struct codec *codec = is_cert ? &wire_cert_codec : &wire_tickets_codec;
	const char *value = w->value == NULL ? "" : w->value;

	if (codec_decode(codec, value, strlen(value), is_cert ? (void *)&c : &t, CODEC_IGNORE, e) <
	    0)
		return -1;
	return is_cert ? cert_table_put(f->certs, &c, e) : cert_table_set_tickets(f->certs, &t, e);
}

static enum route_feed_step
take_cert(struct route_feed *f, const struct wire_feed *w, struct err *e)
{
	if (f->certs == NULL || w->key == NULL)
		return ROUTE_FEED_SKIPPED;
	if (w->type == WIRE_FEED_DELETE)
		return cert_table_delete(f->certs, w->key) ? ROUTE_FEED_CHANGE : ROUTE_FEED_SKIPPED;
	if (put_cert(f, w, e) < 0) {
		(void)err_wrap(e, "%s %s", w->kind, w->key);
		return ROUTE_FEED_SKIPPED;
	}
	return ROUTE_FEED_CHANGE;
}

/* In force at once, too. */
static enum route_feed_step
take_challenge(struct route_feed *f, const struct wire_feed *w, struct err *e)
{
	AUTO_FINI(wire_challenge_fini) struct wire_challenge c = { 0 };
	const char *value = w->value == NULL ? "" : w->value;

	if (f->challenges == NULL || w->key == NULL)
		return ROUTE_FEED_SKIPPED;
	if (w->type == WIRE_FEED_DELETE)
		return challenge_table_delete(f->challenges, w->key) ? ROUTE_FEED_CHANGE
		                                                     : ROUTE_FEED_SKIPPED;
	if (codec_decode(&wire_challenge_codec, value, strlen(value), &c, CODEC_IGNORE, e) < 0 ||
	    challenge_table_put(f->challenges, w->key, &c, e) < 0) {
		(void)err_wrap(e, "challenge %s", w->key);
		return ROUTE_FEED_SKIPPED;
	}
	return ROUTE_FEED_CHANGE;
}

static bool
is_of(const struct wire_feed *w, const char *kind)
{
	return (w->type == WIRE_FEED_PUT || w->type == WIRE_FEED_DELETE) && w->kind != NULL &&
	       strcmp(w->kind, kind) == 0;
}

static bool
is_of_tls(const struct wire_feed *w)
{
	return is_of(w, "cert") || is_of(w, "tickets");
}

static enum route_feed_step
take(struct route_feed *f, const struct wire_feed *w, struct err *e)
{
	bool is_route = w->kind != NULL && strcmp(w->kind, "route") == 0;

	if (is_of_tls(w))
		return take_cert(f, w, e);
	if (is_of(w, "challenge"))
		return take_challenge(f, w, e);
	switch (w->type) {
	case WIRE_FEED_RESET:
		host_table_begin_sweep(f->table);
		if (f->certs != NULL)
			cert_table_begin_sweep(f->certs);
		if (f->challenges != NULL)
			challenge_table_clear(f->challenges);
		f->in_snapshot = true;
		return ROUTE_FEED_RESET;
	case WIRE_FEED_SYNC:
		if (f->in_snapshot)
			host_table_sweep(f->table);
		if (f->in_snapshot && f->certs != NULL)
			cert_table_sweep(f->certs);
		f->in_snapshot = false;
		f->revision = w->revision;
		return ROUTE_FEED_SYNC;
	case WIRE_FEED_PUT:
		return is_route ? put(f, w, e) : ROUTE_FEED_SKIPPED;
	case WIRE_FEED_DELETE:
		if (!is_route || w->key == NULL || !host_table_delete(f->table, w->key))
			return ROUTE_FEED_SKIPPED;
		return ROUTE_FEED_CHANGE;
	default:
		return ROUTE_FEED_SKIPPED;
	}
}

enum route_feed_step
route_feed_line(struct route_feed *f, struct str line, struct err *e)
{
	AUTO_FINI(wire_feed_fini) struct wire_feed w = { 0 };

	if (codec_decode(&wire_feed_codec, line.p, line.n, &w, CODEC_IGNORE, e) < 0)
		return ROUTE_FEED_REFUSED;
	if (f->is_first && w.type != WIRE_FEED_RESET && w.type != WIRE_FEED_SYNC) {
		(void)err_set(e, ERR_INVALID, "type", "a feed begins with reset or sync");
		return ROUTE_FEED_REFUSED;
	}
	f->is_first = false;
	if (check_origin(f, &w, e) < 0)
		return ROUTE_FEED_REFUSED;
	return take(f, &w, e);
}
