/* cli/prompt.h: questions on the terminal, secrets from terminal, standard input or file. */
#pragma once

#include "cli/cmd.h"
#include "lib/base/err.h"

/* A password: from the file of --password-file ("-" is standard input), else asked for on the
 * terminal without echo. One trailing newline is dropped. Caller frees with secret_free. NULL:
 * ERR_INVALID. */
char *prompt_password(const struct cmd_line *l, const char *question, struct err *e);
/* The same for any secret: file NULL: the terminal, or standard input when that is none. */
char *prompt_secret(const char *file, const char *question, struct err *e);
/* Asks "question [y/N]" on a terminal; without one, or with --yes, the answer is yes. ERR_DENIED
 * when the person says no. */
int prompt_confirm(const struct cmd_line *l, struct err *e, const char *fmt, ...)
    PRINTF(3, 4) MUST_CHECK;
/* A line of text from the terminal, or NULL: ERR_INVALID. Caller owns. */
char *prompt_line(const char *question, struct err *e);
