#include "broker/api_link.h"

#include <stddef.h>
#include <string.h>

#include "broker/api_call.h"
#include "broker/broker.h"

/* Clients look here whether cartridges may come by their address. */
static bool
is_offered(const struct api_call *c, const struct api_link_param *p)
{
	return c->b->conf.download_cartridges ||
	       (strcmp(p->name, "url") != 0 && strcmp(p->name, "cartridges[][url]") != 0);
}

static void
write_params(const struct api_call *c, struct api_json *j, const char *key,
    const struct api_link_param *p, bool is_optional)
{
	api_json_arr(j, key);
	for (; p != NULL && p->name != NULL; p++) {
		if (!is_offered(c, p))
			continue;
		api_json_obj(j, NULL);
		api_json_str(j, "name", p->name);
		api_json_str(j, "type", p->type);
		api_json_str(j, "description", p->description);
		api_json_raw(j, "valid_options", p->valid == NULL ? "[]" : p->valid);
		if (is_optional)
			api_json_raw(j, "default_value", p->dflt == NULL ? "null" : p->dflt);
		else
			api_json_raw(j, "invalid_options", "[]");
		api_json_end_obj(j);
	}
	api_json_end_arr(j);
}

void
api_link_map(const struct api_call *c, struct api_json *j, const char *key,
    const struct api_link *links, const char *base)
{
	api_json_obj(j, key);
	for (const struct api_link *l = links; l->key != NULL; l++) {
		if (c->minor < l->min_minor || (l->max_minor > 0 && c->minor > l->max_minor))
			continue;
		api_json_obj(j, l->key);
		api_json_str(j, "rel", l->rel);
		api_json_str(j, "method", l->method);
		api_json_fmt(j, "href", "%s/broker/rest/%s%s", c->root, base, l->path);
		write_params(c, j, "required_params", l->required, false);
		write_params(c, j, "optional_params", l->optional, true);
		api_json_end_obj(j);
	}
	api_json_end_obj(j);
}

void
api_link_write(
    const struct api_call *c, struct api_json *j, const struct api_link *links, const char *base)
{
	if (!c->no_links)
		api_link_map(c, j, "links", links, base);
}
