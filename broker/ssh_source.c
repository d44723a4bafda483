#include "broker/ssh_source.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { SOURCES_MAX = 20000 };

struct ssh_source {
	int connections, logins;
	int64_t tokens_ms; /* each new connection costs 1000 / rate of them */
	int64_t seen_ms;
};

struct ssh_source_set {
	struct ssh_source_opts o;
	struct map *all; /* address → struct ssh_source, owned */
};

struct ssh_source_set *
ssh_source_set_new(const struct ssh_source_opts *o)
{
	struct ssh_source_set *s = xcalloc(1, sizeof *s);

	s->o = *o;
	s->all = map_new(free);
	return s;
}

void
ssh_source_set_free(struct ssh_source_set *take_s)
{
	if (take_s == NULL)
		return;
	map_free(take_s->all);
	free(take_s);
}

static void
name_source(const struct sockaddr *from, char out[INET6_ADDRSTRLEN])
{
	struct sockaddr_in6 six;
	struct sockaddr_in four;

	out[0] = '\0';
	if (from->sa_family == AF_INET) {
		memcpy(&four, from, sizeof four);
		(void)inet_ntop(AF_INET, &four.sin_addr, out, INET6_ADDRSTRLEN);
	} else if (from->sa_family == AF_INET6) {
		memcpy(&six, from, sizeof six);
		if (IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) {
			(void)inet_ntop(AF_INET, six.sin6_addr.s6_addr + 12, out, INET6_ADDRSTRLEN);
			return;
		}
		memset(six.sin6_addr.s6_addr + 8, 0, 8);
		(void)inet_ntop(AF_INET6, &six.sin6_addr, out, INET6_ADDRSTRLEN);
	}
}

static void
refill(const struct ssh_source_set *s, struct ssh_source *src, int64_t now_ms)
{
	int64_t full = (int64_t)s->o.burst * 1000 / s->o.rate;

	src->tokens_ms += now_ms - src->seen_ms;
	if (src->tokens_ms > full)
		src->tokens_ms = full;
	src->seen_ms = now_ms;
}

struct ssh_source *
ssh_source_begin(struct ssh_source_set *s, const struct sockaddr *from, int64_t now_ms)
{
	char name[INET6_ADDRSTRLEN];
	struct ssh_source *src;
	int64_t cost = 1000 / s->o.rate;

	name_source(from, name);
	src = map_get(s->all, name);
	if (src == NULL) {
		if (map_count(s->all) >= SOURCES_MAX)
			ssh_source_sweep(s, now_ms);
		if (map_count(s->all) >= SOURCES_MAX)
			return NULL;
		src = xcalloc(1, sizeof *src);
		src->tokens_ms = (int64_t)s->o.burst * 1000 / s->o.rate;
		src->seen_ms = now_ms;
		map_set(s->all, name, src);
	}
	refill(s, src, now_ms);
	if (src->connections >= s->o.connections_max || src->logins >= s->o.logins_max ||
	    src->tokens_ms < cost)
		return NULL;
	src->tokens_ms -= cost;
	src->connections++;
	src->logins++;
	return src;
}

void
ssh_source_logged_in(struct ssh_source *src)
{
	src->logins--;
}

void
ssh_source_end(struct ssh_source *src, bool was_logged_in)
{
	src->connections--;
	if (!was_logged_in)
		src->logins--;
}

struct sweep {
	struct ssh_source_set *s;
	struct str_list gone;
	int64_t now_ms;
};

static void
look_at(const char *key, void *value, void *arg)
{
	struct ssh_source *src = value;
	struct sweep *w = arg;

	refill(w->s, src, w->now_ms);
	if (src->connections == 0 && src->tokens_ms >= (int64_t)w->s->o.burst * 1000 / w->s->o.rate)
		str_list_add(&w->gone, key);
}

void
ssh_source_sweep(struct ssh_source_set *s, int64_t now_ms)
{
	struct sweep w = { .s = s, .now_ms = now_ms };

	map_each(s->all, look_at, &w);
	for (size_t i = 0; i < w.gone.n; i++)
		free(map_take(s->all, w.gone.v[i]));
	str_list_fini(&w.gone);
}
