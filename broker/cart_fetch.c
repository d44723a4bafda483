#include "broker/cart_fetch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/blob.h"
#include "broker/broker.h"
#include "broker/cart_source.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"

enum {
	PACK_MS = 3 * 60 * 1000,
	FILES_MAX = 20000,
	RATIO_MAX = 200,
	UNPACKED = 10, /* how much more than the largest archive may come out */
	MB = 1000 * 1000,
};

/* Manifest → source → checked file → packed tar → blob. */
struct cart_fetch {
	LIST_ENTRY(cart_fetch) link;
	struct broker *b;               /* borrowed */
	char *url, *version, *checksum; /* owned; of the ask */
	bool is_admin;
	cart_fetch_fn *fn;
	void *arg;
	char *manifest; /* owned; NULL: that in the archive */
	char *source;   /* owned; where the archive came from */
	struct cart_pick_one one;
	struct cart_source *from; /* owned */
	struct child *pack;       /* owned */
	char *in, *out;           /* files; owned */
	struct loop_timer *later;
	struct err e;
};

static void
fetch_free(struct cart_fetch *f)
{
	LIST_REMOVE(f, link);
	cart_source_cancel(f->from);
	child_free(f->pack);
	loop_timer_cancel(f->later);
	if (f->in != NULL)
		(void)unlink(f->in);
	if (f->out != NULL)
		(void)unlink(f->out);
	wire_cart_fini(&f->one.cart);
	wire_gear_cart_fini(&f->one.gear);
	free(f->url);
	free(f->version);
	free(f->checksum);
	free(f->manifest);
	free(f->source);
	free(f->in);
	free(f->out);
	free(f);
}

static void
answer(void *arg)
{
	struct cart_fetch *f = arg;

	if (f->e.code != ERR_NONE)
		log_info("cartridge_refused", LOG_STR("url", f->url == NULL ? "" : f->url),
		    LOG_ERR(&f->e));
	f->fn(f->e.code == ERR_NONE ? &f->one : NULL, f->e.code == ERR_NONE ? NULL : &f->e, f->arg);
	fetch_free(f);
}

static void
finish(struct cart_fetch *f, const struct err *e)
{
	if (e != NULL)
		f->e = *e;
	loop_timer_cancel(f->later);
	f->later = loop_timer_start(f->b->loop, 0, false, answer, f);
}

/* --- what the manifest says --- */

static int
read_manifest(struct cart_fetch *f, const char *text, size_t n, struct err *e)
{
	struct wire_cart *c = &f->one.cart;

	wire_cart_fini(c);
	if (n == 0)
		return err_set(e, ERR_INVALID, "url", "the manifest is empty");
	if (memchr(text, '\0', n) != NULL)
		return err_set(e, ERR_INVALID, "url", "the manifest holds NUL bytes");
	if (wire_cart_parse(text, n, f->version, c, e) < 0)
		return err_wrap(e, "the manifest is not valid: %s", e->field);
	return 0;
}

/* What the record of an application holds of it. */
static void
fill_gear(struct cart_fetch *f, const char *digest)
{
	const struct wire_cart *c = &f->one.cart;
	struct wire_gear_cart *g = &f->one.gear;

	wire_gear_cart_fini(g);
	*g = (struct wire_gear_cart){ .name = xstrdup(c->name),
		.version = xstrdup(c->version),
		.cart_version = xstrdup(c->cart_version),
		.vendor = xstrdup(c->cart_vendor),
		.is_web = wire_cart_is_web(c),
		.is_service = wire_cart_is_service(c),
		.digest = xstrdup_null(digest),
		.manifest = xstrdup(f->manifest),
		.source_url = xstrdup_null(f->url) };
}

static void
on_blob(const char *digest, const struct err *e, void *arg)
{
	struct cart_fetch *f = arg;

	if (e == NULL)
		fill_gear(f, digest);
	finish(f, e);
}

/* --- packing --- */

static void
on_packed(struct child *c, const struct child_end *end, void *arg)
{
	struct cart_fetch *f = arg;
	AUTO(free) char *out = NULL;
	struct err e = { 0 };

	f->pack = NULL;
	if (end->status == 1)
		(void)err_set(
		    &e, ERR_INVALID, "url", "%.*s", (int)strcspn(end->err, "\n"), end->err);
	else if (end->status != 0)
		(void)err_set(&e, ERR_INVALID, "url", "the archive could not be read (%s)",
		    end->timed_out ? "it took too long" : end->why);
	else if (f->manifest == NULL && read_manifest(f, end->err, end->err_len, &e) == 0)
		f->manifest = xstrndup(end->err, end->err_len);
	child_free(c);
	if (e.code != ERR_NONE) {
		finish(f, &e);
		return;
	}
	fault_point("cart_fetch_packed");
	out = STEAL(f->out);
	blob_store_take(f->b->blobs, out, on_blob, f);
}

/* A file without a name that holds the text. */
static int
memory_file(const char *text)
{
	int fd = memfd_create("manifest", MFD_CLOEXEC);
	struct err ignored = { 0 };

	if (fd >= 0 &&
	    (file_write_all(fd, text, strlen(text), &ignored) < 0 || lseek(fd, 0, SEEK_SET) < 0)) {
		file_close(fd);
		return -1;
	}
	return fd;
}

