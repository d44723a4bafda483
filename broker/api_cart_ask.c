/* Cartridges as calls name them: "php-5.4", ["php", {"name": …}, {"url": …}]. */
#include "broker/api_cart_ask.h"

#include <inttypes.h>
#include <string.h>

#include "broker/api_call.h"
#include "broker/broker.h"
#include "broker/cart_rules.h"
#include "broker/gear_disk.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_user.h"

enum { WORD_MAX = 128, URL_MAX = 2048, ASKED_MAX = 20, EXIT_SCALES = 168, EXIT_STORAGE = 165 };

static int
text(const struct codec_value *v, const char *key, size_t max, char **out, struct err *e)
{
	const struct codec_value *x = codec_get(v, key);
	const char *s = NULL;

	if (x == NULL || codec_type(x) == CODEC_NULL)
		return 0;
	if (api_param_as_str(x, key, max, &s, e) < 0)
		return -1;
	if (s != NULL && *s != '\0')
		mem_set_str(out, s);
	return 0;
}

/* A number, or digits in a string. */
static int
number(const struct codec_value *v, const char *key, int64_t min, int64_t *out, struct err *e)
{
	const struct codec_value *x = codec_get(v, key);
	const char *s = codec_string(x);

	if (x == NULL || codec_type(x) == CODEC_NULL || (s != NULL && *s == '\0'))
		return 0;
	if (s != NULL)
		return str_to_i64(str_of(s), min, INT32_MAX, key, out, e);
	if (codec_type(x) != CODEC_NUMBER)
		return err_set(e, ERR_INVALID, key, "The parameter '%s' must be a number.", key);
	*out = codec_int(x, 0);
	if (*out < min || *out > INT32_MAX)
		return err_set(e, ERR_INVALID, key,
		    "The parameter '%s' must be %" PRId64 " or more.", key, min);
	return 0;
}

static bool
fail(struct api_call *c, const struct err *e, int exit_code)
{
	api_fail_as(c, e, 422, exit_code);
	return false;
}

/* The members of an object, also those of the call itself. */
static bool
read_object(struct api_call *c, const struct codec_value *v, struct cart_ask *ask)
{
	struct err e = { 0 };

	if (text(v, "name", WORD_MAX, &ask->name, &e) < 0 ||
	    text(v, "url", URL_MAX, &ask->url, &e) < 0 ||
	    text(v, "version", 64, &ask->version, &e) < 0 ||
	    text(v, "checksum", 96, &ask->checksum, &e) < 0 ||
	    text(v, "gear_size", 64, &ask->gear_size, &e) < 0 ||
	    text(v, "colocate_with", WORD_MAX, &ask->beside, &e) < 0 ||
	    (ask->name == NULL && text(v, "id", WORD_MAX, &ask->name, &e) < 0))
		return fail(c, &e, CART_RULES_UNUSABLE);
	if (number(v, "scales_from", 1, &ask->scales_from, &e) < 0 ||
	    number(v, "scales_to", -1, &ask->scales_to, &e) < 0)
		return fail(c, &e, EXIT_SCALES);
	if (number(v, "additional_gear_storage", 0, &ask->storage_gb, &e) < 0)
		return fail(c, &e, EXIT_STORAGE);
	return true;
}

static bool
read_one(struct api_call *c, const struct codec_value *v, struct cart_ask_list *out)
{
	struct cart_ask *ask;

	if (out->n == ASKED_MAX) {
		api_fail(c, 422, CART_RULES_UNUSABLE, "cartridge", "At most %d cartridges at once.",
		    ASKED_MAX);
		return false;
	}
	out->v = xreallocarray(out->v, out->n + 1, sizeof *out->v);
	ask = &out->v[out->n++];
	*ask = (struct cart_ask){ 0 };
	if (codec_type(v) == CODEC_OBJECT) {
		if (!read_object(c, v, ask))
			return false;
	} else {
		ask->name = xstrdup_null(codec_string(v));
	}
	if ((ask->name == NULL || *ask->name == '\0' || strlen(ask->name) > WORD_MAX) ==
	    (ask->url == NULL)) {
		api_fail(c, 422, CART_RULES_UNUSABLE, "cartridge",
		    "Each cartridge must be a name, or an object with either 'name' or 'url'.");
		return false;
	}
	if (ask->url == NULL && ask->checksum != NULL) {
		api_fail(c, 422, CART_RULES_UNUSABLE, "checksum",
		    "A checksum is that of an archive: it goes with 'url'.");
		return false;
	}
	return true;
}

/* name, url … beside each other in the call. */
static bool
read_top(struct api_call *c, struct cart_ask_list *out)
{
	static const char *const keys[] = { "name", "url", "id", "version", "checksum", "gear_size",
		"colocate_with", "scales_from", "scales_to", "additional_gear_storage" };
	AUTO_FINI(buf_fini) struct buf json = { 0 };
	struct codec_value *v;
	struct err e = { 0 };
	bool ok;

	buf_addc(&json, '{');
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const struct codec_value *x = api_param_value(c->params, keys[i]);

		if (x == NULL || codec_type(x) == CODEC_NULL)
			continue;
		if (json.n > 1)
			buf_addc(&json, ',');
		buf_add_json_str(&json, keys[i]);
		buf_addc(&json, ':');
		if (codec_string(x) != NULL)
			buf_add_json_str(&json, codec_string(x));
		else
			buf_addf(&json, "%" PRId64, codec_int(x, 0));
	}
	buf_addc(&json, '}');
	v = codec_parse(json.p, json.n, &e);
	ok = v != NULL && read_one(c, v, out);
	codec_value_free(v);
	return ok;
}

bool
api_cart_ask(struct api_call *c, bool may_be_top, struct cart_ask_list *out)
{
	const struct codec_value *v = api_param_value(c->params, "cartridges");

	if (v == NULL || codec_type(v) == CODEC_NULL)
		v = api_param_value(c->params, "cartridge");
	if (v == NULL || codec_type(v) == CODEC_NULL) {
		bool has_top = api_param_has(c->params, "name") ||
		               api_param_has(c->params, "url") || api_param_has(c->params, "id");

		return !may_be_top || !has_top || read_top(c, out);
	}
	if (codec_type(v) != CODEC_ARRAY)
		return read_one(c, v, out);
	for (size_t i = 0; i < codec_count(v); i++) {
		if (!read_one(c, codec_at(v, i), out))
			return false;
	}
	return true;
}

bool
api_cart_ask_storage(struct api_call *c, const char *domain, const struct cart_ask_list *l)
{
	AUTO_FINI(wire_domain_fini) struct wire_domain d = { 0 };
	const char *owner = c->who.login;
	struct err e = { 0 };
	int exit_code;

	if (record_get(c->b->store, store_key_domain(domain), &wire_domain_codec, &d, NULL, &e) ==
	    0)
		owner = d.owner;
	e = (struct err){ 0 };
	for (size_t i = 0; i < l->n; i++) {
		if (gear_disk_may(c->b, owner, l->v[i].storage_gb, &exit_code, &e) < 0)
			return fail(c, &e, exit_code);
	}
	return true;
}
