/* cli/credential.h: git's credential helper (git-credential(1)): the login of `pinion login`. */
#pragma once

#include <stdio.h>

#include "lib/base/err.h"

/* Answers one operation: "get" writes user and token to out if the description read from in is of
 * the broker that one is logged in to; "store" and "erase" do nothing. ERR_UNAUTHENTICATED: not
 * logged in. */
int credential_answer(const char *operation, FILE *in, FILE *out, struct err *e) MUST_CHECK;
