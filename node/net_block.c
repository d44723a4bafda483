#include "node/net_block.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { FILE_MAX = 8192, TAG_SIZE = 16, SWEEP_MAX = 4, BASE = 0x64400000 /* 100.64.0.0 */ };

static int
remembered(const char *state_dir)
{
	AUTO(free) char *path = file_join(state_dir, "net-block");
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };
	int64_t n;

	if (file_read(path, 64, &b, &e) < 0 || b.n == 0)
		return -1;
	if (b.p[b.n - 1] == '\n')
		buf_truncate(&b, b.n - 1);
	return str_to_i64(buf_str(&b), 0, NET_BLOCK_COUNT - 1, NULL, &n, &e) < 0 ? -1 : (int)n;
}

static int
remember(const char *state_dir, int number, struct err *e)
{
	AUTO(free) char *path = file_join(state_dir, "net-block");
	char text[16];
	int n = snprintf(text, sizeof text, "%d\n", number);

	return file_replace(path, text, (size_t)n, 0600, e);
}

/* Locks the file and makes sure that it is still the one at path. 1: locked, 0: another's. */
static int
lock_path(const char *path, int *out, struct err *e)
{
	AUTO(file_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat a, b;

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? 0
		                            : err_set(e, ERR_SYSTEM, NULL, "cannot lock %s", path);
	if (fstat(fd, &a) < 0 || stat(path, &b) < 0 || a.st_ino != b.st_ino)
		return 0;
	*out = fd;
	fd = -1;
	return 1;
}

/* "TAG STATE-DIRECTORY". */
static void
read_owner(const char *path, char tag[TAG_SIZE], char **out_state)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };
	struct str head, rest;

	*out_state = NULL;
	tag[0] = '\0';
	if (file_read(path, FILE_MAX, &b, &e) < 0 || b.n == 0)
		return;
	rest = str_cut(buf_str(&b), ' ', &head);
	if (rest.p == NULL || head.n == 0 || head.n >= TAG_SIZE || rest.n < 2)
		return;
	memcpy(tag, head.p, head.n);
	tag[head.n] = '\0';
	*out_state = xstrndup(rest.p, rest.n - 1);
}

static int
write_owner(int fd, const char *tag, const char *state_dir, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	buf_addf(&b, "%s %s\n", tag, state_dir);
	if (ftruncate(fd, 0) < 0 || pwrite(fd, b.p, b.n, 0) != (ssize_t)b.n)
		return err_set(e, ERR_SYSTEM, NULL, "cannot write a block's lock file");
	return 0;
}

/* Does an address of this machine (another overlay network, say) lie in the block? */
static bool
is_used_by_host(int number, const struct ifaddrs *list)
{
	for (; list != NULL; list = list->ifa_next) {
		struct sockaddr_in sin;

		if (list->ifa_addr == NULL || list->ifa_addr->sa_family != AF_INET)
			continue;
		memcpy(&sin, list->ifa_addr, sizeof sin);
		if ((ntohl(sin.sin_addr.s_addr) & ~(uint32_t)(NET_BLOCK_SIZE - 1)) ==
		    (uint32_t)BASE + (uint32_t)number * NET_BLOCK_SIZE)
			return true;
	}
	return false;
}

/* Takes one stale block's file away, after its remains. false: it is none. */
static bool
sweep_one(const struct net_block_opts *o, int number, struct err *e)
{
	AUTO(free) char *path = xasprintf("%s/%04d", o->lock_dir, number);
	AUTO(free) char *state = NULL;
	AUTO(file_close) int fd = -1;
	char tag[TAG_SIZE];
	int now;

	if (access(path, F_OK) < 0 || lock_path(path, &fd, e) != 1)
		return false;
	read_owner(path, tag, &state);
	if (state == NULL || strcmp(state, o->state_dir) == 0)
		return false;
	now = remembered(state);
	if (now == number)
		return false;
	/* Its owner may live on with another block and the same tag: then the rules are in use. */
	o->on_stale(number, now < 0 && strcmp(tag, o->tag) != 0 ? tag : NULL, o->arg);
	(void)unlink(path);
	return true;
}

static void
sweep(const struct net_block_opts *o)
{
	int i, swept = 0;

	for (i = 0; o->on_stale != NULL && i < NET_BLOCK_COUNT && swept < SWEEP_MAX; i++) {
		struct err e = { 0 };

		swept += sweep_one(o, i, &e);
	}
}

/* What is not remembered is asked for: another machine of the cluster may have it. */
static int
is_admitted(const struct net_block_opts *o, int number, struct err *e)
{
	const struct net_block b = { .number = number };
	char range[NET_BLOCK_RANGE_MAX];

	if (o->admits == NULL || number == remembered(o->state_dir))
		return 1;
	net_block_range(&b, range);
	return o->admits(range, o->admits_arg, e);
}

