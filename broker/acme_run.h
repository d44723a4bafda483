/* broker/acme_run.h: one certificate from the authority: key and request, the ACME client as a
 * child process, its challenges in the store until all routers answer them. */
#pragma once

#include "lib/base/err.h"
#include "lib/wire/wire_acme.h"

struct acme_run;
struct broker;
struct http_req;
struct tls_cert;

/* Once, later. cert NULL: e says why, for the owner. The run is gone when it returns. */
typedef void acme_run_fn(
    struct acme_run *r, const struct tls_cert *cert, const struct err *e, void *arg);
/* The account is there: another run may begin. */
typedef void acme_run_account_fn(struct acme_run *r, void *arg);

struct acme_run_opts {
	const char *host;      /* copied */
	const char *challenge; /* http-01 or tls-alpn-01; copied */
	bool makes_account;
	acme_run_account_fn *on_account; /* if makes_account */
	acme_run_fn *on_end;
	void *arg;
};
struct acme_run *acme_run_start(struct broker *b, const struct acme_run_opts *o);
/* No word any more: the broker's end. */
void acme_run_cancel(struct acme_run *take_r);

/* Is it the run with that token? */
bool acme_run_has(const struct acme_run *r, const char *token);
/* A word of its client; takes the request. */
void acme_run_hear(struct acme_run *r, const struct wire_acme_word *w, struct http_req *q);
