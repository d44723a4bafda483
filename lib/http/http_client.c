#include "lib/http/http_client.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "lib/base/mem.h"
#include "lib/loop/loop.h"

enum { BODY_MAX = 16 * 1024 * 1024, CONNECT_MS = 10 * 1000, IDLE_CONNECTION_S = 60 };

struct http_call {
	struct http_client *client;    /* borrowed */
	struct http_call *prev, *next; /* borrowed: the client's list */
	CURL *easy;                    /* owned */
	struct curl_slist *headers;    /* owned */
	char *what;                    /* owned: method and URL, for messages */
	struct event idle;             /* with idle_ms */
	int64_t idle_ms, heard_ms;
	http_call_read_fn *read;
	http_call_head_fn *on_head;
	http_call_data_fn *on_data;
	http_call_end_fn *on_end;
	void *arg;
	struct buf body;
	size_t body_max;
	http_call_allows_fn *allows;
	void *allows_arg;
	bool is_refused; /* an address was not allowed */
	struct err err;  /* why a callback of ours failed the call */
	bool is_added;
	bool is_cancelled; /* removed by the next turn */
	bool wants_resume;
	bool is_read_paused, is_data_paused;
	bool told_head;
	char why[CURL_ERROR_SIZE];
};

struct http_client {
	struct loop *loop;       /* borrowed */
	CURLM *multi;            /* owned */
	struct http_call *calls; /* owned */
	struct event timer;      /* curl's */
	struct event kick;       /* made active when calls wait to be added, resumed or removed */
	int depth;               /* of our calls into curl or into callbacks */
	bool is_freed;           /* when depth is 0 again */
	const char *ca_file, *cert_file, *key_file; /* borrowed */
};

/* --- the client --- */

void
http_client_trust(
    struct http_client *c, const char *ca_file, const char *cert_file, const char *key_file)
{
	c->ca_file = ca_file;
	c->cert_file = cert_file;
	c->key_file = key_file;
}

static void
unlink_call(struct http_call *c)
{
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		c->client->calls = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	c->prev = c->next = NULL;
}

static void
free_call(struct http_call *c)
{
	if (c == NULL)
		return;
	if (c->is_added)
		(void)curl_multi_remove_handle(c->client->multi, c->easy);
	if (c->idle_ms > 0)
		event_del(&c->idle);
	curl_easy_cleanup(c->easy);
	curl_slist_free_all(c->headers);
	buf_fini(&c->body);
	free(c->what);
	free(c);
}
DEFINE_AUTO(struct http_call *, free_call)

static void
destroy(struct http_client *c)
{
	while (c->calls != NULL) {
		struct http_call *call = c->calls;

		unlink_call(call);
		free_call(call);
	}
	(void)curl_multi_cleanup(c->multi);
	event_del(&c->timer);
	event_del(&c->kick);
	free(c);
}

static void
enter(struct http_client *c)
{
	c->depth++;
}

/* Removes handles outside of curl's callbacks only. */
static void
leave(struct http_client *c)
{
	if (--c->depth == 0 && c->is_freed)
		destroy(c);
}

static void
kick(struct http_client *c)
{
	event_active(&c->kick, EV_TIMEOUT, 0);
}

static void
explain(struct http_call *c, CURLcode code, struct err *e)
{
	long os = 0;

	if (c->err.code != ERR_NONE) {
		*e = c->err;
		return;
	}
	if (c->is_refused) {
		(void)err_set(e, ERR_DENIED, NULL,
		    "%s: its address is inside this installation or a private network", c->what);
		return;
	}
	(void)curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &os);
	errno = 0;
	(void)err_set(e, ERR_SYSTEM, NULL, "%s: %s", c->what,
	    c->why[0] != '\0' ? c->why : curl_easy_strerror(code));
	e->sys = (int)os;
}

