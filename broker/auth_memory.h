/* broker/auth_memory.h: what the broker remembers of logins, in memory only: passwords that were
 * verified (as an HMAC under a key of this process, 5 minutes), and failed tries. Times are those
 * of loop_now_ms. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct auth_memory;

enum {
	AUTH_MEMORY_KEEP_MS = 5 * 60 * 1000,
	AUTH_MEMORY_WINDOW_MS = 60 * 1000, /* failed tries are counted this long */
	AUTH_MEMORY_TRIES = 10,            /* of one login from one peer in a window */
	AUTH_MEMORY_PEER_TRIES = 200,      /* of all logins from one peer in a window */
	AUTH_MEMORY_MAX = 20000,           /* entries of each kind */
};

struct auth_memory *auth_memory_new(void);
void auth_memory_free(struct auth_memory *take_m);

/* auth_rev: of the user's record; another one forgets. */
void auth_memory_verified(struct auth_memory *m, const char *login, const char *password,
    int64_t auth_rev, int64_t now_ms);
bool auth_memory_knows(const struct auth_memory *m, const char *login, const char *password,
    int64_t auth_rev, int64_t now_ms);

void auth_memory_failed(struct auth_memory *m, const char *login, const char *peer, int64_t now_ms);
/* Seconds until this login may be tried again from there; 0: now. */
int64_t auth_memory_wait_s(
    const struct auth_memory *m, const char *login, const char *peer, int64_t now_ms);
