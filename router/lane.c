#include "router/lane.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "router/basic_auth.h"
#include "router/crowd.h"
#include "router/rate.h"
#include "router/shed.h"
#include "router/stats.h"
#include "router/tls_out.h"

enum { OFFSET_MS = 500, TRIM_TICKS = 8 };

struct lane_mail {
	struct lane_mail *next;
	lane_fn *fn;
	void *arg; /* borrowed, handed to fn */
};

static int64_t
clock_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t
lane_monotonic_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

/* The clock is looked at twice a second only. */
int64_t
lane_unix_us(struct lane *l, int64_t monotonic_us)
{
	if (l->now_ms >= l->offset_until_ms) {
		l->unix_offset_us = clock_us(CLOCK_REALTIME) - lane_monotonic_us();
		l->offset_until_ms = l->now_ms + OFFSET_MS;
	}
	return monotonic_us + l->unix_offset_us;
}

uint64_t
lane_random(struct lane *l)
{
	/* xoroshiro128+, seeded by the kernel: identifiers, no secrets */
	uint64_t a = l->random[0], b = l->random[1], sum = a + b;

	b ^= a;
	l->random[0] = ((a << 24) | (a >> 40)) ^ b ^ (b << 16);
	l->random[1] = (b << 37) | (b >> 27);
	return sum;
}

/* The eight digits of v, in some order, all at once. */
static uint64_t
hex_of(uint32_t v)
{
	const uint64_t ones = 0x0101010101010101;
	uint64_t digits = (v & 0x0f0f0f0f) | (uint64_t)(v >> 4 & 0x0f0f0f0f) << 32;
	uint64_t letters = (digits + 6 * ones) >> 4 & ones; /* 1 where it is more than 9 */

	return digits + '0' * ones + letters * ('a' - '0' - 10);
}

void
lane_random_hex(struct lane *l, char *to, int digits)
{
	for (int i = 0; i < digits; i += 16) {
		uint64_t r = lane_random(l);
		uint64_t text[] = { hex_of((uint32_t)r), hex_of((uint32_t)(r >> 32)) };

		memcpy(to + i, text, sizeof text);
	}
}

char *
lane_frames(struct lane *l)
{
	if (l->frames_in == NULL)
		l->frames_in = xmalloc(LANE_FRAMES);
	return l->frames_in;
}

unsigned char *
lane_records(struct lane *l)
{
	if (l->records_in == NULL)
		l->records_in = xmalloc(LANE_SCRATCH);
	return l->records_in;
}

void
lane_begin(struct lane *l)
{
	struct timespec t;

	if (l->depth++ != 0)
		return;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	l->now_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
	if (!l->ticks) /* nothing is set: the wheel stood still */
		wheel_advance(&l->wheel, l->now_ms, NULL);
}

static void
start_ticks(struct lane *l)
{
	struct timeval tick = { .tv_usec = (1 << WHEEL_SHIFT) * 1000 };

	l->ticks = event_add(l->tick, &tick) == 0;
}

void
lane_end(struct lane *l)
{
	if (--l->depth != 0)
		return;
	while (l->graves != NULL) {
		struct lane_grave *g = l->graves;

		l->graves = g->next;
		free(g);
	}
	if (l->wheel.n != 0 && !l->ticks)
		start_ticks(l);
	if (l->draining && l->client_n == 0 && l->on_drained != NULL) {
		void (*fn)(struct lane *) = STEAL(l->on_drained);

		fn(l);
	}
}

void
lane_bury(struct lane *l, struct lane_grave *take_p)
{
	take_p->next = l->graves;
	l->graves = take_p;
}

static void
on_timer(struct wheel_timer *t)
{
	struct lane_timer *lt = CONTAINER_OF(t, struct lane_timer, timer);

	lt->fn(lt);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct lane *l = arg;

	(void)fd;
	(void)what;
	lane_begin(l);
	wheel_advance(&l->wheel, l->now_ms, on_timer);
	if (++l->tick_n % TRIM_TICKS == 0 && l->trim != NULL)
		l->trim(l);
	if (l->wheel.n == 0) {
		event_del(l->tick);
		l->ticks = false;
	}
	lane_end(l);
}

