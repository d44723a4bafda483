/* lib/wire/wire_user.h: records of users, tokens and domains as the store holds them. What the
 * public API shows of them is broker/api_reply's affair. Times are Unix seconds, UTC. */
#pragma once

#include "lib/codec/codec.h"

enum { WIRE_USER_STORAGE_MAX = 1 << 20 }; /* GB */

struct wire_user { /* key: store_key_user(login) */
	char *id;  /* 24 hex */
	char *login;
	char *password_hash; /* argon2id, encoded; NULL = no password login */
	bool is_admin;
	int64_t created_at;
	int64_t max_gears;
	int64_t max_domains;
	int64_t max_storage_gb; /* of a gear, beside its profile's */
	bool no_downloads;      /* only cartridges of the catalogue */
	struct str_list gear_sizes;
	int64_t consumed_gears; /* counted inside the transactions that make and remove gears */
	int64_t domains;        /* likewise */
	int64_t auth_rev; /* raised by a change of password: forgets remembered passwords, voids
	                     tokens */
	char *extra;
};
DECLARE_CODEC(wire_user, struct wire_user)

struct wire_token { /* key: store_key_token(hex SHA-256 of the token) */
	char *id;
	char *login;
	char *user_id;    /* a new user of the same login does not inherit it */
	int64_t auth_rev; /* of the user; another one voids it */
	char *note;
	char *scopes; /* space-separated */
	int64_t created_at;
	int64_t expires_at;
	char *extra;
};
DECLARE_CODEC(wire_token, struct wire_token)

/* An SSH key of a user. key: store_key_ssh_key(login, name) */
struct wire_ssh_key {
	char *name;
	char *login;
	char *user_id; /* a new user of the same login does not inherit it */
	char *type;    /* "ssh-ed25519" */
	char *content; /* base64, without type and comment; a principal for krb5-principal */
	int64_t created_at;
	char *extra;
};
DECLARE_CODEC(wire_ssh_key, struct wire_ssh_key)

/* Somebody whom the owner lets in. */
struct wire_member {
	char *id; /* of the user; a new user of the same login does not inherit it */
	char *login;
	char *role; /* "view", "edit", "admin" */
};
DECLARE_CODEC(wire_member, struct wire_member)
struct wire_member_list {
	struct wire_member *v;
	size_t n;
};

enum { WIRE_MEMBERS_MAX = 100 };

struct wire_domain { /* key: store_key_domain(name) */
	char *id;
	char *name;
	char *owner; /* login */
	int64_t created_at;
	struct str_list allowed_gear_sizes;
	int64_t apps;                    /* number of applications */
	struct wire_member_list members; /* without the owner */
	char *extra;
};
DECLARE_CODEC(wire_domain, struct wire_domain)
