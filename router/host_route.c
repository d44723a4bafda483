#include "router/host_route.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "router/host_key.h"
#include "router/route_options.h"

/* --- reading --- */

const char *
host_route_domain(const struct host_route *r)
{
	const char *app = host_route_app(r);

	return app + strlen(app) + 1;
}

const struct host_rare *
host_route_rare(const struct host_route *r)
{
	static const struct host_rare none = { .wake = "", .paths = "", .backend = "" };

	return r->rare == NULL ? &none : r->rare;
}

static void
add_words(struct str_list *out, const char *words)
{
	for (struct str rest = str_of(words), word; rest.n > 0;) {
		rest = str_cut(rest, ' ', &word);
		str_list_take(out, xstrndup(word.p, word.n));
	}
}

static struct wire_endpoint *
add_endpoint(struct wire_endpoint_list *out, const struct host_endpoint *from)
{
	struct wire_endpoint *ep = codec_list_add(&wire_endpoint_codec, out);
	char address[INET6_ADDRSTRLEN];

	(void)inet_ntop(
	    from->address_n == 16 ? AF_INET6 : AF_INET, from->data, address, sizeof address);
	ep->port = ntohs(from->port);
	ep->id = xstrdup(host_endpoint_id(from));
	ep->address = xstrdup(address);
	return ep;
}

static void
add_endpoints(struct wire_endpoint_list *out, const struct host_route *r, bool canary)
{
	const struct host_rare *rare = host_route_rare(r);

	for (size_t i = 0; i < r->n; i++) {
		struct wire_endpoint *ep = add_endpoint(out, r->ep[i]);

		ep->weight = rare->weights == NULL ? 0 : rare->weights[i];
		ep->canary = canary;
	}
}

void
host_route_to_wire(const struct host_route *r, struct wire_route *out)
{
	const struct host_rare *rare = host_route_rare(r);

	*out = (struct wire_route){
		.host = xstrdup(host_route_host(r)),
		.app_id = xstrdup(host_route_app_id(r)),
		.app = xstrdup(host_route_app(r)),
		.domain = xstrdup(host_route_domain(r)),
		.state = r->state,
		.timeout_s = r->timeout_s,
		.answer = r->answer,
		.backend = rare->backend[0] == '\0' ? NULL : xstrdup(rare->backend),
		.tls = rare->tls,
		.sleep = rare->sleep,
	};
	add_words(&out->paths, rare->paths);
	add_words(&out->wake, rare->wake);
	if (rare->opts != NULL)
		out->options = xstrdup(route_options_text(rare->opts));
	add_endpoints(&out->endpoints, r, false);
	if (rare->canary != NULL)
		add_endpoints(&out->endpoints, rare->canary, true);
	out->canary_percent = rare->canary_percent;
}

/* --- the two parts of a route with a canary --- */

/* Alone, those of a canary are as any other. */
static size_t
count_mains(const struct wire_route *w)
{
	size_t n = 0;

	while (n < w->endpoints.n && !w->endpoints.v[n].canary)
		n++;
	return n == 0 ? w->endpoints.n : n;
}

static bool
has_canary(const struct wire_route *w)
{
	return count_mains(w) < w->endpoints.n;
}

/* Borrow all of w. */
static struct wire_route
mains_of(const struct wire_route *w)
{
	struct wire_route part = *w;

	part.endpoints.n = count_mains(w);
	return part;
}

static struct wire_route
canary_of(const struct wire_route *w)
{
	size_t n = count_mains(w), left = w->endpoints.n - n;

	return (struct wire_route){ .host = w->host,
		.app_id = w->app_id,
		.app = w->app,
		.domain = w->domain,
		.state = w->state,
		.timeout_s = w->timeout_s,
		.answer = w->answer,
		.tls = w->tls,
		.endpoints = { left == 0 ? NULL : w->endpoints.v + n, left } };
}

/* --- making --- */

