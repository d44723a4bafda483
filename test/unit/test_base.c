/* err, mem, buf, str, map, file, secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/file.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"

static void
err_keeps_code_field_and_words(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(err_set(&e, ERR_INVALID, "name", "must be %d", 3), -1);
	assert_int_equal(err_field(&e, "cartridges[%d]", 0), -1);
	assert_int_equal(err_wrap(&e, "create %s", "app"), -1);
	assert_string_equal(e.field, "cartridges[0].name");
	assert_string_equal(e.text, "create app: must be 3");
	assert_int_equal(err_http_status(e.code), 422);
	assert_int_equal(err_exit_code(e.code), 2);
	errno = ENOSPC;
	(void)err_set(&e, ERR_SYSTEM, NULL, "cannot write");
	assert_int_equal(e.sys, ENOSPC);
	assert_string_equal(e.text, "cannot write: No space left on device");
}

static void
err_wrap_cuts_what_is_too_long(void **state)
{
	struct err e = { 0 };
	char big[ERR_TEXT_MAX * 2];

	(void)state;
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	(void)err_set(&e, ERR_INVALID, NULL, "%s", big);
	(void)err_wrap(&e, "%s", big);
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
}

static void
buf_writes_json_strings(void **state)
{
	static const struct {
		const char *in;
		size_t n;
		const char *out;
	} cases[] = {
		{ "plain", 5, "\"plain\"" }, { "a\"b\\c", 5, "\"a\\\"b\\\\c\"" },
		{ "\n\t\b\f\r\x01\x0b", 7, "\"\\n\\t\\b\\f\\r\\u0001\\u000b\"" },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9,
		    "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
		{ "\xff\xc3(", 3, "\"\xef\xbf\xbd\xef\xbf\xbd(\"" },
		{ "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* a surrogate */
		{ "\xc0\x80", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },                 /* overlong */
		{ "\xf4\x90\x80\x80", 4,
		    "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* past U+10FFFF */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_FINI(buf_fini) struct buf b = { 0 };

		buf_add_json_strn(&b, cases[i].in, cases[i].n);
		assert_string_equal(b.p, cases[i].out);
	}
}

static void
buf_grows_drops_and_bounds(void **state)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };

	(void)state;
	for (int i = 0; i < 1000; i++)
		buf_addf(&b, "%03d,", i);
	assert_int_equal(b.n, 4000);
	buf_drop(&b, 3996);
	assert_string_equal(b.p, "999,");
	assert_int_equal(buf_add_max(&b, "12345", 5, 8, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_string_equal(b.p, "999,");
	assert_int_equal(buf_add_max(&b, "1234", 4, 8, &e), 0);
	buf_clear(&b);
	buf_add_url(&b, "a b/\xc3\xa9~");
	assert_string_equal(b.p, "a%20b%2F%C3%A9~");
}

static void
members_are_parted(void **state)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	(void)state;
	buf_addc(&b, '{');
	buf_add_json_member(&b, "none", NULL);
	buf_add_json_member(&b, "a", "1");
	buf_add_json_member(&b, "b", "\"");
	assert_string_equal(b.p, "{\"a\":\"1\",\"b\":\"\\\"\"");
}

static void
clean_leaves_text(void **state)
{
	static const struct {
		const char *text, *clean;
	} cases[] = {
		{ "plain, \xc3\xa4\tand \xe2\x82\xac", "plain, \xc3\xa4\tand \xe2\x82\xac" },
		{ "\x1b[31;1mred\x1b[0m", "red" },
		{ "\x1b]0;title\x07", "]0;title" },
		{ "a\xc2\x9b"
		  "31mb",
		    "a31mb" },
		{ "turned \xe2\x80\xae"
		  "back",
		    "turned back" },
		{ "\x1b[", "" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_FINI(buf_fini) struct buf b = { 0 };

		buf_adds(&b, "");
		str_clean(cases[i].text, strlen(cases[i].text), &b);
		assert_string_equal(b.n == 0 ? "" : b.p, cases[i].clean);
	}
}

static void
printable_hides_controls(void **state)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	(void)state;
	buf_add_printable(&b, "a\x1b[1m\xff\n", 6);
	assert_string_equal(b.p, "a\\x1b[1m\\xff");
}

