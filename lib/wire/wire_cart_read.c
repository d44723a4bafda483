#include "lib/wire/wire_cart_read.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "lib/base/mem.h"
#include "lib/wire/wire_cart.h"

enum {
	TEXT_MAX = WIRE_CART_READ_TEXT_MAX,
	WORD_MAX = WIRE_CART_READ_WORD_MAX,
	LIST_MAX = WIRE_CART_READ_LIST_MAX,
	CONNECTOR_MAX = 64, /* a file name; stock cartridges of v2 went up to 35 */
};

/* The manifest while it is read: the map and the overrides of the chosen version. */
struct source {
	const struct codec_value *map;
	const struct codec_value *over; /* or NULL */
};

static const struct codec_value *
find(const struct source *s, const char *key)
{
	const struct codec_value *v = s->over == NULL ? NULL : codec_get(s->over, key);

	return v != NULL ? v : codec_get(s->map, key);
}

/* A scalar as text: quoted versions are strings, an unquoted 18 is a number. */
static char *
scalar(const struct codec_value *v)
{
	switch (codec_type(v)) {
	case CODEC_STRING:
		return xstrdup(codec_string(v));
	case CODEC_NUMBER:
		return xasprintf("%lld", (long long)codec_int(v, 0));
	case CODEC_BOOLEAN:
		return xstrdup(codec_bool(v, false) ? "true" : "false");
	default:
		return NULL;
	}
}

/* *out stays NULL when the key is absent and dflt is NULL. */
static int
read_text(const struct codec_value *v, const char *key, size_t max, const char *dflt, char **out,
    struct err *e)
{
	AUTO(free) char *s = NULL;

	if (codec_type(v) == CODEC_NULL) {
		mem_set_str(out, dflt);
		return 0;
	}
	s = scalar(v);
	if (s == NULL)
		return err_set(e, ERR_INVALID, key, "must be text");
	if (strlen(s) > max)
		return err_set(
		    e, ERR_INVALID, key, "must have at most %zu bytes, has %zu", max, strlen(s));
	free(*out);
	*out = STEAL(s);
	return 0;
}

static int
read_int(const struct codec_value *v, const char *key, int64_t min, int64_t max, int64_t dflt,
    int64_t *out, struct err *e)
{
	AUTO(free) char *s = NULL;

	if (codec_type(v) == CODEC_NULL) {
		*out = dflt;
		return 0;
	}
	s = scalar(v);
	if (s == NULL || codec_type(v) == CODEC_BOOLEAN)
		return err_set(e, ERR_INVALID, key, "must be an integer");
	return str_to_i64(str_of(s), min, max, key, out, e);
}

static bool
is_one_of(const char *s, const char *a, const char *b, const char *c)
{
	return strcasecmp(s, a) == 0 || strcasecmp(s, b) == 0 || strcasecmp(s, c) == 0;
}

static int
read_bool(const struct codec_value *v, const char *key, bool *out, struct err *e)
{
	const char *s = codec_string(v);

	if (codec_type(v) == CODEC_NULL)
		return 0;
	if (codec_type(v) == CODEC_BOOLEAN)
		*out = codec_bool(v, false);
	else if (codec_type(v) == CODEC_NUMBER)
		*out = codec_int(v, 0) != 0; /* jbossews: "websocket": 1 */
	else if (s != NULL && is_one_of(s, "true", "yes", "on"))
		*out = true;
	else if (s != NULL && is_one_of(s, "false", "no", "off"))
		*out = false;
	else
		return err_set(e, ERR_INVALID, key, "must be true or false");
	return 0;
}

/* A list of scalars; a single scalar is a list of one where may_be_one. */
static int
read_strs(const struct codec_value *v, const char *key, bool may_be_one, struct str_list *out,
    struct err *e)
{
	AUTO(free) char *one = NULL;

