/* broker/tls_keys.h: what routers share for TLS: keys of session tickets, made anew every half day,
 * and the certificate for all names of applications. */
#pragma once

struct broker;
struct tls_keys;

/* Looks at once, and every hour from then on. */
struct tls_keys *tls_keys_start(struct broker *b);
void tls_keys_stop(struct tls_keys *take_k); /* NULL is fine */
