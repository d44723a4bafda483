#include "router/shed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_head.h"
#include "router/client_shed.h"
#include "router/lane.h"
#include "router/stats.h"
#include "router/upstream.h"

enum {
	BATCH = CLIENT_SHED_MOST,
	BATCHES = 32,         /* that all of a lane's connections are */
	ROUNDS = 16,          /* of looking at memory until all idle ones are gone */
	SHORT_MS = 1000,      /* the number of descriptors that was seen holds */
	SLACK = 8,            /* descriptors that requests under way may need then, and 1/16 */
	TELL_MS = 1000,       /* between two lines of the log */
	KEPT_PART = 8,        /* of memory, that answers which clients do not take may have */
	THROWN = 1024 * 1024, /* bytes of a refused request at most */
};

struct told {
	uint64_t refused, clients, upstreams, answers;
};

struct shed {
	struct lane *lane;       /* borrowed */
	struct lane_timer tell;  /* the next line of the log */
	struct told now, told;   /* counted, and said */
	struct peer peer;        /* of the last one refused */
	enum shed_why why;       /* of it */
	int64_t kept_max;        /* of the lane, while there is enough memory */
	enum shed_level level;   /* of memory */
	int64_t fd_max;          /* as many there are, while it holds */
	int64_t fd_max_until_ms; /* 0: the lane's */
	int spare;               /* owned: a descriptor to refuse with */
};

static const struct {
	int status;
	const char *name, *text;
} whys[SHED_WHYS] = {
	[SHED_BUSY] = { 503, "busy", "All connections of the router are in use. Try again." },
	[SHED_MEMORY] = { 503, "memory", "The router has no memory to spare. Try again." },
	[SHED_CROWD] = { 429, "address-connections",
	    "Your address has as many connections as it may. Close some, or use them again." },
	[SHED_HURRIED] = { 429, "address-rate",
	    "Your address makes connections too fast. Keep them for the next request." },
};

const char *
shed_why_name(enum shed_why why)
{
	return whys[why].name;
}

/* --- telling --- */

static void
tell(struct shed *s)
{
	char address[PEER_TEXT] = "";
	struct told n = s->now, o = s->told;

	if (n.refused != o.refused)
		(void)peer_text(&s->peer, address);
	log_warn("load_shed", LOG_INT("lane", s->lane->index),
	    LOG_INT("refused", n.refused - o.refused),
	    LOG_STR("why", *address == '\0' ? "" : whys[s->why].name), LOG_STR("address", address),
	    LOG_INT("idle_clients", n.clients - o.clients),
	    LOG_INT("idle_upstreams", n.upstreams - o.upstreams),
	    LOG_INT("cut_answers", n.answers - o.answers), LOG_INT("clients", s->lane->client_n));
	s->told = n;
	wheel_set(&s->lane->wheel, &s->tell.timer, s->lane->now_ms + TELL_MS);
}

static void
on_tell(struct lane_timer *t)
{
	struct shed *s = CONTAINER_OF(t, struct shed, tell);

	if (memcmp(&s->now, &s->told, sizeof s->now) != 0)
		tell(s);
}

/* At once, unless a line was written within the last second. */
static void
tell_soon(struct shed *s)
{
	if (s->tell.timer.pprev == NULL)
		tell(s);
}

/* --- room --- */

static size_t
batch(const struct lane *l)
{
	int64_t n = l->client_max / BATCHES;

	return n < 1 ? 1 : n > BATCH ? BATCH : (size_t)n;
}

/* Returns how many descriptors there are more. */
static size_t
close_idle(struct shed *s, size_t upstreams, size_t clients)
{
	struct lane *l = s->lane;
	size_t u = upstreams == 0 ? 0 : upstream_shed(l, upstreams);
	size_t c = clients == 0 || u >= clients ? 0 : client_shed_idle(l, clients - u);

	s->now.upstreams += u;
	s->now.clients += c;
	l->stats->all.shed_upstreams += u;
	l->stats->all.shed_clients += c;
	if (u + c != 0)
		tell_soon(s);
	return u + c;
}