static void
str_reads_strict_numbers(void **state)
{
	static const struct {
		const char *in;
		bool ok;
		int64_t out;
	} cases[] = {
		{ "0", true, 0 },
		{ "-5", true, -5 },
		{ "100", true, 100 },
		{ "101", false, 0 },
		{ "-6", false, 0 },
		{ "", false, 0 },
		{ "-", false, 0 },
		{ "+1", false, 0 },
		{ " 1", false, 0 },
		{ "1x", false, 0 },
		{ "99999999999999999999999999999999999999999999", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = { 0 };
		int64_t out = 0;
		int rc = str_to_i64(str_of(cases[i].in), -5, 100, "n", &out, &e);

		assert_int_equal(rc, cases[i].ok ? 0 : -1);
		if (cases[i].ok)
			assert_int_equal(out, cases[i].out);
		else
			assert_string_equal(e.field, "n");
	}
}

static void
str_checks_names(void **state)
{
	char label[65];

	(void)state;
	assert_true(str_is_name("App1", 4));
	assert_false(str_is_name("App12", 4));
	assert_false(str_is_name("", 4));
	assert_false(str_is_name("a-b", 4));
	assert_true(str_is_host("a-1.example.com"));
	assert_false(str_is_host("A.example.com"));
	assert_false(str_is_host("-a.example.com"));
	assert_false(str_is_host("a-.example.com"));
	assert_false(str_is_host("a..b"));
	assert_false(str_is_host("a."));
	assert_false(str_is_host(""));
	memset(label, 'a', 64);
	label[64] = '\0';
	assert_false(str_is_host(label));
	label[63] = '\0';
	assert_true(str_is_host(label));
	assert_true(str_is_env_name("_A1"));
	assert_false(str_is_env_name("1A"));
	assert_false(str_is_env_name("A-B"));
	assert_true(str_is_hex("00ff", 4));
	assert_false(str_is_hex("00FF", 4));
}

static void
str_decodes_urls(void **state)
{
	static const struct {
		const char *in, *out; /* out NULL: refused */
	} cases[] = {
		{ "a%20b+c", "a b+c" },
		{ "%41", "A" },
		{ "%", NULL },
		{ "%4", NULL },
		{ "%4g", NULL },
		{ "%00", NULL },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = { 0 };
		AUTO(free) char *out = str_url_decode(str_of(cases[i].in), false, &e);

		if (cases[i].out == NULL)
			assert_null(out);
		else
			assert_string_equal(out, cases[i].out);
	}
}

static void
str_parses_urls(void **state)
{
	struct err e = { 0 };
	AUTO_FINI(str_url_fini) struct str_url u = { 0 };

	(void)state;
	assert_int_equal(str_url_parse("HTTP://me@[::1]:80/a?b", "url", &u, &e), 0);
	assert_string_equal(u.scheme, "http");
	assert_string_equal(u.user, "me");
	assert_string_equal(u.host, "::1");
	assert_int_equal(u.port, 80);
	assert_string_equal(u.path, "/a?b");
	str_url_fini(&u);
	static const char *const bad[] = { "", "x", "http://", "http://:80/", "http://a:0/",
		"http://a:99999", "http://a b/", "://a", "http://[::1/" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(str_url_parse(bad[i], "url", &u, &e), -1);
}

static void
str_round_trips_base64(void **state)
{
	static const struct {
		const char *plain, *coded;
	} cases[] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
		{ "foobar", "Zm9vYmFy" } };
	static const char *const bad[] = { "Z", "Zg=", "Zg", "Zh==", "Z===", "Zg==Zg==", "Zm9\n",
		"Zm9-" };
	size_t n;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(free) char *coded = str_base64(cases[i].plain, strlen(cases[i].plain));
		AUTO(free_ptr) char *plain = str_base64_decode(str_of(cases[i].coded), &n);

		assert_string_equal(coded, cases[i].coded);
		assert_string_equal(plain, cases[i].plain);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_null(str_base64_decode(str_of(bad[i]), &n));
}

static void
count_visit(const char *key, void *value, void *arg)
{
	(void)key;
	(void)value;
	(*(int *)arg)++;
}

static void
maps_hold_what_was_set(void **state)
{
	struct map *m = map_new(free);
	struct omap *o = omap_new(free);
	int visits = 0;
	void *value;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		AUTO(free) char *key = xasprintf("%05d", (i * 7919) % 5000);

		map_set(m, key, xstrdup(key));
		omap_set(o, key, xstrdup(key));
	}
	assert_int_equal(map_count(m), 5000);
	assert_int_equal(omap_count(o), 5000);
	assert_string_equal(map_get(m, "00042"), "00042");
	assert_string_equal(map_getn(m, "00042xyz", 5), "00042");
	assert_null(map_get(m, "x"));
	map_each(m, count_visit, &visits);
	assert_int_equal(visits, 5000);
	assert_true(map_remove(m, "00042"));
	assert_false(map_remove(m, "00042"));
	int at = 0;
	for (const char *k = omap_seek(o, "", false, &value); k != NULL;
	     k = omap_seek(o, k, true, &value), at++)
		assert_int_equal(atoi(k), at);
	assert_int_equal(at, 5000);
	assert_true(omap_remove(o, "00010"));
	assert_string_equal(omap_seek(o, "00010", false, NULL), "00011");
	assert_null(omap_seek(o, "05000", false, NULL));
	map_free(m);
	omap_free(o);
}