/* The call is over: tells its owner. */
static void
finish_call(struct http_call *take_c, const struct err *e)
{
	AUTO(free_call) struct http_call *c = take_c;
	long status = 0;

	(void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
	unlink_call(c);
	(void)curl_multi_remove_handle(c->client->multi, c->easy);
	c->is_added = false;
	if (!c->is_cancelled)
		c->on_end(c, (int)status,
		    (struct str){ c->body.p == NULL ? "" : c->body.p, c->body.n }, e, c->arg);
}

static void
finish_done(struct http_client *client)
{
	CURLMsg *m;
	int left;

	while (!client->is_freed && (m = curl_multi_info_read(client->multi, &left)) != NULL) {
		struct http_call *c = NULL;
		CURLcode code = m->data.result;
		struct err e = { 0 };

		if (m->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
		if (code != CURLE_OK)
			explain(c, code, &e);
		finish_call(c, code == CURLE_OK ? NULL : &e);
	}
}

static void
on_socket_ready(evutil_socket_t fd, short what, void *arg)
{
	struct http_client *c = arg;
	int running, bits = 0;

	if ((what & EV_READ) != 0)
		bits |= CURL_CSELECT_IN;
	if ((what & EV_WRITE) != 0)
		bits |= CURL_CSELECT_OUT;
	enter(c);
	(void)curl_multi_socket_action(c->multi, fd, bits, &running);
	finish_done(c);
	leave(c);
}

/* curl tells which of its sockets to watch, and for what. */
static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct http_client *c = arg;
	struct event *ev = socket_arg;
	short events = EV_PERSIST;

	(void)easy;
	if (ev != NULL)
		event_del(ev);
	if (what == CURL_POLL_REMOVE) {
		free(ev);
		(void)curl_multi_assign(c->multi, fd, NULL);
		return 0;
	}
	if (ev == NULL) {
		ev = xcalloc(1, sizeof *ev);
		(void)curl_multi_assign(c->multi, fd, ev);
	}
	if ((what & CURL_POLL_IN) != 0)
		events |= EV_READ;
	if ((what & CURL_POLL_OUT) != 0)
		events |= EV_WRITE;
	event_assign(ev, loop_base(c->loop), fd, events, on_socket_ready, c);
	event_add(ev, NULL);
	return 0;
}

static int
set_timer(CURLM *multi, long ms, void *arg)
{
	struct http_client *c = arg;
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	(void)multi;
	if (ms < 0)
		event_del(&c->timer);
	else
		event_add(&c->timer, &tv);
	return 0;
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct http_client *c = arg;
	int running;

	(void)fd;
	(void)what;
	enter(c);
	(void)curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	finish_done(c);
	leave(c);
}

static void
start_call(struct http_call *c)
{
	CURLMcode rc = curl_multi_add_handle(c->client->multi, c->easy);

	assert(rc == CURLM_OK);
	c->is_added = true;
}

static void
resume_call(struct http_call *c)
{
	c->wants_resume = c->is_read_paused = c->is_data_paused = false;
	c->heard_ms = loop_now_ms();
	(void)curl_easy_pause(c->easy, CURLPAUSE_CONT);
}

static void
on_kick(evutil_socket_t fd, short what, void *arg)
{
	struct http_client *client = arg;

	(void)fd;
	(void)what;
	enter(client);
	for (struct http_call *c = client->calls, *next; c != NULL; c = next) {
		next = c->next;
		if (c->is_cancelled) {
			unlink_call(c);
			free_call(c);
		} else if (!c->is_added) {
			start_call(c);
		} else if (c->wants_resume) {
			resume_call(c);
			next = c->next; /* what it called back may have started others */
		}
	}
	finish_done(client);
	leave(client);
}

static void
init_curl(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct http_client *
http_client_new(struct loop *l)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct http_client *c = xcalloc(1, sizeof *c);

	(void)pthread_once(&once, init_curl);
	c->loop = l;
	c->multi = curl_multi_init();
	assert(c->multi != NULL);
	event_assign(&c->timer, loop_base(l), -1, EV_TIMEOUT, on_timer, c);
	event_assign(&c->kick, loop_base(l), -1, EV_TIMEOUT, on_kick, c);
	(void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	(void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	(void)curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	(void)curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	return c;
}

void
http_client_free(struct http_client *take_c)
{
	if (take_c == NULL)
		return;
	for (struct http_call *c = take_c->calls; c != NULL; c = c->next)
		c->is_cancelled = true;
	take_c->is_freed = true;
	if (take_c->depth == 0)
		destroy(take_c);
}

/* --- what curl calls during a call --- */

static size_t
on_header_line(char *p, size_t size, size_t n, void *arg)
{
	struct http_call *c = arg;
	long status = 0;

	if (c->is_cancelled)
		return 0;
	c->heard_ms = loop_now_ms();
	if (p[0] != '\r' && p[0] != '\n')
		return size * n;
	(void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 200 && !c->told_head) {
		c->told_head = true;
		if (c->on_head != NULL)
			c->on_head(c, (int)status, c->arg);
	}
	return c->is_cancelled ? 0 : size * n;
}

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
	struct http_call *c = arg;

	n *= size;
	if (c->is_cancelled)
		return 0;
	c->heard_ms = loop_now_ms();
	if (c->on_data == NULL) {
		if (buf_add_max(&c->body, p, n, c->body_max, &c->err) == 0)
			return n;
		err_wrap(&c->err, "answer of %s", c->what);
		return 0;
	}
	if (c->on_data(c, p, n, c->arg))
		return c->is_cancelled ? 0 : n;
	if (c->is_cancelled)
		return 0;
	c->is_data_paused = true;
	return CURL_WRITEFUNC_PAUSE;
}

static size_t
on_want_body(char *p, size_t size, size_t n, void *arg)
{
	struct http_call *c = arg;
	ssize_t k;

	if (c->is_cancelled)
		return CURL_READFUNC_ABORT;
	c->heard_ms = loop_now_ms();
	k = c->read(c, p, size * n, c->arg);
	if (c->is_cancelled)
		return CURL_READFUNC_ABORT;
	if (k == HTTP_CALL_PAUSE) {
		c->is_read_paused = true;
		return CURL_READFUNC_PAUSE;
	}
	if (k >= 0)
		return (size_t)k;
	errno = 0;
	(void)err_set(&c->err, ERR_SYSTEM, NULL, "%s: the request was given up", c->what);
	return CURL_READFUNC_ABORT;
}

static void
arm_idle(struct http_call *c, int64_t ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	event_add(&c->idle, &tv);
}

static void
on_idle(evutil_socket_t fd, short what, void *arg)
{
	struct http_call *c = arg;
	struct http_client *client = c->client;
	int64_t left = c->heard_ms + c->idle_ms - loop_now_ms();
	struct err e = { 0 };

	(void)fd;
	(void)what;
	if (c->is_cancelled)
		return;
	if (c->is_read_paused || c->is_data_paused)
		left = c->idle_ms;
	if (left > 0) {
		arm_idle(c, left);
		return;
	}
	errno = ETIMEDOUT;
	(void)err_set(
	    &e, ERR_SYSTEM, NULL, "%s: not a byte for %lld ms", c->what, (long long)c->idle_ms);
	enter(client);
	finish_call(c, &e);
	leave(client);
}

/* --- starting a call --- */

static void
add_header(struct http_call *c, const char *field)
{
	struct curl_slist *l = curl_slist_append(c->headers, field);

	if (l == NULL)
		abort();
	c->headers = l;
}

static int
set_headers(struct http_call *c, const struct http_call_opts *o, struct err *e)
{
	bool has_type = false;

	for (const char *const *h = o->headers; h != NULL && *h != NULL; h++) {
		if (strpbrk(*h, "\r\n") != NULL || strchr(*h, ':') == NULL)
			return err_set(
			    e, ERR_INVALID, "headers", "must be \"Name: value\" in one line");
		has_type = has_type || strncasecmp(*h, "content-type:", 13) == 0;
		add_header(c, *h);
	}
	/* A field that is only left out would be signed as an empty one. */
	if (o->aws_sigv4 == NULL)
		add_header(c, "Expect:");
	if (!has_type && o->aws_sigv4 == NULL)
		add_header(c, "Content-Type:");
	if (o->bearer != NULL) {
		AUTO(free) char *field = xasprintf("Authorization: Bearer %s", o->bearer);

		if (strpbrk(field, "\r\n") != NULL)
			return err_set(e, ERR_INVALID, "bearer", "must be one line");
		add_header(c, field);
	}
	(void)curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
	return 0;
}

static bool
is_loopback(const char *host)
{
	return strcmp(host, "localhost") == 0 || str_has_suffix(host, ".localhost") ||
	       strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0;
}

/* http(s) URLs only; the proxy of the environment never stands before this machine. */
static int
set_web_url(struct http_call *c, const struct http_call_opts *o, struct err *e)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *host = NULL;
	bool is_good, is_near;

	if (u == NULL)
		abort();
	is_good = curl_url_set(u, CURLUPART_URL, o->url, 0) == CURLUE_OK &&
	          curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	          curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	          (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
	is_near = is_good && is_loopback(host);
	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(u);
	if (!is_good)
		return err_set(e, ERR_INVALID, "url",
		    "must be http://HOST/…, https://HOST/… or unix:SOCKET:/…, is %s", o->url);
	(void)curl_easy_setopt(c->easy, CURLOPT_URL, o->url);
	if (!o->use_proxy || is_near)
		(void)curl_easy_setopt(c->easy, CURLOPT_PROXY, "");
	return 0;
}

static int
set_url(struct http_call *c, const struct http_call_opts *o, struct err *e)
{
	AUTO(free) char *path = NULL;
	AUTO(free) char *url = NULL;
	const char *colon;

	if (o->url == NULL)
		return err_set(e, ERR_INVALID, "url", "is missing");
	if (!str_has_prefix(o->url, "unix:"))
		return set_web_url(c, o, e);
	colon = strstr(o->url + 5, ":/");
	if (colon == NULL || colon == o->url + 5)
		return err_set(e, ERR_INVALID, "url", "must be unix:SOCKET:/PATH, is %s", o->url);
	path = xstrndup(o->url + 5, (size_t)(colon - o->url - 5));
	url = xasprintf("http://localhost%s", colon + 1);
	(void)curl_easy_setopt(c->easy, CURLOPT_UNIX_SOCKET_PATH, path);
	(void)curl_easy_setopt(c->easy, CURLOPT_URL, url);
	(void)curl_easy_setopt(c->easy, CURLOPT_PROXY, "");
	return 0;
}

static void
set_method(struct http_call *c, const struct http_call_opts *o, const char *method)
{
	if (o->read != NULL) {
		(void)curl_easy_setopt(c->easy, CURLOPT_UPLOAD, 1L);
		(void)curl_easy_setopt(c->easy, CURLOPT_READFUNCTION, on_want_body);
		(void)curl_easy_setopt(c->easy, CURLOPT_READDATA, c);
		if (o->read_size > 0)
			(void)curl_easy_setopt(
			    c->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)o->read_size);
		/* A stream cannot be sent again when an idle connection turns out dead. */
		(void)curl_easy_setopt(c->easy, CURLOPT_FRESH_CONNECT, 1L);
	} else if (o->body != NULL || strcmp(method, "POST") == 0) {
		(void)curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)o->body_n);
		(void)curl_easy_setopt(
		    c->easy, CURLOPT_COPYPOSTFIELDS, o->body == NULL ? "" : (const char *)o->body);
	} else if (strcmp(method, "HEAD") == 0) {
		(void)curl_easy_setopt(c->easy, CURLOPT_NOBODY, 1L);
	}
	(void)curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, method);
}

