#include <libssh/callbacks.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "ssh/ssh_gate.h"

static void
free_string(char **p)
{
	ssh_string_free_char(*p);
}

/* Does the broker know this key for that user? is_signed: and it was proved to be theirs. */
static int
ask(struct ssh_gate *g, const char *user, const char *type, const char *content, bool is_signed,
    struct err *e)
{
	AUTO_FINI(buf_fini) struct buf order = { 0 };

	buf_adds(&order, "{\"user\":");
	buf_add_json_str(&order, user);
	buf_adds(&order, ",\"type\":");
	buf_add_json_str(&order, type);
	buf_adds(&order, ",\"content\":");
	buf_add_json_str(&order, content);
	buf_addf(&order, ",\"is_signed\":%s}", is_signed ? "true" : "false");
	return ssh_call(g, "/ssh/login", buf_str(&order), e);
}

static int
admit(struct ssh_gate *g, const char *user, ssh_key key, bool is_signed)
{
	AUTO_FINI(free_string) char *content = NULL;
	const char *type = ssh_key_type_to_char(ssh_key_type(key));
	struct err e = { 0 };

	if (type == NULL || ssh_pki_export_pubkey_base64(key, &content) != SSH_OK)
		return SSH_AUTH_DENIED;
	if (ask(g, user, type, content, is_signed, &e) == 0)
		return SSH_AUTH_SUCCESS;
	if (e.code != ERR_DENIED)
		log_warn("ssh_login_failed", LOG_STR("user", user), LOG_ERR(&e));
	return SSH_AUTH_DENIED;
}

static int
on_pubkey(ssh_session session, const char *user, struct ssh_key_struct *key, char state, void *arg)
{
	struct ssh_gate *g = arg;
	int rc;

	(void)session;
	if (g->is_in || ++g->tries > 2 * SSH_GATE_TRIES_MAX) {
		g->is_over = true;
		return SSH_AUTH_DENIED;
	}
	if (state != SSH_PUBLICKEY_STATE_NONE && state != SSH_PUBLICKEY_STATE_VALID)
		return SSH_AUTH_DENIED;
	rc = admit(g, user, key, state == SSH_PUBLICKEY_STATE_VALID);
	if (rc == SSH_AUTH_SUCCESS && state == SSH_PUBLICKEY_STATE_VALID) {
		g->is_in = true;
		mem_set_str(&g->user, user);
	}
	return rc;
}

static int
on_service(ssh_session session, const char *service, void *arg)
{
	(void)session;
	(void)service;
	(void)arg;
	return 0;
}

static ssh_channel
on_session(ssh_session session, void *arg)
{
	struct ssh_gate *g = arg;

	return g->is_in ? ssh_chan_open_session(session, g) : NULL;
}

/* What has no callback. 1: libssh says no. */
static int
on_message(ssh_session session, ssh_message m, void *arg)
{
	struct ssh_gate *g = arg;

	(void)session;
	if (!g->is_in || ssh_message_type(m) != SSH_REQUEST_CHANNEL_OPEN ||
	    ssh_message_subtype(m) != SSH_CHANNEL_DIRECT_TCPIP)
		return 1;
	return ssh_chan_open_port(g, m) ? 0 : 1;
}

void
ssh_login_prepare(struct ssh_gate *g)
{
	static struct ssh_server_callbacks_struct callbacks;

	callbacks = (struct ssh_server_callbacks_struct){
		.userdata = g,
		.auth_pubkey_function = on_pubkey,
		.service_request_function = on_service,
		.channel_open_request_session_function = on_session,
	};
	ssh_callbacks_init(&callbacks);
	(void)ssh_set_server_callbacks(g->session, &callbacks);
	ssh_set_message_callback(g->session, on_message, g);
	ssh_set_auth_methods(g->session, SSH_AUTH_METHOD_PUBLICKEY);
}
