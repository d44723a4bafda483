#include "node/node_conf.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/where.h"
#include "lib/codec/conf.h"

enum { TOKEN_MAX = 4096, TOKEN_MIN = 16 };

static const struct conf_item items[] = {
	CONF_STR(struct node_conf, id, "id", "local", "Name of this node, unique in the cluster."),
	CONF_STR(struct node_conf, data, "data", "/var/lib/pinion/node",
	    "Directory of gears, layers and records; on ext4, xfs or btrfs."),
	CONF_STR(struct node_conf, run, "run", "/run/pinion",
	    "Directory of sockets and of the state of what runs."),
	CONF_STR(struct node_conf, broker, "broker", NULL,
	    "Where the broker serves nodes: unix:/PATH or https://HOST:PORT."),
	CONF_STR(struct node_conf, broker_ca, "broker-ca", NULL,
	    "File of the authorities that the broker's certificate is verified by (default: the "
	    "system's)."),
	CONF_STR(struct node_conf, broker_cert, "broker-cert", NULL,
	    "File with the certificate that this node shows to the broker, with its chain."),
	CONF_STR(struct node_conf, broker_key, "broker-key", NULL,
	    "File with the key of that certificate (default: in the same file)."),
	CONF_STR(struct node_conf, token_file, "token-file", NULL,
	    "File with the token that this node shows to the broker."),
	CONF_STR(struct node_conf, broker_token_file, "broker-token-file", NULL,
	    "File with the token that the broker must show to this node."),
	CONF_STR(struct node_conf, stream, "stream", NULL,
	    "Where builds, logs and status are served: unix:/PATH or ADDRESS:PORT (default: "
	    "node.sock in the run directory)."),
	CONF_STR(struct node_conf, stream_url, "stream-url", NULL,
	    "How the broker reaches that: http://HOST:PORT (default: as it is served)."),
	CONF_STR(struct node_conf, wake, "wake", NULL,
	    "Where routers wake gears that sleep: unix:/PATH or ADDRESS:PORT (default: wake.sock "
	    "in "
	    "the run directory)."),
	CONF_STR(struct node_conf, wake_url, "wake-url", NULL,
	    "How routers reach that: http://HOST:PORT (default: as it is served)."),
	CONF_STR(struct node_conf, wake_token_file, "wake-token-file", NULL,
	    "File with the token that routers must show there; without it nobody may."),
	CONF_STR(struct node_conf, cartridges, "cartridges", NULL,
	    "Directory of the cartridges (default: the installed one)."),
	CONF_STR(struct node_conf, stack, "stack", NULL,
	    "Directory of the host stack (default: the installed one)."),
	CONF_STR(struct node_conf, runtime, "runtime", "crun",
	    "OCI runtime that starts containers: a path, or a name on PATH."),
	CONF_STR(struct node_conf, seccomp, "seccomp", NULL,
	    "Seccomp profile in the format of containers-common (default: the installed one)."),
	CONF_STR(struct node_conf, volumes, "volumes", "auto",
	    "How a gear's disk is limited: image (a loop-mounted file system), plain (not at all), "
	    "auto (image where that works)."),
	CONF_STRS(struct node_conf, allow_net, "allow-net",
	    "Private range that gears may reach (10.1.0.0/16); may be given again."),
	CONF_INT(struct node_conf, disk_low_percent, "disk-low", 0, 100, "5",
	    "Percent of the disk that must be free for builds and new gears."),
	CONF_INT(struct node_conf, disk_critical_percent, "disk-critical", 0, 100, "2",
	    "Percent of the disk below which the gears that write most are frozen."),
	CONF_INT(struct node_conf, ready_fd, "ready-fd", -1, 1 << 20, "-1",
	    "File descriptor that gets a line of JSON once the node serves."),
	CONF_STR(struct node_conf, log_level, "log-level", "info",
	    "Least level that is logged: debug, info, warn, error."),
	CONF_BOOL(struct node_conf, log_json, "log-json", "false", "Log lines as JSON."),
	CONF_LAST,
};

void
node_conf_fini(struct node_conf *c)
{
	secret_free(STEAL(c->token));
	secret_free(STEAL(c->broker_token));
	secret_free(STEAL(c->wake_token));
	conf_fini(items, c);
}

static char *
read_token(const char *path, const char *field, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct str s;
	char *token;

	if (path == NULL || path[0] == '\0') {
		(void)err_set(
		    e, ERR_INVALID, field, "name the file with the token: --%s FILE", field);
		return NULL;
	}
	if (file_read(path, TOKEN_MAX, &b, e) < 0) {
		(void)err_field(e, "%s", field);
		return NULL;
	}
	s = buf_str(&b);
	while (s.n > 0 && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r'))
		s.n--;
	if (s.n < TOKEN_MIN) {
		(void)err_set(e, ERR_INVALID, field,
		    "the token in %s must have at least %d characters", path, TOKEN_MIN);
		return NULL;
	}
	token = xstrndup(s.p, s.n);
	secret_wipe(b.p, b.n);
	return token;
}

static bool
is_unset(const char *s)
{
	return s == NULL || s[0] == '\0';
}

static void
null_if_unset(char **s)
{
	if (is_unset(*s))
		mem_set_str(s, NULL);
}

static int
fill_defaults(struct node_conf *c, struct err *e)
{
	if (is_unset(c->broker))
		return err_set(e, ERR_INVALID, "broker",
		    "name the broker: --broker unix:/PATH or https://HOST:PORT");
	null_if_unset(&c->broker_ca);
	null_if_unset(&c->broker_cert);
	null_if_unset(&c->broker_key);
	null_if_unset(&c->stream_url);
	null_if_unset(&c->wake_url);
	if (c->broker_key == NULL && c->broker_cert != NULL)
		c->broker_key = xstrdup(c->broker_cert);
	if (is_unset(c->stream)) {
		free(c->stream);
		c->stream = xasprintf("unix:%s/node.sock", c->run);
	}
	if (is_unset(c->wake)) {
		free(c->wake);
		c->wake = xasprintf("unix:%s/wake.sock", c->run);
	}
	if (is_unset(c->cartridges)) {
		free(c->cartridges);
		c->cartridges = where_data("cartridges", e);
	}
	if (is_unset(c->stack)) {
		AUTO(free) char *stacks = where_data("stacks", e);

		free(c->stack);
		c->stack = stacks == NULL ? NULL : file_join(stacks, "host");
	}
	if (c->cartridges == NULL || c->stack == NULL)
		return -1;
	c->token = read_token(c->token_file, "token-file", e);
	if (c->token == NULL)
		return -1;
	c->broker_token = read_token(c->broker_token_file, "broker-token-file", e);
	if (c->broker_token == NULL)
		return -1;
	if (is_unset(c->wake_token_file))
		return 0;
	c->wake_token = read_token(c->wake_token_file, "wake-token-file", e);
	return c->wake_token == NULL ? -1 : 0;
}

int
node_conf_load(int argc, char **argv, struct node_conf *out, struct err *e)
{
	int rc = conf_load("pinion-node", items, argc, argv, out, e);

	if (rc == 0)
		rc = fill_defaults(out, e);
	if (rc < 0)
		node_conf_fini(out);
	return rc;
}
