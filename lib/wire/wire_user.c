#include "lib/wire/wire_user.h"

enum {
	ID_MAX = 40,
	LOGIN_MAX = 256,
	NAME_MAX_LEN = 16,
	NOTE_MAX = 4096,
	SIZES_MAX = 32,
	COUNT_MAX = 1000000000,
	KEY_NAME_MAX = 256,
	KEY_CONTENT_MAX = 16 * 1024,
};

static const struct codec_field user_fields[] = {
	CODEC_STR(struct wire_user, id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_user, login, LOGIN_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_user, password_hash, 512, CODEC_SECRET),
	CODEC_BOOL(struct wire_user, is_admin, 0),
	CODEC_INT(struct wire_user, created_at, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_user, max_gears, 0, COUNT_MAX, 0),
	CODEC_INT(struct wire_user, max_domains, 0, COUNT_MAX, 0),
	CODEC_INT(struct wire_user, max_storage_gb, 0, WIRE_USER_STORAGE_MAX, 0),
	CODEC_BOOL(struct wire_user, no_downloads, 0),
	CODEC_STRS(struct wire_user, gear_sizes, SIZES_MAX, 0),
	CODEC_INT(struct wire_user, consumed_gears, 0, COUNT_MAX, 0),
	CODEC_INT(struct wire_user, domains, 0, COUNT_MAX, 0),
	CODEC_INT(struct wire_user, auth_rev, 0, INT64_MAX, 0),
	CODEC_EXTRA(struct wire_user, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_user, struct wire_user, user_fields)

static const struct codec_field token_fields[] = {
	CODEC_STR(struct wire_token, id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_token, login, LOGIN_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_token, user_id, ID_MAX, CODEC_REQUIRED),
	CODEC_INT(struct wire_token, auth_rev, 0, INT64_MAX, 0),
	CODEC_STR(struct wire_token, note, NOTE_MAX, 0),
	CODEC_STR(struct wire_token, scopes, 1024, CODEC_REQUIRED),
	CODEC_INT(struct wire_token, created_at, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_token, expires_at, 0, INT64_MAX, 0),
	CODEC_EXTRA(struct wire_token, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_token, struct wire_token, token_fields)

static const struct codec_field ssh_key_fields[] = {
	CODEC_STR(struct wire_ssh_key, name, KEY_NAME_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_ssh_key, login, LOGIN_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_ssh_key, user_id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_ssh_key, type, KEY_NAME_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_ssh_key, content, KEY_CONTENT_MAX, CODEC_REQUIRED),
	CODEC_INT(struct wire_ssh_key, created_at, 0, INT64_MAX, 0),
	CODEC_EXTRA(struct wire_ssh_key, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_ssh_key, struct wire_ssh_key, ssh_key_fields)

static const struct codec_field member_fields[] = {
	CODEC_STR(struct wire_member, id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_member, login, LOGIN_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_member, role, 16, CODEC_REQUIRED),
	CODEC_END,
};
DEFINE_CODEC(wire_member, struct wire_member, member_fields)

static const struct codec_field domain_fields[] = {
	CODEC_STR(struct wire_domain, id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_domain, name, NAME_MAX_LEN, CODEC_REQUIRED),
	CODEC_STR(struct wire_domain, owner, LOGIN_MAX, CODEC_REQUIRED),
	CODEC_INT(struct wire_domain, created_at, 0, INT64_MAX, 0),
	CODEC_STRS(struct wire_domain, allowed_gear_sizes, SIZES_MAX, 0),
	CODEC_INT(struct wire_domain, apps, 0, COUNT_MAX, 0),
	CODEC_LIST(
	    struct wire_domain, members, &wire_member_codec, WIRE_MEMBERS_MAX, CODEC_OMIT_NULL),
	CODEC_EXTRA(struct wire_domain, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_domain, struct wire_domain, domain_fields)