static void
set_callbacks(struct http_call *c)
{
	(void)curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
	(void)curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->why);
	(void)curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
	(void)curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, on_header_line);
	(void)curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
}

static void
set_limits(struct http_call *c, const struct http_call_opts *o)
{
	int64_t connect_ms = o->connect_timeout_ms > 0 ? o->connect_timeout_ms : CONNECT_MS;

	(void)curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
	(void)curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, (long)o->timeout_ms);
	(void)curl_easy_setopt(c->easy, CURLOPT_MAXAGE_CONN, (long)IDLE_CONNECTION_S);
	(void)curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c->easy, CURLOPT_TCP_NODELAY, 1L);
	(void)curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(c->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(c->easy, CURLOPT_USERAGENT, "pinion");
}

static void
set_file(struct http_call *c, CURLoption what, const char *own, const char *common)
{
	if (own != NULL || common != NULL)
		(void)curl_easy_setopt(c->easy, what, own != NULL ? own : common);
}

static void
set_trust(struct http_call *c, const struct http_call_opts *o)
{
	if (o->user != NULL) {
		if (o->aws_sigv4 == NULL)
			(void)curl_easy_setopt(c->easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		(void)curl_easy_setopt(c->easy, CURLOPT_USERNAME, o->user);
		(void)curl_easy_setopt(
		    c->easy, CURLOPT_PASSWORD, o->password == NULL ? "" : o->password);
	}
	if (o->aws_sigv4 != NULL)
		(void)curl_easy_setopt(c->easy, CURLOPT_AWS_SIGV4, o->aws_sigv4);
	set_file(c, CURLOPT_CAINFO, o->ca_file, c->client->ca_file);
	set_file(c, CURLOPT_SSLCERT, o->cert_file, c->client->cert_file);
	set_file(c, CURLOPT_SSLKEY, o->key_file, c->client->key_file);
	if (o->trusts_all) {
		(void)curl_easy_setopt(c->easy, CURLOPT_SSL_VERIFYPEER, 0L);
		(void)curl_easy_setopt(c->easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct http_call *c = arg;

	(void)purpose;
	if (!c->allows(&to->addr, c->allows_arg)) {
		c->is_refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(to->family, to->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, to->protocol);
}

/* A pooled connection was never asked about. */
static void
set_guard(struct http_call *c, const struct http_call_opts *o)
{
	if (o->allows == NULL)
		return;
	c->allows = o->allows;
	c->allows_arg = o->allows_arg;
	(void)curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	(void)curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETDATA, c);
	(void)curl_easy_setopt(c->easy, CURLOPT_FRESH_CONNECT, 1L);
	(void)curl_easy_setopt(c->easy, CURLOPT_FORBID_REUSE, 1L);
	(void)curl_easy_setopt(c->easy, CURLOPT_PROXY, "");
}

const char *
http_call_redirect(const struct http_call *c)
{
	const char *url = NULL;

	(void)curl_easy_getinfo(c->easy, CURLINFO_REDIRECT_URL, &url);
	return url;
}

char *
http_call_header(const struct http_call *c, const char *name)
{
	struct curl_header *h = NULL;

	return curl_easy_header(c->easy, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK
	           ? xstrdup(h->value)
	           : NULL;
}

struct http_call *
http_call_start(struct http_client *client, const struct http_call_opts *o,
    http_call_end_fn *on_end, void *arg, struct err *e)
{
	AUTO(free_call) struct http_call *c = xcalloc(1, sizeof *c);
	const char *method = o->method;

	if (method == NULL)
		method = o->body != NULL || o->read != NULL ? "POST" : "GET";
	c->client = client;
	c->easy = curl_easy_init();
	assert(c->easy != NULL);
	if (set_url(c, o, e) < 0 || set_headers(c, o, e) < 0)
		return NULL;
	c->what = xasprintf("%s %s", method, o->url);
	c->read = o->read;
	c->on_head = o->on_head;
	c->on_data = o->on_data;
	c->on_end = on_end;
	c->arg = arg;
	c->body_max = o->body_max > 0 ? o->body_max : BODY_MAX;
	set_callbacks(c);
	set_limits(c, o);
	set_trust(c, o);
	set_guard(c, o);
	set_method(c, o, method);
	c->heard_ms = loop_now_ms();
	if (o->idle_timeout_ms > 0) {
		c->idle_ms = o->idle_timeout_ms;
		event_assign(&c->idle, loop_base(client->loop), -1, EV_TIMEOUT, on_idle, c);
		arm_idle(c, c->idle_ms);
	}
	c->next = client->calls;
	if (client->calls != NULL)
		client->calls->prev = c;
	client->calls = c;
	kick(client);
	return STEAL(c);
}

void
http_call_resume(struct http_call *c)
{
	c->wants_resume = true;
	kick(c->client);
}

void
http_call_cancel(struct http_call *take_c)
{
	struct http_call *c = take_c;

	if (c == NULL || c->is_cancelled)
		return;
	c->is_cancelled = true;
	if (c->client->depth > 0) {
		kick(c->client);
		return;
	}
	unlink_call(c);
	free_call(c);
}

/* --- one call, waited for --- */

struct wait {
	const struct http_call_opts *o;
	struct loop *loop;
	struct buf *out;
	void *arg;
	int status;
	bool is_error; /* the answer's body explains it, and is collected */
	struct err err;
};

static ssize_t
wait_read(struct http_call *c, char *p, size_t n, void *arg)
{
	struct wait *w = arg;

	return w->o->read(c, p, n, w->arg);
}

static void
wait_head(struct http_call *c, int status, void *arg)
{
	struct wait *w = arg;

	w->is_error = status >= 400;
	if (w->o->on_head != NULL)
		w->o->on_head(c, status, w->arg);
}

static bool
wait_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct wait *w = arg;

	if (!w->is_error)
		return w->o->on_data(c, p, n, w->arg);
	if (w->out->n + n <= BODY_MAX)
		buf_add(w->out, p, n);
	return true;
}

static void
wait_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct wait *w = arg;

	(void)c;
	w->status = e == NULL ? status : -1;
	if (e != NULL)
		w->err = *e;
	else
		buf_addstr(w->out, body);
	loop_stop(w->loop);
}

int
http_call_wait(const struct http_call_opts *o, struct buf *out, void *arg, struct err *e)
{
	struct wait w = { .o = o, .out = out, .arg = arg };
	struct http_call_opts opts = *o;
	struct http_client *client;

	w.loop = loop_new();
	client = http_client_new(w.loop);
	opts.use_proxy = true;
	opts.read = o->read == NULL ? NULL : wait_read;
	opts.on_head = wait_head;
	opts.on_data = o->on_data == NULL ? NULL : wait_data;
	w.status = -1;
	if (http_call_start(client, &opts, wait_end, &w, &w.err) != NULL)
		loop_run(w.loop);
	http_client_free(client);
	loop_free(w.loop);
	if (w.status < 0)
		*e = w.err;
	return w.status;
}
