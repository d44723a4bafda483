/* Manifests and managed_files.yml. What is accepted keeps its promises, and survives a trip through
 * JSON. */
#include "test/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/wire/wire_cart.h"
#include "lib/wire/wire_managed.h"

static void
check_cart(const struct wire_cart *c)
{
	AUTO_FINI(wire_cart_fini) struct wire_cart again = { 0 };
	AUTO(free) char *json = codec_to_json(&wire_cart_codec, c);
	AUTO(free) char *full = wire_cart_full_name(c);
	AUTO(free) char *ident = wire_cart_ident(c);
	struct err e = { 0 };
	size_t colons = 0;

	for (const char *p = ident; *p != '\0'; p++)
		colons += *p == ':';
	check(colons == 3);
	check(strchr(c->name, '/') == NULL && c->name[0] != '.' &&
	      strlen(c->name) <= WIRE_CART_NAME_MAX);
	check(str_list_has(&c->versions, c->version) && c->components.n > 0);
	check(strchr(c->version, '/') == NULL);
	if (str_is_utf8(json, strlen(json))) {
		check(codec_decode(&wire_cart_codec, json, strlen(json), &again, 0, &e) == 0);
		check(codec_equal(&wire_cart_codec, c, &again));
	}
}

static void
check_inside(const struct str_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		check(l->v[i][0] != '/' && strncmp(l->v[i], "../", 3) != 0 &&
		      strstr(l->v[i], "/../") == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	AUTO_FINI(wire_cart_fini) struct wire_cart c = { 0 };
	AUTO_FINI(wire_managed_fini) struct wire_managed m = { 0 };
	const char *text = n == 0 ? "" : (const char *)data;
	struct err e = { 0 };

	if (wire_cart_parse(text, n, NULL, &c, &e) == 0)
		check_cart(&c);
	else
		check(e.code != ERR_NONE && e.text[0] != '\0');
	e = (struct err){ 0 };
	if (wire_managed_parse(text, n, "mock", "MOCK", &m, &e) == 0) {
		check_inside(&m.locked_files);
		check_inside(&m.processed_templates);
		check_inside(&m.snapshot_exclusions);
	} else {
		check(e.code != ERR_NONE && e.text[0] != '\0');
	}
	return 0;
}
