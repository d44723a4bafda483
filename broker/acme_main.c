/* pinion-acme: stands between the broker and its ACME client, which is a program of its own.
 *
 *   pinion-acme begin|done|failed TYPE HOST TOKEN ANSWER
 *     as the client's hook: hands a challenge to the broker, and waits until routers answer it.
 *   pinion-acme trust FILE PROGRAM ARG…
 *     runs the client such that it trusts the authorities of FILE, and no others. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/wire/wire_acme.h"

enum { WAIT_MS = 40 * 1000, WORDS = 6 };

/* Where the client's libraries look. */
#define BUNDLE "/etc/ssl/certs/ca-certificates.crt"

/* --- the hook --- */

static int
tell(char **argv, struct err *e)
{
	const struct wire_acme_word w = { .word = argv[1],
		.type = argv[2],
		.host = argv[3],
		.token = argv[4],
		.answer = argv[5] };
	AUTO(free) char *body = codec_to_json(&wire_acme_word_codec, &w);
	const char *url = getenv("PINION_ACME_URL"), *token = getenv("PINION_ACME_TOKEN");
	AUTO_FINI(buf_fini) struct buf out = { 0 };
	int status;

	if (url == NULL || token == NULL)
		return err_set(e, ERR_INVALID, NULL,
		    "PINION_ACME_URL and PINION_ACME_TOKEN are not set: the broker's ACME client "
		    "runs this program");
	const struct http_call_opts o = { .method = "POST",
		.url = url,
		.bearer = token,
		.body = body,
		.body_n = strlen(body),
		.timeout_ms = WAIT_MS };

	status = http_call_wait(&o, &out, NULL, e);
	if (status < 0)
		return -1;
	/* 409: not this way; there may be another */
	if (status == 409)
		exit(1);
	return status == 200 ? 0
	                     : err_set(e, ERR_SYSTEM, NULL, "the broker says %d: %.300s", status,
	                           out.p == NULL ? "" : out.p);
}

/* --- other authorities --- */

static int
write_map(const char *path, const char *text, struct err *e)
{
	AUTO(file_close) int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open %s", path);
	return file_write_all(fd, text, strlen(text), e);
}

/* A view of the files of its own, in which the bundle is another; without root by a user namespace.
 */
static int
trust(const char *file, struct err *e)
{
	AUTO(free) char *uid = xasprintf("%u %u 1\n", (unsigned)getuid(), (unsigned)getuid());
	AUTO(free) char *gid = xasprintf("%u %u 1\n", (unsigned)getgid(), (unsigned)getgid());
	bool is_root = geteuid() == 0;

	if (unshare(CLONE_NEWNS | (is_root ? 0 : CLONE_NEWUSER)) < 0)
		return err_set(e, ERR_SYSTEM, "acme-ca-file",
		    "the kernel gives no namespace of its own: add the authority to those of the "
		    "system (update-ca-certificates) and leave acme-ca-file out");
	if (!is_root && (write_map("/proc/self/setgroups", "deny", e) < 0 ||
	                    write_map("/proc/self/uid_map", uid, e) < 0 ||
	                    write_map("/proc/self/gid_map", gid, e) < 0))
		return -1;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount(file, BUNDLE, NULL, MS_BIND, NULL) < 0)
		return err_set(
		    e, ERR_SYSTEM, "acme-ca-file", "cannot mount %s at %s", file, BUNDLE);
	return 0;
}

static bool
is_word(const char *s)
{
	return strcmp(s, "begin") == 0 || strcmp(s, "done") == 0 || strcmp(s, "failed") == 0;
}

int
main(int argc, char **argv)
{
	struct err e = { 0 };
	int rc;

	mem_setup();
	if (argc == WORDS && is_word(argv[1])) {
		rc = tell(argv, &e);
	} else if (argc > 3 && strcmp(argv[1], "trust") == 0) {
		rc = trust(argv[2], &e);
		if (rc == 0) {
			(void)execv(argv[3], argv + 3);
			rc = err_set(&e, ERR_SYSTEM, "acme-program", "cannot run %s", argv[3]);
		}
	} else {
		rc = err_set(&e, ERR_INVALID, NULL,
		    "the broker runs this program for its ACME client: begin|done|failed TYPE HOST "
		    "TOKEN ANSWER, or trust FILE PROGRAM ARG...");
	}
	if (rc < 0)
		(void)fprintf(stderr, "pinion-acme: %s\n", e.text);
	return rc < 0 ? 2 : 0;
}
