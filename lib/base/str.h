/* lib/base/str.h: slices, strict numbers, names, URLs, base64, UTF-8, lists of strings. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/base/err.h"

struct buf;

/* A borrowed slice; not NUL-terminated. */
struct str {
	const char *p;
	size_t n;
};

#define STR(lit) ((struct str){ "" lit, sizeof(lit) - 1 })

static inline struct str
str_of(const char *s)
{
	return (struct str){ s, s == NULL ? 0 : strlen(s) };
}

bool str_eq(struct str a, const char *b);
bool str_same(const char *a, const char *b);     /* NULL is as "" */
bool str_eq_nocase(struct str a, const char *b); /* ASCII */
bool str_has_prefix(const char *s, const char *prefix);
bool str_has_suffix(const char *s, const char *suffix);
struct str str_trim(struct str s); /* spaces and tabs at both ends */
/* Cuts s at the first c: *head gets what is before, the result what is after (empty and p==NULL
 * when c is absent). */
struct str str_cut(struct str s, char c, struct str *head);

/* Whole decimal number in [min,max], no sign '+', no space: else ERR_INVALID for field. */
int str_to_i64(struct str s, int64_t min, int64_t max, const char *field, int64_t *out,
    struct err *e) MUST_CHECK;

/* Bytes of the valid UTF-8 sequence that begins at s[0..n), n > 0; 0: none does. */
size_t str_utf8_len(const char *s, size_t n);
bool str_is_utf8(const char *s, size_t n);
void str_lower(char *s); /* ASCII, in place */

/* A name of letters and digits, 1..max bytes (v2 domains and applications). */
bool str_is_name(const char *s, size_t max);
/* A DNS host name, labels of [a-z0-9-], at most 255 bytes, lower case. */
bool str_is_host(const char *s);
/* POSIX environment variable name, [A-Za-z_][A-Za-z0-9_]*, at most 128 bytes. */
bool str_is_env_name(const char *s);
/* Lower-case hex of exactly n characters. */
bool str_is_hex(const char *s, size_t n);

/* Percent-decoding into a new string; ERR_INVALID on a bad escape or a NUL. plus: '+' is space. */
char *str_url_decode(struct str s, bool plus, struct err *e);

/* Text from outside for a terminal: without control sequences and what turns text around; tabs
 * stay. Appended. */
void str_clean(const char *text, size_t n, struct buf *out);

struct str_url {
	char *scheme; /* owned, lower case */
	char *user;   /* owned or NULL */
	char *host;   /* owned */
	char *path;   /* owned, "/" at least */
	int port;     /* 0 = none given */
};
/* scheme://[user@]host[:port][/path]; ERR_INVALID names field. */
int str_url_parse(const char *s, const char *field, struct str_url *out, struct err *e) MUST_CHECK;
void str_url_fini(struct str_url *u);

/* Standard base64 (RFC 4648) with padding; strict decoding, NULL on error. Caller owns. */
char *str_base64(const void *p, size_t n);
void *str_base64_decode(struct str s, size_t *out_n);

/* An owned list of strings. Zero-initialised is empty. */
struct str_list {
	char **v; /* owned, each owned */
	size_t n;
};
void str_list_add(struct str_list *l, const char *s);
void str_list_take(struct str_list *l, char *take_s);
bool str_list_has(const struct str_list *l, const char *s);
void str_list_remove(struct str_list *l, const char *s);
char *str_list_pop(struct str_list *l); /* the last, the caller's; NULL: none */
void str_list_copy(struct str_list *to, const struct str_list *from);
void str_list_fini(struct str_list *l);
