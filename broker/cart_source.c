#include "broker/cart_source.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "broker/blob.h"
#include "broker/broker.h"
#include "broker/cart_fetch.h"
#include "broker/net_guard.h"
#include "broker/repo.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/http/http_client.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/wire/wire_cart.h"

enum {
	ARCHIVE_MS = 10 * 60 * 1000,
	IDLE_MS = 30 * 1000,
	GIT_MS = 5 * 60 * 1000,
	WRITE_AT = 256 * 1024,
	MB = 1000 * 1000,
	URL_MAX = 2048,
};

/* One job: a chain of requests (redirects), then bytes into memory or a file; or git. */
struct cart_source {
	struct broker *b; /* borrowed */
	char *url;        /* as given; owned */
	char *at;         /* of the present request; owned */
	char *checksum;   /* owned or NULL */
	char *next_url;   /* where a redirect sends; owned */
	int redirects;
	bool is_manifest, is_git, is_redirected;
	bool is_smart; /* a git server, and not only its files */
	cart_source_text_fn *text_fn;
	cart_source_file_fn *file_fn;
	void *arg;
	struct http_call *call;
	struct child *child;
	struct worker_job *job;
	struct loop_timer *late;
	int64_t max, got;
	struct buf buf;                     /* the manifest, or what is not yet written */
	struct secret_sha256 *sha256, *md5; /* owned */
	char *path;                         /* the file; owned */
	char *dir;                          /* of git's clone; owned */
	int fd;
	struct err e;
};

bool
cart_source_is_code(const char *url)
{
	static const char *const ends[] = { ".git", ".tar", ".tar.gz", ".tgz", ".zip" };
	AUTO(free) char *path = xstrndup(url, strcspn(url, "?#"));

	if (str_has_prefix(url, "git://"))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		if (str_has_suffix(path, ends[i]))
			return true;
	}
	return false;
}

static bool
is_git(const char *url)
{
	AUTO(free) char *path = xstrndup(url, strcspn(url, "?#"));

	return str_has_prefix(url, "git://") || str_has_suffix(path, ".git");
}

static void
discard_dir(void *p)
{
	struct err e = { 0 };

	if (file_remove_tree(p, &e) < 0)
		log_warn("download_remains", LOG_STR("path", (const char *)p), LOG_ERR(&e));
}

static void
source_free(struct cart_source *s)
{
	http_call_cancel(s->call);
	child_free(s->child);
	worker_detach(s->job);
	loop_timer_cancel(s->late);
	file_close(s->fd);
	if (s->path != NULL)
		(void)unlink(s->path);
	if (s->dir != NULL)
		worker_submit(s->b->worker, discard_dir, free, free, STEAL(s->dir));
	secret_sha256_free(s->sha256);
	secret_sha256_free(s->md5);
	buf_fini(&s->buf);
	free(s->url);
	free(s->at);
	free(s->checksum);
	free(s->next_url);
	free(s->path);
	free(s);
}

void
cart_source_cancel(struct cart_source *take_s)
{
	if (take_s != NULL)
		source_free(take_s);
}

static void
finish(struct cart_source *s, const struct err *e)
{
	struct err why = { 0 };
	bool is_ok = e == NULL;

	if (e != NULL)
		why = *e; /* which may be s's own */
	if (why.field[0] == '\0')
		(void)snprintf(why.field, sizeof why.field, "url");
	/* what the network or the other side did is for the user to see */
	if (why.code == ERR_SYSTEM || why.code == ERR_BUSY || why.code == ERR_DENIED)
		why.code = ERR_INVALID;
	if (s->is_manifest) {
		s->text_fn(is_ok ? (s->buf.p == NULL ? "" : s->buf.p) : NULL, is_ok ? s->buf.n : 0,
		    is_ok ? NULL : &why, s->arg);
	} else {
		AUTO(free) char *path = is_ok ? STEAL(s->path) : NULL;

		s->file_fn(path, is_ok ? NULL : &why, s->arg);
	}
	source_free(s);
}

static void
fail(struct cart_source *s, const char *what)
{
	struct err e = { 0 };
	AUTO(free) char *text = xasprintf("%.300s: %s", s->url, what);

	(void)err_set(&e, ERR_INVALID, "url", "%s", text);
	finish(s, &e);
}