	if (codec_type(v) == CODEC_NULL)
		return 0;
	if (codec_type(v) != CODEC_ARRAY) {
		one = may_be_one ? scalar(v) : NULL;
		if (one == NULL)
			return err_set(e, ERR_INVALID, key, "must be a list");
		if (one[0] != '\0')
			str_list_add(out, one);
		return 0;
	}
	if (codec_count(v) > LIST_MAX)
		return err_set(e, ERR_INVALID, key, "must have at most %d items", LIST_MAX);
	for (size_t i = 0; i < codec_count(v); i++) {
		char *s = NULL;

		if (read_text(codec_at(v, i), key, WORD_MAX, NULL, &s, e) < 0)
			return -1;
		if (s == NULL)
			return err_set(e, ERR_INVALID, key, "item %zu must not be empty", i);
		str_list_take(out, s);
	}
	return 0;
}

/* NULL is fine and empty; anything else must be of the type. */
static int
expect(const struct codec_value *v, enum codec_type want, const char *key, struct err *e)
{
	if (codec_type(v) == CODEC_NULL)
		return 0;
	if (codec_type(v) != want)
		return err_set(
		    e, ERR_INVALID, key, "must be a %s", want == CODEC_ARRAY ? "list" : "map");
	if (codec_count(v) > LIST_MAX)
		return err_set(e, ERR_INVALID, key, "must have at most %d entries", LIST_MAX);
	return 0;
}

static bool
is_word_of(const char *s, size_t max, const char *inner, bool may_upper)
{
	size_t n = strlen(s);

	if (n == 0 || n > max)
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		bool is_edge = i == 0 || i == n - 1;

		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		    (may_upper && c >= 'A' && c <= 'Z'))
			continue;
		if (is_edge || strchr(inner, c) == NULL)
			return false;
	}
	return true;
}

static bool
is_word(const char *s, const char *inner, bool may_upper)
{
	return is_word_of(s, WIRE_CART_NAME_MAX, inner, may_upper);
}

/* Options of a mapping: a map of flags; `redirect: true`. */
static int
read_mapping_options(const struct codec_value *o, struct wire_cart_mapping *m, struct err *e)
{
	const struct {
		const char *key;
		bool *to;
	} flags[] = {
		{ "websocket", &m->websocket },
		{ "health", &m->health },
		{ "gone", &m->gone },
		{ "forbidden", &m->forbidden },
		{ "noproxy", &m->noproxy },
		{ "redirect", &m->redirect },
		{ "file", &m->file },
		{ "tohttps", &m->tohttps },
		{ "ssl_to_gear", &m->ssl_to_gear },
		{ "target_update", &m->target_update },
	};

	m->connections = 5;
	m->bandwidth = 100;
	if (expect(o, CODEC_OBJECT, "Options", e) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		if (read_bool(codec_get(o, flags[i].key), flags[i].key, flags[i].to, e) < 0)
			return err_field(e, "Options");
	}
	if (read_int(codec_get(o, "connections"), "connections", -1, 1000000, 5, &m->connections,
	        e) < 0 ||
	    read_int(codec_get(o, "bandwidth"), "bandwidth", -1, 1000000, 100, &m->bandwidth, e) <
	        0)
		return err_field(e, "Options");
	return 0;
}

/* A web path gets its leading '/'; others (tls) stay as they are. */
static void
add_slash(char **path, bool is_web)
{
	char *with;

	if (!is_web || (*path)[0] == '\0' || (*path)[0] == '/')
		return;
	with = xasprintf("/%s", *path);
	free(*path);
	*path = with;
}

