#include "cli/up_dirs.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/loop/child_run.h"

/* Where the package made no users: ids that no distribution hands out. */
enum {
	BROKER_UID = 61701,
	ROUTER_UID = 61702,
	TOKEN_BYTES = 32,
	PASSWORD_LEN = 24,
	GIVEN_MAX = 1024 * 1024,
	KEYS_MS = 60000
};

static struct up_user
find_user(const char *name, uid_t fallback)
{
	const struct passwd *pw = getpwnam(name);

	if (pw == NULL)
		return (struct up_user){ fallback, fallback };
	return (struct up_user){ pw->pw_uid, pw->pw_gid };
}

/* A directory of that owner and mode, also when it was there before. */
static int
make_dir(const char *path, struct up_user owner, mode_t mode, struct err *e)
{
	if (file_mkdirs(path, 0755, e) < 0)
		return -1;
	if (chown(path, owner.uid, owner.gid) < 0 || chmod(path, mode) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot set owner and mode of %s", path);
	return 0;
}

/* A secret that stays the same over restarts. */
static int
make_secret(const char *path, char *take_text, struct up_user owner, mode_t mode, struct err *e)
{
	AUTO(secret_free) char *text = take_text;

	if (!file_exists(path) && file_replace(path, text, strlen(text), 0600, e) < 0)
		return -1;
	if (chown(path, owner.uid, owner.gid) < 0 || chmod(path, mode) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot set owner and mode of %s", path);
	return 0;
}

static int
make_token(const struct up_dirs *d, const char *name, uid_t reader, mode_t mode, struct err *e)
{
	AUTO(free) char *path = file_join(d->secrets, name);

	return make_secret(path, secret_random_hex(TOKEN_BYTES),
	    (struct up_user){ reader, d->broker_user.gid }, mode, e);
}

static int
make_secrets(const struct up_dirs *d, struct err *e)
{
	AUTO(free) char *password = secret_random_text(PASSWORD_LEN);
	char *line = xasprintf("%s\n", password);

	secret_wipe(password, strlen(password));
	if (make_secret(d->admin_password, line, d->broker_user, 0600, e) < 0)
		return -1;
	/* root reads them all; the broker each; the router its own. */
	if (make_token(d, "node.token", d->broker_user.uid, 0400, e) < 0 ||
	    make_token(d, "broker.token", d->broker_user.uid, 0400, e) < 0 ||
	    make_token(d, "wake.token", d->router_user.uid, 0400, e) < 0 ||
	    make_token(d, "router.token", d->router_user.uid, 0440, e) < 0)
		return -1;
	return 0;
}

static int
make_all(struct up_dirs *d, struct err *e)
{
	struct up_user root = { 0, 0 };
	/* The group is passed on to the sockets in it: the router may connect. */
	struct up_user sockets = { d->broker_user.uid, d->router_user.gid };

	if (make_dir(d->broker, d->broker_user, 0700, e) < 0 ||
	    make_dir(d->node, root, 0700, e) < 0 ||
	    make_dir(d->router, d->router_user, 0700, e) < 0 ||
	    make_dir(d->secrets, root, 0711, e) < 0 || make_dir(d->run, root, 0711, e) < 0 ||
	    make_dir(d->run_broker, sockets, 02711, e) < 0)
		return -1;
	return make_secrets(d, e);
}

static char *
run_dir_of(const char *data)
{
	char hex[65];

	secret_sha256_hex(data, strlen(data), hex);
	return xasprintf("/run/pinion/up-%.8s", hex);
}

char *
up_dirs_run(const char *dir)
{
	AUTO(free) char *data = realpath(dir, NULL);

	return data == NULL ? NULL : run_dir_of(data);
}

static int
take_lock(struct up_dirs *d, struct err *e)
{
	AUTO(free) char *path = file_join(d->data, "lock");

	if (d->lock_fd >= 0)
		return 0;
	d->lock_fd = file_lock(path, e);
	if (d->lock_fd < 0 && e->code == ERR_BUSY)
		return err_set(e, ERR_BUSY, "data",
		    "another 'pinion up' runs on %s: take its place by --takeover, stop it, or "
		    "give "
		    "another --data",
		    d->data);
	return d->lock_fd < 0 ? -1 : 0;
}

int
up_dirs_open(const char *dir, int take_lock_fd, struct up_dirs *out, struct err *e)
{
	AUTO_FINI(up_dirs_fini) struct up_dirs d = { .lock_fd = take_lock_fd };

	if (file_mkdirs(dir, 0711, e) < 0)
		return -1;
	d.data = realpath(dir, NULL);
	if (d.data == NULL)
		return err_set(e, ERR_SYSTEM, "data", "cannot find %s", dir);
	if (take_lock(&d, e) < 0)
		return -1;
	d.broker_user = find_user("pinion-broker", BROKER_UID);
	d.router_user = find_user("pinion-router", ROUTER_UID);
	d.broker = file_join(d.data, "broker");
	d.node = file_join(d.data, "node");
	d.router = file_join(d.data, "router");
	d.secrets = file_join(d.data, "secrets");
	d.admin_password = file_join(d.data, "admin-password");
	d.run = run_dir_of(d.data);
	d.run_broker = file_join(d.run, "broker");
	if (make_all(&d, e) < 0)
		return -1;
	*out = d;
	d = (struct up_dirs){ .lock_fd = -1 };
	return 0;
}

void
up_dirs_fini(struct up_dirs *d)
{
	free(d->data);
	free(d->broker);
	free(d->node);
	free(d->router);
	free(d->secrets);
	free(d->admin_password);
	free(d->run);
	free(d->run_broker);
	file_close(d->lock_fd);
	*d = (struct up_dirs){ .lock_fd = -1 };
}

int
up_dirs_host_keys(const struct up_dirs *d, const char *program, struct err *e)
{
	static const char *const names[] = { "ssh_host_ed25519_key", "ssh_host_rsa_key" };
	const char *const argv[] = { program, "--make-keys", d->secrets, NULL };

	if (child_run(
	        &(struct child_opts){ .argv = argv, .timeout_ms = KEYS_MS }, NULL, 0, NULL, e) != 0)
		return err_wrap(e, "SSH host keys");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO(free) char *path = file_join(d->secrets, names[i]);

		if (chown(path, d->broker_user.uid, d->broker_user.gid) < 0 ||
		    chmod(path, 0600) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot set the owner of %s", path);
	}
	return 0;
}

int
up_dirs_put(const struct up_dirs *d, const char *from, const char *name, struct err *e)
{
	AUTO(free) char *path = file_join(d->secrets, name);
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	int rc;

	if (file_read(from, GIVEN_MAX, &text, e) < 0)
		return -1;
	rc = file_replace(path, text.p == NULL ? "" : text.p, text.n, 0400, e);
	secret_wipe(text.p, text.n);
	if (rc < 0)
		return -1;
	if (chown(path, d->broker_user.uid, d->broker_user.gid) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot set the owner of %s", path);
	return 0;
}
