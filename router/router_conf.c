#include "router/router_conf.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/codec/conf.h"

enum { TOKEN_MAX = 4096 };

static const struct conf_item items[] = {
	CONF_STR(struct router_conf, http, "http", "127.0.0.1:8080",
	    "Addresses and ports for HTTP, with commas between them, like 0.0.0.0:80 or [::]:80 "
	    "(which takes IPv4, too); port 0 picks a free one."),
	CONF_STR(struct router_conf, https, "https", NULL,
	    "Addresses and ports for HTTPS, likewise; none unless they are given."),
	CONF_STRS(struct router_conf, cert, "cert",
	    "File with a certificate for HTTPS, its chain and its key, PEM, or directory of such "
	    "files (*.pem); the first serves who names no host of another; read again on SIGHUP."),
	CONF_STR(struct router_conf, tls_profile, "tls-profile", "intermediate",
	    "modern: TLS 1.3 alone; intermediate: TLS 1.2, too."),
	CONF_STR(struct router_conf, proxy_protocol, "proxy-protocol", NULL,
	    "Ports where connections begin with the PROXY protocol (version 1 or 2) of a balancer: "
	    "http, https or both with a comma. It tells who the client is."),
	CONF_STR(struct router_conf, proxy_protocol_from, "proxy-protocol-from", NULL,
	    "Networks, with commas between them, whose connections begin so; others do not. All "
	    "unless it is given."),
	CONF_STR(struct router_conf, trusted_proxies, "trusted-proxies", NULL,
	    "Networks, with commas between them, of proxies whose X-Forwarded-For, -Proto, -Host, "
	    "-Port or Forwarded is believed: the client is the last address in it that is not "
	    "theirs."),
	CONF_STR(struct router_conf, feed, "feed", NULL,
	    "Where the broker sends routes: unix:/PATH or https://HOST:PORT."),
	CONF_STR(struct router_conf, token_file, "token-file", NULL,
	    "File with the token for the broker."),
	CONF_STR(struct router_conf, wake_token_file, "wake-token-file", NULL,
	    "File with the token with which nodes are asked to wake applications."),
	CONF_INT(struct router_conf, traffic_ms, "traffic-interval", 10, 60000, "1000",
	    "Milliseconds between two reports of which applications had requests."),
	CONF_STR(struct router_conf, id, "id", "router", "Name of this router to the broker."),
	CONF_STR(struct router_conf, state_dir, "state-dir", NULL,
	    "Directory of the saved table, from which the router starts without a broker. A router "
	    "that starts while another runs with it takes the place of that, without a "
	    "connection refused or cut; so does a new version on SIGUSR2."),
	CONF_STR(struct router_conf, routes, "routes", NULL,
	    "File with a static table instead of a feed: lines HOST ADDRESS:PORT... "
	    "OPTION=VALUE...; read again on "
	    "SIGHUP."),
	CONF_STR(struct router_conf, access_log, "access-log", NULL,
	    "File for a line a request, - for standard output; opened again on SIGUSR1."),
	CONF_STR(struct router_conf, access_log_format, "access-log-format", "text",
	    "text (key=value), json, or combined as web servers write it."),
	CONF_INT(struct router_conf, access_log_max_mb, "access-log-max", 0, 1000000, "64",
	    "Megabytes of the access log, then it becomes FILE.1 and a new one begins; 0: any."),
	CONF_STR(struct router_conf, metrics, "metrics", NULL,
	    "Where metrics are served at /metrics: unix:/PATH or ADDRESS:PORT."),
	CONF_STR(struct router_conf, metrics_token_file, "metrics-token-file", NULL,
	    "File with the token that who asks for metrics must show (Authorization: Bearer)."),
	CONF_INT(struct router_conf, metrics_apps, "metrics-apps", 0, 100000, "1000",
	    "Applications with metrics of their own: those with the most requests; the others are "
	    "counted together."),
	CONF_STR(struct router_conf, log_level, "log-level", "info", "debug, info, warn or error."),
	CONF_BOOL(struct router_conf, log_json, "log-json", "false", "Log lines as JSON."),
	CONF_INT(struct router_conf, threads, "threads", 0, ROUTER_THREADS_MAX, "0",
	    "Threads that serve; 0: one for each core, at most 4."),
	CONF_INT(struct router_conf, ready_fd, "ready-fd", -1, 1023, "-1",
	    "Descriptor that gets a line of JSON with the port once the router serves."),
	CONF_INT(struct router_conf, request_timeout_s, "request-timeout", 1, 86400, "300",
	    "Seconds without a byte until a request is given up, unless the application sets its "
	    "own."),
	CONF_INT(struct router_conf, idle_timeout_s, "idle-timeout", 1, 86400, "75",
	    "Seconds that a client's connection stays open between requests."),
	CONF_INT(struct router_conf, head_timeout_s, "head-timeout", 1, 3600, "20",
	    "Seconds until the head of a request must be there."),
	CONF_INT(struct router_conf, connect_timeout_s, "connect-timeout", 1, 300, "5",
	    "Seconds until another instance is tried when one does not accept a connection."),
	CONF_INT(struct router_conf, body_max, "body-max", 0, INT64_MAX, "0",
	    "Largest body of a request in bytes; 0: any."),
	CONF_INT(struct router_conf, drain_s, "drain", 0, 86400, "10",
	    "Seconds that running requests, and WebSockets, get to finish at the end, or when "
	    "another router takes over."),
	CONF_INT(struct router_conf, drain_instance_s, "drain-instance", 0, 86400, "300",
	    "Seconds that requests, and WebSockets, get to finish at an instance that is off every "
	    "route; 0: any time."),
	CONF_INT(struct router_conf, hold_timeout_s, "hold-timeout", 1, 300, "30",
	    "Seconds that a request waits for an application that is handed over."),
	CONF_INT(struct router_conf, hold_page_s, "hold-page", 0, 300, "5",
	    "Seconds that a browser waits for an application until it gets a page that loads "
	    "itself "
	    "again; 0: as long as others."),
	CONF_INT(struct router_conf, hold_max, "hold-max", 1, 1000000, "8192",
	    "Requests that wait for applications at the same time."),
	CONF_INT(struct router_conf, hold_app_max, "hold-app-max", 1, 1000000, "2048",
	    "Requests that wait for one application."),
	CONF_INT(struct router_conf, hold_mb, "hold-memory", 1, 65536, "64",
	    "Megabytes that requests that wait may take."),
	CONF_INT(struct router_conf, address_connections, "address-connections", 0, 10000000,
	    "4096",
	    "Connections, and streams of HTTP/2, that a client's address (IPv6: its /64) may have "
	    "at the same time, shared evenly by the threads; 0: any. A balancer in front that is "
	    "not in --trusted-proxies, and does not use the PROXY protocol, is one address, too. "
	    "The machine's own addresses 127.0.0.0/8 and ::1 have no limits."),
	CONF_INT(struct router_conf, address_rate, "address-rate", 0, 10000000, "1000",
	    "New connections in a second that such an address may make, five times as many at "
	    "once; 0: any."),
	CONF_INT(struct router_conf, memory_mb, "memory-max", 0, 100000000, "0",
	    "Megabytes that the router may take: before it has them it closes idle connections, "
	    "then cuts answers that clients do not read, then refuses clients. 0: what its "
	    "cgroup or its limit of address space allows."),
	CONF_LAST,
};

