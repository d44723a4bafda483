/* The clients of the routers: HTTP/1.1 by one thread, in a closed loop, or at a rate that does not
 * wait for answers (arrivals of a Poisson process; latency counts from when a request was due).
 * Prints one line of JSON.
 * usage: load [-t] [-x] [-c CONNECTIONS] [-d SECONDS] [-r RATE] [-u PATH] [-i IDLE] PORT TABLE
 *   TABLE: a file of lines that begin with a host; a request goes to any of them
 *   -t: TLS; -x: a connection for each request
 *   -i: that many connections make a request each, are told, and wait for the end of the input */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	HEAD_MAX = 2048,
	EVENTS = 256,
	SOURCES = 32,         /* addresses of the clients: ports would run out */
	TIME_MAX = 2000000,   /* microseconds that are told apart */
	WAITING_MAX = 1 << 20 /* requests that are due */
};

enum state { CLOSED, CONNECTING, SHAKING, FREE, BUSY };

struct client {
	int fd;
	enum state state;
	SSL *ssl;
	size_t host, sent, head_n;
	long left; /* of the answer's body; -1: its head is not whole */
	bool ends; /* the router closes behind this answer */
	double due;
	char head[HEAD_MAX];
};

struct request {
	char *text;
	size_t n;
	char *host;
};

static struct options {
	int clients, idle, port;
	double seconds, rate;
	bool tls, closes;
	const char *path, *table;
} o = { .clients = 64, .seconds = 3, .path = "/" };

static struct request *requests;
static size_t request_n;
static struct client *clients;
static struct client **spare; /* may take a request */
static int spare_n, poll_fd, ready;
static SSL_CTX *tls;
static unsigned took[TIME_MAX + 1];
static long done, bad, broken, dials;
static double *waiting, start;
static unsigned waiting_first, waiting_end;
static bool is_over;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t
draw(void)
{
	static uint64_t s = 0x9e3779b97f4a7c15;

	s ^= s << 7;
	s ^= s >> 9;
	return s >> 8;
}

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* --- the table --- */

static void
read_table(void)
{
	FILE *f = fopen(o.table, "r");
	char line[512], host[256], text[1024];
	size_t cap = 0;

	if (f == NULL) {
		perror(o.table);
		exit(1);
	}
	while (fgets(line, sizeof line, f) != NULL) {
		if (sscanf(line, "%255s", host) != 1)
			continue;
		if (request_n == cap) {
			cap = cap == 0 ? 1024 : cap * 2;
			requests = need(realloc(requests, cap * sizeof *requests));
		}
		(void)snprintf(text, sizeof text,
		    "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load/1\r\nAccept: */*\r\n%s\r\n",
		    o.path, host, o.closes ? "Connection: close\r\n" : "");
		requests[request_n++] =
		    (struct request){ need(strdup(text)), strlen(text), need(strdup(host)) };
	}
	fclose(f);
	if (request_n == 0) {
		fprintf(stderr, "%s: no host\n", o.table);
		exit(1);
	}
}

/* --- a connection --- */

static void
dial(struct client *c)
{
	static unsigned turn;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)o.port) };
	struct sockaddr_in from = { .sin_family = AF_INET };
	struct epoll_event e = { EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, { .ptr = c } };
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	(void)setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + turn++ % SOURCES);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0 ||
	    (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) ||
	    epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &e) < 0) {
		perror("load: connect");
		exit(1);
	}
	dials++;
	c->state = CONNECTING;
	c->host = draw() % request_n;
	if (!o.tls)
		return;
	c->ssl = need(SSL_new(tls));
	SSL_set_fd(c->ssl, c->fd);
	SSL_set_tlsext_host_name(c->ssl, requests[c->host].host);
	SSL_set_connect_state(c->ssl);
}

static void
hang_up(struct client *c)
{
	if (c->ssl != NULL) {
		SSL_set_quiet_shutdown(c->ssl, 1);
		SSL_free(c->ssl);
	}
	c->ssl = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->state = CLOSED;
}

static void
begin(struct client *c, double due)
{
	c->due = due;
	c->sent = c->head_n = 0;
	c->left = -1;
	c->ends = false;
	if (c->state == CLOSED) {
		dial(c);
		return;
	}
	/* SNI named the host of a connection with TLS */
	if (!o.tls && !o.closes)
		c->host = draw() % request_n;
	c->state = BUSY;
}

