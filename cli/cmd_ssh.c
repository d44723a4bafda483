/* SSH keys, shells, forwarded ports, one-off commands. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/run_stream.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/loop/child_run.h"
#include "lib/wire/wire_exec.h"

enum { KEY_FILE_MAX = 64 * 1024, OUTPUT_MAX = 256 * 1024, LIST_MS = 60 * 1000, FORWARDS_MAX = 64 };
#define SSH_PROGRAM "/usr/bin/ssh"

/* --- keys --- */

/* "TYPE BASE64 [COMMENT]" */
static int
parse_public_key(const struct buf *text, char **type, char **content, struct err *e)
{
	struct str rest = str_trim(buf_str(text)), t, c;

	if (rest.n > 0 && strstr(text->p, "PRIVATE KEY") != NULL)
		return err_set(e, ERR_INVALID, "file",
		    "this is a private key, which is nobody's but yours: give the .pub file");
	rest = str_cut(rest, ' ', &t);
	(void)str_cut(rest, ' ', &c);
	while (c.n > 0 && isspace((unsigned char)c.p[c.n - 1]))
		c.n--;
	if (t.n == 0 || c.p == NULL || c.n == 0)
		return err_set(e, ERR_INVALID, "file",
		    "no public key: it looks like 'ssh-ed25519 AAAA… you@machine'");
	*type = xstrndup(t.p, t.n);
	*content = xstrndup(c.p, c.n);
	return 0;
}

static int
run_key_add(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	AUTO(free) char *type = NULL;
	AUTO(free) char *content = NULL;
	const char *home = getenv("HOME");
	AUTO(free)
	char *usual = xasprintf("%s/.ssh/id_ed25519.pub", home == NULL ? "" : home);
	const char *file = cmd_arg(l, 1) == NULL ? usual : cmd_arg(l, 1);

	if (file_read(file, KEY_FILE_MAX, &text, e) < 0)
		return err_wrap(e, "public key (ssh-keygen -t ed25519 makes one)");
	if (parse_public_key(&text, &type, &content, e) < 0)
		return -1;
	buf_adds(&body, "{\"name\":");
	buf_add_json_str(&body, cmd_arg(l, 0));
	buf_adds(&body, ",\"type\":");
	buf_add_json_str(&body, type);
	buf_adds(&body, ",\"content\":");
	buf_add_json_str(&body, content);
	buf_addc(&body, '}');
	if (api_call(l, "POST", "user/keys", body.p, &r, e) < 0)
		return -1;
	if (cmd_has(l, "json"))
		output_object(l, r.data, NULL);
	output_note(l, "The key %s lets you in now.", cmd_arg(l, 0));
	return 0;
}

static int
run_key_list(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	static const struct output_column columns[] = {
		{ "NAME", "name" },
		{ "TYPE", "type" },
		{ "KEY", "content" },
		{ NULL, NULL },
	};

	if (api_call(l, "GET", "user/keys", NULL, &r, e) < 0)
		return -1;
	output_table(l, r.data, columns);
	return 0;
}

static int
run_key_remove(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf path = { 0 };

	buf_adds(&path, "user/keys/");
	buf_add_url(&path, cmd_arg(l, 0));
	if (api_call(l, "DELETE", path.p, NULL, &r, e) < 0)
		return -1;
	output_note(l, "The key %s opens nothing any more.", cmd_arg(l, 0));
	return 0;
}

/* --- ssh --- */

struct target {
	char *user, *host; /* owned */
	char *alias;       /* owned: the name that the host key is kept under */
	char port[16];
};

static void
target_fini(struct target *t)
{
	free(t->user);
	free(t->host);
	free(t->alias);
}

/* Where the application is entered: ssh_url names user and port; the machine is that of the API,
 * for an application's own name need not be known to the DNS. */
