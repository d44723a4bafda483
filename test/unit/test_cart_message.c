#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/mem.h"
#include "node/cart_message.h"
#include "node/init_filter.h"

static void
feed(struct cart_message *m, const char *text)
{
	cart_message_feed(m, text, strlen(text));
}

static void
test_kinds(void **state)
{
	AUTO_FINI(cart_message_fini) struct cart_message m = { 0 };

	(void)state;
	feed(&m, "plain\nCLIENT_MESSAGE: hel");
	feed(&m, "lo\r\nCLIENT_RESULT: 1\nCLIENT_MESSAGE:no space\n"
	         "CART_PROPERTIES: connection_url=postgres://u:p@h/?a=b\n"
	         "CART_DATA: k=v\nATTR: status=ALREADY_STOPPED\n"
	         "ENV_VAR_ADD: JENKINS_URL=http://x/?a=b\nENV_VAR_ADD: 1bad=2\n"
	         "APP_ENV_VAR_REMOVE: GONE\nBROKER_AUTH_KEY_ADD: \n"
	         "NOTIFY_ENDPOINT_CREATE: {}\nAPP_SSH_KEY_ADD: n AAAA\nCLIENT_ERROR: last");
	cart_message_end(&m, true);
	assert_int_equal(m.lines.n, 3);
	assert_string_equal(m.lines.v[0], "CLIENT_MESSAGE: hello");
	assert_string_equal(m.lines.v[2], "CLIENT_ERROR: last");
	assert_true(m.has_error);
	assert_int_equal(m.plain.n, 2);
	assert_int_equal(m.properties.n, 3);
	assert_string_equal(m.properties.v[0].value, "postgres://u:p@h/?a=b");
	assert_int_equal(m.asks.env.n, 1);
	assert_string_equal(m.asks.env.v[0].value, "http://x/?a=b");
	assert_int_equal(m.asks.env_gone.n, 1);
	assert_int_equal(m.asks.ssh_keys.n, 1);
	assert_true(m.asks.wants_auth);
}

/* What is asked for and taken back: the last word counts. */
static void
test_asks(void **state)
{
	AUTO_FINI(cart_message_fini) struct cart_message m = { 0 };

	(void)state;
	feed(&m, "ENV_VAR_ADD: A=1\nENV_VAR_REMOVE: A\nAPP_ENV_VAR_REMOVE: B\nENV_VAR_ADD: B=2\n"
	         "APP_SSH_KEY_ADD: a.b CCCC\nAPP_SSH_KEY_ADD: c DDDD\nAPP_SSH_KEY_REMOVE: a.b\n"
	         "SSH_KEY_ADD: AAAA\nSSH_KEY_ADD: BBBB\nBROKER_AUTH_KEY_ADD: \n"
	         "BROKER_AUTH_KEY_REMOVE: \nAPP_SSH_KEY_ADD: two words here\n");
	cart_message_end(&m, true);
	assert_int_equal(m.asks.env.n, 1);
	assert_string_equal(m.asks.env.v[0].name, "B");
	assert_int_equal(m.asks.env_gone.n, 1);
	assert_string_equal(m.asks.env_gone.v[0], "A");
	assert_int_equal(m.asks.ssh_keys.n, 1);
	assert_string_equal(m.asks.ssh_keys.v[0], "c DDDD");
	assert_string_equal(m.asks.domain_key, "BBBB");
	assert_false(m.asks.drops_domain_key);
	assert_string_equal(m.asks.ssh_keys_gone.v[0], "a-b");
	assert_false(m.asks.wants_auth);
	assert_true(m.asks.drops_auth);
	feed(&m, "SSH_KEY_ADD: two words\nSSH_KEY_ADD:  \n");
	assert_string_equal(m.asks.domain_key, "BBBB");
	feed(&m, "SSH_KEY_REMOVE: \n");
	assert_null(m.asks.domain_key);
	assert_true(m.asks.drops_domain_key);
}

/* What only a success may do is dropped; the lines stay. */
static void
test_failure(void **state)
{
	AUTO_FINI(cart_message_fini) struct cart_message m = { 0 };
	AUTO_FINI(str_list_fini) struct str_list told = { 0 };

	(void)state;
	feed(&m, "ENV_VAR_ADD: A=1\nBROKER_AUTH_KEY_ADD: \nSSH_KEY_ADD: AAAA\nwhy\n");
	cart_message_end(&m, false);
	assert_int_equal(m.asks.env.n, 0);
	assert_int_equal(m.asks.ssh_keys.n, 0);
	assert_null(m.asks.domain_key);
	assert_false(m.asks.wants_auth);
	cart_message_tell_plain(&m, "CLIENT_ERROR", &told);
	assert_int_equal(told.n, 1);
	assert_string_equal(told.v[0], "CLIENT_ERROR: why");
}

static void
test_bounds(void **state)
{
	AUTO_FINI(cart_message_fini) struct cart_message m = { 0 };

	(void)state;
	for (int i = 0; i < 10000; i++)
		feed(&m, "CLIENT_MESSAGE: again\nplain line\nATTR: same=1\n");
	for (int i = 0; i < 10000; i++)
		feed(&m, "a line without an end ");
	cart_message_end(&m, true);
	assert_int_equal(m.lines.n, CART_MESSAGE_LINES_MAX);
	assert_int_equal(m.plain.n, CART_MESSAGE_PLAIN_MAX);
	assert_int_equal(m.properties.n, 1);
	assert_int_equal(strlen(m.plain.v[m.plain.n - 1]), CART_MESSAGE_LINE_MAX);
}

static void
test_terminal_escapes(void **state)
{
	AUTO_FINI(cart_message_fini) struct cart_message m = { 0 };

	(void)state;
	feed(&m, "CLIENT_MESSAGE: \033[2Jgone\a\n");
	cart_message_end(&m, true);
	assert_string_equal(m.lines.v[0], "CLIENT_MESSAGE: ?[2Jgone?");
}

static void
test_sizes(void **state)
{
	static const struct {
		const char *text;
		int64_t size; /* -1: none */
	} cases[] = { { "10M", 10 << 20 }, { "512k", 512 << 10 }, { "0", 0 }, { "7", 7 },
		{ "1T", INT64_C(1) << 40 }, { "", -1 }, { "M", -1 }, { "1MB", -1 }, { "-1", -1 },
		{ "99999999999999999999", -1 }, { "9999999999T", -1 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t got = -1;

		assert_int_equal(init_filter_size(cases[i].text, &got), cases[i].size >= 0);
		assert_int_equal(got, cases[i].size);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_asks),
		cmocka_unit_test(test_failure),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_terminal_escapes),
		cmocka_unit_test(test_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
