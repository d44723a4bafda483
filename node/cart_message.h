/* node/cart_message.h: lines that cartridges print for the platform ("CLIENT_MESSAGE: …",
 * OpenShift v2's format), found in the output of their scripts. Hostile output is bounded. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/buf.h"
#include "lib/base/str.h"
#include "lib/wire/wire_gear.h"

enum {
	CART_MESSAGE_LINE_MAX = 8192, /* of a line; what is longer is cut */
	CART_MESSAGE_LINES_MAX = 200, /* of each kind; further ones are dropped */
	CART_MESSAGE_PLAIN_MAX = 40,  /* last lines without a prefix that are kept */
};

/* Zero-initialised is empty. */
struct cart_message {
	struct str_list lines; /* CLIENT_…: and APP_INFO: with their prefix, in order */
	struct wire_var_list
	    properties; /* CART_PROPERTIES, CART_DATA, ATTR: k=v at the first '=' */
	/* What counts only when the step succeeded: */
	struct wire_asks asks; /* ENV_VAR_ADD, SSH_KEY_ADD, BROKER_AUTH_KEY_ADD and their likes */
	bool has_error;        /* CLIENT_ERROR: the user can fix it */
	struct str_list plain; /* the last lines that are none of these */
	struct buf part;       /* a line that has not ended */
};

void cart_message_feed(struct cart_message *m, const char *p, size_t n);
/* The output has ended; of a failed step (ok false) nothing is kept that only success allows. */
void cart_message_end(struct cart_message *m, bool ok);
void cart_message_fini(struct cart_message *m);
/* Like v2 of a failure: the plain lines are for the user too, with that prefix ("CLIENT_MESSAGE"
 * for stdout, "CLIENT_ERROR" for stderr). Appended. */
void cart_message_tell_plain(
    const struct cart_message *m, const char *prefix, struct str_list *out);