static int
start_pack(struct cart_fetch *f, struct err *e)
{
	AUTO(free) char *files = xasprintf("%d", FILES_MAX);
	AUTO(free)
	char *bytes = xasprintf("%lld", (long long)f->b->conf.download_max_mb * MB * UNPACKED);
	AUTO(free) char *ratio = xasprintf("%d", RATIO_MAX);
	const char *argv[] = { f->b->conf.cart_pack_program, files, bytes, ratio,
		f->manifest == NULL ? "own" : "given", NULL };
	AUTO(file_close) int in = open(f->in, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO(file_close) int given = f->manifest == NULL ? -1 : memory_file(f->manifest);
	AUTO(file_close) int out = -1;

	f->out = blob_store_tmp(f->b->blobs);
	out = open(f->out, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (in < 0 || out < 0 || (f->manifest != NULL && given < 0))
		return err_set(e, ERR_SYSTEM, NULL, "cannot open the archive");
	const struct child_opts o = { .argv = argv,
		.in_fd = in,
		.out_fd = out,
		.out_max = 2 * WIRE_CART_MANIFEST_MAX,
		.timeout_ms = PACK_MS,
		.pass_fds = &given,
		.pass_n = given < 0 ? 0 : 1 };

	f->pack = child_start(f->b->loop, &o, NULL, on_packed, f, e);
	return f->pack == NULL ? -1 : 0;
}

/* --- the source --- */

static void
on_source(const char *path, const struct err *e, void *arg)
{
	struct cart_fetch *f = arg;
	struct err why = { 0 };

	f->from = NULL;
	if (e != NULL) {
		finish(f, e);
		return;
	}
	f->in = xstrdup(path);
	if (start_pack(f, &why) < 0)
		finish(f, &why);
}

static void
start_source(struct cart_fetch *f, const char *url)
{
	const struct wire_cart *c = &f->one.cart;
	const char *checksum = f->checksum;
	AUTO(free) char *own = NULL;
	struct err e = { 0 };

	if (checksum == NULL && c->source_sha256 != NULL)
		checksum = own = xasprintf("sha256:%s", c->source_sha256);
	else if (checksum == NULL && c->source_md5 != NULL)
		checksum = own = xasprintf("md5:%s", c->source_md5);
	f->source = xstrdup(url);
	f->from = cart_source_start(f->b, url, checksum, on_source, f, &e);
	if (f->from == NULL)
		finish(f, &e);
}

static void
on_manifest(const char *text, size_t n, const struct err *e, void *arg)
{
	struct cart_fetch *f = arg;
	const struct wire_cart *c = &f->one.cart;
	struct err why = { 0 };

	f->from = NULL;
	if (e != NULL) {
		finish(f, e);
		return;
	}
	if (read_manifest(f, text, n, &why) < 0 ||
	    (!f->is_admin && wire_cart_check_download(c, &why) < 0)) {
		finish(f, &why);
		return;
	}
	f->manifest = xstrndup(text, n);
	if (c->source_url != NULL) {
		start_source(f, c->source_url);
		return;
	}
	if (wire_cart_has_category(c, "external")) {
		fill_gear(f, NULL);
		finish(f, NULL);
		return;
	}
	(void)err_set(
	    &why, ERR_INVALID, "Source-Url", "is required: where the cartridge's code is");
	finish(f, &why);
}

/* --- beginning --- */

static struct cart_fetch *
fetch_new(struct broker *b, const struct cart_ask *ask, cart_fetch_fn *fn, void *arg)
{
	struct cart_fetch *f = xcalloc(1, sizeof *f);

	*f = (struct cart_fetch){
		.b = b,
		.url = xstrdup_null(ask->url),
		.version = xstrdup_null(ask->version),
		.checksum = xstrdup_null(ask->checksum),
		.fn = fn,
		.arg = arg,
	};
	LIST_INSERT_HEAD(&b->fetches, f, link);
	return f;
}

void
cart_fetch_start(
    struct broker *b, const struct cart_ask *ask, bool is_admin, cart_fetch_fn *fn, void *arg)
{
	struct cart_fetch *f = fetch_new(b, ask, fn, arg);
	struct err e = { 0 };

	f->is_admin = is_admin;
	if (cart_source_is_code(ask->url)) {
		start_source(f, ask->url);
		return;
	}
	f->from = cart_source_manifest(b, ask->url, on_manifest, f, &e);
	if (f->from == NULL)
		finish(f, &e);
}

void
cart_fetch_file(
    struct broker *b, const char *path, const struct cart_ask *ask, cart_fetch_fn *fn, void *arg)
{
	struct cart_fetch *f = fetch_new(b, ask, fn, arg);
	struct err e = { 0 };

	f->is_admin = true;
	f->in = xstrdup(path);
	if (start_pack(f, &e) < 0)
		finish(f, &e);
}

void
cart_fetch_end(struct broker *b)
{
	while (!LIST_EMPTY(&b->fetches))
		fetch_free(LIST_FIRST(&b->fetches));
}
