#include "lib/http/stream_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/http/tls_client.h"
#include "lib/loop/loop.h"

enum { READ_SIZE = 16 * 1024, QUEUE_MAX = 64 * 1024, HTTPS_PORT = 443 };

struct stream_tls {
	struct loop *loop; /* borrowed */
	struct tls_client *tls;
	int fd; /* owned */
	struct loop_io *io;
	bool is_connected, is_closing; /* closing: nothing more comes from fd */
	struct buf in;                 /* from the server, not yet taken */
	stream_tls_fn *fn;
	void *arg;
};

static void
release(void *p)
{
	struct stream_tls *t = p;

	buf_fini(&t->in);
	free(t);
}

static void
end(struct stream_tls *t, const struct err *e)
{
	stream_tls_fn *fn = t->fn;
	void *arg = t->arg;

	loop_io_cancel(t->io);
	tls_client_close(t->tls);
	file_close(t->fd);
	loop_free_later(t->loop, release, t);
	fn(e, arg);
}

static void
set_interest(struct stream_tls *t)
{
	bool reads = t->is_connected && !t->is_closing && tls_client_queued(t->tls) < QUEUE_MAX;

	loop_io_set(t->io, (reads ? LOOP_READ : 0) | (t->in.n > 0 ? LOOP_WRITE : 0));
}

/* false: nobody reads any more. */
static bool
flush(struct stream_tls *t)
{
	ssize_t n = 1;

	while (t->in.n > 0 && n > 0) {
		n = send(t->fd, t->in.p, t->in.n, MSG_NOSIGNAL);
		if (n > 0)
			buf_drop(&t->in, (size_t)n);
	}
	return n > 0 || errno == EAGAIN || errno == EINTR;
}

static void
on_tls(const struct err *e, void *arg)
{
	struct stream_tls *t = arg;

	if (e != NULL) {
		end(t, e);
		return;
	}
	t->is_connected = true;
	if (t->is_closing && tls_client_queued(t->tls) == 0)
		end(t, NULL);
	else
		set_interest(t);
}

static bool
on_data(const char *p, size_t n, void *arg)
{
	struct stream_tls *t = arg;

	buf_add(&t->in, p, n);
	if (!flush(t)) {
		end(t, NULL);
		return false;
	}
	set_interest(t);
	return t->in.n == 0;
}

static void
on_io(int fd, int what, void *arg)
{
	struct stream_tls *t = arg;
	char p[READ_SIZE];
	ssize_t n;

	if ((what & LOOP_WRITE) != 0) {
		if (!flush(t)) {
			end(t, NULL);
			return;
		}
		if (t->in.n == 0)
			tls_client_resume(t->tls);
	}
	if ((what & LOOP_READ) != 0 && (n = read(fd, p, sizeof p)) != 0) {
		if (n > 0)
			tls_client_write(t->tls, p, (size_t)n);
	} else if ((what & LOOP_READ) != 0) {
		t->is_closing = true;
		if (tls_client_queued(t->tls) == 0) {
			end(t, NULL);
			return;
		}
	}
	set_interest(t);
}

char *
stream_tls_resolve(const char *url, struct err *e)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	AUTO_FINI(str_url_fini) struct str_url u = { 0 };
	char address[INET6_ADDRSTRLEN] = "";
	struct addrinfo *list = NULL;
	int rc;

	if (str_url_parse(url, "url", &u, e) < 0)
		return NULL;
	rc = getaddrinfo(u.host, NULL, &hints, &list);
	if (rc == 0) {
		rc = getnameinfo(list->ai_addr, list->ai_addrlen, address, sizeof address, NULL, 0,
		    NI_NUMERICHOST);
		freeaddrinfo(list);
	}
	if (rc == 0)
		return xstrdup(address);
	(void)err_set(e, ERR_BUSY, NULL, "%s: %s", u.host, gai_strerror(rc));
	return NULL;
}

int
stream_tls_open(
    struct loop *l, const struct stream_tls_opts *o, stream_tls_fn *fn, void *arg, struct err *e)
{
	AUTO_FINI(str_url_fini) struct str_url u = { 0 };
	AUTO(free) char *address = o->address == NULL ? NULL : xstrdup(o->address);
	struct stream_tls *t;
	int fds[2];

	if (str_url_parse(o->url, "url", &u, e) < 0 ||
	    (address == NULL && (address = stream_tls_resolve(o->url, e)) == NULL))
		return -1;
	t = xcalloc(1, sizeof *t);
	*t = (struct stream_tls){ .loop = l, .fd = -1, .fn = fn, .arg = arg };
	t->tls = tls_client_start(l,
	    &(struct tls_client_opts){
	        .address = address,
	        .port = u.port == 0 ? HTTPS_PORT : u.port,
	        .host = u.host,
	        .ca_file = o->ca_file,
	        .cert_file = o->cert_file,
	        .key_file = o->key_file,
	        .on_data = on_data,
	    },
	    on_tls, t, e);
	if (t->tls != NULL &&
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0) {
		t->fd = fds[0];
		t->io = loop_io_start(l, t->fd, 0, on_io, t);
		return fds[1];
	}
	if (t->tls != NULL)
		(void)err_set(e, ERR_SYSTEM, NULL, "socketpair");
	tls_client_close(t->tls);
	release(t);
	return -1;
}