/* What is to be done after a request, or at the start. */
static void
next(struct client *c, double t)
{
	if (is_over)
		return;
	if (o.idle != 0) {
		ready++;
	} else if (o.rate == 0) {
		begin(c, t);
	} else if (waiting_first != waiting_end) {
		begin(c, waiting[waiting_first++ % WAITING_MAX]);
	} else {
		spare[spare_n++] = c;
	}
}

static void
finish(struct client *c)
{
	double t = now(), us = (t - c->due) * 1e6;

	if (strncmp(c->head, "HTTP/1.1 200 ", 13) == 0) {
		done++;
		took[us >= TIME_MAX ? TIME_MAX : us < 0 ? 0 : (int)us]++;
	} else {
		bad++;
	}
	if (o.closes || c->ends)
		hang_up(c);
	else
		c->state = FREE;
	next(c, t);
}

static void
lose(struct client *c)
{
	bool was_busy = c->state != FREE;

	hang_up(c);
	if (!was_busy)
		return; /* it is in spare, or idle: it dials when it is used */
	broken++;
	next(c, now());
}

/* As read(2) and write(2), with -1 for "not now" and 0 for the end. */
static ssize_t
receive(struct client *c, void *p, size_t n)
{
	ssize_t got = c->ssl != NULL ? SSL_read(c->ssl, p, (int)n) : read(c->fd, p, n);

	if (got > 0)
		return got;
	if (c->ssl != NULL)
		return SSL_get_error(c->ssl, (int)got) == SSL_ERROR_WANT_READ ? -1 : 0;
	return got < 0 && errno == EAGAIN ? -1 : 0;
}

static ssize_t
transmit(struct client *c, const void *p, size_t n)
{
	ssize_t put =
	    c->ssl != NULL ? SSL_write(c->ssl, p, (int)n) : send(c->fd, p, n, MSG_NOSIGNAL);

	if (put > 0)
		return put;
	if (c->ssl != NULL)
		return SSL_get_error(c->ssl, (int)put) == SSL_ERROR_WANT_WRITE ? -1 : 0;
	return errno == EAGAIN ? -1 : 0;
}

/* --- a request --- */

/* The head is whole at end, of which body bytes were read too. */
static bool
take_head(struct client *c, const char *end)
{
	const char *length = strcasestr(c->head, "\r\ncontent-length:");
	size_t body = c->head_n - (size_t)(end - c->head);

	if (length == NULL || strncmp(c->head, "HTTP/1.1 ", 9) != 0)
		return false;
	c->ends = strcasestr(c->head, "\r\nconnection: close") != NULL;
	c->left = atol(length + 17) - (long)body;
	return c->left >= 0;
}

/* false: nothing now, or it is over. */
static bool
step(struct client *c)
{
	char sink[16384];
	ssize_t n;

	if (c->sent < requests[c->host].n) {
		n = transmit(c, requests[c->host].text + c->sent, requests[c->host].n - c->sent);
		if (n > 0)
			c->sent += (size_t)n;
		if (n == 0)
			lose(c);
		return n > 0;
	}
	if (c->left < 0)
		n = receive(c, c->head + c->head_n, HEAD_MAX - 1 - c->head_n);
	else
		n = receive(c, sink, sizeof sink);
	if (n < 0)
		return false;
	if (n == 0) {
		lose(c);
		return false;
	}
	if (c->left < 0) {
		const char *end;

		c->head_n += (size_t)n;
		c->head[c->head_n] = '\0';
		end = strstr(c->head, "\r\n\r\n");
		if ((end == NULL && c->head_n == HEAD_MAX - 1) ||
		    (end != NULL && !take_head(c, end + 4))) {
			lose(c);
			return false;
		}
	} else {
		c->left -= n;
	}
	if (c->left != 0)
		return true;
	finish(c);
	return c->state == BUSY;
}

static void
on_event(struct client *c, uint32_t what)
{
	if (c->state == CONNECTING && (what & EPOLLOUT) != 0) {
		int e = 0;
		socklen_t n = sizeof e;

		(void)getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &n);
		if (e != 0) {
			lose(c);
			return;
		}
		c->state = o.tls ? SHAKING : BUSY;
	}
	if (c->state == SHAKING) {
		int rc = SSL_do_handshake(c->ssl);

		if (rc == 1)
			c->state = BUSY;
		else if (SSL_get_error(c->ssl, rc) != SSL_ERROR_WANT_READ)
			lose(c);
	}
	if (c->state == FREE && (what & (EPOLLRDHUP | EPOLLHUP)) != 0)
		lose(c);
	while (c->state == BUSY && step(c))
		continue;
}

