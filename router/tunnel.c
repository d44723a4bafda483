#include "router/tunnel.h"

#include "router/client_conn.h"
#include "router/proxy.h"
#include "router/upstream.h"

enum { ROUNDS = 16 };
enum step { STEP_WAIT, STEP_BROKEN };

static enum step
pump_up(struct proxy *x)
{
	struct client_conn *c = x->client;
	struct sock *to = &x->up->sock;
	bool broken = false;

	for (int i = 0; !x->up_fin; i++) {
		struct iovec v;

		if (sock_flush(to) < 0)
			return STEP_BROKEN;
		if (sock_pending(to))
			break;
		if (i == ROUNDS) {
			sock_again(&c->sock);
			break;
		}
		if (!client_conn_fill(c, LANE_READ, &broken)) {
			if (!c->sock.eof)
				break;
			x->up_fin = true;
			sock_shut(to);
			break;
		}
		v = (struct iovec){ (char *)c->view, c->view_n };
		x->body_in += (int64_t)v.iov_len;
		if (sock_write(to, &v, 1) < 0)
			return STEP_BROKEN;
		client_conn_consume(c, c->view_n);
		proxy_touch(x);
	}
	return broken ? STEP_BROKEN : STEP_WAIT;
}

static enum step
pump_down(struct proxy *x)
{
	struct sock *from = &x->up->sock, *to = &x->client->sock;
	struct lane *l = from->lane;

	for (int i = 0; !x->down_fin; i++) {
		struct iovec v;
		ssize_t n;

		if (sock_flush(to) < 0)
			return STEP_BROKEN;
		if (sock_pending(to))
			break;
		if (i == ROUNDS) {
			sock_again(from);
			break;
		}
		n = sock_read_on(from, l->scratch, LANE_READ);
		if (n < 0)
			return STEP_BROKEN;
		if (n == 0) {
			if (!from->eof)
				break;
			x->down_fin = true;
			sock_shut(to);
			break;
		}
		v = (struct iovec){ l->scratch, (size_t)n };
		x->bytes += n;
		if (sock_write(to, &v, 1) < 0)
			return STEP_BROKEN;
		proxy_touch(x);
	}
	return STEP_WAIT;
}

bool
tunnel_pump(struct proxy *x)
{
	enum step up = pump_up(x);
	enum step down;

	client_conn_park(x->client);
	down = up == STEP_BROKEN ? STEP_BROKEN : pump_down(x);
	if (down == STEP_BROKEN) {
		proxy_abort(x, x->status, "A side of the tunnel broke.");
		return false;
	}
	if (!x->up_fin || !x->down_fin || sock_is_unsent(&x->up->sock))
		return true;
	x->keep = x->up_keep = false;
	proxy_finish(x);
	return false;
}