static bool
has_files(struct shed *s)
{
	const struct lane *l = s->lane;

	if (s->fd_max_until_ms != 0 && l->now_ms >= s->fd_max_until_ms)
		s->fd_max_until_ms = 0;
	return l->client_n + l->upstream_n < (s->fd_max_until_ms == 0 ? l->fd_max : s->fd_max);
}

bool
shed_room(struct lane *l)
{
	struct shed *s = l->shed;

	if (s->level == SHED_NEW)
		return false;
	if (s->level != SHED_NONE) /* who comes takes the place of another */
		(void)close_idle(s, 0, 1);
	if (!has_files(s))
		(void)close_idle(s, batch(l), batch(l));
	if (l->client_n >= l->client_max)
		(void)close_idle(s, 0, batch(l));
	return l->client_n < l->client_max && has_files(s);
}

bool
shed_retry(struct lane *l, int sys)
{
	struct shed *s = l->shed;
	int64_t used = l->client_n + l->upstream_n;

	if (sys != EMFILE && sys != ENFILE && sys != ENOBUFS && sys != ENOMEM)
		return false;
	s->fd_max = used - used / 16 - SLACK;
	s->fd_max_until_ms = l->now_ms + SHORT_MS;
	return close_idle(s, batch(l), batch(l)) != 0;
}

/* --- refusing --- */

static void
answer(int fd, enum shed_why why)
{
	char text[512];
	int n = snprintf(text, sizeof text,
	    "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
	    "Retry-After: 1\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n%s\n",
	    whys[why].status, http_reason(whys[why].status), strlen(whys[why].text) + 1,
	    whys[why].text);

	/* Bytes that nobody read would make the close a reset. */
	(void)recv(fd, NULL, THROWN, MSG_TRUNC | MSG_DONTWAIT);
	(void)send(fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void
shed_refuse(struct lane *l, int fd, const struct peer *p, enum shed_why why)
{
	struct shed *s = l->shed;

	if (fd >= 0)
		answer(fd, why);
	s->now.refused++;
	s->peer = *p;
	s->why = why;
	l->stats->all.refused[why]++;
	tell_soon(s);
}

static void
keep_spare(struct shed *s)
{
	if (s->spare < 0)
		s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

bool
shed_refuse_next(struct lane *l, int listen_fd, bool is_tls)
{
	struct sockaddr_storage a = { 0 };
	struct shed *s = l->shed;
	socklen_t n = sizeof a;
	struct peer p;
	int fd;

	if (s->spare >= 0)
		close(s->spare);
	s->spare = -1;
	fd = accept4(listen_fd, (struct sockaddr *)&a, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		p = peer_of((const struct sockaddr *)&a);
		shed_refuse(
		    l, is_tls ? -1 : fd, &p, s->level == SHED_NEW ? SHED_MEMORY : SHED_BUSY);
		close(fd);
	}
	keep_spare(s);
	return fd >= 0;
}

/* --- memory --- */

void
shed_memory(struct lane *l, enum shed_level level)
{
	struct shed *s = l->shed;
	size_t n = 0;

	s->level = level;
	l->kept_max = level == SHED_NONE ? s->kept_max : 0;
	if (level >= SHED_IDLE)
		(void)close_idle(s, batch(l), 0);
	for (int64_t left = l->client_n / ROUNDS; level >= SHED_IDLE && left >= 0; left -= BATCH)
		(void)close_idle(s, 0, BATCH);
	if (level >= SHED_STALLED)
		n = client_shed_stalled(l);
	s->now.answers += n;
	l->stats->all.shed_answers += n;
	if (n != 0)
		tell_soon(s);
}

void
shed_set_memory(struct lane *l, int64_t bytes)
{
	l->shed->kept_max = bytes / KEPT_PART;
	if (l->shed->level == SHED_NONE)
		l->kept_max = l->shed->kept_max;
}

/* --- life --- */

struct shed *
shed_new(struct lane *l)
{
	struct shed *s = xcalloc(1, sizeof *s);

	s->lane = l;
	s->tell.fn = on_tell;
	s->kept_max = INT64_MAX;
	s->spare = -1;
	keep_spare(s);
	return s;
}

void
shed_free(struct shed *take_s)
{
	if (take_s == NULL)
		return;
	if (take_s->spare >= 0)
		close(take_s->spare);
	free(take_s);
}
