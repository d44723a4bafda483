/* The user who asks: what they are, their password. */
#include "broker/account.h"
#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_view.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/store/store_key.h"

enum { PASSWORD_MAX = 1024, EXIT_USER = 107, EXIT_UNKNOWN_USER = 99 };

void
api_account_show(struct api_call *c)
{
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	struct err e = { 0 };

	if (record_get(c->b->store, store_key_user(c->who.login), &wire_user_codec, &u, NULL, &e) <
	    0) {
		api_fail_err(c, &e, EXIT_UNKNOWN_USER);
		return;
	}
	api_view_user(c, api_data(c, "user"), NULL, &u);
	api_send(c, 200);
}

/* --- PUT user/password {old, new} --- */

static void
password_changed(const struct err *e, void *arg)
{
	struct api_call *c = arg;

	if (e != NULL) {
		api_fail_err(c, e, EXIT_USER);
		return;
	}
	api_message(c, "result", 0, NULL,
	    "The password was changed. Tokens made with the old one are void.");
	api_send(c, 200);
}

static void
password_hashed(const char *hash, const struct err *e, void *arg)
{
	struct api_call *c = arg;

	if (e != NULL)
		api_fail_err(c, e, EXIT_USER);
	else
		account_set_password(
		    c->b, c->who.login, hash, c->who.token_id, password_changed, c);
}

static void
old_verified(bool ok, const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const char *new = NULL;
	struct err why = { 0 };

	if (e != NULL) {
		api_fail_as(c, e, e->code == ERR_LIMIT ? 429 : 503, EXIT_USER);
		return;
	}
	if (!ok) {
		api_fail(c, 422, EXIT_USER, "old",
		    "The old password is wrong. Give the present password as 'old'.");
		return;
	}
	if (api_param_str(c->params, "new", PASSWORD_MAX, &new, &why) < 0) {
		api_fail_err(c, &why, EXIT_USER);
		return;
	}
	auth_hash(c->b->auth, new, password_hashed, c);
}

void
api_account_password(struct api_call *c)
{
	const char *old = NULL;
	const char *new = NULL;
	struct err e = { 0 };

	if (api_param_str(c->params, "old", PASSWORD_MAX, &old, &e) < 0 ||
	    api_param_str(c->params, "new", PASSWORD_MAX, &new, &e) < 0) {
		api_fail_err(c, &e, EXIT_USER);
		return;
	}
	if (old == NULL || new == NULL) {
		api_fail(c, 422, EXIT_USER, old == NULL ? "old" : "new",
		    "The parameter '%s' is required: send both 'old' and 'new'.",
		    old == NULL ? "old" : "new");
		return;
	}
	if (auth_check_password(new, &e) < 0) {
		api_fail(c, 422, EXIT_USER, "new", "%s", e.text);
		return;
	}
	auth_verify(c->b->auth, c->who.login, old, c->peer, old_verified, c);
}