static void
on_late(void *arg)
{
	struct cart_source *s = arg;

	if (s->e.code != ERR_NONE)
		finish(s, &s->e);
	else
		fail(s, "it took too long");
}

/* --- writing, away from the loop --- */

/* The worker has the bytes, the digests and a file of its own until done. */
struct write_job {
	struct cart_source *s; /* for done only */
	struct buf buf;
	struct secret_sha256 *sha256, *md5; /* owned */
	int fd;
	struct err e;
};

static void
write_free(void *p)
{
	struct write_job *j = p;

	buf_fini(&j->buf);
	secret_sha256_free(j->sha256);
	secret_sha256_free(j->md5);
	file_close(j->fd);
	free(j);
}

static void
run_write(void *p)
{
	struct write_job *j = p;

	secret_sha256_add(j->sha256, j->buf.p, j->buf.n);
	secret_sha256_add(j->md5, j->buf.p, j->buf.n);
	(void)!file_write_all(j->fd, j->buf.p, j->buf.n, &j->e);
}

static void check_end(struct cart_source *s);

static void
on_written(void *p)
{
	struct write_job *j = p;
	struct cart_source *s = j->s;

	s->job = NULL;
	s->sha256 = STEAL(j->sha256);
	s->md5 = STEAL(j->md5);
	if (j->e.code != ERR_NONE && s->e.code == ERR_NONE)
		s->e = j->e;
	write_free(j);
	if (s->call == NULL)
		check_end(s);
	else if (s->e.code != ERR_NONE)
		finish(s, &s->e);
	else
		http_call_resume(s->call);
}

static void
start_write(struct cart_source *s)
{
	struct write_job *j = xcalloc(1, sizeof *j);

	*j = (struct write_job){ .s = s,
		.buf = s->buf,
		.sha256 = STEAL(s->sha256),
		.md5 = STEAL(s->md5),
		.fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 3) };
	s->buf = (struct buf){ 0 };
	s->job = worker_submit(s->b->worker, run_write, on_written, write_free, j);
}

static int
check_digest(struct secret_sha256 *ctx, const char *name, const char *want, struct err *e)
{
	char hex[65];

	secret_sha256_end(ctx, hex);
	if (strcasecmp(hex, want) == 0)
		return 0;
	return err_set(e, ERR_INVALID, "checksum",
	    "the archive's %s checksum is %s and not %.80s: it was changed, or the checksum is "
	    "wrong",
	    name, hex, want);
}

/* All came and was written. */
static void
check_end(struct cart_source *s)
{
	const char *sum = s->checksum;
	struct err e = s->e;

	if (e.code == ERR_NONE && sum != NULL && str_has_prefix(sum, "sha256:"))
		(void)!check_digest(s->sha256, "SHA-256", sum + 7, &e);
	else if (e.code == ERR_NONE && sum != NULL)
		(void)!check_digest(s->md5, "MD5", sum + 4, &e);
	finish(s, e.code == ERR_NONE ? NULL : &e);
}

/* --- requests --- */

static int start_request(struct cart_source *s, const char *url, struct err *e);
static int start_git(struct cart_source *s, struct err *e);

static bool
is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void
on_head(struct http_call *c, int status, void *arg)
{
	struct cart_source *s = arg;

	(void)c;
	s->is_redirected = is_redirect(status);
	if (!s->is_redirected && status != 200)
		(void)err_set(
		    &s->e, ERR_INVALID, "url", "%.300s: the server answered %d", s->at, status);
	if (s->e.code != ERR_NONE)
		loop_timer_again(s->late, 0); /* its page is of no use */
}

static bool
on_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct cart_source *s = arg;

	(void)c;
	if (s->job != NULL)
		return false;
	if (s->is_git && s->got == 0)
		s->is_smart = memmem(p, n, "# service=git-upload-pack", 25) != NULL;
	s->got += s->is_git ? 1 : 0;
	if (s->is_redirected || s->e.code != ERR_NONE || s->is_git)
		return true;
	s->got += (int64_t)n;
	if (s->got > s->max) {
		if (s->is_manifest)
			(void)err_set(&s->e, ERR_INVALID, "url",
			    "the manifest has more than %lld bytes", (long long)s->max);
		else
			(void)err_set(&s->e, ERR_INVALID, "url",
			    "the archive has more than %lld MB", (long long)(s->max / MB));
		loop_timer_again(s->late, 0);
		return true;
	}
	buf_add(&s->buf, p, n);
	if (!s->is_manifest && s->buf.n >= WRITE_AT)
		start_write(s);
	return true;
}