static int
read_mappings(
    const struct codec_value *v, bool is_web, struct wire_cart_mapping_list *out, struct err *e)
{
	if (expect(v, CODEC_ARRAY, "Mappings", e) < 0)
		return -1;
	for (size_t i = 0; i < codec_count(v); i++) {
		const struct codec_value *o = codec_at(v, i);
		struct wire_cart_mapping *m = codec_list_add(&wire_cart_mapping_codec, out);

		if (codec_type(o) != CODEC_OBJECT)
			return err_set(e, ERR_INVALID, "Mappings", "item %zu must be a map", i);
		if (read_text(codec_get(o, "Frontend"), "Frontend", WORD_MAX, "", &m->frontend, e) <
		        0 ||
		    read_text(codec_get(o, "Backend"), "Backend", WORD_MAX, "", &m->backend, e) <
		        0 ||
		    read_mapping_options(codec_get(o, "Options"), m, e) < 0)
			return err_field(e, "Mappings[%zu]", i);
		add_slash(&m->frontend, is_web);
		add_slash(&m->backend, is_web);
	}
	return 0;
}

static bool
all_web(const struct str_list *protocols)
{
	for (size_t i = 0; i < protocols->n; i++) {
		const char *p = protocols->v[i];

		if (strcmp(p, "http") != 0 && strcmp(p, "https") != 0 && strcmp(p, "ws") != 0 &&
		    strcmp(p, "wss") != 0)
			return false;
	}
	return true;
}

static int
read_variable(const struct codec_value *o, const char *key, char **out, struct err *e)
{
	if (read_text(codec_get(o, key), key, 96, NULL, out, e) < 0)
		return -1;
	if (*out != NULL && !str_is_env_name(*out))
		return err_set(e, ERR_INVALID, key,
		    "must be the end of a variable's name: letters, digits and _");
	return 0;
}

/* What speaks https alone is spoken to by https. */
static void
imply_ssl_to_gear(struct wire_cart_endpoint *p)
{
	if (!str_list_has(&p->protocols, "https") || str_list_has(&p->protocols, "http"))
		return;
	for (size_t i = 0; i < p->mappings.n; i++)
		p->mappings.v[i].ssl_to_gear = true;
}

static int
read_endpoint(const struct codec_value *o, struct wire_cart_endpoint *p, struct err *e)
{
	const struct codec_value *options = codec_get(o, "Options");
	const struct codec_value *mappings = codec_get(o, "Mappings");

	if (codec_type(o) != CODEC_OBJECT)
		return err_set(e, ERR_INVALID, NULL, "an endpoint must be a map");
	if (read_variable(o, "Private-IP-Name", &p->private_ip_name, e) < 0 ||
	    read_variable(o, "Private-Port-Name", &p->private_port_name, e) < 0 ||
	    read_variable(o, "Public-Port-Name", &p->public_port_name, e) < 0 ||
	    read_variable(o, "WebSocket-Port-Name", &p->websocket_port_name, e) < 0 ||
	    read_int(codec_get(o, "Private-Port"), "Private-Port", 1, 65535, 0, &p->private_port,
	        e) < 0 ||
	    read_int(codec_get(o, "WebSocket-Port"), "WebSocket-Port", 1, 65535, 0,
	        &p->websocket_port, e) < 0 ||
	    read_text(
	        codec_get(o, "Description"), "Description", TEXT_MAX, NULL, &p->description, e) < 0)
		return -1;
	if ((p->private_ip_name == NULL) != (p->private_port_name == NULL) ||
	    (p->private_ip_name == NULL) != (p->private_port == 0))
		return err_set(e, ERR_INVALID, "Private-Port",
		    "Private-IP-Name, Private-Port-Name and Private-Port must be given together");
	if (read_strs(codec_get(o, "Protocols"), "Protocols", true, &p->protocols, e) < 0)
		return -1;
	if (p->protocols.n == 0)
		str_list_add(&p->protocols, codec_count(mappings) > 0 ? "http" : "tcp");
	if (expect(options, CODEC_OBJECT, "Options", e) < 0)
		return -1;
	if (read_bool(codec_get(options, "primary"), "primary", &p->is_primary, e) < 0 ||
	    read_bool(codec_get(options, "ssl_to_gear"), "ssl_to_gear", &p->is_ssl_to_gear, e) < 0)
		return err_field(e, "Options");
	if (read_mappings(mappings, all_web(&p->protocols), &p->mappings, e) < 0)
		return -1;
	imply_ssl_to_gear(p);
	return 0;
}