static int
find_target(const struct cmd_line *l, const char *name, struct target *t, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(api_login_fini) struct api_login login = { 0 };
	AUTO_FINI(str_url_fini) struct str_url ssh = { 0 };
	AUTO_FINI(str_url_fini) struct str_url api = { 0 };
	AUTO(free) char *path = api_app_path(l, name, e);
	const char *url;

	if (path == NULL || api_login_load(&login, e) < 0 ||
	    api_call(l, "GET", path, NULL, &r, e) < 0)
		return -1;
	url = codec_string(codec_get(r.data, "ssh_url"));
	if (url == NULL)
		return err_set(e, ERR_NOT_FOUND, NULL,
		    "this Pinion serves no SSH (pinion-broker --ssh ADDR:PORT)");
	if (str_url_parse(url, "ssh_url", &ssh, e) < 0 ||
	    str_url_parse(login.url, "url", &api, e) < 0)
		return -1;
	t->user = xstrdup(ssh.user == NULL ? "" : ssh.user);
	t->host = xstrdup(api.host);
	t->alias = xasprintf("HostKeyAlias=[%s]:%d", api.host, ssh.port == 0 ? 22 : ssh.port);
	(void)snprintf(t->port, sizeof t->port, "%d", ssh.port == 0 ? 22 : ssh.port);
	return 0;
}

static void
add_ssh(struct str_list *argv, const struct target *t)
{
	const char *config = getenv("PINION_SSH_CONFIG");

	str_list_add(argv, SSH_PROGRAM);
	if (config != NULL && *config != '\0') {
		str_list_add(argv, "-F");
		str_list_add(argv, config);
	}
	str_list_add(argv, "-p");
	str_list_add(argv, t->port);
	str_list_add(argv, "-o");
	str_list_add(argv, t->alias);
	str_list_add(argv, "-l");
	str_list_add(argv, t->user);
}

/* Becomes ssh. */
static int
become(struct str_list *argv, struct err *e)
{
	char **v = xcalloc(argv->n + 1, sizeof *v);

	for (size_t i = 0; i < argv->n; i++)
		v[i] = argv->v[i];
	(void)fflush(NULL);
	(void)execv(SSH_PROGRAM, v);
	free(v);
	return err_set(e, ERR_SYSTEM, NULL, "cannot run %s (package openssh-client)", SSH_PROGRAM);
}

static int
run_ssh(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(target_fini) struct target t = { 0 };
	AUTO_FINI(str_list_fini) struct str_list argv = { 0 };
	bool names_app = l->args.n > 0 && !cmd_has(l, "app");

	if (find_target(l, names_app ? cmd_arg(l, 0) : NULL, &t, e) < 0)
		return -1;
	add_ssh(&argv, &t);
	str_list_add(&argv, t.host);
	for (size_t i = names_app ? 1 : 0; i < l->args.n; i++)
		str_list_add(&argv, l->args.v[i]);
	return become(&argv, e);
}

/* One line "service -> host:port" of rhc-list-ports: adds "-L port:host:port". */
static bool
add_forward(struct str line, int shift, struct str_list *argv, struct str_list *said)
{
	AUTO(free) char *text = xstrndup(line.p, line.n);
	char service[128], host[128];
	int port;

	if (sscanf(text, " %127s -> %127[^:]:%d", service, host, &port) != 3)
		return false;
	int local = port < 1024 ? port + 10000 + shift : port + shift;

	str_list_add(argv, "-L");
	str_list_take(argv, xasprintf("127.0.0.1:%d:%s:%d", local, host, port));
	str_list_take(said, xasprintf("%-16s 127.0.0.1:%-6d => %s:%d", service, local, host, port));
	return true;
}

static int
list_ports(const struct target *t, struct buf *out, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list list = { 0 };
	const char *argv[16];
	size_t n = 0;
	/* its lines come on stderr, as v2's do */
	add_ssh(&list, t);
	str_list_add(&list, t->host);
	str_list_add(&list, "rhc-list-ports 2>&1");
	for (; n < list.n && n < ARRAY_LEN(argv) - 1; n++)
		argv[n] = list.v[n];
	argv[n] = NULL;
	const struct child_opts o = { .argv = argv,
		.env = (const char *const *)environ,
		.out_max = OUTPUT_MAX,
		.timeout_ms = LIST_MS };

	return child_run(&o, NULL, 0, out, e) == 0 ? 0 : err_wrap(e, "list the ports");
}