/* 1: out is filled; 0: not this one. */
static int
try_block(const struct net_block_opts *o, int number, const struct ifaddrs *addresses,
    struct net_block *out, struct err *e)
{
	AUTO(free) char *path = xasprintf("%s/%04d", o->lock_dir, number);
	AUTO(free) char *state = NULL;
	AUTO(file_close) int fd = -1;
	char tag[TAG_SIZE];
	bool is_mine;
	int rc = lock_path(path, &fd, e);

	if (rc < 0)
		return -1;
	read_owner(path, tag, &state);
	/* A kill between making and writing leaves no owner: then what was remembered counts. */
	is_mine =
	    state != NULL ? strcmp(state, o->state_dir) == 0 : number == remembered(o->state_dir);
	if (rc == 0 && is_mine && state != NULL)
		return err_set(e, ERR_BUSY, NULL, "another process runs a node on %s", state);
	if (rc == 0 || (state != NULL && !is_mine))
		return 0;
	rc = !is_mine && is_used_by_host(number, addresses) ? 0 : is_admitted(o, number, e);
	if (rc <= 0) {
		(void)unlink(path);
		return rc;
	}
	if ((!is_mine || state == NULL || strcmp(tag, o->tag) != 0) &&
	    write_owner(fd, o->tag, o->state_dir, e) < 0)
		return -1;
	*out = (struct net_block){ .number = number, .lock_fd = fd, .path = STEAL(path) };
	fd = -1;
	return 1;
}

static int
claim(const struct net_block_opts *o, struct net_block *out, struct err *e)
{
	int number = remembered(o->state_dir), rc = 0, i;
	struct ifaddrs *addresses = NULL;
	uint32_t first = 5381;
	const char *p;

	(void)getifaddrs(&addresses);
	if (number >= 0)
		rc = try_block(o, number, addresses, out, e);
	for (p = o->state_dir; *p != '\0'; p++)
		first = first * 33 + (unsigned char)*p;
	for (i = 0; rc == 0 && i < NET_BLOCK_COUNT; i++)
		rc =
		    try_block(o, (int)((first + (uint32_t)i) % NET_BLOCK_COUNT), addresses, out, e);
	freeifaddrs(addresses);
	if (rc == 0)
		return err_set(e, ERR_LIMIT, NULL, "all %d address blocks are taken: see %s",
		    NET_BLOCK_COUNT, o->lock_dir);
	return rc < 0 ? -1 : 0;
}

/* One claims at a time: what is swept is not just being taken. */
static int
lock_all(const char *lock_dir, struct err *e)
{
	AUTO(free) char *path = file_join(lock_dir, "lock");
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open %s", path);
	while (flock(fd, LOCK_EX) < 0) {
		if (errno == EINTR)
			continue;
		(void)err_set(e, ERR_SYSTEM, NULL, "cannot lock %s", path);
		file_close(fd);
		return -1;
	}
	return fd;
}

int
net_block_claim(const struct net_block_opts *o, struct net_block *out, struct err *e)
{
	struct net_block b = { .lock_fd = -1 };
	int lock, rc;

	if (file_mkdirs(o->lock_dir, 0755, e) < 0 || file_mkdirs(o->state_dir, 0700, e) < 0)
		return -1;
	lock = lock_all(o->lock_dir, e);
	if (lock < 0)
		return -1;
	sweep(o);
	rc = claim(o, &b, e);
	if (rc == 0 && remember(o->state_dir, b.number, e) < 0) {
		net_block_release(&b, o->state_dir);
		rc = -1;
	}
	/* By name: a child between fork and exec shares the description. */
	(void)flock(lock, LOCK_UN);
	file_close(lock);
	if (rc == 0)
		*out = b;
	return rc;
}

void
net_block_fini(struct net_block *b)
{
	/* Unlocked by name: a child between fork and exec shares the description. */
	if (b->lock_fd >= 0)
		(void)flock(b->lock_fd, LOCK_UN);
	file_close(b->lock_fd);
	b->lock_fd = -1;
	free(b->path);
	b->path = NULL;
}

void
net_block_release(struct net_block *b, const char *state_dir)
{
	AUTO(free) char *state = file_join(state_dir, "net-block");

	(void)unlink(state);
	if (b->path != NULL)
		(void)unlink(b->path);
	net_block_fini(b);
}

void
net_block_range(const struct net_block *b, char out[NET_BLOCK_RANGE_MAX])
{
	uint32_t a = (uint32_t)BASE + (uint32_t)b->number * NET_BLOCK_SIZE;

	(void)snprintf(
	    out, NET_BLOCK_RANGE_MAX, "%u.%u.%u.0/20", a >> 24, a >> 16 & 255, a >> 8 & 255);
}

uint32_t
net_block_address(const struct net_block *b, int i)
{
	return htonl((uint32_t)BASE + (uint32_t)b->number * NET_BLOCK_SIZE + (uint32_t)i);
}