static int
read_endpoints(const struct codec_value *v, struct wire_cart *c, struct err *e)
{
	if (expect(v, CODEC_ARRAY, "Endpoints", e) < 0)
		return -1;
	for (size_t i = 0; i < codec_count(v); i++) {
		if (read_endpoint(codec_at(v, i),
		        codec_list_add(&wire_cart_endpoint_codec, &c->endpoints), e) < 0)
			return err_field(e, "Endpoints[%zu]", i);
	}
	return 0;
}

static int
read_connectors(const struct codec_value *v, const char *key, struct wire_cart_connector_list *out,
    struct err *e)
{
	if (expect(v, CODEC_OBJECT, key, e) < 0)
		return -1;
	for (size_t i = 0; i < codec_count(v); i++) {
		const char *name = NULL;
		const struct codec_value *o = codec_member(v, i, &name);
		struct wire_cart_connector *k = codec_list_add(&wire_cart_connector_codec, out);

		if (!is_word_of(name, CONNECTOR_MAX, "-_.", true))
			return err_set(e, ERR_INVALID, key,
			    "a connector's name is a file in hooks/: at most %d letters, digits, - "
			    "_ .",
			    CONNECTOR_MAX);
		if (codec_type(o) != CODEC_OBJECT || codec_type(codec_get(o, "Type")) == CODEC_NULL)
			return err_set(e, ERR_INVALID, key, "%s must be a map with a Type", name);
		k->name = xstrdup(name);
		if (read_text(codec_get(o, "Type"), "Type", WORD_MAX, NULL, &k->type, e) < 0 ||
		    read_bool(codec_get(o, "Required"), "Required", &k->is_required, e) < 0)
			return err_field(e, "%s.%s", key, name);
	}
	return 0;
}

static int
read_scaling(
    const struct codec_value *v, bool is_external, struct wire_cart_scaling *s, struct err *e)
{
	bool is_given = codec_type(v) != CODEC_NULL;

	if (expect(v, CODEC_OBJECT, "Scaling", e) < 0)
		return -1;
	if (read_int(codec_get(v, "Min"), "Min", 0, 1000000, 1, &s->min, e) < 0 ||
	    read_int(codec_get(v, "Max"), "Max", -1, 1000000, -1, &s->max, e) < 0 ||
	    read_int(codec_get(v, "Min-Managed"), "Min-Managed", 0, 1000000, is_given ? 0 : 1,
	        &s->min_managed, e) < 0 ||
	    read_int(codec_get(v, "Multiplier"), "Multiplier", -1, 1000000, 1, &s->multiplier, e) <
	        0 ||
	    read_bool(codec_get(v, "Required"), "Required", &s->is_required, e) < 0)
		return err_field(e, "Scaling");
	if (is_external) {
		s->min = s->max = 0;
		return 0;
	}
	if (s->min < 1 || s->max == 0)
		return err_set(e, ERR_INVALID, "Scaling.Min",
		    "must be at least 1: 0 gears are for external cartridges only");
	if (s->max > 0 && s->max < s->min)
		return err_set(
		    e, ERR_INVALID, "Scaling.Max", "must not be below Min, or -1 for no limit");
	return 0;
}

static int
read_component(const struct source *s, const char *name, bool is_external,
    struct wire_cart_component *p, struct err *e)
{
	p->name = xstrdup(name);
	if (read_connectors(find(s, "Publishes"), "Publishes", &p->publishes, e) < 0 ||
	    read_connectors(find(s, "Subscribes"), "Subscribes", &p->subscribes, e) < 0 ||
	    read_scaling(find(s, "Scaling"), is_external, &p->scaling, e) < 0)
		return -1;
	return 0;
}

