/* lib/wire/wire_cart_read.h: the keys of a manifest, one by one, for wire_cart_parse. */
#pragma once

#include "lib/base/err.h"

struct codec_value;
struct wire_cart;

enum {
	WIRE_CART_READ_TEXT_MAX = 4096, /* bytes of a text */
	WIRE_CART_READ_WORD_MAX = 256,  /* of a name */
	WIRE_CART_READ_LIST_MAX = 64,   /* items of a list */
};

/* As wire_cart_parse; a failure may leave out half filled. */
int wire_cart_read(const struct codec_value *doc, const char *version, struct wire_cart *out,
    struct err *e) MUST_CHECK;
