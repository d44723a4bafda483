/* lib/wire/wire_backup.h: record of the backups of an application. */
#pragma once

#include "lib/codec/codec.h"

struct wire_backup_item {
	char *name; /* of the archive: APP-TIME-RANDOM.tar.gz */
	int64_t at; /* Unix seconds, when it was begun */
	int64_t size;
	char *sha256; /* hex */
};
DECLARE_CODEC(wire_backup_item, struct wire_backup_item)
struct wire_backup_item_list {
	struct wire_backup_item *v;
	size_t n;
};

struct wire_backup { /* key: store_key_backup(app id) */
	char *app_id;
	bool enabled;
	int64_t every_s;
	int64_t keep;
	char *to;         /* directory below the broker's, or s3://BUCKET/PREFIX */
	int64_t next;     /* Unix seconds; one that was missed runs once */
	char *last_error; /* of the last run; "" = it went well */
	struct wire_backup_item_list items; /* that exist, oldest first: made by us, kept by us */
	char *extra;
};
DECLARE_CODEC(wire_backup, struct wire_backup)