int
host_route_check(const struct wire_route *w, struct err *e)
{
	if (w->host == NULL || !host_key_is_route(w->host))
		return err_set(e, ERR_INVALID, "host",
		    "must be a lower-case host name or *.NAME, is \"%s\"",
		    w->host == NULL ? "" : w->host);
	if (w->app_id != NULL && strlen(w->app_id) > HOST_APP_ID_MAX)
		return err_set(e, ERR_LIMIT, "app_id", "has %zu bytes; at most %d are taken",
		    strlen(w->app_id), HOST_APP_ID_MAX);
	if (w->endpoints.n > HOST_ENDPOINTS_MAX)
		return err_set(e, ERR_LIMIT, "endpoints", "%s has %zu; at most %d are routed",
		    w->host, w->endpoints.n, HOST_ENDPOINTS_MAX);
	for (size_t i = 0; i < w->paths.n; i++) {
		if (!host_key_is_path(w->paths.v[i]))
			return err_set(e, ERR_INVALID, "paths",
			    "item %zu must be a path of letters, digits and -._~/", i);
	}
	for (size_t i = 0; i < w->endpoints.n; i++) {
		if (host_endpoint_check(&w->endpoints.v[i], e) < 0)
			return err_field(e, "endpoints[%zu]", i);
		if (i > 0 && w->endpoints.v[i - 1].canary && !w->endpoints.v[i].canary)
			return err_set(e, ERR_INVALID, "endpoints",
			    "item %zu: those of the canary come last", i);
	}
	return route_options_check(w->options, e);
}

static const char *
text_of(const char *s)
{
	return s == NULL ? "" : s;
}

static const char *
store_text(char **at, const char *s)
{
	size_t n = strlen(s) + 1;
	char *to = *at;

	memcpy(to, s, n);
	*at += n;
	return to;
}

/* Words with a space between two; one that holds a space is left out. */
static char *
join(const struct str_list *l)
{
	struct buf b = { 0 };

	buf_adds(&b, "");
	for (size_t i = 0; i < l->n; i++) {
		if (strchr(l->v[i], ' ') == NULL)
			buf_addf(&b, "%s%s", b.n == 0 ? "" : " ", l->v[i]);
	}
	return b.n == 0 ? (buf_fini(&b), xstrdup("")) : buf_steal(&b);
}

static bool
has_weights(const struct wire_route *w)
{
	for (size_t i = 0; i < w->endpoints.n; i++) {
		if (w->endpoints.v[i].weight != 0)
			return true;
	}
	return false;
}

static bool
has_options(const struct wire_route *w)
{
	return w->options != NULL && strcmp(w->options, "{}") != 0;
}

static bool
has_rare(const struct wire_route *w)
{
	return w->sleep != 0 || w->wake.n != 0 || w->paths.n != 0 || *text_of(w->backend) != '\0' ||
	       w->tls || has_options(w) || has_weights(w) || has_canary(w);
}

static struct host_rare *
rare_new(const struct wire_route *w, struct map *options)
{
	AUTO(free) char *wake = join(&w->wake);
	AUTO(free) char *paths = join(&w->paths);
	const char *backend = text_of(w->backend);
	size_t weighed = has_weights(w) ? w->endpoints.n : 0;
	struct host_rare *x = xcalloc(1, sizeof *x + weighed * sizeof x->weights[0] + strlen(wake) +
	                                     strlen(paths) + strlen(backend) + 3);
	uint16_t *weights = (uint16_t *)(x + 1);
	char *at = (char *)(weights + weighed);

	for (size_t i = 0; i < weighed; i++)
		weights[i] = (uint16_t)w->endpoints.v[i].weight;
	x->weights = weighed == 0 ? NULL : weights;
	x->opts = route_options_get(options, w->app_id, w->options);
	x->tls = w->tls;
	x->sleep = w->sleep;
	x->wake = store_text(&at, wake);
	x->paths = store_text(&at, paths);
	x->backend = store_text(&at, backend);
	atomic_init(&x->is_woken, false);
	return x;
}

static uint32_t
timeout_of(const struct wire_route *w)
{
	return w->timeout_s < 0 ? 0 : (uint32_t)w->timeout_s;
}