void
lane_take_mail(struct lane *l)
{
	struct lane_mail *m;
	uint64_t count;

	if (read(l->mail_fd, &count, sizeof count) < 0)
		return;
	pthread_mutex_lock(&l->mail_lock);
	m = STEAL(l->mail);
	l->mail_tail = &l->mail;
	pthread_mutex_unlock(&l->mail_lock);
	while (m != NULL) {
		struct lane_mail *next = m->next;

		lane_begin(l);
		m->fn(l, m->arg);
		lane_end(l);
		free(m);
		m = next;
	}
}

static void
on_mail(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	lane_take_mail(arg);
}

void
lane_post(struct lane *l, lane_fn *fn, void *arg)
{
	struct lane_mail *m = xcalloc(1, sizeof *m);
	uint64_t one = 1;

	*m = (struct lane_mail){ .fn = fn, .arg = arg };
	pthread_mutex_lock(&l->mail_lock);
	*l->mail_tail = m;
	l->mail_tail = &m->next;
	pthread_mutex_unlock(&l->mail_lock);
	if (write(l->mail_fd, &one, sizeof one) < 0)
		return; /* the counter is full: it is awake already */
}

static struct event_base *
new_base(void)
{
	struct event_config *c = event_config_new();
	struct event_base *b;

	if (c == NULL)
		return NULL;
	event_config_require_features(c, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE);
	event_config_set_flag(c, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_NO_CACHE_TIME);
	b = event_base_new_with_config(c);
	event_config_free(c);
	return b;
}

struct lane *
lane_new(int index, const struct router_conf *conf, struct err *e)
{
	struct lane *l = xcalloc(1, sizeof *l);

	l->index = index;
	l->conf = conf;
	l->mail_tail = &l->mail;
	l->stats = stats_new();
	l->shed = shed_new(l);
	l->kept_max = INT64_MAX;
	pthread_mutex_init(&l->mail_lock, NULL);
	l->scratch = xmalloc(LANE_SCRATCH);
	secret_random(l->random, sizeof l->random);
	l->mail_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	l->base = new_base();
	if (l->mail_fd < 0 || l->base == NULL) {
		(void)err_set(e, ERR_SYSTEM, NULL, "cannot make an event loop");
		lane_free(l);
		return NULL;
	}
	wheel_init(&l->wheel, lane_monotonic_us() / 1000);
	l->tick = event_new(l->base, -1, EV_PERSIST, on_tick, l);
	l->mailev = event_new(l->base, l->mail_fd, EV_READ | EV_PERSIST, on_mail, l);
	if (l->tick == NULL || l->mailev == NULL || event_add(l->mailev, NULL) < 0) {
		(void)err_set(e, ERR_SYSTEM, NULL, "cannot watch a mailbox");
		lane_free(l);
		return NULL;
	}
	return l;
}

void
lane_run(struct lane *l)
{
	event_base_dispatch(l->base);
}

void
lane_stop(struct lane *l)
{
	event_base_loopbreak(l->base);
}

void
lane_free(struct lane *take_l)
{
	struct lane *l = take_l;

	if (l == NULL)
		return;
	while (l->mail != NULL) {
		struct lane_mail *m = l->mail;

		l->mail = m->next;
		free(m);
	}
	if (l->tick != NULL)
		event_free(l->tick);
	if (l->mailev != NULL)
		event_free(l->mailev);
	if (l->base != NULL)
		event_base_free(l->base);
	if (l->mail_fd >= 0)
		close(l->mail_fd);
	pthread_mutex_destroy(&l->mail_lock);
	rate_free(l->rates);
	crowd_free(l->crowd);
	shed_free(l->shed);
	basic_auth_free(l->auth);
	tls_out_free(l->tls);
	stats_free(l->stats);
	buf_fini(&l->frames);
	free(l->frames_in);
	free(l->records_in);
	buf_fini(&l->out);
	buf_fini(&l->sealed);
	free(l->scratch);
	free(l);
}
