/* cli/api_client.h: calls of the public API, the login that is remembered, errors as the API tells
 * them. */
#pragma once

#include <stdbool.h>

#include "cli/cmd.h"
#include "lib/codec/codec.h"

struct output_column;

/* What `pinion login` remembers, in $XDG_CONFIG_HOME/pinion/login.json (0600). PINION_URL and
 * PINION_TOKEN in the environment come first. */
struct api_login {
	char *url; /* http://host:port */
	char *user;
	char *token;
};
DECLARE_CODEC(api_login, struct api_login)
/* ERR_UNAUTHENTICATED: says to log in. */
int api_login_load(struct api_login *out, struct err *e) MUST_CHECK;
int api_login_save(const struct api_login *login, struct err *e) MUST_CHECK;
int api_login_forget(struct err *e) MUST_CHECK;
/* Whom to believe over https: SSL_CERT_FILE, or NULL: the system's. */
const char *api_login_ca_file(void);

struct api_reply {
	struct codec_value *root;       /* owned; the envelope */
	const struct codec_value *data; /* borrowed from root */
};
void api_reply_fini(struct api_reply *r);

/* METHOD /broker/rest/PATH with the remembered login. json: the body, or NULL. Progress lines go to
 * standard error as they come, messages for the user too. An error answer is -1 with the API's
 * text; the code follows its status. */
int api_call(const struct cmd_line *l, const char *method, const char *path, const char *json,
    struct api_reply *out, struct err *e) MUST_CHECK;
/* The same with Basic credentials, for login. */
int api_call_as(const struct cmd_line *l, const char *url, const char *user, const char *password,
    const char *method, const char *path, const char *json, struct api_reply *out,
    struct err *e) MUST_CHECK;
/* GET of an endless or long answer of JSON lines: each to on_line. */
typedef void api_line_fn(struct str line, void *arg);
int api_stream(const struct cmd_line *l, const char *path, api_line_fn *on_line, void *arg,
    struct err *e) MUST_CHECK;

/* GET of bytes into fd; PUT of fd's bytes to its end, with progress and envelope as api_call. */
int api_download(const struct cmd_line *l, const char *path, int fd, struct err *e) MUST_CHECK;
int api_upload(const struct cmd_line *l, const char *path, int fd, struct api_reply *out,
    struct err *e) MUST_CHECK;

/* "domain/D/application/A" of the application that the command means: the argument NAME or
 * DOMAIN/NAME, else --app, else the git remote of the directory one stands in. Caller owns; NULL:
 * the error says how to name it. */
char *api_app_path(const struct cmd_line *l, const char *name, struct err *e);
/* Shows what the application of the first argument has below its path: "aliases", "drains" ... */
int api_app_list(const struct cmd_line *l, const char *what, const struct output_column *columns,
    struct err *e) MUST_CHECK;
/* Sends body to the events of path, an application or a cartridge; done: said then. */
int api_event(const struct cmd_line *l, const char *path, const char *body, const char *done,
    struct err *e) MUST_CHECK;
/* The user's domain: --domain, or the only one there is. Caller owns. */
char *api_domain(const struct cmd_line *l, struct err *e);
