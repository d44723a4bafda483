/* pinion-ssh: one SSH connection, started by the broker for each: the connection is fd 3, the host
 * keys are fds 4 and 5. `pinion-ssh --make-keys DIR` makes the host keys of an installation. */
#include <errno.h>
#include <fcntl.h>
#include <libssh/callbacks.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "ssh/ssh_gate.h"

enum {
	LOGIN_S = 20,
	KEY_MAX = 64 * 1024,
	TURNS = 64, /* reads of the socket before others have their turn */
	RSA_BITS = 3072,
};

/* --- host keys --- */

static int
make_key(const char *dir, const char *name, enum ssh_keytypes_e type, int bits, struct err *e)
{
	AUTO(free) char *path = file_join(dir, name);
	AUTO(free) char *part = xasprintf("%s.new", path);
	ssh_key key = NULL;
	int rc;

	if (file_exists(path))
		return 0;
	(void)unlink(part);
	rc = ssh_pki_generate(type, bits, &key) == SSH_OK &&
	             ssh_pki_export_privkey_file(key, NULL, NULL, NULL, part) == SSH_OK &&
	             chmod(part, 0600) == 0 && rename(part, path) == 0
	         ? 0
	         : err_set(e, ERR_SYSTEM, NULL, "make the host key %s", path);
	ssh_key_free(key);
	return rc;
}

static int
make_keys(const char *dir)
{
	struct err e = { 0 };

	(void)umask(077);
	if (make_key(dir, "ssh_host_ed25519_key", SSH_KEYTYPE_ED25519, 0, &e) == 0 &&
	    make_key(dir, "ssh_host_rsa_key", SSH_KEYTYPE_RSA, RSA_BITS, &e) == 0)
		return 0;
	(void)fprintf(stderr, "pinion-ssh: %s\n", e.text);
	return 1;
}

/* fd: shared with other connections, so its offset is nobody's. */
static ssh_key
read_key(int fd)
{
	char *text = xcalloc(1, KEY_MAX + 1);
	ssize_t n = pread(fd, text, KEY_MAX, 0);
	ssh_key key = NULL;

	if (n > 0 && ssh_pki_import_privkey_base64(text, NULL, NULL, NULL, &key) != SSH_OK)
		key = NULL;
	explicit_bzero(text, KEY_MAX);
	free(text);
	(void)close(fd);
	return key;
}

static int
add_keys(ssh_bind b, struct err *e)
{
	int n = 0;

	for (int i = 0; i < SSH_GATE_KEYS; i++) {
		ssh_key key = read_key(SSH_GATE_KEY_FD + i);

		if (key == NULL)
			continue;
		if (ssh_bind_options_set(b, SSH_BIND_OPTIONS_IMPORT_KEY, key) == SSH_OK)
			n++;
	}
	return n > 0 ? 0 : err_set(e, ERR_SYSTEM, NULL, "no host key can be read");
}

/* --- the session --- */

static int
set_algorithms(ssh_bind b, struct err *e)
{
	static const char kex[] = "curve25519-sha256,curve25519-sha256@libssh.org,"
	                          "ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,"
	                          "diffie-hellman-group16-sha512,diffie-hellman-group18-sha512";
	static const char ciphers[] = "aes256-gcm@openssh.com,aes128-gcm@openssh.com,"
	                              "chacha20-poly1305@openssh.com,aes256-ctr,aes128-ctr";
	static const char macs[] = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,"
	                           "hmac-sha2-256,hmac-sha2-512";
	static const char keys[] = "ssh-ed25519,rsa-sha2-512,rsa-sha2-256";
	static const char users[] =
	    "ssh-ed25519,sk-ssh-ed25519@openssh.com,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,"
	    "ecdsa-sha2-nistp521,sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256";
	const bool no = false;

	if (ssh_bind_options_set(b, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no) < 0 ||
	    ssh_bind_options_set(b, SSH_BIND_OPTIONS_BANNER, "Pinion") < 0 ||
	    ssh_bind_options_set(b, SSH_BIND_OPTIONS_KEY_EXCHANGE, kex) < 0 ||
	    ssh_bind_options_set(b, SSH_BIND_OPTIONS_CIPHERS_C_S, ciphers) < 0 ||
	    ssh_bind_options_set(b, SSH_BIND_OPTIONS_CIPHERS_S_C, ciphers) < 0 ||
	    ssh_bind_options_set(b, SSH_BIND_OPTIONS_HMAC_C_S, macs) < 0 ||
	    ssh_bind_options_set(b, SSH_BIND_OPTIONS_HMAC_S_C, macs) < 0 ||
	    ssh_bind_options_set(b, SSH_BIND_OPTIONS_HOSTKEY_ALGORITHMS, keys) < 0 ||
	    ssh_bind_options_set(b, SSH_BIND_OPTIONS_PUBKEY_ACCEPTED_KEY_TYPES, users) < 0)
		return err_set(e, ERR_BUG, NULL, "libssh: %s", ssh_get_error(b));
	return 0;
}

