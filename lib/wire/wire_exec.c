#include "lib/wire/wire_exec.h"

#include <arpa/inet.h>
#include <string.h>

#define RESOLVER "127.0.0.53"

enum { ARGS_MAX = 1000, ID_MAX = 64, WORD_MAX = 128, HOST_MAX = 255, LOGIN_MAX = 256 };

static const struct codec_field exec_fields[] = {
	CODEC_STRS(struct wire_exec, args, ARGS_MAX, 0),
	CODEC_STR(struct wire_exec, command, WIRE_EXEC_COMMAND_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_exec, login, LOGIN_MAX, CODEC_OMIT_NULL),
	CODEC_LIST(struct wire_exec, env, &wire_var_codec, WIRE_EXEC_ENV_MAX, 0),
	CODEC_STR(struct wire_exec, instance, ID_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_exec, cart, WORD_MAX, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_exec, has_terminal, 0),
	CODEC_STR(struct wire_exec, term, WORD_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_exec, columns, 0, 65535, 0),
	CODEC_INT(struct wire_exec, rows, 0, 65535, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_exec, struct wire_exec, exec_fields)

static const struct codec_field port_fields[] = {
	CODEC_STR(struct wire_port, host, HOST_MAX, CODEC_REQUIRED),
	CODEC_INT(struct wire_port, port, 1, 65535, CODEC_REQUIRED),
	CODEC_STR(struct wire_port, instance, ID_MAX, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_port, struct wire_port, port_fields)

int
wire_exec_check(const struct wire_exec *x, struct err *e)
{
	size_t all = 0;

	for (size_t i = 0; i < x->args.n; i++)
		all += strlen(x->args.v[i]) + 1;
	if (all > WIRE_EXEC_COMMAND_MAX)
		return err_set(
		    e, ERR_LIMIT, "args", "args: at most %d bytes together", WIRE_EXEC_COMMAND_MAX);
	if (x->args.n > 0 && x->args.v[0][0] == '\0')
		return err_set(e, ERR_INVALID, "args[0]", "args[0]: name a program");
	for (size_t i = 0; i < x->env.n; i++) {
		if (!str_is_env_name(x->env.v[i].name))
			return err_set(e, ERR_INVALID, "env",
			    "env[%zu].name: letters, digits and _, not a digit first", i);
	}
	return 0;
}

const char *
wire_port_address(const char *host)
{
	struct in_addr a;

	if (strcmp(host, "localhost") == 0)
		return "127.0.0.1";
	if (inet_pton(AF_INET, host, &a) != 1 || ntohl(a.s_addr) >> 24 != 127 ||
	    strcmp(host, RESOLVER) == 0)
		return NULL;
	return host;
}
