/* lib/codec/codec.h: table <-> struct <-> JSON. One table a type; decode checks everything and
 * names the field. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/str.h"

enum codec_kind {
	CODEC_KIND_END,
	CODEC_KIND_STR,   /* char *, owned; min..max = length in bytes */
	CODEC_KIND_INT,   /* int64_t; min..max */
	CODEC_KIND_NUM,   /* double */
	CODEC_KIND_BOOL,  /* bool; with CODEC_LAX also "true"/"false" in any case, as v2 */
	CODEC_KIND_ENUM,  /* int */
	CODEC_KIND_STRS,  /* struct str_list; max = number of elements */
	CODEC_KIND_OBJ,   /* an embedded struct */
	CODEC_KIND_LIST,  /* struct { T *v; size_t n; } of structs; max = number of elements */
	CODEC_KIND_RAW,   /* char *, owned: any JSON value as text */
	CODEC_KIND_EXTRA, /* char *, owned: unknown members of a decode with CODEC_KEEP, written
	                     back */
};

enum codec_flag {
	CODEC_REQUIRED = 1,  /* field: must be present and not null */
	CODEC_OMIT_NULL = 2, /* field: an absent string, empty list, 0 or false is not written */
	CODEC_SECRET = 4,    /* field: never in codec_describe or logs */
	/* decode: */
	CODEC_IGNORE = 16, /* unknown members are ignored (default: ERR_INVALID) */
	CODEC_KEEP = 32,   /* unknown members are kept in the EXTRA field */
	CODEC_LAX = 64,    /* numbers and booleans may come as strings (forms, v2 clients) */
};

struct codec;

struct codec_name {
	const char *name;
	int value;
};

struct codec_field {
	enum codec_kind kind;
	const char *name;
	size_t offset;
	int64_t min, max;
	unsigned flags;
	const struct codec_name *names; /* ENUM */
	const struct codec *sub;        /* OBJ, LIST */
};

struct codec {
	const char *name;
	size_t size;
	const struct codec_field *fields;
};

/* JSON member name = C member name; the _AS forms give another (`"api-version"`). */
#define CODEC_STR_AS(T, m, name_, max_, fl)                                                        \
	{                                                                                          \
		CODEC_KIND_STR, name_, offsetof(T, m), 0, max_, fl, NULL, NULL                     \
	}
#define CODEC_STR(T, m, max_, fl) CODEC_STR_AS(T, m, #m, max_, fl)
#define CODEC_INT_AS(T, m, name_, min_, max_, fl)                                                  \
	{                                                                                          \
		CODEC_KIND_INT, name_, offsetof(T, m), min_, max_, fl, NULL, NULL                  \
	}
#define CODEC_INT(T, m, min_, max_, fl) CODEC_INT_AS(T, m, #m, min_, max_, fl)
#define CODEC_NUM(T, m, fl)                                                                        \
	{                                                                                          \
		CODEC_KIND_NUM, #m, offsetof(T, m), 0, 0, fl, NULL, NULL                           \
	}
#define CODEC_BOOL_AS(T, m, name_, fl)                                                             \
	{                                                                                          \
		CODEC_KIND_BOOL, name_, offsetof(T, m), 0, 0, fl, NULL, NULL                       \
	}
#define CODEC_BOOL(T, m, fl) CODEC_BOOL_AS(T, m, #m, fl)
#define CODEC_ENUM(T, m, names_, fl)                                                               \
	{                                                                                          \
		CODEC_KIND_ENUM, #m, offsetof(T, m), 0, 0, fl, names_, NULL                        \
	}
#define CODEC_STRS_AS(T, m, name_, max_, fl)                                                       \
	{                                                                                          \
		CODEC_KIND_STRS, name_, offsetof(T, m), 0, max_, fl, NULL, NULL                    \
	}