static void
follow(struct cart_source *s)
{
	AUTO(free) char *url = STEAL(s->next_url);
	struct err e = { 0 };

	s->is_redirected = false;
	s->got = 0;
	if (url == NULL)
		fail(s, "it redirects to nowhere");
	else if (++s->redirects > CART_FETCH_REDIRECTS_MAX)
		fail(s, "it redirects more than twice");
	else if (str_has_prefix(s->at, "https:") && !str_has_prefix(url, "https:"))
		fail(s, "it redirects from https to http");
	else if (start_request(s, url, &e) < 0)
		finish(s, &e);
}

static void
on_request_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct cart_source *s = arg;
	struct err why = { 0 };

	(void)status;
	(void)body;
	if (s->is_redirected)
		mem_set_str(&s->next_url, http_call_redirect(c));
	s->call = NULL;
	if (e != NULL && s->e.code == ERR_NONE)
		s->e = *e;
	if (s->e.code != ERR_NONE)
		finish(s, &s->e);
	else if (s->is_redirected)
		follow(s);
	else if (s->is_git && start_git(s, &why) < 0)
		finish(s, &why);
	else if (s->is_git)
		return;
	else if (s->is_manifest)
		finish(s, NULL);
	else if (s->job == NULL)
		s->buf.n > 0 ? start_write(s) : check_end(s);
}

static int
check_url(const char *url, struct err *e)
{
	AUTO_FINI(str_url_fini) struct str_url u = { 0 };

	if (strlen(url) > URL_MAX)
		return err_set(e, ERR_INVALID, "url", "the URL has more than %d bytes", URL_MAX);
	for (const char *p = url; *p != '\0'; p++) {
		if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
			return err_set(e, ERR_INVALID, "url",
			    "the URL has a blank or a character that must be escaped");
	}
	if (!str_has_prefix(url, "http://") && !str_has_prefix(url, "https://") &&
	    !str_has_prefix(url, "git://"))
		return err_set(e, ERR_INVALID, "url",
		    "'%.100s': a cartridge comes by http, https or git only", url);
	if (str_url_parse(url, "url", &u, e) < 0)
		return -1;
	if (u.user != NULL)
		return err_set(e, ERR_INVALID, "url",
		    "a URL with a user or password in it is not taken: others would see it");
	if (u.host[0] == '-' || u.path[0] == '-')
		return err_set(e, ERR_INVALID, "url", "'%.100s' is no URL", url);
	return 0;
}

static int
start_request(struct cart_source *s, const char *url, struct err *e)
{
	const char *ca = s->b->conf.download_ca;
	const struct http_call_opts o = { .url = url,
		.on_head = on_head,
		.on_data = on_data,
		.allows = net_guard_allows,
		.allows_arg = s->b->guard,
		.ca_file = ca == NULL || *ca == '\0' ? NULL : ca,
		.idle_timeout_ms = IDLE_MS };

	if (check_url(url, e) < 0)
		return -1;
	mem_set_str(&s->at, url);
	s->call = http_call_start(s->b->client, &o, on_request_end, s, e);
	return s->call == NULL ? -1 : 0;
}

/* --- git: the address is resolved and checked by us, and git is told to use no other --- */

struct resolve_job {
	struct cart_source *s; /* for done only */
	const struct net_guard *guard;
	char *host, *address; /* owned */
	struct err e;
};

static void
resolve_free(void *p)
{
	struct resolve_job *j = p;

	free(j->host);
	free(j->address);
	free(j);
}

static void
run_resolve(void *p)
{
	struct resolve_job *j = p;

	(void)!net_guard_resolve(j->guard, j->host, &j->address, &j->e);
}