static void
free_bind(ssh_bind *b)
{
	if (*b != NULL)
		ssh_bind_free(*b);
}

static int
open_session(struct ssh_gate *g, struct err *e)
{
	AUTO_FINI(free_bind) ssh_bind b = ssh_bind_new();

	g->session = ssh_new();
	if (b == NULL || g->session == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "libssh cannot start");
	if (set_algorithms(b, e) < 0 || add_keys(b, e) < 0)
		return -1;
	if (ssh_bind_accept_fd(b, g->session, SSH_GATE_SOCKET_FD) != SSH_OK)
		return err_set(e, ERR_SYSTEM, NULL, "libssh: %s", ssh_get_error(b));
	return 0;
}

void
ssh_gate_settle(struct ssh_gate *g)
{
	int what = LOOP_READ;

	if ((ssh_get_poll_flags(g->session) & SSH_WRITE_PENDING) != 0)
		what |= LOOP_WRITE;
	if (g->io == NULL || what == g->interest)
		return;
	g->interest = what;
	loop_io_set(g->io, what);
}

static void
end_login(struct ssh_gate *g)
{
	static bool is_done;

	if (!g->is_in || is_done)
		return;
	is_done = true;
	(void)alarm(0);
}

static void
on_socket(int fd, int what, void *arg)
{
	struct ssh_gate *g = arg;
	int turns = 0;

	(void)fd;
	(void)what;
	do {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (ssh_event_dopoll(g->event, 0) == SSH_ERROR || !ssh_is_connected(g->session))
			g->is_over = true;
		end_login(g);
		ssh_chan_pump_all(g);
		if (poll(&p, 1, 0) <= 0)
			break;
	} while (!g->is_over && ++turns < TURNS);
	if (g->is_over)
		loop_stop(g->loop);
	else
		ssh_gate_settle(g);
}

static int
serve(struct ssh_gate *g, struct err *e)
{
	g->loop = loop_new();
	if (open_session(g, e) < 0 || ssh_jail_enter(e) < 0)
		return -1;
	ssh_login_prepare(g);
	if (ssh_handle_key_exchange(g->session) != SSH_OK)
		return err_set(e, ERR_INVALID, NULL, "key exchange: %s", ssh_get_error(g->session));
	ssh_set_blocking(g->session, 0);
	g->event = ssh_event_new();
	if (g->event == NULL || ssh_event_add_session(g->event, g->session) != SSH_OK)
		return err_set(e, ERR_SYSTEM, NULL, "libssh cannot start");
	g->interest = LOOP_READ;
	g->io = loop_io_start(g->loop, SSH_GATE_SOCKET_FD, LOOP_READ, on_socket, g);
	on_socket(SSH_GATE_SOCKET_FD, 0, g); /* what came with the key exchange */
	if (!g->is_over)
		loop_run(g->loop);
	return 0;
}

int
main(int argc, char **argv)
{
	struct ssh_gate g = { .broker = getenv("PINION_SSH_BROKER"),
		.token = getenv("PINION_SSH_TOKEN") };
	struct err e = { 0 };

	log_setup("pinion-ssh", LOG_INFO, false);
	if (argc == 3 && strcmp(argv[1], "--make-keys") == 0)
		return make_keys(argv[2]);
	if (argc != 1 || g.broker == NULL || g.token == NULL) {
		(void)fprintf(stderr, "usage: pinion-ssh --make-keys DIR (connections are the "
		                      "broker's affair)\n");
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)prctl(PR_SET_DUMPABLE, 0);
	(void)alarm(LOGIN_S); /* whoever is not in by then is out */
	g.authorization = xasprintf("Bearer %s", g.token);
	if (serve(&g, &e) < 0 && e.code != ERR_INVALID)
		log_warn("ssh_connection_failed", LOG_ERR(&e));
	_exit(0); /* the kernel closes all that is left */
}