static int
read_components(const struct source *s, struct wire_cart *c, struct err *e)
{
	const struct codec_value *v = find(s, "Components");
	bool is_external = wire_cart_has_category(c, "external");

	if (expect(v, CODEC_OBJECT, "Components", e) < 0)
		return -1;
	if (codec_count(v) == 0)
		return read_component(s, c->name, is_external,
		    codec_list_add(&wire_cart_component_codec, &c->components), e);
	for (size_t i = 0; i < codec_count(v); i++) {
		const char *name = NULL;
		struct source inner = { codec_member(v, i, &name), NULL };

		if (strlen(name) > WORD_MAX || codec_type(inner.map) != CODEC_OBJECT)
			return err_set(
			    e, ERR_INVALID, "Components", "each component must be a map");
		if (read_component(&inner, name, is_external,
		        codec_list_add(&wire_cart_component_codec, &c->components), e) < 0)
			return err_field(e, "Components.%s", name);
	}
	return 0;
}

/* Configure-Order: names, or lists of names of which any will do. */
static int
read_order(const struct codec_value *v, struct wire_cart *c, struct err *e)
{
	if (expect(v, CODEC_ARRAY, "Configure-Order", e) < 0)
		return -1;
	for (size_t i = 0; i < codec_count(v); i++) {
		struct wire_cart_any *a = codec_list_add(&wire_cart_any_codec, &c->configure_order);

		if (read_strs(codec_at(v, i), "Configure-Order", true, &a->names, e) < 0)
			return -1;
		if (a->names.n == 0)
			return err_set(
			    e, ERR_INVALID, "Configure-Order", "item %zu must not be empty", i);
	}
	return 0;
}

/* Group-Overrides: maps with `components`. */
static int
read_groups(const struct codec_value *v, struct wire_cart *c, struct err *e)
{
	if (expect(v, CODEC_ARRAY, "Group-Overrides", e) < 0)
		return -1;
	for (size_t i = 0; i < codec_count(v); i++) {
		const struct codec_value *o = codec_at(v, i);
		struct wire_cart_any *a = codec_list_add(&wire_cart_any_codec, &c->group_overrides);

		if (codec_type(o) != CODEC_OBJECT)
			return err_set(
			    e, ERR_INVALID, "Group-Overrides", "item %zu must be a map", i);
		if (read_strs(codec_get(o, "components"), "components", true, &a->names, e) < 0)
			return err_field(e, "Group-Overrides[%zu]", i);
	}
	return 0;
}

static int
read_cart_data(const struct codec_value *v, struct wire_cart *c, struct err *e)
{
	if (expect(v, CODEC_ARRAY, "Cart-Data", e) < 0)
		return -1;
	for (size_t i = 0; i < codec_count(v); i++) {
		const struct codec_value *o = codec_at(v, i);
		struct wire_cart_datum *d = codec_list_add(&wire_cart_datum_codec, &c->cart_data);

		if (read_text(codec_get(o, "Key"), "Key", WORD_MAX, "", &d->key, e) < 0 ||
		    read_text(codec_get(o, "Type"), "Type", WORD_MAX, "", &d->type, e) < 0 ||
		    read_text(
		        codec_get(o, "Description"), "Description", TEXT_MAX, "", &d->text, e) < 0)
			return err_field(e, "Cart-Data[%zu]", i);
	}
	return 0;
}

static int
read_topics(const struct codec_value *v, struct wire_cart *c, struct err *e)
{
	if (expect(v, CODEC_OBJECT, "Help-Topics", e) < 0)
		return -1;
	for (size_t i = 0; i < codec_count(v); i++) {
		const char *title = NULL;
		const struct codec_value *url = codec_member(v, i, &title);
		struct wire_cart_datum *d = codec_list_add(&wire_cart_datum_codec, &c->help_topics);

		if (strlen(title) > WORD_MAX)
			return err_set(e, ERR_INVALID, "Help-Topics", "a title is too long");
		d->key = xstrdup(title);
		d->type = xstrdup("");
		if (read_text(url, "Help-Topics", TEXT_MAX, "", &d->text, e) < 0)
			return -1;
	}
	return 0;
}