static int
check(const struct router_conf *c, struct err *e)
{
	if (c->https != NULL && c->cert.n == 0 && c->feed == NULL)
		return err_set(e, ERR_INVALID, "cert",
		    "HTTPS needs a certificate: give --cert FILE with it and its key, PEM");
	if (strcmp(c->tls_profile, "modern") != 0 && strcmp(c->tls_profile, "intermediate") != 0)
		return err_set(e, ERR_INVALID, "tls-profile", "must be modern or intermediate");
	if (c->proxy_protocol_from != NULL && c->proxy_protocol == NULL)
		return err_set(e, ERR_INVALID, "proxy-protocol",
		    "on which ports? Give --proxy-protocol http,https with --proxy-protocol-from");
	if (c->metrics != NULL && c->metrics_token_file == NULL)
		return err_set(e, ERR_INVALID, "metrics-token-file",
		    "metrics are shown to who has a token only: give a file with one");
	if (c->feed != NULL && c->routes != NULL)
		return err_set(e, ERR_INVALID, "routes", "give either --feed or --routes");
	if (c->feed == NULL && c->routes == NULL && c->state_dir == NULL)
		return err_set(e, ERR_INVALID, "feed",
		    "where do routes come from? Give --feed unix:/PATH or --routes FILE");
	return 0;
}

int
router_conf_load(int argc, char **argv, struct router_conf *out, struct err *e)
{
	int rc = conf_load("pinion-router", items, argc, argv, out, e);

	if (rc != 0)
		return rc;
	return check(out, e);
}

void
router_conf_fini(struct router_conf *c)
{
	conf_fini(items, c);
}

int
router_conf_token(const char *path, const char *field, char **out, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	if (path == NULL)
		return 0;
	if (file_read(path, TOKEN_MAX, &b, e) < 0)
		return err_wrap(e, "%s", field);
	while (b.n > 0 && (b.p[b.n - 1] == '\n' || b.p[b.n - 1] == '\r'))
		buf_truncate(&b, b.n - 1);
	*out = buf_steal(&b);
	return 0;
}
