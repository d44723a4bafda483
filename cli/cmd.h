/* cli/cmd.h: the command table: names, options, help; parsing of the command line. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct cmd_option {
	const char *name;  /* without "--" */
	char letter;       /* or 0 */
	const char *value; /* placeholder of its value; NULL: a switch */
	const char *help;
};
/* Which application: api_app_path asks for them. Alone, and as a part of others. */
#define CMD_APP_OPTIONS                                                                            \
	{ "app", 'a', "NAME", "the application (inside a clone: that of the git remote)" },        \
	{                                                                                          \
		"domain", 'd', "NAME", "its domain"                                                \
	}
extern const struct cmd_option cmd_app_options[];

/* What was typed after the command's words. */
struct cmd_line {
	const struct cmd *cmd;
	struct str_list args;
	struct str_list names;  /* options given, in order */
	struct str_list values; /* theirs; "" for switches */
};

typedef int cmd_fn(const struct cmd_line *l, struct err *e);

struct cmd {
	const char *words;                /* "app create" */
	const char *args;                 /* "NAME CARTRIDGE", for the usage line */
	int min_args, max_args;           /* max -1: any number */
	const char *help;                 /* first line: a summary */
	const struct cmd_option *options; /* ends with name NULL; may be NULL */
	cmd_fn *run; /* 0, or -1 and e; a positive number is the exit code itself */
	bool is_hidden;
};

/* Last value of an option, or NULL. Borrowed. */
const char *cmd_option(const struct cmd_line *l, const char *name);
bool cmd_has(const struct cmd_line *l, const char *name);
/* Positional argument i, or NULL. Borrowed. */
const char *cmd_arg(const struct cmd_line *l, size_t i);

/* Finds the command in tables (ends with NULL) and runs it. Returns the exit code: 0, err_exit_code
 * of the failure, 2 for a wrong command line. */
int cmd_main(const struct cmd *const *tables, int argc, char **argv);

/* Tables of cli/cmd_*.c; each ends with words NULL. */
extern const struct cmd cmd_account_table[];
extern const struct cmd cmd_app_table[];
extern const struct cmd cmd_cart_table[];
extern const struct cmd cmd_catalog_table[];
extern const struct cmd cmd_cart_check_table[];
extern const struct cmd cmd_deploy_table[];
extern const struct cmd cmd_env_table[];
extern const struct cmd cmd_git_table[];
extern const struct cmd cmd_event_table[];
extern const struct cmd cmd_configure_table[];
extern const struct cmd cmd_idle_table[];
extern const struct cmd cmd_alias_table[];
extern const struct cmd cmd_drain_table[];
extern const struct cmd cmd_log_table[];
extern const struct cmd cmd_member_table[];
extern const struct cmd cmd_admin_table[];
extern const struct cmd cmd_ssh_table[];
extern const struct cmd cmd_storage_table[];
extern const struct cmd cmd_route_table[];
extern const struct cmd cmd_process_table[];
extern const struct cmd cmd_snapshot_table[];
extern const struct cmd cmd_backup_table[];
extern const struct cmd cmd_profile_table[];
extern const struct cmd cmd_top_table[];
extern const struct cmd cmd_up_table[];
