/* ssh/ssh_gate.h: inside of pinion-ssh, the program of one SSH connection (doc/ssh.md). It speaks
 * SSH to the client and byte streams to the broker, and has nothing else: no files, no other
 * sockets. */
#pragma once

#include <libssh/libssh.h>
#include <libssh/server.h>
#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct loop;
struct loop_io;
struct ssh_chan;

enum {
	SSH_GATE_SOCKET_FD = 3,
	SSH_GATE_KEY_FD = 4, /* the first of the host keys */
	SSH_GATE_KEYS = 2,   /* ed25519, rsa */
	SSH_GATE_CHANNELS_MAX = 64,
	SSH_GATE_TRIES_MAX = 6,
};

struct ssh_gate {
	struct loop *loop; /* owned */
	ssh_session session;
	ssh_event event;
	struct loop_io *io;
	int interest;
	const char *broker;  /* borrowed: "unix:/path" */
	const char *token;   /* borrowed: of this connection */
	char *authorization; /* owned: header of calls to the broker */
	char *user;          /* owned: as the client gave it */
	int tries;
	bool is_in; /* authenticated */
	bool is_over;
	struct ssh_chan *channels; /* owned */
	int channel_n;
};

/* ssh_login: KEX and authentication callbacks; see ssh_login.c. */
void ssh_login_prepare(struct ssh_gate *g);

/* ssh_chan: a channel of the client and the broker's stream behind it. */
ssh_channel ssh_chan_open_session(ssh_session session, void *gate);
/* A forwarded connection. false: refused, unanswered. */
bool ssh_chan_open_port(struct ssh_gate *g, ssh_message m);
/* What could not be sent before. After each turn of the session. */
void ssh_chan_pump_all(struct ssh_gate *g);

/* ssh_call: asks the broker and waits. Order: JSON. -1: it said no. */
int ssh_call(
    const struct ssh_gate *g, const char *path, struct str order, struct err *e) MUST_CHECK;
char *ssh_call_url(const struct ssh_gate *g, const char *path); /* caller owns */

/* ssh_jail: gives up all but what the connection needs. After the keys were read. */
int ssh_jail_enter(struct err *e) MUST_CHECK;

/* ssh_main: the session may have something to write now. */
void ssh_gate_settle(struct ssh_gate *g);