static struct host_route *
plain_new(const struct wire_route *w, struct host_endpoint_set *s)
{
	const char *text[] = { w->host, text_of(w->app_id), text_of(w->app), text_of(w->domain) };
	size_t size = w->endpoints.n * sizeof(struct host_endpoint *);
	struct host_route *r;
	char *at;

	for (size_t i = 0; i < ARRAY_LEN(text); i++)
		size += strlen(text[i]) + 1;
	r = xcalloc(1, sizeof *r + size);
	for (; r->n < w->endpoints.n; r->n++)
		r->ep[r->n] = host_endpoint_ref(s, &w->endpoints.v[r->n], w->tls);
	at = (char *)(r->ep + r->n);
	for (size_t i = 0; i < ARRAY_LEN(text); i++)
		(void)store_text(&at, text[i]);
	r->host_n = (uint16_t)strlen(text[0]);
	r->app_id_n = (uint8_t)strlen(text[1]);
	r->timeout_s = timeout_of(w);
	r->state = (uint8_t)w->state;
	r->answer = (uint8_t)w->answer;
	return r;
}

struct host_route *
host_route_new(const struct wire_route *w, struct host_endpoint_set *s, struct map *options)
{
	struct wire_route mains = mains_of(w), canary = canary_of(w);
	struct host_route *r = plain_new(&mains, s);

	if (!has_rare(w))
		return r;
	r->rare = rare_new(&mains, options);
	if (!has_canary(w))
		return r;
	r->rare->canary_percent = (uint8_t)w->canary_percent;
	r->rare->canary = plain_new(&canary, s);
	r->rare->canary->rare = rare_new(&canary, options);
	r->rare->canary->rare->opts = r->rare->opts; /* no reference more */
	return r;
}

static bool
weights_are(const struct host_rare *x, const struct wire_route *w)
{
	if ((x->weights != NULL) != has_weights(w))
		return false;
	for (size_t i = 0; x->weights != NULL && i < w->endpoints.n; i++) {
		if (x->weights[i] != (uint16_t)w->endpoints.v[i].weight)
			return false;
	}
	return true;
}

static bool
rare_is(const struct host_rare *x, const struct wire_route *w)
{
	AUTO(free) char *wake = join(&w->wake);
	AUTO(free) char *paths = join(&w->paths);

	if (!weights_are(x, w) || (x->opts != NULL) != has_options(w) ||
	    (x->opts != NULL && strcmp(route_options_text(x->opts), w->options) != 0))
		return false;
	return x->tls == w->tls && x->sleep == w->sleep && strcmp(x->wake, wake) == 0 &&
	       strcmp(x->paths, paths) == 0 && strcmp(x->backend, text_of(w->backend)) == 0;
}

/* But for what few routes have. */
static bool
plain_is(const struct host_route *r, const struct wire_route *w)
{
	if (r->n != w->endpoints.n || r->state != w->state || r->answer != w->answer ||
	    r->timeout_s != timeout_of(w) || strcmp(host_route_host(r), w->host) != 0 ||
	    strcmp(host_route_app_id(r), text_of(w->app_id)) != 0 ||
	    strcmp(host_route_app(r), text_of(w->app)) != 0 ||
	    strcmp(host_route_domain(r), text_of(w->domain)) != 0)
		return false;
	for (size_t i = 0; i < r->n; i++) {
		if (!host_endpoint_is(r->ep[i], &w->endpoints.v[i], w->tls))
			return false;
	}
	return true;
}

static bool
canary_is(const struct host_rare *x, const struct wire_route *w)
{
	struct wire_route canary = canary_of(w);

	if (x->canary == NULL || !has_canary(w))
		return x->canary == NULL && !has_canary(w);
	return x->canary_percent == w->canary_percent && plain_is(x->canary, &canary) &&
	       weights_are(x->canary->rare, &canary);
}

bool
host_route_is(const struct host_route *r, const struct wire_route *w)
{
	struct wire_route mains = mains_of(w);

	if (!plain_is(r, &mains) || (r->rare != NULL) != has_rare(w))
		return false;
	return r->rare == NULL || (rare_is(r->rare, &mains) && canary_is(r->rare, w));
}

void
host_route_free(struct host_route *take_r)
{
	if (take_r == NULL)
		return;
	if (take_r->rare != NULL)
		host_route_free(take_r->rare->canary);
	free(take_r->rare);
	free(take_r);
}