static void
file_raises_what_stays_open(void **state)
{
	struct rlimit r = { 0 };
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), up = file_raise(fd);

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
	if (r.rlim_cur > 1024)
		assert_true(up >= 1024 && fcntl(fd, F_GETFD) < 0);
	assert_int_equal(fcntl(up, F_GETFD), FD_CLOEXEC);
	file_close(up);
	assert_int_equal(file_raise(-1), -1);
}

static void
file_replaces_reads_and_bounds(void **state)
{
	char dir[] = "/tmp/pinion-base-XXXXXX";
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	AUTO(free) char *path = file_join(dir, "a");
	assert_int_equal(file_read(path, 10, &b, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_int_equal(file_replace(path, "12345", 5, 0640, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(file_read(path, 5, &b, &e), 0);
	assert_string_equal(b.p, "12345");
	assert_int_equal(file_read(path, 4, &b, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_string_equal(b.p, "12345");
	assert_int_equal(file_remove_tree(dir, &e), 0);
	assert_int_equal(file_remove_tree(dir, &e), 0);
	assert_false(file_exists(dir));
}

static void
file_opens_only_beneath(void **state)
{
	char dir[] = "/tmp/pinion-base-XXXXXX";
	struct err e = { 0 };

	(void)state;
	assert_non_null(mkdtemp(dir));
	AUTO(file_close) int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(symlinkat("/etc/passwd", root, "link"), 0);
	assert_int_equal(file_open_beneath(root, "link", O_RDONLY, 0, &e), -1);
	assert_int_equal(file_open_beneath(root, "../../etc/passwd", O_RDONLY, 0, &e), -1);
	AUTO(file_close) int fd = file_open_beneath(root, "new", O_WRONLY | O_CREAT, 0600, &e);
	assert_true(fd >= 0);
	assert_int_equal(file_remove_tree(dir, &e), 0);
}

static void
file_lock_excludes(void **state)
{
	char dir[] = "/tmp/pinion-base-XXXXXX";
	struct err e = { 0 };

	(void)state;
	assert_non_null(mkdtemp(dir));
	AUTO(free) char *path = file_join(dir, "lock");
	int fd = file_lock(path, &e);
	assert_true(fd >= 0);
	assert_int_equal(file_lock(path, &e), -1);
	assert_int_equal(e.code, ERR_BUSY);
	file_close(fd);
	AUTO(file_close) int again = file_lock(path, &e);
	assert_true(again >= 0);
	assert_int_equal(file_remove_tree(dir, &e), 0);
}

static void
secrets_hash_and_compare(void **state)
{
	struct err e = { 0 };
	AUTO(free) char *hash = secret_password_hash("correct horse", &e);
	AUTO(free) char *a = secret_random_hex(16);
	AUTO(free) char *b = secret_random_hex(16);
	char digest[65];

	(void)state;
	assert_non_null(strstr(hash, "$argon2id$v=19$m=19456,t=2,p=1$"));
	assert_true(secret_password_verify(hash, "correct horse"));
	assert_false(secret_password_verify(hash, "correct horsf"));
	assert_false(secret_password_verify("junk", "correct horse"));
	assert_string_not_equal(a, b);
	assert_true(secret_equal(a, a));
	assert_false(secret_equal(a, b));
	assert_false(secret_equal("", "x"));
	assert_false(secret_equal("x", ""));
	secret_sha256_hex("abc", 3, digest);
	assert_string_equal(
	    digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_are_parted),
		cmocka_unit_test(printable_hides_controls),
		cmocka_unit_test(clean_leaves_text),
		cmocka_unit_test(err_keeps_code_field_and_words),
		cmocka_unit_test(err_wrap_cuts_what_is_too_long),
		cmocka_unit_test(buf_writes_json_strings),
		cmocka_unit_test(buf_grows_drops_and_bounds),
		cmocka_unit_test(str_reads_strict_numbers),
		cmocka_unit_test(str_checks_names),
		cmocka_unit_test(str_decodes_urls),
		cmocka_unit_test(str_parses_urls),
		cmocka_unit_test(str_round_trips_base64),
		cmocka_unit_test(maps_hold_what_was_set),
		cmocka_unit_test(file_replaces_reads_and_bounds),
		cmocka_unit_test(file_raises_what_stays_open),
		cmocka_unit_test(file_opens_only_beneath),
		cmocka_unit_test(file_lock_excludes),
		cmocka_unit_test(secrets_hash_and_compare),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