static int
run_port_forward(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(target_fini) struct target t = { 0 };
	AUTO_FINI(str_list_fini) struct str_list argv = { 0 };
	AUTO_FINI(str_list_fini) struct str_list said = { 0 };
	AUTO_FINI(buf_fini) struct buf ports = { 0 };
	struct str rest, line;

	if (find_target(l, cmd_arg(l, 0), &t, e) < 0 || list_ports(&t, &ports, e) < 0)
		return -1;
	add_ssh(&argv, &t);
	str_list_add(&argv, "-N");
	str_list_add(&argv, "-o");
	str_list_add(&argv, "ExitOnForwardFailure=yes");
	for (rest = buf_str(&ports); rest.n > 0 && said.n < FORWARDS_MAX;) {
		rest = str_cut(rest, '\n', &line);
		(void)add_forward(line, 0, &argv, &said);
	}
	if (said.n == 0)
		return err_set(e, ERR_NOT_FOUND, NULL,
		    "nothing listens in the gear: there is no port to forward");
	str_list_add(&argv, t.host);
	for (size_t i = 0; i < said.n; i++)
		(void)fprintf(stderr, "%s\n", said.v[i]);
	(void)fprintf(stderr, "Press Ctrl-C to end.\n");
	return become(&argv, e);
}

/* --- run --- */

static int
run_run(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(wire_exec_fini) struct wire_exec x = { 0 };
	AUTO(free) char *path = NULL;
	bool names_app = !cmd_has(l, "app");

	if (names_app && l->args.n < 2)
		return err_set(e, ERR_INVALID, NULL,
		    "name application and command: pinion run APP -- COMMAND");
	path = api_app_path(l, names_app ? cmd_arg(l, 0) : NULL, e);
	if (path == NULL)
		return -1;
	if (l->args.n == (names_app ? 2u : 1u)) { /* one word: a line for the shell */
		x.command = xstrdup(cmd_arg(l, names_app ? 1 : 0));
	} else {
		for (size_t i = names_app ? 1 : 0; i < l->args.n; i++)
			str_list_add(&x.args, l->args.v[i]);
	}
	return run_stream(path, &x, cmd_has(l, "no-terminal"), e);
}

static const struct cmd_option key_options[] = { { NULL, 0, NULL, NULL } };
static const struct cmd_option run_options[] = {
	{ "no-terminal", 'T', NULL, "no terminal, even when there is one" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_ssh_table[] = {
	{ "key add", "NAME [FILE]", 1, 2,
	    "let an SSH key in\n\nFILE is the public key (default: ~/.ssh/id_ed25519.pub). It "
	    "opens "
	    "the applications\nthat you may change, at once.",
	    key_options, run_key_add, false },
	{ "key list", "", 0, 0, "list your SSH keys", NULL, run_key_list, false },
	{ "key remove", "NAME", 1, 1,
	    "let an SSH key in no more\n\nSessions that were opened with it end.", NULL,
	    run_key_remove, false },
	{ "ssh", "[APP] [-- COMMAND]", 0, -1,
	    "a shell, or a command, in the running application\n\nRuns ssh with what it needs; "
	    "your key must be known (pinion key add).\nPINION_SSH_CONFIG names an ssh_config to "
	    "use instead of your own.",
	    NULL, run_ssh, false },
	{ "port-forward", "[APP]", 0, 1,
	    "reach the application's ports and services from here\n\nForwards each port that "
	    "listens in the gear, by ssh -L.",
	    NULL, run_port_forward, false },
	{ "run", "APP -- COMMAND", 1, -1,
	    "run a command in a fresh instance\n\nIt has the application's code and environment, "
	    "and a terminal if you have one. One word\nis a line for the shell. Its exit status is "
	    "this command's.",
	    run_options, run_run, false },
	{ 0 },
};