/* A map; some write a list of maps, which v2 did not mind. */
static int
read_help(const struct codec_value *v, struct wire_cart *c, struct err *e)
{
	if (codec_type(v) != CODEC_ARRAY)
		return read_topics(v, c, e);
	for (size_t i = 0; i < codec_count(v); i++) {
		if (read_topics(codec_at(v, i), c, e) < 0)
			return -1;
	}
	return 0;
}

/* Paths of the repository that neither leave it nor begin with a '/'. */
static int
check_inside(const struct str_list *l, const char *key, struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->v[i][0] == '/' || strstr(l->v[i], "..") != NULL)
			return err_set(
			    e, ERR_INVALID, key, "must hold paths inside the repository");
	}
	return 0;
}

static bool
is_absolute(const char *path)
{
	return path[0] == '/' && path[1] != '\0' && strstr(path, "..") == NULL;
}

/* Needs: a map of absolute paths to the packages that bring them. */
static int
read_needs(const struct codec_value *v, struct wire_cart_datum_list *out, struct err *e)
{
	if (expect(v, CODEC_OBJECT, "Needs", e) < 0)
		return -1;
	if (codec_count(v) > LIST_MAX)
		return err_set(e, ERR_INVALID, "Needs", "must have at most %d members", LIST_MAX);
	for (size_t i = 0; i < codec_count(v); i++) {
		const char *path = NULL;
		const struct codec_value *package = codec_member(v, i, &path);
		struct wire_cart_datum *d = codec_list_add(&wire_cart_datum_codec, out);

		if (!is_absolute(path) || strlen(path) > WORD_MAX)
			return err_set(e, ERR_INVALID, "Needs",
			    "'%.64s' must be an absolute path of the stack", path);
		d->key = xstrdup(path);
		d->type = xstrdup("");
		if (read_text(package, "Needs", WORD_MAX, "", &d->text, e) < 0)
			return -1;
	}
	return 0;
}

static int
read_pinion(const struct codec_value *v, struct wire_cart_pinion *p, struct err *e)
{
	if (expect(v, CODEC_OBJECT, "Pinion", e) < 0)
		return -1;
	p->is_given = codec_type(v) == CODEC_OBJECT;
	if (read_strs(codec_get(v, "Actions"), "Actions", false, &p->actions, e) < 0 ||
	    read_strs(codec_get(v, "Dependency-Files"), "Dependency-Files", false,
	        &p->dependency_files, e) < 0 ||
	    read_strs(codec_get(v, "Dependency-Paths"), "Dependency-Paths", false,
	        &p->dependency_paths, e) < 0 ||
	    read_strs(codec_get(v, "Build-Variables"), "Build-Variables", false,
	        &p->build_variables, e) < 0 ||
	    read_needs(codec_get(v, "Needs"), &p->needs, e) < 0 ||
	    check_inside(&p->dependency_files, "Dependency-Files", e) < 0 ||
	    check_inside(&p->dependency_paths, "Dependency-Paths", e) < 0)
		return err_field(e, "Pinion");
	return 0;
}

/* "1.2.3" is numeric; else v2 takes 0.0.0. */
static bool
is_dotted(const char *s)
{
	bool has_digit = false;

	for (; *s != '\0'; s++) {
		if (*s == '.' && has_digit)
			has_digit = false;
		else if (isdigit((unsigned char)*s))
			has_digit = true;
		else
			return false;
	}
	return has_digit;
}

static void
squeeze_vendor(char *s)
{
	char *to = s;

	for (; *s != '\0'; s++) {
		if (!isspace((unsigned char)*s))
			*to++ = (char)tolower((unsigned char)*s);
	}
	*to = '\0';
}

