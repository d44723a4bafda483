/* cli/git.h: the git repository one stands in, and running git. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

/* Looks at the remotes of the repository of the working directory ("pinion" first, then the others)
 * for one below BROKER_URL/git/. False: none. The strings are the caller's. */
bool git_find_app(const char *broker_url, char **out_domain, char **out_app);
/* Domain and application of one remote's URL. */
bool git_parse_remote(
    const char *broker_url, struct str url, char **out_domain, char **out_app) MUST_CHECK;
/* Is the working directory in a git repository? */
bool git_is_repository(void);
/* Runs git with these arguments (NULL-terminated, without "git") on the terminal and waits. Returns
 * its exit code, or -1. */
int git_run(const char *const *args, struct err *e) MUST_CHECK;
/* "credential.URL.helper" and its value, for `git config` and `git clone -c`. Callers own. NULL:
 * the helper program is missing. */
char *git_credential_key(const char *broker_url);
char *git_credential_helper(struct err *e);
