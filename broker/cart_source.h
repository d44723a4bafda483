/* broker/cart_source.h: bytes that a user's URL names, from no address inside: a manifest into
 * memory, an archive into a file, a git repository's head as an archive. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"

struct broker;
struct cart_source;

/* Does the URL name code itself (git:, ….git, .tar, .tar.gz, .tgz, .zip) rather than a manifest? */
bool cart_source_is_code(const char *url);

/* The manifest's text, at most 20480 bytes within 10 s; borrowed for the call. fn: once, later; the
 * handle is gone then. NULL: ERR_INVALID (URL). */
typedef void cart_source_text_fn(const char *text, size_t n, const struct err *e, void *arg);
struct cart_source *cart_source_manifest(struct broker *b, const char *url, cart_source_text_fn *fn,
    void *arg, struct err *e) MUST_CHECK;

/* An archive in a file that the receiver removes. checksum: "sha256:HEX", "md5:HEX" or NULL. */
typedef void cart_source_file_fn(const char *path, const struct err *e, void *arg);
struct cart_source *cart_source_start(struct broker *b, const char *url, const char *checksum,
    cart_source_file_fn *fn, void *arg, struct err *e) MUST_CHECK;

/* No callback any more, no file left. NULL is fine. */
void cart_source_cancel(struct cart_source *take_s);
