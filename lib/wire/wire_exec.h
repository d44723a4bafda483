/* lib/wire/wire_exec.h: orders of byte streams (lib/http/stream.h): what is to be run or reached in
 * a gear. Types and tables; no I/O. */
#pragma once

#include "lib/codec/codec.h"
#include "lib/wire/wire_gear.h"

enum { WIRE_EXEC_COMMAND_MAX = 128 * 1024, WIRE_EXEC_ENV_MAX = 64 };

/* The order of an exec stream. */
struct wire_exec {
	struct str_list args; /* argv; empty: command */
	char *command;        /* for the shell; NULL or "" with empty args: an interactive shell */
	char *login;          /* OPENSHIFT_LOGIN */
	struct wire_var_list env; /* further variables */
	char *instance;           /* its id; NULL: the newest ready web instance */
	char *cart;               /* the instance of that service cartridge; NULL: web */
	bool has_terminal;
	char *term; /* TERM */
	int64_t columns, rows;
};
DECLARE_CODEC(wire_exec, struct wire_exec)

/* The order of a forwarded port: an address inside the gear's instance. */
struct wire_port {
	char *host;
	int64_t port;
	char *instance; /* as above */
};
DECLARE_CODEC(wire_port, struct wire_port)

/* The address that a forwarded host names, or NULL: not one of the gear's own (127.0.0.0/8 inside
 * it, without the resolver). Borrowed. */
const char *wire_port_address(const char *host);
/* Is the exec free of what no process can be given (NUL is refused by JSON already)? */
int wire_exec_check(const struct wire_exec *x, struct err *e) MUST_CHECK;
