#include "router/tls_light.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/mem.h"
#include "router/lane.h"
#include "router/sock.h"
#include "router/tls_record.h"

enum {
	QUIET_MAX = 32, /* records in a row of one read that hold nothing */
};

struct tls_light {
	struct tls_record *record; /* owned */
	unsigned char *tail;       /* owned: read, but not opened; NULL: nothing */
	int64_t took_us;           /* the handshake */
	uint32_t tail_n;
	bool is_over;   /* the client said that it is the end */
	bool is_broken; /* nothing more is read */
};

/* One call: what it fills, and what it knows. */
struct reading {
	unsigned char *to;
	size_t room, all;      /* bytes that fit, that are there */
	unsigned char *in;     /* the lane's: sealed bytes */
	size_t n, at;          /* how many there are, and are opened */
	unsigned quiet;        /* records in a row without data */
	bool is_dry, is_short; /* the socket had nothing; less than was asked for */
};

static bool
has_record(const struct reading *r, size_t *out_n)
{
	*out_n = 0;
	if (r->n - r->at < TLS_RECORD_HEAD)
		return false;
	*out_n = tls_record_length(r->in + r->at);
	return *out_n == 0 || *out_n <= r->n - r->at;
}

/* The next record; false: it has no room behind the others. */
static bool
open_one(struct tls_light *t, struct reading *r, size_t n, struct buf *answer)
{
	unsigned char *p = r->in + r->at;
	bool fits = n - TLS_RECORD_HEAD <= r->room - r->all;
	unsigned char *to = fits ? r->to + r->all : p + TLS_RECORD_HEAD;
	enum tls_record_got what;
	size_t got;

	if (!fits && r->all > 0)
		return false;
	what = tls_record_open(t->record, p, n, to, &got, answer);
	r->at += n;
	if (!fits && got <= r->room) /* only its padding did not */
		memcpy(r->to, to, got);
	t->is_over = what == TLS_RECORD_END;
	t->is_broken = what == TLS_RECORD_BROKEN || got > r->room - r->all;
	r->all += t->is_broken ? 0 : got;
	r->quiet = got > 0 ? 0 : r->quiet + 1;
	t->is_broken |= r->quiet > QUIET_MAX;
	return true;
}

static void
open_all(struct tls_light *t, struct reading *r, struct buf *answer)
{
	size_t n;

	while (!t->is_over && !t->is_broken && has_record(r, &n)) {
		if (n == 0) {
			tls_record_refuse(t->record, answer);
			t->is_broken = true;
		} else if (!open_one(t, r, n, answer)) {
			return;
		}
	}
}

/* Sealed bytes behind those that are there, as many as can be opened at once. */
static void
read_sealed(struct sock *s, struct tls_light *t, struct reading *r)
{
	size_t max = r->room < TLS_RECORD_MAX ? TLS_RECORD_MAX : r->room;
	ssize_t got;

	max = max < LANE_SCRATCH ? max : LANE_SCRATCH;
	if (r->at != 0)
		memmove(r->in, r->in + r->at, r->n - r->at);
	r->n -= r->at;
	r->at = 0;
	if (r->n >= max)
		return;
	do
		got = recv(s->fd, r->in + r->n, max - r->n, 0);
	while (got < 0 && errno == EINTR);
	r->is_dry = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
	r->is_short = got < (ssize_t)(max - r->n);
	if (got > 0)
		r->n += (size_t)got;
	else if (!r->is_dry) /* the end, but nobody said so: somebody may have cut it off */
		t->is_broken = true;
}

/* What was not opened waits with the connection: an idle one has nothing of it. */
static void
keep_tail(struct tls_light *t, const struct reading *r)
{
	size_t n = t->is_over || t->is_broken ? 0 : r->n - r->at;

	if (n == 0) {
		free(STEAL(t->tail));
	} else {
		t->tail = xreallocarray(t->tail, n, 1);
		memcpy(t->tail, r->in + r->at, n);
	}
	t->tail_n = (uint32_t)n;
}

static ssize_t
light_recv(struct sock *s, void *p, size_t n, bool *out_more)
{
	struct tls_light *t = s->over;
	struct reading r = { .to = p, .room = n, .in = lane_records(s->lane), .n = t->tail_n };

	if (t->tail_n != 0)
		memcpy(r.in, t->tail, t->tail_n);
	open_all(t, &r, &s->lane->sealed);
	while (r.all == 0 && !r.is_dry && !t->is_over && !t->is_broken) {
		read_sealed(s, t, &r);
		open_all(t, &r, &s->lane->sealed);
	}
	keep_tail(t, &r);
	*out_more = !r.is_short || t->is_over || t->is_broken;
	if (r.all > 0 || t->is_over)
		return (ssize_t)r.all;
	errno = t->is_broken ? EPROTO : EAGAIN;
	return -1;
}

static int
light_seal(struct sock *s, const struct iovec *v, int n)
{
	const struct tls_light *t = s->over;

	if (tls_record_seal(t->record, &s->lane->sealed, v, n) == 0)
		return 0;
	ERR_clear_error();
	return -1;
}

static void
light_shut(struct sock *s)
{
	const struct tls_light *t = s->over;

	tls_record_close(t->record, &s->lane->sealed);
}

static void
light_drop(struct sock *s, bool is_reset)
{
	struct tls_light *t = s->over;

	(void)is_reset;
	tls_record_free(t->record);
	free(t->tail);
	free(t);
}

static const struct sock_layer light_layer = {
	.recv = light_recv,
	.seal = light_seal,
	.shut = light_shut,
	.drop = light_drop,
};

void
tls_light_start(struct sock *s, struct tls_record *take_r, int64_t took_us)
{
	struct tls_light *t = xcalloc(1, sizeof *t);

	t->record = take_r;
	t->took_us = took_us;
	sock_lay(s, &light_layer, t);
}

bool
tls_light_is(const struct sock *s)
{
	return s->layer == &light_layer;
}

int64_t
tls_light_take_us(struct sock *s)
{
	struct tls_light *t = s->over;
	int64_t us = t->took_us;

	t->took_us = 0;
	return us;
}
