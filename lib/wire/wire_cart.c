#include "lib/wire/wire_cart.h"

#include <string.h>

#include "lib/base/mem.h"
#include "lib/codec/codec_yaml.h"
#include "lib/wire/wire_cart_read.h"

enum {
	TEXT_MAX = WIRE_CART_READ_TEXT_MAX,
	WORD_MAX = WIRE_CART_READ_WORD_MAX,
	LIST_MAX = WIRE_CART_READ_LIST_MAX,
};

static const struct codec_field mapping_fields[] = {
	CODEC_STR(struct wire_cart_mapping, frontend, WORD_MAX, 0),
	CODEC_STR(struct wire_cart_mapping, backend, WORD_MAX, 0),
	CODEC_BOOL(struct wire_cart_mapping, websocket, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_cart_mapping, health, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_cart_mapping, gone, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_cart_mapping, forbidden, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_cart_mapping, noproxy, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_cart_mapping, redirect, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_cart_mapping, file, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_cart_mapping, tohttps, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_cart_mapping, ssl_to_gear, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_cart_mapping, target_update, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_cart_mapping, connections, -1, 1000000, 0),
	CODEC_INT(struct wire_cart_mapping, bandwidth, -1, 1000000, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_cart_mapping, struct wire_cart_mapping, mapping_fields)

static const struct codec_field endpoint_fields[] = {
	CODEC_STR(struct wire_cart_endpoint, private_ip_name, WORD_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_cart_endpoint, private_port_name, WORD_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_cart_endpoint, private_port, 0, 65535, 0),
	CODEC_STR(struct wire_cart_endpoint, public_port_name, WORD_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_cart_endpoint, websocket_port_name, WORD_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_cart_endpoint, websocket_port, 0, 65535, 0),
	CODEC_STRS(struct wire_cart_endpoint, protocols, LIST_MAX, 0),
	CODEC_LIST(struct wire_cart_endpoint, mappings, &wire_cart_mapping_codec, LIST_MAX, 0),
	CODEC_BOOL(struct wire_cart_endpoint, is_primary, 0),
	CODEC_BOOL(struct wire_cart_endpoint, is_ssl_to_gear, 0),
	CODEC_STR(struct wire_cart_endpoint, description, TEXT_MAX, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_cart_endpoint, struct wire_cart_endpoint, endpoint_fields)

static const struct codec_field connector_fields[] = {
	CODEC_STR(struct wire_cart_connector, name, WORD_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_cart_connector, type, WORD_MAX, CODEC_REQUIRED),
	CODEC_BOOL(struct wire_cart_connector, is_required, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_cart_connector, struct wire_cart_connector, connector_fields)

static const struct codec_field scaling_fields[] = {
	CODEC_INT(struct wire_cart_scaling, min, 0, 1000000, 0),
	CODEC_INT(struct wire_cart_scaling, max, -1, 1000000, 0),
	CODEC_INT(struct wire_cart_scaling, min_managed, 0, 1000000, 0),
	CODEC_INT(struct wire_cart_scaling, multiplier, -1, 1000000, 0),
	CODEC_BOOL(struct wire_cart_scaling, is_required, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_cart_scaling, struct wire_cart_scaling, scaling_fields)

static const struct codec_field component_fields[] = {
	CODEC_STR(struct wire_cart_component, name, WORD_MAX, CODEC_REQUIRED),
	CODEC_LIST(struct wire_cart_component, publishes, &wire_cart_connector_codec, LIST_MAX, 0),
	CODEC_LIST(struct wire_cart_component, subscribes, &wire_cart_connector_codec, LIST_MAX, 0),
	CODEC_OBJ(struct wire_cart_component, scaling, &wire_cart_scaling_codec, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_cart_component, struct wire_cart_component, component_fields)

static const struct codec_field any_fields[] = {
	CODEC_STRS(struct wire_cart_any, names, LIST_MAX, CODEC_REQUIRED),
	CODEC_END,
};
DEFINE_CODEC(wire_cart_any, struct wire_cart_any, any_fields)

static const struct codec_field datum_fields[] = {
	CODEC_STR(struct wire_cart_datum, key, WORD_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_cart_datum, type, WORD_MAX, 0),
	CODEC_STR(struct wire_cart_datum, text, TEXT_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_cart_datum, struct wire_cart_datum, datum_fields)

static const struct codec_field pinion_fields[] = {
	CODEC_BOOL(struct wire_cart_pinion, is_given, 0),
	CODEC_STRS(struct wire_cart_pinion, actions, LIST_MAX, 0),
	CODEC_STRS(struct wire_cart_pinion, dependency_files, LIST_MAX, 0),
	CODEC_STRS(struct wire_cart_pinion, dependency_paths, LIST_MAX, 0),
	CODEC_STRS(struct wire_cart_pinion, build_variables, LIST_MAX, 0),
	CODEC_LIST(struct wire_cart_pinion, needs, &wire_cart_datum_codec, LIST_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_cart_pinion, struct wire_cart_pinion, pinion_fields)

static const struct codec_field cart_fields[] = {
	CODEC_STR(struct wire_cart, name, WIRE_CART_NAME_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_cart, short_name, WIRE_CART_NAME_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_cart, version, WIRE_CART_NAME_MAX, CODEC_REQUIRED),
	CODEC_STRS(struct wire_cart, versions, LIST_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_cart, cart_version, WIRE_CART_NAME_MAX, CODEC_REQUIRED),
	CODEC_STRS(struct wire_cart, compatible_versions, LIST_MAX, 0),
	CODEC_STR(struct wire_cart, cart_vendor, WIRE_CART_NAME_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_cart, vendor, WORD_MAX, 0),
	CODEC_STR(struct wire_cart, display_name, WORD_MAX, 0),
	CODEC_STR(struct wire_cart, description, TEXT_MAX, 0),
	CODEC_STR(struct wire_cart, website, TEXT_MAX, 0),
	CODEC_STR(struct wire_cart, license, WORD_MAX, 0),
	CODEC_STR(struct wire_cart, license_url, TEXT_MAX, 0),
	CODEC_STR(struct wire_cart, architecture, WORD_MAX, 0),
	CODEC_STR(struct wire_cart, platform, WORD_MAX, 0),
	CODEC_STRS(struct wire_cart, categories, LIST_MAX, 0),
	CODEC_STRS(struct wire_cart, provides, LIST_MAX, 0),
	CODEC_STRS(struct wire_cart, requires, LIST_MAX, 0),
	CODEC_STRS(struct wire_cart, conflicts, LIST_MAX, 0),
	CODEC_STRS(struct wire_cart, suggests, LIST_MAX, 0),
	CODEC_STRS(struct wire_cart, native_requires, LIST_MAX, 0),
	CODEC_LIST(struct wire_cart, configure_order, &wire_cart_any_codec, LIST_MAX, 0),
	CODEC_LIST(struct wire_cart, components, &wire_cart_component_codec, LIST_MAX, 0),
	CODEC_LIST(struct wire_cart, group_overrides, &wire_cart_any_codec, LIST_MAX, 0),
	CODEC_LIST(struct wire_cart, endpoints, &wire_cart_endpoint_codec, LIST_MAX, 0),
	CODEC_STRS(struct wire_cart, control_actions, LIST_MAX, 0),
	CODEC_STR(struct wire_cart, source_url, TEXT_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_cart, source_md5, WORD_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_cart, source_sha256, WORD_MAX, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_cart, install_build_required, 0),
	CODEC_BOOL(struct wire_cart, is_obsolete, 0),
	CODEC_LIST(struct wire_cart, cart_data, &wire_cart_datum_codec, LIST_MAX, 0),
	CODEC_LIST(struct wire_cart, help_topics, &wire_cart_datum_codec, LIST_MAX, 0),
	CODEC_STRS(struct wire_cart, metrics, LIST_MAX, 0),
	CODEC_STR(struct wire_cart, id, WORD_MAX, CODEC_OMIT_NULL),
	CODEC_OBJ(struct wire_cart, pinion, &wire_cart_pinion_codec, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_cart, struct wire_cart, cart_fields)

int
wire_cart_parse(
    const char *yaml, size_t n, const char *version, struct wire_cart *out, struct err *e)
{
	AUTO_FINI(wire_cart_fini) struct wire_cart c = { 0 };
	struct codec_value *doc;
	int rc;

	if (n > WIRE_CART_MANIFEST_MAX)
		return err_set(
		    e, ERR_LIMIT, NULL, "a manifest has at most %d bytes", WIRE_CART_MANIFEST_MAX);
	doc = codec_yaml_parse(yaml, n, e);
	if (doc == NULL)
		return -1;
	rc = wire_cart_read(doc, version, &c, e);
	codec_value_free(doc);
	if (rc < 0)
		return -1;
	*out = c;
	c = (struct wire_cart){ 0 };
	return 0;
}

static bool
is_stock_vendor(const char *vendor)
{
	return strcmp(vendor, "redhat") == 0 || strcmp(vendor, "pinion") == 0;
}

int
wire_cart_check_download(const struct wire_cart *c, struct err *e)
{
	if (is_stock_vendor(c->cart_vendor))
		return err_set(e, ERR_INVALID, "Cartridge-Vendor",
		    "'%s' is reserved for stock cartridges: use your own", c->cart_vendor);
	if (c->source_url == NULL && !wire_cart_has_category(c, "external"))
		return err_set(
		    e, ERR_INVALID, "Source-Url", "is required: an absolute URL of the cartridge");
	return 0;
}

bool
wire_cart_has_category(const struct wire_cart *c, const char *category)
{
	return str_list_has(&c->categories, category);
}

/* The first of v2's options that says something counts. */
bool
wire_cart_mapping_is_tls(const struct wire_cart_mapping *m)
{
	return m->ssl_to_gear && !m->gone && !m->forbidden && !m->noproxy && !m->health &&
	       !m->redirect && !m->file && !m->tohttps;
}

bool
wire_cart_root_is_tls(const struct wire_cart_endpoint *ep)
{
	for (size_t i = 0; i < ep->mappings.n; i++) {
		if (ep->mappings.v[i].frontend[0] == '\0')
			return wire_cart_mapping_is_tls(&ep->mappings.v[i]);
	}
	return false;
}

bool
wire_cart_is_web(const struct wire_cart *c)
{
	return wire_cart_has_category(c, "web_framework");
}

bool
wire_cart_is_service(const struct wire_cart *c)
{
	return wire_cart_has_category(c, "service") && !wire_cart_is_web(c) && c->endpoints.n > 0;
}

char *
wire_cart_full_name(const struct wire_cart *c)
{
	if (c->cart_vendor[0] == '\0' || is_stock_vendor(c->cart_vendor))
		return xasprintf("%s-%s", c->name, c->version);
	return xasprintf("%s-%s-%s", c->cart_vendor, c->name, c->version);
}

char *
wire_cart_ident(const struct wire_cart *c)
{
	return xasprintf("%s:%s:%s:%s", c->cart_vendor, c->name, c->version, c->cart_version);
}

int
wire_cart_version_cmp(const char *a, const char *b)
{
	while (*a != '\0' || *b != '\0') {
		size_t na = strcspn(a, "."), nb = strcspn(b, ".");
		const char *pa = a, *pb = b;
		size_t la, lb;
		int d;

		while (na > 1 && pa[0] == '0')
			pa++, na--;
		while (nb > 1 && pb[0] == '0')
			pb++, nb--;
		la = strspn(pa, "0123456789");
		lb = strspn(pb, "0123456789");
		if (la == na && lb == nb && na != nb)
			return na < nb ? -1 : 1;
		d = memcmp(pa, pb, na < nb ? na : nb);
		if (d != 0)
			return d < 0 ? -1 : 1;
		if (na != nb)
			return na < nb ? -1 : 1;
		a = pa + na + (pa[na] == '.');
		b = pb + nb + (pb[nb] == '.');
	}
	return 0;
}
