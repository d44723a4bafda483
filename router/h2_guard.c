#include "router/h2_guard.h"

#include <stdbool.h>
#include <string.h>

enum {
	PREFACE = 24,
	HEAD = 9,
	SENT_WORTH = 4,  /* window updates, pings for measuring */
	FAULT_COST = 50, /* frames without a use that a fault counts for */
};

void
h2_guard_init(struct h2_guard *g)
{
	*g = (struct h2_guard){ .left = PREFACE };
}

static uint32_t
number(const uint8_t *p, int n)
{
	uint32_t v = 0;

	for (int i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static size_t
length_of(const struct h2_guard *g)
{
	return number(g->head, 3);
}

static int32_t
stream_of(const struct h2_guard *g)
{
	return (int32_t)(number(g->head + 5, 4) & INT32_MAX);
}

/* Whether all before this frame must be in effect for the look at it. */
static bool
is_of_old_stream(const struct h2_guard *g)
{
	return g->head[3] == NGHTTP2_DATA ||
	       (g->head[3] == NGHTTP2_HEADERS && stream_of(g) <= g->last);
}

/* A frame of a stream that may be closed. What the client sends on one that it ended itself is an
 * error; what comes to one that we ended may have been on its way. */
static uint32_t
check_old(const struct h2_guard *g, nghttp2_session *ng)
{
	int32_t id = stream_of(g);

	if (id > g->last || (id & 1) == 0 || nghttp2_session_find_stream(ng, id) != NULL)
		return NGHTTP2_NO_ERROR; /* nghttp2 says what it is */
	for (int i = 0; i < H2_GUARD_ENDED; i++) {
		if (g->ended[i] == id)
			return NGHTTP2_STREAM_CLOSED;
	}
	if (g->head[3] == NGHTTP2_HEADERS && id >= g->skipped_from && id < g->skipped_to)
		return NGHTTP2_PROTOCOL_ERROR; /* 5.1.1 */
	return NGHTTP2_NO_ERROR;
}

static void
note_new(struct h2_guard *g)
{
	int32_t id = stream_of(g);

	if (id > g->last + 2) {
		g->skipped_from = g->last + 1;
		g->skipped_to = id;
	}
	g->last = id;
}

/* Counts frames that cost us more than they say. */
static uint32_t
spend(struct h2_guard *g, int32_t cost, int64_t now_ms)
{
	int64_t back = (now_ms - g->spent_ms) * H2_GUARD_FRAMES_RATE / 1000;

	if (back > 0) {
		g->spent = back > g->spent ? 0 : g->spent - (int32_t)back;
		g->spent_ms = now_ms;
	}
	g->spent += cost;
	return g->spent > H2_GUARD_FRAMES ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_NO_ERROR;
}

static uint32_t
check(struct h2_guard *g, nghttp2_session *ng, int64_t now_ms)
{
	switch (g->head[3]) {
	case NGHTTP2_DATA:
		if (length_of(g) == 0 && (g->head[4] & NGHTTP2_FLAG_END_STREAM) == 0 &&
		    spend(g, 1, now_ms) != NGHTTP2_NO_ERROR)
			return NGHTTP2_ENHANCE_YOUR_CALM;
		return check_old(g, ng);
	case NGHTTP2_HEADERS:
		if (stream_of(g) <= g->last)
			return check_old(g, ng);
		note_new(g);
		return spend(g, 0, now_ms); /* of faults before it */
	case NGHTTP2_PRIORITY:              /* 6.3; 5.3.1 of RFC 7540 */
		if (stream_of(g) == 0 ||
		    (g->head_n == H2_GUARD_HEAD &&
		        (int32_t)(number(g->head + HEAD, 4) & INT32_MAX) == stream_of(g)))
			return NGHTTP2_PROTOCOL_ERROR;
		return spend(g, 1, now_ms);
	default:
		return spend(g, 1, now_ms);
	}
}

/* The bytes of the frame to look at. */
static uint8_t
wanted(const struct h2_guard *g)
{
	return g->head_n >= HEAD - 5 && g->head[3] == NGHTTP2_PRIORITY && length_of(g) == 5
	           ? H2_GUARD_HEAD
	           : HEAD;
}

size_t
h2_guard_scan(struct h2_guard *g, nghttp2_session *ng, const char *p, size_t n, int64_t now_ms,
    uint32_t *out_code)
{
	size_t i = 0;

	*out_code = NGHTTP2_NO_ERROR;
	while (i < n && *out_code == NGHTTP2_NO_ERROR) {
		if (g->left != 0) {
			size_t take = g->left < n - i ? g->left : n - i;

			g->left -= take;
			i += take;
			continue;
		}
		g->head[g->head_n] = (uint8_t)p[i];
		if (g->head_n + 1 == HEAD && i != 0 && is_of_old_stream(g))
			return i; /* its last byte is looked at when all before it is in effect */
		i++;
		if (++g->head_n < wanted(g))
			continue;
		*out_code = check(g, ng, now_ms);
		g->left = length_of(g) - (g->head_n - HEAD);
		g->head_n = 0;
	}
	return i;
}

void
h2_guard_ended(struct h2_guard *g, int32_t id)
{
	g->ended[g->ended_n++ % H2_GUARD_ENDED] = id;
}

void
h2_guard_sent(struct h2_guard *g)
{
	g->spent = g->spent < SENT_WORTH ? 0 : g->spent - SENT_WORTH;
}

void
h2_guard_fault(struct h2_guard *g)
{
	g->spent += FAULT_COST;
}