static int
read_version(const struct source *s, const char *version, struct wire_cart *c, struct err *e)
{
	char *own = NULL;
	int rc;

	if (read_text(codec_get(s->map, "Version"), "Version", WIRE_CART_NAME_MAX, NULL, &own, e) <
	    0)
		return -1;
	c->version = own == NULL ? NULL : xstrdup(version == NULL ? own : version);
	rc = own == NULL
	         ? err_set(e, ERR_INVALID, "Version", "is required: the software's version, quoted")
	         : read_strs(codec_get(s->map, "Versions"), "Versions", false, &c->versions, e);
	if (rc == 0 && !str_list_has(&c->versions, own))
		str_list_add(&c->versions, own);
	free(own);
	if (rc < 0)
		return -1;
	for (size_t i = 0; i < c->versions.n; i++) {
		if (!is_word(c->versions.v[i], "-._+~", true))
			return err_set(e, ERR_INVALID, "Versions",
			    "a version has letters, digits and . - _ + ~, at most %d",
			    WIRE_CART_NAME_MAX);
	}
	if (!str_list_has(&c->versions, c->version))
		return err_set(e, ERR_INVALID, "Versions", "version %s is not listed", c->version);
	return 0;
}

static int
read_identity(const struct source *s, struct wire_cart *c, struct err *e)
{
	if (read_text(find(s, "Name"), "Name", WORD_MAX, NULL, &c->name, e) < 0 ||
	    read_text(find(s, "Cartridge-Short-Name"), "Cartridge-Short-Name", WIRE_CART_NAME_MAX,
	        NULL, &c->short_name, e) < 0 ||
	    read_text(find(s, "Cartridge-Version"), "Cartridge-Version", WIRE_CART_NAME_MAX,
	        "0.0.0", &c->cart_version, e) < 0 ||
	    read_text(find(s, "Cartridge-Vendor"), "Cartridge-Vendor", WORD_MAX, "unknown",
	        &c->cart_vendor, e) < 0)
		return -1;
	if (c->name == NULL || !is_word(c->name, "-._", false))
		return err_set(e, ERR_INVALID, "Name",
		    "is required: 1 to %d lower-case letters, digits and - . _ inside",
		    WIRE_CART_NAME_MAX);
	if (strcmp(c->name, "app-root") == 0 || strcmp(c->name, "git") == 0)
		return err_set(e, ERR_INVALID, "Name", "'%s' is reserved: choose another", c->name);
	if (c->short_name == NULL || strchr(c->short_name, '-') != NULL ||
	    !is_word(c->short_name, "_", true))
		return err_set(e, ERR_INVALID, "Cartridge-Short-Name",
		    "is required: letters, digits and _ (no '-'); it becomes part of variable "
		    "names");
	for (char *p = c->short_name; *p != '\0'; p++)
		*p = (char)toupper((unsigned char)*p);
	squeeze_vendor(c->cart_vendor);
	if (!is_word(c->cart_vendor, "_", false))
		return err_set(e, ERR_INVALID, "Cartridge-Vendor",
		    "must have 1 to %d letters, digits and _ inside", WIRE_CART_NAME_MAX);
	if (!is_dotted(c->cart_version))
		mem_set_str(&c->cart_version, "0.0.0");
	return 0;
}

static int
read_texts(const struct source *s, struct wire_cart *c, struct err *e)
{
	AUTO(free)
	char *display = xasprintf(
	    "%s-%s-%s", c->name, c->version, c->architecture == NULL ? "noarch" : c->architecture);
	const struct {
		const char *key;
		size_t max;
		const char *dflt;
		char **to;
	} texts[] = {
		{ "Vendor", WORD_MAX, "unknown", &c->vendor },
		{ "Display-Name", WORD_MAX, display, &c->display_name },
		{ "Description", TEXT_MAX, "", &c->description },
		{ "Website", TEXT_MAX, "", &c->website },
		{ "License", WORD_MAX, "unknown", &c->license },
		{ "License-Url", TEXT_MAX, "", &c->license_url },
		{ "Platform", WORD_MAX, "linux", &c->platform },
		{ "Source-Url", TEXT_MAX, NULL, &c->source_url },
		{ "Source-Md5", WORD_MAX, NULL, &c->source_md5 },
		{ "Source-Sha256", WORD_MAX, NULL, &c->source_sha256 },
		{ "Id", WORD_MAX, NULL, &c->id },
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (read_text(find(s, texts[i].key), texts[i].key, texts[i].max, texts[i].dflt,
		        texts[i].to, e) < 0)
			return -1;
	}
	return 0;
}