/* --- the load --- */

/* Starts what is due; returns when the next request is. */
static double
arrivals(double due, double t)
{
	while (due <= t) {
		if (spare_n > 0) {
			struct client *c = spare[--spare_n];

			begin(c, due);
			on_event(c, 0); /* a kept connection can be written to at once */
		} else if (waiting_end - waiting_first < WAITING_MAX) {
			waiting[waiting_end++ % WAITING_MAX] = due;
		}
		due += -log(((double)(draw() % (1 << 30)) + 1) / (double)(1 << 30)) / o.rate;
	}
	return due;
}

static void
wait_events(double seconds)
{
	struct epoll_event got[EVENTS];
	struct timespec t = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
	int n;

	if (seconds < 0)
		t = (struct timespec){ 0 };
	n = epoll_pwait2(poll_fd, got, EVENTS, &t, NULL);
	for (int i = 0; i < n; i++)
		on_event(got[i].data.ptr, got[i].events);
}

static void
run(void)
{
	double t = now(), end = t + o.seconds, due = t;

	start = t;
	for (int i = 0; i < o.clients; i++) {
		if (o.rate != 0)
			spare[spare_n++] = &clients[i];
		else
			begin(&clients[i], t);
	}
	while (t < end) {
		double until = end;

		if (o.rate != 0) {
			due = arrivals(due, t);
			until = due < end ? due : end;
		}
		wait_events(until - now());
		t = now();
	}
	is_over = true;
}

static void
hold_idle(void)
{
	char c;
	double end = now() + 60;

	for (int i = 0; i < o.idle && now() < end; i++) {
		begin(&clients[i], now());
		while (i - ready >= 64 && now() < end)
			wait_events(0.1);
	}
	while (ready + (int)broken < o.idle && now() < end)
		wait_events(0.1);
	printf("{\"ready\": %d, \"failed\": %ld}\n", ready, bad + broken);
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		continue;
}

static double
percentile(double share)
{
	double want = (double)done * share;
	long sum = 0;

	for (int i = 0; i <= TIME_MAX; i++) {
		sum += took[i];
		if ((double)sum >= want)
			return i;
	}
	return TIME_MAX;
}

static void
parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "txc:d:r:u:i:")) != -1) {
		switch (c) {
		case 't':
			o.tls = true;
			break;
		case 'x':
			o.closes = true;
			break;
		case 'c':
			o.clients = atoi(optarg);
			break;
		case 'd':
			o.seconds = atof(optarg);
			break;
		case 'r':
			o.rate = atof(optarg);
			break;
		case 'u':
			o.path = optarg;
			break;
		case 'i':
			o.idle = atoi(optarg);
			break;
		default:
			exit(2);
		}
	}
	if (argc - optind != 2) {
		fprintf(stderr, "load: needs PORT and TABLE\n");
		exit(2);
	}
	o.port = atoi(argv[optind]);
	o.table = argv[optind + 1];
}

int
main(int argc, char **argv)
{
	int n;
	double seconds;

	parse(argc, argv);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)prctl(PR_SET_TIMERSLACK, 1);
	n = o.idle != 0 ? o.idle : o.clients;
	clients = need(calloc((size_t)n, sizeof *clients));
	spare = need(calloc((size_t)n + 1, sizeof(struct client *)));
	waiting = need(calloc(WAITING_MAX, sizeof *waiting));
	for (int i = 0; i < n; i++)
		clients[i] = (struct client){ .fd = -1 };
	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	tls = need(SSL_CTX_new(TLS_client_method()));
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
	read_table();
	if (o.idle != 0) {
		hold_idle();
		return 0;
	}
	run();
	seconds = now() - start;
	printf("{\"requests\": %ld, \"failed\": %ld, \"connections\": %ld, \"rps\": %.0f, "
	       "\"p50_us\": %.0f, \"p99_us\": %.0f, \"p999_us\": %.0f}\n",
	    done, bad + broken, dials, (double)done / seconds, percentile(0.5), percentile(0.99),
	    percentile(0.999));
	return 0;
}
