/* broker/blob.h: archives of cartridges that are not in the nodes' catalogue, by the digest of
 * their plain tar: DATA/blobs/<64 hex>. One that no application, gear or catalogue record names is
 * removed. Loop thread; files are read and written by workers. */
#pragma once

#include "lib/base/err.h"
#include "lib/base/mem.h"

struct blob_store;
struct broker;
struct http_req;

/* Blocks (start): makes the directory, removes what was cut short. */
struct blob_store *blob_store_new(struct broker *b, struct err *e) MUST_CHECK;
void blob_store_free(struct blob_store *take_s);
DEFINE_AUTO(struct blob_store *, blob_store_free)

/* A path for a file that is to become a blob; caller owns the string, and removes the file unless
 * blob_store_take took it. */
char *blob_store_tmp(struct blob_store *s);

/* The file becomes a blob, durable when done is called. digest: "sha256:…", held for the caller
 * until blob_store_release. e: it failed, the file is gone. Once, later. */
typedef void blob_store_fn(const char *digest, const struct err *e, void *arg);
void blob_store_take(struct blob_store *s, const char *path, blob_store_fn *done, void *arg);
/* It is held no longer by the caller: without a record that names it, it goes. NULL is fine. */
void blob_store_hold(struct blob_store *s, const char *digest);
void blob_store_release(struct blob_store *s, const char *digest);

/* GET /internal/node/blob/DIGEST. Takes the request. */
void blob_store_serve(struct blob_store *s, struct http_req *r);
