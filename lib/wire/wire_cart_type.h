/* lib/wire/wire_cart_type.h: the catalogue's records: cartridges that administrators imported, and
 * what they decided about stock ones. */
#pragma once

#include "lib/codec/codec.h"

struct wire_cart_type { /* key: store_key_cart_type(id); immutable but for the last three */
	char *id;       /* 24 hex; of a stock cartridge: that of the catalogue */
	char *name;     /* "php", */
	char *version;  /* of the software */
	char *cart_version;
	char *vendor;
	char *manifest;   /* text; NULL: a stock cartridge, whose manifest is its directory's */
	char *digest;     /* of its archive (broker/blob); NULL: stock, or external */
	char *source_url; /* where it came from; NULL: from a file */
	char *imported_by;
	int64_t created_at;
	bool is_active; /* one of each full name is */
	int64_t activated_at;
	bool is_obsolete; /* by decision; the manifest may say so too */
	char *extra;
};
DECLARE_CODEC(wire_cart_type, struct wire_cart_type)
