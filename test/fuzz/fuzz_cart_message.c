/* Output of a cartridge's script: in whatever pieces it comes, the same is found in it. */
#include "test/fuzz/fuzz.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/codec/codec.h"
#include "node/cart_message.h"

static void
check_same(const struct str_list *a, const struct str_list *b)
{
	check(a->n == b->n);
	for (size_t i = 0; i < a->n; i++)
		check(strcmp(a->v[i], b->v[i]) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct cart_message whole = { 0 }, parts = { 0 };

	cart_message_feed(&whole, (const char *)data, n);
	cart_message_end(&whole, true);
	for (size_t i = 0; i < n; i += 3)
		cart_message_feed(&parts, (const char *)data + i, n - i < 3 ? n - i : 3);
	cart_message_end(&parts, true);
	check(whole.lines.n <= CART_MESSAGE_LINES_MAX && whole.plain.n <= CART_MESSAGE_PLAIN_MAX);
	check_same(&whole.lines, &parts.lines);
	check_same(&whole.plain, &parts.plain);
	check_same(&whole.asks.env_gone, &parts.asks.env_gone);
	check(whole.properties.n == parts.properties.n && whole.asks.env.n == parts.asks.env.n);
	for (size_t i = 0; i < whole.asks.env.n; i++)
		check(str_is_env_name(whole.asks.env.v[i].name));
	cart_message_fini(&whole);
	cart_message_fini(&parts);
	return 0;
}