#define CODEC_STRS(T, m, max_, fl) CODEC_STRS_AS(T, m, #m, max_, fl)
#define CODEC_OBJ(T, m, sub_, fl)                                                                  \
	{                                                                                          \
		CODEC_KIND_OBJ, #m, offsetof(T, m), 0, 0, fl, NULL, sub_                           \
	}
#define CODEC_LIST_AS(T, m, name_, sub_, max_, fl)                                                 \
	{                                                                                          \
		CODEC_KIND_LIST, name_, offsetof(T, m), 0, max_, fl, NULL, sub_                    \
	}
#define CODEC_LIST(T, m, sub_, max_, fl) CODEC_LIST_AS(T, m, #m, sub_, max_, fl)
#define CODEC_RAW(T, m, max_, fl)                                                                  \
	{                                                                                          \
		CODEC_KIND_RAW, #m, offsetof(T, m), 0, max_, fl, NULL, NULL                        \
	}
#define CODEC_EXTRA(T, m)                                                                          \
	{                                                                                          \
		CODEC_KIND_EXTRA, "", offsetof(T, m), 0, 0, 0, NULL, NULL                          \
	}
#define CODEC_END                                                                                  \
	{                                                                                          \
		CODEC_KIND_END, NULL, 0, 0, 0, 0, NULL, NULL                                       \
	}

/* In a header: declares X_codec and X_fini. In a source: DEFINE_CODEC. */
#define DECLARE_CODEC(X, T)                                                                        \
	extern const struct codec X##_codec;                                                       \
	static inline __attribute__((unused)) void X##_fini(T *p)                                  \
	{                                                                                          \
		codec_fini(&X##_codec, p);                                                         \
	}
#define DEFINE_CODEC(X, T, f) const struct codec X##_codec = { #X, sizeof(T), f };

/* One JSON object of n bytes into out (zeroed by the caller; left empty on failure). Depth and
 * number of values are bounded. flags: CODEC_IGNORE, _KEEP, _LAX. */
int codec_decode(const struct codec *c, const char *json, size_t n, void *out, unsigned flags,
    struct err *e) MUST_CHECK;
/* Appends the object as JSON without spaces. */
void codec_encode(const struct codec *c, const void *in, struct buf *b);
char *codec_to_json(const struct codec *c, const void *in);         /* caller owns */
void codec_fini(const struct codec *c, void *obj);                  /* frees members and zeroes */
void codec_copy(const struct codec *c, void *to, const void *from); /* to: zeroed storage */
bool codec_equal(const struct codec *c, const void *a, const void *b);
/* Appends a list element: grows l (a struct {T *v; size_t n}), returns the new zeroed element. */
void *codec_list_add(const struct codec *c, void *list);

/* A JSON document as a tree, for bodies whose shape is not one table (v2's parameters) and for
 * clients that only print. Opaque; sub-values are borrowed from the document. */
struct codec_value;
struct codec_value *codec_parse(const char *json, size_t n, struct err *e); /* caller frees */
void codec_value_free(struct codec_value *take_v);
const struct codec_value *codec_get(const struct codec_value *v, const char *key); /* or NULL */
const struct codec_value *codec_at(const struct codec_value *v, size_t i);
size_t codec_count(const struct codec_value *v); /* elements of an array or members */
/* i-th member of an object in its order; out_key is borrowed. */
const struct codec_value *codec_member(const struct codec_value *v, size_t i, const char **out_key);
enum codec_type {
	CODEC_NULL,
	CODEC_STRING,
	CODEC_NUMBER,
	CODEC_BOOLEAN,
	CODEC_ARRAY,
	CODEC_OBJECT
};
enum codec_type codec_type(const struct codec_value *v); /* NULL is CODEC_NULL */
const char *codec_string(const struct codec_value *v);   /* borrowed; NULL when not a string */
int64_t codec_int(const struct codec_value *v, int64_t dflt);
bool codec_bool(const struct codec_value *v, bool dflt);
void codec_dump(const struct codec_value *v, bool pretty, struct buf *b);