static void
on_git_archived(struct child *c, const struct child_end *end, void *arg)
{
	struct cart_source *s = arg;
	int status = end->status;

	s->child = NULL;
	child_free(c);
	if (status != 0)
		fail(s, "the repository is too large, or has no commit");
	else
		finish(s, NULL);
}

static int
run_git(struct cart_source *s, const char *const *args, bool to_file, int64_t ms,
    child_end_fn *on_end, struct err *e)
{
	AUTO(free) char *bound = xasprintf("--fsize=%lld", (long long)s->max * 2);
	const char *argv[32] = { "/usr/bin/prlimit", bound, "/usr/bin/git" };
	const char *env[32] = { NULL };
	const char *const *base = repo_store_env(s->b->repos);
	size_t n = 0;

	for (; base[n] != NULL && n < 30; n++)
		env[n] = base[n];
	env[n] = "GIT_ALLOW_PROTOCOL=http:https:git";
	for (n = 0; args[n] != NULL && n < 28; n++)
		argv[n + 3] = args[n];
	const struct child_opts o = { .argv = argv,
		.env = env,
		.out_fd = to_file ? s->fd : 0,
		.out_max = 64 * 1024,
		.timeout_ms = ms };

	s->child = child_start(s->b->loop, &o, NULL, on_end, s, e);
	return s->child == NULL ? -1 : 0;
}

static void
on_git_cloned(struct child *c, const struct child_end *end, void *arg)
{
	struct cart_source *s = arg;
	AUTO(free) char *git_dir = xasprintf("--git-dir=%s", s->dir);
	const char *args[] = { git_dir, "archive", "--format=tar", "HEAD", NULL };
	AUTO(free) char *said = xstrndup(end->err, strcspn(end->err, "\n"));
	AUTO(free)
	char *why = xasprintf("git cannot clone it: %s", *said == '\0' ? end->why : said);
	int status = end->status;
	struct err e = { 0 };

	s->child = NULL;
	child_free(c);
	if (status != 0)
		fail(s, why);
	else if (run_git(s, args, true, GIT_MS, on_git_archived, &e) < 0)
		finish(s, &e);
}

static void
on_resolved(void *p)
{
	struct resolve_job *j = p;
	struct cart_source *s = j->s;
	AUTO(free) char *address = STEAL(j->address);
	AUTO_FINI(str_url_fini) struct str_url u = { 0 };
	AUTO(free) char *resolve = NULL;
	AUTO(free) char *url = NULL;
	struct err e = j->e;
	bool is_v6;

	s->job = NULL;
	resolve_free(j);
	if (e.code != ERR_NONE || str_url_parse(s->at, "url", &u, &e) < 0) {
		finish(s, &e);
		return;
	}
	is_v6 = strchr(address, ':') != NULL;
	if (strcmp(u.scheme, "git") == 0) {
		url = u.port == 0 ? xasprintf("git://%s%s%s%s", is_v6 ? "[" : "", address,
		                        is_v6 ? "]" : "", u.path)
		                  : xasprintf("git://%s%s%s:%d%s", is_v6 ? "[" : "", address,
		                        is_v6 ? "]" : "", u.port, u.path);
	} else {
		int usual = strcmp(u.scheme, "https") == 0 ? 443 : 80;

		url = xstrdup(s->at);
		resolve = xasprintf("http.curloptResolve=%s:%d:%s%s%s", u.host,
		    u.port == 0 ? usual : u.port, is_v6 ? "[" : "", address, is_v6 ? "]" : "");
	}
	const char *ca = s->b->conf.download_ca;
	AUTO(free) char *ca_opt = xasprintf("http.sslCAInfo=%s", ca == NULL ? "" : ca);
	const char *args[] = { "-c", "http.followRedirects=false", "-c",
		resolve == NULL ? "http.proxy=" : resolve, "-c", "http.proxy=", "-c",
		"core.hooksPath=/dev/null", "-c",
		ca != NULL && *ca != '\0' ? ca_opt : "http.sslVerify=true", "clone", "--bare",
		s->is_smart ? "--depth=1" : "--single-branch", "--no-tags", "--quiet", "--", url,
		s->dir, NULL };

	if (run_git(s, args, false, GIT_MS, on_git_cloned, &e) < 0)
		finish(s, &e);
}

