#include "broker/api_cart_lines.h"

#include <string.h>

#include "broker/api_call.h"
#include "broker/cart_status.h"
#include "lib/base/mem.h"

static const struct kind {
	const char *prefix, *severity;
	int ok_turn, fail_turn;
} kinds[] = {
	{ "CLIENT_DEBUG: ", "debug", 0, 0 },
	{ "CLIENT_MESSAGE: ", "warning", 1, 1 },
	{ "CLIENT_ERROR: ", "error", 2, 3 },
	{ "CLIENT_INTERNAL_ERROR: ", "error", 2, 3 },
	{ "CLIENT_RESULT: ", "result", 3, 2 },
};
enum { TURNS = 4, EXIT_ERROR = 1 };

int
api_cart_lines(struct api_call *c, const struct str_list *lines, bool has_failed)
{
	int errors = 0;

	for (int turn = 0; turn < TURNS; turn++) {
		for (size_t i = 0; i < lines->n; i++) {
			for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
				const struct kind *x = &kinds[k];
				bool is_error = strcmp(x->severity, "error") == 0;

				if (!str_has_prefix(lines->v[i], x->prefix) ||
				    (has_failed ? x->fail_turn : x->ok_turn) != turn)
					continue;
				errors += is_error;
				api_message(c, x->severity, is_error ? EXIT_ERROR : 0, NULL, "%s",
				    lines->v[i] + strlen(x->prefix));
			}
		}
	}
	return errors;
}

void
api_cart_messages(struct api_call *c, const char *app_id, const char *cart)
{
	AUTO_FINI(str_list_fini) struct str_list lines = { 0 };

	cart_status_messages(c->b, app_id, cart, &lines);
	(void)api_cart_lines(c, &lines, false);
}
