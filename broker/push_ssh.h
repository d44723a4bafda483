/* broker/push_ssh.h: git over SSH: git-upload-pack and git-receive-pack on the application's
 * repository, whose path in the gear is ~/git/APP.git. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/wire/wire_app.h"

struct broker;
struct push_ssh;
struct push_ssh_set;
struct stream;

struct push_ssh_set *push_ssh_set_new(struct broker *b);
void push_ssh_set_free(struct push_ssh_set *take_s);

/* Is it a command of git's? service: "git-upload-pack" or "git-receive-pack"; path: as given,
 * unquoted, caller owns both. */
bool push_ssh_parse(const char *command, char **out_service, char **out_path);
/* Does the path mean this application's repository? */
bool push_ssh_is_repo(const char *path, const char *gear, const char *app);

struct push_ssh_opts { /* borrowed for the call */
	const struct wire_app *app;
	const char *login, *service;
	const char *protocol; /* GIT_PROTOCOL or NULL */
};
typedef void push_ssh_end_fn(void *arg);
/* Takes the stream, whose ORDER was read. on_end: once, later; a push goes on when its client is
 * gone. NULL: refused; the client was told. */
struct push_ssh *push_ssh_start(struct push_ssh_set *s, struct stream *take_s,
    const struct push_ssh_opts *o, push_ssh_end_fn *on_end, void *arg);
/* The connection is gone: no on_end any more; the client's end is closed. */
void push_ssh_leave(struct push_ssh *p);
