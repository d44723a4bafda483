#include "node/resolver_names.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/str.h"

enum { NAMES_MAX = 16 * 1024 * 1024, SERVERS_MAX = 64 * 1024, PORT = 53 };

struct watched {
	char *path; /* owned */
	struct timespec changed;
	ino_t inode;
};

struct entry {
	uint32_t v[RESOLVER_ADDRESSES_MAX];
	size_t n, turn;
};

struct resolver_names {
	struct watched names, servers;
	struct map *table; /* owned; "APP NAME" → struct entry, owned */
	struct resolver_server list[RESOLVER_SERVERS_MAX];
	size_t n;
};

void
resolver_names_free(struct resolver_names *take_n)
{
	if (take_n == NULL)
		return;
	free(take_n->names.path);
	free(take_n->servers.path);
	map_free(take_n->table);
	free(take_n);
}

struct resolver_names *
resolver_names_new(const char *names, const char *servers)
{
	struct resolver_names *n = xcalloc(1, sizeof *n);

	n->names.path = xstrdup(names);
	n->servers.path = xstrdup(servers);
	n->table = map_new(free);
	return n;
}

/* The text of the file if it is another than last time. */
static bool
read_changed(struct watched *w, size_t max, struct buf *out)
{
	struct err e = { 0 };
	struct stat st;

	if (stat(w->path, &st) < 0)
		return false;
	if (st.st_ino == w->inode && st.st_mtim.tv_sec == w->changed.tv_sec &&
	    st.st_mtim.tv_nsec == w->changed.tv_nsec)
		return false;
	w->inode = st.st_ino;
	w->changed = st.st_mtim;
	if (file_read(w->path, max, out, &e) == 0)
		return true;
	log_warn("resolver_file_kept", LOG_STR("path", w->path), LOG_ERR(&e));
	return false;
}

static void
add_address(struct map *table, const char *key, uint32_t address)
{
	struct entry *en = map_get(table, key);

	if (en == NULL) {
		en = xcalloc(1, sizeof *en);
		map_set(table, key, en);
	}
	if (en->n < RESOLVER_ADDRESSES_MAX)
		en->v[en->n++] = address;
}

static void
parse_name_line(struct str line, struct map *table)
{
	struct str app, name, rest = str_cut(line, ' ', &app);
	struct in_addr a;
	char address[INET_ADDRSTRLEN];
	char key[400];

	rest = str_cut(rest, ' ', &name);
	if (rest.n == 0 || rest.n >= sizeof address || app.n + name.n + 2 > sizeof key)
		return;
	memcpy(address, rest.p, rest.n);
	address[rest.n] = '\0';
	if (inet_pton(AF_INET, address, &a) != 1)
		return;
	(void)snprintf(key, sizeof key, "%.*s %.*s", (int)app.n, app.p, (int)name.n, name.p);
	add_address(table, key, a.s_addr);
}

static void
load_names(struct resolver_names *n)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct str rest, line;

	if (!read_changed(&n->names, NAMES_MAX, &b))
		return;
	map_free(n->table);
	n->table = map_new(free);
	for (rest = buf_str(&b); rest.n > 0;) {
		rest = str_cut(rest, '\n', &line);
		parse_name_line(line, n->table);
	}
}

static bool
parse_server(const char *text, struct resolver_server *out)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(PORT) };

	*out = (struct resolver_server){ .length = 0 };
	if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
		memcpy(&out->address, &in, sizeof in);
		out->length = sizeof in;
	} else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1) {
		memcpy(&out->address, &in6, sizeof in6);
		out->length = sizeof in6;
	}
	return out->length > 0;
}

/* `nameserver ADDRESS`, and `#PORT` behind it for tests and unusual hosts. */
static void
parse_server_line(struct str line, struct resolver_names *n)
{
	struct str word, rest = str_cut(str_trim(line), ' ', &word), host, port;
	struct resolver_server *s = &n->list[n->n];
	struct err e = { 0 };
	char text[64];
	int64_t number;

	if (!str_eq(word, "nameserver") || n->n == RESOLVER_SERVERS_MAX)
		return;
	port = str_cut(str_trim(rest), '#', &host);
	host = str_trim(host);
	if (host.n == 0 || host.n >= sizeof text)
		return;
	memcpy(text, host.p, host.n);
	text[host.n] = '\0';
	if (!parse_server(text, s))
		return;
	if (port.n > 0 && str_to_i64(port, 1, 65535, NULL, &number, &e) == 0 &&
	    s->address.ss_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, &s->address, sizeof in);
		in.sin_port = htons((uint16_t)number);
		memcpy(&s->address, &in, sizeof in);
	}
	n->n++;
}

size_t
resolver_names_servers(struct resolver_names *n, struct resolver_server out[RESOLVER_SERVERS_MAX])
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct str rest, line;

	if (read_changed(&n->servers, SERVERS_MAX, &b)) {
		n->n = 0;
		for (rest = buf_str(&b); rest.n > 0;) {
			rest = str_cut(rest, '\n', &line);
			parse_server_line(line, n);
		}
	}
	memcpy(out, n->list, n->n * sizeof *out);
	return n->n;
}

int
resolver_names_find(struct resolver_names *n, const char *app, const char *name,
    uint32_t out[RESOLVER_ADDRESSES_MAX])
{
	struct entry *en;
	char key[400];
	size_t i;

	if (*name == '\0')
		return -1;
	load_names(n);
	if (snprintf(key, sizeof key, "%s %s", app, name) >= (int)sizeof key)
		return -1;
	en = map_get(n->table, key);
	/* RFC 6761: never asked elsewhere. */
	if (en == NULL && (strcmp(name, "localhost") == 0 || str_has_suffix(name, ".localhost"))) {
		out[0] = htonl(INADDR_LOOPBACK);
		return 1;
	}
	if (en == NULL)
		return -1;
	if (en->n == 0)
		return 0;
	for (i = 0; i < en->n; i++)
		out[i] = en->v[(i + en->turn) % en->n];
	en->turn = (en->turn + 1) % en->n;
	return (int)en->n;
}
