/* broker/ssh_server.h: SSH: accepts connections, in bounds, each with a program of its own
 * (pinion-ssh), which asks here who may enter and passes the streams on (doc/ssh.md). */
#pragma once

#include "lib/base/err.h"
#include "lib/base/mem.h"

struct broker;
struct http_req;
struct ssh_server;

struct ssh_server *ssh_server_new(struct broker *b);
/* Opens conf.ssh and the socket for the programs. Without conf.ssh nothing is served. */
int ssh_server_listen(struct ssh_server *s, struct err *e) MUST_CHECK;
int ssh_server_port(const struct ssh_server *s); /* 0: not served */
void ssh_server_drain(struct ssh_server *s);     /* accepts no more */
void ssh_server_free(struct ssh_server *take_s); /* ends all connections */