static int
start_git(struct cart_source *s, struct err *e)
{
	static const char look[] = "/info/refs?service=git-upload-pack";
	AUTO_FINI(str_url_fini) struct str_url u = { 0 };
	struct resolve_job *j;
	size_t n = strlen(s->at);

	/* what the look-up was redirected to is the repository */
	if (str_has_suffix(s->at, look))
		s->at[n - (sizeof look - 1)] = '\0';
	if (check_url(s->at, e) < 0 || str_url_parse(s->at, "url", &u, e) < 0)
		return -1;
	j = xcalloc(1, sizeof *j);
	*j = (struct resolve_job){ .s = s, .guard = s->b->guard, .host = xstrdup(u.host) };
	s->job = worker_submit(s->b->worker, run_resolve, on_resolved, resolve_free, j);
	return 0;
}

/* --- beginning --- */

static struct cart_source *
source_new(struct broker *b, const char *url, void *arg, int64_t ms)
{
	struct cart_source *s = xcalloc(1, sizeof *s);

	*s = (struct cart_source){ .b = b, .url = xstrdup(url), .arg = arg, .fd = -1 };
	s->late = loop_timer_start(b->loop, ms, false, on_late, s);
	s->sha256 = secret_sha256_new();
	s->md5 = secret_sha256_new_md5();
	return s;
}

struct cart_source *
cart_source_manifest(
    struct broker *b, const char *url, cart_source_text_fn *fn, void *arg, struct err *e)
{
	struct cart_source *s = source_new(b, url, arg, CART_FETCH_MANIFEST_MS);

	s->is_manifest = true;
	s->text_fn = fn;
	s->max = WIRE_CART_DOWNLOAD_MAX;
	if (start_request(s, url, e) == 0)
		return s;
	source_free(s);
	return NULL;
}

static int
check_sum(const char *sum, bool is_git, struct err *e)
{
	const char *hex = sum == NULL ? NULL : strchr(sum, ':');
	size_t n = hex == NULL ? 0 : strlen(hex + 1);

	if (sum == NULL)
		return 0;
	if (is_git)
		return err_set(e, ERR_INVALID, "checksum",
		    "a checksum is that of an archive: a git repository has none");
	if (hex == NULL || !((str_has_prefix(sum, "sha256:") && n == 64) ||
	                       (str_has_prefix(sum, "md5:") && n == 32)))
		return err_set(e, ERR_INVALID, "checksum",
		    "'%.80s' is no checksum: give sha256: and 64, or md5: and 32 hex digits", sum);
	return 0;
}

static int
open_file(struct cart_source *s, struct err *e)
{
	s->path = blob_store_tmp(s->b->blobs);
	s->fd = open(s->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->is_git)
		s->dir = blob_store_tmp(s->b->blobs);
	return s->fd < 0 ? err_set(e, ERR_SYSTEM, NULL, "cannot make a file for the download") : 0;
}

struct cart_source *
cart_source_start(struct broker *b, const char *url, const char *checksum, cart_source_file_fn *fn,
    void *arg, struct err *e)
{
	struct cart_source *s = source_new(b, url, arg, ARCHIVE_MS);
	AUTO(free) char *look = xasprintf("%s/info/refs?service=git-upload-pack", url);
	int rc;

	s->is_git = is_git(url);
	s->file_fn = fn;
	s->max = b->conf.download_max_mb * MB;
	s->checksum = s->is_git ? NULL : xstrdup_null(checksum);
	if (!s->is_git && !cart_source_is_code(url) && strstr(url, ".zip") == NULL) {
		(void)err_set(e, ERR_INVALID, "Source-Url",
		    "Unsupported URL(%.300s) for downloading a private cartridge: it must end in "
		    ".git, .zip, .tar, .tar.gz or .tgz",
		    url);
		source_free(s);
		return NULL;
	}
	rc = check_sum(checksum, s->is_git, e);
	if (rc == 0)
		rc = open_file(s, e);
	if (rc == 0 && str_has_prefix(url, "git://")) {
		s->at = xstrdup(url);
		s->is_smart = true;
		rc = start_git(s, e);
	} else if (rc == 0) {
		rc = start_request(s, s->is_git ? look : url, e);
	}
	if (rc == 0)
		return s;
	source_free(s);
	return NULL;
}
