/* broker/gear_command.h: runs one of OpenShift v2's gear words (gear_word.h) on a byte stream: from
 * a gear through its node, or over SSH; and serves those from gears: POST
 * /internal/node/command?node=ID&gear=UUID (doc/protocol.md). Loop thread. */
#pragma once

#include <stdbool.h>

#include "lib/base/str.h"

struct broker;
struct gear_command;
struct gear_command_set;
struct http_req;
struct stream;

struct gear_command_set *gear_command_set_new(struct broker *b);
void gear_command_set_free(struct gear_command_set *take_s); /* ends all */

struct gear_command_opts { /* borrowed for the call */
	const char *app_id, *gear;
	const char *login; /* ""; nobody's: it was said in the gear itself */
	const struct str_list *argv;
};
typedef void gear_command_end_fn(void *arg);
/* Takes the stream, whose ORDER was read; it is told what is wrong. on_end: once, later, not after
 * gear_command_leave; may be NULL. */
struct gear_command *gear_command_start(struct gear_command_set *all, struct stream *take_s,
    const struct gear_command_opts *o, gear_command_end_fn *on_end, void *arg);
/* The connection is gone; what changes the application goes on. NULL is fine. */
void gear_command_leave(struct gear_command *take_c);

/* Takes the request, already admitted. */
void gear_command_handle(struct gear_command_set *all, struct http_req *r);
