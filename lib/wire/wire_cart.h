/* lib/wire/wire_cart.h: a cartridge's manifest.yml (OpenShift v2 format). Types, parser and rules;
 * no I/O. Broker (catalogue) and node (install, actions) read the same struct. */
#pragma once

#include "lib/codec/codec.h"

enum {
	WIRE_CART_MANIFEST_MAX = 64 * 1024, /* bytes of a manifest.yml on disk */
	WIRE_CART_DOWNLOAD_MAX = 20480,     /* bytes of one that comes from a URL, as v2 */
	WIRE_CART_NAME_MAX = 32,
};

struct wire_cart_mapping {
	char *frontend; /* path; "" is the application's root mapping */
	char *backend;
	bool websocket, health, gone, forbidden, noproxy, redirect, file, tohttps, ssl_to_gear,
	    target_update;
	int64_t connections; /* of websocket; default 5, -1 unlimited */
	int64_t bandwidth;   /* of websocket; default 100 */
};
DECLARE_CODEC(wire_cart_mapping, struct wire_cart_mapping)
struct wire_cart_mapping_list {
	struct wire_cart_mapping *v;
	size_t n;
};

struct wire_cart_endpoint {
	char *
	    private_ip_name; /* variable OPENSHIFT_<SHORT>_<it>; NULL when it has no private trio */
	char *private_port_name;
	int64_t private_port;      /* 0: none */
	char *public_port_name;    /* or NULL */
	char *websocket_port_name; /* or NULL */
	int64_t websocket_port;    /* 0: none */
	struct str_list protocols;
	struct wire_cart_mapping_list mappings;
	bool is_primary;     /* Options: primary */
	bool is_ssl_to_gear; /* Options: ssl_to_gear */
	char *description;
};
DECLARE_CODEC(wire_cart_endpoint, struct wire_cart_endpoint)
struct wire_cart_endpoint_list {
	struct wire_cart_endpoint *v;
	size_t n;
};

struct wire_cart_connector { /* of Publishes or Subscribes */
	char *name;
	char *type;       /* "ENV:NET_TCP:db:connection-info" */
	bool is_required; /* Subscribes only */
};
DECLARE_CODEC(wire_cart_connector, struct wire_cart_connector)
struct wire_cart_connector_list {
	struct wire_cart_connector *v;
	size_t n;
};

struct wire_cart_scaling {
	int64_t min, max; /* max -1: no limit; both 0 only for external */
	int64_t min_managed;
	int64_t multiplier; /* not 1: sparse */
	bool is_required;   /* the application must be scalable */
};
DECLARE_CODEC(wire_cart_scaling, struct wire_cart_scaling)

struct wire_cart_component {
	char *name;
	struct wire_cart_connector_list publishes, subscribes;
	struct wire_cart_scaling scaling;
};
DECLARE_CODEC(wire_cart_component, struct wire_cart_component)
struct wire_cart_component_list {
	struct wire_cart_component *v;
	size_t n;
};

struct wire_cart_any { /* an item of Configure-Order or Group-Overrides: one or more names */
	struct str_list names;
};
DECLARE_CODEC(wire_cart_any, struct wire_cart_any)
struct wire_cart_any_list {
	struct wire_cart_any *v;
	size_t n;
};

struct wire_cart_datum { /* of Cart-Data: key, type, text; of Help-Topics: title, "", URL */
	char *key;
	char *type;
	char *text;
};
DECLARE_CODEC(wire_cart_datum, struct wire_cart_datum)
struct wire_cart_datum_list {
	struct wire_cart_datum *v;
	size_t n;
};

/* The `Pinion` map of a manifest, unknown to v2: what lets work be skipped. */
struct wire_cart_pinion {
	bool is_given;           /* without it: every action is called, nothing is reused */
	struct str_list actions; /* control actions that do anything */
	struct str_list dependency_files;  /* in the repository: part of the dependency key */
	struct str_list dependency_paths;  /* in the repository: go into the dependency layer */
	struct str_list build_variables;   /* names, or PREFIX_*: part of the key */
	struct wire_cart_datum_list needs; /* key: absolute path of a program or file of the stack;
	                                      text: the package that brings it */
};
DECLARE_CODEC(wire_cart_pinion, struct wire_cart_pinion)

/* One cartridge at one software version, overrides applied. Strings are never NULL but where said.
 */
struct wire_cart {
	char *name;       /* "nodejs": id and directory name in the gear */
	char *short_name; /* "NODEJS", upper case: OPENSHIFT_<SHORT>_… */
	char *version;    /* of the software: "18" */
	struct str_list versions;
	char *cart_version; /* "0.1.0" */
	struct str_list compatible_versions;
	char *cart_vendor; /* lower case, without white space */
	char *vendor;
	char *display_name, *description, *website, *license, *license_url;
	char *architecture, *platform;
	struct str_list categories, provides, requires, conflicts, suggests, native_requires;
	struct wire_cart_any_list configure_order;
	struct wire_cart_component_list components; /* at least one */
	struct wire_cart_any_list group_overrides;
	struct wire_cart_endpoint_list endpoints;
	struct str_list control_actions; /* Additional-Control-Actions */
	char *source_url, *source_md5;   /* or NULL */
	char *source_sha256;             /* or NULL; ours */
	bool install_build_required, is_obsolete;
	struct wire_cart_datum_list cart_data, help_topics;
	struct str_list metrics;
	char *id; /* or NULL */
	struct wire_cart_pinion pinion;
};
DECLARE_CODEC(wire_cart, struct wire_cart)

/* One manifest.yml of n bytes, for software version `version` (NULL: its own `Version`), into out
 * (zeroed). Unknown keys are ignored. ERR_INVALID: the key in e->field and the fix in e->text;
 * ERR_LIMIT: too large. */
int wire_cart_parse(const char *yaml, size_t n, const char *version, struct wire_cart *out,
    struct err *e) MUST_CHECK;
/* What a manifest from a URL must hold beyond that: a Source-Url (unless external), and a vendor
 * other than those of stock cartridges. */
int wire_cart_check_download(const struct wire_cart *c, struct err *e) MUST_CHECK;

bool wire_cart_has_category(const struct wire_cart *c, const char *category);
bool wire_cart_is_web(const struct wire_cart *c); /* web_framework */
/* Does it run in an instance of its own? Web frameworks of v2 say `service` too, and what listens
 * nowhere belongs beside the web framework, whose files and processes it looks at. */
bool wire_cart_is_service(const struct wire_cart *c);
/* Whether the software is spoken to by TLS: where that mapping leads, and for what no other takes.
 */
bool wire_cart_mapping_is_tls(const struct wire_cart_mapping *m);
bool wire_cart_root_is_tls(const struct wire_cart_endpoint *ep);
/* The broker's identifier: Name-Version when stock (vendor redhat or pinion, or none), else
 * vendor-Name-Version. Caller owns. */
char *wire_cart_full_name(const struct wire_cart *c);
/* vendor:Name:Version:Cartridge-Version, the value of OPENSHIFT_<SHORT>_IDENT. Caller owns. */
char *wire_cart_ident(const struct wire_cart *c);
/* -1, 0, 1 as a is older than, equal to, newer than b: by dotted parts, numbers as numbers. */
int wire_cart_version_cmp(const char *a, const char *b);
