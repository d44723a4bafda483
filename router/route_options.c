#include "router/route_options.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"

static int
add_networks(const struct str_list *from, struct cidr_list *to, struct err *e)
{
	for (size_t i = 0; i < from->n; i++) {
		if (cidr_list_add(to, str_of(from->v[i]), e) < 0)
			return -1;
	}
	return 0;
}

static void
options_free(struct route_options *o)
{
	free(o->text);
	free(o->hsts);
	wire_routing_fini(&o->set);
	cidr_list_fini(&o->allow);
	cidr_list_fini(&o->maintenance_allow);
	free(o);
}

/* RFC 6797 6.1 */
static char *
hsts_of(const struct wire_routing *set)
{
	if (set->hsts_s == 0)
		return NULL;
	return xasprintf("max-age=%lld%s%s", (long long)set->hsts_s,
	    set->hsts_subdomains ? "; includeSubDomains" : "",
	    set->hsts_preload ? "; preload" : "");
}

static int
options_fill(struct route_options *o, const char *text, struct err *e)
{
	if (codec_decode(&wire_routing_codec, text, strlen(text), &o->set, CODEC_IGNORE, e) < 0 ||
	    wire_routing_check(&o->set, e) < 0 || add_networks(&o->set.allow, &o->allow, e) < 0 ||
	    add_networks(&o->set.maintenance_allow, &o->maintenance_allow, e) < 0)
		return err_field(e, "options");
	o->hsts = hsts_of(&o->set);
	return 0;
}

int
route_options_check(const char *text, struct err *e)
{
	struct route_options *o;
	int rc;

	if (text == NULL)
		return 0;
	o = xcalloc(1, sizeof *o);
	rc = options_fill(o, text, e);
	options_free(o);
	return rc;
}

static uint64_t
id_of(const char *app_id, const char *text)
{
	uint8_t out[32];
	uint64_t id;
	const char *name = app_id == NULL || *app_id == '\0' ? text : app_id;

	secret_hmac("", 0, name, strlen(name), out);
	memcpy(&id, out, sizeof id);
	return id;
}

struct map *
route_options_all(void)
{
	return map_new(NULL);
}

struct route_options *
route_options_get(struct map *all, const char *app_id, const char *text)
{
	AUTO(free) char *key = NULL;
	struct route_options *o;
	struct err e = { 0 };

	if (text == NULL || strcmp(text, "{}") == 0)
		return NULL;
	key = xasprintf("%s %s", app_id == NULL ? "" : app_id, text);
	o = map_get(all, key);
	if (o == NULL) {
		o = xcalloc(1, sizeof *o);
		if (options_fill(o, text, &e) < 0)
			abort(); /* was checked before */
		o->text = STEAL(key);
		o->id = id_of(app_id, text);
		atomic_init(&o->refs, 1);
		map_set(all, o->text, o);
	}
	o->routes++;
	return o;
}

const char *
route_options_text(const struct route_options *o)
{
	return strchr(o->text, ' ') + 1;
}

bool
route_options_drop(struct map *all, struct route_options *o)
{
	if (o == NULL || --o->routes != 0)
		return false;
	(void)map_take(all, o->text);
	return true;
}

const struct route_options *
route_options_ref(const struct route_options *o)
{
	atomic_fetch_add_explicit(&((struct route_options *)o)->refs, 1, memory_order_relaxed);
	return o;
}

void
route_options_unref(const struct route_options *take_o)
{
	struct route_options *o = (struct route_options *)take_o;

	if (o != NULL && atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) == 1)
		options_free(o);
}
