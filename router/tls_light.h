/* router/tls_light.h: a client's connection of TLS 1.3 behind its handshake: the layer between sock
 * and the kernel that takes the place of tls_conn's, and reads the records itself (tls_record). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct sock;
struct tls_record;

/* Lays it over s, in place of a layer whose object the caller frees. took_us: what the handshake
 * took. */
void tls_light_start(struct sock *s, struct tls_record *take_r, int64_t took_us);
bool tls_light_is(const struct sock *s); /* s has it */
/* What the handshake took: told once, then 0. */
int64_t tls_light_take_us(struct sock *s);
