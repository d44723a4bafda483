/* broker/ssh_source.h: how many connections a source address has and how fast it makes them, so
 * that a flood costs little and keeps nobody else out. Pure but for the clock, which is given. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct ssh_source; /* an address (IPv6: its /64) */
struct ssh_source_set;

struct ssh_source_opts {
	int connections_max; /* of one source at a time */
	int logins_max;      /* of these, not yet logged in */
	int rate;            /* new ones a second in the long run … */
	int burst;           /* … and at once */
};

struct ssh_source_set *ssh_source_set_new(const struct ssh_source_opts *o);
void ssh_source_set_free(struct ssh_source_set *take_s);

/* May one more come from there? NULL: no. Give it back with ssh_source_end. */
struct ssh_source *ssh_source_begin(
    struct ssh_source_set *s, const struct sockaddr *from, int64_t now_ms);
void ssh_source_logged_in(struct ssh_source *src);
void ssh_source_end(struct ssh_source *src, bool was_logged_in);
/* Forgets who has nothing and was quiet; now and then. */
void ssh_source_sweep(struct ssh_source_set *s, int64_t now_ms);