static int
read_lists(const struct source *s, struct wire_cart *c, struct err *e)
{
	const struct {
		const char *key;
		bool may_be_one;
		struct str_list *to;
	} lists[] = {
		{ "Categories", false, &c->categories },
		{ "Provides", true, &c->provides },
		{ "Requires", true, &c->requires },
		{ "Conflicts", true, &c->conflicts },
		{ "Suggests", true, &c->suggests },
		{ "Native-Requires", true, &c->native_requires },
		{ "Compatible-Versions", false, &c->compatible_versions },
		{ "Additional-Control-Actions", false, &c->control_actions },
		{ "Metrics", false, &c->metrics },
	};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		if (read_strs(find(s, lists[i].key), lists[i].key, lists[i].may_be_one, lists[i].to,
		        e) < 0)
			return -1;
	}
	return 0;
}

static int
check_categories(const struct wire_cart *c, struct err *e)
{
	static const char *const system[] = { "web_framework", "service", "embedded", "plugin",
		"web_proxy", "ci_builder", "external" };
	bool has_system = false;

	for (size_t i = 0; i < ARRAY_LEN(system); i++)
		has_system = has_system || str_list_has(&c->categories, system[i]);
	if (!has_system)
		return err_set(e, ERR_INVALID, "Categories",
		    "must hold one of web_framework, service, embedded, plugin, web_proxy, "
		    "ci_builder, external");
	if (wire_cart_is_web(c) && str_list_has(&c->categories, "external"))
		return err_set(
		    e, ERR_INVALID, "Categories", "web_framework and external exclude each other");
	return 0;
}

int
wire_cart_read(
    const struct codec_value *doc, const char *version, struct wire_cart *c, struct err *e)
{
	struct source s = { doc, NULL };
	const struct codec_value *overrides = codec_get(doc, "Version-Overrides");

	if (codec_type(doc) != CODEC_OBJECT)
		return err_set(e, ERR_INVALID, NULL, "a manifest must be a map of keys");
	if (read_version(&s, version, c, e) < 0 ||
	    expect(overrides, CODEC_OBJECT, "Version-Overrides", e) < 0)
		return -1;
	s.over = codec_get(overrides, c->version);
	if (expect(s.over, CODEC_OBJECT, "Version-Overrides", e) < 0 ||
	    read_identity(&s, c, e) < 0 ||
	    read_text(find(&s, "Architecture"), "Architecture", WORD_MAX, "noarch",
	        &c->architecture, e) < 0 ||
	    read_texts(&s, c, e) < 0 || read_lists(&s, c, e) < 0 || check_categories(c, e) < 0 ||
	    read_endpoints(find(&s, "Endpoints"), c, e) < 0 || read_components(&s, c, e) < 0 ||
	    read_order(find(&s, "Configure-Order"), c, e) < 0 ||
	    read_groups(find(&s, "Group-Overrides"), c, e) < 0 ||
	    read_cart_data(find(&s, "Cart-Data"), c, e) < 0 ||
	    read_help(find(&s, "Help-Topics"), c, e) < 0 ||
	    read_pinion(find(&s, "Pinion"), &c->pinion, e) < 0 ||
	    read_bool(find(&s, "Install-Build-Required"), "Install-Build-Required",
	        &c->install_build_required, e) < 0 ||
	    read_bool(find(&s, "Obsolete"), "Obsolete", &c->is_obsolete, e) < 0)
		return -1;
	return 0;
}
