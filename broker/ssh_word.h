/* broker/ssh_word.h: commands over SSH that concern the application, not a program in its gear:
 * snapshot, restore, ctl_all, `gear start` and the like (OpenShift v2's words). */
#pragma once

#include <stdbool.h>

struct broker;
struct ssh_word;
struct stream;
struct wire_app;

bool ssh_word_is(const char *command);
typedef void ssh_word_end_fn(void *arg);
/* Takes the stream, whose ORDER was read. on_end: once, later, not after ssh_word_leave. */
struct ssh_word *ssh_word_start(struct broker *b, struct stream *take_s, const struct wire_app *app,
    const char *login, const char *command, ssh_word_end_fn *on_end, void *arg);
/* The connection is gone; what changes the application goes on. */
void ssh_word_leave(struct ssh_word *take_w);
